import { businessDays } from './window';

const DAY_MS = 24 * 3600 * 1000;

/** Business days as instants, ascending: an instant belongs to the last `from` that is not after it. */
export interface DayBounds {
  readonly from: readonly Date[];
  /** YYYY-MM-DD. */
  readonly dates: readonly string[];
}

/**
 * The business days that touch given days in UTC (as midnights, ascending). Instants and not a zone name go to Postgres: its zone database
 * and Node's may be of different years, and "local time less the cut-off" names two days in turn in an hour that the clocks show twice.
 */
export function dayBounds(utcDays: readonly Date[], zone: string, cutoff: string): DayBounds {
  const from: Date[] = [];
  const dates: string[] = [];
  for (const day of utcDays) {
    for (const business of businessDays({ from: day, to: new Date(day.getTime() + DAY_MS), zone, cutoff })) {
      const last = from.at(-1);
      if (last !== undefined && business.from <= last) continue;
      from.push(business.from);
      dates.push(business.date);
    }
  }
  return { from, dates };
}

/** The business days of a window. */
export function windowBounds({ from, to }: { from: Date; to: Date }, zone: string, cutoff: string): DayBounds {
  const days = businessDays({ from, to, zone, cutoff });
  return { from: days.map((day) => day.from), dates: days.map((day) => day.date) };
}
