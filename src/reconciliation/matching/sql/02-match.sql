-- The first pass, over all rows of a part of the keys: one hash aggregate over a 16 byte key and two numbers, which
-- are the values themselves and no hashes of them. What it cannot prove to match is only named here and looked at by
-- the second pass, which can afford more. A part is the staging table or a partition of it, {part} its suffix, so the
-- columns are read as they are stored; all other statements read recon.staged_0.
-- $1 padding in seconds, $2 and $3 the window (null: all time), $4 and $5 begins and dates of the business days.
with key as materialized (
  select
    match_key,
    attributes,
    amount_minor,
    hub_at,
    recon.sides(in_rgs, in_operator, in_hub) as sides,
    -- Each side that lists the key lists it once, all say the same, and what they say is known.
    row_count = in_rgs::integer + in_operator::integer + in_hub::integer
      and amount_count = row_count
      and amount_minor = highest_amount_minor
      and attributes = highest_attributes
      and not is_odd
      and (
        -- All have it, at times no further apart than the padding: beyond that a window could not see them together.
        in_rgs and in_operator and in_hub and coalesce(time_span <= $1 * interval '1 second', true)
        -- Or it was refused: no money moved, and no side claims that it did. Where there is a window the hub's time
        -- decides whose key it is; what the hub was not staged for is placed by the second pass.
        or recon.is_refused(attributes) and (in_hub or $2::timestamptz is null)
      ) as is_agreed
  from (
    select
      k as match_key,
      recon.has_rgs(bit_or(src)) as in_rgs,
      recon.has_operator(bit_or(src)) as in_operator,
      recon.has_hub(bit_or(src)) as in_hub,
      count(*) as row_count,
      count(amt) as amount_count,
      min(amt) as amount_minor,
      max(amt) as highest_amount_minor,
      min(attrs) as attributes,
      max(attrs) as highest_attributes,
      bit_or(flags) <> 0 as is_odd,
      max(ts) - min(ts) as time_span,
      max(ts) filter (where recon.has_hub(src)) as hub_at
    from recon.stage_{slot}{part}
    group by k
  ) listed
), not_agreed as (
  insert into recon.broken_{slot} (k) select match_key from key where not is_agreed
)
insert into recon.matched_{slot} (owned, business_date, attrs, mask, n, sum_minor)
select
  is_owned,
  case when is_owned then ($5::date[])[width_bucket(hub_at, $4::timestamptz[])] end,
  attributes,
  sides,
  count(*),
  sum(amount_minor)
from key
cross join lateral (
  select $2::timestamptz is null
    or hub_at is not null and hub_at >= $2::timestamptz and hub_at < $3::timestamptz as is_owned
) owner
where is_agreed
group by 1, 2, 3, 4
