import fc from 'fast-check';
import { CronError, checkCron, dueDates, nextFire } from '../../src/reconciliation/schedule-times';
import { businessWindow, lastClosedDate, nextBusinessDate } from '../../src/reconciliation/window';

const NOW = new Date('2026-11-23T09:00:00Z');
const daily = (schedule: Partial<Parameters<typeof dueDates>[0]> = {}) => ({ cron: '30 7 * * *', zone: 'Europe/Malta', cutoff: '06:00', catchUpDays: 7, lastBusinessDate: '2026-11-21', ...schedule });

describe('a cron expression', () => {
  it.each(['30 7 * * *', '*/5 * * * *', '0,30 * * * *', '0 6 * * 1-5', '15 3 1 * *', '0 0 1 1 *', '0 0 29 2 *'])('%s is taken', (cron) => expect(() => checkCron(cron, 'Europe/Malta', NOW)).not.toThrow());
  it.each(['* * * * *', '*/4 * * * *', '0,4 * * * *', '58,2 * * * *', '0,4 0 1 1 *', '58,2 0,1 29 2 *', '30 7 * *', '0 30 7 * * *', '61 * * * *', 'daily', '@daily', '', '0 0 31 2 *', '30 7 * * * '])('"%s" is refused', (cron) => expect(() => checkCron(cron, 'Europe/Malta', NOW)).toThrow(CronError));

  it('fires by the clocks of its zone, also where they change', () => {
    expect(nextFire('30 7 * * *', 'Europe/Malta', new Date('2026-03-28T12:00:00Z')).toISOString()).toBe('2026-03-29T05:30:00.000Z');
    expect(nextFire('30 7 * * *', 'Europe/Malta', new Date('2026-10-24T12:00:00Z')).toISOString()).toBe('2026-10-25T06:30:00.000Z');
  });
});

describe('a business day is due', () => {
  it.each([
    ['not while it lasts', '2026-11-23T04:59:59Z', []],
    ['not when it has ended, but at the next fire', '2026-11-23T06:29:59Z', []],
    ['from that fire on', '2026-11-23T06:30:00Z', ['2026-11-22']],
    ['together with the days before it that nobody ran', '2026-11-26T06:30:00Z', ['2026-11-22', '2026-11-23', '2026-11-24', '2026-11-25']],
  ])('%s', (_when, now, due) => expect(dueDates(daily(), new Date(now))).toEqual({ due, missed: null }));

  it('a month later only for the newest days, and it is known up to where none will come', () => {
    expect(dueDates(daily({ catchUpDays: 2 }), new Date('2026-12-22T09:00:00Z'))).toEqual({ due: ['2026-12-20', '2026-12-21'], missed: '2026-12-19' });
  });

  it('at the fire itself when it coincides with its end', () => {
    expect(dueDates(daily({ cron: '0 6 * * *' }), new Date('2026-11-23T05:00:00Z')).due).toEqual(['2026-11-22']);
  });

  it('on Monday for Friday, Saturday and Sunday when the schedule knows only weekdays', () => {
    expect(dueDates(daily({ cron: '0 8 * * 1-5', lastBusinessDate: '2026-11-19' }), new Date('2026-11-22T12:00:00Z')).due).toEqual([]);
    expect(dueDates(daily({ cron: '0 8 * * 1-5', lastBusinessDate: '2026-11-19' }), new Date('2026-11-23T09:00:00Z')).due).toEqual(['2026-11-20', '2026-11-21', '2026-11-22']);
  });

  it('exactly once, whenever the hub looks and however long it was down', () => {
    fc.assert(
      fc.property(fc.constantFrom('Europe/Malta', 'America/New_York', 'Australia/Lord_Howe', 'UTC'), fc.constantFrom('00:00', '02:30', '06:00', '23:59'), fc.constantFrom('30 7 * * *', '0 */6 * * *', '15 2 * * *', '0 8 * * 1-5'), fc.array(fc.integer({ min: 1, max: 72 }), { minLength: 1, maxLength: 20 }), fc.constantFrom('2026-03-25', '2026-10-20', '2026-06-01'), (zone, cutoff, cron, pauses, start) => {
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
        expect(now - businessWindow(nextBusinessDate(lastBusinessDate, zone, cutoff), zone, cutoff).to.getTime()).toBeLessThan(4 * 24 * 3_600_000);
        expect(lastBusinessDate <= lastClosedDate(new Date(now), zone, cutoff) || lastBusinessDate === start).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});
