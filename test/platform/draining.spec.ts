import { Client } from 'pg';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { HubProcess } from '../support/hub/hub-process';
import { type HttpAnswer, signedRequest } from '../support/hub/signed-request';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const DRAIN_MS = 1_000;

describe('a process that is told to stop', () => {
  let database: TestDatabase;
  let operator: MockOperator;
  let rgs: MockRgs;
  const hubs: HubProcess[] = [];

  beforeAll(async () => {
    [database, operator, rgs] = await Promise.all([
      testDatabase(),
      startMockOperator({ callbacks: false }),
      startMockRgs(),
    ]);
  });
  afterAll(async () => {
    await Promise.all(hubs.map((hub) => hub.end('SIGKILL')));
    await Promise.all([operator.close(), rgs.close()]);
    await database.drop();
  });

  const start = async (env: Record<string, string>): Promise<HubProcess> => {
    const hub = await HubProcess.start({
      DATABASE_URL: database.url,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
      ...env,
    });
    hubs.push(hub);
    return hub;
  };
  const debit = (hub: HubProcess, refId: string, prefer?: string): Promise<HttpAnswer> =>
    signedRequest(
      'POST',
      `${hub.url}/wallet/debit`,
      { playerId: `player of ${refId}`, amountCents: 100, currency: 'USD', refId },
      prefer === undefined ? {} : { headers: { prefer } },
    );
  const called = (reference: string) => async (): Promise<boolean> =>
    ((await control(operator.url, 'GET', '/admin/calls')) as { reference: string }[]).some(
      (call) => call.reference === reference,
    );

  it('serves to the end of its drain, says goodbye on every connection, and sends waiting callers home with 202', async () => {
    const hub = await start({ DRAIN_SECONDS: String(DRAIN_MS / 1000) });
    await control(operator.url, 'POST', '/admin/faults', { kind: 'delay', ms: 2_500, reference: 'slow' });
    const waiting = debit(hub, 'slow', 'wait=20');
    await waitFor('the slow call is on the wire', called('slow'));
    expect((await debit(hub, 'before')).headers.get('connection')).toBe('keep-alive');

    const stoppedAt = performance.now();
    const ended = hub.end('SIGTERM');
    const unready = await waitFor('it says that it is not ready', async () => {
      const answer = await fetch(`${hub.url}/health/ready`);
      return answer.status === 503 && answer;
    });
    expect(unready.headers.get('connection')).toBe('close');
    const late = await debit(hub, 'late');
    expect([late.status, late.headers.get('connection')]).toEqual([200, 'close']);
    // A caller that begins to wait now is not kept either.
    const lateWaiter = debit(hub, 'late-waiter', 'wait=20');

    const answers = await Promise.all([waiting, lateWaiter]);
    const tookMs = performance.now() - stoppedAt;
    expect(
      answers.map(({ status, headers }) => [status, headers.get('connection'), headers.get('location') !== null]),
    ).toEqual([
      [202, 'close', true],
      [202, 'close', true],
    ]);
    expect(tookMs).toBeGreaterThan(DRAIN_MS * 0.9);
    expect(await ended).toBe(0);
    // The call that was on the wire got its answer written down.
    expect(
      await database.query(
        `select ref_id from wallet_transaction where state = 'confirmed' and ref_id in ('slow', 'late', 'late-waiter')`,
      ),
    ).toEqual([{ ref_id: 'slow' }]);
  }, 30_000);

  it('ends in time whatever holds it up, and says so', async () => {
    const hub = await start({ SHUTDOWN_TIMEOUT_SECONDS: '2', LOG_LEVEL: 'info' });
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    try {
      // A request that waits in the database for as long as somebody else pleases.
      await holder.query('begin; lock table wallet_transaction');
      const held = debit(hub, 'held').catch(() => undefined);
      await waitFor(
        'the debit waits for the lock',
        async () =>
          (
            await database.query(
              `select 1 from pg_locks where not granted and relation = 'wallet_transaction'::regclass`,
            )
          ).length > 0,
      );
      const stoppedAt = performance.now();
      expect(await hub.end('SIGTERM')).toBe(1);
      expect(performance.now() - stoppedAt).toBeLessThan(5_000);
      expect(hub.log()).toMatch(/"hub.stop_failed".*SHUTDOWN_TIMEOUT_SECONDS/);
      await held;
    } finally {
      await holder.end();
    }
  }, 30_000);
});
