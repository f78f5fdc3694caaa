import { Injectable } from '@nestjs/common';
import { Interval } from '@nestjs/schedule';
import { Clock } from '../../kernel/clock';
import { messageOf } from '../../kernel/errors';
import { Logger } from '../../observability/logger';
import { Metrics } from '../../observability/metrics';
import { RunStore } from '../run/run.store';
import { ExceptionsStore } from './exceptions.store';

const GAUGES_MS = 15_000;

/** What is open and when the last report was sealed, as metrics. */
@Injectable()
export class ExceptionMetrics {
  constructor(
    private readonly runs: RunStore,
    private readonly exceptions: ExceptionsStore,
    private readonly clock: Clock,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {}

  @Interval(GAUGES_MS)
  async refresh(): Promise<void> {
    try {
      const open = await this.exceptions.open(new Date(this.clock.now()));
      const latest = await this.runs.latestSealed({ legacy: false });
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
      this.metrics.reconLastSealed.set(Math.floor((latest?.finishedAt?.getTime() ?? 0) / 1000));
      this.metrics.reconInFlight.set(latest?.counts?.inFlight ?? 0);
    } catch (error) {
      // The next round tries again; until then ops see it here.
      this.logger.event('warn', 'reconciliation.duty_failed', { duty: 'gauges', error: messageOf(error) });
    }
  }
}
