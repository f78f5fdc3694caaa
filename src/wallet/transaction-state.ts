import type { Direction, OutcomeClass } from '../partners/operator-wire';
import type { RgsOutcome } from '../partners/rgs-wire';

export type TransactionMovement = Direction | 'rollback';
export type TransactionState =
  | 'initiated'
  | 'confirmed'
  | 'rejected'
  | 'unknown'
  | 'compensating'
  | 'compensated'
  | 'parked'
  | 'rolling_back'
  | 'rolled_back';

/** Every arrow that exists. The schema's CHECK knows the same states; docs/architecture.md draws them. */
export const TRANSITIONS: Readonly<Record<TransactionState, readonly TransactionState[]>> = {
  initiated: ['confirmed', 'rejected', 'unknown', 'compensating', 'parked'],
  unknown: ['confirmed', 'rejected', 'compensating', 'parked'],
  compensating: ['compensated', 'parked'],
  confirmed: ['rolling_back'],
  rolling_back: ['rolled_back', 'parked'],
  parked: ['confirmed', 'rejected', 'compensating', 'compensated'],
  rejected: [],
  compensated: [],
  rolled_back: [],
};

/**
 * States in which the movement came to an end; `settled_at` is set exactly in these. A confirmed debit leaves its end
 * again when it is undone.
 */
export const ENDED: ReadonlySet<TransactionState> = new Set(['confirmed', 'rejected', 'compensated', 'rolled_back']);

/**
 * States in which the movement's own outcome is known and notified: the final ones, and a confirmed debit that is being
 * reversed.
 */
export const SETTLED: ReadonlySet<TransactionState> = new Set([...ENDED, 'rolling_back']);

export interface TransitionInput {
  readonly state: TransactionState;
  readonly movement: Direction;
  /** Whether it speaks about the movement itself or about the message that refunds it. */
  readonly about: 'movement' | 'reversal';
  readonly class: OutcomeClass;
  /** A callback speaks about the transaction itself; a response to a repeat may speak about the repeat only. */
  readonly source: 'operator_response' | 'operator_callback' | 'operator_list';
  /** Whether no further attempt will be made if the outcome stays unknown. */
  readonly lastAttempt: boolean;
  /** Whether the operator recognises a repeat or can be asked: without either there is nothing that the hub may try. */
  readonly resolvable: boolean;
  /**
   * Whether the outcome of an earlier request of this movement was lost, and it is not proven that it was not booked.
   */
  readonly repeated: boolean;
  /** Whether such a request could still be booked when this one was answered. */
  readonly inFlight: boolean;
  /**
   * Whether the operator keeps its refusals with the reference, so that a refused repeat speaks for every earlier
   * request.
   */
  readonly refusalIsFinal: boolean;
  /**
   * Whether the RGS no longer wants the debit: its deadline passed before this was said, or it asked for a rollback.
   */
  readonly unwanted: boolean;
  /**
   * Whether "absent" is proof: the operator said it before, the two questions began far enough apart, and nothing could
   * still be booked when this one began.
   */
  readonly absentProven: boolean;
  /** Whether refunding was begun, so the movement itself is known to be applied, also while its reversal is parked. */
  readonly reversing: boolean;
}

export interface Transition {
  /** Null: the state stays. */
  readonly to: TransactionState | null;
  /** The webhook to the RGS, once. */
  readonly notification: RgsOutcome | null;
  /** The evidence says the opposite of what is settled. Nothing changes, and a person must look. */
  readonly contradiction: boolean;
  /**
   * What becomes of the message; `proposed` and `if_unknown` leave it to the outbox's retry policy, `after_landing` as
   * well, but not before all that was lost is booked or never will be. `ask_again` looks once more after the grace,
   * `again` sends once more now.
   */
  readonly message: 'sent' | 'dead' | 'blocked' | 'proposed' | 'if_unknown' | 'after_landing' | 'ask_again' | 'again';
}

const stay = (message: Transition['message']): Transition => ({
  to: null,
  notification: null,
  contradiction: false,
  message,
});
const move = (
  to: TransactionState,
  message: Transition['message'],
  notification: RgsOutcome | null = null,
): Transition => ({
  to,
  notification,
  contradiction: false,
  message,
});
const contradict = (message: Transition['message']): Transition => ({
  to: null,
  notification: null,
  contradiction: true,
  message,
});

/**
 * The heart of the hub: what an operator's response, list or callback does to a transaction. Pure; the tests are a
 * table over it.
 */
export function decide(input: TransitionInput): Transition {
  return input.about === 'reversal' ? decideReversal(input) : decideMovement(input);
}

function decideMovement(input: TransitionInput): Transition {
  const { movement } = input;
  // What is parked then is the reversal: no word about the movement may begin another one.
  const state = input.state === 'parked' && input.reversing ? 'compensating' : input.state;
  const open = state === 'initiated' || state === 'unknown';
  switch (input.class) {
    case 'applied':
      if (open || state === 'parked')
        return input.unwanted ? move('compensating', 'sent') : move('confirmed', 'sent', 'OK');
      return state === 'rejected' ? contradict('sent') : stay('sent');

    case 'rejected_business':
      if (state === 'rejected') return stay('dead');
      // "No funds" says that this request was not booked. One before it may be booked a moment later, and the RGS must
      // not hear REJECTED then.
      if ((open || state === 'parked') && isSilentOnEarlierCalls(input))
        return input.lastAttempt
          ? giveUp(movement, state)
          : state === 'initiated'
            ? move('unknown', 'after_landing')
            : stay('after_landing');
      // A player who is owed money stays owed it: a refused credit waits for a person, and is never called rejected.
      if (open) return refused(movement);
      if (state === 'parked') return movement === 'debit' ? refused(movement) : stay('dead');
      return contradict('dead');

    case 'rejected_contract':
      if (open && !input.repeated) return refused(movement);
      // "Wrong credentials" or "wrong path" says that this repeat was not applied; the lost request before it may have
      // been.
      if (state === 'parked') return giveUp(movement, state);
      if (open)
        return input.lastAttempt
          ? giveUp(movement, state)
          : state === 'unknown'
            ? stay('if_unknown')
            : move('unknown', 'if_unknown');
      return stay('dead');

    case 'expired':
      return open
        ? move('rejected', 'dead', 'REJECTED')
        : stay(state === 'parked' ? 'dead' : finalMessageOutcome(state));

    case 'absent':
      if (isOutcomeKnown(state)) return stay(finalMessageOutcome(state));
      // Once is no proof: the lost call may still be in flight to the operator's books.
      if (!input.absentProven) return stay('ask_again');
      return input.unwanted ? move('rejected', 'dead', 'REJECTED') : stay('again');

    case 'throttled':
      if (isOutcomeKnown(state)) return stay(finalMessageOutcome(state));
      // This call was turned away, but one before it left and its outcome was lost: a later refusal must not read as
      // "never applied".
      return input.repeated && state === 'initiated' ? move('unknown', 'proposed') : stay('proposed');

    case 'accepted':
      if (isOutcomeKnown(state)) return stay(finalMessageOutcome(state));
      return input.repeated ? stillUnknown(input) : stay('proposed');

    case 'unknown':
      return isOutcomeKnown(state) ? stay(finalMessageOutcome(state)) : stillUnknown(input);
  }
}

/** Paying back has no deadline: it goes on until the operator took it, and a refusal waits for a person. */
function decideReversal(input: TransitionInput): Transition {
  const { state, class: said, source, lastAttempt, resolvable, repeated } = input;
  const reversed = state === 'compensated' || state === 'rolled_back';
  const wanted = state === 'compensating' || state === 'rolling_back' || state === 'parked';
  // A person decided meanwhile that the debit stands: nothing more is sent.
  if (!reversed && !wanted) return said === 'applied' ? contradict('sent') : stay('dead');
  switch (said) {
    case 'applied':
      if (state === 'compensating' || state === 'parked') return move('compensated', 'sent', 'ROLLED_BACK');
      if (state === 'rolling_back') return move('rolled_back', 'sent', 'ROLLED_BACK');
      return stay('sent');

    case 'rejected_business':
    case 'rejected_contract':
    case 'expired':
      if (wanted && !lastAttempt && isSilentOnEarlierCalls(input)) return stay('after_landing');
      if (wanted && state !== 'parked') return move('parked', 'dead');
      return reversed && said === 'rejected_business' ? contradict('dead') : stay('dead');

    case 'absent':
      if (reversed) return stay('sent');
      return stay(input.absentProven ? 'again' : 'ask_again');

    case 'throttled':
      return reversed ? stay('sent') : stay('proposed');

    case 'accepted':
    case 'unknown':
      if (reversed) return stay('sent');
      if (source === 'operator_callback' || (said === 'accepted' && !repeated)) return stay('proposed');
      if (lastAttempt || !resolvable) return state === 'parked' ? stay('dead') : move('parked', 'dead');
      return stay('proposed');
  }
}

/**
 * A refusal of a repeat while an earlier request may still be booked. A callback speaks about the transaction as a
 * whole.
 */
function isSilentOnEarlierCalls({ source, inFlight, refusalIsFinal }: TransitionInput): boolean {
  return source === 'operator_response' && inFlight && !refusalIsFinal;
}

function refused(movement: Direction): Transition {
  return movement === 'debit' ? move('rejected', 'dead', 'REJECTED') : move('parked', 'dead');
}

function stillUnknown({ state, movement, source, lastAttempt, resolvable }: TransitionInput): Transition {
  // A callback with an unconfigured word proves nothing; the attempt in flight decides.
  if (source === 'operator_callback') return stay('proposed');
  if (lastAttempt || !resolvable) return giveUp(movement, state);
  return state === 'initiated' ? move('unknown', 'proposed') : stay('proposed');
}

/**
 * A debit of unknown outcome blocks its lane: a credit of the same round must not overtake it. A credit blocks nothing.
 */
function giveUp(movement: Direction, state: TransactionState): Transition {
  const message = movement === 'debit' ? 'blocked' : 'dead';
  return state === 'parked' ? stay(message) : move('parked', message);
}

/** Whether it is known what became of the movement itself. */
export function isOutcomeKnown(state: TransactionState): boolean {
  return SETTLED.has(state) || state === 'compensating';
}

/** How a movement's message ends when its outcome became known by other means. */
export function finalMessageOutcome(state: TransactionState): 'sent' | 'dead' {
  return state === 'rejected' ? 'dead' : 'sent';
}
