import type { Transition, TransitionInput } from '../../src/wallet/transaction-state';
import { decide } from '../../src/wallet/transaction-state';
import type { Facts, OperatorReport } from '../../src/wallet/rules/operator-report';
import { absenceAfter, transitionInputOf, shortfallMs } from '../../src/wallet/rules/operator-report';
import { RULES, type Rules, type Store } from './rules';

/** One rule, weakened. The checker must find what then goes wrong. */
export interface Mutant {
  readonly name: string;
  readonly rules?: Partial<Rules>;
  readonly store?: Partial<Store>;
  /** The fault of the first release whose rules these are. */
  readonly fault?: number;
  /** The small world in which it is found at once. */
  readonly world?: string;
  /** Why nothing goes wrong without it, so far as money is concerned. */
  readonly survives?: string;
  /**
   * Which other rule holds the same, so that this one alone changes nothing; the other one is weakened by a mutant of
   * its own, and found.
   */
  readonly equivalent?: string;
}

const of = (name: string, rules: Partial<Rules>, more: Partial<Mutant> = {}): Mutant => ({ name, rules, ...more });
const without = (name: string, part: keyof Store, more: Partial<Mutant> = {}): Mutant => ({
  name,
  store: { [part]: false },
  ...more,
});

/** Judges by other evidence. */
const byEvidence = (
  change: (
    evidence: TransitionInput,
    facts: Facts,
    statement: OperatorReport,
    apartMs: number,
  ) => Partial<TransitionInput>,
): Pick<Rules, 'judge'> => ({
  judge: (facts, statement, operator, apartMs) => {
    const evidence = transitionInputOf(facts, statement, operator, apartMs);
    return settled(facts, statement, apartMs, decide({ ...evidence, ...change(evidence, facts, statement, apartMs) }));
  },
});
/** Decides otherwise. */
const byDecision = (
  change: (decision: Transition, evidence: TransitionInput) => Partial<Transition>,
): Pick<Rules, 'judge'> => ({
  judge: (facts, statement, operator, apartMs) => {
    const evidence = transitionInputOf(facts, statement, operator, apartMs);
    const decision = decide(evidence);
    return settled(facts, statement, apartMs, { ...decision, ...change(decision, evidence) });
  },
});
const settled = (
  facts: Facts,
  statement: OperatorReport,
  apartMs: number,
  decision: Transition,
): ReturnType<Rules['judge']> => ({
  ...decision,
  state: decision.to ?? facts.state,
  askAgainInMs: Math.max(0, shortfallMs(facts, statement, apartMs) - statement.askedMsAgo),
});
const said = (
  change: (statement: OperatorReport, result: Parameters<Rules['statementOf']>[0]) => Partial<OperatorReport>,
): Pick<Rules, 'statementOf'> => ({
  statementOf: (result, id, now) => {
    const statement = RULES.statementOf(result, id, now);
    return { ...statement, ...change(statement, result) };
  },
});
const isOpen = ({ state }: TransitionInput): boolean => state === 'initiated' || state === 'unknown';
const TURNS_REJECTED: Partial<Transition> = { to: 'rejected', notification: 'REJECTED', message: 'dead' };

/**
 * Where two rules hold the same, as a rollback that the plan sees and that makes its message expire, both are weakened
 * at once: one alone changes nothing. The same goes for a leased message, whose claim wrote down until when it may be
 * booked, and for an operator that can neither be asked nor be sent a repeat, of which the plan says so as well as the
 * decision.
 */
export const MUTANTS: readonly Mutant[] = [
  // The rules before faults 41 to 44 were fixed.
  of(
    'a replay forgets that a call left',
    said((_s, { message, tries }) => ({ repeated: message.attempts > 0 || tries > 1 })),
    { fault: 41, world: 'a bet, accepted and replayed' },
  ),
  of(
    'the age of "absent" is measured at the answer',
    byEvidence((e, facts, _s, apartMs) => ({
      absentProven: e.class === 'absent' && facts.absentForMs !== null && facts.absentForMs >= apartMs,
    })),
    { fault: 42, world: 'a bet at an operator that books each call' },
  ),
  of(
    'a refusal of a repeat refuses the bet',
    said(() => ({ inFlight: false })),
    { fault: 43, world: 'a bet' },
  ),
  of(
    'a person resolves what is in flight',
    { isInFlight: () => false },
    { fault: 44, world: 'a bet that nobody can ask for' },
  ),

  // What a lease may do.
  of(
    'a doubtful call is sent again instead of asked for',
    {
      planOf: (facts, operator) => {
        const plan = RULES.planOf(facts, operator);
        return plan === 'ask' ? 'send' : plan;
      },
    },
    { world: 'a bet at an operator that books each call' },
  ),
  of(
    'a doubtful call that nobody can ask for is sent again',
    {
      planOf: (facts, operator) => {
        const plan = RULES.planOf(facts, operator);
        return plan === 'give_up' ? 'send' : plan;
      },
    },
    { world: 'a bet with no help at all' },
  ),
  {
    name: 'neither the plan sees a rollback nor does its message expire',
    rules: { planOf: (facts, operator) => RULES.planOf({ ...facts, reversal: null }, operator) },
    store: { recallExpires: false },
  },
  of(
    'a plan does not see the deadline',
    { planOf: (facts, operator) => RULES.planOf({ ...facts, isExpired: false }, operator) },
    { world: 'a bet' },
  ),
  of(
    'a bet that may be booked expires',
    {
      planOf: (facts, operator) =>
        RULES.planOf(
          { ...facts, mayBeBooked: facts.mayBeBooked && facts.reversal === null && !facts.isExpired },
          operator,
        ),
    },
    { world: 'a bet' },
  ),
  of(
    'a bet that may be booked is sent as if it were not',
    { planOf: (facts, operator) => RULES.planOf({ ...facts, mayBeBooked: false }, operator) },
    { world: 'a bet' },
  ),
  of(
    'a plan does not see that the movement is settled',
    {
      planOf: (facts, operator) =>
        RULES.planOf({ ...facts, reversing: false, state: facts.isReversal ? facts.state : 'unknown' }, operator),
    },
    { world: 'a bet and its callbacks' },
  ),
  of(
    'a plan does not see that the repayment is settled',
    {
      planOf: (facts, operator) =>
        RULES.planOf({ ...facts, state: facts.isReversal ? 'rolling_back' : facts.state }, operator),
    },
    { world: 'a bet, accepted and replayed' },
  ),
  of(
    'a plan does not see that a parked bet is being paid back',
    { planOf: (facts, operator) => RULES.planOf({ ...facts, reversing: false }, operator) },
    { world: 'a repayment whose bet is forgotten' },
  ),
  of(
    'a credit that a callback refused is taken for unwanted',
    { planOf: (facts, operator) => RULES.planOf({ ...facts, movement: 'debit' }, operator) },
    { world: 'a win and its callbacks' },
  ),
  of(
    'a message that was leased, or may be booked, goes straight',
    { goesStraight: (_message, isExpired) => !isExpired },
    { world: 'a bet, accepted and replayed' },
  ),
  of(
    'a message that was leased before goes straight',
    { goesStraight: ({ mayLandUntil }, isExpired) => mayLandUntil === null && !isExpired },
    { world: 'a bet, accepted and replayed' },
  ),
  of(
    'an expired message goes straight',
    { goesStraight: (message) => RULES.goesStraight(message, false) },
    { world: 'a bet' },
  ),
  of(
    'a call may outlast its lease',
    { outlastsLease: () => false, mayLeave: () => true },
    { world: 'a bet and slow processes' },
  ),
  of(
    'a try may leave after the deadline',
    { endsWithinMs: (leaseMs) => leaseMs, isExpiredAfter: () => false },
    { world: 'a bet' },
  ),
  of(
    'a lost call is repeated where repeats are not recognised',
    { isRepeated: (answer, _repeatable, nextEnds, endBy) => RULES.isRepeated(answer, true, nextEnds, endBy) },
    { world: 'a bet at an operator that books each call' },
  ),

  // Until when something may be booked.
  of(
    'a claim leaves out the grace',
    { landsAfterClaimMs: (leaseMs, limits) => RULES.landsAfterClaimMs(leaseMs, { ...limits, graceMs: 0 }) },
    { world: 'a bet and a process that dies late' },
  ),
  of(
    'a claim leaves out the call',
    { landsAfterClaimMs: (_leaseMs, { graceMs }) => graceMs },
    { world: 'a bet with no help at all' },
  ),
  of(
    'a claim leaves out that the operator may answer later',
    { landsAfterClaimMs: (leaseMs, limits) => RULES.landsAfterClaimMs(leaseMs, { ...limits, answersLater: false }) },
    { world: 'a bet and a process that dies late' },
  ),
  of(
    'a lost call leaves out the grace',
    { landsAfterMs: (said_, tries, limits) => RULES.landsAfterMs(said_, tries, { ...limits, graceMs: 0 }) },
    { world: 'a bet' },
  ),
  of(
    'a lost call leaves out its time-out',
    { landsAfterMs: (said_, tries, limits) => RULES.landsAfterMs(said_, tries, { ...limits, timeoutMs: 0 }) },
    { world: 'a bet' },
  ),
  of(
    'a lost call leaves nothing behind',
    { landsAfterMs: (said_, tries, limits) => (said_ === 'unknown' ? null : RULES.landsAfterMs(said_, tries, limits)) },
    { world: 'a bet' },
  ),
  of(
    'a lost call leaves out that it may have been accepted',
    { landsAfterMs: (said_, tries, limits) => RULES.landsAfterMs(said_, tries, { ...limits, answersLater: false }) },
    { world: 'a bet with no help at all' },
  ),
  of(
    'what is accepted leaves nothing behind',
    {
      landsAfterMs: (said_, tries, limits) => (said_ === 'accepted' ? null : RULES.landsAfterMs(said_, tries, limits)),
    },
    { world: 'a bet with no help at all' },
  ),
  of(
    'what is accepted must be booked within the time-out',
    {
      landsAfterMs: (said_, tries, limits) =>
        RULES.landsAfterMs(said_ === 'accepted' ? 'unknown' : said_, tries, { ...limits, answersLater: false }),
    },
    { world: 'a bet with no help at all' },
  ),
  of(
    'a repeat that is answered forgets the try before it',
    { landsAfterMs: (said_, _tries, limits) => RULES.landsAfterMs(said_, 1, limits) },
    { world: 'a bet' },
  ),
  of(
    '"try later" of a repeat counts for the try before it',
    { classAfterTries: (said_) => said_ },
    {
      equivalent:
        'The try before it is remembered by until when it may be booked ("a repeat that is answered forgets the try before it" is found).',
    },
  ),
  of(
    'a proof of absence is forgotten at once',
    { landingOf: (result, disposition) => RULES.landingOf(result, { ...disposition, proven: false }) },
    { world: 'a bet at an operator that books each call' },
  ),
  of(
    'every settled lease forgets what may be booked',
    { landingOf: (result, disposition) => RULES.landingOf(result, { ...disposition, proven: true }) },
    { world: 'a bet' },
  ),

  // What an answer means.
  of(
    'no answer is one to a repeat',
    said(() => ({ repeated: false })),
    { world: 'a bet, refused and repeated' },
  ),
  of(
    'no attempt is the last',
    said(() => ({ lastAttempt: false })),
    { world: 'a bet' },
  ),
  of(
    'every question was asked now',
    said(() => ({ askedMsAgo: 0 })),
    { world: 'a bet at an operator that books each call' },
  ),
  of(
    'nothing lands after the answer',
    said(() => ({ landsInMs: -Infinity })),
    { world: 'a bet and its callbacks' },
  ),
  of(
    'no call was made after the deadline',
    said(() => ({ expired: false })),
    { world: 'a bet, replayed' },
  ),
  of(
    'a callback knows no deadline',
    { callbackStatement: (words) => RULES.callbackStatement(words, false) },
    { world: 'a bet and its callbacks' },
  ),
  of(
    'a callback that contradicts is taken for a repeat',
    {
      saysNothingNew: (facts, isReversal, class_) =>
        RULES.saysNothingNew(facts, isReversal, class_) || facts.state === 'confirmed' || facts.state === 'rejected',
    },
    { world: 'an operator that contradicts itself' },
  ),
  of(
    'absent once is proof',
    byEvidence((e) => ({ absentProven: e.class === 'absent' })),
    { world: 'a bet' },
  ),
  of(
    'absent twice is proof, however close',
    byEvidence((e, facts) => ({ absentProven: e.class === 'absent' && facts.absentForMs !== null })),
    { world: 'a bet' },
  ),
  of(
    'absent is proof while calls may be booked',
    byEvidence((e, facts, statement, apartMs) => ({
      absentProven: e.class === 'absent' && shortfallMs(facts, { ...statement, landsInMs: -Infinity }, apartMs) <= 0,
    })),
    { world: 'a bet, accepted later' },
  ),
  of(
    'two questions need be no time-out and grace apart',
    byEvidence((e, facts, statement) => ({
      absentProven: e.class === 'absent' && facts.absentForMs !== null && shortfallMs(facts, statement, 0) <= 0,
    })),
    {
      equivalent:
        'Since the second question waits until nothing lost can be booked, it proves it alone ("absent is proof while calls may be booked" is found). The distance is caution towards a list that is behind its books (assumption "lags").',
    },
  ),
  of(
    'every refusal is final',
    byEvidence(() => ({ refusalIsFinal: true })),
    { world: 'a bet' },
  ),
  of(
    'an unwanted bet is confirmed',
    byEvidence(() => ({ unwanted: false })),
    { world: 'a bet' },
  ),
  of(
    'a repayment that was begun is forgotten',
    byEvidence(() => ({ reversing: false })),
    { world: 'a bet with no help at all' },
  ),
  of(
    "a refusal of a repeat's form refuses the bet",
    byDecision((_d, e) =>
      e.class === 'rejected_contract' && isOpen(e) && e.movement === 'debit' && e.about === 'movement'
        ? TURNS_REJECTED
        : {},
    ),
    { world: 'a bet, refused and repeated' },
  ),
  of(
    'OK revives a rejected bet',
    byDecision((_d, e) =>
      e.class === 'applied' && e.state === 'rejected' && e.about === 'movement'
        ? { to: 'confirmed', notification: 'OK', contradiction: false }
        : {},
    ),
    { world: 'an operator that contradicts itself' },
  ),
  of(
    'a contradiction raises no incident',
    byDecision(() => ({ contradiction: false })),
    { world: 'an operator that contradicts itself' },
  ),
  of(
    'accepted is taken for applied',
    byDecision((_d, e) =>
      e.class === 'accepted' && isOpen(e) && e.about === 'movement'
        ? { to: 'confirmed', notification: 'OK', message: 'sent' }
        : {},
    ),
    { world: 'a bet with no help at all' },
  ),
  of(
    'unknown is taken for refused',
    byDecision((_d, e) =>
      e.class === 'unknown' && isOpen(e) && e.movement === 'debit' && e.about === 'movement' ? TURNS_REJECTED : {},
    ),
    { world: 'a bet' },
  ),
  of(
    'a win that is refused is called rejected',
    byDecision((d, e) => (e.movement === 'credit' && d.to === 'parked' ? TURNS_REJECTED : {})),
    { world: 'a win' },
  ),
  of(
    'a bet whose place is not known lets its lane go on',
    byDecision((d) => (d.message === 'blocked' ? { message: 'dead' } : {})),
    { world: 'a lane' },
  ),
  of(
    'a refusal after the last attempt is believed',
    byDecision((_d, e) =>
      e.class === 'rejected_business' && e.lastAttempt && isOpen(e) && e.movement === 'debit' && e.about === 'movement'
        ? TURNS_REJECTED
        : {},
    ),
    { world: 'a bet' },
  ),
  of(
    'a refused repeat does not wait',
    byDecision((d) => (d.message === 'after_landing' ? { message: 'if_unknown' } : {})),
    { survives: 'It is asked again sooner and uses up the schedule sooner: a person has it earlier than needed.' },
  ),
  of(
    '"try later" hides that a call was lost',
    byDecision((d, e) => (e.class === 'throttled' && e.repeated ? { to: null } : d)),
    {
      survives:
        'The state says "initiated" longer; that the call may have left is read from its message, which remembers it.',
    },
  ),
  of(
    'a repayment that is refused is called done',
    byDecision((d, e) =>
      e.about === 'reversal' && d.to === 'parked'
        ? { to: e.state === 'rolling_back' ? 'rolled_back' : 'compensated', notification: 'ROLLED_BACK' }
        : {},
    ),
    { world: 'a bet' },
  ),
  of(
    'a repayment that is not known is forgotten',
    byDecision((d, e) => (e.about === 'reversal' && d.to === 'parked' && e.class === 'unknown' ? { to: null } : {})),
    { world: 'a bet' },
  ),
  of(
    'a repayment that is absent is called done',
    byDecision((_d, e) =>
      e.about === 'reversal' && e.class === 'absent' && (e.state === 'compensating' || e.state === 'rolling_back')
        ? {
            to: e.state === 'compensating' ? 'compensated' : 'rolled_back',
            notification: 'ROLLED_BACK',
            message: 'sent',
          }
        : {},
    ),
    { world: 'a bet at an operator that books each call' },
  ),
  of(
    'a refused repeat of a repayment parks it as refused',
    byDecision((d, e) =>
      e.about === 'reversal' && d.message === 'after_landing'
        ? { to: e.state === 'parked' ? null : 'parked', message: 'dead' }
        : {},
    ),
    { survives: 'A person has it sooner, and may not resolve it before nothing of it can be booked.' },
  ),
  of('a proof of absence never begins', { absenceAfter: () => null }, { world: 'a bet' }),
  of(
    'a proof of absence is used twice',
    { absenceAfter: (facts, class_, message) => (message === 'again' ? null : absenceAfter(facts, class_, message)) },
    {
      equivalent:
        'The second send begins another landing, and no question counts before its end ("absent is proof while calls may be booked" is found).',
    },
  ),
  of(
    'an unreadable list does not begin the proof anew',
    { absenceAfter: (facts, class_, message) => (class_ === 'unknown' ? null : absenceAfter(facts, class_, message)) },
    {
      equivalent:
        'The last question still begins when nothing can be booked ("absent is proof while calls may be booked" is found). Beginning again is caution towards a list that is failing.',
    },
  ),

  // What becomes of the message.
  of(
    'an answer of "absent" is asked for again at once',
    {
      dispositionOf: (result, decision, now) => {
        const d = RULES.dispositionOf(result, decision, now);
        return decision?.message === 'ask_again' ? { ...d, delayMs: 0 } : d;
      },
    },
    { world: 'a bet' },
  ),
  of(
    'a proven absence is not remembered',
    {
      dispositionOf: (result, decision, now) => {
        const d = RULES.dispositionOf(result, decision, now);
        return { ...d, proven: false };
      },
    },
    { world: 'a bet at an operator that books each call' },
  ),
  of(
    'a refusal of form ends a doubtful message',
    {
      dispositionOf: (result, decision, now) =>
        decision?.message === 'if_unknown' ? result.proposed : RULES.dispositionOf(result, decision, now),
    },
    { world: 'a bet, refused and repeated' },
  ),
  of(
    'an acceptance after a proof is no first one',
    {
      propose: (queue, class_, pause, { mayLandUntil: _late, ...counts }, rules, random) =>
        RULES.propose(queue, class_, pause, counts, rules, random),
    },
    { world: 'a bet, accepted later' },
  ),
  of('a message whose schedule ended is dead', {
    propose: (...all) => {
      const d = RULES.propose(...all);
      return d.outcome === 'blocked' ? { ...d, outcome: 'dead' } : d;
    },
    dispositionOf: (result, decision, now) => {
      const d = RULES.dispositionOf(result, decision, now);
      return d.outcome === 'blocked' ? { ...d, outcome: 'dead' } : d;
    },
  }),
  of(
    '"try later" ends a message',
    { propose: (...all) => (all[1] === 'throttled' ? { outcome: 'dead', delayMs: 0 } : RULES.propose(...all)) },
    { world: 'a bet, refused and repeated' },
  ),
  of(
    'what is being sent is ended by a word from elsewhere',
    { endingOf: (place, outcome) => (place === 'in_flight' ? 'settle' : RULES.endingOf(place, outcome)) },
    { world: 'an operator that contradicts itself' },
  ),
  of(
    'what waits is not recalled when its bet ends',
    { endingOf: (place, outcome) => (place === 'waiting' ? 'leave' : RULES.endingOf(place, outcome)) },
    { world: 'two bets' },
  ),
  of('what was refused is repeated in the same attempt', {
    endingOf: (place, outcome) => (place === 'in_flight' ? 'leave' : RULES.endingOf(place, outcome)),
  }),
  of('what is idle is not ended', {
    endingOf: (place, outcome) => (place === 'idle' ? 'leave' : RULES.endingOf(place, outcome)),
  }),

  // What follows from a transition.
  of('a repayment is never begun', { beginsReversal: () => false }),
  of('a rollback never hears of its bet', { rollbacksHear: () => null }),
  of('a rollback hears "undone" of a bet that was refused', {
    rollbacksHear: (facts, to) =>
      to === 'rejected' ? { state: 'confirmed', applied: true } : RULES.rollbacksHear(facts, to),
  }),
  of('a rollback does not hear that the bet stands', {
    rollbacksHear: (facts, to) => (to === 'confirmed' ? null : RULES.rollbacksHear(facts, to)),
  }),
  of('the RGS is not told what a person found', { noticeOf: () => null }),
  of('the RGS is told OK of what a person found refused', {
    noticeOf: (to) => (to === 'rejected' ? 'OK' : RULES.noticeOf(to)),
  }),

  // Rollback, deadline, ops, people.
  of('a rollback of a confirmed bet pays nothing back', {
    reversalStepOf: (bet, possiblySent) =>
      bet.state === 'confirmed'
        ? { answer: false, step: 'none', endsWithWin: true }
        : RULES.reversalStepOf(bet, possiblySent),
  }),
  of('a rollback is answered before the money is back', {
    reversalStepOf: (bet, possiblySent) =>
      bet.state === 'rolling_back' || bet.state === 'compensating'
        ? { answer: true, step: 'none', endsWithWin: false }
        : RULES.reversalStepOf(bet, possiblySent),
  }),
  of('a rollback ends a bet that may have left', { reversalStepOf: (bet) => RULES.reversalStepOf(bet, false) }),
  of('a rollback ends a parked bet', {
    reversalStepOf: (bet, possiblySent) =>
      bet.state === 'parked'
        ? { answer: false, step: 'end', endsWithWin: false }
        : RULES.reversalStepOf(bet, possiblySent),
  }),
  of('a rollback of a rejected bet says "undone"', {
    reversalStepOf: (bet, possiblySent) =>
      bet.state === 'rejected'
        ? { answer: true, step: 'none', endsWithWin: false }
        : RULES.reversalStepOf(bet, possiblySent),
  }),
  of('a rollback pays a bet back that is being paid back', {
    reversalStepOf: (bet, possiblySent) =>
      bet.state === 'compensating' || bet.state === 'rolling_back'
        ? { answer: null, step: 'pay_back', endsWithWin: false }
        : RULES.reversalStepOf(bet, possiblySent),
  }),
  of('a rollback passes a win', {
    reversalStepOf: (bet, possiblySent) => ({ ...RULES.reversalStepOf(bet, possiblySent), endsWithWin: false }),
  }),
  of('the deadline ends a bet that may have left', { deadlineEnds: (bet) => RULES.deadlineEnds(bet, false) }),
  of('the deadline ends a bet before its time', {
    deadlineEnds: (bet, possiblySent) => RULES.deadlineEnds({ ...bet, pastDeadline: true }, possiblySent),
  }),
  of('the deadline ends a bet in any state, also one that may have left', {
    deadlineEnds: (bet) => RULES.deadlineEnds({ ...bet, state: 'initiated' }, false),
  }),
  of('a person resolves what may still be booked', { isInFlight: ({ place }) => place === 'in_flight' }),
  of('a rejected bet is replayed', {
    replayRefusal: (facts, isCurrent, operator, position) =>
      facts.state === 'rejected' ? null : RULES.replayRefusal(facts, isCurrent, operator, position),
  }),
  of('what nobody can ask for is replayed', {
    replayRefusal: (facts, isCurrent, operator, position) =>
      RULES.replayRefusal(facts, isCurrent, { ...operator, statusQuery: true }, position),
  }),
  of('what is in flight is replayed', {
    replayRefusal: (facts, isCurrent, operator, position) =>
      RULES.replayRefusal(facts, isCurrent, operator, { ...position, place: 'idle', landsInMs: 0 }),
  }),
  of('a person confirms what the RGS rolled back', {
    resolvedTo: (facts, finding) => RULES.resolvedTo({ ...facts, reversal: null, pastDeadline: false }, finding),
  }),
  of('a person who finds the repayment booked confirms the bet', {
    resolvedTo: (facts, finding) => RULES.resolvedTo({ ...facts, reversalMessageId: null }, finding),
  }),
  of('a person who finds the repayment missing calls it done', {
    resolvedTo: (facts, finding) =>
      facts.reversalMessageId !== null
        ? { to: 'compensated', reversal: facts.reversal }
        : RULES.resolvedTo(facts, finding),
  }),

  // What the store does by itself.
  without('a stale result counts', 'fencesResults'),
  without('a claim writes down nothing', 'landsAtClaim'),
  without('a lost lease is not counted', 'countsLostLeases', {
    equivalent:
      'The claim before it wrote down that its call may be booked ("a claim writes down nothing" is found). The count shortens the schedule and sets aside what ends processes.',
  }),
  without('a replay forgets what may be booked', 'replayKeepsLanding'),
  without('a dead message forgets what may be booked', 'deadKeepsLanding'),
  without('a message that stops its lane does not stop it', 'blockedHoldsLane'),
  without('a lane has no order', 'lanesAreOrdered'),
  without('a recalled message does not expire', 'recallExpires'),
  without('two leases of one message count', 'leasesExclude', { world: 'a bet and slow processes' }),
  without('a settled lane does not go on', 'lanesAdvance', { world: 'a lane with no help' }),
];
