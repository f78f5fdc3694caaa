import { Injectable } from '@nestjs/common';
import { Database, HotDatabase, type Row, type Sql, type Tx } from '../database/database';
import type { Movement } from '../partners/operator-wire';
import type { RgsOutcome } from '../partners/rgs-wire';
import { SETTLED, type TransactionMovement, type TransactionState } from './transaction-state';

export type MovementKind = 'regular' | 'free' | 'promo' | 'jackpot';

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
  /** The operator message that is stored with it. */
  readonly messageId: string;
  readonly path: string;
  readonly body: string;
  /** Age from which it is not delivered any more; 0 = never. */
  readonly deadlineSeconds: number;
  /** Whether the RGS waits for the outcome. */
  readonly waited: boolean;
}

/** try_again: its key was held by a request of the same batch that was refused, so the key is free now. */
export type AcceptVerdict = 'created' | 'replayed' | 'key_reused' | 'reference_reused' | 'rolled_back' | 'round_closed' | 'try_again';

export interface Accepted {
  readonly verdict: AcceptVerdict;
  /** Of the new or the stored transaction; null for key_reused. */
  readonly transactionId: string | null;
}

export interface Transaction {
  readonly id: string;
  readonly operatorId: number;
  readonly rgsId: number;
  readonly movement: TransactionMovement;
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
  readonly meta: unknown;
  readonly state: TransactionState;
  readonly balanceMinor: bigint | null;
  readonly reason: string | null;
  /** The operator message; null for a rollback and for the place that one holds. */
  readonly messageId: string | null;
  /** Of a rollback: the bet that it undoes. */
  readonly originalId: string | null;
  /** The place of a bet that was rolled back before it came. */
  readonly tombstone: boolean;
  /** Why an applied bet must be paid back instead of confirmed. */
  readonly undo: 'deadline' | 'rollback' | null;
  readonly undoMessageId: string | null;
  /** How long ago the operator first said that it does not know the bet. */
  readonly absentForMs: number | null;
  /** Of a rollback: whether money was paid back; null while that is not known. */
  readonly applied: boolean | null;
  readonly waited: boolean;
  /** By the database's clock, when it was read. */
  readonly ageMs: number;
  readonly createdAt: Date;
  readonly settledAt: Date | null;
}

/** A debit or credit: what moves money by itself. */
export interface MoneyTransaction extends Transaction {
  readonly movement: Movement;
}

export type EventSource = 'operator_response' | 'operator_callback' | 'operator_list' | 'rgs' | 'hub' | 'admin';

export interface TransactionEvent {
  readonly transactionId: string;
  readonly at: Date;
  readonly kind: 'transition' | 'contradiction';
  readonly source: EventSource;
  readonly from: TransactionState;
  readonly to: TransactionState;
  readonly evidence: unknown;
}

/** A transition to be written, or a contradiction to be kept (`to` is then what the evidence claims happened: nothing changes). */
export interface TransactionChange {
  readonly transactionId: string;
  readonly kind: 'transition' | 'contradiction';
  readonly source: EventSource;
  readonly from: TransactionState;
  readonly to: TransactionState;
  readonly balanceMinor: bigint | null;
  readonly reason: string | null;
  readonly undo: 'deadline' | 'rollback' | null;
  /** Set by the settlement when this change causes a repayment. */
  readonly undoMessageId?: string | null;
  readonly evidence: Record<string, unknown>;
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

interface TransactionRow extends Row {
  id: string;
  operator_id: number;
  rgs_id: number;
  movement: TransactionMovement;
  player_id: string;
  external_player_id: string;
  ref_id: string;
  amount_minor: string;
  currency: string;
  exponent: number;
  kind: MovementKind;
  round_id: string | null;
  round_closed: boolean;
  game_id: string | null;
  session_id: string | null;
  meta: unknown;
  state: TransactionState;
  balance_minor: string | null;
  reason: string | null;
  message_id: string | null;
  original_id: string | null;
  tombstone: boolean;
  undo: 'deadline' | 'rollback' | null;
  undo_message_id: string | null;
  absent_for_ms: number | null;
  applied: boolean | null;
  waited: boolean;
  age_ms: number;
  created_at: Date;
  settled_at: Date | null;
}

const COLUMNS = `id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, kind, round_id, round_closed, game_id,
  session_id, meta, state, balance_minor, wallet_transaction.reason, message_id, original_id, tombstone, undo, undo_message_id, applied, waited, created_at, settled_at,
  (extract(epoch from clock_timestamp() - absent_at) * 1000)::float8 as absent_for_ms,
  (extract(epoch from clock_timestamp() - created_at) * 1000)::float8 as age_ms`;

/** All SQL of the wallet's tables. */
@Injectable()
export class WalletStore {
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
      `select exists (select 1 from idempotency_key where rgs_id = $1 and key = $6)
         or exists (select 1 from wallet_transaction where rgs_id = $1 and ref_id = $5 and player_id = $3 and movement = $4 and operator_id = $2) as known`,
      [movement.rgsId, movement.operatorId, movement.playerId, movement.movement, movement.refId, movement.idempotencyKey],
    );
    return row?.known ?? false;
  }

  /** Locks the rows in id order, so that two batches that share transactions cannot wait for each other. */
  async lock(tx: Tx, ids: readonly string[]): Promise<Map<string, MoneyTransaction>> {
    const rows = await tx.rows<TransactionRow>(`select ${COLUMNS} from wallet_transaction where id = any ($1) order by id for no key update`, [ids]);
    return new Map(rows.map((row) => [row.id, money(transactionOf(row))]));
  }

  /** The debit with this business key, locked; undefined when there is none. */
  async lockDebit(tx: Tx, key: { readonly rgsId: number; readonly operatorId: number; readonly playerId: string; readonly refId: string }): Promise<MoneyTransaction | undefined> {
    const [row] = await tx.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where rgs_id = $1 and ref_id = $2 and player_id = $3 and movement = 'debit' and operator_id = $4 for no key update`,
      [key.rgsId, key.refId, key.playerId, key.operatorId],
    );
    return row && money(transactionOf(row));
  }

  async change(tx: Tx, changes: readonly TransactionChange[]): Promise<void> {
    if (changes.length === 0) return;
    await tx.rows(
      `with change as materialized (
         select * from json_to_recordset($1) as c (id uuid, kind text, source text, from_state text, to_state text, settled boolean, balance_minor bigint, reason text, undo text, undo_message_id uuid, evidence json)
       ), moved as (
         update wallet_transaction t
         set state = c.to_state, settled_at = case when c.settled then clock_timestamp() end,
             balance_minor = coalesce(c.balance_minor, t.balance_minor), reason = c.reason, undo = c.undo, undo_message_id = coalesce(c.undo_message_id, t.undo_message_id),
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
            settled: SETTLED.has(c.to),
            balance_minor: c.balanceMinor?.toString() ?? null,
            reason: c.reason,
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
  async fillIn(tx: Tx, id: string, balanceMinor: bigint, reason: string | null): Promise<void> {
    await tx.rows('update wallet_transaction set balance_minor = $2, reason = coalesce($3, reason) where id = $1', [id, balanceMinor, reason]);
  }

  async requestUndo(tx: Tx, id: string): Promise<void> {
    await tx.rows(`update wallet_transaction set undo = 'rollback' where id = $1`, [id]);
  }

  /** Settles the rollbacks that waited for their bets; answers their ids. */
  async completeRollbacks(tx: Tx, bets: readonly { readonly originalId: string; readonly state: 'confirmed' | 'rejected'; readonly applied: boolean }[]): Promise<string[]> {
    const rows = await tx.rows<{ transaction_id: string }>(
      `with done as (
         update wallet_transaction t set state = b.state, settled_at = clock_timestamp(), applied = b.applied
         from unnest($1::uuid[], $2::text[], $3::boolean[]) b (original_id, state, applied)
         where t.original_id = b.original_id and t.movement = 'rollback' and t.state = 'initiated' returning t.id, b.state, b.applied
       )
       insert into wallet_event (transaction_id, n, kind, source, from_state, to_state, evidence)
       select id, 1, 'transition', 'hub', 'initiated', state, json_build_object('applied', applied) from done returning transaction_id`,
      [bets.map(({ originalId }) => originalId), bets.map(({ state }) => state), bets.map(({ applied }) => String(applied))],
    );
    return rows.map((row) => row.transaction_id);
  }

  /**
   * Takes the idempotency key of a request outside the batch. replayed: it was used before with the same request and stands for that
   * transaction; reused: with another request.
   */
  async claimKey(tx: Tx, request: { readonly rgsId: number; readonly key: string; readonly fingerprint: string; readonly transactionId: string }): Promise<{ readonly verdict: 'new' | 'reused' } | { readonly verdict: 'replayed'; readonly transactionId: string }> {
    const made = await tx.rows(
      `insert into idempotency_key (rgs_id, key, fingerprint, transaction_id) values ($1, $2, decode($3, 'hex'), $4) on conflict on constraint idempotency_key_pkey do nothing returning key`,
      [request.rgsId, request.key, request.fingerprint, request.transactionId],
    );
    if (made.length > 0) return { verdict: 'new' };
    const [row] = await tx.rows<{ same: boolean; transaction_id: string }>(`select fingerprint = decode($3, 'hex') as same, transaction_id from idempotency_key where rgs_id = $1 and key = $2`, [
      request.rgsId,
      request.key,
      request.fingerprint,
    ]);
    return row?.same === true ? { verdict: 'replayed', transactionId: row.transaction_id } : { verdict: 'reused' };
  }

  async adoptKey(tx: Tx, rgsId: number, key: string, transactionId: string): Promise<void> {
    await tx.rows('update idempotency_key set transaction_id = $3 where rgs_id = $1 and key = $2', [rgsId, key, transactionId]);
  }

  /** Holds the place of a bet that was rolled back before it came. False when the bet, or its place, is there: the business key decides. */
  async insertTombstone(tx: Tx, place: { readonly id: string; readonly rgsId: number; readonly operatorId: number; readonly playerId: string; readonly externalPlayerId: string; readonly refId: string; readonly roundId: string | null }): Promise<boolean> {
    const rows = await tx.rows(
      `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, state, tombstone, settled_at)
       values ($1, $2, $3, 'debit', $4, $5, $6, 0, '', 0, $7, 'rolled_back', true, clock_timestamp())
       on conflict on constraint wallet_transaction_business_key do nothing returning id`,
      [place.id, place.operatorId, place.rgsId, place.playerId, place.externalPlayerId, place.refId, place.roundId],
    );
    return rows.length > 0;
  }

  /** Stores a rollback; answers undefined, or the rollback that has its business key already. */
  async insertRollback(
    tx: Tx,
    rollback: { readonly id: string; readonly original: Transaction; readonly refId: string; readonly reason: string | null; readonly applied: boolean | null; readonly waited: boolean },
  ): Promise<Transaction | undefined> {
    const { id, original, refId, reason, applied, waited } = rollback;
    const made = await tx.rows(
      `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, state, settled_at, original_id, reason, applied, waited)
       values ($1, $2, $3, 'rollback', $4, $5, $6, $7, $8, $9, $10, $11, case when $11 = 'confirmed' then now() end, $12, $13, $14, $15)
       on conflict on constraint wallet_transaction_business_key do nothing returning id`,
      [id, original.operatorId, original.rgsId, original.playerId, original.externalPlayerId, refId, original.amountMinor, original.currency, original.exponent, original.roundId, applied === null ? 'initiated' : 'confirmed', original.id, reason, applied, waited],
    );
    return made.length > 0 ? undefined : this.findRollback(tx, { ...original, refId });
  }

  async findRollback(sql: Sql, key: { readonly rgsId: number; readonly operatorId: number; readonly playerId: string; readonly refId: string }): Promise<Transaction | undefined> {
    const [row] = await sql.rows<TransactionRow>(`select ${COLUMNS} from wallet_transaction where rgs_id = $1 and ref_id = $2 and player_id = $3 and movement = 'rollback' and operator_id = $4`, [
      key.rgsId,
      key.refId,
      key.playerId,
      key.operatorId,
    ]);
    return row && transactionOf(row);
  }

  /** Whether a credit of the player's round was accepted and not undone: from then on its bets stay. */
  async roundHasCredit(tx: Tx, bet: Transaction): Promise<boolean> {
    const [row] = await tx.rows<{ found: boolean }>(
      `select exists (select 1 from wallet_transaction where rgs_id = $1 and round_id = $2 and player_id = $3 and operator_id = $4 and movement = 'credit' and state <> 'rejected') as found`,
      [bet.rgsId, bet.roundId, bet.playerId, bet.operatorId],
    );
    return row?.found ?? false;
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

  async round(rgsId: number, roundId: string): Promise<{ transactions: Transaction[]; players: { playerId: string; openedAt: Date; closedAt: Date | null }[] }> {
    const rows = await this.database.rows<TransactionRow>(`select ${COLUMNS} from wallet_transaction where rgs_id = $1 and round_id = $2 order by id limit 1000`, [rgsId, roundId]);
    const players = await this.database.rows<{ player_id: string; opened_at: Date; closed_at: Date | null }>('select player_id, opened_at, closed_at from wallet_round where rgs_id = $1 and round_id = $2 order by opened_at', [
      rgsId,
      roundId,
    ]);
    return { transactions: rows.map(transactionOf), players: players.map((row) => ({ playerId: row.player_id, openedAt: row.opened_at, closedAt: row.closed_at })) };
  }

  /** Closes the round for every player in it; false when there is no such round. */
  async closeRound(rgsId: number, roundId: string): Promise<boolean> {
    const rows = await this.database.rows('update wallet_round set closed_at = coalesce(closed_at, now()) where rgs_id = $1 and round_id = $2 returning 1 as closed', [rgsId, roundId]);
    return rows.length > 0;
  }

  /** Rounds that have been open for longer than `minutes`, oldest first. */
  async overdueRounds(minutes: number, limit: number): Promise<{ rgsId: number; roundId: string; playerId: string; openedAt: Date }[]> {
    const rows = await this.database.rows<{ rgs_id: number; round_id: string; player_id: string; opened_at: Date }>(
      `select rgs_id, round_id, player_id, opened_at from wallet_round where closed_at is null and opened_at < now() - $1::float8 * interval '1 minute' order by opened_at limit $2`,
      [minutes, limit],
    );
    return rows.map((row) => ({ rgsId: row.rgs_id, roundId: row.round_id, playerId: row.player_id, openedAt: row.opened_at }));
  }

  /** Newest first, of one RGS. */
  async list(rgsId: number, filter: TransactionFilter): Promise<Transaction[]> {
    const rows = await this.database.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where rgs_id = $1
         and ($2::text is null or ref_id = $2) and ($3::uuid is null or id = $3) and ($4::text is null or round_id = $4) and ($5::text is null or player_id = $5)
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
    message_id: movement.messageId,
    path: movement.path,
    body: movement.body,
    deadline_seconds: movement.deadlineSeconds,
    waited: movement.waited,
  };
}

function money(transaction: Transaction): MoneyTransaction {
  const { movement } = transaction;
  if (movement === 'rollback') throw new Error(`${transaction.id} is a rollback, which moves no money by itself`);
  return { ...transaction, movement };
}

function transactionOf(row: TransactionRow): Transaction {
  return {
    id: row.id,
    operatorId: row.operator_id,
    rgsId: row.rgs_id,
    movement: row.movement,
    playerId: row.player_id,
    externalPlayerId: row.external_player_id,
    refId: row.ref_id,
    amountMinor: BigInt(row.amount_minor),
    currency: row.currency,
    exponent: row.exponent,
    kind: row.kind,
    roundId: row.round_id,
    roundClosed: row.round_closed,
    gameId: row.game_id,
    sessionId: row.session_id,
    meta: row.meta,
    state: row.state,
    balanceMinor: row.balance_minor === null ? null : BigInt(row.balance_minor),
    reason: row.reason,
    messageId: row.message_id,
    originalId: row.original_id,
    tombstone: row.tombstone,
    undo: row.undo,
    undoMessageId: row.undo_message_id,
    absentForMs: row.absent_for_ms,
    applied: row.applied,
    waited: row.waited,
    ageMs: row.age_ms,
    createdAt: row.created_at,
    settledAt: row.settled_at,
  };
}
