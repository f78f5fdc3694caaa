import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { Notifications } from '../database/notifications';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { WalletStore } from './wallet.store';

const PREFIX = 'settled:';
/** Wake-ups may get lost; one query for all waiters of this process finds what was missed. */
const SWEEP_MS = 500;

/**
 * Requests that wait for an outcome. A waiter is a promise and a map entry: no connection, no query of its own. It is
 * woken by the settling transaction's commit, in this process at once and in others by notification.
 */
@Injectable()
export class OutcomeWaiters implements OnModuleDestroy {
  private readonly waiting = new Map<string, Set<(notified: boolean) => void>>();
  private sweepTimer: NodeJS.Timeout | undefined;
  private stopping = false;

  constructor(
    private readonly store: WalletStore,
    private readonly notifications: Notifications,
    private readonly logger: Logger,
  ) {
    notifications.onMessage((payload) => {
      if (payload.startsWith(PREFIX)) this.wake(payload.slice(PREFIX.length), true);
    });
  }

  /**
   * The first hook of a stop, before the port is closed: closing it waits for every request, and so would wait for
   * these.
   */
  onModuleDestroy(): void {
    this.stopping = true;
    clearTimeout(this.sweepTimer);
    for (const id of [...this.waiting.keys()]) this.wake(id, false);
  }

  /**
   * Resolves when the transaction is settled, or after `ms`, or when `cancelled` fires (the caller hung up), or when
   * this process stops. True: the commit that settled it has said so, and so is as durable as commits are.
   */
  async wait(transactionId: string, ms: number, cancelled: AbortSignal): Promise<boolean> {
    if (this.stopping || cancelled.aborted) return false;
    return new Promise<boolean>((resolve) => {
      const clientDisconnected = (): void => done(false);
      const done = (notified: boolean): void => {
        clearTimeout(timer);
        cancelled.removeEventListener('abort', clientDisconnected);
        const others = this.waiting.get(transactionId);
        others?.delete(done);
        if (others?.size === 0) this.waiting.delete(transactionId);
        resolve(notified);
      };
      const timer = setTimeout(() => done(false), ms);
      cancelled.addEventListener('abort', clientDisconnected, { once: true });
      const others = this.waiting.get(transactionId);
      if (others === undefined) this.waiting.set(transactionId, new Set([done]));
      else others.add(done);
      this.sweepTimer ??= setTimeout(() => void this.sweep(), SWEEP_MS);
    });
  }

  /** After the commit that settled a transaction which may have waiters. */
  settled(transactionId: string): void {
    if (!this.wake(transactionId, true)) this.notifications.publish(PREFIX + transactionId);
  }

  private wake(transactionId: string, notified: boolean): boolean {
    const waiters = this.waiting.get(transactionId);
    if (waiters === undefined) return false;
    for (const done of [...waiters]) done(notified);
    return true;
  }

  private async sweep(): Promise<void> {
    try {
      for (const id of await this.store.settledOf([...this.waiting.keys()])) this.wake(id, false);
    } catch (error) {
      // The waiters' own timeouts end them; until then the next round may find the store again.
      this.logger.event('warn', 'wallet.wait_sweep_failed', { error: messageOf(error) });
    }
    this.sweepTimer = this.waiting.size === 0 ? undefined : setTimeout(() => void this.sweep(), SWEEP_MS);
  }
}
