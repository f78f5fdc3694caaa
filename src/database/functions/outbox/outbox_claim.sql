-- Leases up to p_want due messages of one destination. Permits are taken before leasing, so nothing is leased that may not be sent.
-- When fewer than p_want are leased, a last row with a null id says in wait_ms when it is worth asking again.
-- The destination row is locked with NO KEY UPDATE and SKIP LOCKED: when another replica claims, this one simply comes back.
create or replace function outbox_claim(p_destination integer, p_want integer, p_lease_ms double precision, p_owner text, p_floor timestamp with time zone)
 RETURNS TABLE(id uuid, token bigint, attempts integer, claims integer, releases integer, lane_key text, event_type text, transaction_id uuid, path text, body text, expires_in_ms double precision, probe boolean, wait_ms double precision)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  d outbox_destination; v_now timestamptz; v_permits integer := p_want; v_tokens double precision; v_claimed integer; v_wait double precision; v_next timestamptz; v_room integer;
begin
  select * into d from outbox_destination x where x.id = p_destination for no key update skip locked;
  if not found then
    wait_ms := 5; return next; return;
  end if;
  v_now := clock_timestamp();
  if d.paused_at is not null then
    wait_ms := 1000; return next; return;
  end if;
  if d.not_before > v_now then
    wait_ms := extract(epoch from d.not_before - v_now) * 1000; return next; return;
  end if;
  if d.breaker <> 'closed' then
    if d.open_until > v_now then
      wait_ms := extract(epoch from d.open_until - v_now) * 1000; return next; return;
    end if;
    v_permits := 1;
  end if;

  if d.breaker = 'closed' and d.closed_at > v_now - interval '40 seconds' then
    -- Five calls at once for the whole cluster, twice as many after every five seconds; after forty seconds that is more than anybody asks for.
    -- Messages that another claim is leasing right now are not counted yet, but it holds the row of the destination until it has.
    v_room := greatest(0, 5 * power(2, floor(extract(epoch from v_now - d.closed_at) / 5))::integer - (
      select count(*) from outbox_head h where h.destination_id = p_destination and h.leased and h.visible_at > v_now and h.visible_at < 'infinity')::integer);
    v_permits := least(v_permits, v_room);
  end if;
  if d.rate_per_second > 0 then
    v_tokens := least(d.burst, d.tokens + greatest(extract(epoch from v_now - d.tokens_at), 0) * d.rate_per_second);
    v_permits := least(v_permits, floor(v_tokens)::integer);
  end if;

  if v_permits > 0 then
    return query
    with due as materialized (
      select h.message_id from outbox_head h
      where h.destination_id = p_destination and h.visible_at >= p_floor and h.visible_at <= v_now
      order by h.visible_at limit v_permits for update skip locked
    ), leased as (
      update outbox_head h
      set visible_at = v_now + p_lease_ms * interval '1 millisecond', leased = true, token = h.token + 1, claims = h.claims + 1, owner = p_owner,
          -- Still leased: its holder died or lost touch. Its call may have left, so it counts as an attempt whose outcome was lost.
          attempts = h.attempts + h.leased::integer
      from due where h.message_id = due.message_id
      returning h.message_id, h.token, h.attempts, h.claims, h.releases
    )
    select m.id, l.token, l.attempts, l.claims, l.releases, m.lane_key, m.event_type, m.transaction_id, m.path, m.body,
      (extract(epoch from m.expires_at - v_now) * 1000)::double precision, d.breaker <> 'closed', null::double precision
    from leased l join outbox_message m on m.id = l.message_id
    order by m.id;
    get diagnostics v_claimed = row_count;
  else
    v_claimed := 0;
  end if;

  if v_claimed > 0 and d.rate_per_second > 0 then
    update outbox_destination x set tokens = v_tokens - v_claimed, tokens_at = v_now where x.id = p_destination;
  end if;
  if v_claimed > 0 and d.breaker <> 'closed' then
    -- One probe for the whole cluster. Its own lease is the deadline, so a prober that dies cannot wedge the breaker.
    update outbox_destination x set breaker = 'half_open', open_until = v_now + p_lease_ms * interval '1 millisecond' where x.id = p_destination;
  end if;

  if v_claimed < p_want then
    if v_claimed < v_permits or v_permits >= p_want then
      -- Nobody sleeps for longer than this anyway. Behind it lie the dead versions of all leases of the last half minute, and while a
      -- long transaction keeps them alive an unbounded look walks over every one of them.
      select h.visible_at into v_next from outbox_head h
      where h.destination_id = p_destination and h.visible_at > v_now and h.visible_at <= v_now + interval '1500 milliseconds' order by h.visible_at limit 1;
      v_wait := case when v_next is null then 3600000 else extract(epoch from v_next - v_now) * 1000 end;
    elsif d.breaker <> 'closed' or v_permits = v_room then
      v_wait := 50;
    else
      v_wait := (1 - (v_tokens - v_claimed - floor(v_tokens - v_claimed))) / d.rate_per_second * 1000;
    end if;
    id := null; token := null; attempts := null; claims := null; releases := null; lane_key := null; expires_in_ms := null; event_type := null;
    transaction_id := null; path := null; body := null; probe := v_permits = v_room; wait_ms := v_wait;
    return next;
  end if;
end $function$;
