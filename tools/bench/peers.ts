import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { Pool } from 'pg';
import { PgBoss } from 'pg-boss';

/** The same messages for every queue: `lane` is the order's key. */
export interface PeerMessage {
  readonly lane: string;
  readonly body: string;
}

const INSERT_CHUNK = 2_000;
/** Its own default size of a pool. */
const GRAPHILE_JOBS = 10;

function chunks<T>(items: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(items.length / INSERT_CHUNK) }, (_, index) =>
    items.slice(index * INSERT_CHUNK, (index + 1) * INSERT_CHUNK),
  );
}

/** Counts to `total`, and resolves then. */
class Countdown {
  private left: number;
  private finish: () => void = () => undefined;
  readonly done = new Promise<void>((resolve) => (this.finish = resolve));

  constructor(total: number) {
    this.left = total;
  }

  take(count: number): void {
    this.left -= count;
    if (this.left === 0) this.finish();
  }
}

/**
 * pg-boss with strict FIFO per key (policy key_strict_fifo), the one peer that keeps an order as the outbox does. The
 * settings are the fastest of those tried here: batches as large as it takes, fetched without a pause while they come
 * back full.
 */
export async function drainPgBoss(url: string, messages: readonly PeerMessage[]): Promise<number> {
  const boss = new PgBoss({ connectionString: url, max: 8, supervise: false, schedule: false });
  let failure: unknown;
  boss.on('error', (error) => (failure = error));
  await boss.start();
  try {
    await boss.createQueue('bench', { policy: 'key_strict_fifo' });
    for (const chunk of chunks(messages))
      await boss.insert(
        'bench',
        chunk.map(({ lane, body }) => ({ singletonKey: lane, data: { body } })),
      );
    const countdown = new Countdown(messages.length);
    const started = performance.now();
    await boss.work(
      'bench',
      { batchSize: 500, localConcurrency: 2, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true },
      (jobs) => {
        countdown.take(jobs.length);
        return Promise.resolve();
      },
    );
    await countdown.done;
    const perSecond = messages.length / ((performance.now() - started) / 1000);
    if (failure !== undefined) throw failure as Error;
    return perSecond;
  } finally {
    await boss.stop({ graceful: true });
  }
}

/**
 * graphile-worker as it comes, with as many jobs at a time as its pool has connections, and in no order: with a queue
 * per player, which would keep one, its fetch looks through all queues, and two thousand of them bring it down to some
 * hundred jobs a second.
 */
export async function drainGraphile(url: string, messages: readonly PeerMessage[]): Promise<number> {
  const pool = new Pool({ connectionString: url, max: GRAPHILE_JOBS });
  // It asks for somebody who hears of connections that end; here they end with their database.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  const options = { pgPool: pool, logger: new Logger(() => () => undefined) };
  try {
    const utils = await makeWorkerUtils(options);
    await utils.migrate();
    for (const chunk of chunks(messages))
      await utils.addJobs(chunk.map(({ body }) => ({ identifier: 'bench', payload: { body } })));
    await utils.release();
    const countdown = new Countdown(messages.length);
    const started = performance.now();
    const runner = await run({
      ...options,
      concurrency: GRAPHILE_JOBS,
      noHandleSignals: true,
      crontab: '',
      taskList: { bench: () => countdown.take(1) },
    });
    await countdown.done;
    const perSecond = messages.length / ((performance.now() - started) / 1000);
    await runner.stop();
    return perSecond;
  } finally {
    await pool.end();
  }
}
