import fc from 'fast-check';
import { toMajorUnits } from '../../src/kernel/money';
import { pythonFloat } from '../../src/reconciliation/legacy/python-float';

describe('a decimal as Python prints a float', () => {
  // The right side is what Python's repr(float(text)) prints.
  it.each([
    ['10', '10.0'],
    ['19.90', '19.9'],
    ['19.99', '19.99'],
    ['0.50', '0.5'],
    ['0.1', '0.1'],
    ['0', '0.0'],
    ['0.00', '0.0'],
    ['-0', '-0.0'],
    ['-5', '-5.0'],
    ['500', '500.0'],
    ['100', '100.0'],
    ['1000.0', '1000.0'],
    ['007.10', '7.1'],
    ['0.001', '0.001'],
    ['0.0001', '0.0001'],
    ['0.00012', '0.00012'],
    ['0.00001', '1e-05'],
    ['-0.00001', '-1e-05'],
    ['123456789012345.6', '123456789012345.6'],
    ['9999999999999998', '9999999999999998.0'],
    ['10000000000000000', '1e+16'],
    ['12500000000000000000', '1.25e+19'],
    // As JavaScript writes small and large numbers.
    ['1e-7', '1e-07'],
    ['1.5e-7', '1.5e-07'],
    ['1e+21', '1e+21'],
    ['1.5e+21', '1.5e+21'],
    ['1e2', '100.0'],
    ['1.2345e3', '1234.5'],
  ])('%s is %s', (decimal, printed) => {
    expect(pythonFloat(decimal)).toBe(printed);
  });

  it.each(['', 'n/a', '1,5', '.5', '1.2.3', '--1', '0x10', ' 1', 'Infinity', '1e', '=1+1'])(
    'leaves %j as it is, which is no decimal',
    (text) => {
      expect(pythonFloat(text)).toBe(text);
    },
  );

  it('agrees with the digits of the double for every amount that a double holds', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -999_999_999_999_999n, max: 999_999_999_999_999n }),
        fc.constantFrom(0, 2, 3, 8),
        (minor, exponent) => {
          const decimal = toMajorUnits(minor, exponent);
          expect(pythonFloat(decimal)).toBe(repr(Number(decimal)));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('agrees with the digits of every double as JavaScript writes it', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        if (!Object.is(value, -0)) expect(pythonFloat(String(value))).toBe(repr(value));
      }),
      { numRuns: 2000 },
    );
  });

  /**
   * repr() of CPython (float_repr_style 'short', PyOS_double_to_string 'r'), from the shortest digits that
   * toExponential gives.
   */
  function repr(value: number): string {
    if (value === 0) return '0.0';
    const [mantissa = '', power = ''] = Math.abs(value).toExponential().split('e');
    const digits = mantissa.replace('.', '');
    const exponent = Number(power);
    const sign = value < 0 ? '-' : '';
    if (exponent < -4 || exponent >= 16)
      return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
    if (exponent < 0) return `${sign}0.${digits.padStart(digits.length - exponent - 1, '0')}`;
    const padded = digits.padEnd(exponent + 2, '0');
    return `${sign}${padded.slice(0, exponent + 1)}.${padded.slice(exponent + 1)}`;
  }
});
