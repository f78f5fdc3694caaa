import type { NextStep, LeasedMessage, OperatorResult } from '../../outbox/outbox-message';
import type { OutcomeClass } from '../../partners/operator-wire';
import type { MoneyTransaction, Transaction } from '../transaction';
import { type Transition, type TransitionInput, decide } from '../transaction-state';
import type { Capabilities } from './plan';

/** What an operator said about one transaction. */
export interface OperatorReport {
  readonly transactionId: string;
  /** Null for a callback about the movement. */
  readonly messageId: string | null;
  readonly class: OutcomeClass;
  readonly source: TransitionInput['source'];
  readonly reason: string | null;
  /** Major units as the operator wrote them. */
  readonly balance: string | null;
  readonly lastAttempt: boolean;
  readonly repeated: boolean;
  readonly inFlight: boolean;
  /**
   * Of a look-up: how long ago its question began, in ms. What the list lacks was not booked by then, and may have been
   * since.
   */
  readonly askedMsAgo: number;
  /**
   * How long something that was lost may still be booked, in ms from now; at least that long no question proves
   * anything. 0 or less: nothing can be.
   */
  readonly landsInMs: number;
  /** Whether the movement's time was over before this was asked or said. */
  readonly expired: boolean;
  /** Of a callback: whether the hub's own call is in flight, so that a response comes. */
  readonly answerInFlight: boolean;
  /** Kept in the transaction's history. */
  readonly evidence: Record<string, unknown>;
}

/** The parts of a delivery's result that say something about money. */
export interface AttemptResult {
  readonly message: Pick<LeasedMessage, 'id' | 'eventType' | 'attempts' | 'mayLandUntil' | 'landsAt' | 'expiresInMs'>;
  readonly status: number | null;
  readonly tries: number;
  readonly traces: OperatorResult['traces'];
  readonly verdict: Pick<OperatorResult['verdict'], 'class' | 'reason' | 'balance' | 'detail'>;
  readonly ifUnknown: Pick<NextStep, 'outcome'>;
}

/** What the response to a lease says, at `now` by `performance.now()`. */
export function reportOf(result: AttemptResult, transactionId: string, now: number): OperatorReport {
  const { message, verdict } = result;
  return {
    transactionId,
    messageId: message.id,
    class: verdict.class,
    source:
      verdict.class === 'absent' || (verdict.class === 'applied' && result.status === null)
        ? 'operator_list'
        : 'operator_response',
    reason: verdict.reason,
    balance: verdict.balance,
    lastAttempt: result.ifUnknown.outcome === 'blocked' || result.ifUnknown.outcome === 'dead',
    repeated: message.mayLandUntil !== null || result.tries > 1,
    inFlight: result.tries > 1 || (message.landsAt !== null && message.landsAt > result.traces.began),
    askedMsAgo: now - result.traces.began,
    landsInMs: landsInMs(result, now),
    answerInFlight: false,
    expired: expiredAtClaim(message),
    evidence: {
      message: message.eventType,
      attempt: message.attempts + 1,
      status: result.status,
      class: verdict.class,
      reason: verdict.detail ?? verdict.reason,
      balance: verdict.balance,
    },
  };
}

/** What a callback says. It speaks about the transaction as a whole, and of no call in particular. */
export function callbackReport(
  said: Pick<OperatorReport, 'transactionId' | 'messageId' | 'class' | 'reason' | 'balance' | 'evidence'>,
  pastDeadline: boolean,
): OperatorReport {
  return {
    ...said,
    source: 'operator_callback',
    lastAttempt: false,
    repeated: false,
    inFlight: false,
    askedMsAgo: 0,
    landsInMs: -Infinity,
    answerInFlight: false,
    expired: pastDeadline,
  };
}

/** The claim's own view: a call that left in time counts as in time, however late its response. */
export function expiredAtClaim({ expiresInMs }: Pick<LeasedMessage, 'expiresInMs'>): boolean {
  return expiresInMs !== null && expiresInMs <= 0;
}

/** Until nothing of the message can be booked any more, calls of this attempt included, in ms from now. */
export function landsInMs({ message, traces }: Pick<AttemptResult, 'message' | 'traces'>, now: number): number {
  return Math.max(message.landsAt === null ? -Infinity : message.landsAt - now, traces.landsMs ?? -Infinity);
}

/** The parts of a transaction that decide what a statement about it means. */
export type Facts = Pick<MoneyTransaction, 'state' | 'movement' | 'reversal' | 'reversalMessageId' | 'absentForMs'>;

/** `apartMs`: the operator's timeout and the grace. */
export function transitionInputOf(
  transaction: Facts,
  report: OperatorReport,
  operator: Capabilities,
  apartMs: number,
): TransitionInput {
  return {
    ...report,
    state: transaction.state,
    movement: transaction.movement,
    about: report.messageId !== null && report.messageId === transaction.reversalMessageId ? 'reversal' : 'movement',
    resolvable: operator.idempotentByReference || operator.statusQuery,
    // A callback may speak of a call that was sent in time and is still in flight; what was looked up or sent after the
    // deadline cannot.
    unwanted:
      transaction.movement === 'debit' &&
      (transaction.reversal !== null ||
        (report.expired && (transaction.state !== 'initiated' || report.source !== 'operator_callback'))),
    refusalIsFinal: operator.refusalIsFinal,
    absentProven: report.class === 'absent' && shortfallMs(transaction, report, apartMs) <= 0,
    reversing: transaction.reversalMessageId !== null,
  };
}

/**
 * How much later this question should have begun to prove that the movement was never booked, in ms; 0 or less: it does
 * prove it. Two questions must begin a timeout and the grace apart, and the second when nothing lost can be booked any
 * more. Their answers do not count: a slow list is as old as the moment at which it was asked for.
 */
export function shortfallMs(
  { absentForMs }: Pick<Facts, 'absentForMs'>,
  { askedMsAgo, landsInMs: ms }: Pick<OperatorReport, 'askedMsAgo' | 'landsInMs'>,
  apartMs: number,
): number {
  const sinceFirstMs = absentForMs === null ? 0 : absentForMs - askedMsAgo;
  return Math.max(apartMs - sinceFirstMs, ms + askedMsAgo);
}

/** A decision, and the state that the transaction is in after it. */
export interface AppliedTransition extends Transition {
  readonly state: Transaction['state'];
  /** Of "absent": when a question can prove it. */
  readonly askAgainInMs: number;
}

/** What a statement does to its transaction. */
export function judge(
  transaction: Facts,
  report: OperatorReport,
  operator: Capabilities,
  apartMs: number,
): AppliedTransition {
  const transition = decide(transitionInputOf(transaction, report, operator, apartMs));
  return {
    ...transition,
    state: transition.to ?? transaction.state,
    askAgainInMs: Math.max(0, shortfallMs(transaction, report, apartMs) - report.askedMsAgo),
  };
}

/** What a statement does to the proof that the operator does not know the movement: begins it, ends it, or nothing. */
export function absenceAfter(
  { absentForMs }: Pick<Facts, 'absentForMs'>,
  said: OperatorReport['class'],
  message: Transition['message'],
): 'begins' | 'ends' | null {
  if (message === 'ask_again' && absentForMs === null) return 'begins';
  // Used up by the send that it allows, or void since a look-up had no result: the next proof starts over.
  return absentForMs !== null && (message === 'again' || said === 'unknown') ? 'ends' : null;
}

/** Whether a callback repeats what is settled. A settled state does not go back, so no lock is needed to know it. */
export function isRepeatedReport(
  { state }: Pick<Transaction, 'state'>,
  isReversal: boolean,
  said: OutcomeClass,
): boolean {
  if (isReversal) return (state === 'compensated' || state === 'rolled_back') && said === 'applied';
  return (state === 'confirmed' && said === 'applied') || (state === 'rejected' && said === 'rejected_business');
}

/** What becomes of the message whose lease is settled, at `now` by `performance.now()`. */
export function dispositionOf(
  result: AttemptResult & { readonly proposed: NextStep; readonly ifUnknown: NextStep },
  transition: AppliedTransition | undefined,
  now: number,
): NextStep {
  switch (transition?.message) {
    case undefined:
    case 'proposed':
      return result.proposed;
    case 'if_unknown':
      return result.ifUnknown;
    case 'after_landing':
      return { ...result.ifUnknown, delayMs: Math.max(result.ifUnknown.delayMs, landsInMs(result, now)) };
    case 'ask_again':
      return { outcome: 'released', delayMs: transition.askAgainInMs };
    case 'again':
      return { outcome: 'released', delayMs: 0, proven: true };
    case 'sent':
    case 'dead':
    case 'blocked':
      return { outcome: transition.message, delayMs: 0, open: transition.state === 'parked' };
  }
}
