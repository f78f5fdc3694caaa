import type { Tx } from '../database/database';
import type { HubError } from '../kernel/errors';
import type { AskedMovement } from '../partners/asked-movement';
import type { NextStep, LeasedMessage, OperatorResult, Queue } from './outbox-message';
import type { MessagePosition } from './outbox.store';

/** What to do with a message that cannot simply be sent: it may have left before, or it must not be sent any more. */
export type Plan =
  | { readonly action: 'send' }
  /** Its outcome is known by other means. */
  | { readonly action: 'finish'; readonly outcome: 'sent' | 'dead' }
  /** Look for it in the operator's list: GET `path`. */
  | { readonly action: 'ask'; readonly path: string; readonly movement: AskedMovement }
  /** Void requested, and never sent, or what was sent is proven not to be booked. */
  | { readonly action: 'expire'; readonly reason: 'deadline' | 'rolled_back' }
  /** It may have left, and this operator offers no way to find out. */
  | { readonly action: 'give_up' };

/**
 * Who gives meaning to answers of operators. The wallet registers itself, so the outbox delivers without knowing what a
 * movement is, and imports point one way.
 */
export interface DeliveryHandler {
  /** For a message that was leased before or that has expired. */
  plan(message: LeasedMessage): Promise<Plan>;
  /**
   * Inside the settling transaction, with the lanes of all results locked and their leases checked. Answers one
   * disposition per result, in order; the transaction commits both or neither.
   */
  settle(tx: Tx, results: readonly OperatorResult[]): Promise<NextStep[]>;
  /**
   * Why this message of a transaction must not be sent once more, or not yet; null when it may. The caller holds its
   * lane and its head.
   */
  refuseReplay(
    tx: Tx,
    message: {
      readonly id: string;
      readonly queue: Queue;
      readonly transactionId: string;
      readonly position: MessagePosition;
    },
  ): Promise<HubError | null>;
}
