import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The outbox: immutable messages, insert-only attempts, and two narrow tables that change.
 * A lane is (destination, ordering key). Only the head of a lane stands in the claimable table, so the cost of a claim does not grow
 * with the backlog of a blocked player. `visible_at` is schedule, backoff and lease in one; crash recovery needs no sweeper.
 *
 * Lock order everywhere: destination, lane, head, then the caller's own rows. Only the database's clock decides.
 *
 * Message ids are UUIDv7, so ranges of ids are ranges of time: the partitions are bounded by ids, the primary key stays unique over
 * all of them, and a look-up by id prunes to one partition without carrying created_at through every table.
 */
export class CreateOutbox1795000000002 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table outbox_destination (
        id integer not null constraint outbox_destination_pkey primary key constraint outbox_destination_partner_fkey references partner (id),
        queue text not null,
        rate_per_second double precision not null default 0,
        burst double precision not null default 1,
        tokens double precision not null default 0,
        tokens_at timestamptz not null default clock_timestamp(),
        not_before timestamptz,
        paused_at timestamptz,
        pause_reason text,
        breaker text not null default 'closed',
        breaker_failures integer not null default 10,
        breaker_open_seconds double precision not null default 10,
        open_until timestamptz,
        trips integer not null default 0,
        consecutive_failures integer not null default 0,
        window_start timestamptz,
        window_ok integer not null default 0,
        window_failed integer not null default 0,
        constraint outbox_destination_queue check (queue in ('operator', 'rgs')),
        constraint outbox_destination_breaker check (breaker in ('closed', 'open', 'half_open'))
      ) with (fillfactor = 20);
      comment on column outbox_destination.burst is 'capacity of the token bucket; see docs/decisions/0004';

      create table outbox_lane (
        destination_id integer not null,
        lane_key text not null,
        last_seq bigint not null default 0,
        head_seq bigint not null default 1,
        blocked_by uuid,
        constraint outbox_lane_pkey primary key (destination_id, lane_key)
      ) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

      create table outbox_message (
        id uuid not null,
        destination_id integer not null,
        operator_id integer not null,
        rgs_id integer not null,
        lane_key text,
        lane_seq bigint,
        event_type text not null,
        transaction_id uuid,
        path text not null,
        body text not null,
        expires_at timestamptz,
        created_at timestamptz not null default now(),
        constraint outbox_message_pkey primary key (id),
        constraint outbox_message_body check (octet_length(body) <= 65536)
      ) partition by range (id);
      create table outbox_message_default partition of outbox_message default;
      create index outbox_message_lane on outbox_message (destination_id, lane_key, lane_seq) where lane_key is not null;
      create index outbox_message_transaction on outbox_message (transaction_id);
      comment on column outbox_message.expires_at is 'from here on the message must not be sent any more; null = never';
      comment on column outbox_message.body is 'the exact bytes as UTF-8 text; frozen here, so a retry or a replay can never send others';

      create table outbox_head (
        message_id uuid not null constraint outbox_head_pkey primary key,
        destination_id integer not null,
        lane_key text,
        lane_seq bigint,
        visible_at timestamptz not null default clock_timestamp(),
        leased boolean not null default false,
        attempts integer not null default 0,
        claims integer not null default 0,
        releases integer not null default 0,
        token bigint not null default 0,
        owner text
      ) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);
      comment on column outbox_head.claims is 'leases under which the message may have left; a lease that is given back unsent is taken off again';
      create index outbox_head_ready on outbox_head (destination_id, visible_at);
      create unique index outbox_head_lane on outbox_head (destination_id, lane_key) where lane_key is not null;

      create table outbox_attempt (
        message_id uuid not null,
        n integer not null,
        at timestamptz not null default clock_timestamp(),
        outcome text not null,
        class text not null,
        status integer,
        error text,
        duration_ms integer,
        replica text not null,
        constraint outbox_attempt_outcome check (outcome in ('sent', 'retry', 'released', 'dead', 'blocked', 'stale'))
      ) partition by range (at);
      create table outbox_attempt_default partition of outbox_attempt default;
      create index outbox_attempt_message on outbox_attempt (message_id, at);

      create table outbox_dead (
        message_id uuid not null constraint outbox_dead_pkey primary key,
        destination_id integer not null,
        class text not null,
        error text,
        attempts integer not null,
        open boolean not null,
        at timestamptz not null default clock_timestamp()
      );
      comment on column outbox_dead.open is 'somebody must still deal with it; a refusal that settled its movement needs nobody';
      create index outbox_dead_destination on outbox_dead (destination_id, message_id);

      create type outbox_new_message as (
        id uuid, destination_id integer, operator_id integer, rgs_id integer, lane_key text, event_type text, transaction_id uuid, path text, body text, expires_at timestamptz
      );
    `);

    // Weekly partitions, made ahead of time. Names carry the Monday of their week.
    await runner.query(`
      create function uuid_v7_floor(p_at timestamptz) returns uuid language sql immutable strict as $$
        select rpad(lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
      $$;

      create function outbox_create_partitions(p_weeks_ahead integer) returns integer language plpgsql as $$
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
      end $$;

      create function outbox_drop_partitions(p_message_days integer, p_attempt_days integer) returns text[] language plpgsql as $$
      declare
        v_part record; v_week timestamptz; v_dropped text[] := '{}'; v_needed boolean;
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
          if v_part.parent = 'outbox_message' then
            execute format('delete from outbox_dead d using %I m where d.message_id = m.id', v_part.name);
          end if;
          execute format('drop table %I', v_part.name);
          v_dropped := v_dropped || v_part.name;
        end loop;
        return v_dropped;
      end $$;

      select outbox_create_partitions(4);
    `);

    await runner.query(`
      -- Adds messages inside the caller's transaction. The lane row is locked until commit, so numbers within a lane are free of gaps
      -- and in commit order. Lanes are taken in sorted order: two batches cannot wait for each other.
      create function outbox_enqueue(p_messages outbox_new_message[]) returns void language sql as $$
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
      $$;

      -- Leases up to p_want due messages of one destination. Permits are taken before leasing, so nothing is leased that may not be sent.
      -- When fewer than p_want are leased, a last row with a null id says in wait_ms when it is worth asking again.
      -- The destination row is locked with NO KEY UPDATE and SKIP LOCKED: when another replica claims, this one simply comes back.
      create function outbox_claim(p_destination integer, p_want integer, p_lease_ms double precision, p_owner text, p_floor timestamptz)
      returns table (id uuid, token bigint, attempts integer, claims integer, releases integer, lane_key text, event_type text, transaction_id uuid, path text, body text, expires_in_ms double precision, probe boolean, wait_ms double precision)
      -- A backlog can grow a thousandfold between two runs of ANALYZE. Whatever the statistics say, the heads are read in the order of
      -- outbox_head_ready and by key: a bitmap or a sort would read every head that is due, to lease a few.
      language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $$
      #variable_conflict use_column
      declare
        d outbox_destination; v_now timestamptz; v_permits integer := p_want; v_tokens double precision; v_claimed integer; v_wait double precision; v_next timestamptz;
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
            select h.visible_at into v_next from outbox_head h
            where h.destination_id = p_destination and h.visible_at > v_now order by h.visible_at limit 1;
            v_wait := case when v_next is null or v_next = 'infinity' then 3600000 else extract(epoch from v_next - v_now) * 1000 end;
          elsif d.breaker <> 'closed' then
            v_wait := 50;
          else
            v_wait := (1 - (v_tokens - v_claimed - floor(v_tokens - v_claimed))) / d.rate_per_second * 1000;
          end if;
          id := null; token := null; attempts := null; claims := null; releases := null; lane_key := null; expires_in_ms := null; event_type := null;
          transaction_id := null; path := null; body := null; probe := null; wait_ms := v_wait;
          return next;
        end if;
      end $$;

      -- One more permit for a retry within an attempt, so that retries obey the rate limit too.
      create function outbox_take_permit(p_destination integer) returns boolean language plpgsql as $$
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
      end $$;

      -- First half of settling: locks the lanes, then the heads whose lease is still ours. 'busy': another transaction holds the lane,
      -- come back; 'stale': the lease was lost. The second half must be a later statement: it looks for the next message of the lane,
      -- and only a snapshot taken after the lane lock sees what was enqueued while we waited for it.
      create function outbox_lock(p_ids uuid[], p_tokens bigint[]) returns table (id uuid, verdict text) language plpgsql set enable_seqscan = off as $$
      #variable_conflict use_column
      declare
        v_free uuid[];
      begin
        with mine as materialized (
          select h.message_id, h.destination_id, h.lane_key
          from unnest(p_ids, p_tokens) x (id, token) join outbox_head h on h.message_id = x.id and h.token = x.token
        ), locked as materialized (
          select l.destination_id, l.lane_key from outbox_lane l join mine on mine.destination_id = l.destination_id and mine.lane_key = l.lane_key
          order by l.destination_id, l.lane_key for no key update of l skip locked
        )
        select array_agg(mine.message_id) into v_free
        from mine left join locked on locked.destination_id = mine.destination_id and locked.lane_key = mine.lane_key
        where mine.lane_key is null or locked.lane_key is not null;

        return query
        with held as materialized (
          select h.message_id from unnest(p_ids, p_tokens) x (id, token)
          join outbox_head h on h.message_id = x.id and h.token = x.token
          where x.id = any (v_free) order by h.message_id for update of h
        )
        select x.id, case when held.message_id is not null then 'ok' when still.message_id is not null then 'busy' else 'stale' end
        from unnest(p_ids, p_tokens) x (id, token)
        left join held on held.message_id = x.id
        left join outbox_head still on still.message_id = x.id and still.token = x.token;
      end $$;

      -- Second half of settling; the caller holds the locks of outbox_lock. Outcomes: sent and dead advance the lane, blocked stops it
      -- until a person replays the message, retry counts an attempt, released says that nothing left.
      create function outbox_settle(p_results json, p_replica text) returns void language sql set enable_seqscan = off as $$
        with result as materialized (
          select r.*, h.destination_id, h.lane_key, h.lane_seq, h.attempts
          from json_to_recordset(p_results) as r (id uuid, outcome text, class text, status integer, error text, duration_ms integer, delay_ms double precision, open boolean)
          join outbox_head h on h.message_id = r.id
        ), advanced as (
          update outbox_lane l set head_seq = l.head_seq + 1, blocked_by = null
          from result r
          where r.outcome in ('sent', 'dead') and l.destination_id = r.destination_id and l.lane_key = r.lane_key and l.head_seq = r.lane_seq
          returning l.destination_id, l.lane_key, l.head_seq, l.last_seq
        ), following as materialized (
          select m.id, m.destination_id, m.lane_key, m.lane_seq
          from advanced a join outbox_message m on m.destination_id = a.destination_id and m.lane_key = a.lane_key and m.lane_seq = a.head_seq
          where a.head_seq <= a.last_seq
        ), moved as (
          -- In place: deleting this head and inserting the next in one statement would race with itself on the unique index.
          update outbox_head h
          set message_id = f.id, lane_seq = f.lane_seq, visible_at = clock_timestamp(), leased = false, attempts = 0, claims = 0, releases = 0, token = h.token + 1, owner = null
          from following f where h.destination_id = f.destination_id and h.lane_key = f.lane_key
        ), removed as (
          delete from outbox_head h using result r
          where h.message_id = r.id and r.outcome in ('sent', 'dead')
            and not exists (select 1 from following f where f.destination_id = r.destination_id and f.lane_key = r.lane_key)
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
      $$;

      -- Health of a destination after a flush: circuit breaker and Retry-After. Statistics, so it runs outside the settling transaction.
      create function outbox_report(p_destination integer, p_ok integer, p_failed integer, p_not_before_ms double precision) returns text language plpgsql as $$
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
          d.breaker := 'closed'; d.trips := 0; d.open_until := null;
          d.consecutive_failures := 0; d.window_start := v_now; d.window_ok := 0; d.window_failed := 0;
        end if;
        if d.breaker = 'open' and d.open_until is null then
          d.open_until := v_now + least(300, d.breaker_open_seconds * power(2, least(d.trips, 10))) * (0.8 + random() * 0.4) * interval '1 second';
          d.trips := d.trips + 1;
        end if;
        update outbox_destination set not_before = d.not_before, breaker = d.breaker, open_until = d.open_until, trips = d.trips,
          consecutive_failures = d.consecutive_failures, window_start = d.window_start, window_ok = d.window_ok, window_failed = d.window_failed
        where id = p_destination;
        return d.breaker;
      end $$;

      -- Lanes that hold messages but no head. None should ever exist; one that does is given its head back and counted.
      create function outbox_repair_lanes() returns integer language plpgsql as $$
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
      end $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      drop function outbox_repair_lanes, outbox_report, outbox_settle, outbox_lock, outbox_take_permit, outbox_claim, outbox_enqueue,
        outbox_drop_partitions, outbox_create_partitions, uuid_v7_floor;
      drop type outbox_new_message;
      drop table outbox_dead, outbox_attempt, outbox_head, outbox_message, outbox_lane, outbox_destination;
    `);
  }
}
