import { stringify } from 'lossless-json';
import { currencyExponent } from '../../kernel/money';
import { protocolWord } from '../../kernel/protocol-word';
import { decimalText } from '../../json/exact-json';
import { classOfStatusWord } from '../../partners/operator-wire';
import { type ListAmount, amountFromMajor, amountFromMinor } from '../../partners/lists/list-amounts';
import type { Partner } from '../../partners/partner';
import { correlationKey } from './correlation-key';
import type { RejectedRow, RowStatus, StagedRow } from './source';

/** Longer ids are not the hub's: it takes 128 characters from an RGS and makes UUIDs itself. Such a row is rejected, since a cut id is another id. */
const ID_CHARS_MAX = 1024;
/** Words and names beyond this are cut, with an ellipsis to show it. */
const WORD_CHARS_MAX = 256;
const AMOUNT_CHARS_MAX = 64;
const RAW_CHARS_MAX = 500;
/** ISO 8601 with a zone: a time without one could be any of 26 hours. */
const ZONED_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)$/;

/** As the lists of our own partners write them, and in the form in which words are compared: most rows need one look. */
const MOVEMENTS: ReadonlyMap<string, 'debit' | 'credit'> = new Map(
  (
    [
      ['debit', 'debit'],
      ['withdraw', 'debit'],
      ['credit', 'credit'],
      ['deposit', 'credit'],
      // An operator with a route of its own for repayments may list them under its name.
      ['rollback', 'credit'],
    ] as const
  ).flatMap(([word, movement]) => [
    [word, movement],
    [protocolWord(word), movement],
  ]),
);

/** The RGS repeats the hub's own words. ROLLED_BACK is final, and its row says what became of the bet. */
const RGS_STATUSES: ReadonlyMap<string, RowStatus> = new Map([
  ['OK', 'settled'],
  ['ROLLED_BACK', 'settled'],
  ['REJECTED', 'refused'],
]);
const OPERATOR_STATUSES = { applied: 'settled', accepted: 'pending', rejected_business: 'refused' } as const;

/** Turns the elements of a partner's list into rows to stage. */
export type RowMapper = (element: unknown) => StagedRow | RejectedRow;

export function isRejected(row: StagedRow | RejectedRow): row is RejectedRow {
  return 'reason' in row;
}

export function rowMapper(partner: Partner): RowMapper {
  const statusOf = partner.role === 'rgs' ? rgsStatus : (word: string) => operatorStatus(partner, word);
  const amountOf =
    partner.role === 'rgs'
      ? (row: ListRow, exponent: number) => amountFromMinor(text(row.amountCents), exponent)
      : (row: ListRow, exponent: number) => amountFromMajor(text(row.amount), exponent);
  // Few currencies, many rows.
  const exponents = new Map<string, number>();
  const exponentOf = (currency: string): number => {
    const known = exponents.get(currency);
    if (known !== undefined) return known;
    const exponent = currencyExponent(currency, partner.currencyExponents);
    if (exponents.size < 1_000) exponents.set(currency, exponent);
    return exponent;
  };

  return (element) => {
    if (typeof element !== 'object' || element === null || Array.isArray(element))
      return rejected('not_an_object', element);
    const row = element as ListRow;
    const correlationId = typeof row.correlationId === 'string' ? storable(row.correlationId) : '';
    if (correlationId === '') return rejected('no_key', row);
    const refId = text(row.refId ?? row.reference);
    if (correlationId.length > ID_CHARS_MAX || refId.length > ID_CHARS_MAX) return rejected('too_large', row);
    // Each side has its own first word; today's lists mix them.
    const direction = word(partner.role === 'rgs' ? (row.event ?? row.direction) : (row.direction ?? row.event));
    const currency = word(row.currency);
    const statusRaw = word(row.status);
    const status = statusRaw === '' ? 'settled' : statusOf(statusRaw);
    return new ListedRow(
      row,
      { correlationId, refId },
      direction,
      currency,
      amountOf(row, exponentOf(currency)),
      status,
      statusRaw,
    );
  };
}

/**
 * A class and not an object literal: when V8 collects in the middle of a page, all of its rows so far are alive, and it would conclude that
 * what this literal makes lives long and put all later rows into the old generation. That took a hub from 170 MB to 300, on some days.
 */
class ListedRow implements StagedRow {
  readonly key: string;
  readonly correlationId: string;
  readonly refId: string;
  readonly movement: StagedRow['movement'];
  readonly amountMinor: bigint | null;
  readonly amountRaw: string;
  readonly playerId: string;
  readonly at: Date | null;
  readonly rowId: string | null;

  constructor(
    row: ListRow,
    ids: { readonly correlationId: string; readonly refId: string },
    readonly direction: string,
    readonly currency: string,
    amount: ListAmount,
    readonly status: RowStatus,
    readonly statusRaw: string,
  ) {
    const rowId = word(row.id);
    this.key = correlationKey(ids.correlationId);
    this.correlationId = ids.correlationId;
    this.refId = ids.refId;
    this.movement = MOVEMENTS.get(direction) ?? MOVEMENTS.get(protocolWord(direction)) ?? null;
    this.amountMinor = amount.minor;
    this.amountRaw = cut(amount.raw, AMOUNT_CHARS_MAX);
    this.playerId = word(row.playerId);
    this.at = typeof row.createdAt === 'string' ? timeOf(row.createdAt) : null;
    this.rowId = rowId === '' ? null : rowId;
  }
}

/** What a row may contain; nothing of it is guaranteed. */
interface ListRow {
  readonly id?: unknown;
  readonly correlationId?: unknown;
  readonly refId?: unknown;
  readonly reference?: unknown;
  readonly event?: unknown;
  readonly direction?: unknown;
  readonly amount?: unknown;
  readonly amountCents?: unknown;
  readonly currency?: unknown;
  readonly status?: unknown;
  readonly playerId?: unknown;
  readonly createdAt?: unknown;
}

function rgsStatus(word: string): RowStatus {
  return RGS_STATUSES.get(protocolWord(word)) ?? 'unknown';
}

function operatorStatus(operator: Partner, word: string): RowStatus {
  const outcome = classOfStatusWord(operator, word);
  return outcome === undefined ? 'unknown' : OPERATOR_STATUSES[outcome];
}

function rejected(reason: RejectedRow['reason'], element: unknown): RejectedRow {
  return { reason, raw: storable((stringify(element) ?? '').slice(0, RAW_CHARS_MAX)) };
}

/** A number keeps its digits; what is neither text nor number has no place in a cell. */
function text(value: unknown): string {
  return storable(decimalText(value) ?? '');
}

function word(value: unknown): string {
  return cut(text(value), WORD_CHARS_MAX);
}

/** The store takes neither NUL nor half of a surrogate pair. */
function storable(value: string): string {
  return (value.includes('\u0000') ? value.replaceAll('\u0000', '') : value).toWellFormed();
}

function cut(value: string, charsMax: number): string {
  return value.length <= charsMax ? value : `${value.slice(0, charsMax - 1).toWellFormed()}\u2026`;
}

function timeOf(value: string): Date | null {
  if (!ZONED_TIME.test(value)) return null;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? null : new Date(ms);
}
