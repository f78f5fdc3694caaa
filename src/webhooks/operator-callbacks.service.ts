import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Batcher } from '../database/batcher';
import { HotDatabase } from '../database/database';
import { HubError, messageOf } from '../kernel/errors';
import { invariant } from '../kernel/invariant';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import { isEnd } from '../outbox/lease-rules';
import { type FinishedMessage, Outbox } from '../outbox/outbox';
import { disagreement } from '../partners/asked-movement';
import { decimalText, parseExactJson } from '../json/exact-json';
import { askedMovement, classOfStatusWord, operatorReference } from '../partners/operator-wire';
import type { Partner } from '../partners/partner';
import { PartnerDirectory } from '../partners/partner-directory';
import { Periodic } from '../scheduling/periodic';
import { type OperatorReport, callbackReport, isRepeatedReport } from '../wallet/rules/operator-report';
import { Settlement } from '../wallet/settlement';
import type { Transition } from '../wallet/transaction-state';
import type { Transaction } from '../wallet/transaction';
import { WalletStore } from '../wallet/wallet.store';
import { CallbackAllowance } from './callback-allowance';
import type { CallbackResult } from './inbound-callback.entity';
import type { OperatorCallback } from './operator-callbacks.dto';
import { type CallbackRecord, OperatorCallbacksStore } from './operator-callbacks.store';

const REMATCH_MS = 60_000;
const REMATCH_BATCH = 100;
/** A longer body is kept as its fields alone, which are never longer: the rest is space and nothing else. */
const KEPT_BODY_LENGTH_MAX = 8_192;
/** Rows deleted by one statement, and statements in one go. */
const PURGE_BATCH = 5_000;
const PURGE_STATEMENTS_MAX = 20;
const BATCH_MAX = 100;
const QUEUE_MAX = 4_000;
/** A lane is busy for as long as another transaction takes. */
const BUSY_RETRY_MS = 5;

/** A callback that may settle something. */
interface PendingCallback {
  readonly operator: Partner;
  readonly laneKey: string;
  /** The message that it speaks about. */
  readonly messageId: string | null;
  readonly report: OperatorReport;
  readonly record: Omit<CallbackRecord, 'verdict'>;
}

/** Hears operators out: each callback is kept, and moves its transaction at most once. */
@Injectable()
export class OperatorCallbacksService implements OnApplicationBootstrap {
  private readonly settling: Batcher<PendingCallback, CallbackResult | 'busy'> = new Batcher({
    run: (batch) => this.settle(batch),
    batchMax: BATCH_MAX,
    flightsMax: 2,
    queueMax: QUEUE_MAX,
  });

  private readonly allowance: CallbackAllowance;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly hot: HotDatabase,
    private readonly store: OperatorCallbacksStore,
    private readonly wallet: WalletStore,
    private readonly settlement: Settlement,
    private readonly outbox: Outbox,
    private readonly partners: PartnerDirectory,
    private readonly periodic: Periodic,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {
    this.allowance = new CallbackAllowance(config.unmatchedCallbacksMax, (operatorId, limit) =>
      store.countUnmatched(operatorId, limit),
    );
  }

  onApplicationBootstrap(): void {
    const every = REMATCH_MS;
    this.periodic.every({
      name: 'webhooks.rematch',
      every,
      on: 'workers',
      failure: 'webhook.rematch_failed',
      work: () => this.rematch(),
    });
    this.periodic.every({
      name: 'webhooks.purge',
      every,
      on: 'workers',
      failure: 'webhook.purge_failed',
      work: () => this.purge(),
    });
  }

  /** Throws unknown_reference, callback_mismatch and unknown_status_word, after the body is kept. */
  async receive(operator: Partner, read: OperatorCallback, body: string): Promise<void> {
    const callback = withExactDigits(read, body);
    const transaction = await this.matching(operator, callback);
    const record = {
      operatorId: operator.id,
      body: keptBody(body, callback),
      refId: callback.refId,
      correlationId: callback.correlationId,
      transactionId: transaction?.id ?? null,
    };
    if (transaction === undefined) {
      if (await this.allowance.takesUnmatched(operator.id, performance.now()))
        await this.store.keep({ ...record, verdict: 'unmatched' });
      else this.metrics.callbacksNotKept.inc({ operator: operator.code, reason: 'unmatched' });
      this.heard('unmatched', operator, callback, null);
      throw new HubError('unknown_reference');
    }
    // Of a debit's two messages the reference tells which one is meant: the movement, or what refunds it.
    const reversal = callback.refId !== operatorReference(transaction, false);
    const mismatch = mismatchOf(operator, transaction, callback, reversal);
    if (mismatch !== null) {
      await this.keepMore(operator, { ...record, verdict: 'mismatched' }, transaction.id);
      this.heard('mismatched', operator, callback, transaction.id, mismatch);
      throw new HubError('callback_mismatch', {
        correlationId: transaction.id,
        errors: [{ field: mismatch, message: `${mismatch} is not what the hub sent` }],
      });
    }
    if (classOfStatusWord(operator, callback.status) === undefined) {
      // Taken with 200 it would leave both sides believing that the other knows; the movement waits for a word that
      // settles it.
      await this.store.keep({ ...record, verdict: 'undecided' });
      this.heard('undecided', operator, callback, transaction.id);
      const { applied, pending, refused } = operator.statusWords;
      throw new HubError('unknown_status_word', {
        correlationId: transaction.id,
        errors: [
          { field: 'status', message: `status must be one of ${[...applied, ...pending, ...refused].join(', ')}` },
        ],
      });
    }
    const messageId = reversal ? transaction.reversalMessageId : transaction.messageId;
    const report = reportOf(operator, transaction, callback, reversal ? messageId : null);
    if (isRepeatedReport(transaction, reversal, report.class)) {
      // The usual case: the response to the hub's call was first.
      await this.keepMore(operator, { ...record, verdict: 'repeated' }, transaction.id);
      this.heard('repeated', operator, callback, transaction.id);
      return;
    }
    const heard: PendingCallback = { operator, laneKey: transaction.externalPlayerId, messageId, report, record };
    let verdict = await this.settling.add(heard);
    while (verdict === 'busy') {
      await delay(BUSY_RETRY_MS);
      verdict = await this.settling.add(heard);
    }
    this.heard(verdict, operator, callback, transaction.id);
  }

  /** Keeps one that changes nothing, unless enough were kept about its transaction. */
  private async keepMore(operator: Partner, record: CallbackRecord, transactionId: string): Promise<void> {
    if (this.allowance.takesAbout(transactionId)) await this.store.keep(record);
    else this.metrics.callbacksNotKept.inc({ operator: operator.code, reason: 'enough_of_the_transaction' });
  }

  /**
   * Callbacks that came in the same moment, in one commit. busy: another transaction holds the player's lane, as the
   * settling of the response does.
   */
  private settle(batch: readonly PendingCallback[]): Promise<(CallbackResult | 'busy')[]> {
    return this.hot.transaction(async (tx) => {
      // Lane before row, as everywhere; then no other transaction settles these messages in between.
      const free = await this.outbox.lockFreeLanes(
        tx,
        batch.map(({ operator, laneKey }) => ({ destinationId: operator.id, laneKey })),
      );
      const held = batch.filter((_heard, place) => free.has(place));
      if (held.length === 0) return batch.map(() => 'busy' as const);
      // A reversal, and a message that was sent again by hand, has no lane: its head is what everyone locks before the
      // row.
      const positions = await this.outbox.positions(tx, [
        ...new Set(held.flatMap(({ messageId }) => (messageId === null ? [] : [messageId]))),
      ]);
      const transitions = await this.settlement.apply(
        tx,
        held.map(({ report, messageId }) => ({
          ...report,
          answerInFlight: messageId !== null && positions.get(messageId)?.place === 'in_flight',
        })),
      );
      const verdicts = new Map<PendingCallback, CallbackResult>();
      const finished: FinishedMessage[] = [];
      held.forEach((heard, place) => {
        const transition = transitions[place];
        invariant(transition !== undefined, 'a statement got no decision');
        verdicts.set(heard, verdictOf(transition, heard.report));
        if (isEnd(transition.message) && heard.messageId !== null)
          finished.push({ id: heard.messageId, destinationId: heard.operator.id, outcome: transition.message });
      });
      await this.outbox.finish(tx, finished, 'callback');
      await this.store.record(
        tx,
        held.map((heard) => ({ ...heard.record, verdict: verdicts.get(heard) ?? 'undecided' })),
      );
      return batch.map((heard) => verdicts.get(heard) ?? 'busy');
    });
  }

  /**
   * Forgets callbacks whose time is over: unmatched ones after the week in which they are matched again, all others
   * with the messages that they were about.
   */
  async purge(): Promise<void> {
    for (let reports = 0; reports < PURGE_STATEMENTS_MAX; reports += 1)
      if ((await this.store.purge(this.config.outboxMessageRetentionDays, PURGE_BATCH)) < PURGE_BATCH) return;
  }

  /** A callback that named a pair we did not know yet gets another chance. */
  async rematch(): Promise<void> {
    for (const { operatorId, body } of await this.store.matchable(REMATCH_BATCH)) {
      await this.receiveKept(operatorId, body).catch((error: unknown) => {
        // Kept with its new verdict; one bad body must not keep the others from their turn.
        this.logger.event('warn', 'webhook.rematch_refused', { error: messageOf(error) });
      });
    }
  }

  private async receiveKept(operatorId: number, body: string): Promise<void> {
    await this.receive(this.partners.byId(operatorId), parseExactJson(body) as OperatorCallback, body);
  }

  private async matching(
    operator: Partner,
    { refId, correlationId }: OperatorCallback,
  ): Promise<Transaction | undefined> {
    if (!isUUID(correlationId)) return undefined;
    const transaction = await this.wallet.findBatched(correlationId);
    if (transaction?.operatorId !== operator.id) return undefined;
    const sent =
      (operatorReference(transaction, false) === refId && transaction.messageId !== null) ||
      (operatorReference(transaction, true) === refId && transaction.reversalMessageId !== null);
    return sent ? transaction : undefined;
  }

  private heard(
    verdict: CallbackResult,
    operator: Partner,
    callback: OperatorCallback,
    correlationId: string | null,
    field?: string,
  ): void {
    this.metrics.callbacks.inc({ verdict });
    const level =
      verdict === 'mismatched' || verdict === 'contradicted'
        ? 'error'
        : verdict === 'unmatched' || verdict === 'undecided'
          ? 'warn'
          : 'info';
    this.logger.event(level, 'webhook.received', {
      verdict,
      operator: operator.code,
      correlationId,
      said: callback.status,
      field,
    });
  }
}

/** Never longer than its fields can be; an amount keeps its digits as text. */
function keptBody(body: string, { amount, balance, ...fields }: OperatorCallback): string {
  if (body.length <= KEPT_BODY_LENGTH_MAX) return body;
  return JSON.stringify({
    ...fields,
    amount: decimalText(amount),
    ...(balance === undefined ? {} : { balance: decimalText(balance) }),
  });
}

/** The body readers mark a number that no double holds as NaN; its digits are in the body. */
function withExactDigits(callback: OperatorCallback, body: string): OperatorCallback {
  if (!Number.isNaN(callback.amount) && !Number.isNaN(callback.balance)) return callback;
  const { amount, balance } = parseExactJson(body) as OperatorCallback;
  return { ...callback, amount, ...(balance === undefined ? {} : { balance }) };
}

/** Field in which a callback contradicts what the hub sent, by the callback's own name for it; null when it fits. */
function mismatchOf(
  operator: Partner,
  transaction: Transaction,
  callback: OperatorCallback,
  reversal: boolean,
): 'playerId' | 'amount' | 'currency' | 'event' | 'refId' | 'correlationId' | null {
  const field = disagreement(
    askedMovement(
      operator,
      {
        ...transaction,
        movement: transaction.movement === 'debit' ? 'debit' : 'credit',
        correlationId: transaction.id,
      },
      reversal,
    ),
    callback,
  );
  return field === 'direction' ? 'event' : field === 'reference' ? 'refId' : field;
}

function reportOf(
  operator: Partner,
  transaction: Transaction,
  callback: OperatorCallback,
  messageId: string | null,
): OperatorReport {
  const outcome = classOfStatusWord(operator, callback.status) ?? 'unknown';
  const reason = outcome === 'applied' ? null : (callback.reason ?? callback.status);
  const balance = decimalText(callback.balance);
  return callbackReport(
    {
      transactionId: transaction.id,
      messageId,
      class: outcome,
      reason,
      balance,
      evidence: { status: callback.status, class: outcome, reason, balance },
    },
    transaction.pastDeadline,
  );
}

function verdictOf(transition: Transition, report: OperatorReport): CallbackResult {
  if (transition.contradiction) return 'contradicted';
  if (transition.to !== null) return 'applied';
  return report.class === 'applied' || report.class === 'rejected_business' ? 'repeated' : 'undecided';
}
