-- What each key is: its classes in the order of CLASS_RULES (classes.ts), and what becomes of it. `result`:
--   item      it does not match, and this run reports it
--   matched   it does, after all
--   refused   every side that lists it says that it was refused
--   outside   another window's, or of other partners
--   unplaced  it does not match, and no side gives it a time; runs over all time report it
-- Only what is missing, or has a status that may still change, can be in flight; and nothing without a time.
-- $1 from, $2 to (null: all time), $3 as of, $4 grace, $5 hard limit and $6 padding in seconds, $7 and $8 begins and
-- dates of the business days.
create temp table classified on commit drop as
with fact as (
  select
    key.*,
    relinked.other_correlation_id,
    missing.operator_message_id,
    missing.rgs_message_id,
    coalesce(missing.is_parked, false) as is_parked,
    coalesce(missing.has_dead_message, false) as has_dead_message,
    coalesce(missing.has_pending_message, false) as has_pending_message,
    relinked.match_key is not null as is_relinked,
    rgs_rows > 1 or operator_rows > 1 or hub_rows > 1 as is_duplicate,
    in_rgs and in_operator and in_hub as is_on_all_sides,
    lowest_currency = highest_currency as is_same_currency,
    first_direction = last_direction and not has_unknown_direction as is_same_direction,
    is_same_status and not has_unknown_status as is_same_known_status,
    last_at - first_at <= $6 * interval '1 second' as is_near,
    extract(epoch from $3::timestamptz - anchor_at) as age_seconds,
    coalesce($1::timestamptz is null or anchor_at >= $1::timestamptz and anchor_at < $2::timestamptz, false)
      as is_in_window
  from keys key
  left join relinked_keys relinked using (match_key)
  left join missing_bookings missing using (match_key)
), named as (
  select
    *,
    array_remove(
      array[
        case when is_relinked then 'correlation_mismatch' end,
        case when is_duplicate then 'duplicate' end,
        case
          when is_late or is_on_all_sides then null
          when in_rgs and in_operator then 'missing_in_hub'
          when in_rgs and in_hub then 'missing_in_operator'
          when in_operator and in_hub then 'missing_in_rgs'
          when in_rgs then 'orphan_rgs'
          when in_operator then 'orphan_operator'
          when in_hub then 'undelivered'
        end,
        case when not is_same_currency then 'currency' end,
        case when not is_same_direction then 'direction' end,
        case when not is_same_amount then 'amount' end,
        case when not has_every_amount then 'bad_amount' end,
        case when not is_same_known_status then 'status' end,
        case when not is_near then 'late' end
      ],
      null
    ) as classes,
    not is_relinked
      and not is_duplicate
      and is_same_currency
      and is_same_direction
      and coalesce(is_same_amount, false)
      and has_every_amount
      and (is_refused or not is_refused_by_some)
      and (not is_on_all_sides or not is_same_known_status)
      and coalesce(is_near, true) as may_change,
    -- Sent by the queue of the side that lacks it, and of no other: the operator's message in place of the RGS's
    -- would book again. What is parked has none: a person says first what became of it.
    not in_operator or in_rgs and coalesce(is_open_in_hub, false) as is_fixed_at_operator
  from fact
), placed as (
  select
    *,
    case
      when is_foreign then 'outside'
      when is_refused then case when is_in_window then 'refused' else 'outside' end
      when is_in_window then case when cardinality(classes) = 0 then 'matched' else 'item' end
      when anchor_at is null and cardinality(classes) > 0 then 'unplaced'
      else 'outside'
    end as result,
    case
      when is_parked then null
      when is_fixed_at_operator then operator_message_id
      else rgs_message_id
    end as fixing_message_id
  from named
)
select
  *,
  classes[1] as class,
  case
    when may_change
      and age_seconds < $5::double precision
      and not has_dead_message
      and (age_seconds < $4::double precision or has_pending_message)
      then 'in_flight'
    else 'broken'
  end as state,
  case when fixing_message_id is not null then case when is_fixed_at_operator then 'operator' else 'rgs' end end
    as fixing_queue,
  case when result in ('item', 'matched') then ($8::date[])[width_bucket(anchor_at, $7::timestamptz[])] end
    as business_date,
  case
    when result = 'item'
      then row_number() over (partition by result = 'item' order by anchor_at nulls last, match_key)
  end as seq
from placed
