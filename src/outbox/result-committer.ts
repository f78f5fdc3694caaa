import { Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { Batcher } from '../database/batcher';
import { HotDatabase, type Tx } from '../database/database';
import { shownUrl } from '../kernel/base-url';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import { Outbox } from './outbox';
import type { DeliveryResult, NextStep, OperatorResult, Queue } from './outbox-message';
import { landingOf } from './lease-rules';
import { type LockResult, OutboxStore, type SettledRow } from './outbox.store';
import { targetUrl } from './sender';

const BATCH_MAX = 500;
/** One batch settles while the next gathers. */
const FLIGHTS_MAX = 2;
/** A lane is busy for as long as another transaction takes. */
const BUSY_RETRY_MS = 5;
const STORE_RETRY_MS = 250;

interface Settled {
  readonly verdict: LockResult;
  readonly nextStep: NextStep | null;
}

/**
 * Writes results down: the outcome of the transaction, the webhook it causes and the state of the lane in one commit.
 */
@Injectable()
export class ResultCommitter {
  private replica = '';
  /**
   * One batcher per queue: a result of the operator enqueues webhooks and so waits for RGS lanes, which a batch that
   * also held RGS results would hold already; two such batches could wait for each other.
   */
  private readonly batchers: Readonly<Record<Queue, Batcher<DeliveryResult, Settled>>>;

  constructor(
    private readonly database: HotDatabase,
    private readonly store: OutboxStore,
    private readonly outbox: Outbox,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {
    const batcher = () =>
      new Batcher({
        run: (results: DeliveryResult[]) => this.settle(results),
        batchMax: BATCH_MAX,
        flightsMax: FLIGHTS_MAX,
        queueMax: Infinity,
      });
    this.batchers = { operator: batcher(), rgs: batcher() };
  }

  nameReplica(replica: string): void {
    this.replica = replica;
  }

  /**
   * Resolves once the result is committed or known to be stale. While the store is away it is kept and tried again:
   * forgetting an answer would only make the message go out once more.
   */
  async add(result: DeliveryResult, giveUp: AbortSignal): Promise<void> {
    for (;;) {
      try {
        const { verdict } = await this.batchers[result.queue].add(result);
        if (verdict !== 'busy') return;
        await delay(BUSY_RETRY_MS);
      } catch (error) {
        this.logger.event('warn', 'outbox.settle_failed', { messageId: result.message.id, error: messageOf(error) });
        if (giveUp.aborted) return;
        await delay(STORE_RETRY_MS);
      }
    }
  }

  private async settle(results: DeliveryResult[]): Promise<Settled[]> {
    const stop = this.metrics.settleSeconds.startTimer();
    const settled = await this.database.transaction(async (tx) => {
      const verdicts = await this.store.lock(
        tx,
        results.map(({ message }) => message),
      );
      const held = results.filter((_result, index) => verdicts[index] === 'ok');
      const nextSteps = await this.dispositions(tx, held);
      if (held.length > 0)
        await this.store.settle(
          tx,
          held.map((result) => settledRow(result, nextSteps.get(result.message.id) ?? result.proposed)),
          this.replica,
        );
      const stale = results.filter((_result, index) => verdicts[index] === 'stale');
      if (stale.length > 0)
        await this.store.logStale(
          tx,
          stale.map((result) => settledRow(result, result.proposed)),
          this.replica,
        );
      return results.map(({ message }, index): Settled => ({
        verdict: verdicts[index] ?? 'stale',
        nextStep: nextSteps.get(message.id) ?? null,
      }));
    });
    stop();
    results.forEach((result, index) => this.record(result, settled[index] as Settled));
    return settled;
  }

  private async dispositions(tx: Tx, held: DeliveryResult[]): Promise<Map<string, NextStep>> {
    const operator = held.filter((result): result is OperatorResult => result.queue === 'operator');
    const decided = operator.length === 0 ? [] : await this.outbox.handler.settle(tx, operator);
    const byId = new Map(held.map((result) => [result.message.id, result.proposed]));
    operator.forEach((result, index) => byId.set(result.message.id, decided[index] ?? result.proposed));
    return byId;
  }

  private record(result: DeliveryResult, { verdict, nextStep }: Settled): void {
    if (verdict === 'busy') return;
    const outcome = verdict === 'stale' ? 'stale' : (nextStep?.outcome ?? result.proposed.outcome);
    if (verdict === 'stale') this.metrics.staleSettles.inc();
    this.metrics.deliveries.inc({ queue: result.queue, class: result.verdict.class });
    if (result.durationMs !== null)
      this.metrics.deliverySeconds.observe({ queue: result.queue }, result.durationMs / 1000);
    // Success is logged by the movement's own line; here it would be two more for each debit.
    const isPlain = outcome === 'sent' && result.verdict.class === 'applied' && result.message.attempts === 0;
    const { class: name } = result.verdict;
    // A call that could not even leave has a duration and no status; one that the hub held back itself has neither.
    const isTrouble =
      name === 'unknown' ||
      name === 'failed' ||
      (name === 'throttled' && result.status === null && result.durationMs !== null);
    const level = isTrouble || outcome === 'dead' || outcome === 'blocked' ? 'warn' : isPlain ? 'debug' : 'info';
    this.logger.event(level, 'outbox.attempted', {
      queue: result.queue,
      destination: result.destination.code,
      messageId: result.message.id,
      correlationId: result.message.transactionId,
      eventType: result.message.eventType,
      attempt: result.message.attempts + 1,
      class: result.verdict.class,
      status: result.status,
      reason: result.verdict.detail ?? result.verdict.reason,
      outcome,
      nextAttemptInMs: outcome === 'retry' || outcome === 'released' ? Math.round(nextStep?.delayMs ?? 0) : undefined,
      durationMs: result.durationMs,
      ...(level === 'warn'
        ? { url: shownUrl(targetUrl(result.destination, result.message.path)), ...result.seen }
        : {}),
    });
  }
}

function settledRow(result: DeliveryResult, disposition: NextStep): SettledRow {
  const failed = disposition.outcome !== 'sent';
  return {
    id: result.message.id,
    outcome: disposition.outcome,
    class: result.verdict.class,
    status: result.status,
    error: failed
      ? `${result.verdict.class}: ${result.verdict.detail ?? result.verdict.reason ?? `HTTP ${result.status ?? 'none'}`}`
      : null,
    durationMs: result.durationMs,
    delayMs: disposition.delayMs,
    open: disposition.outcome === 'blocked' || (disposition.open ?? false),
    landing: result.queue === 'rgs' ? null : landingOf(result, disposition),
  };
}
