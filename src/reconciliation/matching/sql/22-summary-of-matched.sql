-- Bookings of the keys that the first pass found on all sides. $1 run, $2 attributes and $3 their currencies.
insert into recon.summary (run_id, business_date, cur, dir, class, state, source, n, sum_minor)
select
  $1,
  matched.business_date,
  attributes.currency,
  recon.direction_of(matched.attrs),
  'matched',
  'matched',
  side.source,
  sum(matched.n),
  sum(matched.sum_minor)
from recon.matched_{slot} matched
join unnest($2::bigint[], $3::text[]) attributes (packed, currency) on attributes.packed = matched.attrs
cross join (
  values (recon.sides(true, false, false)), (recon.sides(false, true, false)), (recon.sides(false, false, true))
) side (source)
where matched.owned and matched.mask = recon.sides(true, true, true) and not recon.is_refused(matched.attrs)
group by 2, 3, 4, 7
on conflict (run_id, business_date, cur, dir, class, state, source)
do update set n = summary.n + excluded.n, sum_minor = summary.sum_minor + excluded.sum_minor
