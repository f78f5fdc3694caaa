import { Injectable } from '@nestjs/common';
import { Batcher } from '../database/batcher';
import { Database, HotDatabase, type Sql, type Tx } from '../database/database';
import type { Direction } from '../partners/operator-wire';
import type { RgsOutcome } from '../partners/rgs-wire';
import type { ReasonCode } from './reason-code';
import {
  COLUMNS,
  type EventSource,
  HAS_BUSINESS_KEY,
  type MoneyTransaction,
  type MovementKind,
  type Transaction,
  type TransactionChange,
  type TransactionEvent,
  type TransactionRow,
  type WarningCode,
  money,
  transactionOf,
} from './transaction';
import { ENDED, type TransactionState } from './transaction-state';

export interface NewMovement {
  readonly id: string;
  readonly operatorId: number;
  readonly rgsId: number;
  readonly movement: Direction;
  readonly playerId: string;
  readonly externalPlayerId: string;
  readonly refId: string;
  /** The operator's name for it where it is not the refId. */
  readonly externalRef: string | null;
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
  /** Whether to find out if its round had a movement before. */
  readonly wantsMatch: boolean;
  /** Age from which it is not delivered any more; 0 = never. */
  readonly deadlineSeconds: number;
  /** Whether the RGS waits for the outcome. */
  readonly waited: boolean;
}

/**
 * created_unmatched: as created, and it is the first movement of its round, which a win should not be. try_again: its
 * key was held by a request of the same batch that was refused, so the key is free now. other_player: a win whose
 * round's bet, the transaction, was taken from another player of the operator.
 */
export type AcceptVerdict =
  | 'created'
  | 'created_unmatched'
  | 'replayed'
  | 'key_reused'
  | 'reference_reused'
  | 'rolled_back'
  | 'round_closed'
  | 'signature_reused'
  | 'other_player'
  | 'try_again';

export interface Accepted {
  readonly verdict: AcceptVerdict;
  /** Of the new or the stored transaction; null for key_reused. */
  readonly transactionId: string | null;
}

/** What the operator's response adds to an outcome that its callback had first. */
export interface Fill {
  readonly transactionId: string;
  readonly outcome: RgsOutcome;
  /** Null leaves it as it is, and so does a null reason. */
  readonly balanceMinor: bigint | null;
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

const DEADLINE_CURSOR = 'deadline:';

/** All SQL of the wallet's tables. */
@Injectable()
export class WalletStore {
  private readonly lookUps: Batcher<string, Transaction | undefined> = new Batcher({
    run: async (ids) => {
      const rows = await this.hot.prepared<TransactionRow>(
        'wallet_look',
        `select ${COLUMNS} from wallet_transaction where id = any ($1)`,
        [ids],
      );
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
    const rows = await this.hot.prepared<{ place: number; verdict: AcceptVerdict; transaction_id: string | null }>(
      'wallet_accept',
      'select place, verdict, transaction_id from wallet_accept($1)',
      [JSON.stringify(movements.map(movementRow))],
    );
    const accepted: Accepted[] = [];
    for (const row of rows) accepted[row.place] = { verdict: row.verdict, transactionId: row.transaction_id };
    return accepted;
  }

  /** Whether a movement with this key or this business key was accepted before. */
  async isKnown(movement: {
    readonly rgsId: number;
    readonly operatorId: number;
    readonly playerId: string;
    readonly movement: Direction;
    readonly refId: string;
    readonly idempotencyKey: string | null;
  }): Promise<boolean> {
    const [row] = await this.database.rows<{ known: boolean }>(
      `select exists (select 1 from idempotency_key where rgs_id = $1 and key_check = wallet_hash($6) and key_hash = wallet_hash_long($6, 1) and key = $6)
         or exists (select 1 from wallet_transaction where rgs_id = $1 and ref_hash = wallet_hash($5) and business_hash = wallet_business_hash($5, $3, $4, $2)
           and ref_id = $5 and player_id = $3 and movement = $4 and operator_id = $2) as known`,
      [
        movement.rgsId,
        movement.operatorId,
        movement.playerId,
        movement.movement,
        movement.refId,
        movement.idempotencyKey,
      ],
    );
    return row?.known ?? false;
  }

  /** Whether the player, and the round if one is given, moved money at this RGS before, under exactly these ids. */
  async hasMoved({
    rgsId,
    playerId,
    roundId,
  }: {
    readonly rgsId: number;
    readonly playerId: string;
    readonly roundId: string | null;
  }): Promise<boolean> {
    const [row] = await this.database.rows<{ found: boolean }>(
      `select exists (select 1 from wallet_transaction where rgs_id = $1 and player_id = $2)
         and ($3::text is null or exists (select 1 from wallet_transaction where rgs_id = $1 and round_hash = wallet_hash($3) and round_id = $3 and player_id = $2)) as found`,
      [rgsId, playerId, roundId],
    );
    return row?.found ?? false;
  }

  /** Locks the rows in id order, so that two batches that share transactions cannot wait for each other. */
  async lock(tx: Tx, ids: readonly string[]): Promise<Map<string, MoneyTransaction>> {
    const rows = await tx.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where id = any ($1) order by id for no key update`,
      [ids],
    );
    return new Map(rows.map((row) => [row.id, money(transactionOf(row))]));
  }

  /** The debit with this business key, locked; undefined when there is none. */
  async lockDebit(
    tx: Tx,
    key: { readonly rgsId: number; readonly operatorId: number; readonly playerId: string; readonly refId: string },
  ): Promise<MoneyTransaction | undefined> {
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
             -- A balance belongs to the word that brought it: the one from before a repayment is not the one after it.
             balance_minor = case when c.settled then c.balance_minor else coalesce(c.balance_minor, t.balance_minor) end, reason = c.reason, reason_code = c.reason_code, undo = c.undo, undo_message_id = coalesce(c.undo_message_id, t.undo_message_id),
             -- From here on "absent" is about the repayment; what was said about the bet proves nothing for it.
             absent_at = case when c.undo_message_id is null then t.absent_at end
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
            undo: c.reversal,
            undo_message_id: c.reversalMessageId ?? null,
            evidence: c.evidence,
          })),
        ),
      ],
    );
  }

  /** Claims the right to notify the RGS of an outcome; returns the transactions for which it was not claimed before. */
  async claimOutcomes(
    tx: Tx,
    outcomes: readonly { readonly transactionId: string; readonly outcome: RgsOutcome; readonly messageId: string }[],
  ): Promise<Set<string>> {
    if (outcomes.length === 0) return new Set();
    const rows = await tx.rows<{ transaction_id: string }>(
      `insert into wallet_outcome (transaction_id, outcome, message_id) select * from unnest($1::uuid[], $2::text[], $3::uuid[])
       on conflict on constraint wallet_outcome_pkey do nothing returning transaction_id`,
      [outcomes.map((o) => o.transactionId), outcomes.map((o) => o.outcome), outcomes.map((o) => o.messageId)],
    );
    return new Set(rows.map((row) => row.transaction_id));
  }

  /** As find, but outside a transaction and together with whatever else is looked up in the same moment. */
  findBatched(id: string): Promise<Transaction | undefined> {
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
    // One without a balance may get it from the answer in flight.
    const rows = await this.database.rows<{ id: string }>(
      `select id from wallet_transaction where id = any ($1) and settled_at is not null and state <> 'rolling_back' and (balance_minor is not null or settled_at < clock_timestamp() - interval '500 milliseconds')`,
      [ids],
    );
    return rows.map(({ id }) => id);
  }

  /** Notes that the operator did not know the bet by a question that began so long ago. */
  async markAbsent(tx: Tx, id: string, askedMsAgo: number): Promise<void> {
    await tx.rows(
      `update wallet_transaction set absent_at = clock_timestamp() - $2::float8 * interval '1 millisecond' where id = $1`,
      [id, askedMsAgo],
    );
  }

  async forgetAbsence(tx: Tx, id: string): Promise<void> {
    await tx.rows('update wallet_transaction set absent_at = null where id = $1', [id]);
  }

  /**
   * What a later answer says beyond the callback that settled it, also for the rollbacks that get the balance of a
   * repayment; answers their ids.
   */
  async fillIn(tx: Tx, fill: Fill): Promise<string[]> {
    await tx.rows(
      `update wallet_transaction set balance_minor = coalesce($2, balance_minor), reason = coalesce($3, reason), reason_code = coalesce($4, reason_code) where id = $1`,
      [fill.transactionId, fill.balanceMinor?.toString() ?? null, fill.reason, fill.reasonCode],
    );
    if (fill.outcome !== 'ROLLED_BACK') return [];
    const rows = await tx.rows<{ id: string }>(
      `update wallet_transaction set balance_minor = $2 where original_id = $1 and applied returning id`,
      [fill.transactionId, fill.balanceMinor?.toString() ?? null],
    );
    return rows.map(({ id }) => id);
  }

  /** The webhook of an outcome. */
  async webhookOf(tx: Tx, transactionId: string, outcome: RgsOutcome): Promise<string | undefined> {
    const [row] = await tx.rows<{ message_id: string }>(
      'select message_id from wallet_outcome where transaction_id = $1 and outcome = $2',
      [transactionId, outcome],
    );
    return row?.message_id;
  }

  /** The outcome that the RGS was notified of after the one of this webhook. */
  async outcomeAfter(tx: Tx, transactionId: string, messageId: string): Promise<RgsOutcome | undefined> {
    const [row] = await tx.rows<{ outcome: RgsOutcome }>(
      'select later.outcome from wallet_outcome o join wallet_outcome later on later.transaction_id = o.transaction_id and later.message_id > o.message_id where o.transaction_id = $1 and o.message_id = $2 limit 1',
      [transactionId, messageId],
    );
    return row?.outcome;
  }

  async requestReversal(tx: Tx, id: string): Promise<void> {
    await tx.rows(`update wallet_transaction set undo = 'rollback' where id = $1`, [id]);
  }

  /**
   * Makes sure that debits with a deadline of this length are looked after: each length has a cursor of its own, since
   * a cursor by age passes by those whose time is longer. One that begins today has nothing to catch up with.
   */
  async keepDeadline(seconds: number): Promise<void> {
    await this.database.rows(
      `insert into wallet_cursor (name, at) values ($1, coalesce((select min(at) from wallet_cursor), 'epoch')) on conflict on constraint wallet_cursor_pkey do nothing`,
      [cursorName(seconds)],
    );
  }

  /** Lengths of the deadlines that debits were accepted with, in seconds. */
  async deadlines(): Promise<number[]> {
    const rows = await this.hot.prepared<{ seconds: number }>(
      'wallet_deadlines',
      `select substr(name, ${DEADLINE_CURSOR.length + 1})::float8 as seconds from wallet_cursor where name like '${DEADLINE_CURSOR}%'`,
      [],
    );
    return rows.map(({ seconds }) => seconds);
  }

  /**
   * Debits of the time between the cursor of this length and `ageSeconds` ago whose deadline has passed and that have
   * no outcome, after the last id of the page before: those that may have left stay in the overlap. A minute of overlap
   * covers ids whose clock was slow.
   */
  async overdueDebits(
    ageSeconds: number,
    limit: number,
    after: string | null,
  ): Promise<{ ids: string[]; until: Date }> {
    const rows = await this.database.rows<{ id: string; created_at: Date }>(
      `select id, created_at from wallet_transaction
       where id >= uuid_v7_floor(greatest(coalesce((select at from wallet_cursor where name = $4), 'epoch') - interval '60 seconds', 'epoch'))
         and id < uuid_v7_floor(now() - $1::float8 * interval '1 second' + interval '60 seconds')
         and ($3::uuid is null or id > $3)
         and movement = 'debit' and state = 'initiated' and deadline_at < now()
       order by id limit $2`,
      [ageSeconds, limit, after, cursorName(ageSeconds)],
    );
    const [end] = await this.database.rows<{ until: Date }>(
      `select now() - $1::float8 * interval '1 second' as until`,
      [ageSeconds],
    );
    const last = rows.at(-1);
    return {
      ids: rows.map(({ id }) => id),
      until: rows.length === limit && last !== undefined ? last.created_at : (end?.until ?? new Date(0)),
    };
  }

  /**
   * Whether a sweep would find something among the debits whose deadline passed since the cursor. Ids of a slow clock
   * wait for the next sweep.
   */
  async hasOverdueDebit(ageSeconds: number): Promise<boolean> {
    const rows = await this.hot.prepared(
      'wallet_overdue',
      `select 1 as found from wallet_transaction
       where id >= uuid_v7_floor(greatest(coalesce((select at from wallet_cursor where name = $2), 'epoch') - interval '2 seconds', 'epoch'))
         and id < uuid_v7_floor(now() - $1::float8 * interval '1 second' + interval '2 seconds')
         and movement = 'debit' and state = 'initiated' and deadline_at < now()
       limit 1`,
      [ageSeconds, cursorName(ageSeconds)],
    );
    return rows.length > 0;
  }

  async moveCursor(ageSeconds: number, until: Date): Promise<void> {
    await this.database.rows(
      `insert into wallet_cursor as c (name, at) values ($1, $2) on conflict on constraint wallet_cursor_pkey do update set at = greatest(c.at, excluded.at)`,
      [cursorName(ageSeconds), until],
    );
  }

  /** Oldest first. */
  async parked(filter: {
    readonly after?: string;
    readonly movement?: Direction;
    readonly limit: number;
  }): Promise<{ transaction: MoneyTransaction; parkedAt: Date; inFlightUntil: Date | null }[]> {
    const rows = await this.database.rows<TransactionRow & { parked_at: Date; in_flight_until: Date | null }>(
      `select ${COLUMNS}, p.at as parked_at, f.until as in_flight_until from wallet_parked p join wallet_transaction on id = p.transaction_id
       cross join lateral (select greatest(
         (select greatest(h.may_land_until, case when h.leased then h.visible_at end) from outbox_head h where h.message_id = coalesce(wallet_transaction.undo_message_id, wallet_transaction.message_id)),
         (select d.may_land_until from outbox_dead d where d.message_id = coalesce(wallet_transaction.undo_message_id, wallet_transaction.message_id))) as at) l
       cross join lateral (select case when l.at > clock_timestamp() then l.at end as until) f
       where ($1::uuid is null or id > $1) and ($2::text is null or movement = $2) order by id limit $3`,
      [filter.after ?? null, filter.movement ?? null, filter.limit],
    );
    return rows.map((row) => ({
      transaction: money(transactionOf(row)),
      parkedAt: row.parked_at,
      inFlightUntil: row.in_flight_until,
    }));
  }

  /** Newest first, of one RGS. */
  async list(rgsId: number, filter: TransactionFilter): Promise<Transaction[]> {
    const rows = await this.database.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where rgs_id = $1
         and ($2::text is null or ref_hash = wallet_hash($2) and ref_id = $2) and ($3::uuid is null or id = $3) and ($4::text is null or round_hash = wallet_hash($4) and round_id = $4) and ($5::text is null or player_id = $5)
         and ($6::uuid is null or id < $6)
       order by id desc limit $7`,
      [
        rgsId,
        filter.refId ?? null,
        filter.correlationId ?? null,
        filter.roundId ?? null,
        filter.playerId ?? null,
        filter.before ?? null,
        filter.limit,
      ],
    );
    return rows.map(transactionOf);
  }

  async events(ids: readonly string[]): Promise<TransactionEvent[]> {
    const rows = await this.database.rows<{
      transaction_id: string;
      at: Date;
      kind: TransactionEvent['kind'];
      source: EventSource;
      from_state: TransactionState;
      to_state: TransactionState;
      evidence: unknown;
    }>('select * from wallet_event where transaction_id = any ($1) order by transaction_id, n', [ids]);
    return rows.map((row) => ({
      transactionId: row.transaction_id,
      at: row.at,
      kind: row.kind,
      source: row.source,
      from: row.from_state,
      to: row.to_state,
      evidence: row.evidence,
    }));
  }

  /** For development and tests only; the admin service guards it. */
  async clear(tx: Tx): Promise<void> {
    await tx.rows(
      'truncate idempotency_key, wallet_transaction, wallet_event, wallet_outcome, wallet_round, wallet_parked',
    );
  }
}

function cursorName(ageSeconds: number): string {
  return `${DEADLINE_CURSOR}${ageSeconds}`;
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
    external_ref: movement.externalRef,
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
