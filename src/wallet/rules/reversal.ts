import type { MoneyTransaction } from '../transaction';

/** What a rollback does to its debit. */
export interface ReversalStep {
  /** True: it is undone; false: there is nothing to undo; null: it will be known later. */
  readonly answer: boolean | null;
  /** pay_back: the debit is booked. end: it never left. recall: from now on its outcome is asked for, and undone. */
  readonly step: 'none' | 'pay_back' | 'end' | 'recall';
  /** Whether a win in the debit's round forbids it. */
  readonly endsWithWin: boolean;
}

const NOTHING: ReversalStep = { answer: false, step: 'none', endsWithWin: false };
const REVERSED: ReversalStep = { answer: true, step: 'none', endsWithWin: false };
const UNDER_WAY: ReversalStep = { answer: null, step: 'none', endsWithWin: false };

/** `maybeSent`: whether its message may have left; asked for open debits only. */
export function reversalStepOf(
  { state, reversal, tombstone }: Pick<MoneyTransaction, 'state' | 'reversal' | 'tombstone'>,
  possiblySent: boolean,
): ReversalStep {
  switch (state) {
    case 'rejected':
      return NOTHING;
    case 'rolled_back':
      return tombstone ? NOTHING : REVERSED;
    case 'compensated':
      return REVERSED;
    case 'rolling_back':
    case 'compensating':
      return UNDER_WAY;
    case 'confirmed':
      return { answer: null, step: 'pay_back', endsWithWin: true };
    case 'initiated':
    case 'unknown':
    case 'parked':
      return state === 'initiated' && !possiblySent
        ? { answer: false, step: 'end', endsWithWin: reversal === null }
        : { answer: null, step: 'recall', endsWithWin: reversal === null };
  }
}

/**
 * Whether the deadline worker ends a debit: its time is over, and it never left. One that may have left is resolved
 * when it is claimed.
 */
export function deadlineEnds(
  { state, pastDeadline }: Pick<MoneyTransaction, 'state' | 'pastDeadline'>,
  possiblySent: boolean,
): boolean {
  return state === 'initiated' && pastDeadline && !possiblySent;
}
