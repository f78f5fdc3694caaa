import type { OutcomeClass } from '../partners/operator-wire';
import type { Plan } from './delivery-handler';
import type { NextStep, LeasedMessage, OperatorResult, Outcome } from './outbox-message';
import type { Landing, MessagePosition } from './outbox.store';

/**
 * What a lease may do, and what it leaves behind. Pure: the delivery loop, the sender and the settler carry it out, and
 * the checker of the money machine (tools/model) walks over the same functions.
 */

/**
 * Leases of one message that may end without a word before it is set aside. What ends a process under load ends it
 * again after each start, since the message is still there; a person can look at it, a process cannot.
 */
export const LOST_LEASES_MAX = 3;

/** How a message that lost so many leases is handled: as usual, alone in its process, or by no process at all. */
export function handlingOf(lostLeases: number): 'usual' | 'alone' | 'set_aside' {
  if (lostLeases >= LOST_LEASES_MAX) return 'set_aside';
  return lostLeases === LOST_LEASES_MAX - 1 ? 'alone' : 'usual';
}

/** How long an operator may take over a call, from its beginning. */
export interface BookingLimits {
  /** The timeout that the call had: the partner's row may say another by now. */
  readonly timeoutMs: number;
  readonly callbackTimeoutMs: number;
  readonly graceMs: number;
  /** Whether it may accept a call and book it later. A response that was lost may have said so. */
  readonly answersLater: boolean;
}

/**
 * How long from the claim a call that leaves under this lease may still be booked: at the latest it leaves a timeout
 * before the lease ends.
 */
export function landsAfterClaimMs(
  leaseMs: number,
  { timeoutMs, callbackTimeoutMs, graceMs, answersLater }: BookingLimits,
): number {
  return leaseMs + (answersLater ? Math.max(0, callbackTimeoutMs - timeoutMs) : 0) + graceMs;
}

/** Whether it may be sent without a look at its movement: it never left, and its time is not over. */
export function goesStraight(
  { claims, mayLandUntil }: Pick<LeasedMessage, 'claims' | 'mayLandUntil'>,
  isExpired: boolean,
): boolean {
  return claims <= 1 && mayLandUntil === null && !isExpired;
}

/** The result of a lease under which nothing needs to leave. */
export interface Conclusion {
  readonly class: OutcomeClass;
  readonly outcome: Extract<Outcome, 'sent' | 'dead' | 'blocked'>;
  readonly reason: string;
}

export const SET_ASIDE: Conclusion = {
  class: 'unknown',
  outcome: 'blocked',
  reason: 'set aside: each process that handled it ended or lost touch before it had a result',
};
const GIVEN_UP: Conclusion = {
  class: 'unknown',
  outcome: 'blocked',
  reason: 'the operator can neither be asked nor be sent the same reference again',
};

/** What a plan concludes without a call. */
export function conclusionOf(plan: Exclude<Plan, { readonly action: 'send' | 'ask' }>): Conclusion {
  switch (plan.action) {
    case 'finish':
      return {
        class: plan.outcome === 'sent' ? 'applied' : 'rejected_business',
        outcome: plan.outcome,
        reason: 'settled by other means',
      };
    case 'expire':
      return { class: 'expired', outcome: 'dead', reason: plan.reason };
    case 'give_up':
      return GIVEN_UP;
  }
}

/** Whether its time is over, so long after the claim. */
export function isExpiredAfter({ expiresInMs }: Pick<LeasedMessage, 'expiresInMs'>, sinceClaimMs: number): boolean {
  return expiresInMs !== null && expiresInMs <= sinceClaimMs;
}

/**
 * When the last try of an attempt must have its response, in ms from the claim. No try starts after the message
 * expired: by then its outcome is asked for, not tried for.
 */
export function endsWithinMs(leaseMs: number, timeoutMs: number, expiresInMs: number | null): number {
  return expiresInMs === null || expiresInMs <= 0 ? leaseMs : Math.min(leaseMs, expiresInMs + timeoutMs);
}

/** Whether a call that left so long after the claim could outlast its lease. */
export function outlastsLease(leaseMs: number, timeoutMs: number, sinceClaimMs: number): boolean {
  return sinceClaimMs > leaseMs - timeoutMs;
}

/**
 * How long from the end of the attempt something of it may still be booked, in ms; null when no response was lost. A
 * lost call may be booked until its timeout and the grace are over; one that was accepted, or may have been, until its
 * callback is overdue as well.
 */
export function landsAfterMs(
  said: OutcomeClass,
  tries: number,
  { timeoutMs, callbackTimeoutMs, graceMs, answersLater }: BookingLimits,
): number | null {
  if (said !== 'accepted' && said !== 'unknown' && tries <= 1) return null;
  return (said === 'accepted' || answersLater ? Math.max(timeoutMs, callbackTimeoutMs) : timeoutMs) + graceMs;
}

/** "Try later" as the response to a repeat within one attempt says nothing about the lost request before it. */
export function classAfterTries(said: OutcomeClass, tries: number): OutcomeClass {
  return said === 'throttled' && tries > 1 ? 'unknown' : said;
}

/** What the store must know of the calls of a lease that is settled; null when that is of no interest any more. */
export function landingOf(
  {
    message,
    traces,
  }: {
    readonly message: Pick<LeasedMessage, 'firstSentAt' | 'mayLandUntil'>;
    readonly traces: OperatorResult['traces'];
  },
  { outcome, proven }: NextStep,
): Landing | null {
  if (outcome === 'sent') return null;
  return {
    lost: traces.landsMs !== null,
    answered: traces.answered,
    landsMs: traces.landsMs ?? 0,
    hadFirstSentAt: message.firstSentAt,
    hadMayLandUntil: proven === true ? null : message.mayLandUntil,
  };
}

/**
 * How a message is ended whose outcome became known by other means. One that is being sent is left alone: its own
 * answer comes, and contradictions must be seen. What was refused is not repeated, though: expired, it gets no further
 * permit.
 */
export function endingOf(place: MessagePosition['place'], outcome: 'sent' | 'dead'): 'settle' | 'expire' | 'leave' {
  if (place === 'idle') return 'settle';
  return place === 'waiting' || (place === 'in_flight' && outcome === 'dead') ? 'expire' : 'leave';
}

/** A word that ends a message also when no lease of it brought the word. */
export function isEnd(message: string): message is Extract<Outcome, 'sent' | 'dead'> {
  return message === 'sent' || message === 'dead';
}
