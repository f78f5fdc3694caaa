import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { selfSigned } from '../../test/support/partners/odd-server';
import { FAR, FarLink } from './far-link';
import { HubSlot } from './hub-slot';
import { type FaultSpec, type Link, type OperatorKind, PLAN_CURRENCIES } from './plan';
import { TcpProxy } from './tcp-proxy';

/** As in production: what was answered 200 must survive the death of the server. */
const POSTGRES_SETTINGS = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '128MB',
  max_connections: '120',
};

/** Everything fast, but for the order of the times: time-out < lease, time-out + what the network adds < grace. */
export const HUB_ENVIRONMENT: Readonly<Record<string, string>> = {
  LOG_LEVEL: 'warn',
  RATE_LIMIT_PER_MINUTE: '0',
  SUPPORTED_CURRENCIES: PLAN_CURRENCIES.join(),
  OPERATOR_TIMEOUT_MS: '1500',
  MAX_RETRIES: '1',
  RETRY_BACKOFF_SECONDS: '0.05',
  OUTBOX_LEASE_SECONDS: '4',
  // So many that nothing is given up only because the run is rough.
  OUTBOX_RETRY_SCHEDULE_SECONDS: Array.from({ length: 120 }, (_, index) => (index < 5 ? 0.2 : 0.8)).join(),
  DEBIT_DEADLINE_SECONDS: '6',
  RESOLVE_GRACE_SECONDS: '1',
  CALLBACK_TIMEOUT_SECONDS: '2',
  BREAKER_OPEN_SECONDS: '0.5',
};

/** slow: calls to both partners go over links as in FarLink. */
export type Network = 'near' | 'slow';

/** Hubs read the partner tables every five seconds. */
const PARTNERS_READ_ANEW_MS = 6_000;
const ARMED_AT_ONCE = 32;

/**
 * Three kinds of processes and the cables between them, all on the loopback. The mocks live here, so that their books
 * outlive every kill.
 */
export class World {
  private constructor(
    readonly directory: string,
    private postgres: EmbeddedPostgres,
    readonly operator: MockOperator,
    readonly rgs: MockRgs,
    private readonly cables: {
      readonly postgres: readonly TcpProxy[];
      readonly operator: TcpProxy;
      readonly rgs: TcpProxy;
      readonly callbacks: TcpProxy;
    },
    readonly hubs: readonly HubSlot[],
    private readonly links: readonly FarLink[],
  ) {}

  static async start(
    directory: string,
    hubCount: number,
    operatorKind: OperatorKind,
    breakerFailures: number,
    network: Network = 'near',
  ): Promise<World> {
    fs.mkdirSync(directory, { recursive: true });
    const [postgres, operator, rgs] = await Promise.all([
      startEmbeddedPostgres({ dataDir: path.join(directory, 'db'), settings: POSTGRES_SETTINGS }),
      startMockOperator({ supportedCurrencies: PLAN_CURRENCIES, startingBalanceMinor: 1_000_000_000n }),
      startMockRgs(),
    ]);
    const hubs: HubSlot[] = [];
    const cables = {
      postgres: await Promise.all(Array.from({ length: hubCount }, () => TcpProxy.start(() => [postgres.port]))),
      operator: await TcpProxy.start(() => [portOf(operator.url)]),
      rgs: await TcpProxy.start(() => [portOf(rgs.url)]),
      callbacks: await TcpProxy.start(() => hubs.filter(({ isUp }) => isUp).map(({ port }) => port)),
    };
    operator.settings.hubUrl = `http://127.0.0.1:${cables.callbacks.port}`;
    const near = { operator: `http://127.0.0.1:${cables.operator.port}`, rgs: `http://127.0.0.1:${cables.rgs.port}` };
    const far = network === 'slow' ? await farLinks(directory, near) : null;
    for (const [index, cable] of cables.postgres.entries())
      hubs.push(
        new HubSlot(
          index,
          await freePort(),
          {
            ...HUB_ENVIRONMENT,
            BREAKER_FAILURES: String(breakerFailures),
            DATABASE_URL: throughPort(postgres.url, cable.port),
            DATABASE_OWNER_URL: throughPort(postgres.ownerUrl, cable.port),
            OPERATOR_BASE_URL: `${far?.operator.url ?? near.operator}/`,
            RGS_WEBHOOK_URL: `${far?.rgs.url ?? near.rgs}/webhooks`,
            ...(far === null ? {} : { NODE_EXTRA_CA_CERTS: far.certificate }),
          },
          path.join(directory, `hub-${index}.log`),
        ),
      );
    const world = new World(
      directory,
      postgres,
      operator,
      rgs,
      cables,
      hubs,
      far === null ? [] : [far.operator, far.rgs],
    );
    for (const hub of hubs) hub.start();
    await Promise.all(hubs.map((hub) => hub.ready(60_000)));
    if (operatorKind !== 'idempotent') {
      await world.query(
        `update partner set idempotent_by_reference = false, status_query = $1 where role = 'operator'`,
        [operatorKind === 'asked'],
      );
      await delay(PARTNERS_READ_ANEW_MS);
    }
    return world;
  }

  async stop(): Promise<void> {
    await Promise.all(this.hubs.map((hub) => hub.end('SIGKILL')));
    await Promise.all(
      [...this.cables.postgres, this.cables.operator, this.cables.rgs, this.cables.callbacks].map((cable) =>
        cable.stop(),
      ),
    );
    await Promise.all(this.links.map((link) => link.stop()));
    await Promise.all([this.operator.close(), this.rgs.close()]);
    await this.postgres.stop();
  }

  get databaseUrl(): string {
    return this.postgres.superuserUrl;
  }

  /** The cable of one hub to the database, or the one that all hubs share. */
  cable(link: Link, hub: number): TcpProxy {
    const cable = link === 'postgres' ? this.cables.postgres[hub] : this.cables[link];
    if (cable === undefined) throw new Error(`hub ${hub} has no cable`);
    return cable;
  }

  /** The main process dies at once, as of a crash; the next one recovers from the log, on the same port. */
  async killPostgres(downMs: number): Promise<void> {
    const { pid, port } = this.postgres;
    process.kill(pid, 'SIGKILL');
    await delay(downMs);
    this.postgres = await startEmbeddedPostgres({
      dataDir: path.join(this.directory, 'db'),
      settings: POSTGRES_SETTINGS,
      port,
    });
    if (this.postgres.pid === pid) throw new Error('the database survived its death');
  }

  /**
   * Replaces all faults. The operator's hub cable is held still meanwhile, so that no call meets a half-armed board.
   */
  async setFaults(
    operator: { readonly targeted: readonly (readonly FaultSpec[])[]; readonly weather: readonly FaultSpec[] },
    rgs: readonly FaultSpec[],
  ): Promise<void> {
    this.cables.operator.hold();
    try {
      await delay(30);
      await control(this.operator.url, 'DELETE', '/admin/faults');
      // Those of one movement in their order, and all of them before the weather: the first that matches is the one
      // that strikes.
      for (let from = 0; from < operator.targeted.length; from += ARMED_AT_ONCE)
        await Promise.all(
          operator.targeted.slice(from, from + ARMED_AT_ONCE).map((faults) => this.arm(this.operator.url, faults)),
        );
      await this.arm(this.operator.url, operator.weather);
    } finally {
      this.cables.operator.release();
    }
    await control(this.rgs.url, 'DELETE', '/admin/faults');
    await this.arm(this.rgs.url, rgs);
  }

  async query<T = Record<string, unknown>>(sql: string, parameters: unknown[] = []): Promise<T[]> {
    const client = new Client({ connectionString: this.databaseUrl });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(sql, parameters)).rows as T[];
    } finally {
      await client.end();
    }
  }

  private async arm(url: string, faults: readonly FaultSpec[]): Promise<void> {
    for (const fault of faults) await control(url, 'POST', '/admin/faults', fault);
  }
}

/**
 * Partners behind TLS that takes 300 ms to set up, with middle boxes that announce, pack, cut into pieces, and now and
 * then break off when the partner has done its work.
 */
async function farLinks(
  directory: string,
  near: { readonly operator: string; readonly rgs: string },
): Promise<{ operator: FarLink; rgs: FarLink; certificate: string }> {
  const identity = await selfSigned('localhost');
  const certificate = path.join(directory, 'far.pem');
  fs.writeFileSync(certificate, identity.cert);
  const distance = { ...FAR, cutShare: 0.01 };
  return {
    operator: await FarLink.start(() => near.operator, distance, identity),
    rgs: await FarLink.start(() => near.rgs, distance, identity),
    certificate,
  };
}

/** A request to a mock's own controls; the answer's text, since amounts must keep their digits. */
export async function control(baseUrl: string, method: string, route: string, body?: unknown): Promise<string> {
  const response = await fetch(baseUrl + route, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${route} answered ${response.status}: ${text}`);
  return text;
}

/** The same server with the same password, through another port. */
function throughPort(databaseUrl: string, port: number): string {
  const url = new URL(databaseUrl);
  url.port = String(port);
  return url.toString();
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
