import { SOURCE, type SideCode } from '../run/codes';
import type { RunCounts, SideFunnel } from '../run/run';
import type { Totals } from './stage-lines';
import type { Progress } from './stage.store';

export type Funnel = RunCounts['funnel'];

/** Candidate rows of the second pass, by source, attributes and what became of them. */
export interface CandidateTotals {
  readonly source: SideCode;
  readonly attributes: string;
  readonly result: 'item' | 'matched' | 'refused' | 'outside' | 'unplaced';
  readonly rows: string;
  readonly sum_minor: string;
}

/** Keys on which the first pass found the sides agreed, each of which lists it once. */
export interface MatchedTotals {
  readonly isOwned: boolean;
  readonly attributes: string;
  readonly isRefused: boolean;
  readonly rgs: boolean;
  readonly operator: boolean;
  readonly hub: boolean;
  readonly rows: string;
  readonly sum_minor: string;
}

const SIDES = ['rgs', 'operator', 'hub'] as const;

/**
 * Every row of every side must be accounted for once, with its amount: what was counted while the lists were read (in this process, the
 * hub's from its own table) against what the match made of the staged rows. Answers the first difference, null when there is none.
 * A match that took two different rows for equal shows here, since each is counted under its own attributes before and under the key's after.
 */
export function unaccounted(
  progress: ReadonlyMap<SideCode, Progress>,
  candidates: readonly CandidateTotals[],
  matched: readonly MatchedTotals[],
): string | null {
  for (const side of SIDES) {
    const after: Totals = new Map();
    for (const row of candidates) if (row.source === SOURCE[side]) add(after, row);
    for (const row of matched) if (row[side]) add(after, row);
    const before = progress.get(SOURCE[side])?.totals ?? new Map<number, { n: number; sum: bigint }>();
    for (const attributes of new Set([...before.keys(), ...after.keys()])) {
      const read = before.get(attributes) ?? { n: 0, sum: 0n };
      const found = after.get(attributes) ?? { n: 0, sum: 0n };
      if (read.n !== found.n || read.sum !== found.sum)
        return (
          `of the ${side === 'rgs' ? 'RGS' : side} ${read.n} rows of ${read.sum} minor units were read ` +
          `and ${found.n} of ${found.sum} classified, with the packed attributes ${attributes}`
        );
    }
  }
  return null;
}

/** What became of the rows of each side. */
export function funnelOf(
  progress: ReadonlyMap<SideCode, Progress>,
  candidates: readonly CandidateTotals[],
  matched: readonly MatchedTotals[],
): Funnel {
  const of = (side: (typeof SIDES)[number]): SideFunnel => {
    const rows = (results: readonly CandidateTotals['result'][]) =>
      total(candidates.filter((row) => row.source === SOURCE[side] && results.includes(row.result)));
    const keys = (is: (row: MatchedTotals) => boolean) => total(matched.filter((row) => row[side] && is(row)));
    return {
      seen: progress.get(SOURCE[side])?.seen ?? 0,
      rejected: progress.get(SOURCE[side])?.rejected ?? 0,
      matched: rows(['matched']) + keys((row) => row.isOwned && !row.isRefused),
      refused: rows(['refused']) + keys((row) => row.isOwned && row.isRefused),
      inItems: rows(['item']),
      outside: rows(['outside', 'unplaced']) + keys((row) => !row.isOwned),
    };
  };
  return { rgs: of('rgs'), operator: of('operator'), hub: of('hub') };
}

function total(rows: readonly { readonly rows: string }[]): number {
  return rows.reduce((sum, row) => sum + Number(row.rows), 0);
}

function add(
  totals: Totals,
  { attributes, rows, sum_minor }: Pick<CandidateTotals, 'attributes' | 'rows' | 'sum_minor'>,
): void {
  const cell = totals.get(Number(attributes)) ?? { n: 0, sum: 0n };
  cell.n += Number(rows);
  cell.sum += BigInt(sum_minor);
  totals.set(Number(attributes), cell);
}
