import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, IsUUID, Length, Matches } from 'class-validator';
import { check } from '../../http/validation';
import { CLASS_RULES } from '../matching/classes';
import type { RunKind, RunState } from '../run/run';
import { PAGE_ITEMS_DEFAULT, PageLimitField } from './run-fields';

export const RUN_ID = '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11';
const OTHER_ID = '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a22';
const SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
export const RUN_STATES: readonly RunState[] = [
  'queued',
  'ingesting',
  'matching',
  'summarising',
  'sealed',
  'failed',
  'cancelled',
];
export const RUN_KINDS: readonly RunKind[] = ['legacy', 'adhoc', 'scheduled', 'cli'];
export const ITEM_CLASSES: readonly string[] = CLASS_RULES.map((rule) => rule.class);
const nullable = { nullable: true } as const;

/** The 30th of February has the form of a date, and no store takes it. */
function IsCalendarDate(): PropertyDecorator {
  return check(
    'isCalendarDate',
    '$property must be a day of the calendar, such as 2026-11-22',
    (value) =>
      typeof value === 'string' &&
      /^[12]\d{3}-\d\d-\d\d$/.test(value) &&
      !Number.isNaN(Date.parse(value)) &&
      new Date(value).toISOString().startsWith(value),
  );
}

const WINDOW_SCHEMA = {
  type: 'object',
  required: ['from', 'to'],
  properties: {
    from: { type: 'string', format: 'date-time' },
    to: { type: 'string', format: 'date-time', description: 'Exclusive' },
  },
  example: { from: '2026-11-22T05:00:00.000Z', to: '2026-11-23T05:00:00.000Z' },
} as const;

export class RunSource {
  @ApiProperty({ enum: ['rgs', 'operator', 'hub'], example: 'rgs' }) side!: string;
  @ApiProperty({ type: 'integer', example: 12 }) pages!: number;
  @ApiProperty({ type: 'integer', description: 'staged + rejected', example: 59_000 }) rowsSeen!: number;
  @ApiProperty({ type: 'integer', example: 59_000 }) rowsStaged!: number;
  @ApiProperty({
    type: 'integer',
    description: 'Rows that cannot be matched, for example without a correlation id',
    example: 0,
  })
  rowsRejected!: number;
  @ApiProperty({ description: 'Whether the list was read to its end', example: true }) done!: boolean;
}

export class RunProgress {
  @ApiProperty({ type: [RunSource] }) sources!: RunSource[];
  @ApiProperty({
    type: 'integer',
    description: 'Parts of the rows that are matched, at most 32; a small run has one',
    example: 32,
  })
  bucketsDone!: number;
}

export class RunView {
  @ApiProperty({ format: 'uuid', example: RUN_ID }) id!: string;
  @ApiProperty({ enum: RUN_KINDS, example: 'adhoc' }) kind!: RunKind;
  @ApiProperty({ enum: RUN_STATES, example: 'sealed' }) state!: RunState;
  @ApiProperty({ description: 'Code of the RGS', example: 'rgs' }) rgs!: string;
  @ApiProperty({ description: 'Code of the operator', example: 'operator' }) operator!: string;
  @ApiProperty({ type: 'string', ...nullable, example: '2026-11-22' }) businessDate!: string | null;
  @ApiProperty({ ...WINDOW_SCHEMA, required: [...WINDOW_SCHEMA.required], ...nullable, description: 'Null: all time' })
  window!: { from: string; to: string } | null;
  @ApiProperty({ description: 'IANA name', example: 'Europe/Malta' }) zone!: string;
  @ApiProperty({ description: 'Local time at which a business day starts', example: '06:00' }) cutoff!: string;
  @ApiProperty({
    format: 'date-time',
    description: 'The moment that ages refer to',
    example: '2026-11-23T05:20:00.000Z',
  })
  asOf!: string;
  @ApiProperty({ type: 'integer', description: 'Age up to which a missing movement counts as in flight', example: 900 })
  graceSeconds!: number;
  @ApiProperty({ description: 'true: the window had not ended when the run started', example: false })
  provisional!: boolean;
  @ApiProperty({ type: RunProgress }) progress!: RunProgress;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    ...nullable,
    description: 'Items by class and state, rows by side; null until it is sealed',
    example: { broken: 3, inFlight: 1 },
  })
  counts!: Record<string, unknown> | null;
  @ApiProperty({ type: 'integer', ...nullable, description: 'Lines of the report', example: 4 }) itemCount!:
    number | null;
  @ApiProperty({
    type: 'boolean',
    ...nullable,
    description: 'false: no side booked anything in the window ("No activity")',
    example: true,
  })
  activity!: boolean | null;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    ...nullable,
    description: 'Why it failed: `reason` is a stable code, `side` the list that caused it',
    example: null,
  })
  error!: Record<string, unknown> | null;
  @ApiProperty({ example: 'finance:1f0c2a44' }) createdBy!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-23T05:20:00.000Z' }) createdAt!: string;
  @ApiProperty({ type: 'string', format: 'date-time', ...nullable, example: '2026-11-23T05:20:00.100Z' }) startedAt!:
    string | null;
  @ApiProperty({ type: 'string', format: 'date-time', ...nullable, example: '2026-11-23T05:20:12.000Z' }) finishedAt!:
    string | null;
}

export class RunPage {
  @ApiProperty({ type: [RunView] }) items!: RunView[];
  @ApiProperty({ type: 'string', format: 'uuid', ...nullable, description: 'Null on the last page', example: null })
  nextCursor!: string | null;
}

class PageQuery {
  @PageLimitField()
  limit: number = PAGE_ITEMS_DEFAULT;
}

export class RunQuery extends PageQuery {
  @ApiPropertyOptional({ enum: RUN_STATES, description: 'Only runs in this state' })
  @IsOptional()
  @IsIn(RUN_STATES)
  state?: RunState;

  @ApiPropertyOptional({ enum: RUN_KINDS, description: 'Only runs with this trigger' })
  @IsOptional()
  @IsIn(RUN_KINDS)
  kind?: RunKind;

  @ApiPropertyOptional({ format: 'date', description: 'Only runs of this business date', example: '2026-11-22' })
  @IsOptional()
  @IsCalendarDate()
  businessDate?: string;

  @ApiPropertyOptional({ format: 'uuid', description: '`nextCursor` of the previous page' })
  @IsOptional()
  @IsUUID()
  cursor?: string;
}

export class ItemQuery extends PageQuery {
  @ApiPropertyOptional({
    enum: [...ITEM_CLASSES],
    description: 'Only items with this class, first or not',
  })
  @IsOptional()
  @IsString()
  @Length(1, 40)
  class?: string;

  @ApiPropertyOptional({
    enum: ['broken', 'in_flight'],
    description: 'Only broken ones, or only those still in flight',
  })
  @IsOptional()
  @IsIn(['broken', 'in_flight'])
  state?: 'broken' | 'in_flight';

  @ApiPropertyOptional({ description: 'Only this currency', example: 'EUR' })
  @IsOptional()
  @IsString()
  @Length(1, 20)
  currency?: string;

  @ApiPropertyOptional({ description: '`nextCursor` of the previous page' })
  @IsOptional()
  @Matches(/^\d{1,18}$/)
  cursor?: string;
}

/** The columns of the report, as NDJSON has them. */
export class ItemPage {
  @ApiProperty({
    type: 'array',
    items: { type: 'object', additionalProperties: true },
    description: 'Fields are the columns of the report',
    example: [
      {
        seq: 1,
        class: 'missing_in_operator',
        state: 'broken',
        refId: 'bet-1001',
        currency: 'EUR',
        amountRgs: '10.00',
        amountOperator: null,
        nextAction: 'requery_operator',
      },
    ],
  })
  items!: object[];
  @ApiProperty({ type: 'string', ...nullable, description: 'Null on the last page', example: null }) nextCursor!:
    string | null;
}

export class SummaryLine {
  @ApiProperty({ type: 'string', ...nullable, example: '2026-11-22' }) businessDate!: string | null;
  @ApiProperty({ example: 'EUR' }) currency!: string;
  @ApiProperty({ example: 'debit' }) direction!: string;
  @ApiProperty({
    description: '`matched`, or the class of the items of these bookings',
    example: 'matched',
  })
  class!: string;
  @ApiProperty({ enum: ['matched', 'broken', 'in_flight'], example: 'matched' }) state!: string;
  @ApiProperty({ enum: ['rgs', 'operator', 'hub'], example: 'rgs' }) side!: string;
  @ApiProperty({ type: 'integer', example: 1200 }) count!: number;
  @ApiProperty({ description: 'Major units', example: '12000.00' }) total!: string;
}

export class RunSummary {
  @ApiProperty({ format: 'uuid', example: RUN_ID }) runId!: string;
  @ApiProperty({ description: 'false: no side booked anything in the window', example: true }) activity!: boolean;
  @ApiProperty({ type: [SummaryLine] }) lines!: SummaryLine[];
}

export class BridgeStepView {
  @ApiProperty({ example: 'missing_in_operator' }) class!: string;
  @ApiProperty({ description: 'Major units', example: '-10.00' }) difference!: string;
}

export class BridgeLineView {
  @ApiProperty({ type: 'string', ...nullable, example: '2026-11-22' }) businessDate!: string | null;
  @ApiProperty({ example: 'EUR' }) currency!: string;
  @ApiProperty({ example: 'debit' }) direction!: string;
  @ApiProperty({ enum: ['rgs', 'hub'], example: 'rgs' }) from!: string;
  @ApiProperty({ enum: ['rgs', 'operator'], example: 'operator' }) to!: string;
  @ApiProperty({ description: 'Major units', example: '12010.00' }) fromTotal!: string;
  @ApiProperty({ type: [BridgeStepView], description: 'The difference that the items of each class make' })
  steps!: BridgeStepView[];
  @ApiProperty({ example: '12000.00' }) toTotal!: string;
  @ApiProperty({ description: 'fromTotal + steps - toTotal: zero', example: '0.00' }) unexplained!: string;
}

export class RunBridge {
  @ApiProperty({ format: 'uuid', example: RUN_ID }) runId!: string;
  @ApiProperty({ description: 'Whether no line has an unexplained difference', example: true }) balanced!: boolean;
  @ApiProperty({ type: [BridgeLineView] }) lines!: BridgeLineView[];
}

export class SignedManifestView {
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'Format recon-manifest/1; fields in docs/reconciliation.md',
    example: {
      format: 'recon-manifest/1',
      sequence: 1,
      previousManifestSha256: null,
      report: { version: 1, mediaType: 'text/csv', rows: 0, bytes: 400, sha256: SHA256 },
    },
  })
  manifest!: object;
  @ApiProperty({
    description: 'Hex SHA-256 of the manifest as canonical JSON (RFC 8785); the next manifest names it',
    example: SHA256,
  })
  sha256!: string;
  @ApiProperty({
    description: 'Base64 Ed25519 over the same bytes',
    example: 'hBpJkNcpy04b8nGN5TTjJw0jDq0pUz7v3v0b3W3T0y0mWcYc0lA5b8X3zjB8X1x5Zk7y6k0v5l0p3c1m7b9wDA==',
  })
  signature!: string;
  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'With ?file=: digest and length of that file, signed by the same key',
    example: {
      statement: { format: 'recon-file/1', manifestSha256: SHA256, form: 'xlsx', bytes: 6400, sha256: SHA256 },
      signature: 'hBpJkNcpy04b…',
    },
  })
  file?: object;
}

export class DiffLine {
  @ApiProperty({
    enum: ['new', 'cleared', 'still_open', 'out_of_window'],
    description: 'out_of_window: the later run does not cover it',
    example: 'cleared',
  })
  change!: string;
  @ApiProperty({ example: 'missing_in_rgs' }) class!: string;
  @ApiProperty({ type: 'string', ...nullable, example: 'bet-1001' }) refId!: string | null;
  @ApiProperty({ type: 'string', ...nullable, example: OTHER_ID }) correlationId!: string | null;
  @ApiProperty({ type: 'string', ...nullable, example: 'EUR' }) currency!: string | null;
  @ApiProperty({ type: 'string', ...nullable, description: 'Its line in the earlier run', example: '1' }) seqBefore!:
    string | null;
  @ApiProperty({ type: 'string', ...nullable, description: 'Its line in the later run', example: null }) seqAfter!:
    string | null;
}

export class DiffCounts {
  @ApiProperty({ type: 'integer', example: 0 }) new!: number;
  @ApiProperty({ type: 'integer', example: 1 }) cleared!: number;
  @ApiProperty({ type: 'integer', example: 2 }) stillOpen!: number;
  @ApiProperty({ type: 'integer', example: 0 }) outOfWindow!: number;
}

export class RunDiff {
  @ApiProperty({ format: 'uuid', example: RUN_ID }) before!: string;
  @ApiProperty({ format: 'uuid', example: OTHER_ID }) after!: string;
  @ApiProperty({ type: DiffCounts }) counts!: DiffCounts;
  @ApiProperty({ type: [DiffLine] }) items!: DiffLine[];
  @ApiProperty({ type: 'string', ...nullable, description: 'Null on the last page', example: null }) nextCursor!:
    string | null;
}

export class DiffQuery extends PageQuery {
  @ApiPropertyOptional({ description: '`nextCursor` of the previous page' })
  @IsOptional()
  @Matches(/^[0-9a-f-]{36}:[a-z_]{1,40}$/)
  cursor?: string;
}

export class ReportQuery {
  @ApiPropertyOptional({
    enum: ['1'],
    default: '1',
    description: 'Version of the columns; columns are only added at the end',
  })
  @IsOptional()
  @IsIn(['1'])
  v = '1' as const;

  @ApiPropertyOptional({ enum: ['0', '1'], default: '0', description: 'CSV: a byte order mark in front, for Excel' })
  @IsOptional()
  @IsIn(['0', '1'])
  bom: '0' | '1' = '0';

  @ApiPropertyOptional({
    enum: ['comma', 'semicolon', 'tab', 'pipe'],
    default: 'comma',
    description: 'CSV: separator of cells',
  })
  @IsOptional()
  @IsIn(['comma', 'semicolon', 'tab', 'pipe'])
  sep: 'comma' | 'semicolon' | 'tab' | 'pipe' = 'comma';

  @ApiPropertyOptional({
    enum: ['0', '1'],
    default: '0',
    description: 'CSV: cells without escaping of formulas, for programs',
  })
  @IsOptional()
  @IsIn(['0', '1'])
  raw: '0' | '1' = '0';
}

export class ManifestQuery extends ReportQuery {
  @ApiPropertyOptional({
    enum: ['csv', 'ndjson', 'xlsx'],
    description:
      'Also sign the digest of this file, in the form that bom, sep and raw name. Without it: of the CSV without options, which is in the manifest itself',
    example: 'xlsx',
  })
  @IsOptional()
  @IsIn(['csv', 'ndjson', 'xlsx'])
  file?: 'csv' | 'ndjson' | 'xlsx';
}
