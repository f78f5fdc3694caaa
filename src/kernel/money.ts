/**
 * Exact money. Inside the hub an amount is a `bigint` count of minor units; a decimal exists only as text, at the two
 * borders. Source of the exponents: ISO 4217 (list one). Currencies that are not listed have two decimals.
 */
const EXPONENTS: Readonly<Record<string, number>> = {
  BIF: 0,
  CLP: 0,
  DJF: 0,
  GNF: 0,
  ISK: 0,
  JPY: 0,
  KMF: 0,
  KRW: 0,
  PYG: 0,
  RWF: 0,
  UGX: 0,
  UYI: 0,
  VND: 0,
  VUV: 0,
  XAF: 0,
  XOF: 0,
  XPF: 0,
  BHD: 3,
  IQD: 3,
  JOD: 3,
  KWD: 3,
  LYD: 3,
  OMR: 3,
  TND: 3,
  CLF: 4,
  UYW: 4,
};

/** The largest amount on the wire: JSON numbers above 2^53-1 are no longer exact in most clients. */
export const MINOR_UNITS_MAX = 9_007_199_254_740_991n;

/**
 * Number of decimals of a currency; a partner may count differently (some have two for KWD), so its overrides go first.
 */
export function currencyExponent(currency: string, overrides: Readonly<Record<string, number>> = {}): number {
  return own(overrides, currency) ?? own(EXPONENTS, currency) ?? 2;
}

/** A currency comes from callers, and every object has something under names such as "constructor". */
function own(exponents: Readonly<Record<string, number>>, currency: string): number | undefined {
  return Object.hasOwn(exponents, currency) ? exponents[currency] : undefined;
}

/**
 * Exact major units as text, always with the currency's decimals: (500n, 2) is "5.00", (500n, 0) is "500", (500n, 3) is
 * "0.500".
 */
export function toMajorUnits(minor: bigint, exponent: number): string {
  const sign = minor < 0n ? '-' : '';
  const digits = (minor < 0n ? -minor : minor).toString().padStart(exponent + 1, '0');
  if (exponent === 0) return sign + digits;
  return `${sign}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

const DECIMAL = /^(-?)(\d{1,40})(?:\.(\d{1,40}))?(?:[eE]([+-]?\d{1,2}))?$/;

/**
 * Minor units of a decimal written as a JSON number ("19.99", "5", "1.5e2"): `toMinorUnits("19.99", 2)` is 1999n.
 * Null when the text is no decimal or has a fraction of a minor unit: rounding would make or lose money.
 */
export function toMinorUnits(decimal: string, exponent: number): bigint | null {
  const match = DECIMAL.exec(decimal.trim());
  if (!match) return null;
  const [, sign = '', whole = '', fraction = '', power = '0'] = match;
  const digits = whole + fraction;
  const shift = Number(power) - fraction.length + exponent;
  let minor: bigint;
  if (shift >= 0) {
    minor = BigInt(digits) * 10n ** BigInt(shift);
  } else {
    const divisor = 10n ** BigInt(-shift);
    const value = BigInt(digits);
    if (value % divisor !== 0n) return null;
    minor = value / divisor;
  }
  return sign === '-' ? -minor : minor;
}
