-- A permit for a repeat within an attempt, or for a call whose own permit grew old while its connection was made.
-- Answers in how many ms it is good; null: not within p_wait_ms_max. A permit that is not there yet is owed: the bucket
-- goes below zero, and claims wait until it is paid. Where partners share a destination it is not taken from what
-- outbox_lease keeps for them (docs/decisions/0097): it comes once the bucket holds one more than that. Owed is then at
-- most half of what is kept, or one permit where nothing is: a bucket in deep debt would hold up a partner that sends
-- little. The price: a late call that finds the debt at its limit goes back to the queue and takes its turn there.
create or replace function outbox_reserve_permit(p_destination integer, p_wait_ms_max double precision)
 RETURNS double precision
 LANGUAGE plpgsql
AS $function$
declare
  d outbox_destination; v_now timestamptz; v_tokens double precision; v_wait_ms double precision;
  v_kept double precision := 0;
  v_sharers integer;
begin
  select * into d from outbox_destination where id = p_destination for no key update;
  v_now := clock_timestamp();
  if d.paused_at is not null or d.not_before > v_now then return null; end if;
  if d.rate_per_second = 0 then return 0; end if;
  v_tokens := least(d.burst, d.tokens + greatest(extract(epoch from v_now - d.tokens_at), 0) * d.rate_per_second);
  v_sharers := cardinality(d.sharer_ids);
  if v_sharers > 1 then
    select least(floor(d.burst / 2), sum(greatest(0, floor(least(
      greatest(1, d.burst / 2 / v_sharers),
      own + greatest(extract(epoch from v_now - d.sharers_at), 0) * d.rate_per_second / v_sharers)))))
    into v_kept from unnest(d.sharer_tokens) own;
    if v_tokens <= ceil(v_kept / 2) then return null; end if;
  end if;
  v_wait_ms := greatest(0, 1 + v_kept - v_tokens) / d.rate_per_second * 1000;
  if v_wait_ms > p_wait_ms_max then return null; end if;
  update outbox_destination set tokens = v_tokens - 1, tokens_at = v_now where id = p_destination;
  return v_wait_ms;
end $function$;
