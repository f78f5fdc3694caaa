import type { MessagePosition } from '../../outbox/outbox.store';
import type { MoneyTransaction } from '../transaction';
import type { Capabilities } from './plan';
import { reversalAfter } from './transition';

/** Whether anything of a movement may still be booked, so that nothing may be done about it by hand. */
export function isInFlight({ place, landsInMs }: Pick<MessagePosition, 'place' | 'landsInMs'>): boolean {
  return place === 'in_flight' || landsInMs > 0;
}

/**
 * Why an operator message must not be sent once more by hand, or not yet; null when it may. `isCurrent`: it moves the
 * money, or is the reversal that counts.
 */
export function replayRefusal(
  { state }: Pick<MoneyTransaction, 'state'>,
  isCurrent: boolean,
  operator: Capabilities,
  position: Pick<MessagePosition, 'place' | 'landsInMs'>,
): 'rejected' | 'superseded' | 'unresolvable' | 'in_flight' | null {
  if (state === 'rejected') return 'rejected';
  // Paid back by both, a debit would be refunded twice.
  if (!isCurrent) return 'superseded';
  // A repeat that the operator recognises is what the schedule does as well. Of the others the first call must have
  // come to its end.
  if (operator.idempotentByReference) return null;
  if (!operator.statusQuery) return 'unresolvable';
  return isInFlight(position) ? 'in_flight' : null;
}

/** What a person's finding makes of a parked transaction. */
export function resolvedTo(
  {
    reversal,
    reversalMessageId,
    pastDeadline,
  }: Pick<MoneyTransaction, 'reversal' | 'reversalMessageId' | 'pastDeadline'>,
  finding: 'applied' | 'not_applied',
): {
  readonly to: 'compensated' | 'confirmed' | 'rejected' | 'compensating';
  readonly reversal: MoneyTransaction['reversal'];
} {
  // The reversal was parked: booked means undone; not booked means that the stake is still with the operator, and the
  // debit stands.
  if (reversalMessageId !== null) return { to: finding === 'applied' ? 'compensated' : 'confirmed', reversal };
  if (finding === 'not_applied') return { to: 'rejected', reversal };
  // An applied debit that the RGS wants undone, or whose time is over, is refunded now: the game continued without it,
  // however it is found booked.
  const to = reversal !== null || pastDeadline ? 'compensating' : 'confirmed';
  return { to, reversal: reversalAfter(to, reversal) };
}
