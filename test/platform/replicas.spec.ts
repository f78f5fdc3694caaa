import { Client } from 'pg';
import { parseConfig } from '../../src/config/config';
import { checkConnections, connectionBudget } from '../../src/database/connections';
import { ReportsDatabase } from '../../src/database/database';
import { Periodic } from '../../src/scheduling/periodic';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('api and worker processes on one database', () => {
  let api: TestHub;
  let worker: TestHub | undefined;
  const listener = (url: string): Client => new Client({ connectionString: url });

  beforeAll(async () => {
    api = await TestHub.start({ env: { ROLE: 'api' } });
  });
  afterAll(async () => {
    await worker?.stop();
    await api.stop();
  });

  it('an api process takes movements, calls out for a worker and delivers nothing', async () => {
    const heard: (string | undefined)[] = [];
    const client = listener(api.database.url);
    await client.connect();
    client.on('notification', ({ payload }) => heard.push(payload));
    await client.query('listen hub_outbox');
    const { transactionId } = (await api.debit({ refId: 'bet-1' })).body;
    const [head] = await api.database.query<{ destination_id: number }>('select destination_id from outbox_head');
    await waitFor('a worker elsewhere would have been woken', () => heard.includes(String(head?.destination_id)));
    // Its clocks do none of a worker's work either.
    await api.database.query(`delete from outbox_head`);
    for (const task of ['outbox.rescue', 'outbox.retention', 'webhooks.rematch', 'webhooks.purge'])
      await api.app.get(Periodic).run(task);
    expect(await api.database.query('select 1 from outbox_head')).toEqual([]);
    expect(await api.operatorCalls()).toEqual([]);
    expect((await api.transaction(transactionId)).state).toBe('initiated');
    await client.end();
  });

  it('a worker delivers what others took, tells the waiting caller at the other process, and answers for its health', async () => {
    worker = await TestHub.start({
      env: { ROLE: 'worker' },
      database: api.database,
      operator: api.operator,
      rgs: api.rgs,
    });
    // The head that the test above took away is one that a worker finds again.
    await worker.app.get(Periodic).run('outbox.rescue');
    await waitFor('the debit of the api process is booked', async () =>
      (await api.operatorBooks()).some(({ reference }) => reference === 'bet-1'),
    );
    const answer = await api.debit({ refId: 'bet-2', playerId: 'player-2' }, { headers: { prefer: 'wait=10' } });
    expect([answer.status, answer.body.status]).toEqual([200, 'OK']);
    const ready = await worker.call('GET', '/health/ready', undefined, { token: null });
    expect([ready.status, ready.body.checks.workers]).toEqual([200, 'ok']);
    expect((await worker.call('GET', '/metrics')).text).toContain(
      'hub_outbox_deliveries_total{queue="operator",class="applied"}',
    );
  });
});

describe('the way to the database', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  it('is refused when the server could never give a process its connections, and warned about when it cannot now', async () => {
    const [server] = await database.query<{ usable: number }>(
      `select current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer as usable`,
    );
    const usable = server?.usable ?? 0;
    const check = (size: number): ReturnType<typeof checkConnections> =>
      checkConnections(parseConfig({ NODE_ENV: 'test', DATABASE_URL: database.url, DATABASE_POOL_SIZE: String(size) }));
    expect(await check(10)).toEqual({ faults: [], warnings: [] });
    // As many as there are, while at least the connections of this test are taken.
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    expect(await check(usable - 13)).toEqual({
      faults: [],
      warnings: [expect.stringMatching(new RegExp(`may need ${usable} connections`))],
    });
    await holder.end();
    expect(await check(usable)).toEqual({
      faults: [expect.stringMatching(/raise max_connections, or lower DATABASE_POOL_SIZE/)],
      warnings: [],
    });
  });

  it('costs an api process fewer connections than one that delivers', () => {
    const budget = (role: string): unknown =>
      connectionBudget(
        parseConfig({ NODE_ENV: 'test', ROLE: role, DATABASE_URL: database.url, REPORTS_DATABASE_URL: database.url }),
      );
    expect([budget('api'), budget('worker'), budget('all')]).toEqual([
      { pooled: 18, direct: 1, reports: 4 },
      { pooled: 22, direct: 1, reports: 4 },
      { pooled: 22, direct: 1, reports: 4 },
    ]);
  });

  it('of reports is a replica of its own where there is one, opened at the first report and missed only by reports', async () => {
    const other = await testDatabase();
    await other.asOwner(`create table only_here as select 'replica' as place`);
    const nowhere = 'postgres://postgres@127.0.0.1:1/none';
    const start = (url: string): Promise<TestHub> => TestHub.start({ env: { ROLE: 'api', REPORTS_DATABASE_URL: url } });
    const [hub, lame] = await Promise.all([start(other.url), start(nowhere)]);
    try {
      const reports = hub.app.get(ReportsDatabase);
      expect(await Promise.all([1, 2].map(() => reports.rows('select place from only_here')))).toEqual([
        [{ place: 'replica' }],
        [{ place: 'replica' }],
      ]);
      expect((await lame.debit()).status).toBe(200);
      await expect(lame.app.get(ReportsDatabase).rows('select 1')).rejects.toThrow(/ECONNREFUSED/);
    } finally {
      await Promise.all([hub.stop(), lame.stop()]);
      await other.drop();
    }
  });
});
