-- Debits that the RGS only implies: such a one counts as known to it, and once, however often it was implied, unless
-- the RGS lists the booking itself. $1 run.
insert into recon.summary (run_id, business_date, cur, dir, class, state, source, n, sum_minor)
select
  $1,
  key.business_date,
  implied.currency,
  implied.direction,
  coalesce(key.class, 'matched'),
  case when key.class is null then 'matched' else key.state end,
  recon.sides(true, false, false),
  count(*),
  coalesce(sum(implied.amount_minor), 0)
from (
  select distinct on (match_key) match_key, currency, direction, is_refused, is_elsewhere, amount_minor
  from run_rows
  where is_implied
  order by match_key, amount_minor, currency
) implied
join classified key using (match_key)
where key.result in ('item', 'matched')
  and not key.is_listed_as_booked_by_rgs and not implied.is_elsewhere and not implied.is_refused
group by 2, 3, 4, 5, 6
on conflict (run_id, business_date, cur, dir, class, state, source)
do update set n = summary.n + excluded.n, sum_minor = summary.sum_minor + excluded.sum_minor
