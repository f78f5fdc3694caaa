import { decimalText } from '../../json/exact-json';

/** Of a decimal: sign, digits without zeros around them, power of ten. */
const DECIMAL = /^([+-]?)0*(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?$/;

/**
 * Tells whether anything in a row could be a reference: the same text after trimming, NFKC and case folding, or the
 * same digits. Partners turn "1001" into a number, pad it with blanks, or shout it; a row that is wrongly taken for the
 * movement costs a look by a person, one that is wrongly passed over costs its money.
 */
export class PossibleReference {
  private readonly folded: string;
  private readonly digits: string | null;

  constructor(private readonly reference: string) {
    this.folded = folded(reference);
    this.digits = digitsOf(reference);
  }

  /** Looks at every scalar at every depth, and at the names of members. */
  standsIn(value: unknown): boolean {
    if (typeof value === 'string') return this.isText(value);
    const decimal = decimalText(value);
    if (decimal !== null) return this.isNumber(decimal);
    if (Array.isArray(value)) return value.some((element) => this.standsIn(element));
    if (typeof value !== 'object' || value === null) return false;
    return Object.entries(value).some(([key, entry]) => this.isText(key) || this.standsIn(entry));
  }

  private isText(text: string): boolean {
    return (
      text === this.reference ||
      folded(text) === this.folded ||
      (this.digits !== null && digitsOf(text) === this.digits)
    );
  }

  /** A number may have been through the partner's doubles, which keep 15 digits. */
  private isNumber(decimal: string): boolean {
    return (
      decimal === this.reference ||
      (this.digits !== null && (digitsOf(decimal) === this.digits || Number(decimal) === Number(this.reference.trim())))
    );
  }
}

/** Whether a row says in the agreed way which reference it is about. A row that does not could be about any. */
export function hasReadableReference({
  reference,
  refId,
}: {
  readonly reference?: unknown;
  readonly refId?: unknown;
}): boolean {
  return [reference, refId].some((value) => (decimalText(value)?.trim() ?? '') !== '');
}

function folded(text: string): string {
  // Nearly every text, and a tenth of the time.
  if (/^[\x20-\x7e]*$/.test(text)) return text.toLowerCase().trim();
  // Upper case first: it spells out what lower case alone keeps apart, such as ß and ss.
  return text
    .normalize('NFKC')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKC')
    .replace(/[\p{Default_Ignorable_Code_Point}\p{Cc}]/gu, '')
    .trim();
}

/** One text for equal numbers; null for what is none. */
function digitsOf(text: string): string | null {
  const match = DECIMAL.exec(text.trim());
  if (match === null || !/\d/.test(text)) return null;
  const [, sign = '', whole = '', fraction = '', power = '0'] = match;
  const digits = (whole + fraction).replace(/^0+/, '');
  const kept = digits.replace(/0+$/, '');
  if (kept === '') return '0';
  return `${sign === '-' ? '-' : ''}${kept}e${Number(power) - fraction.length + digits.length - kept.length}`;
}
