import * as lease from '../../src/outbox/lease-rules';
import { propose } from '../../src/outbox/retry-policy';
import * as tries from '../../src/partners/tries';
import * as byHand from '../../src/wallet/rules/by-hand';
import * as plan from '../../src/wallet/rules/plan';
import * as statement from '../../src/wallet/rules/operator-report';
import * as transition from '../../src/wallet/rules/transition';
import * as reversal from '../../src/wallet/rules/reversal';

/** The hub's own rules, by name; a mutant replaces some of them. */
export const RULES = {
  handlingOf: lease.handlingOf,
  landsAfterClaimMs: lease.landsAfterClaimMs,
  goesStraight: lease.goesStraight,
  isExpiredAfter: lease.isExpiredAfter,
  conclusionOf: lease.conclusionOf,
  endsWithinMs: lease.endsWithinMs,
  outlastsLease: lease.outlastsLease,
  landsAfterMs: lease.landsAfterMs,
  classAfterTries: lease.classAfterTries,
  landingOf: lease.landingOf,
  endingOf: lease.endingOf,
  propose,
  mayLeave: tries.mayLeave,
  isRepeated: tries.isRepeated,
  planOf: plan.planOf,
  statementOf: statement.reportOf,
  callbackStatement: statement.callbackReport,
  saysNothingNew: statement.isRepeatedReport,
  judge: statement.judge,
  absenceAfter: statement.absenceAfter,
  dispositionOf: statement.dispositionOf,
  reversalAfter: transition.reversalAfter,
  beginsReversal: transition.beginsReversal,
  rollbacksHear: transition.rollbacksHear,
  noticeOf: transition.notificationOf,
  reversalStepOf: reversal.reversalStepOf,
  deadlineEnds: reversal.deadlineEnds,
  isInFlight: byHand.isInFlight,
  replayRefusal: byHand.replayRefusal,
  resolvedTo: byHand.resolvedTo,
};

export type Rules = typeof RULES;

/**
 * What the store does by itself, in SQL. The played traces (tools/model/play) hold it against a real database; here
 * each part can be left out, to see that the rules rest on it.
 */
export const STORE = {
  /** A result counts only while its lease is held. */
  fencesResults: true,
  /** The claim writes down until when its call may be booked, before the call leaves. */
  landsAtClaim: true,
  /** A lease that ran out counts as an attempt whose outcome was lost. */
  countsLostLeases: true,
  /** A replay keeps what may still be booked. */
  replayKeepsLanding: true,
  /** A dead message keeps what may still be booked. */
  deadKeepsLanding: true,
  /** A message that stops its lane holds up what comes after it. */
  blockedHoldsLane: true,
  /** Messages of a lane are delivered one after the other. */
  lanesAreOrdered: true,
  /** A recall makes the message expire. */
  recallExpires: true,
  /** A new lease of a message ends the claim of the old one. */
  leasesExclude: true,
  /** A settled lane goes on with the next message. */
  lanesAdvance: true,
};

export type Store = typeof STORE;
