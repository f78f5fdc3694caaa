import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import os from 'node:os';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Heartbeats } from '../observability/heartbeats';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import type { Partner } from '../partners/partner';
import { PartnerDirectory } from '../partners/partner-directory';
import { Periodic } from '../scheduling/periodic';
import { DeliveryLoop } from './delivery-loop';
import { LostLeases } from './lost-leases';
import { Outbox } from './outbox';
import { type DestinationSettings, OutboxStore } from './outbox.store';
import { Sender } from './sender';
import { ResultCommitter } from './result-committer';
import { WakeUps } from './wake-ups';

const PARTNER_CHECK_MS = 5_000;
/** Of the time for stopping: what closing the port and the pools may take after the deliveries. */
const AFTER_DELIVERIES_MS = 500;

/** Runs one delivery loop per active partner, and stops them without losing what they hold. */
@Injectable()
export class OutboxWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly loops = new Map<number, DeliveryLoop>();
  /** Destinations whose row this process has written. */
  private readonly prepared = new Set<number>();
  private readonly replica = `${os.hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  private stopping = false;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    readonly partners: PartnerDirectory,
    private readonly periodic: Periodic,
    private readonly wakeUps: WakeUps,
    readonly store: OutboxStore,
    readonly outbox: Outbox,
    readonly sender: Sender,
    readonly committer: ResultCommitter,
    readonly lostLeases: LostLeases,
    readonly logger: Logger,
    readonly metrics: Metrics,
    readonly heartbeats: Heartbeats,
  ) {
    committer.nameReplica(this.replica);
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.store.createPartitions(4);
    await this.followPartners();
    this.periodic.every({
      name: 'outbox.follow_partners',
      every: PARTNER_CHECK_MS,
      on: 'all',
      failure: 'outbox.follow_partners_failed',
      work: () => this.followPartners(),
    });
  }

  /**
   * The first thing to do on SIGTERM: another replica may have the messages while this one still says goodbye to its
   * callers.
   */
  stopClaiming(): void {
    this.stopping = true;
    for (const loop of this.loops.values()) loop.stopClaiming();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopClaiming();
    // Longer than one call may take: what is on the wire gets its response settled. What takes longer is left to its
    // lease.
    const { operatorTimeoutMs, drainSeconds, shutdownTimeoutSeconds } = this.config;
    const graceMs = Math.min(
      operatorTimeoutMs + 2_000,
      (shutdownTimeoutSeconds - drainSeconds) * 1000 - AFTER_DELIVERIES_MS,
    );
    await Promise.all([...this.loops].map(([id, loop]) => this.stopLoop(id, loop, graceMs)));
  }

  /** Starts loops for partners that are new; destinations must exist before anything can be enqueued for them. */
  private async followPartners(): Promise<void> {
    if (this.stopping) return;
    const active = this.partners.all().filter((partner) => partner.active);
    for (const [id, loop] of this.loops)
      if (!active.some((partner) => partner.id === id)) await this.stopLoop(id, loop, this.config.operatorTimeoutMs);
    await this.prepare(active.filter(({ id }) => !this.prepared.has(id)));
    if (this.config.role !== 'api') for (const { id } of active) if (!this.loops.has(id)) this.startLoop(id);
  }

  private async prepare(partners: readonly Partner[]): Promise<void> {
    if (partners.length === 0) return;
    await this.store.upsertDestinations(
      partners.map((partner): DestinationSettings => ({
        id: partner.id,
        queue: partner.role,
        ratePerSecond: this.ratePerSecond,
        burst: bucketCapacity(this.ratePerSecond),
        breakerFailures: this.config.breakerFailures,
        breakerOpenSeconds: this.config.breakerOpenSeconds,
      })),
    );
    for (const { id } of partners) this.prepared.add(id);
  }

  private startLoop(id: number): void {
    const settings = {
      replica: this.replica,
      slotsMax: this.config.outboxConcurrency,
      leaseMs: this.config.outboxLeaseSeconds * 1000,
      ratePerSecond: this.ratePerSecond,
      graceMs: this.config.resolveGraceSeconds * 1000,
      callbackTimeoutMs: this.config.callbackTimeoutSeconds * 1000,
    };
    const loop = new DeliveryLoop(id, settings, this);
    this.loops.set(id, loop);
    this.wakeUps.register(id, loop);
    loop.start();
  }

  private async stopLoop(id: number, loop: DeliveryLoop, graceMs: number): Promise<void> {
    this.loops.delete(id);
    this.wakeUps.unregister(id);
    await loop.stop(graceMs);
  }

  private get ratePerSecond(): number {
    return this.config.rateLimitPerMinute / 60;
  }
}

/**
 * Capacity of a destination's token bucket: a quarter of a second's calls. Together with the age that a permit may
 * reach (permitAgeMs in delivery-loop.ts) the calls that leave in any window of t seconds stay within rate * t +
 * statedBurst(rate).
 */
export function bucketCapacity(ratePerSecond: number): number {
  return Math.max(1, ratePerSecond * 0.25);
}

/** The burst that docs/integration.md promises operators: half a second's calls, at least two. */
export function statedBurst(ratePerSecond: number): number {
  return Math.max(2, ratePerSecond * 0.5);
}
