import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { bridgeOf } from '../../src/reconciliation/reports/bridge';
import { pythonFloat } from '../../src/reconciliation/legacy/python-float';
import { ReportStore } from '../../src/reconciliation/reports/report.store';
import { PLANTED, factsOf, question, world } from '../support/recon/facts';
import { type ReconLab, openLab, requestFor } from '../support/recon/lab';
import { type Answer, type Facts, type Question, type Verdict, answerOf } from '../support/recon/oracle';

/** More of them: RECON_RUNS=500 npm test -- reconciliation/oracle. */
const RUNS = Number(process.env.RECON_RUNS ?? '40');
/**
 * Sets of books that have nothing to do with each other go through the engine together: a run takes as long for many as
 * for one.
 */
const WORLDS = 26;

const SEVERITY: Readonly<Record<string, string>> = {
  missing_in_operator: 'critical',
  undelivered: 'high',
  missing_in_rgs: 'high',
  missing_in_hub: 'critical',
  orphan_operator: 'critical',
  orphan_rgs: 'critical',
  duplicate: 'critical',
  amount: 'critical',
  currency: 'critical',
  direction: 'critical',
  bad_amount: 'high',
  status: 'high',
  correlation_mismatch: 'medium',
  late: 'medium',
};

describe('a run, held against an oracle that knows only the specification', () => {
  let lab: ReconLab;
  const met = new Map<string, number>();
  beforeAll(async () => {
    lab = await openLab();
  });
  afterAll(() => lab.discard());

  const compared = async (facts: Facts, asked: Question): Promise<void> => {
    const wanted = answerOf(facts, asked);
    await lab.plant(facts);
    const run = await lab.run({ ...requestFor(asked), allowPartial: true });
    expect([run.state, run.error]).toEqual(['sealed', null]);
    const items = await lab.items(run.id);
    expect(items.map(nameOf).sort()).toEqual(wanted.items.map(nameOf).sort());
    const verdicts = new Map(wanted.items.map((verdict) => [nameOf(verdict), verdict]));
    for (const [index, item] of items.entries()) {
      const verdict = verdicts.get(nameOf(item as never))!;
      expect(itemOf(item)).toEqual({ ...shownOf(verdict), seq: index + 1 });
      for (const part of verdict.reasonHolds) expect(item.reason).toContain(part);
      const before = items[index - 1];
      if (before !== undefined) expect(isInOrder(before, item)).toBe(true);
      met.set(`${verdict.classes[0]} ${verdict.state}`, (met.get(`${verdict.classes[0]} ${verdict.state}`) ?? 0) + 1);
    }
    const { counts } = run;
    expect(counts).toMatchObject({
      broken: wanted.items.filter(({ state }) => state === 'broken').length,
      unplaced: wanted.unplaced,
      funnel: wanted.funnel,
      legacyLines: wanted.items.filter(({ legacy }) => legacy !== null).length,
    });
    for (const side of ['rgs', 'operator', 'hub'] as const) {
      const { seen, rejected, matched, refused, inItems, outside } = counts!.funnel[side];
      expect(seen).toBe(rejected + matched + refused + inItems + outside);
    }
    expect(await summaryOf(run.id)).toEqual(new Map([...wanted.summary].sort()));
    const bridge = bridgeOf(await new ReportStore(lab.database).summary(run.id));
    expect(bridge.filter(({ unexplainedMinor }) => unexplainedMinor !== 0n)).toEqual([]);
    const lines = parse(await lab.text(run.id), { record_delimiter: '\r\n' }).slice(1);
    expect(lines.sort()).toEqual(wanted.items.flatMap(legacyLine).sort());
  };

  const summaryOf = async (id: string) => {
    const rows = await lab.database.rows<{ cell: string; n: string; sum: string }>(
      `select concat_ws(' ', coalesce(business_date::text, 'null'), cur, dir, class, state, case source when 1 then 'rgs' when 2 then 'operator' else 'hub' end) as cell, n, sum_minor as sum from recon.summary where run_id = $1`,
      [id],
    );
    return new Map(
      rows
        .map(({ cell, n, sum }): [string, { n: number; sum: bigint }] => [cell, { n: Number(n), sum: BigInt(sum) }])
        .sort(),
    );
  };

  it(
    `is the same item by item, sum by sum: ${RUNS * WORLDS} random sets of three books`,
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(world, { minLength: WORLDS - 1, maxLength: WORLDS - 1 }),
          question,
          (worlds, { begin, question: asked }) => compared(factsOf([PLANTED, ...worlds], begin), asked),
        ),
        { numRuns: RUNS },
      );
    },
    60_000 + RUNS * 500,
  );

  it('of which no class was missing, neither as broken nor, where that may be, as in flight', () => {
    expect(Object.keys(SEVERITY).filter((name) => !met.has(`${name} broken`))).toEqual([]);
    expect(
      [
        'undelivered',
        'missing_in_operator',
        'missing_in_rgs',
        'missing_in_hub',
        'orphan_rgs',
        'orphan_operator',
        'status',
      ].filter((name) => !met.has(`${name} in_flight`)),
    ).toEqual([]);
  });
});

const nameOf = ({ corr, leg }: { corr?: string; leg?: string }): string => `${leg} ${corr}`;

/** What the oracle also says, of an item. */
function itemOf(item: Record<string, any>): Record<string, unknown> {
  const {
    seq,
    classes,
    severity,
    state,
    presence,
    booked,
    n_rgs,
    n_op,
    n_hub,
    ref_id,
    player,
    cur,
    dir,
    amt_rgs,
    amt_op,
    amt_hub,
    difference,
    st_rgs,
    st_op,
    st_hub,
    anchor_at,
    business_date,
    linked_corr,
    outbox_id,
    outbox_state,
  } = item;
  return {
    seq,
    classes,
    severity,
    state,
    presence,
    booked,
    counts: [n_rgs, n_op, n_hub],
    ref: ref_id,
    player,
    currency: cur,
    direction: dir,
    amounts: [amt_rgs, amt_op, amt_hub],
    difference,
    statuses: [st_rgs, st_op, st_hub],
    anchor: anchor_at?.getTime() ?? null,
    businessDate: business_date,
    linkedCorr: linked_corr,
    outboxId: outbox_id,
    outboxState: outbox_state,
  };
}

function shownOf({
  classes,
  state,
  presence,
  booked,
  counts,
  ref,
  player,
  currency,
  direction,
  amounts,
  difference,
  statuses,
  anchor,
  businessDate,
  linkedCorr,
  outboxId,
  outboxState,
}: Verdict): Record<string, unknown> {
  const text = (value: bigint | null) => value?.toString() ?? null;
  return {
    classes,
    severity: SEVERITY[classes[0]!],
    state,
    presence,
    booked,
    counts,
    ref,
    player,
    currency,
    direction,
    amounts: amounts.map(text),
    difference: text(difference),
    statuses,
    anchor,
    businessDate,
    linkedCorr,
    outboxId,
    outboxState,
  };
}

/** By time, what has none last; those of one instant by their key. */
function isInOrder(a: Record<string, any>, b: Record<string, any>): boolean {
  const [x, y] = [a.anchor_at?.getTime() ?? Infinity, b.anchor_at?.getTime() ?? Infinity];
  return x < y || (x === y && a.k < b.k);
}

function legacyLine({ corr, legacy }: Answer['items'][number]): string[][] {
  return legacy === null
    ? []
    : [
        [
          legacy.ref,
          corr,
          legacy.word,
          pythonFloat(legacy.amountText),
          legacy.inRgs ? 'True' : 'False',
          legacy.inRgs ? 'False' : 'True',
        ],
      ];
}
