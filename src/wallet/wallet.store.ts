import { Injectable } from '@nestjs/common';
import { Database, HotDatabase, type Row, type Sql, type Tx } from '../database/database';
import type { Movement } from '../partners/operator-wire';
import type { RgsOutcome } from '../partners/rgs-wire';
import { SETTLED, type TransactionState } from './transaction-state';

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
}

/** try_again: its key was held by a request of the same batch that was refused, so the key is free now. */
export type AcceptVerdict = 'created' | 'replayed' | 'key_reused' | 'reference_reused' | 'try_again';

export interface Accepted {
  readonly verdict: AcceptVerdict;
  /** Of the new or the stored transaction; null for key_reused. */
  readonly transactionId: string | null;
}

export interface Transaction {
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
  readonly meta: unknown;
  readonly state: TransactionState;
  readonly balanceMinor: bigint | null;
  readonly reason: string | null;
  readonly messageId: string;
  readonly createdAt: Date;
  readonly settledAt: Date | null;
}

export type EventSource = 'operator_response' | 'operator_callback' | 'hub' | 'admin';

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
  movement: Movement;
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
  message_id: string;
  created_at: Date;
  settled_at: Date | null;
}

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
  async lock(tx: Tx, ids: readonly string[]): Promise<Map<string, Transaction>> {
    const rows = await tx.rows<TransactionRow>('select * from wallet_transaction where id = any ($1) order by id for no key update', [ids]);
    return new Map(rows.map((row) => [row.id, transactionOf(row)]));
  }

  async change(tx: Tx, changes: readonly TransactionChange[]): Promise<void> {
    if (changes.length === 0) return;
    await tx.rows(
      `with change as materialized (
         select * from json_to_recordset($1) as c (id uuid, kind text, source text, from_state text, to_state text, settled boolean, balance_minor bigint, reason text, evidence json)
       ), moved as (
         update wallet_transaction t
         set state = c.to_state, settled_at = case when c.settled then clock_timestamp() end,
             balance_minor = coalesce(c.balance_minor, t.balance_minor), reason = c.reason
         from change c where c.kind = 'transition' and t.id = c.id and t.state = c.from_state
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
    const [row] = await sql.rows<TransactionRow>('select * from wallet_transaction where id = $1', [id]);
    return row && transactionOf(row);
  }

  async states(ids: readonly string[]): Promise<Map<string, TransactionState>> {
    const rows = await this.hot.prepared<{ id: string; state: TransactionState }>('wallet_states', 'select id, state from wallet_transaction where id = any ($1)', [ids]);
    return new Map(rows.map(({ id, state }) => [id, state]));
  }

  /** Newest first, of one RGS. */
  async list(rgsId: number, filter: TransactionFilter): Promise<Transaction[]> {
    const rows = await this.database.rows<TransactionRow>(
      `select * from wallet_transaction where rgs_id = $1
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
    await tx.rows('truncate wallet_transaction, idempotency_key, wallet_event, wallet_outcome');
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
  };
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
    createdAt: row.created_at,
    settledAt: row.settled_at,
  };
}
