import { protocolWord } from '../../kernel/protocol-word';
import { reversalReference } from '../../partners/operator-wire';
import { undoKey } from '../sources/correlation-key';
import { FLAG, SOURCE, packAttributes, packCurrency } from '../run/codes';
import type { RowSink, Side, StagedRow } from '../sources/source';

/** What Postgres takes as timestamptz and its local day as a date, in every zone: years 2 to 9998. */
const TIME_MS_MIN = Date.parse('0002-01-01T00:00:00Z');
const TIME_MS_MAX = Date.parse('9998-12-31T23:59:59.999Z');
const SECONDS = Array.from({ length: 60 }, (_, second) => String(second).padStart(2, '0'));
const MILLISECONDS = Array.from({ length: 1000 }, (_, ms) => String(ms).padStart(3, '0'));
/** An honest list has a few dozen currencies; each cell of the control totals is in every progress row. */
export const CELLS_MAX = 4_000;

/** Count and sum in minor units per packed attributes. */
export type Totals = Map<number, { n: number; sum: bigint }>;

/** A line is mostly shorter than 400 bytes; a page has 5 000. */
const BUFFER_BYTES = 2 * 1024 * 1024;

/** What the rows of a page come to. */
export interface PageLines {
  /** Lines of a COPY; overwritten by the page after the next. */
  readonly lines: Buffer;
  /** Rows that were added. */
  readonly rows: number;
  /** Rows that stand beside them: see `StageLines.add`. */
  readonly implied: number;
  readonly totals: Totals;
}

/**
 * Rows as the lines of a COPY, with the totals of what they hold. One for a list: its two buffers are used again and again, since a reader
 * that makes megabytes of garbage per page makes a process of hundreds. Two, so that one is in flight to the store while the other is filled.
 */
export class StageLines implements RowSink {
  private buffer: Buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  private other: Buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  private length = 0;
  private rows = 0;
  private implied = 0;
  private totals: Totals = new Map();
  /** Minute of the row before, since 1970, and its text up to the seconds. */
  private minute = NaN;
  private minuteText = '';

  constructor(private readonly side: Side) {}

  restart(): void {
    this.length = 0;
    this.rows = 0;
    this.implied = 0;
    this.totals = new Map();
  }

  add(row: StagedRow): void {
    this.rows += 1;
    // An RGS gets ROLLED_BACK under the name of the debit: it means that the debit is refunded, and that there was one. If the debit was
    // never notified as OK (it was undone before that) this is all that the RGS knows of it.
    if (this.side === 'rgs' && row.movement === 'debit' && protocolWord(row.statusRaw) === 'ROLLED_BACK') {
      this.line(row, SOURCE.rgs, undoKey(row.key), 'credit', reversalReference(row.refId), true, row.at);
      this.line(row, SOURCE.implied, row.key, 'debit', row.refId, false, null);
      this.implied += 1;
      return;
    }
    const isReversal = isReversalRow(row);
    const key = isReversal ? undoKey(row.key) : row.key;
    this.line(row, SOURCE[this.side], key, row.movement, row.refId, isReversal, row.at);
  }

  /** What was added since the page began. */
  take(): PageLines {
    const { length, rows, implied, totals } = this;
    const lines = this.buffer.subarray(0, length);
    [this.buffer, this.other] = [this.other, this.buffer];
    this.restart();
    return { lines, rows, implied, totals };
  }

  private line(
    row: StagedRow,
    source: number,
    key: string,
    movement: StagedRow['movement'],
    refId: string,
    isReversal: boolean,
    at: Date | null,
  ): void {
    const currency = packCurrency(row.currency);
    const attributes = packAttributes(currency, movement, row.status);
    const flags =
      (row.status === 'unknown' ? FLAG.unknownStatus : 0) |
      (movement === null ? FLAG.unknownDirection : 0) |
      (currency === 0 ? FLAG.oddCurrency : 0);
    if (source !== SOURCE.implied) addTo(this.totals, attributes, row.amountMinor);
    const amount = row.amountMinor === null ? '\\N' : row.amountMinor.toString();
    const rowId = row.rowId === null ? '\\N' : escaped(row.rowId);
    this.write(
      `${key}\t${amount}\t${attributes}\t${this.timeText(at)}\t${source}\t${flags}\t${isReversal ? 't' : 'f'}\t` +
        `${escaped(row.currency)}\t${escaped(row.direction)}\t${escaped(row.statusRaw)}\t${escaped(refId)}\t` +
        `${escaped(row.correlationId)}\t${escaped(row.amountRaw)}\t${escaped(row.playerId)}\t${rowId}\n`,
    );
  }

  /** As Date.toISOString, which takes a tenth of a whole reading of lists: rows that follow each other mostly lie in the same minute. */
  private timeText(at: Date | null): string {
    const ms = at?.getTime() ?? NaN;
    if (!(ms >= TIME_MS_MIN && ms <= TIME_MS_MAX)) return '\\N';
    const minute = Math.floor(ms / 60_000);
    if (minute !== this.minute) {
      this.minute = minute;
      this.minuteText = new Date(minute * 60_000).toISOString().slice(0, -'00.000Z'.length);
    }
    const rest = ms - minute * 60_000;
    return `${this.minuteText}${SECONDS[Math.floor(rest / 1000)]}.${MILLISECONDS[rest % 1000]}Z`;
  }

  private write(line: string): void {
    // UTF-8 takes at most three bytes for a unit of UTF-16.
    if (this.length + line.length * 3 > this.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.length + line.length * 3));
      this.buffer.copy(larger, 0, 0, this.length);
      this.buffer = larger;
    }
    this.length += this.buffer.write(line, this.length, 'utf8');
  }
}

export const STAGE_COLUMNS =
  'k, amt, attrs, ts, src, flags, undo, cur, dir_raw, st_raw, ref_id, corr, amt_raw, player, row_id';

function isReversalRow({ movement, direction, refId }: StagedRow): boolean {
  return movement === 'credit' && (refId.startsWith(reversalReference('')) || protocolWord(direction) === 'ROLLBACK');
}

function addTo(totals: Totals, attributes: number, amount: bigint | null): void {
  const cell = totals.get(attributes);
  if (cell === undefined) totals.set(attributes, { n: 1, sum: amount ?? 0n });
  else {
    cell.n += 1;
    if (amount !== null) cell.sum += amount;
  }
}

const SPECIAL = /[\\\t\n\r]/;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** Postgres' text format of COPY; nearly no cell needs it. */
function escaped(cell: string): string {
  return SPECIAL.test(cell) ? cell.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character] ?? character) : cell;
}

/** As the progress keeps them: JSON has no bigint. */
export function totalsToJson(totals: Totals): Record<string, [number, string]> {
  return Object.fromEntries([...totals].map(([attributes, { n, sum }]) => [String(attributes), [n, sum.toString()]]));
}

export function totalsFromJson(json: Readonly<Record<string, readonly [number, string]>>): Totals {
  return new Map(Object.entries(json).map(([attributes, [n, sum]]) => [Number(attributes), { n, sum: BigInt(sum) }]));
}

export function totalsSum(a: Totals, b: Totals): Totals {
  const sum: Totals = new Map([...a].map(([attributes, cell]) => [attributes, { ...cell }]));
  for (const [attributes, cell] of b) {
    const known = sum.get(attributes);
    sum.set(attributes, known === undefined ? { ...cell } : { n: known.n + cell.n, sum: known.sum + cell.sum });
  }
  return sum;
}
