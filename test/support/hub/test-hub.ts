import type { NestExpressApplication } from '@nestjs/platform-express';
import { randomUUID } from 'node:crypto';
import { startMockOperator } from '../../../mocks/operator/start';
import { startMockRgs } from '../../../mocks/rgs/start';
import { parseConfig } from '../../../src/config/config';
import { createHub } from '../../../src/hub';
import type { Clock } from '../../../src/kernel/clock';
import { type HttpAnswer, type RequestOptions, signedRequest } from './signed-request';
import { type TestDatabase, testDatabase } from './test-database';
import { waitFor } from '../wait-for';

type MockOperator = Awaited<ReturnType<typeof startMockOperator>>;
type MockRgs = Awaited<ReturnType<typeof startMockRgs>>;

/** Settings under which a test does not wait: short backoffs, no rate limit. The values are environment variables. */
const QUICK: Readonly<Record<string, string>> = {
  NODE_ENV: 'test',
  HOST: '127.0.0.1',
  PORT: '0',
  LOG_LEVEL: 'silent',
  RETRY_BACKOFF_SECONDS: '0.01',
  RATE_LIMIT_PER_MINUTE: '0',
  OPERATOR_TIMEOUT_MS: '2000',
  OUTBOX_LEASE_SECONDS: '5',
  OUTBOX_RETRY_SCHEDULE_SECONDS: '0.05,0.05,0.1,0.1,0.2,0.2,0.5,0.5,1,1,1,1',
  BREAKER_OPEN_SECONDS: '0.1',
  // Second hubs of a test often have mocks of their own; whether a start may change addresses is tried with real
  // processes.
  PARTNER_CHANGE_ACCEPTED: 'true',
  // A busy machine is no silent store.
  DATABASE_STATEMENT_SECONDS: '20',
  REFUSALS_PER_SECOND: '0',
};

export interface TestHubOptions {
  /** Environment variables on top of the quick ones. */
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  /** Share these to start a second hub beside a first. */
  readonly database?: TestDatabase;
  readonly operator?: MockOperator;
  readonly rgs?: MockRgs;
}

export interface MovementBody {
  playerId?: string;
  amountCents?: unknown;
  currency?: string;
  refId?: string;
  [field: string]: unknown;
}

export type Queue = 'operator' | 'rgs';

/** A hub in this process on a port of its own, with both mocks and a database, all over real HTTP. */
export class TestHub {
  private constructor(
    readonly url: string,
    readonly app: NestExpressApplication,
    readonly database: TestDatabase,
    readonly operator: MockOperator,
    readonly rgs: MockRgs,
    private readonly owned: { readonly database: boolean; readonly operator: boolean; readonly rgs: boolean },
  ) {}

  static async start(options: TestHubOptions = {}): Promise<TestHub> {
    const database = options.database ?? (await testDatabase());
    const operator = options.operator ?? (await startMockOperator());
    const rgs = options.rgs ?? (await startMockRgs());
    const env = {
      ...QUICK,
      DATABASE_URL: database.url,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
      ...options.env,
    };
    const app = await createHub(parseConfig(env), options.clock);
    await app.listen(0, '127.0.0.1');
    const url = (await app.getUrl()).replace('[::1]', '127.0.0.1');
    if (options.operator === undefined) operator.settings.hubUrl = url;
    return new TestHub(url, app, database, operator, rgs, {
      database: options.database === undefined,
      operator: options.operator === undefined,
      rgs: options.rgs === undefined,
    });
  }

  async stop(): Promise<void> {
    await this.app.close();
    if (this.owned.operator) await this.operator.close();
    if (this.owned.rgs) await this.rgs.close();
    if (this.owned.database) await this.database.drop();
  }

  /** Forgets everything in hub and mocks; between tests of one file. */
  async clear(): Promise<void> {
    await this.call('POST', '/admin/clear-db');
    await control(this.operator.url, 'POST', '/admin/clear-db');
    await control(this.rgs.url, 'POST', '/admin/clear-db');
    await control(this.operator.url, 'DELETE', '/admin/faults');
    await control(this.rgs.url, 'DELETE', '/admin/faults');
  }

  call(method: string, path: string, body?: unknown, options: RequestOptions = {}): Promise<HttpAnswer> {
    return signedRequest(method, this.url + path, body, options);
  }

  debit(body: MovementBody = {}, options?: RequestOptions): Promise<HttpAnswer> {
    return this.call('POST', '/wallet/debit', movement(body), options);
  }

  credit(body: MovementBody = {}, options?: RequestOptions): Promise<HttpAnswer> {
    return this.call('POST', '/wallet/credit', movement(body), options);
  }

  callback(body: Record<string, unknown>, options?: RequestOptions): Promise<HttpAnswer> {
    return this.call('POST', '/webhooks/incoming', body, options);
  }

  async transaction(id: string): Promise<Record<string, any>> {
    const answer = await this.call('GET', `/wallet/transactions/${id}`);
    expect(answer.status).toBe(200);
    return answer.body;
  }

  /** Waits until the transaction is in `state`. */
  async reaches(id: string, state: string, withinMs?: number): Promise<Record<string, any>> {
    return waitFor(
      `transaction ${id} is ${state}`,
      async () => {
        const transaction = await this.transaction(id);
        return transaction.state === state ? transaction : undefined;
      },
      withinMs,
    );
  }

  async outbox(query: { queue?: Queue; status?: string } = {}): Promise<Record<string, any>[]> {
    const answer = await this.call(
      'GET',
      `/webhooks/outbox?${new URLSearchParams({ limit: '500', ...query }).toString()}`,
    );
    expect(answer.status).toBe(200);
    return answer.body;
  }

  /** Waits until no message is pending or failed. */
  async drained(withinMs = 20_000): Promise<void> {
    await waitFor(
      'the outbox is drained',
      async () => {
        const [row] = await this.database.query<{ open: string }>(
          `select (select count(*) from outbox_head where visible_at < 'infinity') + (select count(*) from outbox_lane where head_seq <= last_seq and blocked_by is null) as open`,
        );
        return row?.open === '0';
      },
      withinMs,
    );
  }

  /**
   * Waits until nothing comes any more: no message is open, and the operator has made its last callback. What is
   * counted afterwards stays as it is.
   */
  async quiet(): Promise<void> {
    await this.drained();
    await waitFor(
      'the operator has called back',
      async () =>
        ((await control(this.operator.url, 'GET', '/admin/summary')) as { callbacks: { pending: number } }).callbacks
          .pending === 0,
    );
    await this.drained();
  }

  replay(queue: Queue, id: string): Promise<HttpAnswer> {
    return this.call('POST', `/admin/replay/${queue}/${id}`);
  }

  operatorFault(fault: Record<string, unknown>): Promise<any> {
    return control(this.operator.url, 'POST', '/admin/faults', fault);
  }

  rgsFault(fault: Record<string, unknown>): Promise<any> {
    return control(this.rgs.url, 'POST', '/admin/faults', fault);
  }

  operatorCalls(): Promise<any[]> {
    return control(this.operator.url, 'GET', '/admin/calls') as Promise<any[]>;
  }

  rgsCalls(): Promise<any[]> {
    return control(this.rgs.url, 'GET', '/admin/calls') as Promise<any[]>;
  }

  operatorBooks(): Promise<any[]> {
    return control(this.operator.url, 'GET', '/v2/transactions') as Promise<any[]>;
  }

  rgsReceived(): Promise<any[]> {
    return control(this.rgs.url, 'GET', '/webhooks') as Promise<any[]>;
  }

  player(
    playerId: string,
  ): Promise<{ balances: Record<string, string>; net: Record<string, string>; movements: number }> {
    return control(this.operator.url, 'GET', `/admin/players/${encodeURIComponent(playerId)}`);
  }
}

/** A valid movement; fields given as undefined are left out. */
export function movement(body: MovementBody): Record<string, unknown> {
  return { playerId: 'player-1', amountCents: 500, currency: 'USD', refId: `ref-${randomUUID()}`, ...body };
}

export async function control(baseUrl: string, method: string, path: string, body?: unknown): Promise<any> {
  const response = await fetch(baseUrl + path, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
  return response.json();
}
