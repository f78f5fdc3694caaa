/** ISO 4217 currencies whose minor unit is not the hundredth. */
const OTHER_EXPONENTS: ReadonlyMap<string, number> = new Map([
  ...[
    'BIF',
    'CLP',
    'DJF',
    'GNF',
    'ISK',
    'JPY',
    'KMF',
    'KRW',
    'PYG',
    'RWF',
    'UGX',
    'UYI',
    'VND',
    'VUV',
    'XAF',
    'XOF',
    'XPF',
  ].map((code) => [code, 0] as const),
  ...['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND'].map((code) => [code, 3] as const),
  ...['CLF', 'UYW'].map((code) => [code, 4] as const),
]);

/** Longer texts are no amounts of money; the bound keeps a hostile exponent from filling the memory. */
const AMOUNT_CHARS_MAX = 40;

/** How many decimals a currency has: 2 for USD, 0 for JPY, 3 for KWD. */
export function exponentOf(currency: string): number {
  return OTHER_EXPONENTS.get(currency) ?? 2;
}

/**
 * A decimal in major units as minor units, exactly: ("5.00", USD) -> 500n, ("500", JPY) -> 500n, ("1e2", USD) ->
 * 10000n. Null for what is not a non-negative decimal, or is finer than the currency's minor unit.
 */
export function toMinor(decimal: string, currency: string): bigint | null {
  if (decimal.length > AMOUNT_CHARS_MAX) return null;
  const match = /^(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,2}))?$/.exec(decimal);
  if (match === null) return null;
  const [, whole = '', fraction = '', power = '0'] = match;
  const digits = BigInt(whole + fraction);
  const shift = exponentOf(currency) + Number(power) - fraction.length;
  if (shift >= 0) return digits * 10n ** BigInt(shift);
  const divisor = 10n ** BigInt(-shift);
  return digits % divisor === 0n ? digits / divisor : null;
}

/**
 * Minor units as a decimal in major units with all of the currency's decimals: (500n, USD) -> "5.00", (500n, JPY) ->
 * "500".
 */
export function toMajor(minor: bigint, currency: string): string {
  const exponent = exponentOf(currency);
  if (exponent === 0) return minor.toString();
  const sign = minor < 0n ? '-' : '';
  const digits = (minor < 0n ? -minor : minor).toString().padStart(exponent + 1, '0');
  return `${sign}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}
