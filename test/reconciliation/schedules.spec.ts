import { randomUUID } from 'node:crypto';
import { SchedulesService } from '../../src/reconciliation/schedules/schedules.service';
import { businessWindow, nextBusinessDate } from '../../src/reconciliation/calendar/window';
import { ListServer } from '../support/partners/list-server';
import { ManualClock } from '../support/manual-clock';
import { expectProblem } from '../support/hub/problem';
import { testDatabase } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const DAY_MS = 24 * 3_600_000;
const DAILY = { cron: '30 7 * * *', zone: 'Europe/Malta', cutoff: '06:00', graceSeconds: 0, catchUpDays: 5 };
/** 09:00 in Malta. */
const MORNING = Date.parse('2026-03-27T08:00:00Z');

describe('a schedule', () => {
  let lists: ListServer;
  let hub: TestHub;
  let other: TestHub;
  const clock = new ManualClock(MORNING);
  beforeAll(async () => {
    lists = await ListServer.start();
    const database = await testDatabase();
    const env = { OPERATOR_BASE_URL: lists.url, RGS_WEBHOOK_URL: lists.url };
    hub = await TestHub.start({ env, clock, database });
    other = await TestHub.start({ env, clock, database, operator: hub.operator, rgs: hub.rgs });
  });
  afterAll(async () => {
    await other.stop();
    await hub.stop();
    await hub.database.drop();
    await lists.stop();
  });

  /** Each hub looks, at the same moment. */
  const tick = () => Promise.all([hub, other].map((one) => one.app.get(SchedulesService, { strict: false }).tick()));
  const put = (name: string, body: Record<string, unknown> = DAILY) =>
    hub.call('PUT', `/v1/recon/schedules/${name}`, body);
  const get = async (name: string) =>
    ((await hub.call('GET', '/v1/recon/schedules')).body as Record<string, any>[]).find(
      (schedule) => schedule.name === name,
    );
  const runsOf = async (name: string) =>
    ((await hub.call('GET', '/v1/recon/runs?kind=scheduled&limit=500')).body.items as Record<string, any>[])
      .filter(({ createdBy }) => createdBy === `schedule:${name}`)
      .reverse();
  /** Ticks until the schedule has dealt with `date`. */
  const reaches = (name: string, date: string) =>
    waitFor(`${name} has dealt with ${date}`, async () => {
      await tick();
      return (await get(name))?.lastBusinessDate === date;
    });
  const moveTo = (iso: string) => clock.advance(Date.parse(iso) - clock.now());

  afterEach(async () => {
    lists.list([]);
    moveTo('2026-03-27T08:00:00Z');
    for (const { name } of (await hub.call('GET', '/v1/recon/schedules')).body as { name: string }[])
      await hub.call('DELETE', `/v1/recon/schedules/${name}`);
  });

  it('runs the day that has just ended, once over all hubs, and says when it fires next', async () => {
    const { status, body } = await put('daily');
    expect([status, body]).toEqual([
      200,
      {
        name: 'daily',
        ...DAILY,
        enabled: true,
        lastBusinessDate: '2026-03-25',
        lastRun: null,
        lastError: null,
        nextFireAt: '2026-03-28T06:30:00.000Z',
        updatedBy: expect.stringMatching(/^finance:/),
        updatedAt: expect.any(String),
      },
    ]);
    await reaches('daily', '2026-03-26');
    await tick();
    const runs = await runsOf('daily');
    const { from, to } = businessWindow('2026-03-26', 'Europe/Malta', '06:00');
    expect(runs).toEqual([
      expect.objectContaining({
        kind: 'scheduled',
        state: 'sealed',
        businessDate: '2026-03-26',
        window: { from: from.toISOString(), to: to.toISOString() },
        activity: false,
        itemCount: 0,
        cutoff: '06:00',
      }),
    ]);
    expect(await get('daily')).toMatchObject({ lastRun: runs[0]!.id, lastError: null });
  });

  it('makes up for every day that passed while no hub was up, days of 23 hours too, each with a report of its own', async () => {
    await put('after-outage');
    await reaches('after-outage', '2026-03-26');
    moveTo('2026-03-31T08:00:00Z');
    await reaches('after-outage', '2026-03-30');
    const runs = await runsOf('after-outage');
    expect(runs.map(({ businessDate }) => businessDate).sort()).toEqual([
      '2026-03-26',
      '2026-03-27',
      '2026-03-28',
      '2026-03-29',
      '2026-03-30',
    ]);
    const hours = runs.map(({ window }) => (Date.parse(window.to) - Date.parse(window.from)) / 3_600_000);
    expect([...hours].sort()).toEqual([23, 24, 24, 24, 24]);
    let date = '2026-03-26';
    for (const run of [...runs].sort((a, b) => a.businessDate.localeCompare(b.businessDate))) {
      expect(run).toMatchObject({ state: 'sealed', businessDate: date });
      date = nextBusinessDate(date, 'Europe/Malta', '06:00');
    }
  });

  it('says so when days are too old to be made up for', async () => {
    await put('late', { ...DAILY, catchUpDays: 2 });
    moveTo('2026-04-06T08:00:00Z');
    await tick();
    expect(await get('late')).toMatchObject({
      lastBusinessDate: '2026-04-03',
      lastError: expect.stringContaining('up to 2026-04-03'),
    });
    await reaches('late', '2026-04-05');
    expect((await runsOf('late')).map(({ businessDate }) => businessDate).sort()).toEqual(['2026-04-04', '2026-04-05']);
  });

  it('tries a day again whose list could not be read, and runs the days after it all the same', async () => {
    lists.serve((_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'));
    await put('patient');
    await tick();
    await waitFor('the first try has failed', async () => (await runsOf('patient'))[0]?.state === 'failed');
    await tick();
    expect(await get('patient')).toMatchObject({
      lastBusinessDate: '2026-03-25',
      lastError: expect.stringMatching(/^the run of 2026-03-26 failed: /),
    });
    lists.list([]);
    moveTo('2026-03-27T08:10:00Z');
    await tick();
    expect(await runsOf('patient')).toHaveLength(1);
    // The database says when it failed, and its clock is not the one that the test moves.
    await hub.database.query(
      `update recon.run set finished_at = '2026-03-27 08:00Z', started_at = '2026-03-27 07:59Z' where created_by = 'schedule:patient'`,
    );
    moveTo('2026-03-28T08:00:00Z');
    await reaches('patient', '2026-03-27');
    expect((await runsOf('patient')).map(({ businessDate, state }) => `${businessDate} ${state}`).sort()).toEqual([
      '2026-03-26 failed',
      '2026-03-26 sealed',
      '2026-03-27 sealed',
    ]);
    expect((await get('patient'))?.lastError).toBeNull();
  });

  it('does not begin again what a person has called off', async () => {
    const held: (() => void)[] = [];
    lists.serve((_request, response) => void held.push(() => response.end('[]')));
    await put('called-off');
    await tick();
    const [run] = await waitFor('the run has begun', async () => {
      const runs = await runsOf('called-off');
      return runs[0]?.state === 'ingesting' && held.length > 0 ? runs : undefined;
    });
    const cancelled = await Promise.all(
      [hub, other].map((one) => one.call('POST', `/v1/recon/runs/${run!.id}/cancel`)),
    );
    expect(cancelled.map(({ status }) => status).sort()).toEqual([200, 409]);
    lists.list([]);
    await reaches('called-off', '2026-03-26');
    expect(await get('called-off')).toMatchObject({ lastError: 'the run of 2026-03-26 was cancelled' });
    expect(await runsOf('called-off')).toHaveLength(1);
  });

  it('rests when it is switched off, and makes up for that when it is switched on', async () => {
    await put('resting', { ...DAILY, enabled: false });
    await tick();
    expect(await get('resting')).toMatchObject({ enabled: false, nextFireAt: null, lastBusinessDate: '2026-03-25' });
    expect(await runsOf('resting')).toEqual([]);
    clock.advance(DAY_MS);
    await put('resting');
    await reaches('resting', '2026-03-27');
    expect(await runsOf('resting')).toHaveLength(2);
  });

  it.each([
    [
      'the extra hour',
      { cron: '30 3 * * *', zone: 'Europe/Malta' },
      '2026-10-24T22:00:00Z',
      '2026-10-25T02:30:00.000Z',
    ],
    [
      'clocks that go back at midnight',
      { cron: '0 0 * * *', zone: 'Asia/Beirut', cutoff: '00:00' },
      '2026-10-24T20:30:00Z',
      '2026-10-24T22:00:00.000Z',
    ],
  ])('says in the night of %s that it fires when the clock shows it', async (_night, change, now, nextFireAt) => {
    moveTo(now);
    expect((await put('night', { ...DAILY, ...change })).body).toMatchObject({ nextFireAt });
  });

  it('is removed, and its runs stay', async () => {
    await put('gone');
    await reaches('gone', '2026-03-26');
    expect((await hub.call('DELETE', '/v1/recon/schedules/gone')).body).toMatchObject({ name: 'gone' });
    expect(await get('gone')).toBeUndefined();
    expect(await runsOf('gone')).toHaveLength(1);
    expectProblem(await hub.call('DELETE', '/v1/recon/schedules/gone'), 'not_found');
  });

  it.each([
    [{ cron: '* * * * *' }, 'cron'],
    [{ cron: 'every day at six' }, 'cron'],
    [{ cron: '0 0 31 2 *' }, 'cron'],
    [{ zone: 'Mars/Olympus' }, 'zone'],
    [{ cutoff: '25:00' }, 'cutoff'],
    [{ catchUpDays: 0 }, 'catchUpDays'],
    [{ graceSeconds: 100_000 }, 'graceSeconds'],
    [{ enabled: 'yes' }, 'enabled'],
    [{ shell: 'rm' }, 'shell'],
  ])('is refused with %j', async (change, field) => {
    const answer = await put('bad', { ...DAILY, ...change });
    expectProblem(answer, 'validation_failed');
    expect(answer.body.errors.map((fault: { field: string }) => fault.field)).toContain(field);
  });

  it.each(['With Capitals', 'a'.repeat(41), '-', `../${randomUUID()}`])('cannot be called %s', async (name) =>
    expectProblem(await put(encodeURIComponent(name)), 'not_found'),
  );
});
