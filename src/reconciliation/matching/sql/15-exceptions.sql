-- What does not match becomes an exception, or is seen once more. One that was cleared or resolved is opened again.
-- $1 run, $2 operator, $3 RGS, $4 as of, $5 classes, $6 their severities and $7 hours to deal with them.
insert into recon.exception as e (
  id, k, class, severity, operator_id, rgs_id, first_run, last_run, last_seq, first_seen, last_seen, anchor_at, cur,
  amount_minor, ref_id, corr, outbox_id, outbox_queue, due_at
)
select
  recon.exception_id(key.match_key, key.class),
  key.match_key,
  key.class,
  rule.severity,
  $2,
  $3,
  $1,
  $1,
  key.seq,
  $4,
  $4,
  key.anchor_at,
  recon.range_text(key.lowest_currency, key.highest_currency),
  coalesce(key.hub_amount_minor, key.operator_amount_minor, key.rgs_amount_minor),
  key.ref_id,
  key.correlation_id,
  key.fixing_message_id,
  key.fixing_queue,
  $4::timestamptz + rule.hours * interval '1 hour'
from classified key
join unnest($5::text[], $6::text[], $7::integer[]) rule (class, severity, hours) on rule.class = key.class
where key.result in ('item', 'unplaced') and key.state = 'broken'
order by key.match_key, key.class
on conflict (k, class) do update set
  last_run = excluded.last_run,
  last_seq = excluded.last_seq,
  last_seen = excluded.last_seen,
  anchor_at = excluded.anchor_at,
  cur = excluded.cur,
  amount_minor = excluded.amount_minor,
  ref_id = excluded.ref_id,
  corr = excluded.corr,
  outbox_id = excluded.outbox_id,
  outbox_queue = excluded.outbox_queue,
  state = case when e.state in ('auto_cleared', 'resolved') then 'open' else e.state end,
  resolved_at = case when e.state in ('auto_cleared', 'resolved') then null else e.resolved_at end,
  due_at = case when e.state in ('auto_cleared', 'resolved') then excluded.due_at else e.due_at end,
  version = e.version + case when e.state in ('auto_cleared', 'resolved') then 1 else 0 end
