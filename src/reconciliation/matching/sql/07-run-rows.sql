-- The candidate rows with what they are to this run. `is_here`: the row is of this run. `is_elsewhere`: another
-- window owns its key, and this run has only rows of it that lie out of reach.
create temp view run_rows as
select
  row.*,
  split.match_key is not null and not split.is_own as is_elsewhere,
  case
    when split.match_key is null then true
    when (row.is_rgs or row.is_operator)
      and coalesce(row.booked_at < split.reach_from or row.booked_at > split.reach_to, false)
      then row.booked_at >= split.window_from and row.booked_at < split.window_to
    else split.is_own
  end as is_here
from candidate_rows row
left join split_keys split on split.match_key = row.match_key
