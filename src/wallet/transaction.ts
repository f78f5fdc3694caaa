import { invariant } from '../kernel/invariant';
import type { Row } from '../database/database';
import type { Direction } from '../partners/operator-wire';
import type { ReasonCode } from './reason-code';
import type { TransactionMovement, TransactionState } from './transaction-state';

export type MovementKind = 'regular' | 'free' | 'promo' | 'jackpot';

/** Why a response that is no refusal deserves a second look. */
export const WARNING_CODES = ['no_bet_in_round', 'no_round', 'nothing_taken'] as const;
export type WarningCode = (typeof WARNING_CODES)[number];

export interface Transaction {
  readonly id: string;
  readonly operatorId: number;
  readonly rgsId: number;
  readonly movement: TransactionMovement;
  readonly playerId: string;
  readonly externalPlayerId: string;
  readonly refId: string;
  /** What the operator knows it by: the refId, or what the hub made instead. */
  readonly operatorReference: string;
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
  /** Null of a movement that ended before codes were stored. */
  readonly reasonCode: ReasonCode | null;
  /** What the first response warned of beyond what its own fields say. */
  readonly warnings: readonly WarningCode[] | null;
  /** The operator message; null for a free bet, which has none, for a rollback and for the place that one holds. */
  readonly messageId: string | null;
  /** Of a rollback: the debit that it undoes. */
  readonly originalId: string | null;
  /** The place of a debit that was rolled back before it came. */
  readonly tombstone: boolean;
  /** Why an applied debit must be refunded instead of confirmed. */
  readonly reversal: 'deadline' | 'rollback' | null;
  readonly reversalMessageId: string | null;
  /** How long ago the first question began to which the operator said that it does not know the debit. */
  readonly absentForMs: number | null;
  /** Of a rollback: whether money was refunded; null while that is not known. */
  readonly applied: boolean | null;
  readonly waited: boolean;
  /** Whether the debit's deadline has passed, by the moment that was frozen when it was accepted. */
  readonly pastDeadline: boolean;
  readonly createdAt: Date;
  readonly settledAt: Date | null;
}

/** A debit or credit: what moves money by itself. */
export interface MoneyTransaction extends Transaction {
  readonly movement: Direction;
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

/**
 * A transition to be written, or a contradiction to be kept (`to` is then what the evidence claims happened: nothing
 * changes).
 */
export interface TransactionChange {
  readonly transactionId: string;
  readonly kind: 'transition' | 'contradiction';
  readonly source: EventSource;
  readonly from: TransactionState;
  readonly to: TransactionState;
  readonly balanceMinor: bigint | null;
  readonly reason: string | null;
  readonly reasonCode: ReasonCode | null;
  readonly reversal: 'deadline' | 'rollback' | null;
  /** Set by the settlement when this change causes a reversal. */
  readonly reversalMessageId?: string | null;
  readonly evidence: Record<string, unknown>;
}

export interface TransactionRow extends Row {
  id: string;
  operator_id: number;
  rgs_id: number;
  movement: TransactionMovement;
  player_id: string;
  external_player_id: string;
  ref_id: string;
  external_ref: string | null;
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
  reason_code: ReasonCode | null;
  warnings: WarningCode[] | null;
  message_id: string | null;
  original_id: string | null;
  tombstone: boolean;
  undo: 'deadline' | 'rollback' | null;
  undo_message_id: string | null;
  absent_for_ms: number | null;
  applied: boolean | null;
  waited: boolean;
  past_deadline: boolean;
  created_at: Date;
  settled_at: Date | null;
}

/** What every statement that answers a TransactionRow selects or returns. */
export const COLUMNS = `id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, external_ref, amount_minor, currency, exponent, kind, round_id, round_closed, game_id,
  session_id, meta, state, balance_minor, wallet_transaction.reason, reason_code, warnings, message_id, original_id, tombstone, undo, undo_message_id, applied, waited, created_at, settled_at,
  coalesce(deadline_at <= clock_timestamp(), false) as past_deadline,
  (extract(epoch from clock_timestamp() - absent_at) * 1000)::float8 as absent_for_ms`;

/**
 * Of a transaction: it has the business key of $1 RGS, $2 refId, $3 player, $4 movement, $5 operator. The hashes find
 * it, the texts say that it is the one.
 */
export const HAS_BUSINESS_KEY =
  'rgs_id = $1 and ref_hash = wallet_hash($2) and business_hash = wallet_business_hash($2, $3, $4, $5) and ref_id = $2 and player_id = $3 and movement = $4 and operator_id = $5';

/**
 * A debit that takes no money, with a free spin or out of a promotion. Of a debit only: wins of every kind are paid.
 */
export function isFreeBet(movement: TransactionMovement, kind: MovementKind): boolean {
  return movement === 'debit' && (kind === 'free' || kind === 'promo');
}

/** A debit or credit; a rollback in its place is a fault of ours. */
export function money(transaction: Transaction): MoneyTransaction {
  const { movement } = transaction;
  invariant(movement !== 'rollback', () => `${transaction.id} is a rollback, which moves no money by itself`);
  return { ...transaction, movement };
}

export function transactionOf(row: TransactionRow): Transaction {
  return {
    id: row.id,
    operatorId: row.operator_id,
    rgsId: row.rgs_id,
    movement: row.movement,
    playerId: row.player_id,
    externalPlayerId: row.external_player_id,
    refId: row.ref_id,
    operatorReference: row.external_ref ?? row.ref_id,
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
    reasonCode: row.reason_code,
    warnings: row.warnings,
    messageId: row.message_id,
    originalId: row.original_id,
    tombstone: row.tombstone,
    reversal: row.undo,
    reversalMessageId: row.undo_message_id,
    absentForMs: row.absent_for_ms,
    applied: row.applied,
    waited: row.waited,
    pastDeadline: row.past_deadline,
    createdAt: row.created_at,
    settledAt: row.settled_at,
  };
}
