import { Injectable } from '@nestjs/common';
import { isStoreUnavailable } from '../database/pg-errors';
import { Logger } from '../observability/logger';
import { LOST_LEASES_MAX, handlingOf } from './lease-rules';
import type { LeasedMessage } from './outbox-message';
import { OutboxStore } from './outbox.store';

export type Handling = 'usual' | 'alone' | 'later' | 'set_aside';

/** Keeps a message whose handling ends processes from ending them forever. */
@Injectable()
export class LostLeases {
  private isTaken = false;

  constructor(
    private readonly store: OutboxStore,
    private readonly logger: Logger,
  ) {}

  /**
   * How a message is to be handled. One that has lost all leases but the last it may lose is handled alone in this
   * process, since all that is in flight when a process ends loses its leases with the one that ended it; the others
   * are returned until their turn. The process that gets `alone` calls `done`.
   */
  async judge(message: LeasedMessage): Promise<Handling> {
    if (message.claims < LOST_LEASES_MAX) return 'usual';
    let lost: number;
    try {
      lost = await this.store.lostLeases(message.id);
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
      return 'later';
    }
    const handling = handlingOf(lost);
    if (handling === 'set_aside') {
      this.logger.event('error', 'outbox.set_aside', {
        messageId: message.id,
        correlationId: message.transactionId,
        eventType: message.eventType,
        lostLeases: lost,
      });
      return 'set_aside';
    }
    if (handling === 'usual') return 'usual';
    if (this.isTaken) return 'later';
    this.isTaken = true;
    return 'alone';
  }

  done(): void {
    this.isTaken = false;
  }
}
