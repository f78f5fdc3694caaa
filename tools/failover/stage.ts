import fs from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import type { Scene } from '../chaos/facts';
import { HubSlot } from '../chaos/hub-slot';
import { PLAN_CURRENCIES } from '../chaos/plan';
import { HUB_ENVIRONMENT } from '../chaos/world';
import { freePort } from '../../test/support/hub/hub-process';
import { type HttpAnswer, signedRequest } from '../../test/support/hub/signed-request';
import { StoreSet } from './store-set';

const READY_MS = 90_000;

export interface StageOptions {
  readonly directory: string;
  readonly hubs: number;
  readonly synchronous: boolean;
  readonly settings?: Readonly<Record<string, string>>;
}

/** Hubs on a set of three servers, with both mocks in this process, so that their books outlive everything. */
export class Stage implements Scene {
  private constructor(
    readonly store: StoreSet,
    readonly operator: MockOperator,
    readonly rgs: MockRgs,
    readonly hubs: readonly HubSlot[],
  ) {}

  static async start(options: StageOptions): Promise<Stage> {
    fs.mkdirSync(options.directory, { recursive: true });
    const [store, operator, rgs] = await Promise.all([
      StoreSet.start(options),
      startMockOperator({ supportedCurrencies: PLAN_CURRENCIES, startingBalanceMinor: 1_000_000_000n }),
      startMockRgs(),
    ]);
    const env = {
      ...HUB_ENVIRONMENT,
      NODE_ENV: 'development',
      DATABASE_URL: store.url,
      DATABASE_OWNER_URL: store.ownerUrl,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
    };
    const hubs = await Promise.all(
      Array.from(
        { length: options.hubs },
        async (_, index) => new HubSlot(index, await freePort(), env, path.join(options.directory, `hub-${index}.log`)),
      ),
    );
    operator.settings.hubUrl = hubs[0]?.url ?? '';
    const stage = new Stage(store, operator, rgs, hubs);
    try {
      for (const hub of hubs) hub.start();
      await stage.ready();
    } catch (error) {
      await stage.stop();
      throw error;
    }
    return stage;
  }

  async ready(): Promise<void> {
    await Promise.all(this.hubs.map((hub) => hub.ready(READY_MS)));
  }

  async stop(): Promise<void> {
    await Promise.all(this.hubs.map((hub) => hub.end('SIGKILL')));
    await Promise.all([this.operator.close(), this.rgs.close()]);
    await this.store.stop();
  }

  get databaseUrl(): string {
    return this.store.url;
  }

  async query<T = Record<string, unknown>>(sql: string, parameters: unknown[] = []): Promise<T[]> {
    const client = new Client({ connectionString: this.store.url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(sql, parameters)).rows as T[];
    } finally {
      await client.end();
    }
  }

  /** Whether the hub wants requests, in its own words. */
  async readiness(
    hub: HubSlot,
  ): Promise<{ readonly status: number; readonly checks: Readonly<Record<string, string>> }> {
    const answer = await fetch(`${hub.url}/health/ready`);
    return { status: answer.status, checks: ((await answer.json()) as { checks: Record<string, string> }).checks };
  }

  post(hub: HubSlot, route: string, body: Record<string, unknown>, key: string): Promise<HttpAnswer> {
    return signedRequest('POST', `${hub.url}/wallet/${route}`, body, { idempotencyKey: key });
  }

  get first(): HubSlot {
    const [hub] = this.hubs;
    if (hub === undefined) throw new Error('there is no hub');
    return hub;
  }
}
