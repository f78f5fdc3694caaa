import { Injectable } from '@nestjs/common';
import { Database, type Row, type Sql, type Tx } from '../../database/database';
import { type ActionRecord, ACTIONS_GENESIS, actionHash } from '../reports/action-chain';

export type ExceptionState = 'open' | 'auto_cleared' | 'resolved' | 'accepted' | 'ignored';
export type AgeBucket = '<15m' | '<24h' | '1-3d' | '3-7d' | '>7d';

/** A break over all runs that saw it. */
export interface ExceptionRecord {
  readonly id: string;
  readonly class: string;
  readonly state: ExceptionState;
  readonly severity: string;
  readonly operatorId: number;
  readonly rgsId: number;
  readonly firstRun: string;
  readonly lastRun: string;
  readonly firstSeen: Date;
  readonly lastSeen: Date;
  readonly anchorAt: Date | null;
  readonly currency: string | null;
  readonly amountMinor: bigint | null;
  readonly refId: string | null;
  readonly correlationId: string | null;
  readonly outboxId: string | null;
  readonly outboxQueue: 'rgs' | 'operator' | null;
  readonly owner: string | null;
  readonly dueAt: Date | null;
  readonly resolvedAt: Date | null;
  readonly resolution: string | null;
  readonly note: string | null;
}

export interface ExceptionFilter {
  readonly state?: ExceptionState;
  readonly class?: string;
  readonly currency?: string;
  readonly age?: AgeBucket;
  readonly owner?: string;
}

export interface AgeingCell {
  readonly bucket: AgeBucket;
  readonly currency: string | null;
  readonly count: string;
  readonly amountMinor: bigint;
}

/** What an action changes of an exception. */
export interface ExceptionChange {
  readonly state?: ExceptionState;
  readonly owner?: string | null;
  readonly resolution?: string | null;
  readonly note?: string | null;
}

/** Held while appending to the chain of actions; any text that no other lock uses. */
const CHAIN_LOCK = 'recon_action_chain';
const COLUMNS = `id, class, state, severity, operator_id, rgs_id, first_run, last_run, first_seen, last_seen, anchor_at, cur, amount_minor, ref_id, corr, outbox_id, outbox_queue, owner, due_at, resolved_at, resolution, note`;
const ACTION = `id, exception_id, actor, action, reason_code, note, before, after, idem_key, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash`;
/** From the moment at which the money moved; where no side gives one, from the first run that saw it. $1 is now. */
const AGE = `($1::timestamptz - coalesce(anchor_at, first_seen))`;
const BUCKET = `case when ${AGE} < interval '15 minutes' then '<15m' when ${AGE} < interval '24 hours' then '<24h' when ${AGE} < interval '3 days' then '1-3d' when ${AGE} < interval '7 days' then '3-7d' else '>7d' end`;
/** $1 now, $2 to $6 the filter. */
const FILTER = `($2::text is null or state = $2) and ($3::text is null or class = $3) and ($4::text is null or cur = $4) and ($5::text is null or ${BUCKET} = $5) and ($6::text is null or owner = $6)`;

/** Exceptions, and what people did about them. */
@Injectable()
export class ExceptionsStore {
  constructor(private readonly database: Database) {}

  async find(id: string): Promise<ExceptionRecord | undefined> {
    const [row] = await this.database.rows(`select ${COLUMNS} from recon.exception where id = $1`, [id]);
    return row === undefined ? undefined : exceptionOf(row);
  }

  async lock(tx: Tx, id: string): Promise<ExceptionRecord | undefined> {
    const [row] = await tx.rows(`select ${COLUMNS} from recon.exception where id = $1 for update`, [id]);
    return row === undefined ? undefined : exceptionOf(row);
  }

  /** Oldest first. */
  async list(now: Date, filter: ExceptionFilter, after: string | null, limit: number): Promise<ExceptionRecord[]> {
    const rows = await this.database.rows(
      `select ${COLUMNS} from recon.exception
       where ${FILTER} and ($7::uuid is null or (first_seen, id) > (select first_seen, id from recon.exception where id = $7)) order by first_seen, id limit $8`,
      [now, ...filterOf(filter), after, limit],
    );
    return rows.map(exceptionOf);
  }

  async ids(now: Date, filter: ExceptionFilter, limit: number): Promise<string[]> {
    const rows = await this.database.rows<{ id: string }>(
      `select id from recon.exception where ${FILTER} order by first_seen, id limit $7`,
      [now, ...filterOf(filter), limit],
    );
    return rows.map(({ id }) => id);
  }

  /** How much is how old, by currency. */
  async ageing(now: Date, filter: ExceptionFilter): Promise<AgeingCell[]> {
    const rows = await this.database.unhurried.rows<{ bucket: AgeBucket; cur: string | null; n: string; sum: string }>(
      `select ${BUCKET} as bucket, cur, count(*) as n, coalesce(sum(amount_minor), 0)::text as sum from recon.exception where ${FILTER} group by 1, 2`,
      [now, ...filterOf(filter)],
    );
    return rows.map(({ bucket, cur, n, sum }) => ({ bucket, currency: cur, count: n, amountMinor: BigInt(sum) }));
  }

  /** What is open, for the metrics: by class and currency, with the age of the oldest. */
  async open(
    now: Date,
  ): Promise<{ class: string; currency: string; count: number; amountMinor: string; oldestSeconds: number }[]> {
    return (
      await this.database.unhurried.rows<{ class: string; cur: string; n: string; sum: string; oldest: string }>(
        `select class, coalesce(cur, '') as cur, count(*) as n, coalesce(sum(amount_minor), 0)::text as sum, extract(epoch from max(${AGE}))::bigint as oldest from recon.exception where state = 'open' group by 1, 2`,
        [now],
      )
    ).map(({ class: className, cur, n, sum, oldest }) => ({
      class: className,
      currency: cur,
      count: Number(n),
      amountMinor: sum,
      oldestSeconds: Number(oldest),
    }));
  }

  async change(
    tx: Tx,
    id: string,
    { state, owner, resolution, note }: ExceptionChange,
    at: Date,
  ): Promise<ExceptionRecord> {
    const [row] = await tx.rows(
      `update recon.exception set state = coalesce($2, state), owner = case when $3 then $4 else owner end, resolution = case when $5 then $6 else resolution end, note = case when $7 then $8 else note end,
         resolved_at = case when $2 is null then resolved_at when $2 = 'open' then null else $9::timestamptz end, version = version + 1
       where id = $1 returning ${COLUMNS}`,
      [
        id,
        state ?? null,
        owner !== undefined,
        owner ?? null,
        resolution !== undefined,
        resolution ?? null,
        note !== undefined,
        note ?? null,
        at,
      ],
    );
    if (row === undefined) throw new Error(`exception ${id} vanished while it was changed`);
    return exceptionOf(row);
  }

  /** Which leg of its movement the exception is about, as the last run that saw it says. */
  async leg(id: string): Promise<'movement' | 'undo'> {
    const [row] = await this.database.rows<{ leg: 'movement' | 'undo' }>(
      `select i.leg from recon.exception e join recon.item i on i.run_id = e.last_run and i.k = e.k and i.class = e.class where e.id = $1 limit 1`,
      [id],
    );
    return row?.leg ?? 'movement';
  }

  /** Oldest first. */
  async actions(sql: Sql, exceptionId: string): Promise<ActionRecord[]> {
    return (
      await sql.rows(`select ${ACTION} from recon.action where exception_id = $1 order by id`, [exceptionId])
    ).map(actionOf);
  }

  async actionByKey(sql: Sql, idempotencyKey: string): Promise<ActionRecord | undefined> {
    const [row] = await sql.rows(`select ${ACTION} from recon.action where idem_key = $1`, [idempotencyKey]);
    return row === undefined ? undefined : actionOf(row);
  }

  /** Appends to the chain; everyone who appends waits in line, so that each record has one successor. */
  async addAction(tx: Tx, action: Omit<ActionRecord, 'id' | 'at' | 'previousHash' | 'hash'>): Promise<ActionRecord> {
    await tx.rows('select pg_advisory_xact_lock(hashtext($1))', [CHAIN_LOCK]);
    const [end] = await tx.rows<{ id: string; hash: string; at: string }>(
      `select coalesce(max(id), 0) + 1 as id, coalesce((select encode(hash, 'hex') from recon.action order by id desc limit 1), $1) as hash, to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at from recon.action`,
      [ACTIONS_GENESIS],
    );
    if (end === undefined) throw new Error('an aggregate gave no row');
    const unhashed = { ...action, id: end.id, at: end.at, previousHash: end.hash };
    const record: ActionRecord = { ...unhashed, hash: actionHash(unhashed) };
    await tx.rows(
      `insert into recon.action (id, exception_id, actor, action, reason_code, note, before, after, idem_key, at, prev_hash, hash) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, decode($11, 'hex'), decode($12, 'hex'))`,
      [
        record.id,
        record.exceptionId,
        record.actor,
        record.action,
        record.reasonCode,
        record.note,
        JSON.stringify(record.before),
        JSON.stringify(record.after),
        record.idempotencyKey,
        record.at,
        record.previousHash,
        record.hash,
      ],
    );
    return record;
  }

  /** The whole chain, oldest first, a page at a time. */
  async *chain(sql: Sql): AsyncGenerator<ActionRecord> {
    let after = '0';
    for (;;) {
      const rows = await sql.rows(`select ${ACTION} from recon.action where id > $1 order by id limit 1000`, [after]);
      for (const row of rows) yield actionOf(row);
      const last = rows.at(-1);
      if (last === undefined) return;
      after = last.id as string;
    }
  }
}

function filterOf({ state, class: className, currency, age, owner }: ExceptionFilter): (string | null)[] {
  return [state ?? null, className ?? null, currency ?? null, age ?? null, owner ?? null];
}

function exceptionOf(row: Row): ExceptionRecord {
  return {
    id: row.id as string,
    class: row.class as string,
    state: row.state as ExceptionState,
    severity: row.severity as string,
    operatorId: row.operator_id as number,
    rgsId: row.rgs_id as number,
    firstRun: row.first_run as string,
    lastRun: row.last_run as string,
    firstSeen: row.first_seen as Date,
    lastSeen: row.last_seen as Date,
    anchorAt: row.anchor_at as Date | null,
    currency: row.cur as string | null,
    amountMinor: row.amount_minor === null ? null : BigInt(row.amount_minor as string),
    refId: row.ref_id as string | null,
    correlationId: row.corr as string | null,
    outboxId: row.outbox_id as string | null,
    outboxQueue: row.outbox_queue as ExceptionRecord['outboxQueue'],
    owner: row.owner as string | null,
    dueAt: row.due_at as Date | null,
    resolvedAt: row.resolved_at as Date | null,
    resolution: row.resolution as string | null,
    note: row.note as string | null,
  };
}

function actionOf(row: Row): ActionRecord {
  const { id, exception_id, actor, action, reason_code, note, before, after, idem_key, at, prev_hash, hash } =
    row as Record<string, string>;
  return {
    id: id ?? '',
    exceptionId: exception_id ?? '',
    actor: actor ?? '',
    action: action ?? '',
    reasonCode: reason_code ?? '',
    note: note ?? null,
    before: before ?? null,
    after: after ?? null,
    idempotencyKey: idem_key ?? '',
    at: at ?? '',
    previousHash: prev_hash ?? '',
    hash: hash ?? '',
  };
}
