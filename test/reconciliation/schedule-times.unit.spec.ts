import fc from 'fast-check';
import { IANAZone } from 'luxon';
import { CronError, checkCron, dueDates, nextFire } from '../../src/reconciliation/calendar/schedule-times';
import { businessWindow, lastClosedDate, nextBusinessDate } from '../../src/reconciliation/calendar/window';

const NOW = new Date('2026-11-23T09:00:00Z');
const daily = (schedule: Partial<Parameters<typeof dueDates>[0]> = {}) => ({
  cron: '30 7 * * *',
  zone: 'Europe/Malta',
  cutoff: '06:00',
  catchUpDays: 7,
  lastBusinessDate: '2026-11-21',
  ...schedule,
});

describe('a cron expression', () => {
  it.each(['30 7 * * *', '*/5 * * * *', '0,30 * * * *', '0 6 * * 1-5', '15 3 1 * *', '0 0 1 1 *', '0 0 29 2 *'])(
    '%s is taken',
    (cron) => expect(() => checkCron(cron, 'Europe/Malta', NOW)).not.toThrow(),
  );
  it.each([
    '* * * * *',
    '*/4 * * * *',
    '0,4 * * * *',
    '58,2 * * * *',
    '0,4 0 1 1 *',
    '58,2 0,1 29 2 *',
    '30 7 * *',
    '0 30 7 * * *',
    '61 * * * *',
    'daily',
    '@daily',
    '',
    '0 0 31 2 *',
    '30 7 * * * ',
  ])('"%s" is refused', (cron) => expect(() => checkCron(cron, 'Europe/Malta', NOW)).toThrow(CronError));

  it('fires by the clocks of its zone, also where they change', () => {
    expect(nextFire('30 7 * * *', 'Europe/Malta', new Date('2026-03-28T12:00:00Z')).toISOString()).toBe(
      '2026-03-29T05:30:00.000Z',
    );
    expect(nextFire('30 7 * * *', 'Europe/Malta', new Date('2026-10-24T12:00:00Z')).toISOString()).toBe(
      '2026-10-25T06:30:00.000Z',
    );
  });
});

/**
 * Zones whose clocks change in unusual ways, with a year in which they did: at midnight, by half an hour, by a day,
 * backwards for Ramadan.
 */
const CHANGES = [
  ['Europe/Malta', 2026],
  ['Asia/Beirut', 2026],
  ['Australia/Lord_Howe', 2026],
  ['America/Santiago', 2026],
  ['Africa/Casablanca', 2026],
  ['Pacific/Apia', 2011],
  ['Europe/Dublin', 2025],
  ['America/New_York', 2026],
  ['America/Scoresbysund', 2024],
  ['Africa/Cairo', 2026],
  ['Asia/Gaza', 2026],
  ['America/Havana', 2026],
  ['Atlantic/Azores', 2026],
  ['Antarctica/Troll', 2026],
  ['America/Asuncion', 2023],
  ['Asia/Tehran', 2021],
  ['America/Sao_Paulo', 2018],
  ['Pacific/Chatham', 2026],
  ['America/St_Johns', 2006],
  ['Asia/Pyongyang', 2018],
  ['America/Caracas', 2016],
  ['Asia/Kolkata', 2026],
  ['UTC', 2026],
] as const;
const MINUTE_MS = 60_000;

const QUARTER_MS = 15 * MINUTE_MS;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * Offsets by luxon: its zone data is Node's, and its arithmetic is not ours. No clock of these years changes but on a
 * quarter of an hour.
 */
function offsetsOf(zone: string): (at: number) => number {
  const place = IANAZone.create(zone);
  const known = new Map<number, number>();
  const atQuarter = (quarter: number): number => {
    const offset = known.get(quarter) ?? place.offset(quarter);
    known.set(quarter, offset);
    return offset;
  };
  return (at) => {
    const quarter = Math.floor(at / QUARTER_MS) * QUARTER_MS;
    const offset = atQuarter(quarter);
    // Newfoundland changed its clocks at one minute past midnight.
    return offset === atQuarter(quarter + QUARTER_MS) ? offset : place.offset(at);
  };
}

/** Moments at which a zone's offset changes in a year. */
function changesOf(zone: string, year: number): number[] {
  const offset = offsetsOf(zone);
  const found: number[] = [];
  for (let day = Date.UTC(year, 0, 1); day < Date.UTC(year + 1, 0, 1); day += 24 * HOUR_MS)
    if (offset(day) !== offset(day + 24 * HOUR_MS))
      for (let at = day; at < day + 24 * HOUR_MS; at += QUARTER_MS)
        if (offset(at) !== offset(at + QUARTER_MS)) {
          let change = at + MINUTE_MS;
          while (offset(change) === offset(at)) change += MINUTE_MS;
          found.push(change);
        }
  return found;
}

/**
 * What the clock shows, minute by minute: the time on each date where it is shown first; one that is skipped where it
 * would have come without the change.
 */
function shownTimes(offset: (at: number) => number, change: number, from: number, to: number, clock: string): number[] {
  const fires = new Map<string, number>();
  const dates: string[] = [];
  for (let at = from; at < to; at += MINUTE_MS) {
    const [date = '', time = ''] = new Date(at + offset(at) * MINUTE_MS).toISOString().slice(0, 16).split('T');
    if (dates.at(-1) !== date && !dates.includes(date)) dates.push(date);
    if (time === clock && !fires.has(date)) fires.set(date, at);
  }
  for (const date of dates.slice(1, -1))
    if (!fires.has(date)) fires.set(date, Date.parse(`${date}T${clock}:00Z`) - offset(change - 1) * MINUTE_MS);
  return [...fires.values()].sort((a, b) => a - b);
}

describe('a daily fire', () => {
  it.each([
    ['30 3 * * *', 'Europe/Malta', '2026-10-24T12:00:00Z', ['2026-10-25T02:30:00.000Z', '2026-10-26T02:30:00.000Z']],
    ['30 2 * * *', 'Europe/Malta', '2026-10-24T12:00:00Z', ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z']],
    ['0 0 * * *', 'Asia/Beirut', '2026-10-23T22:00:00Z', ['2026-10-24T22:00:00.000Z', '2026-10-25T22:00:00.000Z']],
    ['0 0 * * *', 'Asia/Beirut', '2026-03-27T22:00:00Z', ['2026-03-28T22:00:00.000Z', '2026-03-29T21:00:00.000Z']],
    [
      '45 1 * * *',
      'Australia/Lord_Howe',
      '2026-04-03T20:00:00Z',
      ['2026-04-04T14:45:00.000Z', '2026-04-05T15:15:00.000Z'],
    ],
    ['1 0 * * *', 'America/St_Johns', '2006-10-28T12:00:00Z', ['2006-10-29T03:31:00.000Z', '2006-10-30T03:31:00.000Z']],
    ['0 8 * * *', 'Pacific/Apia', '2011-12-29T19:00:00Z', ['2011-12-30T18:00:00.000Z', '2011-12-31T18:00:00.000Z']],
    ['0 2,3 * * *', 'Europe/Malta', '2026-03-28T12:00:00Z', ['2026-03-29T01:00:00.000Z', '2026-03-30T00:00:00.000Z']],
    [
      '30,0 2,3 * * *',
      'Europe/Malta',
      '2026-03-28T12:00:00Z',
      ['2026-03-29T01:00:00.000Z', '2026-03-29T01:30:00.000Z'],
    ],
  ])('%s in %s after %s comes when the clock shows it', (cron, zone, after, fires) => {
    const first = nextFire(cron, zone, new Date(after));
    expect([first, nextFire(cron, zone, first)].map((at) => at.toISOString())).toEqual(fires);
  });

  it('comes once on each date, when the clock shows it, in any zone and on the nights on which the clocks change', () => {
    const nights = CHANGES.flatMap(([zone, year]) =>
      [...changesOf(zone, year), Date.UTC(year, 5, 15)].map((change) => ({ zone, change, offset: offsetsOf(zone) })),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...nights),
        fc.oneof(
          fc.integer({ min: 0, max: 47 }).map((half) => half * 30),
          fc.integer({ min: 0, max: 1439 }),
        ),
        fc.integer({ min: 0, max: 59_999 }),
        ({ zone, change, offset }, minutes, stagger) => {
          const clock = `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
          const from = change - 50 * HOUR_MS;
          const expected = shownTimes(offset, change, from, from + 100 * HOUR_MS, clock);
          const found: number[] = [];
          // From any moment, and not only from fire to fire.
          for (let at = from - stagger; ; at = (found.at(-1) ?? at) + (stagger % 3) * 1000) {
            found.push(nextFire(`${minutes % 60} ${Math.floor(minutes / 60)} * * *`, zone, new Date(at)).getTime());
            if (found.length >= expected.length) break;
          }
          expect(found.map((at) => new Date(at).toISOString())).toEqual(
            expected.map((at) => new Date(at).toISOString()),
          );
        },
      ),
      { numRuns: 120 },
    );
  });

  it('of every five minutes never comes twice, nor out of order, however the clocks jump', () => {
    for (const [zone, change] of [
      ['Europe/Malta', '2026-03-29T01:00:00Z'],
      ['Europe/Malta', '2026-10-25T01:00:00Z'],
      ['Australia/Lord_Howe', '2026-10-03T15:30:00Z'],
    ] as const) {
      const fires = [new Date(Date.parse(change) - 2 * 3_600_000)];
      while (fires.length < 60) fires.push(nextFire('*/5 * * * *', zone, fires.at(-1) as Date));
      for (const [index, at] of fires.entries())
        if (index > 0) expect(at.getTime() - (fires[index - 1]?.getTime() ?? 0)).toBeGreaterThanOrEqual(5 * MINUTE_MS);
    }
  });
});

describe('a business day is due', () => {
  it.each([
    ['not while it lasts', '2026-11-23T04:59:59Z', []],
    ['not when it has ended, but at the next fire', '2026-11-23T06:29:59Z', []],
    ['from that fire on', '2026-11-23T06:30:00Z', ['2026-11-22']],
    [
      'together with the days before it that nobody ran',
      '2026-11-26T06:30:00Z',
      ['2026-11-22', '2026-11-23', '2026-11-24', '2026-11-25'],
    ],
  ])('%s', (_when, now, due) => expect(dueDates(daily(), new Date(now))).toEqual({ due, missed: null }));

  it('a month later only for the newest days, and it is known up to where none will come', () => {
    expect(dueDates(daily({ catchUpDays: 2 }), new Date('2026-12-22T09:00:00Z'))).toEqual({
      due: ['2026-12-20', '2026-12-21'],
      missed: '2026-12-19',
    });
  });

  it('at the fire itself when it coincides with its end', () => {
    expect(dueDates(daily({ cron: '0 6 * * *' }), new Date('2026-11-23T05:00:00Z')).due).toEqual(['2026-11-22']);
  });

  it('on Monday for Friday, Saturday and Sunday when the schedule knows only weekdays', () => {
    expect(
      dueDates(daily({ cron: '0 8 * * 1-5', lastBusinessDate: '2026-11-19' }), new Date('2026-11-22T12:00:00Z')).due,
    ).toEqual([]);
    expect(
      dueDates(daily({ cron: '0 8 * * 1-5', lastBusinessDate: '2026-11-19' }), new Date('2026-11-23T09:00:00Z')).due,
    ).toEqual(['2026-11-20', '2026-11-21', '2026-11-22']);
  });

  it('exactly once, whenever the hub looks and however long it was down', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('Europe/Malta', 'America/New_York', 'Australia/Lord_Howe', 'UTC'),
        fc.constantFrom('00:00', '02:30', '06:00', '23:59'),
        fc.constantFrom('30 7 * * *', '0 */6 * * *', '15 2 * * *', '0 8 * * 1-5'),
        fc.array(fc.integer({ min: 1, max: 72 }), { minLength: 1, maxLength: 20 }),
        fc.constantFrom('2026-03-25', '2026-10-20', '2026-06-01'),
        (zone, cutoff, cron, pauses, start) => {
          let lastBusinessDate: string = start;
          let now = businessWindow(start, zone, cutoff).to.getTime();
          const ran: string[] = [];
          for (const hours of pauses) {
            now += hours * 3_600_000;
            const { due, missed } = dueDates({ cron, zone, cutoff, catchUpDays: 366, lastBusinessDate }, new Date(now));
            expect(missed).toBeNull();
            for (const date of due) expect(businessWindow(date, zone, cutoff).to.getTime()).toBeLessThanOrEqual(now);
            ran.push(...due);
            lastBusinessDate = due.at(-1) ?? lastBusinessDate;
          }
          let expected: string = start;
          for (const date of ran) {
            expected = nextBusinessDate(expected, zone, cutoff);
            expect(date).toBe(expected);
          }
          // What is not due yet waits for a fire, never for a day more than a weekend.
          expect(
            now - businessWindow(nextBusinessDate(lastBusinessDate, zone, cutoff), zone, cutoff).to.getTime(),
          ).toBeLessThan(4 * 24 * 3_600_000);
          expect(lastBusinessDate <= lastClosedDate(new Date(now), zone, cutoff) || lastBusinessDate === start).toBe(
            true,
          );
        },
      ),
      { numRuns: 100 },
    );
  });
});
