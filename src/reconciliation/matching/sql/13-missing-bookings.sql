-- The messages that would bring a missing booking about: to the operator, and to the RGS.
create temp table missing_bookings on commit drop as
select
  key.match_key,
  message.to_operator as operator_message_id,
  message.to_rgs as rgs_message_id,
  booking.state = 'parked' as is_parked,
  coalesce(missing.at_operator and not operator.is_pending, false)
    or coalesce(missing.at_rgs and not rgs.is_pending, false) as has_dead_message,
  coalesce(missing.at_operator and operator.is_pending, false)
    or coalesce(missing.at_rgs and rgs.is_pending, false) as has_pending_message
from keys key
join wallet_booking booking on booking.id = key.hub_correlation_id::uuid
cross join lateral (
  select not key.in_operator or key.is_open_in_hub as at_operator, not key.in_rgs as at_rgs
) missing
cross join lateral (
  select
    case when is_reversal_of_debit then booking.reversal_message_id else booking.operator_message_id end
      as to_operator,
    case when is_reversal_of_debit then booking.reversal_webhook_message_id else booking.webhook_message_id end
      as to_rgs
  from (select key.is_reversal and booking.direction = 'debit' as is_reversal_of_debit) leg
) message
left join unfinished_messages operator on operator.message_id = message.to_operator
left join unfinished_messages rgs on rgs.message_id = message.to_rgs
where not key.is_foreign and not key.is_late
  and (not key.in_rgs or not key.in_operator or not key.in_hub or key.is_open_in_hub)
