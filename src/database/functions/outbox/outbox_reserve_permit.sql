-- A permit for a repeat within an attempt, or for a call whose own permit grew old while its connection was made. Answers in how many ms it is
-- good; null: not within p_wait_ms_max. A permit that is not there yet is owed: the bucket goes below zero, and claims wait until it is paid.
create or replace function outbox_reserve_permit(p_destination integer, p_wait_ms_max double precision)
 RETURNS double precision
 LANGUAGE plpgsql
AS $function$
declare
  d outbox_destination; v_now timestamptz; v_tokens double precision; v_wait_ms double precision;
begin
  select * into d from outbox_destination where id = p_destination for no key update;
  v_now := clock_timestamp();
  if d.paused_at is not null or d.not_before > v_now then return null; end if;
  if d.rate_per_second = 0 then return 0; end if;
  v_tokens := least(d.burst, d.tokens + greatest(extract(epoch from v_now - d.tokens_at), 0) * d.rate_per_second);
  v_wait_ms := greatest(0, 1 - v_tokens) / d.rate_per_second * 1000;
  if v_wait_ms > p_wait_ms_max then return null; end if;
  update outbox_destination set tokens = v_tokens - 1, tokens_at = v_now where id = p_destination;
  return v_wait_ms;
end $function$;
