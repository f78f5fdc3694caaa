import { hash } from 'node:crypto';
import type { DataSource, QueryRunner } from 'typeorm';
import { UNHURRIED_MS } from './data-source';
import type { StoreClient } from './store-client';
import type { StoreWatch } from './store-watch';

export type Row = Record<string, unknown>;
export type Parameter =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | Buffer
  | readonly string[]
  | readonly number[]
  | readonly (string | null)[];

/**
 * The one way to run SQL. A store method that must join its caller's transaction takes an `Sql` named `tx` first,
 * so one look at a line tells whether it is atomic. bigint columns arrive as strings: stores map them.
 */
export interface Sql {
  /** Rows of a SELECT or of a RETURNING clause. */
  rows<T extends Row = Row>(sql: string, parameters?: readonly Parameter[]): Promise<T[]>;
}

/** An open transaction. */
export interface Tx extends Sql {
  /**
   * Runs `work` once the transaction is committed, never otherwise: for wake-ups, logs and counters of what really
   * happened.
   */
  afterCommit(work: () => void): void;
}

interface NamedQuery {
  readonly name: string;
  readonly text: string;
  readonly values: unknown[];
}

/** The pool below TypeORM, and what it lends out. */
interface DriverPool {
  query(query: NamedQuery): Promise<{ rows: Row[] }>;
  connect(): Promise<DriverClient>;
}

interface DriverClient {
  query(query: NamedQuery | string): Promise<{ rows: Row[]; command: string }>;
  release(destroy: boolean): void;
}

/**
 * A pool of connections. Two exist: one for requests, one that only the hot path uses, so that neither can starve the
 * other. A third may lead to a replica.
 */
export class Database implements Sql {
  /** For statements without a waiting caller that read much, or wait for locks: they may take a minute. */
  readonly unhurried: Sql = { rows: (sql, parameters = []) => this.rowsWithin(UNHURRIED_MS, sql, parameters) };

  constructor(
    readonly dataSource: DataSource,
    private readonly watch?: StoreWatch,
  ) {}

  /** Runs `work` in one READ COMMITTED transaction: committed when it resolves, rolled back when it throws. */
  async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.inTransaction(undefined, (runner, committed) => work(transactionOf(runner, committed)));
  }

  /** As transaction, for work of which each statement may take a minute. */
  async unhurriedTransaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.inTransaction(undefined, (runner, committed) => work(transactionOf(runner, committed)), UNHURRIED_MS);
  }

  /** `isolation` undefined is READ COMMITTED, and one round trip less than to say so. */
  protected async inTransaction<T>(
    isolation: 'REPEATABLE READ' | undefined,
    work: (runner: QueryRunner, committed: (() => void)[]) => Promise<T>,
    limitMs?: number,
  ): Promise<T> {
    this.refuseWhileAway();
    const runner = this.dataSource.createQueryRunner();
    const committed: (() => void)[] = [];
    let broken = false;
    const giveBackLimit = limitMs === undefined ? undefined : await withLimit(runner, limitMs);
    try {
      await runner.startTransaction(isolation);
      try {
        const result = await work(runner, committed);
        await runner.commitTransaction();
        for (const then of committed) then();
        return result;
      } catch (error) {
        // The first error is the one to report; a rollback fails too when the connection is gone, and then there is
        // nothing to roll back.
        await runner.rollbackTransaction().catch(() => {
          broken = true;
        });
        throw error;
      }
    } finally {
      giveBackLimit?.();
      await runner.release().catch((error: unknown) => {
        if (!broken) throw error;
      });
    }
  }

  async rows<T extends Row = Row>(sql: string, parameters: readonly Parameter[] = []): Promise<T[]> {
    this.refuseWhileAway();
    const runner = this.dataSource.createQueryRunner();
    try {
      return await rowsOf<T>(runner, sql, parameters);
    } finally {
      await runner.release();
    }
  }

  private async rowsWithin<T extends Row>(
    limitMs: number,
    sql: string,
    parameters: readonly Parameter[],
  ): Promise<T[]> {
    this.refuseWhileAway();
    const runner = this.dataSource.createQueryRunner();
    const giveBackLimit = await withLimit(runner, limitMs);
    try {
      return await rowsOf<T>(runner, sql, parameters);
    } finally {
      giveBackLimit();
      await runner.release();
    }
  }

  /** Throws while the database does not respond: the next caller fails immediately instead of waiting. */
  protected refuseWhileAway(): void {
    this.watch?.refuse();
  }

  /** Migrations of this build that the database does not have yet. */
  async pendingMigrations(): Promise<number> {
    const done = await this.rows<{ name: string }>('select name from migrations');
    const names = new Set(done.map(({ name }) => name));
    return this.dataSource.migrations.filter(({ name, constructor }) => !names.has(name ?? constructor.name)).length;
  }

  /**
   * One auto-committed statement, prepared once per connection under `name`. TypeORM cannot name statements, and
   * planning the hot path again for every batch costs more than running it, so this goes to the pool below TypeORM.
   */
  async prepared<T extends Row = Row>(name: string, sql: string, parameters: readonly Parameter[]): Promise<T[]> {
    this.refuseWhileAway();
    const result = await this.pool.query({ name, text: sql, values: parameters.map(toDriver) });
    return result.rows as T[];
  }

  protected get pool(): DriverPool {
    return (this.dataSource.driver as unknown as { master: DriverPool }).master;
  }
}

/**
 * A plan that was made while a table was empty would go on reading all of it when it is full, or all of an index beside
 * which it merges. Everything here is found by index, row by row; and then one plan is as good for any batch, where the
 * server would plan again for each length of an array.
 */
const BEGIN_BY_INDEX =
  'begin; set local enable_seqscan = off; set local enable_mergejoin = off; set local enable_hashjoin = off; ' +
  'set local plan_cache_mode = force_generic_plan';

/**
 * The pool of the hot path: accepting, claiming and settling. Every statement of its transactions is prepared once per
 * connection: for batches of some tens of rows, parsing and planning each time cost a fifth of the database's CPU.
 */
export class HotDatabase extends Database {
  override async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    this.refuseWhileAway();
    const client = await this.pool.connect();
    const committed: (() => void)[] = [];
    let broken = false;
    try {
      await client.query(BEGIN_BY_INDEX);
      let result: T;
      try {
        result = await work(preparedTransaction(client, committed));
        // After a swallowed error, COMMIT rolls back and reports no error of its own.
        if ((await client.query('commit')).command !== 'COMMIT')
          throw new Error('a transaction with a failed statement was not committed');
      } catch (error) {
        await client.query('rollback').catch(() => {
          broken = true;
        });
        throw error;
      }
      for (const then of committed) then();
      return result;
    } finally {
      client.release(broken);
    }
  }
}

/** Reads that may be a moment behind: a streaming replica where there is one, else the primary. It never writes. */
export class ReportsDatabase extends Database {
  private opening: Promise<unknown> | undefined;

  override async rows<T extends Row = Row>(sql: string, parameters: readonly Parameter[] = []): Promise<T[]> {
    await this.open();
    return super.rows<T>(sql, parameters);
  }

  override async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    await this.open();
    return super.transaction(work);
  }

  /** At the first report and not at the start: without its replica the hub still moves money. */
  private async open(): Promise<void> {
    if (this.dataSource.isInitialized) return;
    this.opening ??= this.dataSource.initialize().finally(() => (this.opening = undefined));
    await this.opening;
  }
}

function preparedTransaction(client: DriverClient, committed: (() => void)[]): Tx {
  return {
    afterCommit: (then) => void committed.push(then),
    rows: async <T extends Row = Row>(sql: string, parameters: readonly Parameter[] = []) =>
      (await client.query({ name: nameOf(sql), text: sql, values: parameters.map(toDriver) })).rows as T[],
  };
}

const names = new Map<string, string>();

/** The same text has the same name in every process; stores write their statements out, so there are few. */
function nameOf(sql: string): string {
  let name = names.get(sql);
  if (name === undefined) {
    name = `hub_${hash('sha256', sql, 'hex').slice(0, 24)}`;
    names.set(sql, name);
  }
  return name;
}

/** Lets the statements of `runner` take up to `limitMs`; answers what gives the connection its own limit back. */
export async function withLimit(runner: QueryRunner, limitMs: number): Promise<() => void> {
  const client = (await runner.connect()) as StoreClient;
  const { limitMs: before } = client;
  client.limitMs = limitMs;
  return () => (client.limitMs = before);
}

/** A transaction over `runner`; for the classes of this folder. */
export function transactionOf(runner: QueryRunner, committed: (() => void)[]): Tx {
  return {
    afterCommit: (then) => void committed.push(then),
    rows: <T extends Row = Row>(sql: string, parameters: readonly Parameter[] = []) =>
      rowsOf<T>(runner, sql, parameters),
  };
}

/** `query()` answers rows for some statements and [rows, count] for others; the structured form is the same for all. */
async function rowsOf<T extends Row>(runner: QueryRunner, sql: string, parameters: readonly Parameter[]): Promise<T[]> {
  const result = await runner.query(sql, parameters.map(toDriver), true);
  return (result.records ?? []) as T[];
}

function toDriver(parameter: Parameter): unknown {
  return typeof parameter === 'bigint' ? parameter.toString() : parameter;
}
