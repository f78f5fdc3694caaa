import { stringify } from 'csv-stringify/sync';
import { type Column, REPORT_COLUMNS_V1, type ReportRow } from './report-columns';

export interface CsvOptions {
  /** A byte order mark in front, without which Excel takes UTF-8 for the machine's own code page. */
  readonly bom: boolean;
  readonly sep: ',' | ';' | '\t' | '|';
  /** Cells as they are, without the formula guard: for machines, never for a spreadsheet. */
  readonly raw: boolean;
}

/** The form that the manifest's digest is of. */
export const CSV_DEFAULTS: CsvOptions = { bom: false, sep: ',', raw: false };

/** What spreadsheets take for the beginning of a formula, full-width forms included, and what they skip before they look for one. */
const FORMULA = /^[=+\-@\t\r\n\u0000\uff1d\uff0b\uff0d\uff20]/;

/** A spreadsheet runs a cell that begins like a formula, and ids are chosen by outsiders. */
export function guarded(text: string): string {
  return FORMULA.test(text) ? `'${text}` : text;
}

/** One cell as text. Flags are True and False, as in the legacy hub's file. */
export function csvCell(value: string | boolean | null, { kind }: Column, raw: boolean): string {
  if (value === null) return '';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  // Whatever came into a numeric column, only a number is let through unguarded.
  return raw || (kind === 'number' && /^-?\d+(\.\d+)?$/.test(value)) ? value : guarded(value);
}

export function csvHeader({ bom, sep }: CsvOptions): string {
  return (bom ? '\ufeff' : '') + records([REPORT_COLUMNS_V1.map(({ name }) => name)], sep);
}

/** Lines of RFC 4180, each with its CRLF. A page at a time, so that nothing is held but the page. */
export function csvLines(rows: readonly ReportRow[], { sep, raw }: CsvOptions): string {
  return records(
    rows.map((row) => REPORT_COLUMNS_V1.map((column) => csvCell(row[column.name], column, raw))),
    sep,
  );
}

function records(cells: string[][], sep: string): string {
  return cells.length === 0
    ? ''
    : stringify(cells, { delimiter: sep, record_delimiter: '\r\n', quoted_match: /[\r\n]/ });
}

/** A row with the same names as the CSV's columns. Amounts stay text: most JSON readers would make floats of them. */
export function ndjsonObject(row: ReportRow): Record<string, unknown> {
  return Object.fromEntries(REPORT_COLUMNS_V1.map(({ name }) => [name, jsonValue(row[name], name)]));
}

/** One JSON object per line. */
export function ndjsonLines(rows: readonly ReportRow[]): string {
  return rows.map((row) => `${JSON.stringify(ndjsonObject(row))}\n`).join('');
}

const COUNTS: ReadonlySet<string> = new Set(['seq', 'countRgs', 'countOperator', 'countHub', 'ageSeconds']);

function jsonValue(value: string | boolean | null, name: string): string | boolean | number | null | string[] {
  if (typeof value !== 'string') return value;
  if (name === 'allClasses') return value.split(' ');
  return COUNTS.has(name) ? Number(value) : value;
}
