import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database } from '../database/database';
import { Outbox } from '../outbox/outbox';
import { Periodic } from '../scheduling/periodic';
import { deadlineEnds } from './rules/reversal';
import { Settlement, changeBy } from './settlement';
import { WalletStore } from './wallet.store';

const LOOK_MS = 1_000;
/**
 * A sweep looks back over a minute of ids, which at a thousand debits a second is a hundred thousand rows; in between a
 * glance at the last seconds will do.
 */
const LOOKS_PER_SWEEP = 15;
const BATCH = 500;
/** Kept as earlier builds name it. */
const SWEEP = 'wallet:deadline';

/**
 * Tells the RGS in time about debits that never left: queued behind a stuck head, or kept back by an open breaker.
 * Debits that may have left are none of its business: their message is claimed again after the deadline, and then
 * resolved.
 */
@Injectable()
export class DeadlineWorker implements OnModuleInit, OnApplicationBootstrap {
  private looks = 0;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly store: WalletStore,
    private readonly outbox: Outbox,
    private readonly settlement: Settlement,
    private readonly periodic: Periodic,
  ) {}

  /** Also in a process that sweeps nothing: the debits that it accepts have this length. */
  async onModuleInit(): Promise<void> {
    if (this.config.debitDeadlineSeconds > 0) await this.store.keepDeadline(this.config.debitDeadlineSeconds);
  }

  onApplicationBootstrap(): void {
    this.periodic.every({
      name: 'wallet.deadline_sweep',
      every: LOOK_MS,
      on: 'workers',
      failure: 'wallet.deadline_sweep_failed',
      work: () => this.look(),
    });
  }

  /** When it fails, the cursor has not moved, so the next one sees the same debits. */
  private async look(): Promise<void> {
    this.looks += 1;
    for (const seconds of await this.store.deadlines())
      if (this.looks % LOOKS_PER_SWEEP === 0 || (await this.store.hasOverdueDebit(seconds)))
        await this.sweepThoseOf(seconds);
  }

  /** Looks at every debit once when its deadline passes; answers how many were rejected. */
  async sweep(): Promise<number> {
    let rejected = 0;
    for (const seconds of await this.store.deadlines()) rejected += await this.sweepThoseOf(seconds);
    return rejected;
  }

  private async sweepThoseOf(seconds: number): Promise<number> {
    // What holds the right holds nothing else: a transaction that held tables here would wait forever for a transaction
    // that locks them whole.
    const swept = await this.periodic.lead(SWEEP, async (leadership) => {
      let rejected = 0;
      let after: string | null = null;
      for (;;) {
        if (!(await leadership.isHeld())) return rejected;
        const overdue = await this.store.overdueDebits(seconds, BATCH, after);
        // Each in a transaction of its own: one busy lane must not hold up, or undo, the others.
        for (const id of overdue.ids) if (await this.reject(id)) rejected += 1;
        await this.store.moveCursor(seconds, overdue.until);
        if (overdue.ids.length < BATCH) return rejected;
        after = overdue.ids.at(-1) ?? null;
      }
    });
    return swept ?? 0;
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
        !deadlineEnds(transaction, (await this.outbox.position(tx, messageId)).possiblySent)
      )
        return false;
      await this.settlement.write(tx, [
        { transaction, change: changeBy('hub', transaction, 'rejected', 'deadline', {}), notification: 'REJECTED' },
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
