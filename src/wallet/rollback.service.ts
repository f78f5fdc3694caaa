import { Injectable } from '@nestjs/common';
import { Database, type Tx } from '../database/database';
import { ensureDurable } from '../database/durability';
import { newId } from '../database/new-id';
import { requestFingerprint } from '../http/idempotency-key';
import { untidy } from '../http/tidy-ids';
import { HubError } from '../kernel/errors';
import { invariant } from '../kernel/invariant';
import { Metrics } from '../observability/metrics';
import { Outbox } from '../outbox/outbox';
import { PartnerDirectory, isEnvironmentPair } from '../partners/partner-directory';
import { isAddressablePlayer } from '../partners/operator-wire';
import { RollbackStore } from './rollback.store';
import { reversalStepOf } from './rules/reversal';
import { Settlement, changeBy } from './settlement';
import type { MoneyTransaction, Transaction } from './transaction';
import type { RollbackRequest } from './wallet.dto';
import type { AcceptedRequest, MovementContext } from './wallet.service';
import { WalletStore } from './wallet.store';

/** Undoes debits: known ones once, unknown ones by holding their place so that they cannot come later. */
@Injectable()
export class RollbackService {
  constructor(
    private readonly database: Database,
    private readonly store: WalletStore,
    private readonly rollbacks: RollbackStore,
    private readonly outbox: Outbox,
    private readonly partners: PartnerDirectory,
    private readonly settlement: Settlement,
    private readonly metrics: Metrics,
  ) {}

  /**
   * Everything in one transaction: the key, the place of the debit, the rollback and what it sets off. Throws
   * idempotency_key_reused, reference_reused, round_closed, wrong_operator, validation_failed.
   */
  async accept(context: Omit<MovementContext, 'movement'>, request: RollbackRequest): Promise<AcceptedRequest> {
    const { rgs, operator } = context;
    // The debit's own player: what links and the template say by now may be another's lane.
    const externalPlayerId =
      (await this.betOf(context, request)) ?? (await this.partners.externalPlayerId(operator, rgs, request.playerId));
    if (!isAddressablePlayer(externalPlayerId))
      throw new HubError('validation_failed', {
        errors: [{ field: 'playerId', message: 'playerId must not be "." or ".."' }],
      });
    await this.checkIds(context, request);
    const place = {
      rgsId: rgs.id,
      operatorId: operator.id,
      playerId: request.playerId,
      externalPlayerId,
      refId: request.originalRefId,
      roundId: request.roundId ?? null,
    };
    const id = newId();
    const accepted = await this.database.transaction(async (tx): Promise<AcceptedRequest> => {
      if (context.idempotencyKey !== null) {
        const fingerprint = requestFingerprint(
          context.route,
          isEnvironmentPair(operator, rgs) ? null : operator.code,
          context.rawBody,
        );
        const first = await this.rollbacks.claimKey(tx, {
          rgsId: rgs.id,
          key: context.idempotencyKey,
          fingerprint,
          transactionId: id,
        });
        if (first.verdict === 'reused') throw new HubError('idempotency_key_reused');
        if (first.verdict === 'replayed') {
          await ensureDurable(tx);
          return { transactionId: first.transactionId, refId: request.refId, replayed: true, mayBeSettled: true };
        }
      }
      // Key, business key, lane, row: accepting locks in this order too. The insert decides whether the debit is known:
      // a debit that comes at this very moment waits for us, or we for it.
      const neverCame = await this.rollbacks.insertTombstone(tx, { ...place, id: newId() });
      await this.outbox.lockLane(tx, operator.id, externalPlayerId);
      const known = await this.rollbacks.findRollback(tx, { ...place, refId: request.refId });
      if (known !== undefined) {
        await this.checkSameBet(tx, known, request);
        await ensureDurable(tx);
        if (context.idempotencyKey !== null)
          await this.rollbacks.adoptKey(tx, rgs.id, context.idempotencyKey, known.id);
        return { transactionId: known.id, refId: request.refId, replayed: true, mayBeSettled: true };
      }
      const bet = await this.store.lockDebit(tx, place);
      // Neither there nor its place: a movement of another name has the same hashes. The debit could not be stored
      // either.
      if (bet === undefined) throw new HubError('reference_reused');
      const applied = neverCame ? false : await this.reverse(tx, bet);
      const stored = await this.rollbacks.insertRollback(tx, {
        id,
        original: bet,
        refId: request.refId,
        reason: request.reason ?? null,
        applied,
        waited: context.waits,
      });
      // Not a repeat, since the player's lane is locked: equal hashes again.
      if (!stored) throw new HubError('reference_reused');
      return { transactionId: id, refId: request.refId, replayed: false, mayBeSettled: true };
    });
    this.metrics.movements.inc({ movement: 'rollback', verdict: accepted.replayed ? 'replayed' : 'created' });
    return accepted;
  }

  /**
   * The operator's player from whom the debit was taken; undefined when it did not come. Throws wrong_operator when it
   * was taken at another operator: holding its place at this one would say "nothing to undo" of a stake that stays
   * taken.
   */
  private async betOf(
    { rgs, operator }: Omit<MovementContext, 'movement'>,
    request: RollbackRequest,
  ): Promise<string | undefined> {
    const places = await this.rollbacks.placesOf(this.database, rgs.id, request.playerId, request.originalRefId);
    const here = places.find(({ operatorId }) => operatorId === operator.id);
    const elsewhere = places.find((place) => place.operatorId !== operator.id && !place.tombstone);
    if ((here === undefined || here.tombstone) && elsewhere !== undefined)
      throw new HubError('wrong_operator', { correlationId: elsewhere.id });
    return here?.externalPlayerId;
  }

  /**
   * A debit that was taken can be undone under whatever name it has; a name that only looks like one would hold the
   * place of a debit that never comes.
   */
  private async checkIds(
    { rgs, operator, idempotencyKey }: Omit<MovementContext, 'movement'>,
    request: RollbackRequest,
  ): Promise<void> {
    const violations = untidy({
      playerId: request.playerId,
      refId: request.refId,
      originalRefId: request.originalRefId,
      roundId: request.roundId,
    });
    if (violations.length === 0) return;
    const by = { rgsId: rgs.id, operatorId: operator.id, playerId: request.playerId };
    if (await this.store.isKnown({ ...by, movement: 'debit', refId: request.originalRefId, idempotencyKey })) return;
    throw new HubError('validation_failed', { errors: violations });
  }

  /**
   * Starts undoing a debit. True: it is undone already; false: there is nothing to undo; null: it will be known later.
   */
  private async reverse(tx: Tx, bet: MoneyTransaction): Promise<boolean | null> {
    const isOpen =
      bet.messageId !== null && (bet.state === 'initiated' || bet.state === 'unknown' || bet.state === 'parked');
    const { answer, step, endsWithWin } = reversalStepOf(
      bet,
      isOpen && (await this.outbox.position(tx, bet.messageId)).possiblySent,
    );
    if (endsWithWin) await this.refuseAfterCredit(tx, bet);
    switch (step) {
      case 'none':
        return answer;
      case 'pay_back':
        await this.settlement.write(tx, [
          {
            transaction: { ...bet, reversal: 'rollback' },
            change: { ...changeBy('rgs', bet, 'rolling_back', 'rolled_back', {}), reversal: 'rollback' },
            notification: null,
          },
        ]);
        return bet.messageId === null ? this.reverseFreeBet(tx, bet) : answer;
      case 'end':
        // It never left, so it ends here; its message is finished now, or when its turn comes.
        await this.settlement.write(tx, [
          {
            transaction: bet,
            change: { ...changeBy('rgs', bet, 'rejected', 'rolled_back', {}), reversal: 'rollback' },
            notification: 'REJECTED',
          },
        ]);
        await this.outbox.finish(tx, [{ ...messageOf(bet), outcome: 'dead' }], 'rolled_back');
        return answer;
      case 'recall':
        await this.store.requestReversal(tx, bet.id);
        await this.outbox.recall(tx, messageOf(bet));
        return answer;
    }
  }

  /** Nothing was taken, so there is nothing to wait for. */
  private async reverseFreeBet(tx: Tx, bet: MoneyTransaction): Promise<true> {
    const rolling: MoneyTransaction = { ...bet, state: 'rolling_back', reversal: 'rollback' };
    await this.settlement.write(tx, [
      {
        transaction: rolling,
        change: changeBy('hub', rolling, 'rolled_back', 'rolled_back', {}),
        notification: 'ROLLED_BACK',
      },
    ]);
    return true;
  }

  private async refuseAfterCredit(tx: Tx, bet: MoneyTransaction): Promise<void> {
    if (bet.roundId !== null && (await this.rollbacks.roundHasCredit(tx, bet)))
      throw new HubError('round_closed', {
        detail: 'the round has a win already, so its bets stay',
        correlationId: bet.id,
      });
  }

  private async checkSameBet(tx: Tx, known: Transaction, request: RollbackRequest): Promise<void> {
    const original = known.originalId === null ? undefined : await this.store.find(tx, known.originalId);
    if (original?.refId !== request.originalRefId) throw new HubError('reference_reused', { correlationId: known.id });
  }
}

function messageOf({ id, messageId, operatorId }: MoneyTransaction): {
  readonly id: string;
  readonly destinationId: number;
} {
  invariant(messageId !== null, () => `bet ${id} has no message`);
  return { id: messageId, destinationId: operatorId };
}
