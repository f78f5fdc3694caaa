import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import Papa from 'papaparse';
import { type CsvOptions, csvHeader, csvLines, ndjsonLines } from '../../src/reconciliation/reports/report-csv';
import {
  REPORT_COLUMNS_V1,
  type ReportFrame,
  type ReportItem,
  maskedPlayerId,
  rowMaker,
} from '../../src/reconciliation/reports/report-columns';
import { reportItem } from '../support/recon/report-items';

const FRAME: ReportFrame = { zone: 'Europe/Malta', asOf: new Date('2026-11-23T05:00:00Z'), exponents: {} };
const NAMES = REPORT_COLUMNS_V1.map(({ name }) => name);
const NUMERIC = new Set<string>(REPORT_COLUMNS_V1.filter(({ kind }) => kind === 'number').map(({ name }) => name));
const SEPARATORS = [',', ';', '\t', '|'] as const;
const options = fc.record<CsvOptions>({ bom: fc.boolean(), sep: fc.constantFrom(...SEPARATORS), raw: fc.boolean() });

const fileOf = (items: readonly ReportItem[], how: CsvOptions) =>
  csvHeader(how) + csvLines(items.map(rowMaker(FRAME)), how);
/** What a cell holds before any guard, as text. */
const plain = (value: string | boolean | null) =>
  value === null ? '' : typeof value === 'boolean' ? (value ? 'True' : 'False') : value;
const wanted = (items: readonly ReportItem[]) =>
  items.map(rowMaker(FRAME)).map((row) => NAMES.map((name) => plain(row[name])));

/** RFC 4180 read letter by letter, by nobody's library. */
function lettersOf(text: string, sep: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = '';
  let at = 0;
  while (at < text.length) {
    if (text[at] === '"') {
      for (at += 1; at < text.length && !(text[at] === '"' && text[at + 1] !== '"'); at += 1) {
        if (text[at] === '"') at += 1;
        cell += text[at];
      }
      at += 1;
    } else {
      while (at < text.length && text[at] !== sep && text[at] !== '\r') {
        if (text[at] === '"' || text[at] === '\n') throw new Error(`a bare ${JSON.stringify(text[at])} at ${at}`);
        cell += text[at];
        at += 1;
      }
    }
    row.push(cell);
    cell = '';
    if (text[at] === sep) {
      at += 1;
      continue;
    }
    if (text.slice(at, at + 2) !== '\r\n') throw new Error(`no CRLF at ${at}`);
    at += 2;
    rows.push(row);
    row = [];
  }
  if (row.length > 0) throw new Error('the last line has no end');
  return rows;
}

/** Raw, or an apostrophe and raw where the cell would begin a formula. */
function expectCells(read: string[][], items: readonly ReportItem[], how: CsvOptions): void {
  expect(read[0]).toEqual(NAMES);
  const rows = wanted(items);
  expect(read).toHaveLength(rows.length + 1);
  for (const [line, cells] of rows.entries()) {
    for (const [index, cell] of cells.entries()) {
      const name = NAMES[index]!;
      const found = read[line + 1]![index]!;
      const dangerous =
        /^[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]/.test(cell) && !(NUMERIC.has(name) && /^-?[\d.]+$/.test(cell));
      const right = dangerous && !how.raw ? `'${cell}` : cell;
      if (found !== right) expect({ name, found }).toEqual({ name, found: right });
    }
  }
}

describe('the CSV report', () => {
  it('is read back cell by cell by three parsers of different makes, whatever partners wrote', () => {
    fc.assert(
      fc.property(fc.array(reportItem, { maxLength: 6 }), options, (items, how) => {
        const text = fileOf(items, how);
        expect(text.startsWith('\ufeff')).toBe(how.bom);
        const body = how.bom ? text.slice(1) : text;
        expectCells(lettersOf(body, how.sep), items, how);
        expectCells(parse(text, { delimiter: how.sep, bom: true, record_delimiter: '\r\n' }), items, how);
        expectCells(
          Papa.parse<string[]>(`${body}`, { delimiter: how.sep, newline: '\r\n', skipEmptyLines: 'greedy' }).data,
          items,
          how,
        );
      }),
      { numRuns: 300 },
    );
  });

  it('has no cell that a spreadsheet would run, and numbers that stay numbers', () => {
    fc.assert(
      fc.property(reportItem, (item) => {
        const [, cells = []] = lettersOf(fileOf([item], { bom: false, sep: ',', raw: false }), ',');
        for (const [index, cell] of cells.entries()) {
          if (NUMERIC.has(NAMES[index]!)) expect(cell).toMatch(/^(-?\d+(\.\d+)?)?$/);
          else expect(cell).not.toMatch(/^[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]/);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('does not depend on how the items come in pages', () => {
    fc.assert(
      fc.property(fc.array(reportItem, { maxLength: 12 }), fc.integer({ min: 1, max: 12 }), (items, size) => {
        const how: CsvOptions = { bom: false, sep: ',', raw: false };
        const make = rowMaker(FRAME);
        let text = csvHeader(how);
        for (let at = 0; at < items.length; at += size) text += csvLines(items.slice(at, at + size).map(make), how);
        expect(text).toBe(fileOf(items, how));
      }),
      { numRuns: 100 },
    );
  });

  it('reads a cell of 64 KiB with quotes and line ends back', () => {
    const reason = '"\r\n,=x'.repeat(11_000);
    const item = { ...fc.sample(reportItem, { numRuns: 1, seed: 1 })[0]!, reason };
    const [, cells] = parse(fileOf([item], { bom: false, sep: ',', raw: false }));
    expect(cells![NAMES.indexOf('reason')]).toBe(reason);
  });

  it('keeps the columns of version 1 in their order', () => {
    expect(csvHeader({ bom: false, sep: ',', raw: false })).toBe(
      'runId,seq,businessDate,anchorAt,refId,correlationId,playerId,class,allClasses,state,reason,direction,currency,amountRgs,amountOperator,amountHub,difference,statusRgs,statusOperator,statusHub,countRgs,countOperator,countHub,inRGS,inOperator,inHub,ageSeconds,firstSeenRun,exceptionId,exceptionState,outboxId,nextAction,leg,severity,linkedCorrelationId\r\n',
    );
  });
});

describe('a row', () => {
  const item: ReportItem = {
    runId: '0193-run',
    seq: '1',
    businessDate: '2026-11-22',
    anchorAt: new Date('2026-11-22T23:30:00.123Z'),
    refId: 'ref-1',
    correlationId: 'corr-1',
    playerId: 'player-17',
    classes: ['amount', 'status'],
    state: 'broken',
    reason: 'amount rgs=1000 operator=1999',
    direction: 'debit',
    currency: 'EUR',
    amountRgs: 1000n,
    amountOperator: 1999n,
    amountHub: null,
    difference: 999n,
    statusRgs: 'OK',
    statusOperator: 'OK',
    statusHub: null,
    countRgs: 1,
    countOperator: 1,
    countHub: 0,
    firstSeenRun: null,
    exceptionId: '7',
    exceptionState: 'open',
    outboxId: null,
    nextAction: 'investigate',
    leg: 'movement',
    severity: 'high',
    linkedCorrelationId: null,
  };
  it('has amounts in major units with the decimals of the currency, times of the zone, ages to the whole second, and no player by name', () => {
    expect(rowMaker(FRAME)(item)).toMatchObject({
      anchorAt: '2026-11-23T00:30:00.123+01:00',
      amountRgs: '10.00',
      amountOperator: '19.99',
      amountHub: null,
      difference: '9.99',
      playerId: 'pl****17',
      class: 'amount',
      allClasses: 'amount status',
      ageSeconds: '19799',
      inRGS: true,
      inHub: false,
      nextAction: 'investigate',
    });
    expect(rowMaker(FRAME)({ ...item, currency: 'JPY' })).toMatchObject({ amountRgs: '1000' });
    expect(rowMaker(FRAME)({ ...item, currency: 'KWD', difference: -1n })).toMatchObject({
      amountRgs: '1.000',
      difference: '-0.001',
    });
    expect(rowMaker(FRAME)({ ...item, currency: 'EUR/USD' })).toMatchObject({ amountRgs: '10.00' });
    expect(rowMaker(FRAME)({ ...item, currency: 'JPY/USD' })).toMatchObject({ amountRgs: null, amountOperator: null });
    expect(rowMaker({ ...FRAME, exponents: { KWD: 2 } })({ ...item, currency: 'KWD' })).toMatchObject({
      amountRgs: '10.00',
    });
  });

  it.each([
    ['', '****'],
    ['p-1', '****'],
    ['12345', '****'],
    ['player-1', 'pl****-1'],
    ['😀😀😀😀😀😀', '😀😀****😀😀'],
  ])('masks the player %p as %p', (playerId, masked) => expect(maskedPlayerId(playerId)).toBe(masked));
});

it('NDJSON holds the same rows, a JSON object per line, amounts as text and counts as numbers', () => {
  fc.assert(
    fc.property(fc.array(reportItem, { maxLength: 4 }), (items) => {
      const rows = items.map(rowMaker(FRAME));
      const lines = ndjsonLines(rows).split('\n');
      expect(lines.pop()).toBe('');
      expect(lines).toHaveLength(rows.length);
      for (const [index, line] of lines.entries()) {
        const read = JSON.parse(line) as Record<string, unknown>;
        const row = rows[index]!;
        expect(Object.keys(read)).toEqual(NAMES);
        expect(read).toMatchObject({
          refId: row.refId,
          amountRgs: row.amountRgs,
          inRGS: row.inRGS,
          seq: Number(row.seq),
          countHub: Number(row.countHub),
          allClasses: items[index]!.classes,
          ageSeconds: row.ageSeconds === null ? null : Number(row.ageSeconds),
        });
      }
    }),
    { numRuns: 100 },
  );
});
