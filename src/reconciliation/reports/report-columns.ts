import { currencyExponent, toMajorUnits } from '../../kernel/money';
import { zonedIso } from '../calendar/window';

/** One broken or in-flight key of a sealed run, as the report's columns need it. Amounts are minor units. */
export interface ReportItem {
  readonly runId: string;
  readonly seq: string;
  readonly businessDate: string | null;
  readonly anchorAt: Date | null;
  readonly refId: string | null;
  readonly correlationId: string | null;
  readonly playerId: string | null;
  readonly classes: readonly string[];
  readonly state: 'broken' | 'in_flight';
  readonly reason: string;
  readonly direction: string | null;
  /** Two with a slash between them where the sides differ, and the same for the direction. */
  readonly currency: string | null;
  readonly amountRgs: bigint | null;
  readonly amountOperator: bigint | null;
  readonly amountHub: bigint | null;
  /** What the operator booked less what the RGS booked, all copies counted and a missing side as nothing; null where currencies or directions differ. */
  readonly difference: bigint | null;
  readonly statusRgs: string | null;
  readonly statusOperator: string | null;
  readonly statusHub: string | null;
  readonly countRgs: number;
  readonly countOperator: number;
  readonly countHub: number;
  readonly firstSeenRun: string | null;
  readonly exceptionId: string | null;
  /** As it was when the run was sealed; a report does not change with later actions. */
  readonly exceptionState: string | null;
  readonly outboxId: string | null;
  readonly nextAction: string;
  /** The movement, or its undoing: both have the same correlation id. */
  readonly leg: 'movement' | 'undo';
  readonly severity: string;
  /** The other correlation id of a correlation_mismatch. */
  readonly linkedCorrelationId: string | null;
}

/** What the whole report has in common. */
export interface ReportFrame {
  /** IANA name; times carry its offset. */
  readonly zone: string;
  /** The instant that ages are counted to. */
  readonly asOf: Date;
  /** Decimals by currency where a partner counts other than ISO 4217. */
  readonly exponents: Readonly<Record<string, number>>;
}

export type CellKind = 'text' | 'number' | 'flag';

export interface Column {
  readonly name: string;
  /** Numbers are exempt from the formula guard, since a negative amount begins like a formula and is none. */
  readonly kind: CellKind;
}

/** Version 1 of the report. Columns are only ever added at the end: finance's sheets count them. */
export const REPORT_COLUMNS_V1 = [
  { name: 'runId', kind: 'text' },
  { name: 'seq', kind: 'number' },
  { name: 'businessDate', kind: 'text' },
  { name: 'anchorAt', kind: 'text' },
  { name: 'refId', kind: 'text' },
  { name: 'correlationId', kind: 'text' },
  { name: 'playerId', kind: 'text' },
  { name: 'class', kind: 'text' },
  { name: 'allClasses', kind: 'text' },
  { name: 'state', kind: 'text' },
  { name: 'reason', kind: 'text' },
  { name: 'direction', kind: 'text' },
  { name: 'currency', kind: 'text' },
  { name: 'amountRgs', kind: 'number' },
  { name: 'amountOperator', kind: 'number' },
  { name: 'amountHub', kind: 'number' },
  { name: 'difference', kind: 'number' },
  { name: 'statusRgs', kind: 'text' },
  { name: 'statusOperator', kind: 'text' },
  { name: 'statusHub', kind: 'text' },
  { name: 'countRgs', kind: 'number' },
  { name: 'countOperator', kind: 'number' },
  { name: 'countHub', kind: 'number' },
  { name: 'inRGS', kind: 'flag' },
  { name: 'inOperator', kind: 'flag' },
  { name: 'inHub', kind: 'flag' },
  { name: 'ageSeconds', kind: 'number' },
  { name: 'firstSeenRun', kind: 'text' },
  { name: 'exceptionId', kind: 'text' },
  { name: 'exceptionState', kind: 'text' },
  { name: 'outboxId', kind: 'text' },
  { name: 'nextAction', kind: 'text' },
  { name: 'leg', kind: 'text' },
  { name: 'severity', kind: 'text' },
  { name: 'linkedCorrelationId', kind: 'text' },
] as const satisfies readonly Column[];

export type ColumnName = (typeof REPORT_COLUMNS_V1)[number]['name'];
/** Texts, null where there is nothing, and true or false. A number is a decimal as text, so that no digit is lost. */
export type ReportRow = { readonly [Name in ColumnName]: string | boolean | null };

/** Keeps the two ends, so that players can be distinguished without naming them. */
export function maskedPlayerId(playerId: string): string {
  const letters = [...playerId];
  return letters.length < 6 ? '****' : `${letters.slice(0, 2).join('')}****${letters.slice(-2).join('')}`;
}

/** Turns items into rows. Make one for each report: it remembers the zone's offset from row to row. */
export function rowMaker({ zone, asOf, exponents }: ReportFrame): (item: ReportItem) => ReportRow {
  const at = zonedIso(zone);
  return (item) => {
    const exponent = commonExponent(item.currency ?? '', exponents);
    const major = (minor: bigint | null) =>
      minor === null || exponent === null ? null : toMajorUnits(minor, exponent);
    return {
      runId: item.runId,
      seq: item.seq,
      businessDate: item.businessDate,
      anchorAt: item.anchorAt === null ? null : at(item.anchorAt),
      refId: item.refId,
      correlationId: item.correlationId,
      playerId: item.playerId === null ? null : maskedPlayerId(item.playerId),
      class: item.classes[0] ?? null,
      allClasses: item.classes.join(' '),
      state: item.state,
      reason: item.reason,
      direction: item.direction,
      currency: item.currency,
      amountRgs: major(item.amountRgs),
      amountOperator: major(item.amountOperator),
      amountHub: major(item.amountHub),
      difference: major(item.difference),
      statusRgs: item.statusRgs,
      statusOperator: item.statusOperator,
      statusHub: item.statusHub,
      countRgs: String(item.countRgs),
      countOperator: String(item.countOperator),
      countHub: String(item.countHub),
      inRGS: item.countRgs > 0,
      inOperator: item.countOperator > 0,
      inHub: item.countHub > 0,
      ageSeconds: item.anchorAt === null ? null : String(Math.floor((asOf.getTime() - item.anchorAt.getTime()) / 1000)),
      firstSeenRun: item.firstSeenRun,
      exceptionId: item.exceptionId,
      exceptionState: item.exceptionState,
      outboxId: item.outboxId,
      nextAction: item.nextAction,
      leg: item.leg,
      severity: item.severity,
      linkedCorrelationId: item.linkedCorrelationId,
    };
  };
}

/** Null for currencies of different decimals: which side counts in which is not known here, and a wrong point is worse than an empty cell. The reason has both. */
function commonExponent(currencies: string, exponents: Readonly<Record<string, number>>): number | null {
  const [first = 2, ...others] = new Set(
    currencies.split('/').map((currency) => currencyExponent(currency, exponents)),
  );
  return others.length === 0 ? first : null;
}
