import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database } from '../database/database';
import { isLockTimeout, isTransient } from '../database/pg-errors';
import { shownUrl } from '../kernel/base-url';
import { HubError } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Outbox } from '../outbox/outbox';
import type { Queue } from '../outbox/outbox-message';
import type { OutboxRecord } from '../outbox/outbox-records.store';
import { PartnerDirectory } from '../partners/partner-directory';
import { RoundsStore } from '../wallet/rounds.store';
import { WalletStore } from '../wallet/wallet.store';
import { OperatorCallbacksStore } from '../webhooks/operator-callbacks.store';
import type { DestinationView, OverdueRound } from './admin.dto';
import { type AuditEntry, AuditStore } from '../audit/audit.store';

const OVERDUE_ROUNDS_MAX = 500;
/**
 * Well below deadlock_timeout: a transaction that waits for the tables in another order gets them before Postgres
 * cancels one.
 */
const LOCK_WAIT_MS = 100;
const CLEAR_TRIES_MAX = 200;

/** What ops do by hand: each action and its audit entry in one transaction. */
@Injectable()
export class AdminService {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly wallet: WalletStore,
    private readonly rounds: RoundsStore,
    private readonly callbacks: OperatorCallbacksStore,
    private readonly partners: PartnerDirectory,
    private readonly audit: AuditStore,
    private readonly logger: Logger,
  ) {}

  /** Every destination with what waits for it and why it may not be called. */
  async destinations(): Promise<DestinationView[]> {
    const health = await this.outbox.destinations();
    return health.map(({ destinationId, ...rest }) => {
      const { code, role, baseUrl } = this.partners.byId(destinationId);
      return { code, queue: role, url: shownUrl(baseUrl), ...rest };
    });
  }

  /** Throws outbox_record_not_found, money_in_flight and replay_refused. */
  async replay(actor: string, queue: Queue, id: string): Promise<OutboxRecord> {
    return this.database.transaction(async (tx) => {
      const { before, after } = await this.outbox.replay(tx, queue, id);
      const entry: AuditEntry = {
        actor,
        action: 'outbox.replay',
        target: `${queue}/${id}`,
        before: summary(before),
        after: summary(after),
      };
      await this.audit.add(tx, entry);
      tx.afterCommit(() => this.logger.event('info', 'admin.acted', { ...entry }));
      return after;
    });
  }

  /** Throws not_found. Resuming a destination that is not paused changes nothing. */
  async resume(actor: string, code: string): Promise<{ code: string; resumed: boolean }> {
    const partner = this.partners.byCode(code);
    if (partner === undefined) throw new HubError('not_found');
    return this.database.transaction(async (tx) => {
      const resumed = await this.outbox.resume(tx, partner.id);
      const entry: AuditEntry = {
        actor,
        action: 'destination.resume',
        target: code,
        before: { paused: resumed },
        after: { paused: false },
      };
      await this.audit.add(tx, entry);
      tx.afterCommit(() => this.logger.event('info', 'admin.acted', { ...entry }));
      return { code, resumed };
    });
  }

  async overdueRounds(): Promise<OverdueRound[]> {
    const rounds = await this.rounds.overdue(this.config.roundOverdueMinutes, OVERDUE_ROUNDS_MAX);
    return rounds.map(({ rgsId, roundId, playerId, openedAt }) => ({
      rgs: this.partners.byId(rgsId).code,
      roundId,
      playerId,
      openedAt: openedAt.toISOString(),
    }));
  }

  /** Development and tests only. The audit log stays: it records who did this. */
  async clearDatabase(actor: string): Promise<void> {
    if (!this.config.allowClearDb || this.config.production)
      throw new HubError('forbidden', { detail: 'forbidden: ALLOW_CLEAR_DB is not true' });
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.clearOnce(actor);
      } catch (error) {
        if (!isLockTimeout(error) && !isTransient(error)) throw error;
        if (tries === CLEAR_TRIES_MAX)
          throw new HubError('store_unavailable', { outcome: 'not_applied', retryAfterSeconds: 1, cause: error });
        await delay(LOCK_WAIT_MS * Math.random());
      }
    }
  }

  /**
   * Each owner empties its own tables. Running transactions hold them in orders that differ, so no order of locking is
   * safe: rather try, give up soon and try again. Those that requests touch first go first.
   */
  private async clearOnce(actor: string): Promise<void> {
    await this.database.transaction(async (tx) => {
      await tx.rows(`set local lock_timeout = ${LOCK_WAIT_MS}`);
      await this.wallet.clear(tx);
      await this.outbox.clear(tx);
      await this.callbacks.clear(tx);
      const entry: AuditEntry = { actor, action: 'database.clear', target: 'all', before: null, after: null };
      await this.audit.add(tx, entry);
      tx.afterCommit(() => this.logger.event('warn', 'admin.acted', { ...entry }));
    });
  }
}

/** The parts of a record that a replay changes; the payload never does. */
function summary({ status, attemptCount, nextAttemptAt, lastError }: OutboxRecord): Record<string, unknown> {
  return { status, attemptCount, nextAttemptAt, lastError };
}
