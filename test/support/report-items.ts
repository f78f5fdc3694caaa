import fc from 'fast-check';
import type { ReportItem } from '../../src/reconciliation/report-columns';

/** Text as a hostile partner would choose it: formulas, quotes, line ends, byte order marks, right-to-left marks, what looks like an escape. */
const NASTY = ['=cmd|\' /C calc\'!A0', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '\u0000=1', '\uff1d1', '\uff0b1', '\uff0d1', '\uff201', '"', '""', '","', ',', ';', '|', '\r\n', 'a\nb', 'a\rb', ' lead', 'trail ', '\ufeffbom', '\u202eevil', '😀', '_x0041_', '_x005F_', '<&>"\'', '', '0', '-5', '1e3', '0012', 'TRUE', '2026-11-22', '\u0007bell', '\u001b[31m', '\ufffe', '\\', '\\"'];
export const nastyText = fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'grapheme', maxLength: 30 }), fc.string({ unit: 'binary', maxLength: 12 }).map((text) => text.toWellFormed()), fc.tuple(fc.constantFrom(...NASTY), fc.string({ maxLength: 8 })).map((parts) => parts.join('')));

const uuid = fc.uuid();
const count = fc.integer({ min: 0, max: 3 });
const minor = fc.option(fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }));
const optionalText = fc.option(nastyText);

export const reportItem: fc.Arbitrary<ReportItem> = fc.record({
  runId: uuid,
  seq: fc.integer({ min: 1, max: 1_000_000 }).map(String),
  businessDate: fc.option(fc.constantFrom('2026-11-22', '2028-02-29')),
  anchorAt: fc.option(fc.date({ min: new Date('2020-01-01T00:00:00Z'), max: new Date('2030-01-01T00:00:00Z'), noInvalidDate: true })),
  refId: optionalText,
  correlationId: optionalText,
  playerId: optionalText,
  classes: fc.uniqueArray(fc.constantFrom('missing_in_rgs', 'missing_in_operator', 'undelivered', 'missing_in_hub', 'orphan_operator', 'orphan_rgs', 'duplicate', 'correlation_mismatch', 'currency', 'direction', 'amount', 'bad_amount', 'status', 'late', 'bad_data'), { minLength: 1, maxLength: 4 }),
  state: fc.constantFrom('broken' as const, 'in_flight' as const),
  reason: nastyText,
  direction: fc.option(fc.constantFrom('debit', 'credit')),
  currency: fc.option(fc.constantFrom('USD', 'EUR', 'JPY', 'KWD', 'CLF', 'EUR/USD')),
  amountRgs: minor,
  amountOperator: minor,
  amountHub: minor,
  difference: minor,
  statusRgs: optionalText,
  statusOperator: optionalText,
  statusHub: optionalText,
  countRgs: count,
  countOperator: count,
  countHub: count,
  firstSeenRun: fc.option(uuid),
  exceptionId: fc.option(uuid),
  exceptionState: fc.option(fc.constantFrom('open', 'accepted', 'ignored')),
  outboxId: fc.option(uuid),
  nextAction: fc.constantFrom('wait', 'escalate', 'replay_outbox'),
  leg: fc.constantFrom('movement' as const, 'undo' as const),
  severity: fc.constantFrom('critical', 'high', 'low'),
  linkedCorrelationId: optionalText,
});
