import type { OutcomeClass } from '../../src/partners/operator-wire';
import { TRANSITIONS, type TransactionState } from '../../src/wallet/transaction-state';

/**
 * A state of the world is a row of bytes, so that ten million of them can be told apart: some counters, then one block
 * for each movement of the lane, with the transaction, the message that moves the money and the message that pays it
 * back, each with up to two workers.
 */
export const HEAD = 0; // which movement is at the head of the lane
export const FAULT = 1; // what the last step did that must never happen (see invariants.ts); 0: nothing
export const SPENT = 2; // from here on: how often each adversary acted
export const BUDGETS = [
  'crashes',
  'stalls',
  'throttles',
  'contracts',
  'refusals',
  'accepts',
  'callbacks',
  'replays',
  'persons',
  'losses',
  'rollbacks',
  'breaches',
] as const;
export type Budget = (typeof BUDGETS)[number];
export const GLOBALS = 16;

// Of a movement.
export const STATE = 0;
export const UNDO = 1; // 0 none, 1 deadline, 2 rollback
export const ABSENT = 2; // 0: not called absent; else 1 + how long ago the question began
export const DEADLINE = 3; // ticks left; NEVER
export const TOLD = 4; // bits of TOLD_*
export const ASKED = 5; // what the RGS was answered to its rollback: ASKED_*
export const INCIDENT = 6;
export const TOMBSTONE = 7;
const MESSAGE_AT = 8;

export const NEVER = 15;
export const TOLD_OK = 1;
export const TOLD_REJECTED = 2;
export const TOLD_ROLLED_BACK = 4;
export const ASKED_WAITS = 1;
export const ASKED_UNDONE = 2;
export const ASKED_NOTHING = 3;
export const ASKED_STANDS = 4;

// Of a message.
export const PLACE = 0;
export const DUE = 1; // ticks until it is due, or until its lease ends
export const CLAIMS = 2;
export const ATTEMPTS = 3;
export const LOST = 4;
export const LANDS = 5; // 0: nothing may be booked; else 1 + ticks until when
export const RECALLED = 6;
export const IN_LANE = 7;
export const BOOKED = 8; // at the operator, how often
export const MEMORY = 9; // of the operator: bits of CLOSED, FORGOT
export const PENDING = 10; // accepted by the operator and not decided: 1 + ticks that it has left
export const LATE_1 = 11; // requests that nobody waits for, which may be booked within one tick
export const LATE_2 = 12; // within two
export const LATE_EVER = 13; // whenever it pleases: beyond what is assumed
const WORKER_AT = 14;

export const CLOSED = 1;
export const FORGOT = 2;

export const NOWHERE = 0;
export const WAITING = 1;
export const IDLE = 2;
export const LEASED = 3;
export const BLOCKED = 4;
export const SENT = 5;
export const DEAD = 6;

// Of a worker: the current one, and one whose lease was taken over.
export const PHASE = 0;
export const AGE = 1; // ticks since its claim
export const BEGAN = 2; // ticks since its attempt began
export const TRIES = 3;
export const TRY_AGE = 4;
export const REQUEST = 5; // 1: on its way to the operator
export const CLASS = 6;
export const KIND = 7;
export const HAD_CLAIMS = 8;
export const HAD_ATTEMPTS = 9;
export const HAD_LANDS = 10; // LANDS at the claim
export const EXPIRES = 11; // 0: never; else 1 + ticks that were left at the claim
export const SEEN = 12; // of a question: whether the list held it when it was asked
export const STALE = 13;
export const WORKER_SIZE = 14;

export const NOBODY = 0;
export const CLAIMED = 1;
export const CALLING = 2;
export const ASKING = 3;
export const DONE = 4;

export const CALL = 0;
export const QUESTION = 1;
export const CONCLUDED_SENT = 2;
export const CONCLUDED_DEAD = 3;
export const CONCLUDED_BLOCKED = 4;
export const UNSENT = 5;

export const MESSAGE_SIZE = WORKER_AT + 2 * WORKER_SIZE;
export const MOVEMENT_SIZE = MESSAGE_AT + 2 * MESSAGE_SIZE;

export const STATES = Object.keys(TRANSITIONS) as TransactionState[];
export const NOT_PLACED = STATES.length;
export const STATE_OF = Object.fromEntries(STATES.map((state, index) => [state, index])) as Readonly<
  Record<TransactionState, number>
>;
export const CLASSES: readonly OutcomeClass[] = [
  'applied',
  'rejected_business',
  'rejected_contract',
  'throttled',
  'accepted',
  'unknown',
  'absent',
  'expired',
];
export const CLASS_OF = Object.fromEntries(CLASSES.map((name, index) => [name, index])) as Readonly<
  Record<OutcomeClass, number>
>;

export const sizeOf = (movements: number): number => GLOBALS + movements * MOVEMENT_SIZE;
export const movementAt = (place: number): number => GLOBALS + place * MOVEMENT_SIZE;
/** `leg` 0: what moves the money; 1: what pays it back. */
export const messageAt = (place: number, leg: number): number =>
  GLOBALS + place * MOVEMENT_SIZE + MESSAGE_AT + leg * MESSAGE_SIZE;
export const workerAt = (message: number, slot: number): number => message + WORKER_AT + slot * WORKER_SIZE;
