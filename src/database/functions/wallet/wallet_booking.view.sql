-- What the wallet says of its movements to reconciliation: one row per debit and credit, with what its state means
-- for the booking at the operator, and for the booking of its reversal. Rollbacks move no money by themselves and a
-- tombstone stands for a debit that never came, so neither is here. Reconciliation reads this and not the tables.
create or replace view wallet_booking as
select
  w.id,
  w.operator_id,
  w.rgs_id,
  w.player_id,
  w.ref_id,
  w.movement as direction,
  w.amount_minor,
  w.currency,
  w.state,
  w.created_at as accepted_at,
  -- A free bet takes no money: the RGS was notified of it and may list it, and no operator has it.
  w.message_id is null and w.movement = 'debit' as is_free,
  -- A parked debit with a reversal was booked; of another parked movement it is unknown. That the RGS has heard of a
  -- reversed debit only as ROLLED_BACK is for the RGS's own rows to say.
  case w.state
    when 'initiated' then 'pending'
    when 'unknown' then 'unknown'
    when 'rejected' then 'refused'
    when 'parked' then case when w.undo_message_id is null then 'unknown' else 'settled' end
    else 'settled'
  end as status,
  -- The reversal of a free bet has no message.
  w.undo_message_id is not null or w.message_id is null and w.movement = 'debit' and w.state = 'rolled_back'
    as has_reversal,
  -- A debit that a person found to stand after all was not paid back.
  case w.state
    when 'compensating' then 'pending'
    when 'rolling_back' then 'pending'
    when 'compensated' then 'settled'
    when 'rolled_back' then 'settled'
    when 'parked' then 'unknown'
    else 'refused'
  end as reversal_status,
  -- The reversal's message is made when it is decided on, and its id is a UUIDv7.
  coalesce(uuid_extract_timestamp(w.undo_message_id), w.created_at) as reversed_at,
  w.message_id as operator_message_id,
  w.undo_message_id as reversal_message_id,
  -- The webhook with the movement's own outcome, and the one with its reversal's.
  (select o.message_id from wallet_outcome o where o.transaction_id = w.id
   order by case o.outcome when 'OK' then 0 when 'REJECTED' then 1 else 2 end limit 1) as webhook_message_id,
  (select o.message_id from wallet_outcome o where o.transaction_id = w.id and o.outcome = 'ROLLED_BACK')
    as reversal_webhook_message_id
from wallet_transaction w
where not w.tombstone and w.movement <> 'rollback';
