import type { Tx } from '../database/database';
import type { Disposition, OperatorResult, Outcome } from './outbox-message';

/**
 * Who gives meaning to answers of operators. The wallet registers itself, so the outbox delivers without knowing what a movement is,
 * and imports point one way.
 */
export interface DeliveryHandler {
  /**
   * Inside the settling transaction, with the lanes of all results locked and their leases checked. Answers one disposition per result,
   * in order; the transaction commits both or neither.
   */
  settle(tx: Tx, results: readonly OperatorResult[]): Promise<Disposition[]>;
  /** Transactions of the list that were settled by other means (a callback), with the outcome their message deserves. */
  alreadySettled(transactionIds: readonly string[]): Promise<ReadonlyMap<string, Outcome>>;
  /** Why sending this transaction's message once more could move money twice; null when it is safe. */
  refuseReplay(tx: Tx, transactionId: string): Promise<string | null>;
}
