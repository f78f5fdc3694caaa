-- One more permit for a retry within an attempt, so that retries obey the rate limit too. Where partners share a destination, half of the bucket
-- is left to first calls: retries of one must not take what is kept for another (docs/decisions/0097).
create or replace function outbox_take_permit(p_destination integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  d outbox_destination; v_now timestamptz; v_tokens double precision; v_kept double precision := 0;
begin
  select * into d from outbox_destination where id = p_destination for no key update;
  v_now := clock_timestamp();
  if d.paused_at is not null or d.not_before > v_now then return false; end if;
  if d.rate_per_second = 0 then return true; end if;
  v_tokens := least(d.burst, d.tokens + greatest(extract(epoch from v_now - d.tokens_at), 0) * d.rate_per_second);
  if cardinality(d.sharer_ids) > 1 then v_kept := floor(d.burst / 2); end if;
  if v_tokens < 1 + v_kept then return false; end if;
  update outbox_destination set tokens = v_tokens - 1, tokens_at = v_now where id = p_destination;
  return true;
end $function$;
