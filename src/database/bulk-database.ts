import { from as copyFrom } from 'pg-copy-streams';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Database, type Tx, transactionOf } from './database';
import type { StoreClient } from './store-client';

/** Connections of a process for bulk work: two runs, each with two lists that are staged at once. */
export const BULK_POOL_SIZE = 4;
/** Of a COPY, at once. */
const SLICE_BYTES = 64 * 1024;

/** The server ends a statement first, and says why. */
const SERVER_FIRST_MS = 5_000;

/** An open transaction that can also take rows by COPY. */
export interface BulkTx extends Tx {
  /**
   * `sql` is a COPY … FROM STDIN, `data` its lines in Postgres' text format. Rejects when a line does not fit; the
   * transaction is then over.
   */
  copy(sql: string, data: Buffer): Promise<void>;
}

export interface BulkOptions {
  /** One snapshot for all statements (REPEATABLE READ) instead of one for each. */
  readonly snapshot?: boolean;
  /**
   * Of a statement, here and at the server. The pools' limits are for requests; a pass over millions of rows may take
   * longer and is no request.
   */
  readonly timeoutMs?: number;
  /** For sorting and hashing, per operation. */
  readonly workMemMb?: number;
  /** False: a crash may lose the commit although it was answered. For what a crash makes worthless anyway. */
  readonly durable?: boolean;
}

/** The pool of work that moves many rows, so that it leaves the connections of requests alone. */
export class BulkDatabase extends Database {
  /** Runs `work` in one transaction: committed when it resolves, rolled back when it throws. */
  async bulk<T>(
    work: (tx: BulkTx) => Promise<T>,
    { snapshot = false, timeoutMs = 600_000, workMemMb = 64, durable = true }: BulkOptions = {},
  ): Promise<T> {
    return this.inTransaction(
      snapshot ? 'REPEATABLE READ' : undefined,
      async (runner, committed) => {
        // The driver's own client: TypeORM has no COPY.
        const client = (await runner.connect()) as StoreClient;
        // One statement, since each costs a round trip. The pool's timeout of an idle transaction stays: a process that
        // freezes within one must not keep its run from the others for as long as a statement may take. No parallel
        // workers: on a small machine they would take the hub's own processors.
        await runner.query(
          `select set_config('statement_timeout', $1, true), set_config('work_mem', $2, true),
             set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true),
             set_config('synchronous_commit',
               case when $3 then current_setting('synchronous_commit') else 'off' end, true)`,
          [String(timeoutMs), `${workMemMb}MB`, durable],
        );
        return work({
          ...transactionOf(runner, committed),
          copy: (sql, data) =>
            pipeline(Readable.from(slicesOf(data), { objectMode: false }), client.query(copyFrom(sql))),
        });
      },
      timeoutMs + SERVER_FIRST_MS,
    );
  }
}

/**
 * In slices: the driver copies whatever it is given at once, and a copy of megabytes for each page adds up faster than
 * it is collected.
 */
function* slicesOf(data: Buffer): Generator<Buffer> {
  for (let at = 0; at < data.length; at += SLICE_BYTES) yield data.subarray(at, at + SLICE_BYTES);
}
