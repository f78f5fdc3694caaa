/**
 * A decimal as Python prints a float ("10" is 10.0, "19.90" is 19.9, "0.00001" is 1e-05): the first hub's files look so, and finance's
 * sheets read them. Works on the text; text that is no decimal stays as it is.
 */
export function pythonFloat(decimal: string): string {
  const match = /^(-?)0*(\d+)(?:\.(\d*))?$/.exec(decimal);
  if (!match) return decimal;
  const [, sign = '', whole = '0', rest = ''] = match;
  const fraction = rest.replace(/0+$/, '');
  const significant = (whole === '0' ? '' : whole) + fraction;
  if (significant.replace(/^0+/, '') === '') return `${sign}0.0`;
  const leadingZeros = /^0*/.exec(fraction)?.[0].length ?? 0;
  // Python turns to exponents below 1e-4 and from 1e16.
  if (whole === '0' && leadingZeros >= 4) return sign + scientific(fraction.slice(leadingZeros), -(leadingZeros + 1));
  if (whole.length > 16) return sign + scientific((whole + fraction).replace(/0+$/, ''), whole.length - 1);
  return `${sign}${whole}.${fraction === '' ? '0' : fraction}`;
}

function scientific(digits: string, exponent: number): string {
  const mantissa = digits.length === 1 ? digits : `${digits[0]}.${digits.slice(1)}`;
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}
