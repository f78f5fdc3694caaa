import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { Clock } from '../../kernel/clock';
import { Metrics } from '../../observability/metrics';
import { Periodic } from '../../scheduling/periodic';
import { RunStore } from '../run/run.store';
import { ExceptionsStore } from './exceptions.store';

const GAUGES_MS = 15_000;

/** What is open and when the last report was sealed, as metrics. */
@Injectable()
export class ExceptionMetrics implements OnApplicationBootstrap {
  constructor(
    private readonly runs: RunStore,
    private readonly exceptions: ExceptionsStore,
    private readonly clock: Clock,
    private readonly periodic: Periodic,
    private readonly metrics: Metrics,
  ) {}

  onApplicationBootstrap(): void {
    this.periodic.every({
      name: 'reconciliation.gauges',
      every: GAUGES_MS,
      on: 'all',
      failure: 'reconciliation.duty_failed',
      work: () => this.refresh(),
    });
  }

  async refresh(): Promise<void> {
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
  }
}
