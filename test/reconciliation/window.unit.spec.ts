import fc from 'fast-check';
import { IANAZone } from 'luxon';
import {
  type ReconWindow,
  WindowError,
  businessDateOf,
  businessDays,
  businessWindow,
  lastClosedDate,
  nextBusinessDate,
  zonedIso,
} from '../../src/reconciliation/calendar/window';

const HOUR = 3_600_000;
const hours = ({ from, to }: { from: Date; to: Date }) => (to.getTime() - from.getTime()) / HOUR;
const window = (date: string, zone: string, cutoff: string) => businessWindow(date, zone, cutoff);
const iso = ({ from, to }: ReconWindow) => [from.toISOString(), to.toISOString()];

/** With whole, half and quarter hours, both hemispheres, changes at midnight, a skipped day, and none at all. */
const ZONES = [
  'Europe/Malta',
  'America/New_York',
  'Australia/Lord_Howe',
  'America/Sao_Paulo',
  'Africa/Cairo',
  'Asia/Beirut',
  'Asia/Kathmandu',
  'Pacific/Apia',
  'Pacific/Chatham',
  'America/St_Johns',
  'Africa/Casablanca',
  'UTC',
];
const zone = fc.constantFrom(...ZONES);
const cutoff = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
  .map(([h, m]) => `${String(h).padStart(2, '0')}:${String(m).padStart(2, '0')}`);
const instant = fc.integer({ min: Date.UTC(1995, 0, 1), max: Date.UTC(2037, 11, 31) }).map((ms) => new Date(ms));

describe('a business day', () => {
  it.each([
    [
      'an ordinary day',
      '2026-11-22',
      'Europe/Malta',
      '06:00',
      24,
      ['2026-11-22T05:00:00.000Z', '2026-11-23T05:00:00.000Z'],
    ],
    [
      'the day on which the clocks go forward',
      '2026-03-29',
      'Europe/Malta',
      '00:00',
      23,
      ['2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z'],
    ],
    [
      'the day on which they go back',
      '2026-10-25',
      'Europe/Malta',
      '00:00',
      25,
      ['2026-10-24T22:00:00.000Z', '2026-10-25T23:00:00.000Z'],
    ],
    [
      'the same in New York, forward',
      '2026-03-08',
      'America/New_York',
      '00:00',
      23,
      ['2026-03-08T05:00:00.000Z', '2026-03-09T04:00:00.000Z'],
    ],
    [
      'the same in New York, back',
      '2026-11-01',
      'America/New_York',
      '00:00',
      25,
      ['2026-11-01T04:00:00.000Z', '2026-11-02T05:00:00.000Z'],
    ],
    [
      'half an hour forward',
      '2026-10-04',
      'Australia/Lord_Howe',
      '00:00',
      23.5,
      ['2026-10-03T13:30:00.000Z', '2026-10-04T13:00:00.000Z'],
    ],
    [
      'half an hour back',
      '2026-04-05',
      'Australia/Lord_Howe',
      '00:00',
      24.5,
      ['2026-04-04T13:00:00.000Z', '2026-04-05T13:30:00.000Z'],
    ],
    [
      'a cut-off after the change: the change falls into the day before',
      '2026-03-28',
      'Europe/Malta',
      '06:00',
      23,
      ['2026-03-28T05:00:00.000Z', '2026-03-29T04:00:00.000Z'],
    ],
    [
      'a cut-off that the clocks skip: 02:30 is when it would have been, 03:30',
      '2026-03-29',
      'Europe/Malta',
      '02:30',
      23,
      ['2026-03-29T01:30:00.000Z', '2026-03-30T00:30:00.000Z'],
    ],
    [
      'the day that ends at a skipped cut-off',
      '2026-03-28',
      'Europe/Malta',
      '02:30',
      24,
      ['2026-03-28T01:30:00.000Z', '2026-03-29T01:30:00.000Z'],
    ],
    [
      'a cut-off that the clocks show twice: the first counts',
      '2026-10-25',
      'Europe/Malta',
      '02:30',
      25,
      ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z'],
    ],
    [
      'midnight itself is skipped',
      '2018-11-04',
      'America/Sao_Paulo',
      '00:00',
      23,
      ['2018-11-04T03:00:00.000Z', '2018-11-05T02:00:00.000Z'],
    ],
    ['a leap day', '2028-02-29', 'UTC', '00:00', 24, ['2028-02-29T00:00:00.000Z', '2028-03-01T00:00:00.000Z']],
    [
      'the last day of a year',
      '2026-12-31',
      'Asia/Kathmandu',
      '23:59',
      24,
      ['2026-12-31T18:14:00.000Z', '2027-01-01T18:14:00.000Z'],
    ],
  ])('%s', (_what, date, place, at, length, ends) => {
    expect(iso(window(date, place, at))).toEqual(ends);
    expect(hours(window(date, place, at))).toBe(length);
  });

  it.each([
    ['date', '2026-02-29', 'UTC', '00:00'],
    ['date', '2026-13-01', 'UTC', '00:00'],
    ['date', '20261122', 'UTC', '00:00'],
    ['date', '2026-11-22T00:00', 'UTC', '00:00'],
    ['date', '2011-12-30', 'Pacific/Apia', '06:00'],
    ['zone', '2026-11-22', 'Europe/Valetta', '00:00'],
    ['zone', '2026-11-22', '+02:00', '00:00'],
    ['zone', '2026-11-22', '', '00:00'],
    ['cutoff', '2026-11-22', 'UTC', '24:00'],
    ['cutoff', '2026-11-22', 'UTC', '6:00'],
    ['cutoff', '2026-11-22', 'UTC', '06:60'],
  ])('refuses a bad %s: %s %s %s', (field, date, place, at) => {
    expect(() => window(date, place, at)).toThrow(expect.objectContaining({ field, name: WindowError.name }));
  });

  it('knows the day before and after a date that never was', () => {
    expect(nextBusinessDate('2011-12-29', 'Pacific/Apia', '06:00')).toBe('2011-12-31');
    expect(window('2011-12-29', 'Pacific/Apia', '06:00').to).toEqual(
      window('2011-12-31', 'Pacific/Apia', '06:00').from,
    );
    expect(businessDateOf(new Date('2011-12-30T10:00:00Z'), 'Pacific/Apia', '06:00')).toBe('2011-12-29');
    expect(businessDateOf(new Date('2011-12-30T16:00:00Z'), 'Pacific/Apia', '06:00')).toBe('2011-12-31');
  });

  it('is closed when the next has begun', () => {
    expect(lastClosedDate(new Date('2026-11-23T04:59:59.999Z'), 'Europe/Malta', '06:00')).toBe('2026-11-21');
    expect(lastClosedDate(new Date('2026-11-23T05:00:00.000Z'), 'Europe/Malta', '06:00')).toBe('2026-11-22');
  });
});

describe('every instant', () => {
  it('has one owner: the day that businessDateOf names is the one whose window holds it', () => {
    fc.assert(
      fc.property(instant, zone, cutoff, (at, place, from) => {
        const owner = window(businessDateOf(at, place, from), place, from);
        expect(owner.from.getTime()).toBeLessThanOrEqual(at.getTime());
        expect(owner.to.getTime()).toBeGreaterThan(at.getTime());
      }),
      { numRuns: 400 },
    );
  });

  it('has one owner also in the hours around a change of the clocks', () => {
    const changes: [string, string][] = [
      ['Europe/Malta', '2026-03-29T01:00:00Z'],
      ['Europe/Malta', '2026-10-25T01:00:00Z'],
      ['America/New_York', '2026-11-01T06:00:00Z'],
      ['Australia/Lord_Howe', '2026-04-04T15:00:00Z'],
      ['America/Sao_Paulo', '2018-11-04T03:00:00Z'],
      ['Pacific/Apia', '2011-12-30T10:00:00Z'],
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...changes),
        fc.integer({ min: -180, max: 180 }),
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 0, max: 59 }),
        ([place, at], minutes, hour, minute) => {
          const moment = new Date(Date.parse(at) + minutes * 60_000);
          const from = `0${hour}:${String(minute).padStart(2, '0')}`;
          const owner = window(businessDateOf(moment, place, from), place, from);
          expect(owner.from <= moment && moment < owner.to).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('of a window lies in exactly one of its days, and days meet without gap or overlap', () => {
    fc.assert(
      fc.property(instant, fc.integer({ min: 1, max: 70 * 24 * 60 }), zone, cutoff, (from, minutes, place, at) => {
        const to = new Date(from.getTime() + minutes * 60_000);
        const days = businessDays({ from, to, zone: place, cutoff: at });
        expect(days[0]!.from <= from && days.at(-1)!.to >= to).toBe(true);
        expect(days.slice(0, -1).every(({ to: end }) => end < to)).toBe(true);
        for (const [index, day] of days.entries()) {
          expect(day).toEqual({
            date: day.date,
            from: window(day.date, place, at).from,
            to: window(day.date, place, at).to,
          });
          if (index > 0) expect(day.from).toEqual(days[index - 1]!.to);
        }
      }),
      { numRuns: 150 },
    );
  });
});

it('the days of a month add up to the month', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1996, max: 2036 }),
      fc.integer({ min: 1, max: 12 }),
      zone,
      cutoff,
      (year, month, place, at) => {
        const first = `${year}-${String(month).padStart(2, '0')}-01`;
        const after = month === 12 ? `${year + 1}-01-01` : `${year}-${String(month + 1).padStart(2, '0')}-01`;
        const from = window(first, place, at).from;
        const to = window(after, place, at).from;
        const days = businessDays({ from, to, zone: place, cutoff: at });
        expect(days.reduce((sum, day) => sum + hours(day), 0)).toBeCloseTo((to.getTime() - from.getTime()) / HOUR, 9);
        expect([days[0]!.from, days.at(-1)!.to]).toEqual([from, to]);
        let expected = first;
        for (const { date } of days) {
          expect(date).toBe(expected);
          expected = nextBusinessDate(date, place, at);
        }
      },
    ),
    { numRuns: 100 },
  );
});

it('refuses a window that ends before it begins, or that is longer than any month or year that finance closes', () => {
  const at = new Date('2026-11-22T00:00:00Z');
  expect(() => businessDays({ from: at, to: at, zone: 'UTC', cutoff: '00:00' })).toThrow(WindowError);
  expect(() => businessDays({ from: new Date('1900-01-01T00:00:00Z'), to: at, zone: 'UTC', cutoff: '00:00' })).toThrow(
    /longer than/,
  );
});

describe('an instant as text of a zone', () => {
  it.each([
    ['2026-03-29T00:59:59.999Z', 'Europe/Malta', '2026-03-29T01:59:59.999+01:00'],
    ['2026-03-29T01:00:00.000Z', 'Europe/Malta', '2026-03-29T03:00:00.000+02:00'],
    ['2026-10-25T00:30:00.000Z', 'Europe/Malta', '2026-10-25T02:30:00.000+02:00'],
    ['2026-10-25T01:30:00.000Z', 'Europe/Malta', '2026-10-25T02:30:00.000+01:00'],
    ['2026-10-25T01:30:00.000Z', 'Asia/Kathmandu', '2026-10-25T07:15:00.000+05:45'],
    ['2026-10-25T01:30:00.000Z', 'UTC', '2026-10-25T01:30:00.000+00:00'],
  ])('%s in %s is %s', (at, place, text) => {
    expect(zonedIso(place)(new Date(at))).toBe(text);
  });

  it('is the same instant, in whatever order instants are asked, with the offset that another library finds', () => {
    fc.assert(
      fc.property(fc.array(instant, { minLength: 1, maxLength: 20 }), zone, (instants, place) => {
        const write = zonedIso(place);
        for (const at of instants) {
          expect(Date.parse(write(at))).toBe(at.getTime());
          const [, sign, h, m] = /([+-])(\d\d):(\d\d)$/.exec(write(at)) ?? [];
          expect((sign === '-' ? -1 : 1) * (Number(h) * 60 + Number(m))).toBe(
            IANAZone.create(place).offset(at.getTime()),
          );
        }
      }),
      { numRuns: 100 },
    );
  });
});
