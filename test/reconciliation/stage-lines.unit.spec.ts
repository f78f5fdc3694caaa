import fc from 'fast-check';
import { STAGE_COLUMNS, StageLines } from '../../src/reconciliation/matching/stage-lines';
import type { StagedRow } from '../../src/reconciliation/sources/source';

const row: StagedRow = {
  key: '019a3c7e-1111-7222-8333-0123456789ab',
  correlationId: 'c',
  refId: 'r',
  direction: 'debit',
  movement: 'debit',
  amountMinor: 1n,
  amountRaw: '0.01',
  currency: 'USD',
  status: 'settled',
  statusRaw: 'OK',
  playerId: 'p',
  at: null,
  rowId: null,
};
const COLUMN = STAGE_COLUMNS.split(', ').indexOf('ts');

/** What COPY gets as the times of rows in this order. */
function written(times: readonly (Date | null)[]): (string | undefined)[] {
  const lines = new StageLines('operator');
  for (const at of times) lines.add({ ...row, at });
  return lines
    .take()
    .lines.toString()
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split('\t')[COLUMN]);
}

const near = fc.integer({ min: -120_000, max: 120_000 }).map((ms) => new Date(Date.UTC(2026, 10, 22) + ms));
const anywhere = fc.date({
  min: new Date('0002-01-01T00:00:00.000Z'),
  max: new Date('9998-12-31T23:59:59.999Z'),
  noInvalidDate: true,
});

describe('the time of a row', () => {
  it('is written as the engine writes it, whatever came before it', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(near, anywhere), { minLength: 1, maxLength: 50 }), (times) => {
        expect(written(times)).toEqual(times.map((time) => time.toISOString()));
      }),
    );
  });

  it('is none where there is none, or Postgres has none', () => {
    const before = new Date('0001-12-31T23:59:59.999Z');
    const after = new Date('9999-01-01T00:00:00.000Z');
    const first = new Date('0002-01-01T00:00:00.000Z');
    expect(written([null, before, first, after, new Date(NaN), first])).toEqual([
      '\\N',
      '\\N',
      '0002-01-01T00:00:00.000Z',
      '\\N',
      '\\N',
      '0002-01-01T00:00:00.000Z',
    ]);
  });
});
