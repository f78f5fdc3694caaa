import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import { PartnerDirectory } from '../partners/partner-directory';
import { Periodic } from '../scheduling/periodic';
import { OutboxStore } from './outbox.store';

const RESCUE_MS = 30_000;
const GAUGES_MS = 10_000;
const WEEKS_AHEAD = 4;
/** Kept as earlier builds name it: two of them must not repair at once during a rolling restart. */
const REPAIR = 'outbox_repair_lanes';

/**
 * What the outbox needs done now and then. Processes that only answer requests leave the work to the workers, and
 * measure all the same.
 */
@Injectable()
export class OutboxMaintenance implements OnApplicationBootstrap {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly store: OutboxStore,
    private readonly partners: PartnerDirectory,
    private readonly periodic: Periodic,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {}

  onApplicationBootstrap(): void {
    const failure = 'outbox.duty_failed';
    const { periodic } = this;
    periodic.every({ name: 'outbox.rescue', every: RESCUE_MS, on: 'workers', failure, work: () => this.rescue() });
    periodic.every({ name: 'outbox.retention', every: 'hour', on: 'workers', failure, work: () => this.retention() });
    periodic.every({ name: 'outbox.gauges', every: GAUGES_MS, on: 'all', failure, work: () => this.gauges() });
    periodic.every({ name: 'outbox.growth', every: GAUGES_MS, on: 'all', failure, work: () => this.growth() });
  }

  /** Gives a head back to lanes that lost it. It should never find one; when it does, ops must know. */
  async rescue(): Promise<void> {
    const repaired = (await this.periodic.lead(REPAIR, ({ tx }) => this.store.repairLanes(tx), 'unhurried')) ?? 0;
    if (repaired === 0) return;
    this.metrics.repairedLanes.inc(repaired);
    this.logger.event('error', 'outbox.lanes_repaired', { repaired });
  }

  async retention(): Promise<void> {
    const made = await this.store.createPartitions(WEEKS_AHEAD);
    const dropped = await this.store.dropPartitions(
      this.config.outboxMessageRetentionDays,
      this.config.outboxAttemptRetentionDays,
    );
    if (made > 0 || dropped.length > 0) this.logger.event('info', 'outbox.partitions', { made, dropped });
  }

  async gauges(): Promise<void> {
    for (const health of await this.store.health()) {
      const destination =
        this.partners.all().find(({ id }) => id === health.destinationId)?.code ?? String(health.destinationId);
      for (const state of ['due', 'waiting', 'leased', 'blocked'] as const)
        this.metrics.outboxHeads.set({ destination, state }, health[state]);
      this.metrics.outboxLagSeconds.set({ destination }, health.lagSeconds);
      this.metrics.outboxDead.set({ destination }, health.dead);
      this.metrics.breakerOpen.set({ destination }, health.breaker === 'closed' ? 0 : 1);
      this.metrics.destinationPaused.set({ destination }, health.paused ? 1 : 0);
    }
  }

  async growth(): Promise<void> {
    const { messagesByDefault, attemptsByDefault, deadHeads, oldestSnapshotSeconds } = await this.store.growth();
    this.metrics.defaultPartitionRows.set({ table: 'outbox_message' }, messagesByDefault);
    this.metrics.defaultPartitionRows.set({ table: 'outbox_attempt' }, attemptsByDefault);
    this.metrics.deadHeads.set(deadHeads);
    this.metrics.oldestSnapshotSeconds.set(oldestSnapshotSeconds);
  }
}
