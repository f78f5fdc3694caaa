import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hubArguments } from '../support/hub/hub-command';
import { ManualClock } from '../support/manual-clock';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** What a database, a role or a server may be set to, one by one legal, and none of it good for the hub. */
const ODD: Readonly<Record<string, string>> = {
  DateStyle: 'German, DMY',
  IntervalStyle: 'iso_8601',
  TimeZone: 'Asia/Kathmandu',
  client_encoding: 'LATIN1',
  bytea_output: 'escape',
  extra_float_digits: '-15',
  standard_conforming_strings: 'off',
  array_nulls: 'off',
  transform_null_equals: 'on',
  search_path: 'pg_catalog',
  default_transaction_isolation: 'repeatable read',
  default_transaction_read_only: 'on',
  default_transaction_deferrable: 'on',
  synchronous_commit: 'off',
  lock_timeout: '1ms',
  transaction_timeout: '50ms',
  idle_session_timeout: '100ms',
  exit_on_error: 'on',
  client_min_messages: 'error',
};

describe('a database with settings of its own', () => {
  let database: TestDatabase;
  let hub: TestHub | undefined;
  beforeEach(async () => (database = await testDatabase()));
  afterEach(async () => {
    await hub?.stop();
    hub = undefined;
    await database.drop();
  });

  const set = async (name: string, value: string): Promise<void> => {
    await database.query(
      `do $$ begin execute format('alter database %I set ${name} = %L', current_database(), '${value}'); end $$`,
    );
  };

  it('has money accepted, delivered and told all the same, and no bet answered 503', async () => {
    for (const [name, value] of Object.entries(ODD)) if (name !== 'search_path') await set(name, value);
    const started = await TestHub.start({ database });
    hub = started;
    const answers = await Promise.all(
      Array.from({ length: 80 }, (_, n) =>
        started.debit({
          playerId: `odd-${n % 4}`,
          roundId: `round-${n}`,
          amountCents: 1999,
          meta: { name: 'Łódź 日本' },
        }),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const id = answers[0]?.body.transactionId as string;
    await hub.reaches(id, 'confirmed');
    await hub.drained();
    expect((await hub.rgsReceived()).filter(({ status }) => status === 'OK')).toHaveLength(80);
    expect((await hub.transaction(id)).createdAt).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect((await hub.call('GET', '/health/ready')).status).toBe(200);
  });

  it('is read by the hub under settings that are the same everywhere', async () => {
    for (const [name, value] of Object.entries(ODD)) await set(name, value);
    await set('row_security', 'on');
    hub = await TestHub.start({ database });
    expect((await hub.debit({ playerId: 'path' })).status).toBe(200);
    await hub.drained();
  });

  it.each([
    ['session_replication_role', 'replica'],
    ['plpgsql.variable_conflict', 'use_variable'],
  ])('is refused at the start, by the name of the setting, when no session can mend %s', async (name, value) => {
    await set(name, value);
    const child = spawn(process.execPath, hubArguments(), {
      env: { PATH: process.env.PATH ?? '', NODE_ENV: 'test', DATABASE_URL: database.url, PORT: '0' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(said).toContain(`${name} is ${value} and must be`);
  });

  it('that fails every claim shows on /health/ready, though the loops turn', async () => {
    const clock = new ManualClock();
    hub = await TestHub.start({ database, clock });
    await database.query('alter table outbox_head rename to outbox_head_gone');
    clock.advance(61_000);
    // The loops must have turned since: each claim that fails ends its connection, and is counted then.
    const failures = async (): Promise<number> =>
      Number(
        (
          await database.query<{ n: string }>(
            'select xact_rollback as n from pg_stat_database where datname = current_database()',
          )
        )[0]?.n,
      );
    const before = await failures();
    await waitFor('claims fail', async () => (await failures()) > before + 6);
    await waitFor('the workers are silent', async () =>
      (await hub?.call('GET', '/health/ready'))?.body.checks.workers.startsWith('silent'),
    );
    await database.query('alter table outbox_head_gone rename to outbox_head');
    await waitFor('they are heard again', async () => (await hub?.call('GET', '/health/ready'))?.status === 200);
  });
});

describe('a statement that gets no answer', () => {
  it('is answered 503 with outcome unknown soon, is not cancelled, and the same request is answered when the store is back', async () => {
    const database = await testDatabase();
    const hub = await TestHub.start({ database, env: { DATABASE_STATEMENT_SECONDS: '1' } });
    try {
      const held = database.query(
        `begin; lock table wallet_transaction in access exclusive mode; select pg_sleep(3); commit`,
      );
      await waitFor(
        'the table is locked',
        async () =>
          (
            await database.query<{ n: number }>(
              `select count(*)::integer as n from pg_locks where mode = 'AccessExclusiveLock' and relation = 'wallet_transaction'::regclass and granted`,
            )
          )[0]?.n === 1,
      );
      const at = performance.now();
      const body = { playerId: 'waits', refId: 'waits-1' };
      const answer = await hub.debit(body, { idempotencyKey: 'waits-key' });
      expect([answer.status, answer.body.code, answer.body.outcome]).toEqual([503, 'store_unavailable', 'unknown']);
      expect(answer.headers.get('retry-after')).toBe('1');
      expect(performance.now() - at).toBeLessThan(2_900);
      await held;
      await waitFor(
        'it is answered',
        async () => (await hub.debit(body, { idempotencyKey: 'waits-key' })).status === 200,
      );
      expect(await database.query(`select 1 from wallet_transaction where ref_id = 'waits-1'`)).toHaveLength(1);
    } finally {
      await hub.stop();
      await database.drop();
    }
  });
});
