import { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { dataSourceOptions } from '../../../src/database/data-source';
import { Database, HotDatabase, type Parameter, type Row, type Tx } from '../../../src/database/database';
import type { LeasedMessage, NewMessage, Outcome } from '../../../src/outbox/outbox-message';
import { type LockResult, OutboxStore, type SettledRow } from '../../../src/outbox/outbox.store';
import { type TestDatabase, testDatabase } from './test-database';

/**
 * What must never be true of the lanes of a destination, whatever happened to them; each a count or a list of lane
 * keys.
 */
export interface LaneFaults {
  /** Lanes that hold messages but no head: nobody would ever send them. */
  readonly withoutHead: string[];
  /** Lanes whose numbers are not 1, 2, 3, … up to last_seq. */
  readonly withGaps: string[];
  /** Lanes whose head is not the message that stands next. */
  readonly withWrongHead: string[];
}

export const NO_FAULTS: LaneFaults = { withoutHead: [], withGaps: [], withWrongHead: [] };

/**
 * The outbox's tables and functions without a hub: what a test calls here is what the hub calls, and nothing runs
 * beside it.
 */
export class OutboxLanes {
  readonly store: OutboxStore;
  private readonly sql: Database;

  private constructor(
    private readonly dataSource: DataSource,
    readonly database: TestDatabase,
    private readonly ownsDatabase: boolean,
  ) {
    this.sql = new Database(dataSource);
    this.store = new OutboxStore(this.sql, new HotDatabase(dataSource));
  }

  static async open(poolSize: number, shared?: TestDatabase): Promise<OutboxLanes> {
    const database = shared ?? (await testDatabase());
    const options = {
      ...dataSourceOptions(database.url, { applicationName: 'lanes', poolSize }),
      entities: [],
      migrations: [],
    };
    return new OutboxLanes(await new DataSource(options).initialize(), database, shared === undefined);
  }

  async close(): Promise<void> {
    await this.dataSource.destroy();
    if (this.ownsDatabase) await this.database.drop();
  }

  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.sql.transaction(work);
  }

  /** Over this pool: `database.query` opens a connection for every statement. */
  query<T extends Row = Row>(sql: string, parameters: readonly Parameter[] = []): Promise<T[]> {
    return this.sql.rows<T>(sql, parameters);
  }

  /** A partner of its own with its destination: lanes of different destinations never meet. */
  async newDestination(): Promise<number> {
    const [partner] = await this.sql.rows<{ id: number }>(
      `insert into partner (code, role, base_url, currencies) values ($1, 'rgs', 'http://127.0.0.1:1/', '{USD}') returning id`,
      [`lanes-${uuidv7()}`],
    );
    if (partner === undefined) throw new Error('a partner must get an id');
    await this.store.upsertDestinations([
      { id: partner.id, queue: 'rgs', ratePerSecond: 0, burst: 1, breakerFailures: 10, breakerOpenSeconds: 10 },
    ]);
    return partner.id;
  }

  /** A clock behind every message, so that the watermark hides nothing. */
  async claim(destinationId: number, want: number, owner = 'worker', leaseMs = 60_000): Promise<LeasedMessage[]> {
    return (await this.store.claim(destinationId, want, leaseMs, leaseMs, owner, new Date(0))).messages;
  }

  /**
   * As the hub settles: lock first, then, in a later statement of the same transaction, what is held and what came too
   * late.
   */
  async settle(leases: readonly LeasedMessage[], outcome: Outcome, delayMs = 0): Promise<Map<string, LockResult>> {
    return this.sql.transaction(async (tx) => {
      const verdicts = await this.store.lock(tx, leases);
      const rows = (verdict: LockResult): SettledRow[] =>
        leases.filter((_lease, index) => verdicts[index] === verdict).map(({ id }) => settledRow(id, outcome, delayMs));
      if (rows('ok').length > 0) await this.store.settle(tx, rows('ok'), 'lanes');
      if (rows('stale').length > 0) await this.store.logStale(tx, rows('stale'), 'lanes');
      return new Map(leases.map(({ id }, index) => [id, verdicts[index] ?? 'stale']));
    });
  }

  async faults(destinationId: number): Promise<LaneFaults> {
    const [row] = await this.sql.rows<{ without_head: string[]; with_gaps: string[]; with_wrong_head: string[] }>(
      `select
         array(select l.lane_key from outbox_lane l where l.destination_id = $1 and l.head_seq <= l.last_seq
           and not exists (select 1 from outbox_head h where h.destination_id = $1 and h.lane_key = l.lane_key) order by 1) as without_head,
         array(select l.lane_key from outbox_lane l
           left join lateral (select count(*) as n, min(m.lane_seq) as first, max(m.lane_seq) as last, count(distinct m.lane_seq) as numbers from outbox_message m where m.destination_id = $1 and m.lane_key = l.lane_key) m on true
           where l.destination_id = $1 and (m.n, m.numbers, coalesce(m.first, 1), coalesce(m.last, 0)) is distinct from (l.last_seq, l.last_seq, 1::bigint, l.last_seq) order by 1) as with_gaps,
         array(select h.lane_key from outbox_head h join outbox_lane l on l.destination_id = h.destination_id and l.lane_key = h.lane_key
           join outbox_message m on m.id = h.message_id
           where h.destination_id = $1 and (h.lane_seq <> l.head_seq or m.lane_seq <> l.head_seq or m.lane_key <> l.lane_key) order by 1) as with_wrong_head`,
      [destinationId],
    );
    if (row === undefined) throw new Error('a select without from-clause answers one row');
    return { withoutHead: row.without_head, withGaps: row.with_gaps, withWrongHead: row.with_wrong_head };
  }
}

export function newMessage(destinationId: number, laneKey: string | null, id = uuidv7()): NewMessage {
  return {
    id,
    destinationId,
    operatorId: destinationId,
    rgsId: destinationId,
    laneKey,
    eventType: 'debit',
    transactionId: null,
    path: '',
    body: '{}',
    expiresInSeconds: null,
  };
}

function settledRow(id: string, outcome: Outcome, delayMs: number): SettledRow {
  return {
    id,
    outcome,
    class: outcome === 'sent' ? 'delivered' : 'failed',
    status: outcome === 'sent' ? 200 : 500,
    error: outcome === 'sent' ? null : 'failed: HTTP 500',
    durationMs: 1,
    delayMs,
    open: outcome === 'dead' || outcome === 'blocked',
    landing: null,
  };
}
