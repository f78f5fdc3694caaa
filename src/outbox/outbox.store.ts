import { Injectable } from '@nestjs/common';
import { invariant } from '../kernel/invariant';
import { Database, HotDatabase, type Row, type Sql, type Tx } from '../database/database';
import type { LeasedMessage, NewMessage, Outcome, Queue } from './outbox-message';

export interface DestinationSettings {
  readonly id: number;
  readonly queue: Queue;
  readonly ratePerSecond: number;
  /** Capacity of the token bucket. */
  readonly burst: number;
  readonly breakerFailures: number;
  readonly breakerOpenSeconds: number;
}

export interface Claim {
  readonly messages: LeasedMessage[];
  /** When it is worth asking again, if fewer than wanted were leased; null when all were. */
  readonly waitMs: number | null;
  /** Whether more may be due, and the destination is only not trusted with it yet: slow start after an outage. */
  readonly slowed: boolean;
  /**
   * RGSs of which nothing can leave within `waitMs`, for want of a permit; null when permits are not what is wanting.
   */
  readonly heldUp: readonly number[] | null;
}

export interface SettledRow {
  readonly id: string;
  readonly outcome: Outcome;
  readonly class: string;
  readonly status: number | null;
  readonly error: string | null;
  readonly durationMs: number | null;
  readonly delayMs: number;
  readonly open: boolean;
  /** Null: it was not sent under a lease, and what is known of earlier calls stays. */
  readonly landing: Landing | null;
}

/** What may still be booked of a message when its lease is settled. */
export interface Landing {
  readonly lost: boolean;
  readonly answered: boolean;
  readonly landsMs: number;
  readonly hadFirstSentAt: Date | null;
  readonly hadMayLandUntil: Date | null;
}

/**
 * held: the lease is ours and locked. busy: another transaction holds the lane, come back. stale: the lease was lost.
 */
export type LockResult = 'ok' | 'busy' | 'stale';

export interface BreakerMove {
  readonly was: string;
  readonly now: string;
  /** Until the next probe; null while it is closed. */
  readonly openSeconds: number | null;
}

/** What a partner may know of its own destination. */
export interface Standing {
  readonly pausedAt: Date | null;
  readonly pauseReason: string | null;
  /** Messages that are neither delivered nor dead. */
  readonly waiting: number;
}

export interface DestinationHealth {
  readonly destinationId: number;
  readonly due: number;
  readonly waiting: number;
  readonly leased: number;
  readonly blocked: number;
  readonly dead: number;
  readonly lagSeconds: number;
  readonly breaker: string;
  readonly paused: boolean;
  readonly pauseReason: string | null;
  /** Until when a Retry-After holds all calls back; null when none does. */
  readonly notBefore: Date | null;
  /** What the last failed call met, also long ago. */
  readonly lastError: string | null;
  readonly lastErrorAt: Date | null;
}

/**
 * in_flight: leased, awaiting its response. idle: a head that is not being sent. waiting: behind its head. done:
 * settled.
 */
export interface MessagePosition {
  readonly place: 'in_flight' | 'idle' | 'waiting' | 'done';
  /** Whether it may have left before. */
  readonly possiblySent: boolean;
  /**
   * How long something of it may still be booked, in ms; 0 when nothing can be, and while it is in flight the least
   * that is known.
   */
  readonly landsInMs: number;
}

interface ClaimRow extends Row {
  id: string | null;
  token: string;
  attempts: number;
  claims: number;
  releases: number;
  lane_key: string | null;
  event_type: string;
  transaction_id: string | null;
  path: string;
  body: string;
  expires_in_ms: number | null;
  first_sent_at: Date | null;
  may_land_until: Date | null;
  lands_in_ms: number | null;
  probe: boolean;
  wait_ms: number | null;
  held_up: number[] | null;
}

/** A fence that no earlier lease of the message had: a result that comes late must not count for the new head. */
const UNUSED_TOKEN = '(extract(epoch from clock_timestamp()) * 1000000)::bigint';

/**
 * All SQL of the outbox. The tables, the functions and the order of locks are explained in the migration that makes
 * them.
 */
@Injectable()
export class OutboxStore {
  constructor(
    private readonly database: Database,
    private readonly hot: HotDatabase,
  ) {}

  async upsertDestinations(destinations: readonly DestinationSettings[]): Promise<void> {
    await this.database.rows(
      `insert into outbox_destination as d (id, queue, rate_per_second, burst, breaker_failures, breaker_open_seconds)
       select id, queue, rate_per_second, burst, breaker_failures, breaker_open_seconds
       from json_to_recordset($1) as x (id integer, queue text, rate_per_second float8, burst float8, breaker_failures integer, breaker_open_seconds float8)
       order by id
       on conflict (id) do update set rate_per_second = excluded.rate_per_second, burst = excluded.burst,
         breaker_failures = excluded.breaker_failures, breaker_open_seconds = excluded.breaker_open_seconds
       where (d.rate_per_second, d.burst, d.breaker_failures, d.breaker_open_seconds)
         is distinct from (excluded.rate_per_second, excluded.burst, excluded.breaker_failures, excluded.breaker_open_seconds)`,
      [
        JSON.stringify(
          destinations.map((d) => ({
            id: d.id,
            queue: d.queue,
            rate_per_second: d.ratePerSecond,
            burst: d.burst,
            breaker_failures: d.breakerFailures,
            breaker_open_seconds: d.breakerOpenSeconds,
          })),
        ),
      ],
    );
  }

  async enqueue(tx: Tx, messages: readonly NewMessage[]): Promise<void> {
    await tx.rows(
      `select outbox_enqueue(array_agg(row (id, destination_id, operator_id, rgs_id, lane_key, event_type, transaction_id, path, body,
         clock_timestamp() + expires_in_seconds * interval '1 second')::outbox_new_message))
       from json_to_recordset($1) as m (id uuid, destination_id integer, operator_id integer, rgs_id integer, lane_key text, event_type text, transaction_id uuid, path text, body text, expires_in_seconds float8)`,
      [JSON.stringify(messages.map(messageRow))],
    );
  }

  /**
   * `landMs`: how long from now a call that leaves under the lease may still be booked; null where that is no question.
   * `floor` is the watermark: rows older than it are known to be dead versions, and the index scan may skip them.
   */
  async claim(
    destinationId: number,
    want: number,
    leaseMs: number,
    landMs: number | null,
    owner: string,
    floor: Date,
  ): Promise<Claim> {
    const rows = await this.hot.prepared<ClaimRow>(
      'outbox_lease',
      'select * from outbox_lease($1, $2, $3, $4, $5, $6)',
      [destinationId, want, leaseMs, landMs, owner, floor],
    );
    const last = rows.at(-1);
    const end = last?.id === null ? last : undefined;
    // Later than the database's now, so a moment counted from here is never too early.
    const now = performance.now();
    return {
      messages: rows.filter((row) => row.id !== null).map((row) => leasedMessage(row, now)),
      waitMs: end?.wait_ms ?? null,
      heldUp: end?.held_up ?? null,
      slowed: end?.probe ?? false,
    };
  }

  /** Five seconds before the oldest thing that is due, or before now; and the database's clock. */
  async watermark(destinationId: number): Promise<{ floor: Date; now: Date }> {
    const [row] = await this.hot.prepared<{ floor: Date; now: Date }>(
      'outbox_watermark',
      `select least(min(h.visible_at), clock_timestamp()) - interval '5 seconds' as floor, clock_timestamp() as now
       from outbox_share s cross join lateral (select visible_at from outbox_head where destination_id = $1 and share = s.share order by visible_at limit 1) h where s.destination_id = $1`,
      [destinationId],
    );
    invariant(row !== undefined, 'an aggregate gave no row');
    return row;
  }

  /** Leases of a message that ended without a word; 0 for one that is no head. */
  async lostLeases(messageId: string): Promise<number> {
    const [row] = await this.hot.prepared<{ lost: number }>(
      'outbox_lost_leases',
      'select lost_leases as lost from outbox_head where message_id = $1',
      [messageId],
    );
    return row?.lost ?? 0;
  }

  /**
   * For a repeat within an attempt, or a call whose permit grew old before its connection was there: in how many ms it
   * may leave, null when not within `waitMsMax`. A message that expired or was recalled since it was claimed gets none:
   * its outcome is asked for now, not tried for.
   */
  async reservePermit(destinationId: number, messageId: string, waitMsMax: number): Promise<number | null> {
    const [row] = await this.hot.prepared<{ wait_ms: number | null }>(
      'outbox_reserve_permit',
      'select case when not exists (select 1 from outbox_message where id = $2 and expires_at <= clock_timestamp()) then outbox_reserve_permit($1, $3) end as wait_ms',
      [destinationId, messageId, waitMsMax],
    );
    return row?.wait_ms ?? null;
  }

  /**
   * A verdict per lease, in the order given: one message can be there twice, under the lease that was lost and under
   * the one that is held.
   */
  async lock(tx: Tx, leases: readonly { readonly id: string; readonly token: string }[]): Promise<LockResult[]> {
    const rows = await tx.rows<{ place: number; verdict: LockResult }>(
      'select place, verdict from outbox_lock($1, $2)',
      [leases.map(({ id }) => id), leases.map(({ token }) => token)],
    );
    const verdicts: LockResult[] = leases.map(() => 'stale');
    for (const { place, verdict } of rows) verdicts[place] = verdict;
    return verdicts;
  }

  async settle(tx: Tx, results: readonly SettledRow[], replica: string): Promise<void> {
    await tx.rows('select outbox_settle($1, $2)', [
      JSON.stringify(
        results.map((r) => ({
          id: r.id,
          outcome: r.outcome,
          class: r.class,
          status: r.status,
          error: r.error,
          duration_ms: r.durationMs,
          delay_ms: r.delayMs,
          open: r.open,
          ...landingRow(r.landing),
        })),
      ),
      replica,
    ]);
  }

  /** A result that came after its lease was lost changes nothing, but it happened: the attempt log says so. */
  async logStale(tx: Tx, results: readonly SettledRow[], replica: string): Promise<void> {
    await tx.rows(
      `insert into outbox_attempt (message_id, n, outcome, class, status, error, duration_ms, replica)
       select id, 0, 'stale', class, status, error, duration_ms, $2
       from json_to_recordset($1) as r (id uuid, class text, status integer, error text, duration_ms integer)`,
      [
        JSON.stringify(
          results.map((r) => ({
            id: r.id,
            class: r.class,
            status: r.status,
            error: r.error,
            duration_ms: r.durationMs,
          })),
        ),
        replica,
      ],
    );
  }

  /** `error`: what the failed call met; null for a call that went well. */
  async report(
    destinationId: number,
    ok: number,
    failed: number,
    notBeforeMs: number | null,
    error: string | null = null,
  ): Promise<BreakerMove> {
    const [row] = await this.hot.prepared<{ was: string; breaker: string; open_seconds: number | null }>(
      'outbox_report_call',
      'select * from outbox_report_call($1, $2, $3, $4, $5)',
      [destinationId, ok, failed, notBeforeMs, error],
    );
    return { was: row?.was ?? 'closed', now: row?.breaker ?? 'closed', openSeconds: row?.open_seconds ?? null };
  }

  async pause(destinationId: number, reason: string): Promise<void> {
    await this.hot.prepared(
      'outbox_pause',
      'update outbox_destination set paused_at = clock_timestamp(), pause_reason = $2 where id = $1 and paused_at is null',
      [destinationId, reason],
    );
  }

  /** False when the destination was not paused. */
  async resume(tx: Tx, destinationId: number): Promise<boolean> {
    const rows = await tx.rows(
      'update outbox_destination set paused_at = null, pause_reason = null where id = $1 and paused_at is not null returning id',
      [destinationId],
    );
    return rows.length > 0;
  }

  /**
   * As lockLane, but skips lanes that another transaction holds; returns the list indexes of those that are locked now.
   */
  async lockFreeLanes(
    tx: Tx,
    lanes: readonly { readonly destinationId: number; readonly laneKey: string }[],
  ): Promise<Set<number>> {
    const parameters = [lanes.map(({ destinationId }) => destinationId), lanes.map(({ laneKey }) => laneKey)] as const;
    await tx.rows(
      'insert into outbox_lane (destination_id, lane_key) select distinct d, k from unnest($1::integer[], $2::text[]) x (d, k) order by d, k on conflict do nothing',
      parameters,
    );
    const rows = await tx.rows<{ destination_id: number; lane_key: string }>(
      `select l.destination_id, l.lane_key from outbox_lane l join (select distinct d, k from unnest($1::integer[], $2::text[]) x (d, k)) x on l.destination_id = x.d and l.lane_key = x.k
       order by l.destination_id, l.lane_key for no key update of l skip locked`,
      parameters,
    );
    const locked = new Set(rows.map((row) => `${row.destination_id}:${row.lane_key}`));
    return new Set(
      lanes.flatMap(({ destinationId, laneKey }, place) => (locked.has(`${destinationId}:${laneKey}`) ? [place] : [])),
    );
  }

  /** Makes the lane if it is new, so that two that lock it never pass each other. */
  async lockLane(tx: Tx, destinationId: number, laneKey: string): Promise<void> {
    await tx.rows('insert into outbox_lane (destination_id, lane_key) values ($1, $2) on conflict do nothing', [
      destinationId,
      laneKey,
    ]);
    await tx.rows('select 1 from outbox_lane where destination_id = $1 and lane_key = $2 for no key update', [
      destinationId,
      laneKey,
    ]);
  }

  /**
   * Where messages stand; their heads are locked if they have any. The caller holds the lanes. in_flight: leased, its
   * response is to come. idle: a head that is not being sent; `maybeSent` says whether it may have been sent before.
   * waiting: behind its head. done: settled.
   */
  async positions(tx: Tx, messageIds: readonly string[]): Promise<Map<string, MessagePosition>> {
    const positions = new Map<string, MessagePosition>();
    const heads = await tx.rows<{ message_id: string; leased: boolean; claims: number; lands_in_ms: number }>(
      `select message_id, leased and visible_at > clock_timestamp() as leased, claims, greatest(0, extract(epoch from may_land_until - clock_timestamp()) * 1000)::float8 as lands_in_ms
       from outbox_head where message_id = any ($1) order by message_id for update`,
      [messageIds],
    );
    for (const { message_id: id, leased, claims, lands_in_ms: landsInMs } of heads)
      positions.set(id, { place: leased ? 'in_flight' : 'idle', possiblySent: leased || claims > 0, landsInMs });
    const others = messageIds.filter((id) => !positions.has(id));
    if (others.length === 0) return positions;
    const queued = await tx.rows<{ id: string }>(
      'select m.id from outbox_message m join outbox_lane l on l.destination_id = m.destination_id and l.lane_key = m.lane_key where m.id = any ($1) and m.lane_seq > l.head_seq',
      [others],
    );
    const dead = await tx.rows<{ message_id: string; lands_in_ms: number }>(
      'select message_id, greatest(0, extract(epoch from may_land_until - clock_timestamp()) * 1000)::float8 as lands_in_ms from outbox_dead where message_id = any ($1)',
      [others],
    );
    for (const id of others)
      positions.set(id, {
        place: 'done',
        possiblySent: true,
        landsInMs: dead.find((row) => row.message_id === id)?.lands_in_ms ?? 0,
      });
    for (const { id } of queued) positions.set(id, { place: 'waiting', possiblySent: false, landsInMs: 0 });
    return positions;
  }

  /** Dead messages were resolved by other means than sending them again. */
  async closeDead(tx: Tx, messageIds: readonly string[]): Promise<void> {
    await tx.rows('update outbox_dead set open = false where message_id = any ($1)', [messageIds]);
  }

  /** From now on they must not simply be sent, whenever their turn comes. */
  async expire(tx: Tx, messageIds: readonly string[]): Promise<void> {
    await tx.rows('update outbox_message set expires_at = least(expires_at, clock_timestamp()) where id = any ($1)', [
      messageIds,
    ]);
  }

  async hurry(tx: Tx, messageId: string): Promise<void> {
    await tx.rows(
      `update outbox_head set visible_at = clock_timestamp() where message_id = $1 and not leased and visible_at > clock_timestamp() and visible_at < 'infinity'`,
      [messageId],
    );
  }

  async createPartitions(weeksAhead: number): Promise<number> {
    const [row] = await this.database.unhurried.rows<{ made: number }>('select outbox_create_partitions($1) as made', [
      weeksAhead,
    ]);
    return row?.made ?? 0;
  }

  async dropPartitions(messageDays: number, attemptDays: number): Promise<string[]> {
    const dropped: string[] = [];
    for (;;) {
      const [row] = await this.database.unhurried.rows<{ dropped: string[] }>(
        'select outbox_drop_partitions($1, $2) as dropped',
        [messageDays, attemptDays],
      );
      if (row === undefined || row.dropped.length === 0) return dropped;
      dropped.push(...row.dropped);
    }
  }

  async repairLanes(sql: Sql = this.database.unhurried): Promise<number> {
    const [row] = await sql.rows<{ repaired: number }>('select outbox_repair_lanes() as repaired');
    return row?.repaired ?? 0;
  }

  /** Reads the heads of what waits and their lanes; never the lanes of players for whom nothing does. */
  async standing(destinationId: number): Promise<Standing> {
    const [row] = await this.database.rows<{ paused_at: Date | null; pause_reason: string | null; waiting: string }>(
      `select d.paused_at, d.pause_reason,
         (select coalesce(sum(coalesce(l.last_seq - l.head_seq + 1, 1)), 0) from outbox_head h
          left join outbox_lane l on l.destination_id = h.destination_id and l.lane_key = h.lane_key where h.destination_id = d.id) as waiting
       from outbox_destination d where d.id = $1`,
      [destinationId],
    );
    // A destination begins with its first delivery loop.
    return row === undefined
      ? { pausedAt: null, pauseReason: null, waiting: 0 }
      : { pausedAt: row.paused_at, pauseReason: row.pause_reason, waiting: Number(row.waiting) };
  }

  async health(): Promise<DestinationHealth[]> {
    const rows = await this.database.unhurried.rows<{
      id: number;
      due: string;
      waiting: string;
      leased: string;
      blocked: string;
      dead: string;
      lag: number | null;
      breaker: string;
      paused: boolean;
      pause_reason: string | null;
      not_before: Date | null;
      last_error: string | null;
      last_error_at: Date | null;
    }>(`
      select d.id, d.breaker, d.paused_at is not null as paused, d.pause_reason, case when d.not_before > now() then d.not_before end as not_before, d.last_error, d.last_error_at,
        count(h.message_id) filter (where h.visible_at <= now() and not h.leased) as due,
        count(h.message_id) filter (where h.visible_at > now() and h.visible_at < 'infinity' and not h.leased) as waiting,
        count(h.message_id) filter (where h.leased) as leased,
        count(h.message_id) filter (where h.visible_at = 'infinity') as blocked,
        extract(epoch from now() - min(h.visible_at) filter (where h.visible_at <= now()))::float8 as lag,
        (select count(*) from outbox_dead x where x.destination_id = d.id and x.open) as dead
      from outbox_destination d left join outbox_head h on h.destination_id = d.id group by d.id`);
    return rows.map((row) => ({
      destinationId: row.id,
      due: Number(row.due),
      waiting: Number(row.waiting),
      leased: Number(row.leased),
      blocked: Number(row.blocked),
      dead: Number(row.dead),
      lagSeconds: row.lag ?? 0,
      breaker: row.breaker,
      paused: row.paused,
      pauseReason: row.pause_reason,
      notBefore: row.not_before,
      lastError: row.last_error,
      lastErrorAt: row.last_error_at,
    }));
  }

  /**
   * What must stay small: rows that no week fits (up to a thousand are counted), dead versions of heads, the age of the
   * oldest snapshot that keeps such versions alive.
   */
  async growth(): Promise<{
    messagesByDefault: number;
    attemptsByDefault: number;
    deadHeads: number;
    oldestSnapshotSeconds: number;
  }> {
    const [row] = await this.database.unhurried.rows<{
      messages: number;
      attempts: number;
      dead: number | null;
      oldest: number | null;
    }>(
      `select (select count(*)::integer from (select 1 from outbox_message_default limit 1000) m) as messages,
         (select count(*)::integer from (select 1 from outbox_attempt_default limit 1000) a) as attempts,
         (select n_dead_tup::integer from pg_stat_user_tables where relid = 'outbox_head'::regclass) as dead,
         (select extract(epoch from clock_timestamp() - min(xact_start))::float8 from pg_stat_activity where backend_xmin is not null and pid <> pg_backend_pid() and datname = current_database()) as oldest`,
    );
    return {
      messagesByDefault: row?.messages ?? 0,
      attemptsByDefault: row?.attempts ?? 0,
      deadHeads: row?.dead ?? 0,
      oldestSnapshotSeconds: row?.oldest ?? 0,
    };
  }

  /** The parts of a message that decide how it may be replayed. */
  async findForReplay(
    tx: Tx,
    queue: Queue,
    id: string,
  ): Promise<{ destinationId: number; laneKey: string | null; transactionId: string | null } | undefined> {
    // Shared with other replays, against outbox_drop_partitions: an old message must not lose its week between this
    // look and its new head.
    await tx.rows(`select pg_advisory_xact_lock_shared(hashtext('outbox_create_partitions'))`);
    const [row] = await tx.rows<{ destination_id: number; lane_key: string | null; transaction_id: string | null }>(
      'select m.destination_id, m.lane_key, m.transaction_id from outbox_message m join outbox_destination d on d.id = m.destination_id where d.queue = $1 and m.id = $2',
      [queue, id],
    );
    return row && { destinationId: row.destination_id, laneKey: row.lane_key, transactionId: row.transaction_id };
  }

  /**
   * Queues a delivered or dead message again, behind everything that its lane holds: what the receiver hears stays in
   * order. The caller holds the lane. False when it is in the queue still, or is more than a day old while the lane is
   * busy: settling looks for the next message among those of a day, and looking among all for the sake of this would be
   * everybody's price.
   */
  async requeue(tx: Tx, id: string): Promise<boolean> {
    const [queued] = await tx.rows<{ idle: boolean }>(
      `with lane as (
         update outbox_lane l set last_seq = l.last_seq + 1
         from outbox_message m
         where m.id = $1 and l.destination_id = m.destination_id and l.lane_key = m.lane_key and m.lane_seq < l.head_seq
           and (l.last_seq < l.head_seq or m.id >= uuid_v7_floor(now() - interval '1 day'))
         returning l.destination_id, l.lane_key, l.last_seq, l.head_seq
       ), moved as (
         update outbox_message m set lane_seq = lane.last_seq from lane where m.id = $1
       ), head as (
         insert into outbox_head (message_id, destination_id, lane_key, lane_seq, claims, token, share)
         select m.id, lane.destination_id, lane.lane_key, lane.last_seq, 1, ${UNUSED_TOKEN}, outbox_share_of(m.destination_id, m.operator_id, m.rgs_id, m.event_type)
         from lane, outbox_message m where m.id = $1 and lane.last_seq = lane.head_seq
       ), revived as (
         delete from outbox_dead where message_id = $1
       )
       select last_seq = head_seq as idle from lane`,
      [id],
    );
    return queued !== undefined;
  }

  /** Holds back the delivery of messages that have not left. */
  async holdBack(tx: Tx, messageIds: readonly string[], ms: number): Promise<void> {
    if (messageIds.length === 0) return;
    await tx.rows(
      `update outbox_head set visible_at = clock_timestamp() + $2::float8 * interval '1 millisecond' where message_id = any ($1) and claims = 0 and not leased`,
      [messageIds, ms],
    );
  }

  /**
   * Writes another body into a message that has not left, and makes it due; false when it may have left. A lane or a
   * head that another transaction holds is left alone: it is leaving now. Nothing that waits for a lane may come after
   * this in the transaction.
   */
  async rewrite(tx: Tx, messageId: string, body: string): Promise<boolean> {
    const rows = await tx.rows(
      `with head as (
         select message_id from outbox_head where message_id = $1 and claims = 0 and not leased for update skip locked
       ), due as (
         update outbox_head h set visible_at = clock_timestamp() from head where h.message_id = head.message_id
       ), lane as (
         select l.head_seq from outbox_lane l join outbox_message m on m.destination_id = l.destination_id and m.lane_key = l.lane_key
         where m.id = $1 and m.lane_seq > l.head_seq for no key update of l skip locked
       )
       update outbox_message m set body = $2
       where m.id = $1 and (exists (select 1 from head) or (exists (select 1 from lane where m.lane_seq > lane.head_seq) and not exists (select 1 from outbox_attempt a where a.message_id = m.id)))
       returning m.id`,
      [messageId, body],
    );
    return rows.length > 0;
  }

  /**
   * Makes a message due now, with the same bytes and the same id. The caller holds its lane. A head is hurried (and its
   * lane freed), a message that still queues behind its head is left in its place, anything else gets a head of its own
   * outside the lane. Only the schedule starts over: what may have been sent, and until when it may be booked, is not
   * forgotten.
   */
  async replay(tx: Tx, id: string): Promise<void> {
    const hurried = await tx.rows(
      `update outbox_head set visible_at = clock_timestamp(), attempts = 0, claims = 1, releases = 0, lost_leases = 0, leased = false, owner = null, token = token + 1, replayed_at = clock_timestamp()
       where message_id = $1 and not (leased and visible_at > clock_timestamp()) returning message_id`,
      [id],
    );
    // One that is on the wire is due already: it only gets its schedule back, and its lease stays as it is.
    await tx.rows('update outbox_head set attempts = 0, replayed_at = clock_timestamp() where message_id = $1', [id]);
    const [dead] = await tx.rows<{ first_sent_at: Date | null; may_land_until: Date | null }>(
      'delete from outbox_dead where message_id = $1 returning first_sent_at, may_land_until',
      [id],
    );
    if (hurried.length > 0) {
      await tx.rows('update outbox_lane set blocked_by = null where blocked_by = $1', [id]);
      return;
    }
    await tx.rows(
      `insert into outbox_head (message_id, destination_id, claims, token, share, first_sent_at, may_land_until, replayed_at)
       select m.id, m.destination_id, 1, ${UNUSED_TOKEN}, outbox_share_of(m.destination_id, m.operator_id, m.rgs_id, m.event_type), coalesce($2, m.created_at), $3, clock_timestamp() from outbox_message m
       left join outbox_lane l on l.destination_id = m.destination_id and l.lane_key = m.lane_key
       where m.id = $1 and (m.lane_key is null or m.lane_seq < l.head_seq)
       on conflict do nothing`,
      [id, dead?.first_sent_at ?? null, dead?.may_land_until ?? null],
    );
  }

  /** Removes every message and lane. For development and tests only; the admin service guards it. */
  async clear(tx: Tx): Promise<void> {
    await tx.rows('lock table outbox_destination in access exclusive mode');
    await tx.rows('truncate outbox_lane, outbox_head, outbox_message, outbox_attempt, outbox_dead');
    await tx.rows(`
      update outbox_destination set
        not_before = null, paused_at = null, pause_reason = null,
        breaker = 'closed', open_until = null, closed_at = null, trips = 0,
        last_error = null, last_error_at = null,
        consecutive_failures = 0, window_start = null, window_ok = 0, window_failed = 0`);
  }
}

/** As the SQL functions read it. */
export function messageRow(message: NewMessage): Record<string, unknown> {
  return {
    id: message.id,
    destination_id: message.destinationId,
    operator_id: message.operatorId,
    rgs_id: message.rgsId,
    lane_key: message.laneKey,
    event_type: message.eventType,
    transaction_id: message.transactionId,
    path: message.path,
    body: message.body,
    expires_in_seconds: message.expiresInSeconds,
  };
}

function landingRow(landing: Landing | null): Record<string, unknown> {
  if (landing === null) return {};
  return {
    lost: landing.lost,
    answered: landing.answered,
    lands_ms: landing.landsMs,
    had_first_sent_at: landing.hadFirstSentAt,
    had_may_land_until: landing.hadMayLandUntil,
  };
}

function leasedMessage(row: ClaimRow, now: number): LeasedMessage {
  invariant(row.id !== null, 'a leased message has no id');
  return {
    id: row.id,
    token: row.token,
    attempts: row.attempts,
    claims: row.claims,
    firstSentAt: row.first_sent_at,
    mayLandUntil: row.may_land_until,
    landsAt: row.lands_in_ms === null ? null : now + row.lands_in_ms,
    releases: row.releases,
    laneKey: row.lane_key,
    eventType: row.event_type,
    transactionId: row.transaction_id,
    path: row.path,
    body: row.body,
    expiresInMs: row.expires_in_ms,
    probe: row.probe,
  };
}
