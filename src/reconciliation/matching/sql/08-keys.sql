-- One row per key; of several copies of a side the smallest value stands for it, so that the order of the lists
-- decides nothing. An RGS that only implies a debit (is_implied) knows of it, and so counts as a side that lists it.
-- `is_late`: only rows out of reach are of this run, and the hub's row, of another window, is there to be compared
-- with.
create temp table keys on commit drop as
select
  match_key,
  bool_or(is_reversal) as is_reversal,
  bool_or(is_foreign) as is_foreign,
  bool_or(is_elsewhere) and bool_or(is_hub) as is_late,

  bool_or(is_rgs or is_implied) as in_rgs,
  bool_or(is_operator) as in_operator,
  bool_or(is_hub) as in_hub,
  bool_or((is_rgs or is_implied) and not is_refused) as booked_by_rgs,
  bool_or(is_operator and not is_refused) as booked_by_operator,
  bool_or(is_hub and not is_refused) as booked_by_hub,
  bool_or(is_rgs and not is_refused) as is_listed_as_booked_by_rgs,
  (count(*) filter (where is_rgs))::integer as rgs_rows,
  (count(*) filter (where is_operator))::integer as operator_rows,
  (count(*) filter (where is_hub))::integer as hub_rows,

  -- What one side leaves out, another may know.
  coalesce(min(nullif(ref_id, '')), '') as ref_id,
  coalesce(min(nullif(player_id, '')), '') as player_id,
  min(correlation_id) as correlation_id,
  min(correlation_id) filter (where is_hub) as hub_correlation_id,
  min(ref_id) filter (where is_rgs or is_implied) as rgs_ref_id,
  min(ref_id) filter (where is_operator) as operator_ref_id,

  coalesce(
    min(booked_at) filter (where is_hub and not is_elsewhere),
    min(booked_at) filter (where is_operator),
    min(booked_at) filter (where is_rgs)
  ) as anchor_at,
  min(booked_at) as first_at,
  max(booked_at) as last_at,

  min(amount_minor) = max(amount_minor) as is_same_amount,
  count(amount_minor) = count(*) as has_every_amount,
  min(amount_minor) filter (where is_rgs or is_implied) as rgs_amount_minor,
  min(amount_minor) filter (where is_operator) as operator_amount_minor,
  min(amount_minor) filter (where is_hub) as hub_amount_minor,
  min(amount_text) filter (where is_rgs or is_implied) as rgs_amount_text,
  min(amount_text) filter (where is_operator) as operator_amount_text,
  -- All copies that were booked; what an RGS implies counts where it lists no booking.
  coalesce(
    sum(amount_minor) filter (where is_rgs and not is_refused),
    min(amount_minor) filter (where is_implied)
  ) as rgs_total_minor,
  sum(amount_minor) filter (where is_operator and not is_refused) as operator_total_minor,

  min(currency) as lowest_currency,
  max(currency) as highest_currency,
  min(currency) filter (where is_rgs or is_implied) as rgs_currency,
  min(currency) filter (where is_operator) as operator_currency,
  min(currency) filter (where is_hub) as hub_currency,

  -- In the order unknown, debit, credit, which is the alphabet backwards.
  max(direction) as first_direction,
  min(direction) as last_direction,
  bool_or(has_unknown_direction) as has_unknown_direction,
  min(direction_word) filter (where is_rgs or is_implied) as rgs_direction_word,
  min(direction_word) filter (where is_operator) as operator_direction_word,

  min(status) = max(status) as is_same_status,
  bool_and(is_refused) as is_refused,
  bool_or(is_refused) as is_refused_by_some,
  bool_or(has_unknown_status) as has_unknown_status,
  bool_or(status in ('unknown', 'pending')) filter (where is_hub) as is_open_in_hub,
  min(status_word) filter (where is_rgs or is_implied) as rgs_status_word,
  min(status_word) filter (where is_operator) as operator_status_word,
  min(status_word) filter (where is_hub) as hub_status_word
from run_rows
where is_here or is_elsewhere and (is_hub or is_foreign)
group by match_key
