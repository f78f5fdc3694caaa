import { Temporal } from 'temporal-polyfill';

/** A half-open span of time, `from` <= instant < `to`, that one run answers for. */
export interface ReconWindow {
  readonly from: Date;
  readonly to: Date;
  /** IANA name, for example Europe/Malta. */
  readonly zone: string;
  /** Local time HH:MM at which a business day begins. */
  readonly cutoff: string;
}

/** A business day as the instants that it owns. */
export interface BusinessDay {
  /** YYYY-MM-DD, the local date on which it begins. */
  readonly date: string;
  readonly from: Date;
  readonly to: Date;
}

/** A date, zone or cut-off that means nothing; `field` says which. */
export class WindowError extends RangeError {
  constructor(
    readonly field: 'date' | 'zone' | 'cutoff' | 'window',
    message: string,
  ) {
    super(message);
    this.name = 'WindowError';
  }
}

const DATE = /^\d{4}-\d{2}-\d{2}$/;
const CUTOFF = /^([01]\d|2[0-3]):[0-5]\d$/;
/** Names of the IANA database; what else Intl takes ("+02:00") has no daylight saving, so it names no place where finance works. */
const ZONE = /^[A-Za-z][A-Za-z0-9_+/-]{1,63}$/;
/** Longer than any window that finance asks for; it bounds the work of a typing error in a year. */
export const BUSINESS_DAYS_MAX = 3_700;

/** Throws WindowError unless the zone is in the IANA database of this Node. */
export function checkZone(zone: string): void {
  try {
    if (ZONE.test(zone)) {
      Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone);
      return;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new WindowError('zone', `"${zone}" is not a time zone of the IANA database`);
}

/** Throws WindowError unless the cut-off is HH:MM from 00:00 to 23:59. */
export function checkCutoff(cutoff: string): void {
  if (!CUTOFF.test(cutoff)) throw new WindowError('cutoff', `"${cutoff}" is not a time from 00:00 to 23:59`);
}

/**
 * The business day `date`: from the cut-off of that local date to the cut-off of the next, so 23 or 25 hours where the clocks change.
 * A cut-off that the clocks skip comes when it would have come without the change, and of one that they show twice the first counts.
 * Throws WindowError for a date that the zone never had (Pacific/Apia, 2011-12-30).
 */
export function businessWindow(date: string, zone: string, cutoff: string): ReconWindow {
  checkZone(zone);
  checkCutoff(cutoff);
  const day = parseDate(date);
  const from = startOf(day, zone, cutoff);
  const to = startOf(day.add({ days: 1 }), zone, cutoff);
  if (from >= to) throw new WindowError('date', `${date} does not exist in ${zone}`);
  return { from: new Date(from), to: new Date(to), zone, cutoff };
}

/** The business day that owns an instant. Every instant has exactly one, whatever the clocks did. */
export function businessDateOf(instant: Date, zone: string, cutoff: string): string {
  checkZone(zone);
  checkCutoff(cutoff);
  const at = instant.getTime();
  // The wall clock cannot be asked alone: in the hour that it shows twice it would name two days in turn. It only says where to begin.
  let day = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone).toPlainDate().add({ days: 1 });
  while (startOf(day, zone, cutoff) > at) day = day.subtract({ days: 1 });
  // Of a date that the zone skipped, both ends are the same instant; the date after it is the one that people had.
  for (let next = day.add({ days: 1 }); startOf(next, zone, cutoff) <= at; next = next.add({ days: 1 })) day = next;
  return day.toString();
}

/**
 * The business days that touch [from, to), in order, whole at both ends. Postgres gets these instants instead of a zone name:
 * its zone database and Node's may be of different years, and a row must not change its day with the machine that asks.
 */
export function businessDays({ from, to, zone, cutoff }: ReconWindow): BusinessDay[] {
  if (from >= to) throw new WindowError('window', 'the window ends before it begins');
  let day = Temporal.PlainDate.from(businessDateOf(from, zone, cutoff));
  let start = startOf(day, zone, cutoff);
  const days: BusinessDay[] = [];
  while (start < to.getTime()) {
    const next = day.add({ days: 1 });
    const end = startOf(next, zone, cutoff);
    if (end > start) days.push({ date: day.toString(), from: new Date(start), to: new Date(end) });
    if (days.length > BUSINESS_DAYS_MAX)
      throw new WindowError('window', `the window is longer than ${BUSINESS_DAYS_MAX} days`);
    day = next;
    start = end;
  }
  return days;
}

/** Last business day that is over at `now`. */
export function lastClosedDate(now: Date, zone: string, cutoff: string): string {
  const start = businessWindow(businessDateOf(now, zone, cutoff), zone, cutoff).from;
  return businessDateOf(new Date(start.getTime() - 1), zone, cutoff);
}

/** The business date after `date`; leaves out dates that the zone never had. */
export function nextBusinessDate(date: string, zone: string, cutoff: string): string {
  return businessDateOf(businessWindow(date, zone, cutoff).to, zone, cutoff);
}

/** Writes instants as ISO 8601 with the zone's offset, 2026-03-29T03:30:00.000+02:00. Keeps the offset until it changes: a report holds many rows of few days. */
export function zonedIso(zone: string): (instant: Date) => string {
  checkZone(zone);
  let since = Infinity;
  let until = -Infinity;
  let offsetMs = 0;
  let suffix = '';
  return (instant) => {
    const at = instant.getTime();
    if (at < since || at >= until) {
      const there = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone);
      since = there.getTimeZoneTransition('previous')?.epochMilliseconds ?? -Infinity;
      until = there.getTimeZoneTransition('next')?.epochMilliseconds ?? Infinity;
      // "previous" lies strictly before; an instant that is a transition itself belongs to the offset that begins there.
      if (there.subtract({ nanoseconds: 1 }).offsetNanoseconds !== there.offsetNanoseconds) since = at;
      offsetMs = Math.round(there.offsetNanoseconds / 1e6);
      suffix = there.offset;
    }
    return new Date(at + offsetMs).toISOString().slice(0, -1) + suffix;
  };
}

/** False for a date that the zone left out. */
export function dateExists(date: Temporal.PlainDate, zone: string): boolean {
  return startOf(date, zone, '00:00') < startOf(date.add({ days: 1 }), zone, '00:00');
}

function parseDate(date: string): Temporal.PlainDate {
  try {
    if (DATE.test(date)) return Temporal.PlainDate.from(date);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new WindowError('date', `"${date}" is not a date such as 2026-11-22`);
}

/** Epoch milliseconds. Temporal's rule "compatible" is that of RFC 5545 and of java.time. */
function startOf(day: Temporal.PlainDate, zone: string, cutoff: string): number {
  const [hour = 0, minute = 0] = cutoff.split(':').map(Number);
  return day.toZonedDateTime({ timeZone: zone, plainTime: new Temporal.PlainTime(hour, minute) }).epochMilliseconds;
}
