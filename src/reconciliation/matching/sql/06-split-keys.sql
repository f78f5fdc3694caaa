-- Keys of which some rows lie further from the time that owns the key than a window is padded. The window of that
-- time may not have read such rows, so each of them belongs to the window in which it lies itself: a second booking
-- hours after the first, on the next day, is matched by no other run and must not be lost.
-- `is_own`: the window of this run owns the key. A row out of reach is a partner's row before reach_from or after
-- reach_to.
-- $1 from, $2 to (null: all time, in which there are none), $3 padding in seconds.
create temp table split_keys on commit drop as
with key as (
  select
    match_key,
    owned_at - $3 * interval '1 second' as reach_from,
    owned_at + $3 * interval '1 second' as reach_to,
    owned_at >= $1::timestamptz and owned_at < $2::timestamptz as is_own,
    first_at,
    last_at
  from (
    select
      match_key,
      coalesce(
        min(booked_at) filter (where is_hub),
        min(booked_at) filter (where is_operator),
        min(booked_at) filter (where is_rgs)
      ) as owned_at,
      min(booked_at) filter (where is_rgs or is_operator) as first_at,
      max(booked_at) filter (where is_rgs or is_operator) as last_at
    from candidate_rows
    where $1::timestamptz is not null
    group by match_key
  ) times
)
select match_key, reach_from, reach_to, is_own, $1::timestamptz as window_from, $2::timestamptz as window_to
from key
where (first_at < reach_from or last_at > reach_to)
  and (
    is_own
    or exists (
      select from candidate_rows row
      where row.match_key = key.match_key
        and (row.is_rgs or row.is_operator)
        and (row.booked_at < key.reach_from or row.booked_at > key.reach_to)
        and row.booked_at >= $1::timestamptz and row.booked_at < $2::timestamptz
    )
  )
