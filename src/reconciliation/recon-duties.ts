import { Injectable } from '@nestjs/common';
import { Interval } from '@nestjs/schedule';
import { Clock } from '../kernel/clock';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import { ExceptionsStore } from './exceptions/exceptions.store';
import { ReportService } from './reports/report.service';
import { ReportStore } from './reports/report.store';

const SIGN_MS = 5_000;
const GAUGES_MS = 15_000;
/** Runs that are signed in one go; the rest waits for the next. */
const SIGNED_AT_ONCE = 20;

/** What reconciliation needs done now and then. Every duty may run on all replicas at once: the store lets one manifest a run through. */
@Injectable()
export class ReconDuties {
  constructor(
    private readonly reports: ReportService,
    private readonly store: ReportStore,
    private readonly exceptions: ExceptionsStore,
    private readonly clock: Clock,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {}

  /** Runs are signed soon after they were sealed and not when somebody first asks: what is not signed can still be changed unseen. */
  @Interval(SIGN_MS)
  async sign(): Promise<void> {
    await this.duty('sign', async () => {
      for (const run of await this.store.unsigned(SIGNED_AT_ONCE)) {
        // Each on its own: a run that cannot be signed must not leave those behind it unsigned forever.
        await this.duty(
          'sign',
          async () => {
            const { manifest, sha256 } = await this.reports.manifest(run);
            this.logger.event('info', 'reconciliation.signed', {
              runId: run.id,
              sequence: manifest.sequence,
              manifestSha256: sha256,
              reportSha256: manifest.report.sha256,
            });
          },
          run.id,
        );
      }
    });
  }

  @Interval(GAUGES_MS)
  async gauges(): Promise<void> {
    await this.duty('gauges', async () => {
      const open = await this.exceptions.open(new Date(this.clock.now()));
      const latest = await this.store.latestSealed();
      // Classes that are all dealt with must not stay at their last number.
      this.metrics.reconOpen.reset();
      this.metrics.reconOpenAmount.reset();
      const amounts = new Map<string, bigint>();
      for (const { class: className, currency, count, amountMinor } of open) {
        this.metrics.reconOpen.set({ class: className, currency, state: 'open' }, count);
        amounts.set(currency, (amounts.get(currency) ?? 0n) + BigInt(amountMinor));
      }
      for (const [currency, amount] of amounts) this.metrics.reconOpenAmount.set({ currency }, Number(amount));
      this.metrics.reconOldestOpenSeconds.set(Math.max(0, ...open.map(({ oldestSeconds }) => oldestSeconds)));
      this.metrics.reconLastSealed.set(latest === undefined ? 0 : Math.floor(latest.finishedAt.getTime() / 1000));
      this.metrics.reconInFlight.set(latest?.inFlight ?? 0);
    });
  }

  private async duty(name: string, work: () => Promise<void>, runId?: string): Promise<void> {
    try {
      await work();
    } catch (error) {
      // The next round tries again; until then ops see it here.
      this.logger.event('warn', 'reconciliation.duty_failed', { duty: name, runId, error: messageOf(error) });
    }
  }
}
