/** A decimal or a number in JavaScript's own notation ("1e-7", "1.5e+21"). */
const DECIMAL = /^(-?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;

/**
 * A decimal as Python prints a float ("10" is 10.0, "19.90" is 19.9, "0.00001" is 1e-05): the legacy hub's files look so, and finance's
 * sheets read them. Works on the text, so no digit is lost; text that is no decimal stays as it is.
 */
export function pythonFloat(decimal: string): string {
  const match = DECIMAL.exec(decimal);
  if (!match) return decimal;
  const [, sign = '', whole = '', fraction = '', power = '0'] = match;
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return `${sign}0.0`;
  const exponent = digits.length - 1 - fraction.length + Number(power);
  // Python turns to exponents below 1e-4 and from 1e16.
  return (
    sign + (exponent < -4 || exponent >= 16 ? scientific(significant, exponent) : positional(significant, exponent))
  );
}

function scientific(digits: string, exponent: number): string {
  const mantissa = digits.length === 1 ? digits : `${digits[0]}.${digits.slice(1)}`;
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

function positional(digits: string, exponent: number): string {
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`;
  const point = exponent + 1;
  return `${digits.slice(0, point).padEnd(point, '0')}.${digits.slice(point) || '0'}`;
}
