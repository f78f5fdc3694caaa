import { Inject, Injectable } from '@nestjs/common';
import { Cron, CronExpression, Interval } from '@nestjs/schedule';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import { PartnerDirectory } from '../partners/partner-directory';
import { OutboxStore } from './outbox.store';

const RESCUE_MS = 30_000;
const GAUGES_MS = 10_000;
const WEEKS_AHEAD = 4;

/**
 * What the outbox needs done now and then. Every duty may run on all replicas at once: the database lets one through or all agree. Processes
 * that only answer requests leave the work to the workers, and measure all the same.
 */
@Injectable()
export class OutboxDuties {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly store: OutboxStore,
    private readonly partners: PartnerDirectory,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {}

  @Interval(RESCUE_MS)
  async rescueOnSchedule(): Promise<void> {
    if (this.config.role !== 'api') await this.rescue();
  }

  /** Gives a head back to lanes that lost it. It should never find one; when it does, somebody must learn of it. */
  async rescue(): Promise<void> {
    await this.duty('rescue', async () => {
      const repaired = await this.store.repairLanes();
      if (repaired === null || repaired === 0) return;
      this.metrics.repairedLanes.inc(repaired);
      this.logger.event('error', 'outbox.lanes_repaired', { repaired });
    });
  }

  @Cron(CronExpression.EVERY_HOUR)
  async retentionOnSchedule(): Promise<void> {
    if (this.config.role !== 'api') await this.retention();
  }

  async retention(): Promise<void> {
    await this.duty('retention', async () => {
      const made = await this.store.createPartitions(WEEKS_AHEAD);
      const dropped = await this.store.dropPartitions(
        this.config.outboxMessageRetentionDays,
        this.config.outboxAttemptRetentionDays,
      );
      if (made > 0 || dropped.length > 0) this.logger.event('info', 'outbox.partitions', { made, dropped });
    });
  }

  @Interval(GAUGES_MS)
  async gauges(): Promise<void> {
    await this.duty('gauges', async () => {
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
    });
  }

  @Interval(GAUGES_MS)
  async growth(): Promise<void> {
    await this.duty('growth', async () => {
      const { messagesByDefault, attemptsByDefault, deadHeads, oldestSnapshotSeconds } = await this.store.growth();
      this.metrics.defaultPartitionRows.set({ table: 'outbox_message' }, messagesByDefault);
      this.metrics.defaultPartitionRows.set({ table: 'outbox_attempt' }, attemptsByDefault);
      this.metrics.deadHeads.set(deadHeads);
      this.metrics.oldestSnapshotSeconds.set(oldestSnapshotSeconds);
    });
  }

  private async duty(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      // The next round tries again; until then ops see it here.
      this.logger.event('warn', 'outbox.duty_failed', { duty: name, error: messageOf(error) });
    }
  }
}
