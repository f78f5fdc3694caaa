import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Settling whose cost follows the number of messages and not its square. The planner takes what a CTE or an array holds for one row, and
 * joined two of them by comparing every message of a batch with every other; a quarter of a million comparisons for 500 messages, twice in
 * locking and once in settling. Now a row carries along what it was joined for, and what remains is a look into a hash table. The meaning
 * and the signatures are those of before, so that processes of the build before go on working while they are replaced.
 */
const lock = (linear: boolean): string => `
  -- First half of settling: locks the lanes, then the heads whose lease is still ours. 'busy': another transaction holds the lane,
  -- come back; 'stale': the lease was lost. The second half must be a later statement: it looks for the next message of the lane,
  -- and only a snapshot taken after the lane lock sees what was enqueued while we waited for it.
  create or replace function outbox_lock(p_ids uuid[], p_tokens bigint[]) returns table (place integer, verdict text) language plpgsql set enable_seqscan = off as $$
  #variable_conflict use_column
  declare
    v_free uuid[];
  begin
    with mine as materialized (
      select h.message_id, h.destination_id, h.lane_key
      from unnest(p_ids, p_tokens) x (id, token) join outbox_head h on h.message_id = x.id and h.token = x.token
    ), locked as materialized (
      select ${linear ? 'mine.message_id' : 'l.destination_id, l.lane_key'} from outbox_lane l join mine on mine.destination_id = l.destination_id and mine.lane_key = l.lane_key
      order by l.destination_id, l.lane_key for no key update of l skip locked
    )
    ${
      linear
        ? `select array_agg(message_id) into v_free
    from (select message_id from locked union all select message_id from mine where lane_key is null) free;`
        : `select array_agg(mine.message_id) into v_free
    from mine left join locked on locked.destination_id = mine.destination_id and locked.lane_key = mine.lane_key
    where mine.lane_key is null or locked.lane_key is not null;`
    }

    return query
    with held as materialized (
      select ${linear ? 'x.place' : 'h.message_id, h.token'} from unnest(p_ids, p_tokens) with ordinality x (id, token, place)
      join outbox_head h on h.message_id = x.id and h.token = x.token
      where x.id = any (v_free) order by h.message_id for update of h
    )
    select x.place::integer - 1, case when ${linear ? 'x.place in (select place from held)' : 'held.message_id is not null'} then 'ok' when still.message_id is not null then 'busy' else 'stale' end
    from unnest(p_ids, p_tokens) with ordinality x (id, token, place)${linear ? '' : '\n    left join held on held.message_id = x.id and held.token = x.token'}
    left join outbox_head still on still.message_id = x.id and still.token = x.token;
  end $$;
`;

/**
 * The next message of a lane was made after the one that is settled, and by now. Its id says when, and so do the bounds of the partitions:
 * without this, each settled message costs a look into the index of every week that is kept or made ahead. The clocks of processes differ by
 * seconds; requests of a process whose clock is wrong by more than minutes are refused everywhere.
 */
const NEAR = `
        and m.id >= uuid_v7_floor(coalesce(uuid_extract_timestamp(a.settled_id), 'epoch') - interval '1 day') and m.id < uuid_v7_floor(now() + interval '1 day')`;

const settle = (linear: boolean): string => `
  create or replace function outbox_settle(p_results json, p_replica text) returns void language sql set enable_seqscan = off as $$
    with result as materialized (
      select r.*, h.destination_id, h.lane_key, h.lane_seq, h.attempts
      from json_to_recordset(p_results) as r (id uuid, outcome text, class text, status integer, error text, duration_ms integer, delay_ms double precision, open boolean)
      join outbox_head h on h.message_id = r.id
    ), advanced as (
      update outbox_lane l set head_seq = l.head_seq + 1, blocked_by = null
      from result r
      where r.outcome in ('sent', 'dead') and l.destination_id = r.destination_id and l.lane_key = r.lane_key and l.head_seq = r.lane_seq
      returning ${linear ? 'r.id as settled_id, ' : ''}l.destination_id, l.lane_key, l.head_seq, l.last_seq
    ), following as materialized (
      select ${linear ? 'a.settled_id, ' : ''}m.id, m.destination_id, m.lane_key, m.lane_seq
      from advanced a join outbox_message m on m.destination_id = a.destination_id and m.lane_key = a.lane_key and m.lane_seq = a.head_seq
      where a.head_seq <= a.last_seq${linear ? NEAR : ''}
    ), moved as (
      -- In place: deleting this head and inserting the next in one statement would race with itself on the unique index.
      update outbox_head h
      set message_id = f.id, lane_seq = f.lane_seq, visible_at = clock_timestamp(), leased = false, attempts = 0, claims = 0, releases = 0, token = h.token + 1, owner = null
      from following f where h.destination_id = f.destination_id and h.lane_key = f.lane_key
    ), removed as (
      delete from outbox_head h using result r
      where h.message_id = r.id and r.outcome in ('sent', 'dead')
        and ${linear ? 'h.message_id not in (select f.settled_id from following f)' : 'not exists (select 1 from following f where f.destination_id = r.destination_id and f.lane_key = r.lane_key)'}
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
`;

export class LinearSettling1796000000020 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(lock(true));
    await runner.query(settle(true));
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(lock(false));
    await runner.query(settle(false));
  }
}
