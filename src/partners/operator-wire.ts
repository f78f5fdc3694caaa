import { toMajorUnits } from '../kernel/money';
import { decimalText, parseExactJson } from './exact-json';
import type { Partner } from './partner';
import type { Answer } from './partner-http';

/** What moves money at an operator. */
export type Movement = 'debit' | 'credit';

/**
 * The classes of money-flow: what an answer says about the player's money. Two more come without a movement being sent:
 * absent (the operator's list does not hold it) and expired (it never left, and now must not).
 */
export type OutcomeClass = 'applied' | 'rejected_business' | 'rejected_contract' | 'throttled' | 'accepted' | 'unknown' | 'absent' | 'expired';

export interface OperatorVerdict {
  readonly class: OutcomeClass;
  /** The operator's own word for it, or what went wrong. */
  readonly reason: string | null;
  /** Balance in major units as the operator wrote it; null when it gave none. */
  readonly balance: string | null;
  readonly retryAfterMs: number | null;
  /** The same for our own people, with all that helps to find the cause; left out when the reason says it. */
  readonly detail?: string;
}

export interface OperatorMovement {
  readonly movement: Movement;
  readonly externalPlayerId: string;
  readonly amountMinor: bigint;
  readonly exponent: number;
  readonly currency: string;
  readonly refId: string;
  readonly correlationId: string;
}

/** Path and exact body of a movement. The amount is written digit by digit; no double ever holds it. */
export function operatorMovementMessage(operator: Partner, movement: OperatorMovement): { path: string; body: string } {
  const amount = toMajorUnits(movement.amountMinor, movement.exponent);
  const rest = JSON.stringify({ currency: movement.currency, reference: movement.refId, correlationId: movement.correlationId });
  const body = `{"amount":${operator.amountEncoding === 'string' ? JSON.stringify(amount) : amount},${rest.slice(1)}`;
  return { path: `/v2/players/${encodeURIComponent(movement.externalPlayerId)}/${movement.movement === 'debit' ? 'withdraw' : 'deposit'}`, body };
}

/** Reference under which a bet is paid back; one per bet, so paying back twice is a repeat. */
export function undoReference(refId: string): string {
  return `rollback:${refId}`;
}

/** Path and exact body that undo a bet: the operator's rollback route where it has one, else a deposit of the same amount. */
export function operatorUndoMessage(operator: Partner, bet: Omit<OperatorMovement, 'movement'>): { path: string; body: string } {
  const deposit = operatorMovementMessage(operator, { ...bet, movement: 'credit', refId: undoReference(bet.refId) });
  if (!operator.rollbackRoute) return deposit;
  return { path: deposit.path.replace(/deposit$/, 'rollback'), body: `${deposit.body.slice(0, -1)},"originalReference":${JSON.stringify(bet.refId)}}` };
}

/** "." and ".." vanish from every URL, escaped or not: such a player's path would name another route of the operator. */
export function isAddressablePlayer(externalPlayerId: string): boolean {
  return externalPlayerId !== '.' && externalPlayerId !== '..';
}

/** Class of a status word, by the partner's own lists; undefined for a word that nobody declared. */
export function classOfStatusWord(operator: Partner, word: string): 'applied' | 'accepted' | 'rejected_business' | undefined {
  const upper = word.toUpperCase();
  if (operator.statusWords.applied.includes(upper)) return 'applied';
  if (operator.statusWords.pending.includes(upper)) return 'accepted';
  return operator.statusWords.refused.includes(upper) ? 'rejected_business' : undefined;
}

/**
 * What an operator's answer to a movement means. A 2xx is not success until the body says so, and a failure that may have happened
 * after the money moved is unknown, not refused.
 */
export function classifyOperatorAnswer(operator: Partner, answer: Answer): OperatorVerdict {
  if (answer.kind === 'not_sent') return verdict('throttled', answer.error);
  if (answer.kind === 'lost') return verdict('unknown', answer.error);

  const { status, retryAfterMs } = answer;
  const body = readBody(answer.body);
  const word = typeof body?.status === 'string' ? classOfStatusWord(operator, body.status) : undefined;
  const reason = body === null ? null : (textOf(body.reason) ?? textOf(body.code) ?? textOf(body.error) ?? textOf(body.detail) ?? textOf(body.message));
  const balance = body === null ? null : textOf(decimalText(body.balance));

  if (status === 429 || (status === 503 && retryAfterMs !== null)) return { ...verdict('throttled', `HTTP ${status}`), retryAfterMs };
  if (status >= 200 && status < 300) {
    if (word !== undefined) return { class: word, reason: word === 'rejected_business' ? (reason ?? textOf(body?.status)) : null, balance, retryAfterMs: null };
    if (status === 202) return verdict('accepted', null);
    return verdict('unknown', body === null ? `HTTP ${status} without a readable body` : `HTTP ${status} with status ${JSON.stringify(body.status ?? null)}`);
  }
  // Money words on a 4xx: some operators say "no funds" with 402 or 409. An OK on a 4xx contradicts itself.
  if (status >= 400 && status < 500 && status !== 408 && status !== 425) {
    if (word === 'applied' || word === 'accepted') return verdict('unknown', `HTTP ${status} with status ${JSON.stringify(body?.status)}`);
    const business = word === 'rejected_business' && (status === 402 || status === 409);
    return { class: business ? 'rejected_business' : 'rejected_contract', reason: reason ?? `HTTP ${status}`, balance, retryAfterMs: null };
  }
  return verdict('unknown', `HTTP ${status}`);
}

function verdict(outcome: OutcomeClass, reason: string | null): OperatorVerdict {
  return { class: outcome, reason, balance: null, retryAfterMs: null };
}

function readBody(text: string): Record<string, unknown> | null {
  try {
    const value = parseExactJson(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    // An unreadable answer is data, not a fault of ours: the caller classifies it as unknown.
    return null;
  }
}

/** The store takes neither NUL nor half of a surrogate pair, which a partner may send and our own cutting may leave. */
function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, 200).toWellFormed().replaceAll('\u0000', '\ufffd') : null;
}
