import { read } from '@e965/xlsx';
import fc from 'fast-check';
import { buffer } from 'node:stream/consumers';
import type { Column } from '../../src/reconciliation/reports/report-columns';
import { type SheetRow, xlsx } from '../../src/reconciliation/reports/xlsx';
import { nastyText } from '../support/recon/report-items';
import { waitFor } from '../support/wait-for';

const COLUMNS: readonly Column[] = [
  { name: 'id', kind: 'text' },
  { name: 'amount', kind: 'number' },
  { name: 'there', kind: 'flag' },
];

async function* pagesOf(rows: readonly SheetRow[], size = 3): AsyncGenerator<readonly SheetRow[]> {
  for (let at = 0; at < rows.length; at += size) yield await Promise.resolve(rows.slice(at, at + size));
}

async function file(rows: readonly SheetRow[], columns = COLUMNS): Promise<Buffer> {
  return buffer(
    xlsx([
      { name: 'Summary', columns: [{ name: 'what', kind: 'text' }], pages: pagesOf([['nothing']]) },
      { name: 'Items', columns, pages: pagesOf(rows) },
    ]),
  );
}

/** The cells as SheetJS finds them: type and value, formulas if there were any. */
async function cellsOf(rows: readonly SheetRow[]): Promise<Record<string, { t: string; v: unknown; f?: string }>> {
  const { SheetNames, Sheets } = read(await file(rows), { cellFormula: true, cellText: false });
  expect(SheetNames).toEqual(['Summary', 'Items']);
  return Sheets.Items as never;
}

describe('the workbook', () => {
  // The reader shows a line end of two characters as one, as Excel does.
  it('is read back cell by cell by a library of another make: text is text and never a formula, numbers are numbers', async () => {
    const amount = fc.oneof(
      fc.integer().map(String),
      fc
        .tuple(fc.integer({ min: -999_999_999, max: 999_999_999 }), fc.integer({ min: 0, max: 99 }))
        .map(([whole, cents]) => `${whole}.${String(cents).padStart(2, '0')}`),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(nastyText, amount, fc.boolean()), { minLength: 1, maxLength: 8 }),
        async (rows) => {
          const cells = await cellsOf(rows);
          expect([cells.A1!.v, cells.B1!.v, cells.C1!.v]).toEqual(['id', 'amount', 'there']);
          for (const [index, [id, number, there]] of rows.entries()) {
            const line = index + 2;
            if (id === '') expect(cells[`A${line}`]).toBeUndefined();
            else expect(cells[`A${line}`]).toMatchObject({ t: 's', v: id.replaceAll('\r\n', '\n') });
            expect(cells[`A${line}`]?.f).toBeUndefined();
            expect(cells[`B${line}`]).toMatchObject({ t: 'n', v: Number(number) });
            expect(cells[`C${line}`]).toMatchObject({ t: 'b', v: there });
          }
        },
      ),
      { numRuns: 120 },
    );
  });

  it('keeps ids that look like numbers as text, and a number with more digits than Excel has as text', async () => {
    const cells = await cellsOf([
      ['0012', '123456789012345', null],
      ['1e3', '1234567890123456', null],
      ['9999999999999999', '-90071992547409.91', null],
    ]);
    expect([cells.A2, cells.A3, cells.A4]).toMatchObject([
      { t: 's', v: '0012' },
      { t: 's', v: '1e3' },
      { t: 's', v: '9999999999999999' },
    ]);
    expect([cells.B2, cells.B3, cells.B4]).toMatchObject([
      { t: 'n', v: 123456789012345 },
      { t: 's', v: '1234567890123456' },
      { t: 's', v: '-90071992547409.91' },
    ]);
  });

  it('cuts what Excel would call damaged: a cell longer than 32 767 characters', async () => {
    const cells = await cellsOf([
      ['a'.repeat(40_000), null, null],
      [`${'a'.repeat(32_765)}😀😀`, null, null],
    ]);
    expect(cells.A2!.v).toBe(`${'a'.repeat(32_766)}…`);
    expect(cells.A3!.v).toBe(`${'a'.repeat(32_765)}…`);
  });

  it('is the same bytes whenever it is written', async () => {
    const rows: SheetRow[] = Array.from({ length: 50 }, (_, n) => [`ref-${n}`, `${n}.50`, n % 2 === 0]);
    const first = await file(rows);
    jest.useFakeTimers({
      now: new Date('2031-05-05T05:05:05Z'),
      doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'],
    });
    try {
      expect((await file(rows)).equals(first)).toBe(true);
    } finally {
      jest.useRealTimers();
    }
  });

  it('breaks off when a page cannot be read, instead of looking whole', async () => {
    async function* broken(): AsyncGenerator<readonly SheetRow[]> {
      yield await Promise.resolve([['a', '1', true] as SheetRow]);
      throw new Error('the store went away');
    }
    await expect(buffer(xlsx([{ name: 'Items', columns: COLUMNS, pages: broken() }]))).rejects.toThrow(
      'the store went away',
    );
  });

  it('reads no page before its reader asks, and none after the reader left', async () => {
    let pages = 0;
    let closed = false;
    const random = Array.from(
      { length: 400 },
      (_, n) =>
        [
          Buffer.from(`${n * 7919}`.repeat(8))
            .toString('base64')
            .slice(0, 60) + Math.random().toString(36),
          '1',
          true,
        ] as SheetRow,
    );
    async function* many(): AsyncGenerator<readonly SheetRow[]> {
      try {
        for (;;) {
          pages += 1;
          yield await Promise.resolve(random);
        }
      } finally {
        closed = true;
      }
    }
    const output = xlsx([{ name: 'Items', columns: COLUMNS, pages: many() }]);
    let bytes = 0;
    for await (const chunk of output) {
      bytes += (chunk as Buffer).length;
      if (bytes > 100_000) break;
    }
    await waitFor('the sheet is not read any more', () => closed);
    expect(pages).toBeLessThan(60);
  });
});
