import { CronTime } from 'cron';
import { Temporal } from 'temporal-polyfill';
import { businessWindow, dateExists, lastClosedDate, nextBusinessDate } from './window';

const FIVE_FIELDS = /^\S+( \S+){4}$/;
const FLOOR_MS = 5 * 60_000;
/** The minutes are the same in every hour, and at most twelve of them are five apart: this sees them all, and the turn of an hour. */
const FIRES_LOOKED_AT = 14;
/** The library finds nothing more than eight years from now. Up to half of that away, a next fire is always found, also of a leap day. */
const LOOK_AHEAD_MS = 4 * 366 * 24 * 3_600_000;

/** A cron expression that is none, fires too often or never. */
export class CronError extends RangeError {}

/** Throws CronError unless the expression has five fields, fires at all, and not more often than every five minutes. */
export function checkCron(cron: string, zone: string, now: Date): void {
  if (!FIVE_FIELDS.test(cron)) throw new CronError('cron must have five fields: minute, hour, day, month, weekday');
  let previous = nextFire(cron, zone, now);
  for (let fire = 1; fire < FIRES_LOOKED_AT && previous.getTime() - now.getTime() < LOOK_AHEAD_MS; fire += 1) {
    const next = nextFire(cron, zone, previous);
    if (next.getTime() - previous.getTime() < FLOOR_MS)
      throw new CronError('cron must not fire more often than every five minutes');
    previous = next;
  }
}

/**
 * First time after `after` at which the clocks of the zone show what the expression names. The library only reads the expression, in UTC, where
 * nothing is shown twice; by itself it fires an hour early or on the day before where clocks change. A time that the clocks show twice is the
 * first of the two, one that they skip comes when it would have come without the change: as cut-offs do, so a fire at the cut-off stays one.
 * Throws CronError when there is none.
 */
export function nextFire(cron: string, zone: string, after: Date): Date {
  const at = after.getTime();
  let best: Temporal.ZonedDateTime | null = null;
  for (const wall of wallTimes(cron, firstWall(at, zone))) {
    if (best !== null && Temporal.PlainDateTime.compare(wall, best.toPlainDateTime()) >= 0) break;
    const fire = wall.toZonedDateTime(zone);
    const isSkipped = !fire.toPlainDateTime().equals(wall);
    if (fire.epochMilliseconds <= at || (isSkipped && !dateExists(wall.toPlainDate(), zone))) continue;
    if (best === null || Temporal.ZonedDateTime.compare(fire, best) < 0) best = fire;
    // Behind a skipped time others may be shown before the moment that it moved to.
    if (!isSkipped) break;
  }
  if (best === null) throw new CronError('cron never fires');
  return new Date(best.epochMilliseconds);
}

/** What the clocks showed at `at`, or before the hours that they have just skipped: a time in them is yet to come. */
function firstWall(at: number, zone: string): Temporal.PlainDateTime {
  const now = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone);
  const change = now.add({ nanoseconds: 1 }).getTimeZoneTransition('previous');
  if (change === null) return now.toPlainDateTime();
  const skippedMs = (change.offsetNanoseconds - change.subtract({ nanoseconds: 1 }).offsetNanoseconds) / 1e6;
  return at - change.epochMilliseconds < skippedMs
    ? change.toPlainDateTime().subtract({ milliseconds: skippedMs })
    : now.toPlainDateTime();
}

/** Times of the expression from `start` on, as a clock that never changes shows them. */
function* wallTimes(cron: string, start: Temporal.PlainDateTime): Generator<Temporal.PlainDateTime> {
  let before = start.toZonedDateTime('UTC').epochMilliseconds - 1;
  for (;;) {
    try {
      before = new CronTime(cron, 'UTC').getNextDateFrom(new Date(before), 'UTC').toMillis();
    } catch (error) {
      throw new CronError(
        `cron cannot be understood or never fires: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    yield Temporal.Instant.fromEpochMilliseconds(before).toZonedDateTimeISO('UTC').toPlainDateTime();
  }
}

export interface ScheduleClock {
  readonly cron: string;
  readonly zone: string;
  readonly cutoff: string;
  readonly catchUpDays: number;
  readonly lastBusinessDate: string | null;
}

/**
 * The business days that a run is due for at `now`, oldest first, and the newest one that is too old to be caught up. A day is due at the
 * first fire after it has ended, so a hub that was down for a week finds a week of days due, each of which gets a report of its own.
 */
export function dueDates(
  { cron, zone, cutoff, catchUpDays, lastBusinessDate }: ScheduleClock,
  now: Date,
): { due: string[]; missed: string | null } {
  const closed = lastClosedDate(now, zone, cutoff);
  let date = lastBusinessDate === null ? closed : nextBusinessDate(lastBusinessDate, zone, cutoff);
  const due: string[] = [];
  let missed: string | null = null;
  while (date <= closed) {
    const end = businessWindow(date, zone, cutoff).to;
    if (nextFire(cron, zone, new Date(end.getTime() - 1)).getTime() > now.getTime()) break;
    due.push(date);
    if (due.length > catchUpDays) missed = due.shift() ?? null;
    date = nextBusinessDate(date, zone, cutoff);
  }
  return { due, missed };
}
