import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What growth asks for: a claim whose cost does not follow the dead row versions that a long transaction keeps alive, a retention that
 * never makes others wait for its locks, and autovacuum that comes before a table has grown by a fifth. Signatures stay as they are, so
 * that processes of the build before go on working while they are replaced.
 */
export class Growth1795000000025 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Leases up to p_want due messages of one destination. Permits are taken before leasing, so nothing is leased that may not be sent.
      -- When fewer than p_want are leased, a last row with a null id says in wait_ms when it is worth asking again.
      -- The destination row is locked with NO KEY UPDATE and SKIP LOCKED: when another replica claims, this one simply comes back.
      create or replace function outbox_claim(p_destination integer, p_want integer, p_lease_ms double precision, p_owner text, p_floor timestamptz)
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
            -- Nobody sleeps for longer than this anyway. Behind it lie the dead versions of all leases of the last half minute, and while a
            -- long transaction keeps them alive an unbounded look walks over every one of them.
            select h.visible_at into v_next from outbox_head h
            where h.destination_id = p_destination and h.visible_at > v_now and h.visible_at <= v_now + interval '1500 milliseconds' order by h.visible_at limit 1;
            v_wait := case when v_next is null then 3600000 else extract(epoch from v_next - v_now) * 1000 end;
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
    `);
    await runner.query(`
      -- Drops at most one week per call, so that its locks are short; answers its name.
      create or replace function outbox_drop_partitions(p_message_days integer, p_attempt_days integer) returns text[] language plpgsql as $$
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
      end $$;
    `);
    await runner.query(`
      -- For ever growing tables: the default waits for a fifth of the table to change, which at ten million rows is two million.
      alter table wallet_transaction set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
      alter table idempotency_key set (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
      alter table wallet_event set (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
      alter table wallet_outcome set (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
      alter table wallet_round set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
      -- One row per partner, and its updates decide how long a claim's first step takes.
      alter table outbox_destination set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Leases up to p_want due messages of one destination. Permits are taken before leasing, so nothing is leased that may not be sent.
      -- When fewer than p_want are leased, a last row with a null id says in wait_ms when it is worth asking again.
      -- The destination row is locked with NO KEY UPDATE and SKIP LOCKED: when another replica claims, this one simply comes back.
      create or replace function outbox_claim(p_destination integer, p_want integer, p_lease_ms double precision, p_owner text, p_floor timestamptz)
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
    `);
    await runner.query(`
      create or replace function outbox_drop_partitions(p_message_days integer, p_attempt_days integer) returns text[] language plpgsql as $$
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
    `);
    await runner.query(`
      alter table wallet_transaction reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor);
      alter table idempotency_key reset (autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor);
      alter table wallet_event reset (autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor);
      alter table wallet_outcome reset (autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor);
      alter table wallet_round reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor);
      alter table outbox_destination reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay);
    `);
  }
}
