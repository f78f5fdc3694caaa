-- What became of the candidate rows of the three sides; the control totals and the funnel are made of it.
select
  row.source,
  row.attributes,
  case when row.is_here then key.result else 'outside' end as result,
  count(*) as rows,
  coalesce(sum(row.amount_minor), 0)::text as sum_minor
from run_rows row
join classified key using (match_key)
where (row.is_rgs or row.is_operator or row.is_hub) and not row.is_looked_up
group by 1, 2, 3
