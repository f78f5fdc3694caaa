import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database, type Tx } from '../database/database';
import { newId } from '../database/new-id';
import { HubError } from '../kernel/errors';
import { MINOR_UNITS_MAX, toMinorUnits } from '../kernel/money';
import { invariant } from '../kernel/invariant';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import type { DeliveryHandler, Plan } from '../outbox/delivery-handler';
import { Outbox } from '../outbox/outbox';
import type { NextStep, LeasedMessage, NewMessage, OperatorResult, Queue } from '../outbox/outbox-message';
import type { MessagePosition } from '../outbox/outbox.store';
import { askedMovement, operatorReversalMessage } from '../partners/operator-wire';
import type { Partner } from '../partners/partner';
import { PartnerDirectory } from '../partners/partner-directory';
import { type RgsOutcome, rgsWebhookBody } from '../partners/rgs-wire';
import { RollbackStore } from './rollback.store';
import type { EventSource, MoneyTransaction, TransactionChange } from './transaction';
import { type ReasonCode, hubReasonCode, reasonCodeOf } from './reason-code';
import { isInFlight, replayRefusal } from './rules/by-hand';
import { planOf } from './rules/plan';
import {
  type AppliedTransition,
  type OperatorReport,
  absenceAfter,
  dispositionOf,
  expiredAtClaim,
  judge,
  reportOf,
} from './rules/operator-report';
import { beginsReversal, rollbacksHear, reversalAfter } from './rules/transition';
import { type Transition, ENDED } from './transaction-state';
import { OutcomeWaiters } from './outcome-waiters';
import { type Fill, WalletStore } from './wallet.store';

/**
 * How long a webhook is held back when a callback settles a movement whose call is in flight and says less than the
 * response may: the balance, or the reason of a refusal. Operators that call back before they answer do so by
 * milliseconds.
 */
const ANSWER_WAIT_MS = 500;

/** A change of one transaction and its webhook. */
export interface Move {
  readonly transaction: MoneyTransaction;
  readonly change: TransactionChange;
  readonly notification: RgsOutcome | null;
  /** Whether the operator's response may say more about this outcome in a moment. */
  readonly incomplete?: boolean;
}

/**
 * Applies what operators say to transactions: state, history and the one webhook to the RGS, in the caller's
 * transaction.
 */
@Injectable()
export class Settlement implements DeliveryHandler, OnModuleInit {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly store: WalletStore,
    private readonly rollbacks: RollbackStore,
    private readonly outbox: Outbox,
    private readonly partners: PartnerDirectory,
    private readonly outcomeWaiters: OutcomeWaiters,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(this);
  }

  async plan(message: LeasedMessage): Promise<Plan> {
    const transaction = await this.store.findMoney(this.database, transactionIdOf(message));
    invariant(transaction !== undefined, () => `message ${message.id} belongs to no transaction`);
    const operator = this.partners.byId(transaction.operatorId);
    const isReversal = message.id === transaction.reversalMessageId;
    const planned = planOf(
      {
        state: transaction.state,
        movement: transaction.movement,
        reversal: transaction.reversal,
        isReversal,
        reversing: transaction.reversalMessageId !== null,
        isExpired: expiredAtClaim(message),
        mayBeBooked: message.mayLandUntil !== null,
      },
      operator,
    );
    switch (planned) {
      case 'send':
      case 'give_up':
        return { action: planned };
      case 'ask':
        return ask(operator, transaction, isReversal);
      case 'finish_sent':
        return { action: 'finish', outcome: 'sent' };
      case 'finish_dead':
        return { action: 'finish', outcome: 'dead' };
      case 'expire_rolled_back':
        return { action: 'expire', reason: 'rolled_back' };
      case 'expire_deadline':
        return { action: 'expire', reason: 'deadline' };
    }
  }

  async settle(tx: Tx, results: readonly OperatorResult[]): Promise<NextStep[]> {
    const now = performance.now();
    const transitions = await this.apply(
      tx,
      results.map((result) => reportOf(result, transactionIdOf(result.message), now)),
    );
    const settledAt = performance.now();
    return results.map((result, index) => dispositionOf(result, transitions[index], settledAt));
  }

  async refuseReplay(
    tx: Tx,
    {
      id,
      queue,
      transactionId,
      position,
    }: {
      readonly id: string;
      readonly queue: Queue;
      readonly transactionId: string;
      readonly position: MessagePosition;
    },
  ): Promise<HubError | null> {
    if (queue === 'rgs') {
      const later = await this.store.outcomeAfter(tx, transactionId, id);
      return later === undefined
        ? null
        : new HubError('replay_refused', {
            detail: `the RGS was notified of ${later} of this transaction after it`,
            correlationId: transactionId,
          });
    }
    const transaction = (await this.store.lock(tx, [transactionId])).get(transactionId);
    if (transaction === undefined) return null;
    const refused = (detail: string): HubError =>
      new HubError('replay_refused', { detail, correlationId: transactionId });
    switch (
      replayRefusal(
        transaction,
        id === transaction.messageId || id === transaction.reversalMessageId,
        this.partners.byId(transaction.operatorId),
        position,
      )
    ) {
      case null:
        return null;
      case 'rejected':
        return refused(
          'the transaction was rejected and the RGS was notified; sending it again could take the money after all',
        );
      case 'superseded':
        return refused('a later message pays this bet back; replay that one');
      case 'unresolvable':
        return refused(
          'the operator neither recognises a repeated reference nor can be asked; sending it again could move the money twice',
        );
      case 'in_flight':
        return inFlight(transactionId, position);
    }
  }

  /** One decision per statement, in order. The caller holds the lanes of all transactions. */
  async apply(tx: Tx, reports: readonly OperatorReport[]): Promise<AppliedTransition[]> {
    const transactions = await this.store.lock(tx, [...new Set(reports.map(({ transactionId }) => transactionId))]);
    const transitions: AppliedTransition[] = [];
    // Two statements about one transaction in a batch (its message was replayed while it was in flight) are written one
    // after the other.
    const seen = new Set<string>();
    let moves: Move[] = [];
    const fills: { readonly fill: Fill; readonly transaction: MoneyTransaction }[] = [];
    for (const report of reports) {
      const transaction = transactions.get(report.transactionId);
      invariant(
        transaction !== undefined,
        () => `message of transaction ${report.transactionId}, which does not exist`,
      );
      if (seen.has(transaction.id)) {
        await this.write(tx, moves);
        moves = [];
        seen.clear();
      }
      const transition = judge(
        transaction,
        report,
        this.partners.byId(transaction.operatorId),
        this.apartMs(transaction),
      );
      transitions.push(transition);
      const absence = absenceAfter(transaction, report.class, transition.message);
      if (absence === 'begins') await this.store.markAbsent(tx, transaction.id, report.askedMsAgo);
      else if (absence === 'ends') await this.store.forgetAbsence(tx, transaction.id);
      const change = changeOf(transaction, report, transition);
      if (change === null) {
        const fill = fillOf(transaction, report);
        if (fill === null) continue;
        const filled = {
          ...transaction,
          balanceMinor: fill.balanceMinor ?? transaction.balanceMinor,
          reason: fill.reason ?? transaction.reason,
          reasonCode: fill.reasonCode ?? transaction.reasonCode,
        };
        fills.push({ fill, transaction: filled });
        transactions.set(transaction.id, filled);
        continue;
      }
      seen.add(transaction.id);
      moves.push({
        transaction,
        change,
        notification: transition.notification,
        incomplete: isIncomplete(report, change),
      });
      if (change.kind === 'transition') transactions.set(transaction.id, applyChange(transaction, change));
    }
    await this.write(tx, moves);
    for (const { fill, transaction } of fills) await this.fillIn(tx, fill, transaction);
    return transitions;
  }

  /** Webhooks and look-ups must say the same: the webhook gets what the response adds while it is not sent. */
  private async fillIn(tx: Tx, fill: Fill, transaction: MoneyTransaction): Promise<void> {
    const webhookId = await this.store.webhookOf(tx, transaction.id, fill.outcome);
    const body = webhookMessage(transaction, fill.outcome, webhookId ?? '').body;
    const rewritten =
      webhookId !== undefined &&
      (await this.outbox.rewrite(tx, { id: webhookId, destinationId: transaction.rgsId, body }));
    // A notified reason does not change; a balance that was not notified is better known than not.
    const rollbacks = await this.store.fillIn(tx, rewritten ? fill : { ...fill, reason: null, reasonCode: null });
    tx.afterCommit(() => {
      for (const id of [...(transaction.waited ? [transaction.id] : []), ...rollbacks]) this.outcomeWaiters.settled(id);
    });
  }

  /**
   * Writes changes with all that follows from them: history, reversal, the rollbacks that waited for them, and the
   * RGS's webhook.
   */
  async write(tx: Tx, moves: readonly Move[]): Promise<void> {
    if (moves.length === 0) return;
    const reversalMessages = moves.flatMap(({ transaction, change }) =>
      change.kind === 'transition' && beginsReversal(transaction, change.to) ? [this.reversalMessage(transaction)] : [],
    );
    await this.store.change(
      tx,
      moves.map(({ change }) => ({
        ...change,
        reversalMessageId:
          reversalMessages.find(({ transactionId }) => transactionId === change.transactionId)?.id ?? null,
      })),
    );
    await this.enqueueNotifications(tx, moves);
    await this.outbox.enqueue(tx, reversalMessages);
    const heard = moves.flatMap(({ transaction, change }) => {
      const said = change.kind === 'transition' ? rollbacksHear(transaction, change.to) : null;
      return said === null ? [] : [{ originalId: transaction.id, balanceMinor: change.balanceMinor, ...said }];
    });
    const rollbacks = heard.length === 0 ? [] : await this.rollbacks.completeRollbacks(tx, heard);
    tx.afterCommit(() => {
      for (const move of moves) this.report(move);
      // Those of an incomplete outcome wait for its response as the debit does.
      if (!moves.some(({ incomplete }) => incomplete)) for (const id of rollbacks) this.outcomeWaiters.settled(id);
    });
  }

  /** How far apart two questions must begin to prove that the operator does not know a movement. */
  private apartMs({ operatorId }: MoneyTransaction): number {
    return this.partners.byId(operatorId).timeoutMs + this.config.resolveGraceSeconds * 1000;
  }

  private async enqueueNotifications(tx: Tx, moves: readonly Move[]): Promise<void> {
    const planned = moves.flatMap(({ transaction, change, notification, incomplete = false }) =>
      notification === null || change.kind !== 'transition'
        ? []
        : [
            {
              transactionId: transaction.id,
              outcome: notification,
              messageId: newId(),
              transaction: applyChange(transaction, change),
              incomplete,
            },
          ],
    );
    const claimed = await this.store.claimOutcomes(tx, planned);
    await this.outbox.enqueue(
      tx,
      planned
        .filter(({ transactionId }) => claimed.has(transactionId))
        .map(({ transaction, outcome, messageId }) => webhookMessage(transaction, outcome, messageId)),
    );
    await this.outbox.holdBack(
      tx,
      planned
        .filter(({ transactionId, incomplete }) => incomplete && claimed.has(transactionId))
        .map(({ messageId }) => messageId),
      ANSWER_WAIT_MS,
    );
  }

  private reversalMessage(transaction: MoneyTransaction): NewMessage {
    const operator = this.partners.byId(transaction.operatorId);
    return {
      id: newId(),
      destinationId: transaction.operatorId,
      operatorId: transaction.operatorId,
      rgsId: transaction.rgsId,
      // Outside the lane: the player's later movements must not wait for money to come back, and rollbacks may
      // overtake.
      laneKey: null,
      eventType: 'rollback',
      transactionId: transaction.id,
      expiresInSeconds: null,
      ...operatorReversalMessage(operator, {
        ...transaction,
        refId: transaction.operatorReference,
        correlationId: transaction.id,
      }),
    };
  }

  private report({ transaction, change, incomplete = false }: Move): void {
    const about = {
      correlationId: transaction.id,
      movement: transaction.movement,
      from: change.from,
      source: change.source,
      reason: change.reason,
    };
    if (change.kind === 'contradiction') {
      this.metrics.contradictions.inc();
      this.logger.event('error', 'wallet.contradiction', { ...about, evidence: change.evidence });
      return;
    }
    this.metrics.settled.inc({ movement: transaction.movement, state: change.to });
    if (change.to === 'rejected' && change.reason === 'deadline') this.metrics.deadlines.inc();
    if (change.to === 'parked') this.metrics.parked.inc({ movement: transaction.movement });
    this.logger.event(change.to === 'parked' ? 'error' : 'info', 'wallet.state_changed', { ...about, to: change.to });
    // A waiting caller gets what the response adds; if none comes, the sweep of the waiters finds what is settled.
    if (transaction.waited && !incomplete && ENDED.has(change.to)) this.outcomeWaiters.settled(transaction.id);
  }
}

function transactionIdOf(message: LeasedMessage): string {
  invariant(message.transactionId !== null, () => `operator message ${message.id} carries no transaction`);
  return message.transactionId;
}

/**
 * Why a person must wait before anything is done about this movement by hand; null when nothing of it can be booked any
 * more.
 */
export function inFlight(
  transactionId: string,
  position: Pick<MessagePosition, 'place' | 'landsInMs'>,
): HubError | null {
  if (!isInFlight(position)) return null;
  const seconds = Math.max(1, Math.ceil(position.landsInMs / 1000));
  return new HubError('money_in_flight', {
    detail: `money may still be booked for ${seconds} seconds`,
    retryAfterSeconds: seconds,
    correlationId: transactionId,
  });
}

function ask(operator: Partner, transaction: MoneyTransaction, reversal: boolean): Plan {
  const movement = askedMovement(operator, { ...transaction, correlationId: transaction.id }, reversal);
  return { action: 'ask', path: `/v2/transactions?reference=${encodeURIComponent(movement.reference)}`, movement };
}

function changeOf(
  transaction: MoneyTransaction,
  report: OperatorReport,
  transition: Transition,
): TransactionChange | null {
  if (transition.to === null && !transition.contradiction) return null;
  const to = transition.to ?? transaction.state;
  return {
    transactionId: transaction.id,
    kind: transition.contradiction ? 'contradiction' : 'transition',
    source: report.class === 'expired' ? 'hub' : report.source,
    from: transaction.state,
    to,
    balanceMinor: balanceOf(report, transaction.exponent),
    // A debit that ended by a void request has that as its reason, however it was found out; the finding is in the
    // history.
    ...(to === 'confirmed'
      ? { reason: null, reasonCode: null }
      : to === 'compensating' || report.class === 'absent'
        ? hubReason(transaction.reversal === 'rollback' ? 'rolled_back' : 'deadline')
        : report.reason === null
          ? { reason: transaction.reason, reasonCode: transaction.reasonCode }
          : { reason: report.reason, reasonCode: reasonCodeOf(report.class, report.reason) }),
    reversal: reversalAfter(to, transaction.reversal),
    evidence: report.evidence,
  };
}

/**
 * A callback that came before the response may carry no balance and no reason; the response that says the same fills
 * them in.
 */
function fillOf(transaction: MoneyTransaction, report: OperatorReport): Fill | null {
  const outcome = outcomeThatAgrees(transaction, report);
  if (outcome === null || report.source !== 'operator_response') return null;
  const balanceMinor = transaction.balanceMinor === null ? balanceOf(report, transaction.exponent) : null;
  const reason = outcome === 'REJECTED' && report.reason !== transaction.reason ? report.reason : null;
  return balanceMinor === null && reason === null
    ? null
    : {
        transactionId: transaction.id,
        outcome,
        balanceMinor,
        reason,
        reasonCode: reason === null ? null : reasonCodeOf(report.class, reason),
      };
}

function outcomeThatAgrees(
  { state, reversalMessageId }: MoneyTransaction,
  { class: said, messageId }: OperatorReport,
): RgsOutcome | null {
  if (messageId !== null && messageId === reversalMessageId)
    return said === 'applied' && (state === 'compensated' || state === 'rolled_back') ? 'ROLLED_BACK' : null;
  if (state === 'confirmed' && said === 'applied') return 'OK';
  return state === 'rejected' && said === 'rejected_business' ? 'REJECTED' : null;
}

/** Whether the response in flight may add to what this statement tells the RGS. */
function isIncomplete({ answerInFlight, balance, class: said }: OperatorReport, { to }: TransactionChange): boolean {
  return answerInFlight && ENDED.has(to) && (balance === null || said === 'rejected_business');
}

/**
 * Null for a balance that is no amount or that no JSON client would read exactly: a wrong one would be worse than none.
 */
function balanceOf({ balance }: OperatorReport, exponent: number): bigint | null {
  const minor = balance === null ? null : toMinorUnits(balance, exponent);
  return minor !== null && minor <= MINOR_UNITS_MAX && minor >= -MINOR_UNITS_MAX ? minor : null;
}

/** The change of a transaction that the hub or a person makes, without a word of the operator. */
export function changeBy(
  source: EventSource,
  transaction: MoneyTransaction,
  to: MoneyTransaction['state'],
  reason: string | null,
  evidence: Record<string, unknown>,
): TransactionChange {
  return {
    transactionId: transaction.id,
    kind: 'transition',
    source,
    from: transaction.state,
    to,
    balanceMinor: null,
    ...hubReason(reason),
    reversal: transaction.reversal,
    evidence,
  };
}

function hubReason(reason: string | null): { reason: string | null; reasonCode: ReasonCode | null } {
  return { reason, reasonCode: hubReasonCode(reason) };
}

function applyChange(transaction: MoneyTransaction, change: TransactionChange): MoneyTransaction {
  const balanceMinor = ENDED.has(change.to) ? change.balanceMinor : (change.balanceMinor ?? transaction.balanceMinor);
  return {
    ...transaction,
    state: change.to,
    balanceMinor,
    reason: change.reason,
    reasonCode: change.reasonCode,
    reversal: change.reversal,
  };
}

function webhookMessage(transaction: MoneyTransaction, outcome: RgsOutcome, messageId: string): NewMessage {
  return {
    id: messageId,
    destinationId: transaction.rgsId,
    operatorId: transaction.operatorId,
    rgsId: transaction.rgsId,
    laneKey: transaction.playerId,
    eventType: transaction.movement,
    transactionId: transaction.id,
    path: '',
    expiresInSeconds: null,
    body: rgsWebhookBody({
      playerId: transaction.playerId,
      amountMinor: transaction.amountMinor,
      currency: transaction.currency,
      status: outcome,
      movement: transaction.movement,
      refId: transaction.refId,
      transactionId: transaction.id,
      state: transaction.state,
      roundId: transaction.roundId,
      balanceMinor: transaction.balanceMinor,
      reason: transaction.reason,
      reasonCode: transaction.reasonCode,
    }),
  };
}
