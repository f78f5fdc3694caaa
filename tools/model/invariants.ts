import { type TransactionState, isOutcomeKnown } from '../../src/wallet/transaction-state';
import * as at from './layout';
import type { Scenario } from './scenario';

/** Steps that must never be taken, whatever state they lead to. */
export const FAULTS = {
  sentAfterDeadline: {
    code: 1,
    rule: 'a bet is never sent for the first time after its deadline',
    meaning: 'The game went on without it: the player would pay for a round that he did not play.',
  },
  sentAfterRejected: {
    code: 2,
    rule: 'nothing leaves of a movement that was called rejected',
    meaning: 'The RGS was told that no money moves, and gave the player his stake back in the game.',
  },
  overtaken: {
    code: 3,
    rule: 'nothing overtakes a bet whose place is not known',
    meaning:
      'A win must not be paid for a bet that is refused a moment later, and a second bet must not take the funds of the first.',
  },
  unseen: {
    code: 4,
    rule: 'an operator that says the opposite of what was told raises an incident',
    meaning: 'Somebody must correct one of the two books; without the incident nobody knows.',
  },
  endedEarly: {
    code: 6,
    rule: 'the deadline ends no bet before its time',
    meaning: 'The game would refuse a round that the player could still have had.',
  },
  winCalledOff: {
    code: 7,
    rule: 'a win is called rejected by a person alone',
    meaning: 'The player is owed it, whatever the operator answers.',
  },
  confirmedLate: {
    code: 8,
    rule: 'a bet whose time is over is confirmed by no later word',
    meaning: 'The game went on without it: the player would pay for a round that he did not play.',
  },
  replayedInVain: {
    code: 9,
    rule: 'a replay is refused while it could send nothing, or send it twice',
    meaning: 'Ops would take the money for being on its way.',
  },
  undoneAfterWin: {
    code: 5,
    rule: 'a bet whose round has a win is not rolled back',
    meaning: 'The player would keep the win and get his stake back.',
  },
} as const;

export interface Invariant {
  readonly rule: string;
  readonly meaning: string;
  /** `q`: nothing moves any more. */
  readonly isBroken: (s: Uint8Array, place: number, t: number, m: number, u: number, scenario: Scenario) => boolean;
}

const state = (s: Uint8Array, t: number): TransactionState => at.STATES[s[t + at.STATE] as number] as TransactionState;
const told = (s: Uint8Array, t: number): number => s[t + at.TOLD] as number;
const booked = (s: Uint8Array, m: number): number => s[m + at.BOOKED] as number;
const works = (place: number | undefined): boolean => place === at.IDLE || place === at.LEASED || place === at.WAITING;
const TOLD_WORDS = new Set([0, at.TOLD_OK, at.TOLD_REJECTED, at.TOLD_ROLLED_BACK, at.TOLD_OK | at.TOLD_ROLLED_BACK]);

/** What holds in every state. */
export const ALWAYS: readonly Invariant[] = [
  {
    rule: 'nothing is booked twice',
    meaning: 'The player would pay his stake twice, or be paid his win twice.',
    isBroken: (s, _p, _t, m) => booked(s, m) > 1,
  },
  {
    rule: 'nothing is paid back twice',
    meaning: 'The operator would lose a stake.',
    isBroken: (s, _p, _t, _m, u) => booked(s, u) > 1,
  },
  {
    rule: 'what is not booked is not paid back',
    meaning: 'The operator would pay a stake that it never took.',
    isBroken: (s, _p, _t, m, u) => booked(s, u) > booked(s, m),
  },
  {
    rule: 'the RGS hears one word, and at most ROLLED_BACK after OK',
    meaning: 'Two words would leave the game and the wallet with different rounds.',
    isBroken: (s, _p, t) => !TOLD_WORDS.has(told(s, t)),
  },
  {
    rule: 'REJECTED is true',
    meaning: 'Money was taken for a bet that the game called off.',
    isBroken: (s, _p, t, m) => s[t + at.TOMBSTONE] === 0 && state(s, t) === 'rejected' && booked(s, m) !== 0,
  },
  {
    rule: 'OK is true',
    meaning: 'The game plays for a stake that was not taken, or shows a win that was not paid.',
    isBroken: (s, _p, t, m, u) => state(s, t) === 'confirmed' && booked(s, m) - booked(s, u) !== 1,
  },
  {
    rule: 'ROLLED_BACK is true',
    meaning: 'The game says that the stake is back, and it is not.',
    isBroken: (s, _p, t, m, u) =>
      s[t + at.TOMBSTONE] === 0 &&
      (state(s, t) === 'compensated' || state(s, t) === 'rolled_back') &&
      (booked(s, m) !== 1 || booked(s, u) !== 1),
  },
  {
    rule: 'a rollback that was answered "undone" is undone',
    meaning: 'The RGS closed the round as cancelled.',
    isBroken: (s, _p, t, m, u) => s[t + at.ASKED] === at.ASKED_UNDONE && (booked(s, m) !== 1 || booked(s, u) !== 1),
  },
  {
    rule: 'a rollback that was answered "nothing to undo" had nothing to undo',
    meaning: 'The stake stays taken, and nobody asks for it again.',
    isBroken: (s, _p, t, m) => s[t + at.ASKED] === at.ASKED_NOTHING && booked(s, m) !== 0,
  },
  {
    rule: 'a rollback is refused only when the repayment was refused',
    meaning: 'The RGS called the round off, and the stake would stay taken.',
    isBroken: (s, _p, t, _m, u) => s[t + at.ASKED] === at.ASKED_STANDS && s[u + at.PLACE] === at.NOWHERE,
  },
  {
    rule: 'somebody works on it',
    meaning: 'Money would lie between two books without a message, a lease or a person that brings it to its end.',
    isBroken: (s, _p, t, m, u) => {
      const at_ = state(s, t);
      if (at_ === 'initiated' || at_ === 'unknown') return !works(s[m + at.PLACE]);
      return (at_ === 'compensating' || at_ === 'rolling_back') && !works(s[u + at.PLACE]);
    },
  },
  {
    rule: 'a lane stands still only for a person',
    meaning: 'The player could not play, and nobody would know why.',
    isBroken: (s, _p, t, m) => s[m + at.PLACE] === at.BLOCKED && state(s, t) !== 'parked',
  },
  {
    rule: 'a win is never gated',
    meaning: 'A win waits behind its bet and for nothing else; a deadline or a rollback does not reach it.',
    isBroken: (s, place, t, _m, _u, { movements }) =>
      movements[place] === 'credit' && (s[t + at.UNDO] !== 0 || (told(s, t) & at.TOLD_ROLLED_BACK) !== 0),
  },
];

/** What holds when nothing moves any more. */
export const AT_REST: readonly Invariant[] = [
  {
    rule: 'money comes to its end, or a person has it',
    meaning: 'Whoever waits for it would wait for ever.',
    isBroken: (s, _p, t) =>
      !isOutcomeKnown(state(s, t)) &&
      state(s, t) !== 'rejected' &&
      state(s, t) !== 'parked' &&
      state(s, t) !== 'initiated',
  },
  {
    rule: 'an end is told',
    meaning: 'The game would not know what became of the round.',
    isBroken: (s, _p, t) =>
      s[t + at.TOMBSTONE] === 0 &&
      (state(s, t) === 'confirmed'
        ? (told(s, t) & at.TOLD_OK) === 0
        : state(s, t) === 'rejected'
          ? told(s, t) !== at.TOLD_REJECTED
          : (state(s, t) === 'compensated' || state(s, t) === 'rolled_back') &&
            (told(s, t) & at.TOLD_ROLLED_BACK) === 0),
  },
  {
    rule: 'a rollback is answered',
    meaning: 'The RGS would never learn whether the stake came back.',
    isBroken: (s, _p, t) => s[t + at.ASKED] === at.ASKED_WAITS && state(s, t) !== 'parked',
  },
];

/** Whether nobody works on anything, nothing is on its way and nothing is due later. */
export function isAtRest(s: Uint8Array, { movements }: Scenario): boolean {
  for (let place = 0; place < movements.length; place += 1) {
    for (let leg = 0; leg < 2; leg += 1) {
      const m = at.messageAt(place, leg);
      const where = s[m + at.PLACE] as number;
      if (where === at.IDLE || where === at.LEASED) return false;
      // What waits rests only behind a bet that a person has.
      if (where === at.WAITING && s[at.messageAt(s[at.HEAD] as number, 0) + at.PLACE] !== at.BLOCKED) return false;
      if (s[m + at.LATE_1] !== 0 || s[m + at.LATE_2] !== 0 || s[m + at.LATE_EVER] !== 0 || s[m + at.PENDING] !== 0)
        return false;
      if (s[at.workerAt(m, 0)] !== 0 || s[at.workerAt(m, 1)] !== 0) return false;
    }
  }
  return true;
}

/** A movement that waits behind a bet which a person has rests with it; with a deadline it ends by itself. */
function restsBehind(s: Uint8Array, place: number): boolean {
  return s[at.messageAt(place, 0) + at.PLACE] === at.WAITING;
}

/** The rule that this state breaks; null when it breaks none. */
export function brokenIn(s: Uint8Array, scenario: Scenario): string | null {
  const fault = s[at.FAULT];
  if (scenario.judged === 'incidents') return fault === FAULTS.unseen.code ? FAULTS.unseen.rule : null;
  if (fault !== 0) return Object.values(FAULTS).find(({ code }) => code === fault)?.rule ?? null;
  const rest = isAtRest(s, scenario);
  for (let place = 0; place < scenario.movements.length; place += 1) {
    const t = at.movementAt(place);
    if (s[t + at.STATE] === at.NOT_PLACED) continue;
    const m = at.messageAt(place, 0);
    const u = at.messageAt(place, 1);
    for (const invariant of ALWAYS) if (invariant.isBroken(s, place, t, m, u, scenario)) return invariant.rule;
    if (rest && !restsBehind(s, place))
      for (const invariant of AT_REST) if (invariant.isBroken(s, place, t, m, u, scenario)) return invariant.rule;
  }
  return null;
}
