import { Injectable } from '@nestjs/common';
import type { Sql, Tx } from '../database/database';
import { COLUMNS, HAS_BUSINESS_KEY, type Transaction, type TransactionRow, transactionOf } from './transaction';

/** Has the idempotency key of $1 RGS, $2 key. */
const HAS_KEY = 'rgs_id = $1 and key_check = wallet_hash($2) and key_hash = wallet_hash_long($2, 1) and key = $2';

/**
 * SQL of undoing: rollbacks, the places that they hold for debits that have not come, and the keys of their requests.
 */
@Injectable()
export class RollbackStore {
  /** Settles the rollbacks that waited for their debits; answers their ids. */
  async completeRollbacks(
    tx: Tx,
    bets: readonly {
      readonly originalId: string;
      readonly state: 'confirmed' | 'rejected';
      readonly applied: boolean;
      /** The player's balance after it, in minor units. */ readonly balanceMinor: bigint | null;
    }[],
  ): Promise<string[]> {
    const rows = await tx.rows<{ transaction_id: string }>(
      `with done as (
         update wallet_transaction t set state = b.state, settled_at = clock_timestamp(), applied = b.applied, balance_minor = case when b.applied then b.balance_minor end
         from unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[]) b (original_id, state, applied, balance_minor)
         where t.original_id = b.original_id and t.movement = 'rollback' and t.state = 'initiated' returning t.id, b.state, b.applied
       )
       insert into wallet_event (transaction_id, n, kind, source, from_state, to_state, evidence)
       select id, 1, 'transition', 'hub', 'initiated', state, json_build_object('applied', applied) from done returning transaction_id`,
      [
        bets.map(({ originalId }) => originalId),
        bets.map(({ state }) => state),
        bets.map(({ applied }) => String(applied)),
        bets.map(({ balanceMinor }) => balanceMinor?.toString() ?? null),
      ],
    );
    return rows.map((row) => row.transaction_id);
  }

  /**
   * Takes the idempotency key of a request outside the batch. replayed: it was used before with the same request and
   * stands for that transaction; reused: with another request.
   */
  async claimKey(
    tx: Tx,
    request: {
      readonly rgsId: number;
      readonly key: string;
      readonly fingerprint: string;
      readonly transactionId: string;
    },
  ): Promise<
    { readonly verdict: 'new' | 'reused' } | { readonly verdict: 'replayed'; readonly transactionId: string }
  > {
    const made = await tx.rows(
      `insert into idempotency_key (rgs_id, key, fingerprint, transaction_id) values ($1, $2, decode($3, 'hex'), $4) on conflict on constraint idempotency_key_pkey do nothing returning key`,
      [request.rgsId, request.key, request.fingerprint, request.transactionId],
    );
    if (made.length > 0) return { verdict: 'new' };
    const [row] = await tx.rows<{ same: boolean; transaction_id: string }>(
      `select fingerprint = decode($3, 'hex') as same, transaction_id from idempotency_key where ${HAS_KEY}`,
      [request.rgsId, request.key, request.fingerprint],
    );
    return row?.same === true ? { verdict: 'replayed', transactionId: row.transaction_id } : { verdict: 'reused' };
  }

  async adoptKey(tx: Tx, rgsId: number, key: string, transactionId: string): Promise<void> {
    await tx.rows(`update idempotency_key set transaction_id = $3 where ${HAS_KEY}`, [rgsId, key, transactionId]);
  }

  /** The debits of this name at every operator of the RGS, and the places that rollbacks hold for them. */
  async placesOf(
    sql: Sql,
    rgsId: number,
    playerId: string,
    refId: string,
  ): Promise<{ id: string; operatorId: number; externalPlayerId: string; tombstone: boolean }[]> {
    const rows = await sql.rows<{ id: string; operator_id: number; external_player_id: string; tombstone: boolean }>(
      `select id, operator_id, external_player_id, tombstone from wallet_transaction
       where rgs_id = $1 and ref_hash = wallet_hash($2) and ref_id = $2 and player_id = $3 and movement = 'debit' order by id`,
      [rgsId, refId, playerId],
    );
    return rows.map((row) => ({
      id: row.id,
      operatorId: row.operator_id,
      externalPlayerId: row.external_player_id,
      tombstone: row.tombstone,
    }));
  }

  /**
   * Holds the place of a debit that was rolled back before it came. False when the debit, or its place, or another
   * movement with equal hashes is there: the business key decides.
   */
  async insertTombstone(
    tx: Tx,
    place: {
      readonly id: string;
      readonly rgsId: number;
      readonly operatorId: number;
      readonly playerId: string;
      readonly externalPlayerId: string;
      readonly refId: string;
      readonly roundId: string | null;
    },
  ): Promise<boolean> {
    const rows = await tx.rows(
      `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, state, tombstone, settled_at)
       values ($1, $2, $3, 'debit', $4, $5, $6, 0, '', 0, $7, 'rolled_back', true, clock_timestamp())
       on conflict on constraint wallet_transaction_business_key do nothing returning id`,
      [place.id, place.operatorId, place.rgsId, place.playerId, place.externalPlayerId, place.refId, place.roundId],
    );
    return rows.length > 0;
  }

  /** Stores a rollback; false when something has its business key already. */
  async insertRollback(
    tx: Tx,
    rollback: {
      readonly id: string;
      readonly original: Transaction;
      readonly refId: string;
      readonly reason: string | null;
      readonly applied: boolean | null;
      readonly waited: boolean;
    },
  ): Promise<boolean> {
    const { id, original, refId, reason, applied, waited } = rollback;
    const made = await tx.rows(
      `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, state, settled_at, original_id, reason, applied, waited)
       values ($1, $2, $3, 'rollback', $4, $5, $6, $7, $8, $9, $10, $11, case when $11 = 'confirmed' then now() end, $12, $13, $14, $15)
       on conflict on constraint wallet_transaction_business_key do nothing returning id`,
      [
        id,
        original.operatorId,
        original.rgsId,
        original.playerId,
        original.externalPlayerId,
        refId,
        original.amountMinor,
        original.currency,
        original.exponent,
        original.roundId,
        applied === null ? 'initiated' : 'confirmed',
        original.id,
        reason,
        applied,
        waited,
      ],
    );
    return made.length > 0;
  }

  async findRollback(
    sql: Sql,
    key: { readonly rgsId: number; readonly operatorId: number; readonly playerId: string; readonly refId: string },
  ): Promise<Transaction | undefined> {
    const [row] = await sql.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where ${HAS_BUSINESS_KEY}`,
      [key.rgsId, key.refId, key.playerId, 'rollback', key.operatorId],
    );
    return row && transactionOf(row);
  }

  /** Whether a credit of the player's round was accepted and not undone: from then on its debits stay. */
  async roundHasCredit(tx: Tx, bet: Transaction): Promise<boolean> {
    const [row] = await tx.rows<{ found: boolean }>(
      `select exists (select 1 from wallet_transaction where rgs_id = $1 and round_hash = wallet_hash($2) and round_id = $2 and player_id = $3 and operator_id = $4 and movement = 'credit' and state <> 'rejected') as found`,
      [bet.rgsId, bet.roundId, bet.playerId, bet.operatorId],
    );
    return row?.found ?? false;
  }
}
