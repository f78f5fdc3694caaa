import fc from 'fast-check';
import { MINOR_UNITS_MAX, currencyExponent, toMajorUnits, toMinorUnits } from '../../src/kernel/money';

const exponents = fc.constantFrom(0, 2, 3, 8);
const minorUnits = fc.bigInt({ min: -MINOR_UNITS_MAX, max: MINOR_UNITS_MAX });

describe("an amount between minor units and the operator's decimal", () => {
  it('survives the way out and back, for every exponent, up to 2^53', () => {
    fc.assert(
      fc.property(
        minorUnits,
        exponents,
        (minor, exponent) => toMinorUnits(toMajorUnits(minor, exponent), exponent) === minor,
      ),
      { numRuns: 2_000 },
    );
  });

  it("always has the currency's decimals, and no exponent, sign of plus or leading zeros", () => {
    fc.assert(
      fc.property(minorUnits, exponents, (minor, exponent) => {
        expect(toMajorUnits(minor, exponent)).toMatch(
          exponent === 0 ? /^(0|-?[1-9]\d*)$/ : new RegExp(`^-?(0|[1-9]\\d*)\\.\\d{${exponent}}$`),
        );
      }),
    );
  });

  it('means the same however the number is written: with zeros at its end, or with an exponent', () => {
    fc.assert(
      fc.property(
        minorUnits,
        exponents,
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: -9, max: 9 }),
        (minor, exponent, zeros, shift) => {
          const plain = toMajorUnits(minor, exponent);
          expect(toMinorUnits(`${plain.includes('.') ? plain : `${plain}.0`}${'0'.repeat(zeros)}`, exponent)).toBe(
            minor,
          );
          // minor * 10^-exponent, with the point anywhere else.
          expect(toMinorUnits(`${minor}e${-exponent}`, exponent)).toBe(minor);
          if (shift >= 0)
            expect(toMinorUnits(`${minor}${'0'.repeat(shift)}E-${shift + exponent}`, exponent)).toBe(minor);
        },
      ),
    );
  });

  it('is refused when it has a fraction of a minor unit, however small: rounding would make or lose money', () => {
    fc.assert(
      fc.property(
        minorUnits,
        exponents,
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 1, max: 9 }),
        (minor, exponent, zeros, digit) => {
          const plain = toMajorUnits(minor, exponent);
          expect(
            toMinorUnits(`${plain.includes('.') ? plain : `${plain}.`}${'0'.repeat(zeros)}${digit}`, exponent),
          ).toBeNull();
        },
      ),
    );
  });

  it.each<[string, number, bigint | null]>([
    ['19.99', 2, 1999n],
    ['500', 0, 500n],
    ['0.500', 3, 500n],
    ['0.5', 3, 500n],
    ['5', 2, 500n],
    ['5.0', 2, 500n],
    ['1.50', 2, 150n],
    ['1.5e2', 2, 15_000n],
    ['1e2', 2, 10_000n],
    ['1E+2', 2, 10_000n],
    ['100e-2', 2, 100n],
    ['0', 2, 0n],
    ['-0', 2, 0n],
    ['-0.00', 2, 0n],
    ['-19.99', 2, -1999n],
    ['90071992547409.91', 2, MINOR_UNITS_MAX],
    ['0.00000001', 8, 1n],
    ['500.0', 0, 500n],
    ['500.5', 0, null],
    ['19.999', 2, null],
    ['1e-3', 2, null],
    ['', 2, null],
    [' ', 2, null],
    ['.5', 2, null],
    ['5.', 2, null],
    ['+5', 2, null],
    ['--5', 2, null],
    ['5,00', 2, null],
    ['1_000', 2, null],
    ['0x10', 2, null],
    ['NaN', 2, null],
    ['Infinity', 2, null],
    ['1e', 2, null],
    ['1e100', 2, null],
    ['1e-100', 2, null],
    ['٥', 2, null],
    ['5.00 USD', 2, null],
    ['9'.repeat(41), 2, null],
  ])('%j with %i decimals is %s', (decimal, exponent, minor) => {
    expect(toMinorUnits(decimal, exponent)).toBe(minor);
  });

  it('is never computed in floating point: amounts whose double is wrong are right', () => {
    // 1.15 * 100 is 114.99999999999999, 0.1 + 0.2 is not 0.3, and 4.35 * 100 is 434.99999999999994.
    expect([
      toMinorUnits('1.15', 2),
      toMinorUnits('4.35', 2),
      toMinorUnits('1.005', 3),
      toMinorUnits('8.41', 2),
    ]).toEqual([115n, 435n, 1005n, 841n]);
  });
});

describe('the decimals of a currency', () => {
  it.each([
    ['USD', 2],
    ['EUR', 2],
    ['JPY', 0],
    ['KRW', 0],
    ['KWD', 3],
    ['BHD', 3],
    ['CLF', 4],
    ['TRY', 2],
  ])('%s has %i', (currency, exponent) => {
    expect(currencyExponent(currency)).toBe(exponent);
  });

  it("are the partner's where it counts differently", () => {
    expect(currencyExponent('KWD', { KWD: 2 })).toBe(2);
    expect(currencyExponent('BTC', { BTC: 8 })).toBe(8);
    expect(currencyExponent('JPY', { KWD: 2 })).toBe(0);
  });
});
