import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { HubProcess } from '../support/hub/hub-process';
import { signedRequest } from '../support/hub/signed-request';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const SLOTS = 4;
const MOVEMENTS = 120;
/** Short enough for dozens of calls in the time in which a stopping hub waits for its balancers. */
const OPERATOR_LATENCY_MS = 20;

interface Call {
  readonly at: number;
  readonly reference: string;
  readonly status: number | null;
  readonly applied: boolean;
}

describe('SIGTERM', () => {
  let database: TestDatabase;
  let operator: MockOperator;
  let rgs: MockRgs;
  const hubs: HubProcess[] = [];

  const start = async (): Promise<HubProcess> => {
    const hub = await HubProcess.start({
      DATABASE_URL: database.url,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
      RATE_LIMIT_PER_MINUTE: '0',
      OUTBOX_CONCURRENCY: String(SLOTS),
      LOG_LEVEL: 'info',
    });
    hubs.push(hub);
    return hub;
  };

  beforeAll(async () => {
    [database, operator, rgs] = await Promise.all([
      testDatabase(),
      startMockOperator({ callbacks: false, latencyMs: OPERATOR_LATENCY_MS }),
      startMockRgs(),
    ]);
  });
  afterAll(async () => {
    await Promise.all(hubs.map((hub) => hub.end('SIGKILL')));
    await Promise.all([operator.close(), rgs.close()]);
    await database.drop();
  });

  const calls = (): Promise<Call[]> => control(operator.url, 'GET', '/admin/calls') as Promise<Call[]>;

  it('ends the claiming at once, settles what is in flight, and leaves the rest to the next process', async () => {
    const first = await start();
    // One call hangs on for longer than the readiness pause, so there is something in flight to the very end.
    await control(operator.url, 'POST', '/admin/faults', { kind: 'delay', ms: 700, reference: 'bet-slow' });
    const post = (refId: string): Promise<unknown> =>
      signedRequest('POST', `${first.url}/wallet/debit`, {
        playerId: `player of ${refId}`,
        amountCents: 100,
        currency: 'USD',
        refId,
      });
    await post('bet-slow');
    await waitFor('the slow call is on the wire', async () =>
      (await calls()).some(({ reference }) => reference === 'bet-slow'),
    );
    await Promise.all(Array.from({ length: MOVEMENTS }, (_, index) => post(`bet-${index}`)));
    await waitFor('the hub is in the middle of it', async () => (await calls()).length > 10);

    const ended = first.end('SIGTERM');
    // Balancers are told first, and the port stays open for those that are still on their way.
    await waitFor(
      'the hub says that it is not ready',
      async () => (await fetch(`${first.url}/health/ready`)).status === 503,
    );
    expect(await ended).toBe(0);

    const made = await calls();
    const stoppingAt = first
      .log()
      .split('\n')
      .filter((line) => line.includes('"hub.stopping"'))
      .map((line) => Date.parse((JSON.parse(line) as { time: string }).time));
    expect(stoppingAt).toHaveLength(1);
    // Only what filled the slots when the signal came; a hub that went on claiming would make dozens in its last 200
    // ms.
    expect(made.filter(({ at }) => at > (stoppingAt[0] ?? 0) + 1).length).toBeLessThanOrEqual(SLOTS);
    expect(made.length).toBeLessThan(MOVEMENTS);
    expect(made.filter(({ status }) => status !== 200)).toEqual([]);

    // Every answer is written down, nothing is leased to a process that is no more, and the rest can be claimed this
    // very moment.
    const applied = made.filter((call) => call.applied).map(({ reference }) => reference);
    const confirmed = await database.query<{ ref_id: string }>(
      `select ref_id from wallet_transaction where state = 'confirmed'`,
    );
    expect(confirmed.map(({ ref_id }) => ref_id).sort()).toEqual([...applied].sort());
    expect(applied).toContain('bet-slow');
    const heads = await database.query<{ leased: boolean; due: boolean; attempts: number }>(
      `select distinct h.leased, h.visible_at <= clock_timestamp() as due, h.attempts from outbox_head h`,
    );
    expect(heads).toEqual([{ leased: false, due: true, attempts: 0 }]);
    const [left] = await database.query<{ n: number }>(
      `select count(*)::integer as n from wallet_transaction where state = 'initiated'`,
    );
    expect(left?.n).toBe(MOVEMENTS + 1 - applied.length);

    const second = await start();
    await waitFor(
      'the next process did the rest',
      async () => (await control(rgs.url, 'GET', '/admin/summary')).stored === MOVEMENTS + 1,
    );
    const all = await calls();
    expect(all).toHaveLength(MOVEMENTS + 1);
    expect(new Set(all.map(({ reference }) => reference)).size).toBe(MOVEMENTS + 1);
    expect(await second.end('SIGTERM')).toBe(0);
  }, 60_000);

  it('waits for a call that hangs until its time-out, and writes down that its outcome is unknown', async () => {
    const hub = await HubProcess.start({
      DATABASE_URL: database.url,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
      OPERATOR_TIMEOUT_MS: '500',
      MAX_RETRIES: '0',
      OUTBOX_RETRY_SCHEDULE_SECONDS: '3600',
    });
    hubs.push(hub);
    await control(operator.url, 'POST', '/admin/faults', { kind: 'hang', reference: 'bet-hang' });
    await signedRequest('POST', `${hub.url}/wallet/debit`, {
      playerId: 'player-hang',
      amountCents: 100,
      currency: 'USD',
      refId: 'bet-hang',
    });
    await waitFor('the call hangs', async () => (await calls()).some(({ reference }) => reference === 'bet-hang'));

    expect(await hub.end('SIGTERM')).toBe(0);
    // Timed out within the grace: the attempt is written down as what it is.
    expect(
      await database.query(
        `select t.state, a.outcome, a.class, h.leased from wallet_transaction t join outbox_head h on h.message_id = t.message_id join outbox_attempt a on a.message_id = t.message_id where t.ref_id = 'bet-hang'`,
      ),
    ).toEqual([{ state: 'unknown', outcome: 'retry', class: 'unknown', leased: false }]);
  }, 30_000);
});
