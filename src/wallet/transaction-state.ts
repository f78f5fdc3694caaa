import type { Movement, OutcomeClass } from '../partners/operator-wire';
import type { RgsOutcome } from '../partners/rgs-wire';

export type TransactionState = 'initiated' | 'confirmed' | 'rejected' | 'unknown' | 'compensating' | 'compensated' | 'parked' | 'rolling_back' | 'rolled_back';

/** Every arrow that exists. The schema's CHECK knows the same states; docs/architecture.md draws them. */
export const TRANSITIONS: Readonly<Record<TransactionState, readonly TransactionState[]>> = {
  initiated: ['confirmed', 'rejected', 'unknown', 'parked'],
  unknown: ['confirmed', 'rejected', 'compensating', 'parked'],
  compensating: ['compensated', 'parked'],
  confirmed: ['rolling_back'],
  rolling_back: ['rolled_back'],
  parked: ['confirmed', 'rejected', 'compensated'],
  rejected: [],
  compensated: [],
  rolled_back: [],
};

/** States in which the movement's effect is known and told; `settled_at` is set exactly in these. */
export const SETTLED: ReadonlySet<TransactionState> = new Set(['confirmed', 'rejected', 'compensated', 'rolling_back', 'rolled_back']);

export interface Evidence {
  readonly state: TransactionState;
  readonly movement: Movement;
  readonly class: OutcomeClass;
  /** A callback speaks about the transaction itself; a response to a repeat may speak about the repeat only. */
  readonly source: 'operator_response' | 'operator_callback';
  /** Whether no further attempt will be made if the outcome stays unknown. */
  readonly lastAttempt: boolean;
  readonly idempotentByReference: boolean;
  /** Whether an earlier request of this movement left already and its outcome was lost. */
  readonly repeated: boolean;
}

export interface Decision {
  /** Null: the state stays. */
  readonly to: TransactionState | null;
  /** What the RGS is told, once. */
  readonly notice: RgsOutcome | null;
  /** The evidence says the opposite of what is settled. Nothing changes, and a person must look. */
  readonly contradiction: boolean;
  /** What becomes of the message; `proposed` and `if_unknown` leave it to the outbox's retry policy. */
  readonly message: 'sent' | 'dead' | 'blocked' | 'proposed' | 'if_unknown';
}

const stay = (message: Decision['message']): Decision => ({ to: null, notice: null, contradiction: false, message });
const move = (to: TransactionState, message: Decision['message'], notice: RgsOutcome | null = null): Decision => ({ to, notice, contradiction: false, message });
const contradict = (message: Decision['message']): Decision => ({ to: null, notice: null, contradiction: true, message });

/** The heart of the hub: what an operator's answer or callback does to a transaction. Pure; the tests are a table over it. */
export function decide(evidence: Evidence): Decision {
  const { state, movement } = evidence;
  switch (evidence.class) {
    case 'applied':
      if (state === 'initiated' || state === 'unknown' || state === 'parked') return move('confirmed', 'sent', 'OK');
      return state === 'confirmed' ? stay('sent') : contradict('sent');

    case 'rejected_business':
      if (state === 'rejected') return stay('dead');
      // A player who is owed money stays owed it: a refused credit waits for a person, and is never called rejected.
      if (state === 'initiated' || state === 'unknown') return movement === 'debit' ? move('rejected', 'dead', 'REJECTED') : move('parked', 'dead');
      if (state === 'parked') return movement === 'debit' ? move('rejected', 'dead', 'REJECTED') : stay('dead');
      return contradict('dead');

    case 'rejected_contract':
      if (state === 'initiated' && !evidence.repeated) return movement === 'debit' ? move('rejected', 'dead', 'REJECTED') : move('parked', 'dead');
      // "Wrong credentials" or "wrong path" says that this repeat was not applied; the lost request before it may have been.
      if (state === 'parked') return giveUp(movement, state);
      if (state === 'initiated' || state === 'unknown') return evidence.lastAttempt ? giveUp(movement, state) : state === 'unknown' ? stay('if_unknown') : move('unknown', 'if_unknown');
      return stay('dead');

    case 'throttled':
      if (SETTLED.has(state)) return stay(endOf(state));
      // This call was turned away, but one before it left and its outcome was lost: a later refusal must not read as "never applied".
      return evidence.repeated && state === 'initiated' ? move('unknown', 'proposed') : stay('proposed');

    case 'accepted':
      if (SETTLED.has(state)) return stay(endOf(state));
      if (!evidence.repeated) return stay('proposed');
      return stillUnknown(evidence);

    case 'unknown':
      return SETTLED.has(state) ? stay(endOf(state)) : stillUnknown(evidence);
  }
}

function stillUnknown({ state, movement, source, lastAttempt, idempotentByReference }: Evidence): Decision {
  // A callback with a word that nobody declared proves nothing; the attempt in flight decides.
  if (source === 'operator_callback') return stay('proposed');
  // Without idempotence a repeat could move the money twice, so there is nothing left that the hub may try.
  if (lastAttempt || !idempotentByReference) return giveUp(movement, state);
  return state === 'initiated' ? move('unknown', 'proposed') : stay('proposed');
}

/** A debit whose place is not known holds its lane: a credit of the same round must not overtake it. A credit holds up nobody. */
function giveUp(movement: Movement, state: TransactionState): Decision {
  const message = movement === 'debit' ? 'blocked' : 'dead';
  return state === 'parked' ? stay(message) : move('parked', message);
}

/** How a message ends whose transaction was settled by other means. */
export function endOf(state: TransactionState): 'sent' | 'dead' {
  return state === 'rejected' ? 'dead' : 'sent';
}
