-- The rows of recon.stage_0 under names: what it packs into `src`, `attrs` and `flags` is unpacked here.
create or replace view recon.staged_0 as
select
  k as match_key,
  amt as amount_minor,
  attrs as attributes,
  ts as booked_at,
  src as source,
  recon.has_rgs(src) as is_rgs,
  recon.has_operator(src) as is_operator,
  recon.has_hub(src) as is_hub,
  recon.is_implied(src) as is_implied,
  recon.is_foreign(src) as is_foreign,
  recon.status_of(attrs) as status,
  recon.is_refused(attrs) as is_refused,
  recon.direction_of(attrs) as direction,
  recon.has_unknown_status(flags) as has_unknown_status,
  recon.has_unknown_direction(flags) as has_unknown_direction,
  recon.is_looked_up(flags) as is_looked_up,
  undo as is_reversal,
  cur as currency,
  dir_raw as direction_word,
  st_raw as status_word,
  ref_id,
  corr as correlation_id,
  amt_raw as amount_text,
  player as player_id
from recon.stage_0;
