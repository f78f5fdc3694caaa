import { setTimeout as delay } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { dataSourceOptions } from '../../src/database/data-source';
import { Database, HotDatabase } from '../../src/database/database';
import { SystemClock } from '../../src/kernel/clock';
import { Heartbeats } from '../../src/observability/heartbeats';
import { Logger } from '../../src/observability/logger';
import { Metrics } from '../../src/observability/metrics';
import { DeliveryLoop } from '../../src/outbox/delivery-loop';
import { Outbox } from '../../src/outbox/outbox';
import type { LeasedMessage } from '../../src/outbox/outbox-message';
import { OutboxRecordsStore } from '../../src/outbox/outbox-records.store';
import { OutboxStore } from '../../src/outbox/outbox.store';
import type { SendLimits, Sender } from '../../src/outbox/sender';
import { LostLeases } from '../../src/outbox/lost-leases';
import { ResultCommitter } from '../../src/outbox/result-committer';
import type { WakeUps } from '../../src/outbox/wake-ups';
import type { Partner } from '../../src/partners/partner';
import type { PartnerDirectory } from '../../src/partners/partner-directory';
import { query } from './stage';

export const LANES = 2_000;
const SLOTS = 512;
const ENQUEUE_AT_ONCE = 2_000;
const PACE_TICK_MS = 20;
const BODY = '{"playerId":"player","amountCents":500,"currency":"USD","status":"OK","event":"debit"}';

/** The hub's own claim, loop and settle on one destination, with a sender that costs nothing. */
export class OutboxRig {
  /** Milliseconds of each claim that leased something, since the last `start`. */
  readonly claimMs: number[] = [];
  private sent = 0;
  private enqueued = 0;
  private loop: DeliveryLoop | undefined;
  private readonly arrived = new Map<number, () => void>();

  private constructor(
    private readonly pools: readonly DataSource[],
    private readonly plain: Database,
    private readonly store: OutboxStore,
    private readonly newLoop: () => DeliveryLoop,
    readonly destinationId: number,
  ) {}

  static async open(url: string): Promise<OutboxRig> {
    const [partner] = await query<{ id: number }>(
      url,
      `insert into partner (code, role, base_url, currencies) values ('bench', 'rgs', 'http://127.0.0.1:9/', '{USD}') on conflict (code) do update set base_url = excluded.base_url returning id`,
    );
    if (partner === undefined) throw new Error('a partner must get an id');
    const pools = await Promise.all(
      ['bench', 'bench-hot'].map((applicationName) =>
        new DataSource({
          ...dataSourceOptions(url, { applicationName, poolSize: 8 }),
          entities: [],
          migrations: [],
        }).initialize(),
      ),
    );
    const [plain, hot] = pools.map((pool) => new HotDatabase(pool)) as [Database, HotDatabase];
    const logger = new Logger('silent');
    const metrics = new Metrics();
    const store = new OutboxStore(plain, hot);
    const outbox = new Outbox(store, { wake: () => undefined } as unknown as WakeUps, new OutboxRecordsStore(plain));
    const committer = new ResultCommitter(hot, store, outbox, logger, metrics);
    committer.nameReplica('bench');
    await store.upsertDestinations([
      { id: partner.id, queue: 'rgs', ratePerSecond: 0, burst: 1, breakerFailures: 10, breakerOpenSeconds: 10 },
    ]);
    const destination = {
      id: partner.id,
      code: 'bench',
      role: 'rgs',
      timeoutMs: 1000,
      idempotentByReference: true,
    } as unknown as Partner;
    const noop = { send: (to: Partner, message: LeasedMessage, _limits: SendLimits) => rig.take(to, message) };
    const parts = {
      partners: { byId: () => destination } as unknown as PartnerDirectory,
      store,
      outbox,
      sender: noop as unknown as Sender,
      committer,
      lostLeases: new LostLeases(store, logger),
      logger,
      metrics,
      heartbeats: new Heartbeats(new SystemClock()),
    };
    const rig: OutboxRig = new OutboxRig(
      pools,
      plain,
      store,
      () =>
        new DeliveryLoop(
          partner.id,
          {
            replica: 'bench',
            slotsMax: SLOTS,
            leaseMs: 30_000,
            ratePerSecond: 0,
            graceMs: 10_000,
            callbackTimeoutMs: 60_000,
          },
          parts,
        ),
      partner.id,
    );
    rig.timeClaims();
    return rig;
  }

  async close(): Promise<void> {
    await Promise.all(this.pools.map((pool) => pool.destroy()));
  }

  async enqueue(count: number): Promise<void> {
    for (let left = count; left > 0; left -= ENQUEUE_AT_ONCE) {
      const messages = Array.from({ length: Math.min(ENQUEUE_AT_ONCE, left) }, () => ({
        id: uuidv7(),
        destinationId: this.destinationId,
        operatorId: this.destinationId,
        rgsId: this.destinationId,
        laneKey: `player-${this.enqueued++ % LANES}`,
        eventType: 'bench',
        transactionId: null,
        path: '',
        expiresInSeconds: null,
        body: BODY,
      }));
      await this.plain.transaction((tx) => this.store.enqueue(tx, messages));
    }
  }

  start(): void {
    this.claimMs.length = 0;
    this.loop = this.newLoop();
    this.loop.start();
  }

  async stop(): Promise<void> {
    await this.loop?.stop(10_000);
  }

  /** Messages per second from the first claim to the last settle. */
  async drain(): Promise<number> {
    const before = this.sent;
    const wanted = this.enqueued - before;
    const finished = new Promise<void>((resolve) => this.arrived.set(this.enqueued, resolve));
    const started = performance.now();
    this.start();
    await finished;
    await this.stop();
    return wanted / ((performance.now() - started) / 1000);
  }

  /** Enqueues at an even rate while the loop delivers; ends when all of it is sent. */
  async flow(perSecond: number, seconds: number): Promise<void> {
    this.start();
    const total = Math.round(perSecond * seconds);
    const last = this.enqueued + total;
    const started = performance.now();
    for (let made = 0; made < total;) {
      const due = Math.min(total, Math.ceil(((performance.now() - started) / 1000) * perSecond));
      if (due > made) {
        await this.enqueue(due - made);
        this.loop?.wake();
        made = due;
      }
      await delay(PACE_TICK_MS);
    }
    if (this.sent < last) await new Promise<void>((resolve) => this.arrived.set(last, resolve));
    await this.stop();
  }

  private take(destination: Partner, message: LeasedMessage) {
    this.sent += 1;
    this.arrived.get(this.sent)?.();
    return Promise.resolve({
      healthy: true,
      result: {
        queue: 'rgs' as const,
        message,
        destination,
        status: 200,
        durationMs: 0,
        verdict: { class: 'delivered' as const, reason: null, retryAfterMs: null },
        proposed: { outcome: 'sent' as const, delayMs: 0 },
      },
    });
  }

  private timeClaims(): void {
    const claim = this.store.claim.bind(this.store);
    this.store.claim = async (...args) => {
      const started = performance.now();
      const claimed = await claim(...args);
      if (claimed.messages.length > 0) this.claimMs.push(performance.now() - started);
      return claimed;
    };
  }
}

export async function withRig<T>(url: string, work: (rig: OutboxRig) => Promise<T>): Promise<T> {
  const rig = await OutboxRig.open(url);
  try {
    return await work(rig);
  } finally {
    await rig.close();
  }
}
