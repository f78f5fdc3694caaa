import { Injectable } from '@nestjs/common';
import { AuditStore } from '../../audit/audit.store';
import { Database, type Tx } from '../../database/database';
import { HubError } from '../../kernel/errors';
import { readPage } from '../../kernel/page';
import { Logger } from '../../observability/logger';
import { Outbox } from '../../outbox/outbox';
import type { MessagePosition } from '../../outbox/outbox.store';
import { resolvedTo } from '../rules/by-hand';
import { notificationOf } from '../rules/transition';
import { Settlement, changeBy, inFlight } from '../settlement';
import type { MoneyTransaction } from '../transaction';
import type { TransactionState } from '../transaction-state';
import { transactionView } from '../wallet.service';
import { WalletStore } from '../wallet.store';
import type {
  BulkResolveResponse,
  BulkResolveItem,
  FailedTransactionPage,
  ParkedQuery,
  Resolution,
} from './parked.dto';

/** Money that waits for a person: the list, and what the person decides. */
@Injectable()
export class ParkedService {
  constructor(
    private readonly database: Database,
    private readonly wallet: WalletStore,
    private readonly settlement: Settlement,
    private readonly outbox: Outbox,
    private readonly audit: AuditStore,
    private readonly logger: Logger,
  ) {}

  async list({ event, limit, cursor }: ParkedQuery): Promise<FailedTransactionPage> {
    const filter = {
      ...(event === undefined ? {} : { movement: event }),
      ...(cursor === undefined ? {} : { after: cursor }),
    };
    const page = await readPage(
      limit,
      (rows) => this.wallet.parked({ ...filter, limit: rows }),
      ({ transaction }) => transaction.id,
    );
    const events = await this.wallet.events(page.items.map(({ transaction }) => transaction.id));
    return {
      items: page.items.map(({ transaction, parkedAt, inFlightUntil }) => ({
        ...transactionView(
          transaction,
          events.filter(({ transactionId }) => transactionId === transaction.id),
        ),
        parkedAt: parkedAt.toISOString(),
        inFlightUntil: inFlightUntil?.toISOString() ?? null,
      })),
      nextCursor: page.nextCursor,
    };
  }

  /** Throws not_found, not_parked, money_in_flight and replay_refused. */
  async resolve(actor: string, id: string, resolution: Resolution, reason: string): Promise<TransactionState> {
    return this.database.transaction((tx) => this.resolveIn(tx, actor, id, resolution, reason));
  }

  /** Each in a transaction of its own, so one that is refused keeps no other from being resolved. */
  async resolveMany(
    actor: string,
    ids: readonly string[],
    resolution: Resolution,
    reason: string,
    dryRun: boolean,
  ): Promise<BulkResolveResponse> {
    const items: BulkResolveItem[] = [];
    for (const id of new Set(ids)) {
      try {
        if (dryRun) await this.database.transaction((tx) => this.check(tx, id, resolution));
        else await this.resolve(actor, id, resolution, reason);
        items.push({ id, result: dryRun ? 'would_resolve' : 'resolved', code: null });
      } catch (error) {
        if (!(error instanceof HubError)) throw error;
        items.push({ id, result: 'refused', code: error.code });
      }
    }
    return { dryRun, items };
  }

  /** Throws what resolving would throw. */
  private async check(tx: Tx, id: string, resolution: Resolution): Promise<void> {
    const { messageId, position } = await this.lockParked(tx, id);
    const refusal =
      resolution === 'retry'
        ? await this.outbox.handler.refuseReplay(tx, { id: messageId, queue: 'operator', transactionId: id, position })
        : inFlight(id, position);
    if (refusal !== null) throw refusal;
  }

  private async resolveIn(
    tx: Tx,
    actor: string,
    id: string,
    resolution: Resolution,
    reason: string,
  ): Promise<TransactionState> {
    const { transaction, messageId, position } = await this.lockParked(tx, id);
    let to: TransactionState = 'parked';
    if (resolution === 'retry') {
      await this.outbox.replay(tx, 'operator', messageId);
    } else {
      // Whatever a person found in the operator's books, a call that is out may change it a moment later.
      const refusal = inFlight(id, position);
      if (refusal !== null) throw refusal;
      const resolved = resolvedTo(transaction, resolution);
      const { reversal } = resolved;
      to = resolved.to;
      await this.settlement.write(tx, [
        {
          transaction: { ...transaction, reversal },
          change: {
            ...changeBy('admin', transaction, to, to === 'confirmed' ? null : 'manually_resolved', {
              actor,
              reason,
              resolution,
            }),
            reversal,
          },
          notification: notificationOf(to),
        },
      ]);
      await this.outbox.finish(
        tx,
        [{ id: messageId, destinationId: transaction.operatorId, outcome: resolution === 'applied' ? 'sent' : 'dead' }],
        'manually_resolved',
      );
    }
    const entry = {
      actor,
      action: 'transaction.resolve' as const,
      target: id,
      before: { state: transaction.state, reason: transaction.reason },
      after: { state: to, resolution, reason },
    };
    await this.audit.add(tx, entry);
    tx.afterCommit(() => this.logger.event('info', 'admin.acted', entry));
    return to;
  }

  private async lockParked(
    tx: Tx,
    id: string,
  ): Promise<{ transaction: MoneyTransaction; messageId: string; position: MessagePosition }> {
    const seen = await this.wallet.find(tx, id);
    if (seen === undefined) throw new HubError('not_found');
    await this.outbox.lockLane(tx, seen.operatorId, seen.externalPlayerId);
    // A reversal, and a message that was sent again by hand, has no lane: its head is what everyone locks before the
    // row.
    const messageId = seen.reversalMessageId ?? seen.messageId;
    if (messageId === null || seen.movement === 'rollback') throw new HubError('not_parked', { correlationId: id });
    const position = await this.outbox.position(tx, messageId);
    const transaction = (await this.wallet.lock(tx, [id])).get(id);
    // A reversal that began meanwhile has a message of its own, and then the transaction is not parked.
    if (transaction?.state !== 'parked' || (transaction.reversalMessageId ?? transaction.messageId) !== messageId)
      throw new HubError('not_parked', { correlationId: id });
    return { transaction, messageId, position };
  }
}
