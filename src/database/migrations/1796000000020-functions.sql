create or replace function audit_entry_is_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'audit_entry is append-only';
end $function$;

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

create or replace function outbox_create_partitions(p_weeks_ahead integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_week timestamp; v_name text; v_made integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('outbox_create_partitions'));
  for n in 0 .. p_weeks_ahead loop
    v_week := date_trunc('week', now() at time zone 'UTC') + n * interval '1 week';
    v_name := 'outbox_message_' || to_char(v_week, 'YYYYMMDD');
    if to_regclass(v_name) is null then
      execute format('create table %I partition of outbox_message for values from (%L) to (%L)', v_name,
        uuid_v7_floor(v_week at time zone 'UTC'), uuid_v7_floor((v_week + interval '1 week') at time zone 'UTC'));
      v_made := v_made + 1;
    end if;
    v_name := 'outbox_attempt_' || to_char(v_week, 'YYYYMMDD');
    if to_regclass(v_name) is null then
      execute format('create table %I partition of outbox_attempt for values from (%L) to (%L)', v_name,
        v_week at time zone 'UTC', (v_week + interval '1 week') at time zone 'UTC');
      v_made := v_made + 1;
    end if;
  end loop;
  return v_made;
end $function$;

-- Drops at most one week per call, so that its locks are short; answers its name.
create or replace function outbox_drop_partitions(p_message_days integer, p_attempt_days integer)
 RETURNS text[]
 LANGUAGE plpgsql
AS $function$
declare
  v_part record; v_week timestamptz; v_needed boolean;
begin
  perform pg_advisory_xact_lock(hashtext('outbox_create_partitions'));
  for v_part in
    select c.relname::text as name, p.relname::text as parent
    from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
    where p.relname in ('outbox_message', 'outbox_attempt') and c.relname ~ '_[0-9]{8}$' order by 1
  loop
    v_week := to_timestamp(right(v_part.name, 8), 'YYYYMMDD') + interval '1 week';
    if v_part.parent = 'outbox_attempt' then
      continue when v_week > now() - make_interval(days => p_attempt_days);
    else
      continue when v_week > now() - make_interval(days => p_message_days);
      -- A message that may still be sent, queued behind a head, or that nobody has dealt with keeps its whole week.
      execute format('select exists (select 1 from %I m join outbox_head h on h.message_id = m.id)
        or exists (select 1 from %I m join outbox_dead d on d.message_id = m.id and d.open)
        or exists (select 1 from %I m join outbox_lane l on l.destination_id = m.destination_id and l.lane_key = m.lane_key where m.lane_seq >= l.head_seq)',
        v_part.name, v_part.name, v_part.name) into v_needed;
      continue when v_needed;
    end if;
    begin
      if v_part.parent = 'outbox_message' then
        execute format('delete from outbox_dead d using %I m where d.message_id = m.id', v_part.name);
      end if;
      -- The drop needs the parent table to itself. While it waits for a long report, everybody else would wait behind it.
      perform set_config('lock_timeout', '300ms', true);
      execute format('drop table %I', v_part.name);
    exception when lock_not_available then
      -- The next hour tries again.
      continue;
    end;
    -- One at a time: the lock is held until the caller commits, and the look at the next week may take a while.
    return array[v_part.name];
  end loop;
  return '{}';
end $function$;

-- Adds messages inside the caller's transaction. The lane row is locked until commit, so numbers within a lane are free of gaps
-- and in commit order. Lanes are taken in sorted order: two batches cannot wait for each other.
create or replace function outbox_enqueue(p_messages outbox_new_message[])
 RETURNS void
 LANGUAGE sql
AS $function$
  with input as materialized (
    select m.*, row_number() over (partition by m.destination_id, m.lane_key order by m.id) as place
    from unnest(p_messages) m
  ), lane as (
    insert into outbox_lane as l (destination_id, lane_key, last_seq)
    select destination_id, lane_key, count(*) from input where lane_key is not null
    group by destination_id, lane_key order by destination_id, lane_key
    on conflict (destination_id, lane_key) do update set last_seq = l.last_seq + excluded.last_seq
    returning l.destination_id, l.lane_key, l.last_seq, l.head_seq
  ), sized as (
    select i.*, l.head_seq, l.last_seq - count(*) over (partition by i.destination_id, i.lane_key) + i.place as lane_seq
    from input i left join lane l on l.destination_id = i.destination_id and l.lane_key = i.lane_key
  ), message as (
    insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, transaction_id, path, body, expires_at)
    select id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, transaction_id, path, body, expires_at from sized
  )
  insert into outbox_head (message_id, destination_id, lane_key, lane_seq)
  select id, destination_id, lane_key, lane_seq from sized where lane_seq is null or lane_seq = head_seq
$function$;

-- First half of settling: locks the lanes, then the heads whose lease is still ours. 'busy': another transaction holds the lane,
-- come back; 'stale': the lease was lost. The second half must be a later statement: it looks for the next message of the lane,
-- and only a snapshot taken after the lane lock sees what was enqueued while we waited for it.
create or replace function outbox_lock(p_ids uuid[], p_tokens bigint[])
 RETURNS TABLE(place integer, verdict text)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_free uuid[];
begin
  with mine as materialized (
    select h.message_id, h.destination_id, h.lane_key
    from unnest(p_ids, p_tokens) x (id, token) join outbox_head h on h.message_id = x.id and h.token = x.token
  ), locked as materialized (
    select mine.message_id from outbox_lane l join mine on mine.destination_id = l.destination_id and mine.lane_key = l.lane_key
    order by l.destination_id, l.lane_key for no key update of l skip locked
  )
  select array_agg(message_id) into v_free
  from (select message_id from locked union all select message_id from mine where lane_key is null) free;

  return query
  with held as materialized (
    select x.place from unnest(p_ids, p_tokens) with ordinality x (id, token, place)
    join outbox_head h on h.message_id = x.id and h.token = x.token
    where x.id = any (v_free) order by h.message_id for update of h
  )
  select x.place::integer - 1, case when x.place in (select place from held) then 'ok' when still.message_id is not null then 'busy' else 'stale' end
  from unnest(p_ids, p_tokens) with ordinality x (id, token, place)
  left join outbox_head still on still.message_id = x.id and still.token = x.token;
end $function$;

-- Lanes that hold messages but no head. None should ever exist; one that does is given its head back and counted.
create or replace function outbox_repair_lanes()
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
  v_repaired integer;
begin
  perform 1 from outbox_lane l
  where l.head_seq <= l.last_seq
    and not exists (select 1 from outbox_head h where h.destination_id = l.destination_id and h.lane_key = l.lane_key)
  order by l.destination_id, l.lane_key for no key update of l skip locked;
  -- A new statement, for a snapshot taken after the locks.
  insert into outbox_head (message_id, destination_id, lane_key, lane_seq)
  select m.id, m.destination_id, m.lane_key, m.lane_seq
  from outbox_lane l join outbox_message m on m.destination_id = l.destination_id and m.lane_key = l.lane_key and m.lane_seq = l.head_seq
  where l.head_seq <= l.last_seq
    and not exists (select 1 from outbox_head h where h.destination_id = l.destination_id and h.lane_key = l.lane_key)
  on conflict do nothing;
  get diagnostics v_repaired = row_count;
  return v_repaired;
end $function$;

-- Health of a destination after a flush: circuit breaker and Retry-After. Statistics, so it runs outside the settling transaction.
create or replace function outbox_report(p_destination integer, p_ok integer, p_failed integer, p_not_before_ms double precision)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  d outbox_destination; v_now timestamptz;
begin
  select * into d from outbox_destination where id = p_destination for no key update;
  v_now := clock_timestamp();
  if p_not_before_ms is not null then
    d.not_before := greatest(d.not_before, v_now + p_not_before_ms * interval '1 millisecond');
  end if;
  if d.breaker = 'closed' then
    if d.window_start is null or d.window_start < v_now - interval '30 seconds' then
      d.window_start := v_now; d.window_ok := 0; d.window_failed := 0;
    end if;
    d.window_ok := d.window_ok + p_ok;
    d.window_failed := d.window_failed + p_failed;
    -- A report ends with its failure, if it has one: the successes it brings along came before.
    d.consecutive_failures := case when p_ok > 0 then 0 else d.consecutive_failures end + p_failed;
    if d.consecutive_failures >= d.breaker_failures
       or (d.window_failed >= 2 * d.breaker_failures and d.window_failed >= d.window_ok) then
      d.breaker := 'open';
    end if;
  elsif p_failed > 0 then
    if d.breaker = 'half_open' then
      d.breaker := 'open'; d.open_until := null;
    end if;
  elsif p_ok > 0 then
    d.breaker := 'closed'; d.closed_at := v_now; d.trips := 0; d.open_until := null;
    d.consecutive_failures := 0; d.window_start := v_now; d.window_ok := 0; d.window_failed := 0;
  end if;
  if d.breaker = 'open' and d.open_until is null then
    d.open_until := v_now + least(300, d.breaker_open_seconds * power(2, least(d.trips, 10))) * (0.8 + random() * 0.4) * interval '1 second';
    d.trips := d.trips + 1;
  end if;
  update outbox_destination set not_before = d.not_before, breaker = d.breaker, closed_at = d.closed_at, open_until = d.open_until, trips = d.trips,
    consecutive_failures = d.consecutive_failures, window_start = d.window_start, window_ok = d.window_ok, window_failed = d.window_failed
  where id = p_destination;
  return d.breaker;
end $function$;

-- Second half of settling; the caller holds the locks of outbox_lock. Outcomes: sent and dead advance the lane, blocked stops it
-- until a person replays the message, retry counts an attempt, released says that nothing left.
create or replace function outbox_settle(p_results json, p_replica text)
 RETURNS void
 LANGUAGE sql
 SET enable_seqscan TO 'off'
AS $function$
  with result as materialized (
    select r.*, h.destination_id, h.lane_key, h.lane_seq, h.attempts
    from json_to_recordset(p_results) as r (id uuid, outcome text, class text, status integer, error text, duration_ms integer, delay_ms double precision, open boolean)
    join outbox_head h on h.message_id = r.id
  ), advanced as (
    update outbox_lane l set head_seq = l.head_seq + 1, blocked_by = null
    from result r
    where r.outcome in ('sent', 'dead') and l.destination_id = r.destination_id and l.lane_key = r.lane_key and l.head_seq = r.lane_seq
    returning r.id as settled_id, l.destination_id, l.lane_key, l.head_seq, l.last_seq
  ), following as materialized (
    select a.settled_id, m.id, m.destination_id, m.lane_key, m.lane_seq
    from advanced a join outbox_message m on m.destination_id = a.destination_id and m.lane_key = a.lane_key and m.lane_seq = a.head_seq
    where a.head_seq <= a.last_seq
      and m.id >= uuid_v7_floor(coalesce(uuid_extract_timestamp(a.settled_id), 'epoch') - interval '1 day') and m.id < uuid_v7_floor(now() + interval '1 day')
  ), moved as (
    -- In place: deleting this head and inserting the next in one statement would race with itself on the unique index.
    update outbox_head h
    set message_id = f.id, lane_seq = f.lane_seq, visible_at = clock_timestamp(), leased = false, attempts = 0, claims = 0, releases = 0, token = h.token + 1, owner = null
    from following f where h.destination_id = f.destination_id and h.lane_key = f.lane_key
  ), removed as (
    delete from outbox_head h using result r
    where h.message_id = r.id and r.outcome in ('sent', 'dead')
      and h.message_id not in (select f.settled_id from following f)
  ), again as (
    update outbox_head h
    set visible_at = case r.outcome when 'blocked' then 'infinity'::timestamptz else clock_timestamp() + r.delay_ms * interval '1 millisecond' end,
        leased = false, owner = null, attempts = h.attempts + case r.outcome when 'released' then 0 else 1 end,
        claims = h.claims - case r.outcome when 'released' then 1 else 0 end, releases = h.releases + case r.outcome when 'released' then 1 else 0 end
    from result r where h.message_id = r.id and r.outcome in ('retry', 'released', 'blocked')
  ), blocked as (
    update outbox_lane l set blocked_by = r.id from result r
    where r.outcome = 'blocked' and l.destination_id = r.destination_id and l.lane_key = r.lane_key
  ), revived as (
    -- A blocked message that a callback settled is nobody's worry any more.
    delete from outbox_dead d using result r where r.outcome = 'sent' and d.message_id = r.id
  ), dead as (
    insert into outbox_dead (message_id, destination_id, class, error, attempts, open)
    select id, destination_id, class, error, attempts + 1, coalesce(open, true) from result where outcome in ('dead', 'blocked')
    on conflict (message_id) do update set class = excluded.class, error = excluded.error, attempts = excluded.attempts, open = excluded.open, at = clock_timestamp()
  )
  insert into outbox_attempt (message_id, n, outcome, class, status, error, duration_ms, replica)
  select id, attempts + 1, outcome, class, status, error, duration_ms, p_replica from result
$function$;

-- One more permit for a retry within an attempt, so that retries obey the rate limit too.
create or replace function outbox_take_permit(p_destination integer)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  d outbox_destination; v_now timestamptz; v_tokens double precision;
begin
  select * into d from outbox_destination where id = p_destination for no key update;
  v_now := clock_timestamp();
  if d.paused_at is not null or d.not_before > v_now then return false; end if;
  if d.rate_per_second = 0 then return true; end if;
  v_tokens := least(d.burst, d.tokens + greatest(extract(epoch from v_now - d.tokens_at), 0) * d.rate_per_second);
  if v_tokens < 1 then return false; end if;
  update outbox_destination set tokens = v_tokens - 1, tokens_at = v_now where id = p_destination;
  return true;
end $function$;

create or replace function uuid_v7_floor(p_at timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE STRICT
AS $function$
  select rpad(lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$function$;

create or replace function recon.action_is_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'recon.action is append-only';
end $function$;

-- The same break has the same id in every database and whatever came before it, so a report that names it can be made again.
create or replace function recon.exception_id(p_key uuid, p_class text)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
  select encode(set_byte(set_byte(h, 6, (get_byte(h, 6) & 15) | 128), 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid
  from substring(sha256(uuid_send(p_key) || convert_to(p_class, 'UTF8')) from 1 for 16) as h
$function$;

-- Letters as digits to the base 32; 0 for what is no code of 1 to 8 capital letters. See packCurrency in engine/stage-lines.ts.
create or replace function recon.pack_currency(p_currency text)
 RETURNS bigint
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
declare
  v_packed bigint := 0;
begin
  if p_currency !~ '^[A-Z]{1,8}$' then return 0; end if;
  for place in 1 .. length(p_currency) loop
    v_packed := v_packed * 32 + ascii(substr(p_currency, place, 1)) - 64;
  end loop;
  return v_packed;
end $function$;

-- The key of a bet's repayment: both have the correlation id of the bet, and each is a booking of its own. See undoKey in engine/stage-lines.ts.
create or replace function recon.undo_key(p_key uuid)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
  select encode(set_byte(set_byte(h, 6, (get_byte(h, 6) & 15) | 128), 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid
  from substring(sha256('undo'::bytea || uuid_send(p_key)) from 1 for 16) as h
$function$;

-- Accepts a batch of movements with their outbox messages in one commit. Verdict per row, in the order given:
--   created | replayed (same key and request, or same business key and data) | key_reused | reference_reused
--   try_again (its key was held, in this very batch, by a request that is refused and so leaves the key free)
--   rolled_back (the bet was rolled back before it came) | round_closed (a debit on a closed round)
-- Every insert goes in the order of its unique index, so two batches with the same keys wait for each other at most one way.
create or replace function wallet_accept(p_rows json)
 RETURNS TABLE(place integer, verdict text, transaction_id uuid)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_created uuid[];
begin
  with input as materialized (
    select * from json_to_recordset(p_rows) as r (id uuid, operator_id integer, rgs_id integer, movement text, player_id text, external_player_id text,
      ref_id text, amount_minor bigint, currency text, exponent smallint, kind text, round_id text, round_closed boolean, game_id text, session_id text,
      meta text, message_id uuid, waited boolean, idempotency_key text, fingerprint text)
  ), new_key as (
    insert into idempotency_key (rgs_id, key, fingerprint, transaction_id)
    select rgs_id, idempotency_key, decode(fingerprint, 'hex'), id from input where idempotency_key is not null
    order by rgs_id, wallet_hash(idempotency_key), wallet_hash_long(idempotency_key, 1), id
    on conflict on constraint idempotency_key_pkey do nothing
    returning transaction_id
  ), created as (
    insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent,
      kind, round_id, round_closed, game_id, session_id, meta, message_id, waited)
    select id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent,
      kind, round_id, round_closed, game_id, session_id, meta::json, message_id, waited
    from input i
    where (i.idempotency_key is null or exists (select 1 from new_key k where k.transaction_id = i.id))
      -- A value and not "exists", which the planner may answer by reading all rounds once.
      and not (i.movement = 'debit' and i.round_id is not null and coalesce((
        select r.closed_at is not null from wallet_round r
        where r.rgs_id = i.rgs_id and r.player_hash = wallet_hash(i.player_id) and r.player_round_hash = wallet_player_round_hash(i.round_id, i.player_id, i.operator_id)
          and r.round_id = i.round_id and r.player_id = i.player_id and r.operator_id = i.operator_id), false))
    order by rgs_id, wallet_hash(ref_id), wallet_business_hash(ref_id, player_id, movement, operator_id), id
    on conflict on constraint wallet_transaction_business_key do nothing
    returning id
  )
  select coalesce(array_agg(id), '{}') into v_created from created;

  -- The lane is the operator's own player: two RGSs that move one wallet share its order.
  perform outbox_enqueue(array_agg(row (r.message_id, r.operator_id, r.operator_id, r.rgs_id, r.external_player_id, r.movement, r.id, r.path, r.body,
      case when r.deadline_seconds > 0 then clock_timestamp() + r.deadline_seconds * interval '1 second' end)::outbox_new_message))
  from json_to_recordset(p_rows) as r (id uuid, message_id uuid, operator_id integer, rgs_id integer, external_player_id text, movement text, path text, body text, deadline_seconds double precision)
  where r.id = any (v_created)
  having count(*) > 0;

  insert into wallet_round (rgs_id, round_id, player_id, operator_id)
  select rgs_id, round_id, player_id, operator_id
  from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer)
  where round_id is not null and id = any (v_created)
  group by rgs_id, round_id, player_id, operator_id
  order by rgs_id, wallet_hash(player_id), wallet_player_round_hash(round_id, player_id, operator_id)
  on conflict on constraint wallet_round_pkey do nothing;

  -- Which of them are open is asked of the rows that the key has found. As a condition of theirs it led the planner to wallet_round_open,
  -- which while the statistics know of few open rounds looks shorter than the key: each batch then read every open round there is.
  with closing as materialized (
    select w.rgs_id, w.player_hash, w.player_round_hash, w.closed_at
    from json_to_recordset(p_rows) as r (id uuid, rgs_id integer, round_id text, player_id text, operator_id integer, round_closed boolean)
    join wallet_round w on w.rgs_id = r.rgs_id and w.player_hash = wallet_hash(r.player_id) and w.player_round_hash = wallet_player_round_hash(r.round_id, r.player_id, r.operator_id)
      and w.round_id = r.round_id and w.player_id = r.player_id and w.operator_id = r.operator_id
    where r.round_closed and r.id = any (v_created)
    order by w.rgs_id, w.player_hash, w.player_round_hash for update of w
  )
  update wallet_round w set closed_at = now() from closing c
  where c.closed_at is null and w.rgs_id = c.rgs_id and w.player_hash = c.player_hash and w.player_round_hash = c.player_round_hash;

  if cardinality(v_created) = json_array_length(p_rows) then
    return query select o::integer - 1, 'created'::text, (value ->> 'id')::uuid from json_array_elements(p_rows) with ordinality as e (value, o);
    return;
  end if;

  -- The rest are repeats or conflicts. This is a later statement, so it sees what the winners of the unique constraints committed.
  return query
  with input as materialized (
    select o::integer - 1 as place, r.*
    from json_array_elements(p_rows) with ordinality as e (value, o),
         json_to_record(value) as r (id uuid, operator_id integer, rgs_id integer, movement text, player_id text, ref_id text, amount_minor bigint,
           currency text, kind text, round_id text, round_closed boolean, game_id text, idempotency_key text, fingerprint text)
  ), judged as materialized (
    select i.place, i.id, i.rgs_id, i.idempotency_key, k.transaction_id as key_holder,
      case
        when i.id = any (v_created) then 'created'
        -- Rows are found by hash. One whose text differs has the place, and that is all there is to say about it.
        when k.transaction_id <> i.id and (k.key <> i.idempotency_key or k.fingerprint <> decode(i.fingerprint, 'hex')) then 'key_reused'
        when first.id is not null then 'replayed'
        when not same.movement then 'reference_reused'
        when t.tombstone then 'rolled_back'
        when t.id is null then 'round_closed'
        when t.amount_minor = i.amount_minor and t.currency = i.currency and t.kind = i.kind and t.round_closed = i.round_closed
          and t.round_id is not distinct from i.round_id and t.game_id is not distinct from i.game_id then 'replayed'
        else 'reference_reused'
      end as verdict,
      coalesce(first.id, case when same.movement then t.id end) as answer_id
    from input i
    left join idempotency_key k on k.rgs_id = i.rgs_id and k.key_check = wallet_hash(i.idempotency_key) and k.key_hash = wallet_hash_long(i.idempotency_key, 1)
    -- Null when the key belongs to a request of this very batch that made no transaction either.
    left join wallet_transaction first on first.id = k.transaction_id and k.transaction_id <> i.id
    left join wallet_transaction t on t.rgs_id = i.rgs_id and t.ref_hash = wallet_hash(i.ref_id)
      and t.business_hash = wallet_business_hash(i.ref_id, i.player_id, i.movement, i.operator_id)
    cross join lateral (select t.ref_id = i.ref_id and t.player_id = i.player_id and t.movement = i.movement and t.operator_id = i.operator_id as movement) same
  ), adopted as (
    -- A new key on a known movement from now on stands for that movement.
    update idempotency_key k set transaction_id = j.answer_id from judged j
    where j.verdict = 'replayed' and k.rgs_id = j.rgs_id and k.key_check = wallet_hash(j.idempotency_key) and k.key_hash = wallet_hash_long(j.idempotency_key, 1) and k.transaction_id = j.id
  ), refused as (
    -- A refused request leaves its key free.
    delete from idempotency_key k using judged j
    where j.verdict in ('reference_reused', 'rolled_back', 'round_closed')
      and k.rgs_id = j.rgs_id and k.key_check = wallet_hash(j.idempotency_key) and k.key_hash = wallet_hash_long(j.idempotency_key, 1) and k.transaction_id = j.id
  )
  select j.place,
    case when j.verdict = 'key_reused' and exists (select 1 from judged h where h.id = j.key_holder and h.verdict in ('reference_reused', 'rolled_back', 'round_closed')) then 'try_again' else j.verdict end,
    case when j.verdict = 'created' then j.id else j.answer_id end
  from judged j order by j.place;
end $function$;

