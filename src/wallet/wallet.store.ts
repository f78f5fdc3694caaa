import { Injectable } from '@nestjs/common';
import { Batcher } from '../database/batcher';
import { Database, HotDatabase, type Sql, type Tx } from '../database/database';
import type { Movement } from '../partners/operator-wire';
import type { RgsOutcome } from '../partners/rgs-wire';
import type { ReasonCode } from './reason-code';
import { COLUMNS, type EventSource, HAS_BUSINESS_KEY, type MoneyTransaction, type MovementKind, type Transaction, type TransactionChange, type TransactionEvent, type TransactionRow, type WarningCode, money, transactionOf } from './transaction';
import { ENDED, type TransactionState } from './transaction-state';

export interface NewMovement {
  readonly id: string;
  readonly operatorId: number;
  readonly rgsId: number;
  readonly movement: Movement;
  readonly playerId: string;
  readonly externalPlayerId: string;
  readonly refId: string;
  readonly amountMinor: bigint;
  readonly currency: string;
  readonly exponent: number;
  readonly kind: MovementKind;
  readonly roundId: string | null;
  readonly roundClosed: boolean;
  readonly gameId: string | null;
  readonly sessionId: string | null;
  /** JSON text. */
  readonly meta: string | null;
  readonly idempotencyKey: string | null;
  /** Hex SHA-256 of method, path and raw body. */
  readonly fingerprint: string;
  /** First 8 bytes of its X-Signature as a signed integer; null without one. */
  readonly signature: string | null;
  /** The message that is stored with it: to the operator, or, for a free bet, to the RGS. */
  readonly messageId: string;
  readonly path: string;
  readonly body: string;
  /** A bet that takes no money: confirmed as it is accepted, and the operator never hears of it. */
  readonly isFree: boolean;
  /** What its answer warns of; null for nothing. */
  readonly warnings: readonly WarningCode[] | null;
  /** Whether to find out if somebody moved money in its round before. */
  readonly wantsMatch: boolean;
  /** Age from which it is not delivered any more; 0 = never. */
  readonly deadlineSeconds: number;
  /** Whether the RGS waits for the outcome. */
  readonly waited: boolean;
}

/**
 * created_unmatched: as created, and it is the first movement of its round, which a win should not be. try_again: its key was held by a
 * request of the same batch that was refused, so the key is free now.
 */
export type AcceptVerdict = 'created' | 'created_unmatched' | 'replayed' | 'key_reused' | 'reference_reused' | 'rolled_back' | 'round_closed' | 'signature_reused' | 'try_again';

export interface Accepted {
  readonly verdict: AcceptVerdict;
  /** Of the new or the stored transaction; null for key_reused. */
  readonly transactionId: string | null;
}

/** A balance that was told after the outcome. */
export interface BalanceFill {
  readonly transactionId: string;
  readonly balanceMinor: bigint;
  /** Null leaves the reason as it is. */
  readonly reason: string | null;
  readonly reasonCode: ReasonCode | null;
}

export interface TransactionFilter {
  readonly refId?: string;
  readonly correlationId?: string;
  readonly roundId?: string;
  readonly playerId?: string;
  /** Id of the last item of the page before. */
  readonly before?: string;
  readonly limit: number;
}

/** All SQL of the wallet's tables. */
@Injectable()
export class WalletStore {
  private readonly lookUps: Batcher<string, Transaction | undefined> = new Batcher({
    run: async (ids) => {
      const rows = await this.hot.prepared<TransactionRow>('wallet_look', `select ${COLUMNS} from wallet_transaction where id = any ($1)`, [ids]);
      const found = new Map(rows.map((row) => [row.id, transactionOf(row)]));
      return ids.map((id) => found.get(id.toLowerCase()));
    },
    batchMax: 100,
    flightsMax: 1,
    queueMax: 4_000,
  });

  constructor(
    private readonly database: Database,
    private readonly hot: HotDatabase,
  ) {}

  /** Stores movements and their operator messages in one commit; verdicts in the order given. */
  async accept(movements: readonly NewMovement[]): Promise<Accepted[]> {
    const rows = await this.hot.prepared<{ place: number; verdict: AcceptVerdict; transaction_id: string | null }>('wallet_accept', 'select place, verdict, transaction_id from wallet_accept($1)', [
      JSON.stringify(movements.map(movementRow)),
    ]);
    const accepted: Accepted[] = [];
    for (const row of rows) accepted[row.place] = { verdict: row.verdict, transactionId: row.transaction_id };
    return accepted;
  }

  /** Whether a movement with this key or this business key was accepted before. */
  async isKnown(movement: { readonly rgsId: number; readonly operatorId: number; readonly playerId: string; readonly movement: Movement; readonly refId: string; readonly idempotencyKey: string | null }): Promise<boolean> {
    const [row] = await this.database.rows<{ known: boolean }>(
      `select exists (select 1 from idempotency_key where rgs_id = $1 and key_check = wallet_hash($6) and key_hash = wallet_hash_long($6, 1) and key = $6)
         or exists (select 1 from wallet_transaction where rgs_id = $1 and ref_hash = wallet_hash($5) and business_hash = wallet_business_hash($5, $3, $4, $2)
           and ref_id = $5 and player_id = $3 and movement = $4 and operator_id = $2) as known`,
      [movement.rgsId, movement.operatorId, movement.playerId, movement.movement, movement.refId, movement.idempotencyKey],
    );
    return row?.known ?? false;
  }

  /** Whether the player, and the round if one is given, moved money at this RGS before, under exactly these ids. */
  async hasMoved({ rgsId, playerId, roundId }: { readonly rgsId: number; readonly playerId: string; readonly roundId: string | null }): Promise<boolean> {
    const [row] = await this.database.rows<{ found: boolean }>(
      `select exists (select 1 from wallet_transaction where rgs_id = $1 and player_id = $2)
         and ($3::text is null or exists (select 1 from wallet_transaction where rgs_id = $1 and round_hash = wallet_hash($3) and round_id = $3 and player_id = $2)) as found`,
      [rgsId, playerId, roundId],
    );
    return row?.found ?? false;
  }

  /** Locks the rows in id order, so that two batches that share transactions cannot wait for each other. */
  async lock(tx: Tx, ids: readonly string[]): Promise<Map<string, MoneyTransaction>> {
    const rows = await tx.rows<TransactionRow>(`select ${COLUMNS} from wallet_transaction where id = any ($1) order by id for no key update`, [ids]);
    return new Map(rows.map((row) => [row.id, money(transactionOf(row))]));
  }

  /** The debit with this business key, locked; undefined when there is none. */
  async lockDebit(tx: Tx, key: { readonly rgsId: number; readonly operatorId: number; readonly playerId: string; readonly refId: string }): Promise<MoneyTransaction | undefined> {
    const [row] = await tx.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where ${HAS_BUSINESS_KEY} for no key update`,
      [key.rgsId, key.refId, key.playerId, 'debit', key.operatorId],
    );
    return row && money(transactionOf(row));
  }

  async change(tx: Tx, changes: readonly TransactionChange[]): Promise<void> {
    if (changes.length === 0) return;
    await tx.rows(
      `with change as materialized (
         select * from json_to_recordset($1) as c (id uuid, kind text, source text, from_state text, to_state text, settled boolean, balance_minor bigint, reason text, reason_code text, undo text, undo_message_id uuid, evidence json)
       ), moved as (
         update wallet_transaction t
         set state = c.to_state, settled_at = case when c.settled then clock_timestamp() end,
             balance_minor = coalesce(c.balance_minor, t.balance_minor), reason = c.reason, reason_code = c.reason_code, undo = c.undo, undo_message_id = coalesce(c.undo_message_id, t.undo_message_id),
             -- From here on "absent" is about the repayment; what was said about the bet proves nothing for it.
             absent_at = case when c.undo_message_id is null then t.absent_at end, proven_absent = c.undo_message_id is null and t.proven_absent
         from change c where c.kind = 'transition' and t.id = c.id and t.state = c.from_state
       ), parked as (
         insert into wallet_parked (transaction_id, reason) select id, reason from change where kind = 'transition' and to_state = 'parked'
         on conflict on constraint wallet_parked_pkey do nothing
       ), freed as (
         delete from wallet_parked p using change c where c.kind = 'transition' and c.from_state = 'parked' and p.transaction_id = c.id
       )
       insert into wallet_event (transaction_id, n, kind, source, from_state, to_state, evidence)
       select c.id, coalesce((select max(e.n) from wallet_event e where e.transaction_id = c.id), 0) + 1, c.kind, c.source, c.from_state, c.to_state, c.evidence
       from change c`,
      [
        JSON.stringify(
          changes.map((c) => ({
            id: c.transactionId,
            kind: c.kind,
            source: c.source,
            from_state: c.from,
            to_state: c.to,
            settled: ENDED.has(c.to),
            balance_minor: c.balanceMinor?.toString() ?? null,
            reason: c.reason,
            reason_code: c.reasonCode,
            undo: c.undo,
            undo_message_id: c.undoMessageId ?? null,
            evidence: c.evidence,
          })),
        ),
      ],
    );
  }

  /** Claims the right to tell the RGS an outcome; answers the transactions for which nobody had claimed it before. */
  async claimOutcomes(tx: Tx, outcomes: readonly { readonly transactionId: string; readonly outcome: RgsOutcome; readonly messageId: string }[]): Promise<Set<string>> {
    if (outcomes.length === 0) return new Set();
    const rows = await tx.rows<{ transaction_id: string }>(
      `insert into wallet_outcome (transaction_id, outcome, message_id) select * from unnest($1::uuid[], $2::text[], $3::uuid[])
       on conflict on constraint wallet_outcome_pkey do nothing returning transaction_id`,
      [outcomes.map((o) => o.transactionId), outcomes.map((o) => o.outcome), outcomes.map((o) => o.messageId)],
    );
    return new Set(rows.map((row) => row.transaction_id));
  }

  /** As find, but outside a transaction and together with whatever else is looked up in the same moment. */
  look(id: string): Promise<Transaction | undefined> {
    return this.lookUps.add(id);
  }

  async find(sql: Sql, id: string): Promise<Transaction | undefined> {
    const [row] = await sql.rows<TransactionRow>(`select ${COLUMNS} from wallet_transaction where id = $1`, [id]);
    return row && transactionOf(row);
  }

  async findMoney(sql: Sql, id: string): Promise<MoneyTransaction | undefined> {
    const transaction = await this.find(sql, id);
    return transaction && money(transaction);
  }

  /** Those of the transactions that are settled. */
  async settledOf(ids: readonly string[]): Promise<string[]> {
    const rows = await this.database.rows<{ id: string }>(`select id from wallet_transaction where id = any ($1) and settled_at is not null and state <> 'rolling_back'`, [ids]);
    return rows.map(({ id }) => id);
  }

  /** Notes that the operator did not know the bet when asked: for the first time, for the second, or that this proves nothing any more. */
  async markAbsent(tx: Tx, id: string, absent: 'once' | 'twice' | 'no'): Promise<void> {
    await tx.rows(`update wallet_transaction set absent_at = case $2 when 'once' then clock_timestamp() when 'twice' then absent_at end, proven_absent = $2 = 'twice' where id = $1`, [id, absent]);
  }

  /** Uses up the proof that sending once more is safe: after that send it is none. False when there was none. */
  async takeProofOfAbsence(id: string): Promise<boolean> {
    const rows = await this.database.rows('update wallet_transaction set absent_at = null, proven_absent = false where id = $1 and proven_absent returning id', [id]);
    return rows.length > 0;
  }

  /** What a later answer says beyond the callback that settled it. */
  async fillIn(tx: Tx, fills: readonly BalanceFill[]): Promise<void> {
    if (fills.length === 0) return;
    await tx.rows(
      `update wallet_transaction t set balance_minor = f.balance_minor, reason = coalesce(f.reason, t.reason), reason_code = coalesce(f.reason_code, t.reason_code)
       from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) f (id, balance_minor, reason, reason_code) where t.id = f.id`,
      [fills.map(({ transactionId }) => transactionId), fills.map(({ balanceMinor }) => balanceMinor.toString()), fills.map(({ reason }) => reason), fills.map(({ reasonCode }) => reasonCode)],
    );
  }

  async requestUndo(tx: Tx, id: string): Promise<void> {
    await tx.rows(`update wallet_transaction set undo = 'rollback' where id = $1`, [id]);
  }

  /** The right to do a periodic duty until the transaction ends; false while another replica has it. It locks no row and no table. */
  async takeTurn(tx: Tx, duty: string): Promise<boolean> {
    const [turn] = await tx.rows<{ taken: boolean }>('select pg_try_advisory_xact_lock(hashtext($1)) as taken', [`wallet:${duty}`]);
    return turn?.taken === true;
  }

  /**
   * Debits that were accepted between the duty's cursor and `ageSeconds` ago and have no outcome, after the last id of the page before:
   * those that may have left stay in the overlap. A minute of overlap covers ids whose clock was slow.
   */
  async overdueDebits(ageSeconds: number, limit: number, after: string | null): Promise<{ ids: string[]; until: Date }> {
    const rows = await this.database.rows<{ id: string; created_at: Date }>(
      `select id, created_at from wallet_transaction
       where id >= uuid_v7_floor(greatest(coalesce((select at from wallet_cursor where name = 'deadline'), 'epoch') - interval '60 seconds', 'epoch'))
         and id < uuid_v7_floor(now() - $1::float8 * interval '1 second' + interval '60 seconds')
         and ($3::uuid is null or id > $3)
         and movement = 'debit' and state = 'initiated' and created_at < now() - $1::float8 * interval '1 second'
       order by id limit $2`,
      [ageSeconds, limit, after],
    );
    const [end] = await this.database.rows<{ until: Date }>(`select now() - $1::float8 * interval '1 second' as until`, [ageSeconds]);
    const last = rows.at(-1);
    return { ids: rows.map(({ id }) => id), until: rows.length === limit && last !== undefined ? last.created_at : (end?.until ?? new Date(0)) };
  }

  /** Whether a sweep would find something among the debits whose deadline passed since the cursor. Ids of a slow clock wait for the next sweep. */
  async hasOverdueDebit(ageSeconds: number): Promise<boolean> {
    const rows = await this.hot.prepared(
      'wallet_overdue',
      `select 1 as found from wallet_transaction
       where id >= uuid_v7_floor(greatest(coalesce((select at from wallet_cursor where name = 'deadline'), 'epoch') - interval '2 seconds', 'epoch'))
         and id < uuid_v7_floor(now() - $1::float8 * interval '1 second' + interval '2 seconds')
         and movement = 'debit' and state = 'initiated' and created_at < now() - $1::float8 * interval '1 second'
       limit 1`,
      [ageSeconds],
    );
    return rows.length > 0;
  }

  async moveCursor(until: Date): Promise<void> {
    await this.database.rows(`insert into wallet_cursor as c (name, at) values ('deadline', $1) on conflict on constraint wallet_cursor_pkey do update set at = greatest(c.at, excluded.at)`, [until]);
  }

  /** Oldest first. */
  async parked(filter: { readonly after?: string; readonly movement?: Movement; readonly limit: number }): Promise<{ transaction: MoneyTransaction; parkedAt: Date }[]> {
    const rows = await this.database.rows<TransactionRow & { parked_at: Date }>(
      `select ${COLUMNS}, p.at as parked_at from wallet_parked p join wallet_transaction on id = p.transaction_id
       where ($1::uuid is null or id > $1) and ($2::text is null or movement = $2) order by id limit $3`,
      [filter.after ?? null, filter.movement ?? null, filter.limit],
    );
    return rows.map((row) => ({ transaction: money(transactionOf(row)), parkedAt: row.parked_at }));
  }

  /** Newest first, of one RGS. */
  async list(rgsId: number, filter: TransactionFilter): Promise<Transaction[]> {
    const rows = await this.database.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where rgs_id = $1
         and ($2::text is null or ref_hash = wallet_hash($2) and ref_id = $2) and ($3::uuid is null or id = $3) and ($4::text is null or round_hash = wallet_hash($4) and round_id = $4) and ($5::text is null or player_id = $5)
         and ($6::uuid is null or id < $6)
       order by id desc limit $7`,
      [rgsId, filter.refId ?? null, filter.correlationId ?? null, filter.roundId ?? null, filter.playerId ?? null, filter.before ?? null, filter.limit],
    );
    return rows.map(transactionOf);
  }

  async events(ids: readonly string[]): Promise<TransactionEvent[]> {
    const rows = await this.database.rows<{ transaction_id: string; at: Date; kind: TransactionEvent['kind']; source: EventSource; from_state: TransactionState; to_state: TransactionState; evidence: unknown }>(
      'select * from wallet_event where transaction_id = any ($1) order by transaction_id, n',
      [ids],
    );
    return rows.map((row) => ({ transactionId: row.transaction_id, at: row.at, kind: row.kind, source: row.source, from: row.from_state, to: row.to_state, evidence: row.evidence }));
  }

  /** For development and tests only; the admin service guards it. */
  async clear(tx: Tx): Promise<void> {
    await tx.rows('truncate wallet_transaction, idempotency_key, wallet_event, wallet_outcome, wallet_round, wallet_parked, wallet_cursor');
  }
}

function movementRow(movement: NewMovement): Record<string, unknown> {
  return {
    id: movement.id,
    operator_id: movement.operatorId,
    rgs_id: movement.rgsId,
    movement: movement.movement,
    player_id: movement.playerId,
    external_player_id: movement.externalPlayerId,
    ref_id: movement.refId,
    amount_minor: movement.amountMinor.toString(),
    currency: movement.currency,
    exponent: movement.exponent,
    kind: movement.kind,
    round_id: movement.roundId,
    round_closed: movement.roundClosed,
    game_id: movement.gameId,
    session_id: movement.sessionId,
    meta: movement.meta,
    idempotency_key: movement.idempotencyKey,
    fingerprint: movement.fingerprint,
    signature: movement.signature,
    message_id: movement.messageId,
    path: movement.path,
    body: movement.body,
    is_free: movement.isFree,
    warnings: movement.warnings,
    wants_match: movement.wantsMatch,
    deadline_seconds: movement.deadlineSeconds,
    waited: movement.waited,
  };
}
