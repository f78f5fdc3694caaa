import type { Tx } from '../database/database';
import type { Disposition, LeasedMessage, OperatorResult } from './outbox-message';

/** What to do with a message that cannot simply be sent: it may have left before, or it must not be sent any more. */
export type Plan =
  | { readonly action: 'send' }
  /** Its outcome is known by other means. */
  | { readonly action: 'finish'; readonly outcome: 'sent' | 'dead' }
  /** Look for it in the operator's list: GET `path`, and `isIt` tells the row. */
  | { readonly action: 'ask'; readonly path: string; readonly isIt: (row: Readonly<Record<string, unknown>>) => boolean }
  /** It never left, and its time is over. */
  | { readonly action: 'expire'; readonly reason: string }
  /** It may have left, and this operator offers no way to find out. */
  | { readonly action: 'give_up' };

/**
 * Who gives meaning to answers of operators. The wallet registers itself, so the outbox delivers without knowing what a movement is,
 * and imports point one way.
 */
export interface DeliveryHandler {
  /** For a message that may have left before (claims above 1) or that has expired. */
  plan(message: LeasedMessage): Promise<Plan>;
  /**
   * Inside the settling transaction, with the lanes of all results locked and their leases checked. Answers one disposition per result,
   * in order; the transaction commits both or neither.
   */
  settle(tx: Tx, results: readonly OperatorResult[]): Promise<Disposition[]>;
  /** Why sending this transaction's message once more could move money twice; null when it is safe. */
  refuseReplay(tx: Tx, transactionId: string): Promise<string | null>;
}
