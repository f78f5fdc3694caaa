import fs from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { parseConfig } from '../../src/config/config';
import { connectionBudget } from '../../src/database/connections';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { HubSlot } from '../chaos/hub-slot';
import { freePort } from '../../test/support/hub/hub-process';
import { waitFor } from '../../test/support/wait-for';
import { Balancer } from './balancer';
import { PgBouncer } from './pgbouncer';
import { copyOfStopped, standbyOf } from './standby';

const READY_MS = 60_000;
/** Longer than SHUTDOWN_TIMEOUT_SECONDS. */
const STOP_MS = 45_000;
/** Longer than the balancer takes to notice. */
const DRAIN_SECONDS = 0.7;

export interface ClusterOptions {
  readonly directory: string;
  readonly api: number;
  readonly workers: number;
  /** Reports are read from a streaming replica. */
  readonly replica: boolean;
  /** A pgbouncer program, 1.21 or newer, to go through in transaction mode. */
  readonly pgbouncer?: string | undefined;
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * The compose profile `scale` as processes of this machine: a database, its replica, api processes behind a balancer,
 * workers, and both mocks.
 */
export class Cluster {
  private constructor(
    readonly postgres: EmbeddedPostgres,
    readonly replica: EmbeddedPostgres | undefined,
    readonly operator: MockOperator,
    readonly rgs: MockRgs,
    readonly balancer: Balancer,
    readonly api: readonly HubSlot[],
    readonly workers: readonly HubSlot[],
    private readonly parts: readonly Part[],
  ) {}

  static async start(options: ClusterOptions): Promise<Cluster> {
    const parts: Part[] = [];
    try {
      return await startParts(options, parts, (...made) => new Cluster(...made, parts));
    } catch (error) {
      await stopParts(parts);
      throw error;
    }
  }

  get processes(): readonly HubSlot[] {
    return [...this.api, ...this.workers];
  }

  /** Beside the hubs, past every pooler. */
  async query<T>(sql: string, parameters: unknown[] = []): Promise<T[]> {
    const client = new Client({ connectionString: this.postgres.superuserUrl });
    await client.connect();
    try {
      return (await client.query(sql, parameters)).rows as T[];
    } finally {
      await client.end();
    }
  }

  /**
   * Stops one process as a supervisor does, and starts its successor, of this build, on the same port; answers the exit
   * code.
   */
  async restart(slot: HubSlot, program?: string): Promise<number | null> {
    const code = await slot.end('SIGTERM', STOP_MS);
    slot.program = program;
    slot.start();
    await slot.ready(READY_MS);
    if (this.api.includes(slot))
      await waitFor('the balancer has it back', () => this.balancer.healthy === this.api.length, READY_MS);
    return code;
  }

  stop(): Promise<void> {
    return stopParts(this.parts);
  }
}

/** How to stop what was started, in the order of starting. */
type Part = () => Promise<unknown>;

async function stopParts(parts: readonly Part[]): Promise<void> {
  for (const stop of [...parts].reverse()) await stop();
}

type Made = [EmbeddedPostgres, EmbeddedPostgres | undefined, MockOperator, MockRgs, Balancer, HubSlot[], HubSlot[]];

async function startParts(options: ClusterOptions, parts: Part[], make: (...made: Made) => Cluster): Promise<Cluster> {
  fs.mkdirSync(options.directory, { recursive: true });
  const { postgres, replica } = await startDatabases(options, parts);
  const pgbouncer =
    options.pgbouncer === undefined
      ? undefined
      : await PgBouncer.start(options.pgbouncer, path.join(options.directory, 'pgbouncer'), postgres.url);
  if (pgbouncer !== undefined) parts.push(() => pgbouncer.stop());
  const operator = await startMockOperator({ startingBalanceMinor: 1_000_000_000_000n });
  parts.push(() => operator.close());
  const rgs = await startMockRgs();
  parts.push(() => rgs.close());
  const env = {
    LOG_LEVEL: 'info',
    DATABASE_URL: pgbouncer?.url ?? postgres.url,
    DATABASE_OWNER_URL: postgres.ownerUrl,
    ...(pgbouncer === undefined ? {} : { DATABASE_DIRECT_URL: postgres.url }),
    ...(replica === undefined ? {} : { REPORTS_DATABASE_URL: replica.url }),
    DRAIN_SECONDS: String(DRAIN_SECONDS),
    OPERATOR_BASE_URL: operator.url,
    RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
    RATE_LIMIT_PER_MINUTE: '0',
    ...options.env,
  };
  const slots = async (role: 'api' | 'worker', count: number, first: number): Promise<HubSlot[]> =>
    Promise.all(
      Array.from(
        { length: count },
        async (_, index) =>
          new HubSlot(
            first + index,
            await freePort(),
            { ...env, ROLE: role },
            path.join(options.directory, `${role}-${index}.log`),
          ),
      ),
    );
  const [api, workers] = await Promise.all([
    slots('api', options.api, 0),
    slots('worker', options.workers, options.api),
  ]);
  const balancer = await Balancer.start(
    api.map(({ port }) => port),
    options.port,
  );
  parts.push(() => balancer.stop());
  operator.settings.hubUrl = balancer.url;
  // All at once: whoever comes first migrates, the others wait for it.
  const processes = [...api, ...workers];
  parts.push(() => Promise.all(processes.map((slot) => slot.end('SIGTERM', STOP_MS))));
  for (const slot of processes) slot.start();
  await Promise.all(processes.map((slot) => slot.ready(READY_MS)));
  await waitFor('the balancer sees them all', () => balancer.healthy === api.length, READY_MS);
  return make(postgres, replica, operator, rgs, balancer, api, workers);
}

async function startDatabases(
  { directory, api, workers, replica: isWanted }: ClusterOptions,
  parts: Part[],
): Promise<{ postgres: EmbeddedPostgres; replica: EmbeddedPostgres | undefined }> {
  const perProcess = (role: string): number => {
    const { pooled, direct } = connectionBudget(parseConfig({ NODE_ENV: 'test', ROLE: role }));
    return pooled + direct;
  };
  // Every process its share, once more for the one that is being replaced, and a few for people.
  const maxConnections = api * perProcess('api') + workers * perProcess('worker') + perProcess('all') + 20;
  const settings = {
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    shared_buffers: '128MB',
    max_connections: String(maxConnections),
    wal_keep_size: '256MB',
  };
  const dataDir = path.join(directory, 'primary');
  const first = await startEmbeddedPostgres({ dataDir, settings });
  parts.push(() => first.stop());
  if (!isWanted) return { postgres: first, replica: undefined };
  const copy = path.join(directory, 'replica');
  copyOfStopped(dataDir, copy);
  const postgres = await startEmbeddedPostgres({ dataDir, settings });
  parts.push(() => postgres.stop());
  standbyOf(copy, postgres, postgres.port, 'hub-replica');
  const replica = await startEmbeddedPostgres({
    dataDir: copy,
    // No hot_standby_feedback: a long report must not keep the primary from cleaning up. It may take five minutes
    // instead.
    settings: { ...settings, hot_standby: 'on', hot_standby_feedback: 'off', max_standby_streaming_delay: '300s' },
  });
  parts.push(() => replica.stop());
  return { postgres, replica };
}
