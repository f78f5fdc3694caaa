import { invariant } from '../kernel/invariant';
import { currencyExponent, toMajorUnits, toMinorUnits } from '../kernel/money';
import { protocolWord } from '../kernel/protocol-word';
import { type AskedMovement, type ComparedField, type SaidMovement, disagreement, isGiven } from './asked-movement';
import { decimalText, parseExactJson } from '../json/exact-json';
import type { Partner, ReferenceScope } from './partner';
import type { PartnerResponse } from './partner-http';

/** What moves money at an operator. */
export type Direction = 'debit' | 'credit';

/**
 * The classes of money-flow: what a response says about the player's money. Two more come without a movement being
 * sent: absent (the operator's list does not hold it) and expired (it never left, and now must not).
 */
export type OutcomeClass =
  'applied' | 'rejected_business' | 'rejected_contract' | 'throttled' | 'accepted' | 'unknown' | 'absent' | 'expired';

export interface OperatorOutcome {
  readonly class: OutcomeClass;
  /** The operator's own word for it, or what went wrong. */
  readonly reason: string | null;
  /** Balance in major units as the operator wrote it; null when it gave none. */
  readonly balance: string | null;
  readonly retryAfterMs: number | null;
  /** Set when the response speaks of another movement than it was asked about: an incident. */
  readonly mismatch?: ComparedField;
  /** The same for our own people, with all that helps to find the cause; left out when the reason says it. */
  readonly detail?: string;
}

/**
 * Words of refusal that say nothing where the operator says "conflict": it says them of a reference that it has booked
 * before, too.
 */
const NO_REFUSAL_ON_CONFLICT = new Set(['ERROR', 'FAILED']);
/**
 * Statuses of which none can follow from a call that was applied: what the operator says of a request that it does not
 * take. All other 4xx are left out on purpose: 409 and 423 are said of what is booked or being booked, 408, 425 and 499
 * of calls that go on behind a proxy, 406 and 412 of a response that could not be written, and the rest have no known
 * meaning.
 */
const REFUSALS = new Set([400, 401, 402, 403, 404, 405, 410, 411, 413, 414, 415, 417, 421, 422, 426, 428, 431, 451]);
/** Members of a response that name a movement. */
const NAMING: readonly (keyof SaidMovement)[] = [
  'reference',
  'refId',
  'direction',
  'event',
  'playerId',
  'amount',
  'currency',
  'correlationId',
];

export interface OperatorMovement {
  readonly movement: Direction;
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
  const rest = JSON.stringify({
    currency: movement.currency,
    reference: movement.refId,
    correlationId: movement.correlationId,
  });
  const body = `{"amount":${operator.amountEncoding === 'string' ? JSON.stringify(amount) : amount},${rest.slice(1)}`;
  return {
    path: `/v2/players/${encodeURIComponent(movement.externalPlayerId)}/${movement.movement === 'debit' ? 'withdraw' : 'deposit'}`,
    body,
  };
}

/** What a message asked for, read from its own path and bytes: they are what the operator saw. */
export function movementOfMessage(
  operator: Partner,
  message: { readonly path: string; readonly body: string },
): AskedMovement {
  const { amount, currency, reference, correlationId } = parseExactJson(message.body) as Readonly<
    Record<string, unknown>
  >;
  const [, player = '', route = ''] = /^\/v2\/players\/([^/]+)\/(withdraw|deposit|rollback)$/.exec(message.path) ?? [];
  invariant(
    typeof currency === 'string' && typeof reference === 'string' && typeof correlationId === 'string' && route !== '',
    'not a message to an operator',
  );
  const exponent = currencyExponent(currency, operator.currencyExponents);
  const minor = toMinorUnits(decimalText(amount) ?? '', exponent);
  return {
    reference,
    directions: directionsOf(route),
    playerIds: [decodeURIComponent(player)],
    amount: minor === null ? null : { minor, exponent },
    currency,
    correlationId,
  };
}

/** What is looked for in a list or expected of a callback. `reversal`: what refunds a debit. */
export function askedMovement(
  operator: Partner,
  transaction: OperatorMovement & { readonly playerId: string; readonly operatorReference: string },
  reversal: boolean,
): AskedMovement {
  const { movement, externalPlayerId, playerId, amountMinor, exponent, currency, correlationId } = transaction;
  const route = reversal
    ? operator.rollbackRoute
      ? 'rollback'
      : 'deposit'
    : movement === 'debit'
      ? 'withdraw'
      : 'deposit';
  return {
    reference: operatorReference(transaction, reversal),
    directions: directionsOf(route),
    playerIds: [externalPlayerId, playerId],
    amount: { minor: amountMinor, exponent },
    currency,
    correlationId,
  };
}

/** The reference that the operator sees of a movement, or of what refunds it. */
export function operatorReference(
  { operatorReference: reference }: { readonly operatorReference: string },
  reversal: boolean,
): string {
  return reversal ? reversalReference(reference) : reference;
}

function directionsOf(route: string): AskedMovement['directions'] {
  return route === 'rollback' ? ['deposit', 'rollback'] : route === 'deposit' ? ['deposit'] : ['withdraw'];
}

/**
 * What the hub makes itself where an operator's references must be unique over all RGSs and players: `hub~` and the
 * transaction's id.
 */
const OWN_REFERENCE = 'hub~';
/** A refId that an RGS makes up in the form of the hub's own would be another movement's reference, or its reversal. */
const LIKE_OUR_OWN = /^(?:hub~|rollback:)/i;

/**
 * The operator's name for a movement where it is not the bare refId, as it is kept with the movement; null: the refId.
 */
export function externalReference(scope: ReferenceScope, refId: string, transactionId: string): string | null {
  return scope === 'operator' || LIKE_OUR_OWN.test(refId) ? OWN_REFERENCE + transactionId : null;
}

/** Reference under which a debit is refunded; one per debit, so refunding twice is a repeat. */
export function reversalReference(refId: string): string {
  return `rollback:${refId}`;
}

/**
 * Path and exact body that undo a debit: the operator's rollback route where it has one, else a deposit of the same
 * amount.
 */
export function operatorReversalMessage(
  operator: Partner,
  bet: Omit<OperatorMovement, 'movement'>,
): { path: string; body: string } {
  const deposit = operatorMovementMessage(operator, {
    ...bet,
    movement: 'credit',
    refId: reversalReference(bet.refId),
  });
  if (!operator.rollbackRoute) return deposit;
  return {
    path: deposit.path.replace(/deposit$/, 'rollback'),
    body: `${deposit.body.slice(0, -1)},"originalReference":${JSON.stringify(bet.refId)}}`,
  };
}

/**
 * "." and ".." vanish from every URL, escaped or not: such a player's path would name another route of the operator.
 */
export function isAddressablePlayer(externalPlayerId: string): boolean {
  return externalPlayerId !== '.' && externalPlayerId !== '..';
}

/** Class of a status word, by the partner's own lists; undefined for an unconfigured word. */
export function classOfStatusWord(
  operator: Partner,
  word: string,
): 'applied' | 'accepted' | 'rejected_business' | undefined {
  const said = protocolWord(word);
  if (operator.statusWords.applied.includes(said)) return 'applied';
  if (operator.statusWords.pending.includes(said)) return 'accepted';
  return operator.statusWords.refused.includes(said) ? 'rejected_business' : undefined;
}

/**
 * What an operator's response to a movement means. A 2xx is not success until the body says so, a failure that may have
 * happened after the money moved is unknown, not refused, and a response about another movement is no response.
 */
export function classifyOperatorResponse(
  operator: Partner,
  response: PartnerResponse,
  message: { readonly path: string; readonly body: string },
): OperatorOutcome {
  if (response.kind === 'not_sent') return verdict('throttled', response.error);
  if (response.kind === 'lost') return verdict('unknown', response.error);

  const { status, retryAfterMs } = response;
  const body = readBody(response.body);
  const word = typeof body?.status === 'string' ? classOfStatusWord(operator, body.status) : undefined;
  const reason =
    body === null
      ? null
      : (textOf(body.reason) ?? textOf(body.code) ?? textOf(body.error) ?? textOf(body.detail) ?? textOf(body.message));
  const balance = body === null ? null : textOf(decimalText(body.balance));

  if (status === 429 || (status === 503 && retryAfterMs !== null))
    return { ...verdict('throttled', `HTTP ${status}`), retryAfterMs };
  const mismatch =
    body !== null && NAMING.some((name) => isGiven(body[name]))
      ? disagreement(movementOfMessage(operator, message), body)
      : null;
  if (mismatch !== null && (status < 300 || (status >= 400 && status < 500)))
    return {
      ...verdict('unknown', `HTTP ${status} about another movement: its ${mismatch} is not what the hub sent`),
      mismatch,
    };
  if (status >= 200 && status < 300) {
    if (word !== undefined)
      return {
        class: word,
        reason: word === 'rejected_business' ? (reason ?? textOf(body?.status)) : null,
        balance,
        retryAfterMs: null,
      };
    if (status === 202) return verdict('accepted', null);
    return verdict(
      'unknown',
      body === null
        ? `HTTP ${status} without a readable body`
        : `HTTP ${status} with status ${JSON.stringify(body.status ?? null)}`,
    );
  }
  // An OK on a 4xx contradicts itself.
  if (status >= 400 && status < 500 && (word === 'applied' || word === 'accepted'))
    return verdict('unknown', `HTTP ${status} with status ${JSON.stringify(body?.status)}`);
  // Money words on a 4xx: some operators say "no funds" with 402 or 409.
  const business =
    word === 'rejected_business' &&
    (status === 402 || (status === 409 && !NO_REFUSAL_ON_CONFLICT.has(protocolWord(String(body?.status)))));
  if (business) return { class: 'rejected_business', reason: reason ?? `HTTP ${status}`, balance, retryAfterMs: null };
  if (REFUSALS.has(status))
    return { class: 'rejected_contract', reason: reason ?? `HTTP ${status}`, balance, retryAfterMs: null };
  return verdict('unknown', reason === null ? `HTTP ${status}` : `HTTP ${status}: ${reason}`);
}

function verdict(outcome: OutcomeClass, reason: string | null): OperatorOutcome {
  return { class: outcome, reason, balance: null, retryAfterMs: null };
}

function readBody(text: string): Record<string, unknown> | null {
  try {
    const value = parseExactJson(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    // An unreadable answer is data, not a fault of ours: the caller classifies it as unknown.
    return null;
  }
}

/** The store takes neither NUL nor half of a surrogate pair, which a partner may send and our own cutting may leave. */
function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== ''
    ? value.slice(0, 200).toWellFormed().replaceAll('\u0000', '\ufffd')
    : null;
}
