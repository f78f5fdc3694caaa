import type { RowStatus, Side, StagedRow } from '../sources/source';

/**
 * The numbers that reconciliation's tables hold for words. In SQL only the functions of src/database/functions/recon know
 * them; a test holds the two together.
 */

/** `src` of a staged row. The bits of several, as in recon.item.presence, say which sides list a key. */
export const SOURCE = { rgs: 1, operator: 2, hub: 4, implied: 8, foreign: 16 } as const;
/** A source whose rows are counted: the three sides. */
export type SideCode = typeof SOURCE.rgs | typeof SOURCE.operator | typeof SOURCE.hub;
export const SIDE_OF: Readonly<Record<SideCode, Side | 'hub'>> = {
  [SOURCE.rgs]: 'rgs',
  [SOURCE.operator]: 'operator',
  [SOURCE.hub]: 'hub',
};

const DIRECTION_CODE = { debit: 1, credit: 2 } as const;
const STATUS_CODE: Readonly<Record<RowStatus, number>> = { unknown: 0, pending: 1, settled: 2, refused: 3 };

/** What is odd about a staged row. */
export const FLAG = { unknownStatus: 1, unknownDirection: 2, oddCurrency: 4, lookedUp: 8 } as const;

/** Letters as digits to the base 32, so that equal numbers are equal currencies and no hash can collide; 0 for anything else. */
export function packCurrency(currency: string): number {
  if (currency.length < 1 || currency.length > 8) return 0;
  let packed = 0;
  for (let index = 0; index < currency.length; index++) {
    const letter = currency.charCodeAt(index) - 64;
    if (letter < 1 || letter > 26) return 0;
    packed = packed * 32 + letter;
  }
  return packed;
}

function unpackCurrency(packed: number): string {
  let currency = '';
  for (let rest = packed; rest > 0; rest = Math.floor(rest / 32))
    currency = String.fromCharCode((rest % 32) + 64) + currency;
  return currency;
}

/** `attrs` of a staged row: equal numbers mean equal currency, direction and status. */
export function packAttributes(currency: number, direction: StagedRow['movement'], status: RowStatus): number {
  return (currency * 4 + (direction === null ? 0 : DIRECTION_CODE[direction])) * 4 + STATUS_CODE[status];
}

export function currencyOf(attributes: number): string {
  return unpackCurrency(Math.floor(attributes / 16));
}

export function hasStatus(attributes: number, status: RowStatus): boolean {
  return (attributes & 3) === STATUS_CODE[status];
}
