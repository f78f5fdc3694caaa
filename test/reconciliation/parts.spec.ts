import fc from 'fast-check';
import { listParts } from '../../src/reconciliation/matching/ingest';
import type { Side } from '../../src/reconciliation/sources/source';
import type { ListRow } from '../support/partners/list-pages';
import { ListServer } from '../support/partners/list-server';
import { plantHub } from '../support/recon/books';
import { PLANTED, factsOf, listsOf, question } from '../support/recon/facts';
import { type ReconLab, openLab, requestFor } from '../support/recon/lab';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const HOUR = 3_600_000;
const PARTS = 3;
const PAGE_ROWS = 5;
const MOVEMENTS = 60;
const RUN_ID = '019a3c7e-0000-7000-8000-000000000002';

describe('the parts of a window', () => {
  it('have neither gap nor overlap, from the padding before the window to the padding behind it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2e12 }),
        fc.integer({ min: 1, max: 40 * 24 * HOUR }),
        fc.integer({ min: 1, max: 8 }),
        (from, span, listShards) => {
          const window = { from: new Date(from), to: new Date(from + span) };
          const parts = listParts({ window, padSeconds: 7_200, listShards });
          expect(parts.map(({ shard }) => shard)).toEqual(Array.from({ length: listShards }, (_, shard) => shard));
          expect(parts[0]?.window?.from).toEqual(new Date(from - 2 * HOUR));
          expect(parts.at(-1)?.window?.to).toEqual(new Date(from + span + 2 * HOUR));
          for (const [index, part] of parts.entries()) {
            expect(part.window?.to).toEqual(parts[index + 1]?.window?.from ?? part.window?.to);
            expect(part.window!.from < part.window!.to).toBe(true);
            expect(part.window?.neededTo).toEqual(part.window!.to < window.to ? part.window?.to : window.to);
            expect(part.window?.isPart).toBe(listShards > 1);
          }
        },
      ),
    );
    expect(listParts({ window: null, padSeconds: 7_200, listShards: 8 })).toEqual([{ shard: 0, window: null }]);
  });
});

describe('a run whose lists are read in parts', () => {
  let hub: TestHub;
  let whole: TestHub;
  let servers: Record<Side, ListServer>;
  let lists: Record<Side, ListRow[]>;
  const asked: URL[] = [];
  const begin = Date.now() - 13 * HOUR;
  const window = { from: new Date(begin).toISOString(), to: new Date(begin + 12 * HOUR).toISOString() };
  beforeAll(async () => {
    const [rgs, operator] = await Promise.all([ListServer.start(), ListServer.start()]);
    servers = { rgs, operator };
    const env = { RGS_WEBHOOK_URL: `${rgs.url}/webhooks`, OPERATOR_BASE_URL: operator.url };
    hub = await TestHub.start({ env: { ...env, RECON_LIST_SHARDS: String(PARTS) } });
    whole = await TestHub.start({ env, database: hub.database, operator: hub.operator, rgs: hub.rgs });
    const facts = factsOf(
      [
        Array.from({ length: MOVEMENTS }, (_, index) => ({
          ...PLANTED[0]!,
          after: Math.floor((index * 12 * HOUR) / MOVEMENTS),
        })),
      ],
      begin,
    );
    lists = listsOf(facts);
    // Some are missing, all over the window.
    lists.operator = lists.operator.filter((_, index) => index % 7 !== 3);
    const [pair] = await hub.database.query<{ operatorId: number; rgsId: number }>(
      `select o.id as "operatorId", r.id as "rgsId" from partner o, partner r where o.code = 'operator' and r.code = 'rgs'`,
    );
    await plantHub((sql, parameters) => hub.database.query(sql, parameters), facts.hub, pair!);
  });
  afterAll(async () => {
    await whole.stop();
    await hub.stop();
    await Promise.all(Object.values(servers).map((server) => server.stop()));
  });

  /** As a partner that heeds the window, or one that does not. */
  const serve = (side: Side, rows = () => lists[side], heeds = true): void =>
    servers[side].serve((request, response) => {
      const url = new URL(request.url ?? '/', 'http://partner');
      const { from = '', to = '', cursor = '0' } = Object.fromEntries(url.searchParams);
      asked.push(url);
      const found = rows().filter(
        ({ createdAt }) => !heeds || typeof createdAt !== 'string' || (createdAt >= from && createdAt < to),
      );
      const end = Number(cursor) + PAGE_ROWS;
      response.setHeader('content-type', 'application/json').end(
        JSON.stringify({
          items: found.slice(Number(cursor), end),
          nextCursor: end < found.length ? String(end) : null,
          total: found.length,
        }),
      );
    });
  beforeEach(() => {
    asked.length = 0;
    serve('rgs');
    serve('operator');
  });
  const run = async (on: TestHub): Promise<Record<string, any>> => {
    const { body } = await on.call('POST', '/v1/recon/runs', { ...window, graceSeconds: 0 }, { idempotencyKey: null });
    return waitFor(`run ${body.id} has ended`, async () => {
      const answer = await on.call('GET', `/v1/recon/runs/${body.id}`);
      return ['sealed', 'failed'].includes(answer.body.state) ? answer.body : undefined;
    });
  };
  const itemsOf = async ({ id }: Record<string, any>) =>
    (await hub.call('GET', `/v1/recon/runs/${id}/items?limit=500`)).body.items.map(
      ({ runId: _run, ageSeconds: _age, firstSeenRun: _first, ...item }: Record<string, unknown>) => item,
    );

  it('finds what it finds in one piece, and asks each list for each part', async () => {
    const inParts = await run(hub);
    expect(inParts).toMatchObject({ state: 'sealed', error: null });
    const firsts = asked
      .filter((url) => !url.searchParams.has('cursor'))
      .map(({ pathname, searchParams }) => `${pathname} ${searchParams.get('from')} ${searchParams.get('to')}`);
    expect(new Set(firsts).size).toBe(2 * PARTS);
    expect(firsts).toHaveLength(2 * PARTS);
    const inOne = await run(whole);
    expect(await itemsOf(inParts)).toHaveLength(9);
    expect(await itemsOf(inParts)).toEqual(await itemsOf(inOne));
    expect(inParts.counts).toEqual(inOne.counts);
    const sources = (view: Record<string, any>) =>
      view.progress.sources.map(({ pages: _pages, ...source }: Record<string, unknown>) => source);
    expect(sources(inParts)).toEqual(sources(inOne));
    expect(inParts.progress.sources).toContainEqual({
      side: 'rgs',
      pages: expect.any(Number),
      rowsSeen: MOVEMENTS,
      rowsStaged: MOVEMENTS,
      rowsRejected: 0,
      done: true,
    });
  });

  it.each<{ how: string; spoil: (side: Side) => void }>([
    { how: 'that ignores the window', spoil: (side) => serve(side, () => lists[side], false) },
    {
      how: 'with a row that has no time',
      spoil: (side) => serve(side, () => [{ ...lists[side][0], createdAt: undefined }, ...lists[side]]),
    },
  ])('fails on a list $how, which in parts would be counted more than once', async ({ spoil }) => {
    for (const side of ['rgs', 'operator'] as const) {
      spoil(side);
      expect(await run(hub)).toMatchObject({
        state: 'failed',
        itemCount: null,
        error: { side, reason: 'window_ignored' },
      });
      expect(await hub.database.query('select 1 from recon.stage_0 union all select 1 from recon.stage_1')).toEqual([]);
      serve(side);
    }
  });

  it('keeps so many rejected rows of each part, and counts all', async () => {
    serve('rgs', () => lists.rgs.map((row, index) => (index % 10 === 0 ? { createdAt: row.createdAt } : row)));
    const { id, state, counts } = await run(hub);
    expect([state, counts.rejected]).toEqual(['sealed', MOVEMENTS / 10]);
    expect(
      await hub.database.query(
        'select count(*)::int as n, count(distinct n)::int as numbers from recon.reject where run_id = $1',
        [id],
      ),
    ).toEqual([{ n: MOVEMENTS / 10, numbers: MOVEMENTS / 10 }]);
  });
});

describe('a run that stops within the parts of its lists', () => {
  let lab: ReconLab;
  beforeAll(async () => {
    lab = await openLab();
  });
  afterAll(() => lab.discard());

  it('goes on in each part from its own page, and ends in the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(
        question,
        fc.integer({ min: 2, max: 5 }),
        fc.integer({ min: 1, max: 30 }),
        async ({ begin, question: asked }, listShards, stopAt) => {
          fc.pre(asked.window !== null);
          const all = factsOf([PLANTED, PLANTED], begin);
          await lab.plant({ ...all, listed: all.listed.filter(({ at }) => at !== null) });
          lab.reader.pageRows = 7;
          lab.listShards = 1;
          const wanted = await lab.report(await lab.run({ ...requestFor(asked), allowPartial: true }, {}, RUN_ID));

          await lab.forget();
          lab.listShards = listShards;
          let pages = 0;
          lab.reader.beforePage = () => void (pages += 1);
          await lab.run({ ...requestFor(asked), allowPartial: true });
          const ofAll = pages;

          const leaving = new AbortController();
          pages = 0;
          lab.reader.beforePage = () => {
            pages += 1;
            if (pages === stopAt) leaving.abort(new Error('this process stops'));
          };
          const held = await lab.held({ ...requestFor(asked), allowPartial: true }, RUN_ID);
          const stopped = await lab
            .engine()
            .execute(held, leaving.signal)
            .catch((error: Error) => error.message);
          pages = 0;
          lab.reader.beforePage = () => void (pages += 1);
          // Whoever takes it cuts the window as the run says, and not as itself would.
          lab.listShards = 1;
          const sealed =
            typeof stopped === 'string' ? await lab.engine().execute(held, new AbortController().signal) : stopped;
          expect([sealed.state, sealed.error]).toEqual(['sealed', null]);
          expect(await lab.report(sealed)).toEqual(wanted);
          // Somebody had asked for a third page, and does so when the first is stored: that one is not read again.
          if (typeof stopped === 'string' && stopAt > 4 * listShards) expect(pages).toBeLessThan(ofAll);
          lab.reader.beforePage = () => undefined;
        },
      ),
      { numRuns: 8 },
    );
  }, 60_000);
});
