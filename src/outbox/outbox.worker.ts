import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { Interval } from '@nestjs/schedule';
import { randomUUID } from 'node:crypto';
import os from 'node:os';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { messageOf } from '../kernel/errors';
import { Heartbeats } from '../observability/heartbeats';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import { PartnerDirectory } from '../partners/partner-directory';
import { DeliveryLoop } from './delivery-loop';
import { Outbox } from './outbox';
import { type DestinationSettings, OutboxStore } from './outbox.store';
import { Sender } from './sender';
import { Settler } from './settler';
import { WakeUps } from './wake-ups';

const PARTNER_CHECK_MS = 5_000;

/** Runs one delivery loop per active partner, and stops them without losing what they hold. */
@Injectable()
export class OutboxWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly loops = new Map<number, DeliveryLoop>();
  private readonly replica = `${os.hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  private stopping = false;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly partners: PartnerDirectory,
    private readonly wakeUps: WakeUps,
    readonly store: OutboxStore,
    readonly outbox: Outbox,
    readonly sender: Sender,
    readonly settler: Settler,
    readonly logger: Logger,
    readonly metrics: Metrics,
    readonly heartbeats: Heartbeats,
  ) {
    settler.nameReplica(this.replica);
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.store.createPartitions(4);
    await this.followPartners();
  }

  /** Starts loops for partners that are new; destinations must exist before anything can be enqueued for them. */
  @Interval(PARTNER_CHECK_MS)
  async followPartnersOnSchedule(): Promise<void> {
    await this.followPartners().catch((error: unknown) => this.logger.event('warn', 'outbox.follow_partners_failed', { error: messageOf(error) }));
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopping = true;
    // Longer than one call may take: what is on the wire gets its answer settled.
    const graceMs = this.config.operatorTimeoutMs + 2_000;
    await Promise.all(
      [...this.loops].map(async ([id, loop]) => {
        this.wakeUps.unregister(id);
        await loop.stop(graceMs);
      }),
    );
  }

  private async followPartners(): Promise<void> {
    const partners = this.partners.all();
    const unknown = partners.filter(({ id }) => !this.loops.has(id));
    if (unknown.length === 0 || this.stopping) return;
    const ratePerSecond = this.config.rateLimitPerMinute / 60;
    await this.store.upsertDestinations(
      unknown.map(
        (partner): DestinationSettings => ({
          id: partner.id,
          queue: partner.role,
          ratePerSecond,
          burst: bucketCapacity(ratePerSecond),
          breakerFailures: this.config.breakerFailures,
          breakerOpenSeconds: this.config.breakerOpenSeconds,
        }),
      ),
    );
    if (this.config.role === 'api') return;
    for (const partner of unknown) {
      const settings = { replica: this.replica, slots: this.config.outboxConcurrency, leaseMs: this.config.outboxLeaseSeconds * 1000, rateLimited: ratePerSecond > 0 };
      const loop = new DeliveryLoop(partner, settings, this);
      this.loops.set(partner.id, loop);
      this.wakeUps.register(partner.id, loop);
      loop.start();
    }
  }
}

/**
 * Capacity of a destination's token bucket: a quarter of a second's calls. Together with the age that a permit may reach
 * (PERMIT_AGE_MS_MAX) the calls that leave in any window of t seconds stay within rate * t + statedBurst(rate).
 */
export function bucketCapacity(ratePerSecond: number): number {
  return Math.max(1, ratePerSecond * 0.25);
}

/** The burst that docs/integration.md promises operators: half a second's calls, at least two. */
export function statedBurst(ratePerSecond: number): number {
  return Math.max(2, ratePerSecond * 0.5);
}
