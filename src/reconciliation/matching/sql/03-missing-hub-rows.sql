-- Keys for which no row of the hub was staged, and which have a correlation id of the hub's.
create temp table missing_hub_rows on commit drop as
select row.match_key, min(row.correlation_id)::uuid as transaction_id
from recon.staged_{slot} row
join recon.broken_{slot} broken on broken.k = row.match_key
group by row.match_key
having not bool_or(row.is_hub or row.is_foreign)
  and min(row.correlation_id) ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
