import { MINOR_UNITS_MAX, toMajorUnits, toMinorUnits } from '../../kernel/money';

/** Decimals beyond the minor unit that are still looked at; a double prints at most 17 digits. */
const NOISE_DECIMALS = 30;
/** Parts of a minor unit below which a rest is rounding noise of doubles and no money. */
const NOISE_PARTS = 1_000_000n;

export interface ListAmount {
  /** Null when it is no amount. */
  readonly minor: bigint | null;
  /** Major units as decimal text, or the side's own text when it is no amount. */
  readonly raw: string;
}

/**
 * Major units as an operator's list writes them. A partner that adds doubles prints 0.30000000000000004 for 0.30; a
 * rest of less than a millionth of a minor unit is taken as that, anything else that is finer than the minor unit is no
 * amount.
 */
export function amountFromMajor(decimal: string, exponent: number): ListAmount {
  return { minor: inRange(toMinorUnits(decimal, exponent) ?? withoutNoise(decimal, exponent)), raw: decimal };
}

/** Minor units as an RGS's list writes them: a whole number, as JSON number or as digits. */
export function amountFromMinor(digits: string, exponent: number): ListAmount {
  const minor = toMinorUnits(digits, 0);
  return minor === null ? { minor, raw: digits } : { minor: inRange(minor), raw: toMajorUnits(minor, exponent) };
}

function withoutNoise(decimal: string, exponent: number): bigint | null {
  const fine = toMinorUnits(decimal, exponent + NOISE_DECIMALS);
  if (fine === null) return null;
  const unit = 10n ** BigInt(NOISE_DECIMALS);
  const sign = fine < 0n ? -1n : 1n;
  const size = fine * sign;
  const rest = size % unit;
  if (rest * NOISE_PARTS <= unit) return (size / unit) * sign;
  return (unit - rest) * NOISE_PARTS <= unit ? (size / unit + 1n) * sign : null;
}

function inRange(minor: bigint | null): bigint | null {
  return minor === null || minor > MINOR_UNITS_MAX || minor < -MINOR_UNITS_MAX ? null : minor;
}
