import type { RunCounts, SideFunnel } from '../run/run';
import { SOURCE, STATUS_CODE, type Totals } from './stage-lines';
import type { Progress, StagedSource } from './stage.store';

export type Funnel = RunCounts['funnel'];

/** Staged rows of keys that were looked at, by side, packed attributes and what became of the key. */
export interface PlacedRows {
  readonly src: StagedSource;
  readonly attrs: string;
  readonly place: 'item' | 'matched' | 'refused' | 'outside' | 'unplaced';
  readonly n: string;
  readonly sum: string;
}

/** Keys that the first pass proved alike, or refused by every side in `mask`. */
export interface MatchedRows {
  readonly owned: boolean;
  readonly attrs: string;
  readonly mask: number;
  readonly n: string;
  readonly sum: string;
}

const SIDES = { rgs: SOURCE.rgs, operator: SOURCE.operator, hub: SOURCE.hub } as const;

/**
 * Every row of every side must be accounted for once, with its amount: what was counted while the lists were read (in this process, the
 * hub's from its own table) against what the match made of the staged rows. Answers the first difference, null when there is none.
 * A match that took two unlike rows for alike shows here, since each is counted under its own attributes before and under the key's after.
 */
export function checkTotals(
  progress: ReadonlyMap<StagedSource, Progress>,
  placed: readonly PlacedRows[],
  matched: readonly MatchedRows[],
): string | null {
  for (const [name, source] of Object.entries(SIDES)) {
    const after: Totals = new Map();
    for (const row of placed) if (row.src === source) add(after, row);
    for (const row of matched) if ((row.mask & source) !== 0) add(after, row);
    const before = progress.get(source)?.totals ?? new Map<number, { n: number; sum: bigint }>();
    for (const attrs of new Set([...before.keys(), ...after.keys()])) {
      const [read, found] = [before.get(attrs) ?? { n: 0, sum: 0n }, after.get(attrs) ?? { n: 0, sum: 0n }];
      if (read.n !== found.n || read.sum !== found.sum)
        return `of the ${name === 'rgs' ? 'RGS' : name} ${read.n} rows of ${read.sum} minor units were read and ${found.n} of ${found.sum} classified, with the packed attributes ${attrs}`;
    }
  }
  return null;
}

/** What became of the rows of each side. */
export function funnelOf(
  progress: ReadonlyMap<StagedSource, Progress>,
  placed: readonly PlacedRows[],
  matched: readonly MatchedRows[],
): Funnel {
  const of = (source: StagedSource): SideFunnel => {
    const rows = (place: readonly PlacedRows['place'][]) =>
      placed
        .filter((row) => row.src === source && place.includes(row.place))
        .reduce((total, { n }) => total + Number(n), 0);
    const keys = (which: (row: MatchedRows) => boolean) =>
      matched.filter((row) => (row.mask & source) !== 0 && which(row)).reduce((total, { n }) => total + Number(n), 0);
    const isRefused = ({ attrs }: MatchedRows) => Number(BigInt(attrs) & 3n) === STATUS_CODE.rejected;
    return {
      seen: progress.get(source)?.seen ?? 0,
      rejected: progress.get(source)?.rejected ?? 0,
      matched: rows(['matched']) + keys((row) => row.owned && !isRefused(row)),
      refused: rows(['refused']) + keys((row) => row.owned && isRefused(row)),
      inItems: rows(['item']),
      outside: rows(['outside', 'unplaced']) + keys((row) => !row.owned),
    };
  };
  return { rgs: of(SOURCE.rgs), operator: of(SOURCE.operator), hub: of(SOURCE.hub) };
}

function add(totals: Totals, { attrs, n, sum }: { attrs: string; n: string; sum: string }): void {
  const cell = totals.get(Number(attrs)) ?? { n: 0, sum: 0n };
  cell.n += Number(n);
  cell.sum += BigInt(sum);
  totals.set(Number(attrs), cell);
}
