import { toMinorUnits } from '../kernel/money';
import { protocolWord } from '../kernel/protocol-word';
import { decimalText } from '../json/exact-json';
import { amountFromMajor } from './lists/list-amounts';

export type WireDirection = 'withdraw' | 'deposit' | 'rollback';

/** A movement as it was sent to the operator, or as it is looked up. Unknown fields are not compared. */
export interface AskedMovement {
  /** The reference that the operator sees. */
  readonly reference: string;
  readonly directions: readonly WireDirection[];
  /** Any of them names the player; none: the player is not known. */
  readonly playerIds: readonly string[];
  readonly amount: { readonly minor: bigint; readonly exponent: number } | null;
  readonly currency: string | null;
  readonly correlationId: string | null;
}

export type ComparedField = 'reference' | 'direction' | 'playerId' | 'amount' | 'currency' | 'correlationId';

/** What an operator may say of a movement, in a response, a callback or a row of its list. */
export interface SaidMovement {
  readonly reference?: unknown;
  readonly refId?: unknown;
  readonly direction?: unknown;
  readonly event?: unknown;
  readonly playerId?: unknown;
  readonly amount?: unknown;
  readonly currency?: unknown;
  readonly correlationId?: unknown;
}

/** Each side's words for the two ways in which money goes. */
const DIRECTIONS: ReadonlyMap<string, WireDirection> = new Map([
  ['WITHDRAW', 'withdraw'],
  ['DEBIT', 'withdraw'],
  ['DEPOSIT', 'deposit'],
  ['CREDIT', 'deposit'],
  // An operator with a route of its own for reversals may name them by it.
  ['ROLLBACK', 'rollback'],
]);

export function wireDirectionOf(word: string): WireDirection | null {
  return DIRECTIONS.get(protocolWord(word)) ?? null;
}

/** A member that is null, missing or an empty text says nothing. */
export function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== '';
}

/**
 * First field in which what an operator says differs from what it was asked; null when all that it gives agrees. A word
 * about another movement is no word about this one: 200 OK with the amount of a neighbour's debit would confirm a debit
 * that was not booked. An amount must be exact; in a row of a list (`listed`) it may carry the noise of a binary float,
 * as reconciliation reads it too.
 */
export function disagreement(
  asked: AskedMovement,
  said: SaidMovement,
  amounts: 'exact' | 'listed' = 'exact',
): ComparedField | null {
  const { reference, refId, direction, event, playerId, amount, currency, correlationId } = said;
  if (isGiven(reference) && decimalText(reference) !== asked.reference) return 'reference';
  if (isGiven(refId) && decimalText(refId) !== asked.reference) return 'reference';
  if (isGiven(direction) && !isDirection(asked, direction)) return 'direction';
  if (isGiven(event) && !isDirection(asked, event)) return 'direction';
  if (isGiven(playerId) && asked.playerIds.length > 0 && !asked.playerIds.includes(decimalText(playerId) ?? ''))
    return 'playerId';
  if (isGiven(correlationId) && asked.correlationId !== null && !isWord(correlationId, asked.correlationId))
    return 'correlationId';
  if (isGiven(currency) && asked.currency !== null && !isWord(currency, asked.currency)) return 'currency';
  return isGiven(amount) && asked.amount !== null && !isAmount(amount, asked.amount, amounts) ? 'amount' : null;
}

function isDirection({ directions }: AskedMovement, word: unknown): boolean {
  const direction = typeof word === 'string' ? wireDirectionOf(word) : null;
  return direction !== null && directions.includes(direction);
}

function isWord(value: unknown, word: string): boolean {
  return typeof value === 'string' && (value === word || protocolWord(value) === protocolWord(word));
}

function isAmount(
  value: unknown,
  { minor, exponent }: NonNullable<AskedMovement['amount']>,
  amounts: 'exact' | 'listed',
): boolean {
  const decimal = decimalText(value);
  return (
    decimal !== null &&
    (amounts === 'exact' ? toMinorUnits(decimal, exponent) : amountFromMajor(decimal, exponent).minor) === minor
  );
}
