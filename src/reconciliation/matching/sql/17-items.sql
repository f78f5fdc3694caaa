-- The items of the report. `reason` is for a person who has only the file: every value that differs, with its side.
-- $1 run, $2 currencies and $3 their decimals, $4 classes, $5 their severities and $6 next actions.
insert into recon.item (
  run_id, seq, k, leg, class, classes, severity, state, reason, next_action, presence, booked, n_rgs, n_op, n_hub,
  ref_id, corr, player, cur, dir, amt_rgs, amt_op, amt_hub, difference, amt_raw_rgs, amt_raw_op, dir_raw_rgs,
  dir_raw_op, ref_rgs, ref_op, st_rgs, st_op, st_hub, anchor_at, business_date, linked_corr, outbox_id,
  outbox_queue, outbox_state, exception_id, exception_state, first_seen_run
)
select
  $1,
  key.seq,
  key.match_key,
  case when key.is_reversal then 'undo' else 'movement' end,
  key.class,
  key.classes,
  rule.severity,
  key.state,
  concat_ws(
    '; ',
    case
      when key.is_relinked
        then 'the same reference and direction stand under correlation id ' || key.other_correlation_id
    end,
    case
      when key.is_duplicate
        then 'copies: ' || recon.sides_text(key.rgs_rows::text, key.operator_rows::text, key.hub_rows::text)
    end,
    case
      when key.is_late then 'booked in this window, and taken by the hub in another'
      when key.is_on_all_sides then null
      when key.in_rgs and key.in_operator then 'RGS and operator list it, the hub does not'
      when key.in_rgs and key.in_hub then 'RGS and hub have it, the operator does not list it'
      when key.in_operator and key.in_hub then 'operator and hub have it, the RGS does not list it'
      when key.in_rgs then 'only the RGS lists it'
      when key.in_operator then 'only the operator lists it'
      when key.in_hub then 'only the hub has it'
    end,
    case
      when not key.is_same_currency
        then 'currency: ' || recon.sides_text(
          recon.word_text(key.rgs_currency), recon.word_text(key.operator_currency), recon.word_text(key.hub_currency)
        )
    end,
    case
      when not key.is_same_direction
        then 'direction: ' || recon.sides_text(
          recon.word_text(key.rgs_direction_word),
          recon.word_text(key.operator_direction_word),
          case when key.hub_rows > 0 then case when key.is_reversal then 'credit' else key.first_direction end end
        )
    end,
    case
      when not key.is_same_amount
        then 'amount: ' || recon.sides_text(
          recon.money_text(key.rgs_amount_minor, key.rgs_currency, rgs.decimals),
          recon.money_text(key.operator_amount_minor, key.operator_currency, operator.decimals),
          recon.money_text(key.hub_amount_minor, key.hub_currency, hub.decimals)
        ) || case when key.rgs_rows > 1 or key.operator_rows > 1 then ' (the smallest copy of a side)' else '' end
    end,
    case
      when not key.has_every_amount
        then 'no amount in minor units: ' || recon.sides_text(
          recon.word_text(key.rgs_amount_text),
          recon.word_text(key.operator_amount_text),
          recon.money_text(key.hub_amount_minor, key.hub_currency, hub.decimals)
        )
    end,
    case
      when not key.is_same_known_status
        then 'status: ' || recon.sides_text(
          recon.word_text(key.rgs_status_word), recon.word_text(key.operator_status_word), key.hub_status_word
        )
    end,
    case
      when not key.is_near
        then 'times lie further apart than a window is padded: ' || recon.instant_text(key.first_at)
          || ' and ' || recon.instant_text(key.last_at)
    end,
    case
      when key.is_parked
        then 'the hub has parked it, and a person must say what became of it: /admin/failed-transactions/'
          || key.hub_correlation_id
    end,
    case
      when key.is_parked then null
      when key.has_dead_message then 'its message to the ' || fixing.party || ' is dead'
      when key.has_pending_message then 'its message to the ' || fixing.party || ' is in flight'
    end,
    case when key.anchor_at is null then 'no side gives a time' end
  ),
  case
    when key.is_parked then 'resolve_parked'
    -- While the outcome is unknown the RGS has not been notified: it is looked up first, and there is nothing
    -- to send.
    when rule.next_action = 'replay_rgs' and key.rgs_message_id is null then 'requery_operator'
    else rule.next_action
  end,
  recon.sides(key.in_rgs, key.in_operator, key.in_hub),
  recon.sides(key.booked_by_rgs, key.booked_by_operator, key.booked_by_hub),
  key.rgs_rows,
  key.operator_rows,
  key.hub_rows,
  key.ref_id,
  key.correlation_id,
  key.player_id,
  recon.range_text(key.lowest_currency, key.highest_currency),
  recon.range_text(key.first_direction, key.last_direction),
  key.rgs_amount_minor,
  key.operator_amount_minor,
  key.hub_amount_minor,
  case
    when key.is_same_currency and key.first_direction = key.last_direction and key.has_every_amount
      then coalesce(key.operator_total_minor, 0) - coalesce(key.rgs_total_minor, 0)
  end,
  key.rgs_amount_text,
  key.operator_amount_text,
  key.rgs_direction_word,
  key.operator_direction_word,
  key.rgs_ref_id,
  key.operator_ref_id,
  key.rgs_status_word,
  key.operator_status_word,
  key.hub_status_word,
  key.anchor_at,
  key.business_date,
  key.other_correlation_id,
  key.fixing_message_id,
  key.fixing_queue,
  case
    when key.fixing_message_id is null then null
    when key.has_dead_message then 'dead'
    when key.has_pending_message then 'pending'
    else 'sent'
  end,
  exception.id,
  exception.state,
  exception.first_run
from classified key
join unnest($4::text[], $5::text[], $6::text[]) rule (class, severity, next_action) on rule.class = key.class
cross join lateral (select case when key.is_fixed_at_operator then 'operator' else 'RGS' end as party) fixing
left join unnest($2::text[], $3::integer[]) rgs (currency, decimals) on rgs.currency = key.rgs_currency
left join unnest($2::text[], $3::integer[]) operator (currency, decimals) on operator.currency = key.operator_currency
left join unnest($2::text[], $3::integer[]) hub (currency, decimals) on hub.currency = key.hub_currency
left join recon.exception exception on exception.k = key.match_key and exception.class = key.class
where key.result = 'item'
