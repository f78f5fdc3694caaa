-- The hub's side of a run as the partners list it: a row for each movement and one for each reversal, which is a
-- booking of its own under the correlation id of its debit. A credit whose own reference looks like a reversal's is
-- keyed as the partners' lists will be: they cannot know better. A query for a window restricts booked_at, and for
-- reversals also of reversal_message_id, which has an index.
create or replace view recon.hub_row as
select
  'movement' as leg,
  b.id as transaction_id,
  b.operator_id,
  b.rgs_id,
  case when b.direction = 'credit' and b.ref_id like 'rollback:%' then recon.undo_key(b.id) else b.id end as match_key,
  b.direction = 'credit' and b.ref_id like 'rollback:%' as is_reversal,
  b.direction,
  b.status,
  b.accepted_at as booked_at,
  null::uuid as reversal_message_id,
  b.amount_minor,
  b.currency,
  b.state,
  b.ref_id,
  b.player_id,
  b.is_free
from wallet_booking b
union all
select
  'reversal',
  b.id,
  b.operator_id,
  b.rgs_id,
  recon.undo_key(b.id),
  true,
  'credit',
  b.reversal_status,
  b.reversed_at,
  b.reversal_message_id,
  b.amount_minor,
  b.currency,
  b.state,
  'rollback:' || b.ref_id,
  b.player_id,
  b.is_free
from wallet_booking b
where b.has_reversal;
