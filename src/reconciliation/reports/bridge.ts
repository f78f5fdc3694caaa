import type { SummaryCell } from './report.store';

/** One step of the way from one side's total to another's. */
export interface BridgeStep {
  /** Class of the items that make the difference. */
  readonly class: string;
  readonly differenceMinor: bigint;
}

/** How the totals of two sides differ on one day, in one currency and direction, and why. */
export interface BridgeLine {
  readonly businessDate: string | null;
  readonly currency: string;
  readonly direction: string;
  readonly from: 'rgs' | 'hub';
  readonly to: 'operator' | 'rgs';
  readonly fromMinor: bigint;
  readonly steps: readonly BridgeStep[];
  readonly toMinor: bigint;
  /** What no item explains; a run with anything but zero here does not seal. */
  readonly unexplainedMinor: bigint;
}

const WAYS = [
  ['rgs', 'operator'],
  ['hub', 'rgs'],
  ['hub', 'operator'],
] as const;

/**
 * Every total is walked to from another by the classes of the items in between. Bookings that matched take no part: if both sides have the
 * same of them, nothing is left over, and that is the proof.
 */
export function bridgeOf(cells: readonly SummaryCell[]): BridgeLine[] {
  const groups = new Map<string, SummaryCell[]>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.businessDate, cell.currency, cell.direction]);
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()].flatMap((group) => WAYS.map(([from, to]) => line(group, from, to)));
}

function line(group: readonly SummaryCell[], from: 'rgs' | 'hub', to: 'operator' | 'rgs'): BridgeLine {
  const total = (side: SummaryCell['side'], className?: string) =>
    group.reduce(
      (sum, cell) =>
        cell.side === side && (className === undefined || cell.class === className) ? sum + cell.sumMinor : sum,
      0n,
    );
  const classes = [...new Set(group.filter(({ state }) => state !== 'matched').map((cell) => cell.class))].sort();
  const steps = classes
    .map((name) => ({ class: name, differenceMinor: total(to, name) - total(from, name) }))
    .filter(({ differenceMinor }) => differenceMinor !== 0n);
  const [fromMinor, toMinor] = [total(from), total(to)];
  const [{ businessDate, currency, direction } = { businessDate: null, currency: '', direction: '' }] = group;
  return {
    businessDate,
    currency,
    direction,
    from,
    to,
    fromMinor,
    steps,
    toMinor,
    unexplainedMinor: toMinor - fromMinor - steps.reduce((sum, { differenceMinor }) => sum + differenceMinor, 0n),
  };
}
