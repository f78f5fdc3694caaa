import type { RgsOutcome } from '../../partners/rgs-wire';
import type { MoneyTransaction } from '../transaction';
import type { TransactionState } from '../transaction-state';

/** Why a debit is refunded from now on; one without a rollback is refunded because its deadline passed. */
export function reversalAfter(
  to: TransactionState,
  reversal: MoneyTransaction['reversal'],
): MoneyTransaction['reversal'] {
  return to === 'compensating' ? (reversal ?? 'deadline') : reversal;
}

/**
 * Whether a message that refunds the debit begins with this transition. A free bet has no message to the operator, and
 * so nothing that could be refunded.
 */
export function beginsReversal({ messageId }: Pick<MoneyTransaction, 'messageId'>, to: TransactionState): boolean {
  return messageId !== null && (to === 'compensating' || to === 'rolling_back');
}

/** What the rollbacks that wait for this debit hear: money was refunded, it was not, or nothing yet (null). */
export function rollbacksHear(
  { movement, reversal }: Pick<MoneyTransaction, 'movement' | 'reversal'>,
  to: TransactionState,
): { readonly state: 'confirmed' | 'rejected'; readonly applied: boolean } | null {
  if (movement !== 'debit') return null;
  if (to === 'compensated' || to === 'rolled_back') return PAID_BACK;
  if (to === 'rejected') return NOTHING_TAKEN;
  // A debit that is confirmed with a rollback waiting for it stands: a person found its reversal refused for good.
  return to === 'confirmed' && reversal !== null ? STANDS : null;
}

const PAID_BACK = { state: 'confirmed', applied: true } as const;
const NOTHING_TAKEN = { state: 'confirmed', applied: false } as const;
const STANDS = { state: 'rejected', applied: false } as const;

/** The webhook of a movement that a person resolved. */
export function notificationOf(to: TransactionState): RgsOutcome | null {
  return to === 'confirmed' ? 'OK' : to === 'rejected' ? 'REJECTED' : to === 'compensated' ? 'ROLLED_BACK' : null;
}
