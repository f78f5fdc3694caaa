-- Leases up to p_want due messages of one destination. Permits are taken before leasing, so nothing is leased that may
-- not be sent. When fewer than p_want are leased, a last row with a null id says in wait_ms when it is worth asking
-- again, and in held_up which RGSs can send nothing before, for want of a permit; null when it is no permit that is
-- wanting.
-- Partners that share the destination get an equal part of what is short, and of it bets and the rest half each;
-- docs/decisions/0097.
-- p_land_ms is how long from now a call that leaves under this lease may still be booked; null for a destination where
-- that is no question. It is written down before anything leaves, so that a process that dies cannot forget it; what
-- was written before is returned, and settling puts it back when nothing left.
-- The destination row is locked with NO KEY UPDATE and SKIP LOCKED: when another replica claims, this one comes back.
-- One plan for all claims: by itself the server plans again for each, since it knows the length of an array only then.
-- Its joins go row by row by index; a merge that was planned while few heads were waiting would read the whole index
-- when there are many.
create or replace function outbox_lease(p_destination integer, p_want integer, p_lease_ms double precision,
  p_land_ms double precision, p_owner text, p_floor timestamp with time zone)
 RETURNS TABLE(id uuid, token bigint, attempts integer, claims integer, releases integer, lane_key text,
   event_type text, transaction_id uuid, path text, body text, expires_in_ms double precision,
   first_sent_at timestamp with time zone, may_land_until timestamp with time zone, lands_in_ms double precision,
   probe boolean, wait_ms double precision, held_up integer[])
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_mergejoin TO 'off'
 SET enable_hashjoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
declare
  d outbox_destination; v_now timestamptz; v_next timestamptz; v_wait double precision; v_tokens double precision;
  v_permits integer := p_want; v_room integer; v_claimed integer; v_most integer := 0; v_more boolean := true;
  v_shares integer[]; v_due integer[]; v_take integer[]; v_all integer;
  v_sharers integer[]; v_own double precision[];
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
    -- Five calls at once for the whole cluster, twice as many after every five seconds; after forty seconds that is
    -- more than anybody asks for. Messages that another claim is leasing right now are not counted yet, but it holds
    -- the row of the destination until it has.
    v_room := greatest(0, 5 * power(2, floor(extract(epoch from v_now - d.closed_at) / 5))::integer - (
      select count(*)
      from outbox_share k join outbox_head h on h.destination_id = k.destination_id and h.share = k.share
      where k.destination_id = p_destination and h.leased and h.visible_at > v_now
        and h.visible_at < 'infinity')::integer);
    v_permits := least(v_permits, v_room);
  end if;
  if d.rate_per_second > 0 then
    v_tokens := least(d.burst, d.tokens + greatest(extract(epoch from v_now - d.tokens_at), 0) * d.rate_per_second);
    v_permits := least(v_permits, floor(v_tokens)::integer);
  end if;

  if v_permits > 0 then
    -- Counted and not yet locked: what another partner is served instead must stay free. What comes due next is seen in
    -- passing. No worker sleeps longer than that anyway: behind it lie the dead versions of all leases of the last
    -- half minute, and while a long transaction keeps them alive an unbounded look walks over every one of them.
    select array_agg(k.share), array_agg(n.due), coalesce(sum(n.due), 0), min(n.next)
    into v_shares, v_due, v_all, v_next
    from outbox_share k cross join lateral (
      select (count(*) filter (where h.visible_at <= v_now))::integer as due,
        min(h.visible_at) filter (where h.visible_at > v_now) as next
      from (
        select visible_at from outbox_head
        where destination_id = p_destination and share = k.share and visible_at >= p_floor
          and visible_at <= v_now + interval '1500 milliseconds'
        order by visible_at limit v_permits + 1
      ) h
    ) n
    where k.destination_id = p_destination;
    v_take := v_due; v_most := least(v_all, v_permits);
    v_more := v_all > v_permits or (v_all = v_permits and v_permits < p_want);
  end if;

  if cardinality(v_shares) > 1 then
    if d.rate_per_second > 0 then
      -- Of its part of the rate each partner saves up a few permits that no other may take: a call of one who sends
      -- little leaves at once.
      select array_agg(p.id order by p.id),
        array_agg(least(
          greatest(1, d.burst / 2 / p.sharers),
          coalesce(d.sharer_tokens[array_position(d.sharer_ids, p.id)], 0)
            + greatest(extract(epoch from v_now - d.sharers_at), 0) * d.rate_per_second / p.sharers
        ) order by p.id)
      into v_sharers, v_own
      from (select share / 2 as id, count(*) over () as sharers from unnest(v_shares) share group by share / 2) p;
    end if;
    if v_most > 0 and (v_all > v_permits or cardinality(v_sharers) > 1) then
      with queued as materialized (
        -- The two kinds of one partner take turns. By chance among equals: most claims are for one or two, and the next
        -- must not begin with the same one again.
        select k.place::integer as place, k.share / 2 as sharer,
          row_number() over (partition by k.share / 2 order by nth, random()) as turn
        from unnest(v_shares, v_due) with ordinality k (share, due, place) cross join generate_series(1, k.due) nth
      ), ordered as (
        select q.place, q.turn <= o.own as is_own,
          row_number() over (order by q.turn <= o.own desc, q.turn - o.own, random()) as turn
        from queued q cross join lateral (
          select case when cardinality(v_sharers) > 1 then floor(v_own[array_position(v_sharers, q.sharer)]) else 0 end
            as own
        ) o
      ), kept as (
        select least(floor(d.burst / 2),
          sum(greatest(0, floor(o.own) - (select count(*) from queued q where q.sharer = o.id)))) as permits
        from unnest(v_sharers, v_own) o (id, own) where cardinality(v_sharers) > 1
      ), taken as (
        select place, count(*)::integer as n, count(*) filter (where is_own) as own from ordered
        where turn <= v_permits
          and (is_own or d.rate_per_second = 0 or turn <= floor(v_tokens) - coalesce((select permits from kept), 0))
        group by place
      )
      select array_agg(coalesce(t.n, 0) order by k.place), coalesce(sum(t.n), 0),
        array(select o.own - coalesce((select sum(x.own) from taken x where v_shares[x.place] / 2 = o.id), 0)
          from unnest(v_sharers, v_own) o (id, own) order by o.id)
      into v_take, v_most, v_own
      from unnest(v_shares) with ordinality k (share, place) left join taken t on t.place = k.place;
      v_more := v_more or v_most < least(v_permits, (select sum(due) from unnest(v_due) due));
    end if;
  elsif v_all > v_permits then
    v_take := array[v_permits];
  end if;

  if v_most > 0 then
    return query
    with due as materialized (
      select h.message_id, h.first_sent_at, h.may_land_until
      from unnest(v_shares, v_take) k (share, most) cross join lateral (
        select h.message_id, h.first_sent_at, h.may_land_until from outbox_head h
        where h.destination_id = p_destination and h.share = k.share and h.visible_at >= p_floor
          and h.visible_at <= v_now
        order by h.visible_at limit k.most for update skip locked
      ) h
    ), leased as (
      update outbox_head h
      set visible_at = v_now + p_lease_ms * interval '1 millisecond', leased = true, token = h.token + 1,
        claims = h.claims + 1, owner = p_owner,
        -- Still leased: its holder died or lost touch. Its call may have left, so it counts as an attempt whose outcome
        -- was lost.
        attempts = h.attempts + h.leased::integer, lost_leases = h.lost_leases + h.leased::integer,
        first_sent_at = case when p_land_ms is null then h.first_sent_at else coalesce(h.first_sent_at, v_now) end,
        may_land_until = greatest(h.may_land_until, v_now + p_land_ms * interval '1 millisecond')
      from due where h.message_id = due.message_id
      returning h.message_id, h.token, h.attempts, h.claims, h.releases, due.first_sent_at, due.may_land_until
    )
    select m.id, l.token, l.attempts, l.claims, l.releases, m.lane_key, m.event_type, m.transaction_id, m.path, m.body,
      (extract(epoch from m.expires_at - v_now) * 1000)::double precision, l.first_sent_at, l.may_land_until,
      (extract(epoch from l.may_land_until - v_now) * 1000)::double precision, d.breaker <> 'closed',
      null::double precision, null::integer[]
    from leased l join outbox_message m on m.id = l.message_id
    order by m.id;
    get diagnostics v_claimed = row_count;
  else
    v_claimed := 0;
  end if;

  if v_claimed > 0 and d.rate_per_second > 0 then
    update outbox_destination x
    set tokens = v_tokens - v_claimed, tokens_at = v_now, sharer_ids = coalesce(v_sharers, x.sharer_ids),
      sharer_tokens = coalesce(v_own, x.sharer_tokens),
      sharers_at = case when v_sharers is null then x.sharers_at else v_now end
    where x.id = p_destination;
  end if;
  if v_claimed > 0 and d.breaker <> 'closed' then
    -- One probe for the whole cluster. Its own lease is the deadline, so a prober that dies cannot wedge the breaker.
    update outbox_destination x set breaker = 'half_open', open_until = v_now + p_lease_ms * interval '1 millisecond'
    where x.id = p_destination;
  end if;

  if v_claimed < p_want then
    if v_claimed = v_most and v_more and (d.breaker <> 'closed' or v_permits = v_room) then
      v_wait := 50;
    elsif v_claimed = v_most and v_more and d.rate_per_second > 0 then
      v_wait := (1 - (v_tokens - v_claimed - floor(v_tokens - v_claimed))) / d.rate_per_second * 1000;
      if v_permits > 0 then
        held_up := array(select distinct k.share / 2 from unnest(v_shares, v_due, v_take) k (share, due, most)
          where k.due > k.most);
      else
        held_up := array(select distinct k.share / 2 from outbox_share k where k.destination_id = p_destination);
      end if;
    elsif v_more then
      -- What was counted is in other hands, and what was left out for it is due.
      v_wait := 5;
    else
      v_wait := case when v_next is null then 3600000 else extract(epoch from v_next - v_now) * 1000 end;
    end if;
    id := null; token := null; attempts := null; claims := null; releases := null; lane_key := null;
    expires_in_ms := null; first_sent_at := null; may_land_until := null; lands_in_ms := null; event_type := null;
    transaction_id := null; path := null; body := null; probe := v_permits = v_room or v_more; wait_ms := v_wait;
    return next;
  end if;
end $function$;
