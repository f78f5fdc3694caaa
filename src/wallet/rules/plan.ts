import type { Partner } from '../../partners/partner';
import type { Transaction } from '../transaction';
import { ENDED, finalMessageOutcome, isOutcomeKnown } from '../transaction-state';

/** What an operator can do about a call whose answer was lost. */
export type Capabilities = Pick<Partner, 'idempotentByReference' | 'statusQuery' | 'refusalIsFinal'>;

export interface LeaseFacts {
  readonly state: Transaction['state'];
  readonly movement: Transaction['movement'];
  readonly reversal: Transaction['reversal'];
  /** Whether the message is the one that refunds the debit. */
  readonly isReversal: boolean;
  /** Whether refunding was begun, so that the debit is known to be booked, also while its reversal is parked. */
  readonly reversing: boolean;
  readonly isExpired: boolean;
  /** Whether a call of it left whose answer was lost, and which is not proven unbooked. */
  readonly mayBeBooked: boolean;
}

export type Planned =
  'send' | 'ask' | 'give_up' | 'expire_rolled_back' | 'expire_deadline' | 'finish_sent' | 'finish_dead';

/** What a lease may do with a message that may have left before, or that must not be sent any more. */
export function planOf(
  { state, movement, reversal, isReversal, reversing, isExpired, mayBeBooked }: LeaseFacts,
  operator: Capabilities,
): Planned {
  // Of a reversal it is known when the debit's end is: a confirmed debit that a person let stand is refunded no more.
  if (isReversal ? ENDED.has(state) : isOutcomeKnown(state))
    return (isReversal && state === 'confirmed') || finalMessageOutcome(state) === 'dead'
      ? 'finish_dead'
      : 'finish_sent';

  if (!isReversal && reversing) return 'finish_sent';

  // A credit is always wanted: it may be expired as well, once a callback refused it while a call of it was out.
  const unwanted = !isReversal && movement === 'debit' && (reversal !== null || isExpired);
  const open = state === 'initiated' || state === 'unknown';
  if (unwanted && open && !mayBeBooked) return reversal === 'rollback' ? 'expire_rolled_back' : 'expire_deadline';
  // A look-up moves no money, so it is the way to resolve a debit with a void request; otherwise a repeat also applies
  // the debit.
  if (unwanted && operator.statusQuery) return 'ask';
  if (operator.idempotentByReference || !mayBeBooked) return 'send';
  return operator.statusQuery ? 'ask' : 'give_up';
}
