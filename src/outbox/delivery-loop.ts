import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { isStoreUnavailable } from '../database/pg-errors';
import { shownUrl } from '../kernel/base-url';
import { messageOf } from '../kernel/errors';
import type { Heartbeats } from '../observability/heartbeats';
import type { Logger } from '../observability/logger';
import type { Metrics } from '../observability/metrics';
import type { Partner } from '../partners/partner';
import type { PartnerDirectory } from '../partners/partner-directory';
import type { Outbox } from './outbox';
import { ConcurrencyLimit } from './concurrency-limit';
import type { Plan } from './delivery-handler';
import {
  type Conclusion,
  SET_ASIDE,
  conclusionOf,
  endsWithinMs,
  goesStraight,
  isExpiredAfter,
  landsAfterClaimMs,
  outlastsLease,
} from './lease-rules';
import type { LostLeases } from './lost-leases';
import type { DeliveryResult, NextStep, LeasedMessage, OperatorResult, Traces } from './outbox-message';
import type { OutboxStore } from './outbox.store';
import { type Sender, targetUrl } from './sender';
import type { ResultCommitter } from './result-committer';
import { Signal } from './signal';
import { Watermark } from './watermark';

const POLL_MS_MIN = 50;
const POLL_MS_MAX = 1_000;
const WATERMARK_AGE_MS_MAX = 3_000;
const STORE_RETRY_MS = 500;
/** Until a message that must be handled alone is looked at again. */
const ALONE_RETRY_MS = 500;
const LEASE_MARGIN_MS = 1_000;
const PERMIT_AGE_MS = 200;
/** So many refusals of form without one success between them are no accident of single movements. */
const REFUSALS_IN_A_ROW = 5;
/** How long a call that waits for its turn at the rate limit may go without looking whether the hub stops. */
const PERMIT_NAP_MS = 100;

/**
 * How long after it was asked for a permit of a rate-limited destination is good. Later the call takes another one:
 * otherwise calls held up by slow connections or a busy process would leave in a bunch, on top of those that the bucket
 * grants by then. Below four calls a second the bucket is one permit of the promised two, and an old permit cannot meet
 * more than one new one for nearly as long as the next takes to come.
 */
export function permitAgeMs(ratePerSecond: number): number {
  return ratePerSecond === 0 ? Infinity : Math.max(PERMIT_AGE_MS, 800 / ratePerSecond);
}

interface Lease {
  readonly destination: Partner;
  readonly leaseMs: number;
  /** `performance.now()` before the claim was asked for. */
  readonly claimedAt: number;
}

export interface LoopSettings {
  readonly replica: string;
  /** Maximum of concurrent calls; how many are used follows the destination. */
  readonly slotsMax: number;
  /** At least this long; a destination with a longer timeout gets a longer lease. */
  readonly leaseMs: number;
  /** Calls per second over all replicas; 0: no limit. */
  readonly ratePerSecond: number;
  /** How long after its timeout a call may still be booked. */
  readonly graceMs: number;
  /** How long what an operator accepted may wait for its callback. */
  readonly callbackTimeoutMs: number;
}

/**
 * Delivers to one destination: claim as many as there are free slots, send each, settle each, sleep when there is
 * nothing.
 */
export class DeliveryLoop {
  private readonly signal = new Signal();
  private readonly giveUp = new AbortController();
  private readonly inFlight = new Set<Promise<void>>();
  private running: Promise<void> | undefined;
  private stopping = false;
  private readonly limit: ConcurrencyLimit;
  private pollMs = POLL_MS_MIN;
  private readonly watermark = new Watermark();
  /** Whether a failure was reported and no success since: the next success must be reported too, to reset the count. */
  private failing = false;
  /** RGSs of which nothing could leave for want of a permit when last claimed, and until when. */
  private heldUp: ReadonlySet<number> = new Set();
  private heldUpUntil = 0;
  /** Calls that went well and were not reported, so that a failure is reported with what it is a share of. */
  private unreportedOk = 0;
  /** Calls of an operator that were refused for their form one after the other. */
  private refusedInARow = 0;

  constructor(
    private readonly destinationId: number,
    private readonly settings: LoopSettings,
    private readonly parts: {
      readonly partners: PartnerDirectory;
      readonly store: OutboxStore;
      readonly outbox: Outbox;
      readonly sender: Sender;
      readonly committer: ResultCommitter;
      readonly lostLeases: LostLeases;
      readonly logger: Logger;
      readonly metrics: Metrics;
      readonly heartbeats: Heartbeats;
    },
  ) {
    this.limit = new ConcurrencyLimit(settings.slotsMax);
  }

  /** As the directory knows it now: a new address or key counts from the next call on. */
  get destination(): Partner {
    return this.parts.partners.byId(this.destinationId);
  }

  start(): void {
    this.running = this.run();
  }

  /**
   * What another message of an RGS that waits for permits would find out is known: the loop looks again when there may
   * be one.
   */
  wake = (rgsId?: number): void => {
    if (rgsId !== undefined && this.heldUp.has(rgsId) && performance.now() < this.heldUpUntil) return;
    this.signal.raise();
  };

  hasRoom = (): boolean => this.inFlight.size < this.limit.current;

  /** Claims nothing more; messages of a claim in flight are returned unsent. */
  stopClaiming(): void {
    this.stopping = true;
    this.wake();
  }

  /** Resolves when everything in flight is settled, or after `graceMs` with the rest left to its leases. */
  async stop(graceMs: number): Promise<void> {
    this.stopClaiming();
    const timer = setTimeout(() => this.giveUp.abort(), graceMs);
    const aborted = new Promise<void>((resolve) =>
      this.giveUp.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    await this.running;
    await Promise.race([Promise.all(this.inFlight), aborted]);
    clearTimeout(timer);
    this.giveUp.abort();
    this.parts.heartbeats.stopped(this.name);
  }

  private get name(): string {
    return `outbox:${this.destination.code}`;
  }

  /** A lease that is shorter than one call could never be used: its message would be leased and returned forever. */
  private get leaseMs(): number {
    return Math.max(this.settings.leaseMs, this.destination.timeoutMs + LEASE_MARGIN_MS);
  }

  private async run(): Promise<void> {
    this.parts.heartbeats.beat(this.name);
    while (!this.stopping) {
      let waitMs: number;
      try {
        waitMs = await this.claimAndDispatch();
        // After the claim: a loop that turns and can never claim delivers nothing either.
        this.parts.heartbeats.beat(this.name);
      } catch (error) {
        this.parts.logger.event('warn', 'outbox.claim_failed', {
          destination: this.destination.code,
          error: messageOf(error),
        });
        waitMs = STORE_RETRY_MS;
      }
      if (waitMs > 0 && !this.stopping) await this.signal.wait(waitMs);
    }
  }

  /** Answers how long to sleep; 0 = claim again at once. */
  private async claimAndDispatch(): Promise<number> {
    const free = this.limit.current - this.inFlight.size;
    if (free <= 0) {
      this.limit.full();
      // A slot that becomes free raises the signal.
      return POLL_MS_MAX;
    }
    const askedAt = performance.now();
    await this.refreshWatermark(askedAt);
    const stop = this.parts.metrics.claimSeconds.startTimer({ queue: this.destination.role });
    // A partner's row may change while a message is leased; this attempt keeps the timeout and the lease that it began
    // with.
    const lease: Lease = { destination: this.destination, leaseMs: this.leaseMs, claimedAt: askedAt };
    const landMs =
      lease.destination.role === 'operator'
        ? landsAfterClaimMs(lease.leaseMs, {
            timeoutMs: lease.destination.timeoutMs,
            answersLater: lease.destination.answersLater,
            graceMs: this.settings.graceMs,
            callbackTimeoutMs: this.settings.callbackTimeoutMs,
          })
        : null;
    const { messages, waitMs, slowed, heldUp } = await this.parts.store.claim(
      this.destinationId,
      free,
      lease.leaseMs,
      landMs,
      this.settings.replica,
      this.watermark.floorAt(askedAt),
    );
    stop();
    // Without a limit or a breaker nothing else keeps a claim from taking all that it wants.
    if (
      messages.length > 0 &&
      messages.length < free &&
      this.settings.ratePerSecond === 0 &&
      messages[0]?.probe === false &&
      !slowed
    )
      this.watermark.drained(askedAt);
    if (heldUp !== null && waitMs !== null) {
      this.heldUp = new Set(heldUp);
      this.heldUpUntil = performance.now() + waitMs;
    }
    for (const message of messages) this.dispatch(message, lease);
    if (messages.length > 0) this.pollMs = POLL_MS_MIN;
    if (waitMs === null) {
      this.limit.full();
      return 0;
    }
    // Wake-ups may get lost, so idle replicas look anyway, each in its own rhythm.
    const poll = this.pollMs * (0.8 + Math.random() * 0.4);
    this.pollMs = Math.min(this.pollMs * 1.5, POLL_MS_MAX);
    return Math.max(1, Math.min(waitMs, poll));
  }

  private async refreshWatermark(now: number): Promise<void> {
    if (now - this.watermark.readAt < WATERMARK_AGE_MS_MAX) return;
    // Successes of long ago say nothing about how the destination is now.
    this.unreportedOk = 0;
    const read = await this.parts.store.watermark(this.destination.id);
    this.watermark.read(read, now, performance.now());
  }

  private dispatch(message: LeasedMessage, lease: Lease): void {
    const delivery = this.deliver(message, lease)
      .catch((error: unknown) => {
        // Nothing below throws for what partners or the store do, so this is a fault of ours; the lease will run out
        // and the message go again.
        this.parts.logger.event('error', 'outbox.delivery_crashed', {
          messageId: message.id,
          error: messageOf(error),
          stack: error instanceof Error ? error.stack : undefined,
        });
      })
      .finally(() => {
        this.inFlight.delete(delivery);
        this.wake();
      });
    this.inFlight.add(delivery);
  }

  private async deliver(message: LeasedMessage, lease: Lease): Promise<void> {
    const { lostLeases, committer } = this.parts;
    switch (await lostLeases.judge(message)) {
      case 'usual':
        return committer.add(await this.attempt(message, lease), this.giveUp.signal);
      case 'alone':
        try {
          await committer.add(await this.attempt(message, lease), this.giveUp.signal);
        } finally {
          lostLeases.done();
        }
        return;
      case 'later':
        return committer.add(
          this.unsent(message, lease, 'messages that may end a process are handled one by one', ALONE_RETRY_MS),
          this.giveUp.signal,
        );
      case 'set_aside':
        return committer.add(this.setAside(message, lease), this.giveUp.signal);
    }
  }

  /** Nothing leaves, and a person decides; `retry` and replay reset the count. */
  private setAside(message: LeasedMessage, lease: Lease): DeliveryResult {
    if (lease.destination.role === 'operator') return this.concluded(message, lease, SET_ASIDE);
    return {
      queue: 'rgs',
      message,
      destination: lease.destination,
      status: null,
      tries: 0,
      durationMs: null,
      traces: untouched(lease.claimedAt),
      verdict: { class: 'failed', reason: SET_ASIDE.reason, retryAfterMs: null },
      proposed: { outcome: 'dead', delayMs: 0, open: true },
    };
  }

  private async attempt(message: LeasedMessage, lease: Lease): Promise<DeliveryResult> {
    const { destination, claimedAt } = lease;
    if (
      destination.role !== 'operator' ||
      goesStraight(message, isExpiredAfter(message, performance.now() - claimedAt))
    )
      return this.send(message, lease);
    const plan = await this.planFor(message);
    if (plan === null) return this.unsent(message, lease, 'the store is away');
    if (plan.action === 'send') return this.send(message, lease);
    if (plan.action === 'ask') return this.ask(message, lease, plan);
    return this.concluded(message, lease, conclusionOf(plan));
  }

  /** Null while the store is away: without knowing what became of the movement, nothing may leave, and nothing did. */
  private async planFor(message: LeasedMessage): Promise<Plan | null> {
    try {
      return await this.parts.outbox.handler.plan(message);
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
      return null;
    }
  }

  /** A result that needed no call. */
  private concluded(
    message: LeasedMessage,
    { destination, claimedAt }: Lease,
    { class: said, outcome, reason }: Conclusion,
  ): OperatorResult {
    const proposed: NextStep = { outcome, delayMs: 0 };
    return {
      queue: 'operator',
      message,
      destination,
      status: null,
      tries: 0,
      durationMs: null,
      traces: untouched(claimedAt),
      verdict: { class: said, reason, balance: null, retryAfterMs: null },
      proposed,
      ifUnknown: proposed,
    };
  }

  private async ask(
    message: LeasedMessage,
    lease: Lease,
    question: Extract<Plan, { action: 'ask' }>,
  ): Promise<DeliveryResult> {
    const { claimedAt } = lease;
    const tooLate =
      this.tooLate(lease) ??
      (performance.now() > claimedAt + permitAgeMs(this.settings.ratePerSecond)
        ? 'the permit grew old before the question could leave'
        : null);
    if (tooLate !== null) return this.unsent(message, lease, tooLate);
    // Reading a long list ends before the lease does: a result that came after it would count for nothing, and the same
    // list would be read forever.
    const endsAt = claimedAt + lease.leaseMs - LEASE_MARGIN_MS;
    const { result, healthy } = await this.parts.sender.ask(
      lease.destination,
      message,
      question,
      AbortSignal.timeout(Math.max(1, Math.round(endsAt - performance.now()))),
    );
    await this.report(message, result, healthy);
    return result;
  }

  private async send(message: LeasedMessage, lease: Lease): Promise<DeliveryResult> {
    const tooLate = this.tooLate(lease);
    if (tooLate !== null) return this.unsent(message, lease, tooLate);
    const { destination, claimedAt } = lease;
    const deadline = claimedAt + endsWithinMs(lease.leaseMs, destination.timeoutMs, message.expiresInMs);
    const { result, healthy, waitedMs } = await this.parts.sender.send(destination, message, {
      deadline,
      permitUntil: claimedAt + permitAgeMs(this.settings.ratePerSecond),
      // A repeat that cannot leave at once leaves it to the queue; a first call has its connection and waits for its
      // turn.
      permit: (why) =>
        this.permit(message, why === 'repeat' ? 0 : deadline - destination.timeoutMs - performance.now()),
      mayLeave: () => !this.stopping,
    });
    // A connection that was ready only after the signal says nothing of the partner, and the next process shall not
    // wait for its pause.
    if (this.stopping && result.status === null && result.verdict.class === 'throttled')
      return this.unsent(message, lease, 'the hub is stopping');
    // How long the partner takes, without the connection: one that is called rarely needs a new one each time and is
    // not slow for that.
    if (result.durationMs !== null)
      this.limit.ended(performance.now(), result.durationMs - waitedMs, result.status !== null);
    this.parts.metrics.concurrencyLimit.set({ destination: this.destination.code }, this.limit.current);
    await this.report(message, result, healthy);
    return result;
  }

  /** Why a call must not leave any more under this lease; null when it may. */
  private tooLate({ claimedAt, leaseMs, destination }: Lease): string | null {
    if (this.stopping) return 'the hub is stopping';
    return outlastsLease(leaseMs, destination.timeoutMs, performance.now() - claimedAt)
      ? 'the lease would have ended during the call'
      : null;
  }

  /** Until when the permit is good, once it is; null when there is none in time. */
  private async permit(message: LeasedMessage, waitMsMax: number): Promise<number | null> {
    // A process that is stopping finishes the try in hand and leaves the repeats to the queue.
    if (this.stopping || waitMsMax < 0) return null;
    const askedAt = performance.now();
    const waitMs = await this.parts.store.reservePermit(this.destination.id, message.id, waitMsMax);
    if (waitMs === null) return null;
    const leaveAt = performance.now() + waitMs;
    for (let left = waitMs; left > 0 && !this.stopping; left = leaveAt - performance.now())
      await delay(Math.min(left, PERMIT_NAP_MS));
    return askedAt + waitMs + permitAgeMs(this.settings.ratePerSecond);
  }

  private unsent(
    message: LeasedMessage,
    { destination, claimedAt }: Lease,
    reason: string,
    delayMs = 0,
  ): DeliveryResult {
    const base = {
      message,
      destination,
      status: null,
      tries: 0,
      durationMs: null,
      traces: untouched(claimedAt),
      proposed: { outcome: 'released', delayMs },
    } as const;
    return destination.role === 'operator'
      ? {
          ...base,
          queue: 'operator',
          verdict: { class: 'throttled', reason, balance: null, retryAfterMs: null },
          ifUnknown: base.proposed,
        }
      : { ...base, queue: 'rgs', verdict: { class: 'throttled', reason, retryAfterMs: null } };
  }

  /** Health of the destination: Retry-After for everyone, failures for the breaker, a full stop for 410. */
  private async report(message: LeasedMessage, result: DeliveryResult, healthy: boolean): Promise<void> {
    const { retryAfterMs } = result.verdict;
    const { store, logger } = this.parts;
    if (result.queue === 'operator') this.watchRefusals(result);
    if (healthy) this.unreportedOk += 1;
    if (healthy && !this.failing && !message.probe && retryAfterMs === null && result.verdict.class !== 'gone') return;
    try {
      if (result.verdict.class === 'gone') {
        await store.pause(this.destination.id, 'the endpoint answered 410 Gone');
        logger.event('error', 'outbox.destination_paused', { destination: this.destination.code, reason: '410 Gone' });
      }
      this.failing = !healthy;
      const ok = this.unreportedOk;
      this.unreportedOk = 0;
      const why = result.verdict.detail ?? result.verdict.reason;
      const { was, now, openSeconds } = await store.report(
        this.destination.id,
        ok,
        healthy ? 0 : 1,
        retryAfterMs,
        healthy && result.verdict.class !== 'throttled' ? null : why,
      );
      // Each move once, by the process that caused it, and why.
      if (now !== was)
        logger.event(now === 'closed' ? 'info' : 'warn', 'outbox.breaker', {
          destination: this.destination.code,
          breaker: now,
          was,
          reason: now === 'closed' ? `it answers again: ${why ?? `HTTP ${result.status ?? 'none'}`}` : why,
          openSeconds: openSeconds === null ? undefined : Math.round(openSeconds),
        });
    } catch (error) {
      // Statistics; the result itself is settled by its own transaction, which retries.
      logger.event('warn', 'outbox.report_failed', { destination: this.destination.code, error: messageOf(error) });
    }
  }

  /**
   * One refusal of its form may be the movement's; when every call is refused, address, credentials or form of the hub
   * are wrong, and money waits for a person.
   */
  private watchRefusals(result: OperatorResult): void {
    const { destination, status } = result;
    const reason = result.verdict.detail ?? result.verdict.reason;
    if (result.verdict.class === 'rejected_contract') this.refusedInARow += 1;
    else if (status !== null && status < 300) this.refusedInARow = 0;
    if (status === 401 || status === 403) {
      this.parts.metrics.credentialsRefused.inc({ destination: destination.code });
      this.parts.logger.event('error', 'outbox.credentials_refused', { destination: destination.code, status, reason });
    } else if (result.verdict.class === 'rejected_contract' && this.refusedInARow >= REFUSALS_IN_A_ROW) {
      this.parts.metrics.contractRefused.inc({ destination: destination.code });
      this.parts.logger.event('error', 'outbox.contract_refused', {
        destination: destination.code,
        status,
        reason,
        url: shownUrl(targetUrl(destination, result.message.path)),
        inARow: this.refusedInARow,
      });
    }
  }
}

/** Nothing left. */
function untouched(began: number): Traces {
  return { began, answered: false, landsMs: null };
}
