import { isLosslessNumber, type LosslessNumber } from 'lossless-json';
import type { JsonObject } from '../shared/fields';

export const DIRECTIONS = ['withdraw', 'deposit'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** A movement as the hub asks for it. */
export interface Movement {
  playerId: string;
  direction: Direction;
  /** A decimal in major units exactly as it was sent: a JSON number (5.00) or a string ("5.00"). */
  amount: LosslessNumber | string;
  currency: string;
  reference: string;
  correlationId: string;
}

/**
 * Reads `{amount, currency, reference, correlationId}`; a string says what is wrong with it. Other fields are let be.
 */
export function readMovement(playerId: string, direction: Direction, body: JsonObject): Movement | string {
  const { amount, currency, reference, correlationId } = body;
  if (!isLosslessNumber(amount) && typeof amount !== 'string')
    return 'amount must be a decimal, as a number or a string';
  if (typeof currency !== 'string' || !/^[A-Z]{3,8}$/.test(currency)) return 'currency must be a code in capitals';
  if (!isIdentifier(reference)) return 'reference must be a string of 1 to 255 characters';
  if (!isIdentifier(correlationId)) return 'correlationId must be a string of 1 to 255 characters';
  return { playerId, direction, amount, currency, reference, correlationId };
}

function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && value.length >= 1 && value.length <= 255;
}
