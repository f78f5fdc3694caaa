import { FLAG, SOURCE, currencyOf, hasStatus, packAttributes, packCurrency } from '../../src/reconciliation/run/codes';
import type { RowStatus } from '../../src/reconciliation/sources/source';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';

/** The numbers of run/codes.ts, as src/database/functions/recon reads and writes them. */
describe('a code', () => {
  let database: TestDatabase;
  beforeAll(async () => (database = await testDatabase()));
  afterAll(() => database.drop());

  const one = async (expression: string, parameters: unknown[]): Promise<unknown> =>
    (await database.query(`select ${expression} as value`, parameters)).map((row: any) => row.value)[0];

  it.each(Object.entries(SOURCE))('of the source %s is read as that source and no other', async (name, code) => {
    const read = await database.query(
      `select recon.has_rgs($1::smallint) as rgs, recon.has_operator($1::smallint) as operator,
         recon.has_hub($1::smallint) as hub, recon.is_implied($1::smallint) as implied,
         recon.is_foreign($1::smallint) as "foreign"`,
      [code],
    );
    expect(read).toEqual([Object.fromEntries(Object.keys(SOURCE).map((source) => [source, source === name]))]);
  });

  it('of a source is written by the hub and for the sides', async () => {
    expect(await one('recon.hub_source(true)', [])).toBe(SOURCE.hub);
    expect(await one('recon.hub_source(false)', [])).toBe(SOURCE.foreign);
    expect(await one('recon.sides(true, false, false)', [])).toBe(SOURCE.rgs);
    expect(await one('recon.sides(false, true, false)', [])).toBe(SOURCE.operator);
    expect(await one('recon.sides(true, true, true)', [])).toBe(SOURCE.rgs | SOURCE.operator | SOURCE.hub);
  });

  it.each(
    (['unknown', 'pending', 'settled', 'refused'] as const satisfies RowStatus[]).flatMap((status) =>
      ([null, 'debit', 'credit'] as const).flatMap((direction) =>
        ['EUR', 'A', 'ZZZZZZZZ', 'eur'].map((currency) => ({ status, direction, currency })),
      ),
    ),
  )('of $direction, $status and $currency is the same on both sides', async ({ status, direction, currency }) => {
    const attributes = packAttributes(packCurrency(currency), direction, status);
    const word = direction ?? 'unknown';
    expect(
      await database.query(
        `select recon.pack_attributes(recon.pack_currency($2), $3, $4)::text as packed, recon.status_of($1) as status,
           recon.direction_of($1) as direction, recon.is_refused($1) as "isRefused"`,
        [attributes, currency, word, status],
      ),
    ).toEqual([{ packed: String(attributes), status, direction: word, isRefused: status === 'refused' }]);
    expect(hasStatus(attributes, status)).toBe(true);
    expect(currencyOf(attributes)).toBe(currency === 'eur' ? '' : currency);
  });

  it('of what is odd is read and written', async () => {
    const read = async (flags: number) =>
      (
        await database.query(
          `select recon.has_unknown_status($1::smallint) as status, recon.has_unknown_direction($1::smallint) as direction,
             recon.is_looked_up($1::smallint) as "lookedUp"`,
          [flags],
        )
      )[0];
    expect(await read(FLAG.unknownStatus)).toEqual({ status: true, direction: false, lookedUp: false });
    expect(await read(FLAG.unknownDirection)).toEqual({ status: false, direction: true, lookedUp: false });
    expect(await read(FLAG.lookedUp)).toEqual({ status: false, direction: false, lookedUp: true });
    expect(await read(FLAG.oddCurrency)).toEqual({ status: false, direction: false, lookedUp: false });
    expect(await one('recon.pack_flags(true, true, true)', [])).toBe(
      FLAG.unknownStatus | FLAG.oddCurrency | FLAG.lookedUp,
    );
    expect(await one('recon.pack_flags(false, true, false)', [])).toBe(FLAG.oddCurrency);
  });
});
