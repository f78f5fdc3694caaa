import fc from 'fast-check';
import type { ReconRun } from '../../src/reconciliation/run/run';
import { businessDays } from '../../src/reconciliation/calendar/window';
import { PLANTED, type Story, factsOf, question, world } from '../support/recon/facts';
import { type ReconLab, openLab, requestFor } from '../support/recon/lab';
import { type Facts, type ListedFact, type Question, isKnownTo } from '../support/recon/oracle';

/** Cases of a law; RECON_CASES=300 npm test -- reconciliation/laws for more. */
const CASES = Number(process.env.RECON_CASES ?? '10');
const TIMEOUT_MS = 60_000 + CASES * 2_000;
const WORLDS = 5;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** A report names its run, so the same report is made again only under the same name. */
const RUN_ID = '019a3c7e-0000-7000-8000-000000000001';
const SWAPPED: Readonly<Record<string, string>> = {
  missing_in_rgs: 'missing_in_operator',
  missing_in_operator: 'missing_in_rgs',
  orphan_rgs: 'orphan_operator',
  orphan_operator: 'orphan_rgs',
};

const worlds = fc.array(world, { minLength: WORLDS, maxLength: WORLDS });
const facts = fc
  .tuple(worlds, question)
  .map(([random, { begin, question: asked }]) => ({ books: factsOf([PLANTED, ...random], begin), asked, begin }));
const check = (property: fc.IAsyncProperty<any>) => fc.assert(property, { numRuns: CASES });

describe('the laws of a reconciliation', () => {
  let lab: ReconLab;
  beforeAll(async () => {
    lab = await openLab();
  });
  afterAll(() => lab.discard());
  beforeEach(() => {
    lab.reader.pageRows = 1_000;
    lab.listShards = 1;
  });

  const sealed = async (
    asked: Question,
    id: string | null = null,
    bucketRows = 1_000_000,
    kind: 'adhoc' | 'legacy' = 'adhoc',
  ): Promise<ReconRun> => {
    const run = await lab.run({ ...requestFor(asked), allowPartial: true, kind }, { bucketRows }, id);
    expect([run.state, run.error]).toEqual(['sealed', null]);
    return run;
  };
  /** Everything that can be downloaded of a run, as text. */
  const downloads = async (run: ReconRun) => ({ ...(await lab.report(run)), legacy: await lab.text(run.id) });
  const items = async (run: ReconRun) => (await lab.items(run.id)).map(({ seq: _seq, ...item }) => item);
  const byKey = (list: readonly Record<string, any>[]) => new Map(list.map((item) => [String(item.k), item]));

  it(
    'the order of rows, the size of pages, the number of parts and of buckets and the staging table leave no trace in the bytes',
    async () => {
      const layout = fc.record({
        seed: fc.integer(),
        pageRows: fc.constantFrom(7, 19, 50, 1_000),
        listShards: fc.integer({ min: 1, max: 5 }),
        bucketRows: fc.constantFrom(3, 20, 60, 1_000_000),
        isSlotTaken: fc.boolean(),
      });
      await check(
        fc.asyncProperty(
          facts,
          layout,
          async ({ books: all, asked }, { seed, pageRows, listShards, bucketRows, isSlotTaken }) => {
            // A list that is read in parts has no row without a time: such a run fails.
            const books = listShards > 1 ? { ...all, listed: all.listed.filter(({ at }) => at !== null) } : all;
            await lab.plant(books);
            const first = await sealed(asked, RUN_ID);
            const wanted = await downloads(first);
            await lab.plant({ listed: shuffled(books.listed, seed), hub: shuffled(books.hub, seed + 1) });
            lab.reader.pageRows = pageRows;
            lab.listShards = listShards;
            const other = isSlotTaken ? await lab.held({ window: { from: new Date(0), to: new Date(1) } }) : undefined;
            const again = await sealed(asked, RUN_ID, bucketRows);
            expect(other?.slot).toBe(isSlotTaken ? 0 : undefined);
            expect(await downloads(again)).toEqual(wanted);
            expect(again.csvSha256).toEqual(first.csvSha256);
            lab.reader.pageRows = 1_000;
            lab.listShards = 1;
          },
        ),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'the same inputs give the same bytes once more, and the exceptions of the first time',
    async () => {
      await check(
        fc.asyncProperty(facts, async ({ books, asked }) => {
          await lab.plant(books);
          const twice = [];
          for (let n = 0; n < 2; n += 1)
            twice.push(await lab.run({ ...requestFor(asked), allowPartial: true, dryRun: false }));
          const [first, second] = twice as [ReconRun, ReconRun];
          const strip = async (run: ReconRun) =>
            (await downloads(run)).csv.replaceAll(run.id, 'run').replaceAll(first.id, 'run');
          expect(await strip(second)).toBe(await strip(first));
          expect(await lab.text(second.id)).toBe(await lab.text(first.id));
          const broken = (await lab.items(second.id)).filter(({ state }) => state === 'broken');
          expect(
            broken.every(({ exception_id, first_seen_run }) => exception_id !== null && first_seen_run === first.id),
          ).toBe(true);
          const exceptions = await lab.database.rows<{ n: string; firsts: string }>(
            'select count(*) as n, count(*) filter (where first_run = $1) as firsts from recon.exception',
            [first.id],
          );
          expect(exceptions[0]).toEqual({
            n: String(broken.length + second.counts!.unplaced),
            firsts: String(broken.length + second.counts!.unplaced),
          });
        }),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'exceptions are the broken lines and what has no place; they clear where a later run finds order, and what a person closed stays closed',
    async () => {
      await check(
        fc.asyncProperty(
          facts,
          fc.array(fc.constantFrom('open', 'accepted', 'ignored', 'resolved'), { minLength: 8, maxLength: 8 }),
          async ({ books, asked }, acts) => {
            const request = { ...requestFor(asked), allowPartial: true, dryRun: false };
            const states = async () =>
              new Map(
                (
                  await lab.database.rows<{ id: string; state: string }>(
                    'select id, state from recon.exception order by id',
                  )
                ).map(({ id, state }) => [id, state]),
              );
            await lab.plant(books);
            const first = await lab.run(request);
            const opened = await states();
            expect(opened.size).toBe(first.counts!.broken + first.counts!.unplaced);
            expect([...opened.values()].every((state) => state === 'open')).toBe(true);
            // What people make of some of them.
            const acted = new Map([...opened.keys()].map((id, index) => [id, acts[index % acts.length]!]));
            for (const [id, state] of acted)
              await lab.database.rows('update recon.exception set state = $2 where id = $1', [id, state]);
            await lab.replant({ listed: [], hub: [] });
            await lab.run(request);
            const unplaced = new Set(
              (await lab.database.rows<{ id: string }>('select id from recon.exception where anchor_at is null')).map(
                ({ id }) => id,
              ),
            );
            expect(await states()).toEqual(
              new Map(
                [...acted].map(([id, state]) => [
                  id,
                  state !== 'open' || (asked.window !== null && unplaced.has(id)) ? state : 'auto_cleared',
                ]),
              ),
            );
            await lab.replant(books);
            await lab.run(request);
            expect(await states()).toEqual(
              new Map(
                [...acted].map(([id, state]) => [id, state === 'accepted' || state === 'ignored' ? state : 'open']),
              ),
            );
            expect(await lab.database.rows('select 1 from recon.exception where first_run <> $1', [first.id])).toEqual(
              [],
            );
          },
        ),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'what RGS and operator say exchanged gives the same lines with the sides exchanged and the differences negated',
    async () => {
      await check(
        fc.asyncProperty(worlds, question, async (random, { begin, question: asked }) => {
          const books = factsOf(
            random.map((stories) => stories.map(evenhanded)),
            begin,
          );
          await lab.plant(books);
          const one = await sealed(asked);
          const ways = await items(one);
          await lab.plant({ ...books, listed: books.listed.map(swapped) });
          const other = await sealed(asked);
          expect((await items(other)).map(view)).toEqual(ways.map(mirror).map(view));
          const { rgs, operator, hub } = one.counts!.funnel;
          expect(other.counts!.funnel).toEqual({ rgs: operator, operator: rgs, hub });
        }),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'movements that all three sides know alike change no line, and are counted as three',
    async () => {
      await check(
        fc.asyncProperty(facts, fc.integer({ min: 1, max: 30 }), async ({ books, asked, begin }, more) => {
          await lab.plant(books);
          const before = await sealed(asked, RUN_ID);
          const wanted = await items(before);
          const straight = factsOf([Array.from({ length: more }, () => PLANTED[0]!)], begin);
          const renamed = {
            listed: straight.listed.map((row) => ({
              ...row,
              ref: `more-${row.ref}`,
              player: `more-${row.player}`,
              corr: moreOf(row.corr),
            })),
            hub: straight.hub.map((hub) => ({
              ...hub,
              ref: `more-${hub.ref}`,
              player: `more-${hub.player}`,
              id: moreOf(hub.id),
              message: { ...hub.message, id: moreOf(hub.message.id) },
              outcomes: [],
            })),
          };
          await lab.plant({ listed: [...renamed.listed, ...books.listed], hub: [...books.hub, ...renamed.hub] });
          const after = await sealed(asked, RUN_ID);
          expect(await items(after)).toEqual(wanted);
          for (const side of ['rgs', 'operator', 'hub'] as const) {
            const { seen, matched, ...rest } = before.counts!.funnel[side];
            expect(after.counts!.funnel[side]).toEqual({ ...rest, seen: seen + more, matched: matched + more });
          }
        }),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'more grace only turns broken into in flight; never what is dead, has no time or contradicts',
    async () => {
      const graces = fc
        .tuple(fc.integer({ min: 0, max: 60_000 }), fc.integer({ min: 0, max: 60_000 }))
        .map((pair) => pair.sort((a, b) => a - b));
      await check(
        fc.asyncProperty(facts, graces, async ({ books, asked }, [small = 0, large = 0]) => {
          await lab.plant(books);
          const few = byKey(await items(await sealed({ ...asked, graceSeconds: small })));
          const many = byKey(await items(await sealed({ ...asked, graceSeconds: large })));
          expect([...many.keys()]).toEqual([...few.keys()]);
          for (const [key, { state, ...item }] of few) {
            const { state: later, ...same } = many.get(key)!;
            expect(same).toEqual(item);
            if (state === 'in_flight') expect(later).toBe('in_flight');
            if (
              item.outbox_state === 'dead' ||
              item.anchor_at === null ||
              item.classes.some((name: string) =>
                ['duplicate', 'correlation_mismatch', 'amount', 'currency', 'direction', 'bad_amount', 'late'].includes(
                  name,
                ),
              )
            )
              expect(later).toBe('broken');
            if (later === 'in_flight' && item.outbox_state !== 'pending')
              expect((asked.asOf - item.anchor_at.getTime()) / 1000).toBeLessThan(large);
          }
        }),
      );
    },
    TIMEOUT_MS,
  );

  describe('windows that meet have each line once:', () => {
    /** Runs over the parts, and over all of them at once, of what lies close enough together for a window to see it. */
    const parted = async (books: Facts, asked: Question, bounds: readonly number[]) => {
      await lab.plant(books);
      const whole = await sealed({ ...asked, window: { from: bounds[0]!, to: bounds.at(-1)! } });
      const parts: ReconRun[] = [];
      for (const [index, from] of bounds.slice(0, -1).entries())
        parts.push(await sealed({ ...asked, window: { from, to: bounds[index + 1]! } }));
      return { whole, parts };
    };
    const summed = async (runs: readonly ReconRun[]) =>
      lab.database.rows(
        `select business_date::text, cur, dir, class, state, source, sum(n) as n, sum(sum_minor) as sum from recon.summary where run_id = any($1) group by 1, 2, 3, 4, 5, 6 order by 1 nulls last, 2, 3, 4, 5, 6`,
        [runs.map(({ id }) => id)],
      );
    const addsUp = async ({ whole, parts }: { whole: ReconRun; parts: readonly ReconRun[] }) => {
      const lines = (await Promise.all(parts.map(items))).flat();
      expect(new Set(lines.map(({ k }) => k)).size).toBe(lines.length);
      const wanted = await items(whole);
      // What lies at one instant is in the order of its key, so the parts in turn are the whole in order.
      expect(lines).toEqual(wanted);
      expect(await summed(parts)).toEqual(await summed([whole]));
      // What has no time is in nobody's lines and therefore told by every part that sees it.
      expect(parts.reduce((sum, { counts }) => sum + counts!.unplaced, 0)).toBeGreaterThanOrEqual(
        whole.counts!.unplaced,
      );
      for (const side of ['rgs', 'operator', 'hub'] as const) {
        const total = (runs: readonly ReconRun[]) =>
          (['matched', 'refused', 'inItems'] as const).map((name) =>
            runs.reduce((sum, { counts }) => sum + counts!.funnel[side][name], 0),
          );
        expect(total(parts)).toEqual(total([whole]));
      }
    };

    it(
      'random cuts, also between the two sides of one movement',
      async () => {
        const cuts = fc.uniqueArray(
          fc.oneof(
            fc.integer({ min: -3 * 60, max: 30 * 60 }).map((minutes) => minutes * MINUTE),
            fc.constantFrom(0, 1, 1_000, 1_001, 24 * HOUR, 12 * HOUR, 12 * HOUR + 500),
          ),
          { minLength: 1, maxLength: 3 },
        );
        await check(
          fc.asyncProperty(worlds, question, cuts, async (random, { begin, question: asked }, inner) => {
            const bounds = [-6 * HOUR, ...inner.sort((a, b) => a - b), 40 * HOUR].map((after) => begin + after);
            await addsUp(
              await parted(
                factsOf([PLANTED.map(close), ...random.map((stories) => stories.map(close))], begin),
                asked,
                bounds,
              ),
            );
          }),
        );
      },
      TIMEOUT_MS,
    );

    it.each([
      { zone: 'Europe/Malta', cutoff: '00:00', from: '2026-03-28T12:00:00Z', hours: [23] },
      { zone: 'Europe/Malta', cutoff: '02:30', from: '2026-10-24T12:00:00Z', hours: [25] },
      { zone: 'America/New_York', cutoff: '06:00', from: '2026-10-31T12:00:00Z', hours: [25] },
      { zone: 'Australia/Lord_Howe', cutoff: '01:45', from: '2026-04-04T16:00:00Z', hours: [24.5] },
      { zone: 'UTC', cutoff: '00:00', from: '2028-02-28T12:00:00Z', hours: [24] },
    ])(
      'the days around a change of the clocks in $zone at $cutoff, one of them of $hours h',
      async ({ zone, cutoff, from, hours }) => {
        const days = businessDays({ from: new Date(from), to: new Date(Date.parse(from) + 30 * HOUR), zone, cutoff });
        expect(days.map((day) => (day.to.getTime() - day.from.getTime()) / HOUR)).toEqual(
          expect.arrayContaining(hours),
        );
        const bounds = [...days.map((day) => day.from.getTime()), days.at(-1)!.to.getTime()];
        const begin = Date.parse(from);
        await fc.assert(
          fc.asyncProperty(worlds, async (random) => {
            const asked = { window: null, zone, cutoff, asOf: begin + 60 * HOUR, graceSeconds: 900 };
            const { whole, parts } = await parted(
              factsOf([PLANTED.map(close), ...random.map((stories) => stories.map(close))], begin),
              asked,
              bounds,
            );
            await addsUp({ whole, parts });
            for (const [index, part] of parts.entries())
              for (const { business_date } of await lab.items(part.id)) expect(business_date).toBe(days[index]!.date);
          }),
          { numRuns: 2 },
        );
      },
      30_000,
    );

    it(
      'whatever the hub has is the line of the window in which it took it, however late the others book, and what they book hours later is late in its own',
      async () => {
        await check(
          fc.asyncProperty(facts, fc.integer({ min: 1, max: 23 }), async ({ books: all, asked, begin }, hour) => {
            // What has no time is in nobody's totals; of what the hub does not know, no window can say to which of
            // several times it belongs.
            const isKnown = isKnownTo(all.hub);
            const books = { ...all, listed: all.listed.filter((row) => row.at !== null && isKnown(row)) };
            const { whole, parts } = await parted(books, asked, [
              begin - 9 * HOUR,
              begin + hour * HOUR,
              begin + 72 * HOUR,
            ]);
            const wanted = (await items(whole)).map(({ k }) => String(k));
            const lines = (await Promise.all(parts.map(items))).flat();
            const own = lines.filter(({ reason }) => !String(reason).includes('taken by the hub in another'));
            expect(new Set(own.map(({ k }) => k)).size).toBe(own.length);
            expect(lines.filter((line) => !own.includes(line)).every(({ classes }) => classes.includes('late'))).toBe(
              true,
            );
            // Nothing that is wrong from afar is right from nearby.
            expect(new Set(lines.map(({ k }) => String(k)))).toEqual(new Set(wanted));
            const booked = async (runs: readonly ReconRun[]) =>
              lab.database.rows(
                'select cur, dir, source, sum(n) as n, sum(sum_minor) as sum from recon.summary where run_id = any($1) group by 1, 2, 3 having sum(n) > 0 order by 1, 2, 3',
                [runs.map(({ id }) => id)],
              );
            expect(await booked(parts)).toEqual(await booked([whole]));
          }),
        );
      },
      TIMEOUT_MS,
    );
  });
});

/**
 * Nothing that one of the two sides alone can say: words and amounts that only one knows, and times by which one would
 * stand before the other.
 */
function evenhanded(story: Story): Story {
  const even = (twists: Story['rgs']) =>
    twists.map((twist) => ({
      ...twist,
      amount: twist.amount === 'fine' || twist.amount === 'huge' ? ('none' as const) : twist.amount,
      status: [0, 3, 4][twist.status % 3] ?? 0,
      lateBy: twist.lateBy === null ? null : 1_000,
    }));
  return {
    ...story,
    hub: story.hub && {
      ...story.hub,
      state: story.hub.state === 'rejected' ? 'rejected' : 'confirmed',
      message: 'sent',
      undoMessage: 'sent',
      outcomes: [],
    },
    rgs: even(story.rgs),
    operator: even(story.operator),
  };
}

/** References of one's own, and times, also of repayments, that a window and its padding see together. */
function close(story: Story): Story {
  const near = (twists: Story['rgs']) =>
    twists.map((twist) => ({
      ...twist,
      lateBy: twist.lateBy === null ? null : Math.max(-119 * MINUTE, Math.min(twist.lateBy, 0)) + HOUR / 2,
    }));
  const hub = story.hub && {
    ...story.hub,
    undoAfter: story.hub.undoAfter === null ? null : Math.min(story.hub.undoAfter, HOUR / 2),
  };
  return { ...story, ref: null, hub, rgs: near(story.rgs), operator: near(story.operator) };
}

/** The row as the other side would list it. */
function swapped(row: ListedFact): ListedFact {
  const words: Readonly<Record<string, string>> = {
    debit: 'withdraw',
    credit: 'deposit',
    withdraw: 'debit',
    deposit: 'credit',
  };
  return { ...row, side: row.side === 'rgs' ? 'operator' : 'rgs', word: words[row.word] ?? row.word };
}

/** An item as it must be when its sides are exchanged. */
function mirror(item: Record<string, any>): Record<string, any> {
  const bits = (mask: number) => (mask & 4) | ((mask & 1) << 1) | ((mask >> 1) & 1);
  const classes = item.classes.map((name: string) => SWAPPED[name] ?? name);
  return {
    ...item,
    class: classes[0],
    classes,
    presence: bits(item.presence),
    booked: bits(item.booked),
    n_rgs: item.n_op,
    n_op: item.n_rgs,
    amt_rgs: item.amt_op,
    amt_op: item.amt_rgs,
    st_rgs: item.st_op,
    st_op: item.st_rgs,
    difference: item.difference === null ? null : String(-BigInt(item.difference)),
  };
}

/** What has a mirror image; severity and action follow from the class, and the outbox's message is to one side. */
function view({
  k,
  leg,
  class: primary,
  classes,
  state,
  presence,
  booked,
  n_rgs,
  n_op,
  n_hub,
  ref_id,
  corr,
  cur,
  dir,
  amt_rgs,
  amt_op,
  amt_hub,
  difference,
  st_rgs,
  st_op,
  anchor_at,
  business_date,
  linked_corr,
}: Record<string, any>): Record<string, unknown> {
  return {
    k,
    leg,
    primary,
    classes,
    state,
    presence,
    booked,
    n_rgs,
    n_op,
    n_hub,
    ref_id,
    corr,
    cur,
    dir,
    amt_rgs,
    amt_op,
    amt_hub,
    difference,
    st_rgs,
    st_op,
    anchor_at,
    business_date,
    linked_corr,
  };
}

function moreOf(id: string): string {
  return id.replace(/^019a3c7e/, '019a3c7f').replace(/^corr-/, 'more-');
}

/** The same rows in an order that the seed decides. */
function shuffled<T>(rows: readonly T[], seed: number): T[] {
  const order =
    fc.sample(fc.array(fc.nat(), { minLength: rows.length, maxLength: rows.length }), { numRuns: 1, seed })[0] ?? [];
  return rows
    .map((row, index) => ({ row, place: order[index] ?? 0 }))
    .sort((a, b) => a.place - b.place)
    .map(({ row }) => row);
}
