-- Bookings of the keys that the second pass classified. $1 run.
insert into recon.summary (run_id, business_date, cur, dir, class, state, source, n, sum_minor)
select
  $1,
  key.business_date,
  row.currency,
  row.direction,
  coalesce(key.class, 'matched'),
  case when key.class is null then 'matched' else key.state end,
  row.source,
  count(*),
  coalesce(sum(row.amount_minor), 0)
from run_rows row
join classified key using (match_key)
where key.result in ('item', 'matched')
  and (row.is_rgs or row.is_operator or row.is_hub) and row.is_here and not row.is_refused
group by 2, 3, 4, 5, 6, 7
