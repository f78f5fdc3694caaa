import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import Papa from 'papaparse';
import { LegacyFile } from '../../src/reconciliation/legacy/legacy-file';
import type { LegacyFileStore, LegacyLine } from '../../src/reconciliation/legacy/legacy-file.store';
import { nastyText } from '../support/recon/report-items';

const HEADING = ['refId', 'correlationId', 'direction', 'amount', 'inRGS', 'inOperator'];
const line: fc.Arbitrary<LegacyLine> = fc.record({
  refId: nastyText,
  correlationId: nastyText,
  direction: nastyText,
  amount: fc.oneof(
    fc
      .tuple(fc.bigInt({ min: -(10n ** 12n), max: 10n ** 12n }), fc.integer({ min: 0, max: 99 }))
      .map(([whole, cents]) => `${whole}.${String(cents).padStart(2, '0')}`),
    nastyText,
  ),
  inRgs: fc.boolean(),
});

/** The file of these lines, with `gap` items between two of them that are none of its lines. */
async function fileOf(lines: readonly LegacyLine[], gap: number, raw: boolean): Promise<string> {
  const placed = new Map(lines.map((each, index) => [(index + 1) * (gap + 1), each]));
  const store = {
    lastSeq: () => Promise.resolve(lines.length * (gap + 1)),
    lines: (_run: string, after: number, last: number) =>
      Promise.resolve([...placed].filter(([seq]) => seq > after && seq <= last).map(([, each]) => each)),
  };
  let text = '';
  for await (const block of new LegacyFile(store as unknown as LegacyFileStore).blocks('run', raw)) text += block;
  return text;
}

const isFormula = (cell: string): boolean => /^[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]/.test(cell);
const isNumber = (cell: string): boolean => /^-?\d+(\.\d+)?(e[+-]\d+)?$/.test(cell);

describe('the six-column file', () => {
  it('is read back cell by cell by two parsers of other makes, with every formula disarmed and every number a number', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 8 }),
        fc.constantFrom(0, 1, 600),
        fc.boolean(),
        async (lines, gap, raw) => {
          const text = await fileOf(lines, gap, raw);
          const read: string[][] = parse(text, { record_delimiter: '\r\n' });
          expect(
            Papa.parse<string[]>(text, { delimiter: ',', newline: '\r\n', skipEmptyLines: 'greedy' }).data,
          ).toEqual(read);
          expect(read[0]).toEqual(HEADING);
          expect(read).toHaveLength(lines.length + 1);
          for (const [index, { refId, correlationId, direction, amount, inRgs }] of lines.entries()) {
            const cells = read[index + 1]!;
            for (const [column, wanted] of [refId, correlationId, direction].entries())
              expect(cells[column]).toBe(!raw && isFormula(wanted) ? `'${wanted}` : wanted);
            const number = cells[3]!;
            if (/^-?\d+\.\d+$/.test(amount)) {
              expect(isNumber(number)).toBe(true);
              expect(Number(number)).toBe(Number(amount));
            } else if (!raw) expect(isFormula(number) && !isNumber(number)).toBe(false);
            expect(cells.slice(4)).toEqual(inRgs ? ['True', 'False'] : ['False', 'True']);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
