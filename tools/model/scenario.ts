import type { Direction } from '../../src/partners/operator-wire';
import type { Budget } from './layout';

/**
 * The promises on which the money rests; each can be broken on purpose, to see what then happens
 * (docs/money-machine.md).
 */
export const ASSUMPTIONS = [
  'late',
  'slow',
  'undeclared',
  'forgets',
  'doubles',
  'lags',
  'reopens',
  'unkept',
  'misread',
  'errs',
  'frozen',
] as const;
export type Assumption = (typeof ASSUMPTIONS)[number];

/** One world to walk over: who takes part, what they can do, and how often. */
export interface Scenario {
  readonly name: string;
  /** The lane, in the order in which the RGS places them. */
  readonly movements: readonly Direction[];
  readonly idempotent: boolean;
  readonly status: boolean;
  /** The operator keeps its refusals with the reference, and is declared so. */
  readonly finalRefusals: boolean;
  readonly deadline: boolean;
  /** The operator may accept and book later, and is declared so. */
  readonly later: boolean;
  /** The operator forgets the references of what is settled, as each does some day. */
  readonly forgetful: boolean;
  /** Attempts of the retry schedule before a message is given up. */
  readonly schedule: number;
  /** A call may leave in the last moment in which it may; a real one is a moment late, and does not. */
  readonly punctual: boolean;
  /** In ticks; the time-out and the grace are one tick each. */
  readonly leaseTicks: number;
  readonly callbackTicks: number;
  readonly deadlineTicks: number;
  /** How often each adversary may act. */
  readonly budgets: Readonly<Record<Budget, number>>;
  readonly beyond: readonly Assumption[];
  /** `incidents`: what the operator does is wrong in itself, and only that it is seen is looked at. */
  readonly judged: 'all' | 'incidents';
}

export const TICK_MS = 60_000;
export const TIMEOUT_TICKS = 1;
export const GRACE_TICKS = 1;
/** Tries within one lease after the first. */
export const MAX_RETRIES = 1;

const NOTHING: Scenario['budgets'] = {
  crashes: 0,
  stalls: 0,
  throttles: 0,
  contracts: 0,
  refusals: 0,
  accepts: 0,
  callbacks: 0,
  replays: 0,
  persons: 0,
  losses: 0,
  rollbacks: 0,
  breaches: 0,
};

export interface ScenarioOptions extends Partial<Omit<Scenario, 'budgets'>> {
  readonly name: string;
  readonly budgets?: Partial<Scenario['budgets']>;
}

export function scenario({ budgets, ...options }: ScenarioOptions): Scenario {
  return {
    movements: ['debit'],
    idempotent: true,
    status: true,
    finalRefusals: false,
    later: false,
    forgetful: false,
    deadline: true,
    schedule: 1,
    leaseTicks: 2,
    callbackTicks: 2,
    deadlineTicks: 2,
    beyond: [],
    punctual: true,
    judged: 'all',
    ...options,
    budgets: { ...NOTHING, ...budgets },
  };
}
