import fc from 'fast-check';
import { PLANTED, factsOf, question, world } from '../support/recon/facts';
import { type ReconLab, openLab, requestFor } from '../support/recon/lab';

const RUN_ID = '019a3c7e-0000-7000-8000-000000000001';

/**
 * What goes wrong between reading a list and signing for it, as a trigger on a table of the run: `new` is a row as it
 * is written.
 */
const FAULTS = [
  {
    what: 'an amount is staged other than it was read',
    table: 'stage_0',
    when: 'new.src in (1, 2) and new.amt is not null',
    then: 'new.amt := new.amt + 1',
  },
  {
    what: 'an amount is not staged at all',
    table: 'stage_0',
    when: 'new.src in (1, 2) and new.amt is not null',
    then: 'new.amt := null',
  },
  {
    what: 'a status is staged other than it was read',
    table: 'stage_0',
    when: 'new.src in (1, 2)',
    then: 'new.attrs := new.attrs # 1',
  },
  {
    what: 'a currency is staged other than it was read',
    table: 'stage_0',
    when: 'new.src in (1, 2)',
    then: 'new.attrs := new.attrs + 16',
  },
  {
    what: 'an amount of the hub is copied wrongly',
    table: 'stage_0',
    when: 'new.src = 4',
    then: 'new.amt := new.amt - 1',
  },
  // Each time that it is read: once would be taken for a crash of the database, and mended by reading anew.
  {
    what: 'rows are moved to the other side',
    table: 'stage_0',
    when: 'new.src = 1',
    then: 'new.src := 2',
    always: true,
  },
  { what: 'rows are lost', table: 'stage_0', when: 'new.src = 2', then: 'return null', always: true },
  { what: 'a key is named broken and then forgotten', table: 'broken_0', when: 'true', then: 'return null' },
  {
    what: 'a key is named broken twice',
    table: 'broken_0',
    when: 'pg_trigger_depth() = 1',
    then: 'insert into recon.broken_0 values (new.k)',
  },
  { what: 'more is taken for matched than there is', table: 'matched_0', when: 'true', then: 'new.n := new.n + 1' },
  {
    what: 'the sum of what matched is off by one',
    table: 'matched_0',
    when: 'true',
    then: 'new.sum_minor := new.sum_minor - 1',
  },
  {
    what: 'what matched is counted under another direction',
    table: 'matched_0',
    when: 'true',
    then: 'new.attrs := new.attrs # 12',
  },
  { what: 'what matched is forgotten', table: 'matched_0', when: 'true', then: 'return null' },
  {
    what: 'what two sides refused is counted for the third as well',
    table: 'matched_0',
    when: 'new.mask <> 7',
    then: 'new.mask := 7',
  },
  {
    what: 'a total of what matched is written down other than it is',
    table: 'summary',
    when: `new.class = 'matched'`,
    then: 'new.sum_minor := new.sum_minor + 1',
  },
] satisfies readonly Fault[];

interface Fault {
  readonly what: string;
  readonly table: string;
  readonly when: string;
  readonly then: string;
  readonly always?: boolean;
}

describe('a run whose totals do not add up is not sealed, gives no file and opens no exception, where', () => {
  let lab: ReconLab;
  beforeAll(async () => {
    lab = await openLab();
    await lab.tamper('create sequence written');
  });
  afterAll(() => lab.discard());

  /** Does its evil to the nth row that fits. */
  const tampered = async <T>(
    { table, when, then, always = false }: Omit<Fault, 'what'>,
    nth: number,
    work: () => Promise<T>,
  ): Promise<T> => {
    await lab.tamper('alter sequence written restart');
    await lab.tamper(
      `create function tamper() returns trigger language plpgsql security definer as $$ begin if ${when} then if ${always ? 'true' : `nextval('written') = ${nth}`} then ${then}; end if; end if; return new; end $$`,
    );
    await lab.tamper(`create trigger tamper before insert on recon.${table} for each row execute function tamper()`);
    return work().finally(() => lab.tamper('drop function tamper cascade'));
  };

  it.each<Fault>(FAULTS)('$what', async (fault) => {
    await fc.assert(
      fc.asyncProperty(
        world,
        question,
        fc.integer({ min: 1, max: 4 }),
        async (random, { begin, question: asked }, nth) => {
          await lab.plant(factsOf([PLANTED, random], begin));
          const request = { ...requestFor({ ...asked, window: null }), allowPartial: true, dryRun: false };
          const run = await tampered(fault, fault.table === 'matched_0' || fault.table === 'summary' ? 1 : nth, () =>
            lab.run(request),
          );
          expect(run).toMatchObject({
            state: 'failed',
            error: {
              reason: 'bridge_not_zero',
              side: null,
              message: expect.stringMatching(/^the totals do not add up: /),
            },
            counts: null,
            itemCount: null,
            csvSha256: null,
            slot: null,
          });
          expect(await lab.items(run.id)).toEqual([]);
          expect(
            await lab.database.rows(
              'select 1 from recon.exception union all select 1 from recon.summary union all select 1 from recon.stage_0',
            ),
          ).toEqual([]);
          // It was the tampering: the same books seal.
          expect(await lab.run(request)).toMatchObject({ state: 'sealed', error: null });
        },
      ),
      { numRuns: 1 },
    );
  });
});

it('staged rows that a crash of the database took are read anew, and nothing tells from the file', async () => {
  const lab = await openLab();
  await lab.plant(factsOf([PLANTED], Date.parse('2026-11-22T00:00:00Z')));
  const wanted = await lab.report(await lab.run({ asOf: new Date('2026-11-23T00:00:00Z') }, {}, RUN_ID));
  await lab.forget();
  // While the second bucket is matched, the rows of the first are gone: what is unlogged is empty after a crash.
  await lab.tamper(
    `create function tamper() returns trigger language plpgsql security definer as $$ begin drop trigger tamper on recon.broken_0; delete from recon.stage_0; return null; end $$`,
  );
  await lab.tamper(`create trigger tamper after insert on recon.broken_0 for each statement execute function tamper()`);
  expect(
    await lab.report(await lab.run({ asOf: new Date('2026-11-23T00:00:00Z') }, { bucketRows: 10 }, RUN_ID)),
  ).toEqual(wanted);
  await lab.discard();
});
