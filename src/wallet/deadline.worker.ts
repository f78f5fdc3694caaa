import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { Interval } from '@nestjs/schedule';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database } from '../database/database';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Outbox } from '../outbox/outbox';
import { deadlineEnds } from './rules/undo';
import { Settlement, changeBy } from './settlement';
import { WalletStore } from './wallet.store';

const LOOK_MS = 1_000;
/** A sweep looks back over a minute of ids, which at a thousand debits a second is a hundred thousand rows; in between a glance at the last seconds will do. */
const LOOKS_PER_SWEEP = 15;
const BATCH = 500;

/**
 * Tells the RGS in time about debits that never left: queued behind a stuck head, or kept back by an open breaker. Debits that may have
 * left are none of its business: their message is claimed again after the deadline, and then resolved.
 */
@Injectable()
export class DeadlineWorker implements OnModuleInit {
  private looks = 0;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly store: WalletStore,
    private readonly outbox: Outbox,
    private readonly settlement: Settlement,
    private readonly logger: Logger,
  ) {}

  /** Also in a process that sweeps nothing: the debits that it accepts have this length. */
  async onModuleInit(): Promise<void> {
    if (this.config.debitDeadlineSeconds > 0) await this.store.keepDeadline(this.config.debitDeadlineSeconds);
  }

  @Interval(LOOK_MS)
  async sweepOnSchedule(): Promise<void> {
    if (this.config.role === 'api') return;
    try {
      this.looks += 1;
      for (const seconds of await this.store.deadlines())
        if (this.looks % LOOKS_PER_SWEEP === 0 || (await this.store.hasOverdueDebit(seconds)))
          await this.sweepThoseOf(seconds);
    } catch (error) {
      // The cursor has not moved, so the next round sees the same debits.
      this.logger.event('warn', 'wallet.deadline_sweep_failed', { error: messageOf(error) });
    }
  }

  /** Looks at every debit once when its deadline passes; answers how many were rejected. */
  async sweep(): Promise<number> {
    let rejected = 0;
    for (const seconds of await this.store.deadlines()) rejected += await this.sweepThoseOf(seconds);
    return rejected;
  }

  private async sweepThoseOf(seconds: number): Promise<number> {
    // The transaction holds the turn and nothing else: one that held tables here would wait for ever for whoever wants them whole.
    return this.database.transaction(async (turn) => {
      let rejected = 0;
      let after: string | null = null;
      for (;;) {
        if (!(await this.store.takeTurn(turn, 'deadline'))) return rejected;
        const overdue = await this.store.overdueDebits(seconds, BATCH, after);
        // Each in a transaction of its own: one busy lane must not hold up, or undo, the others.
        for (const id of overdue.ids) if (await this.reject(id)) rejected += 1;
        await this.store.moveCursor(seconds, overdue.until);
        if (overdue.ids.length < BATCH) return rejected;
        after = overdue.ids.at(-1) ?? null;
      }
    });
  }

  private async reject(id: string): Promise<boolean> {
    const seen = await this.store.findMoney(this.database, id);
    if (seen === undefined || seen.messageId === null) return false;
    const { messageId } = seen;
    return this.database.transaction(async (tx) => {
      await this.outbox.lockLane(tx, seen.operatorId, seen.externalPlayerId);
      const transaction = (await this.store.lock(tx, [id])).get(id);
      if (
        transaction === undefined ||
        !deadlineEnds(transaction, (await this.outbox.position(tx, messageId)).maybeSent)
      )
        return false;
      await this.settlement.write(tx, [
        { transaction, change: changeBy('hub', transaction, 'rejected', 'deadline', {}), notice: 'REJECTED' },
      ]);
      await this.outbox.finish(
        tx,
        [{ id: messageId, destinationId: transaction.operatorId, outcome: 'dead' }],
        'expired',
      );
      return true;
    });
  }
}
