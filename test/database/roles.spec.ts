import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startMockOperator } from '../../mocks/operator/start';
import { startMockRgs } from '../../mocks/rgs/start';
import { verifyChain } from '../../src/audit/audit-chain';
import { AuditStore } from '../../src/audit/audit.store';
import { roleOf } from '../../src/config/config';
import { Database } from '../../src/database/database';
import { startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { migrate, pendingMigrations, powersOf } from '../../src/database/migrate';
import { DELETED_FROM, rightsOn } from '../../src/database/roles';
import { OutboxStore } from '../../src/outbox/outbox.store';
import { Replicas } from '../../src/partners/replicas';
import { ExceptionMetrics } from '../../src/reconciliation/exceptions/exception-metrics';
import { ReportSigning } from '../../src/reconciliation/reports/report-signing';
import { OperatorCallbacksStore } from '../../src/webhooks/operator-callbacks.store';
import { hubArguments } from '../support/hub/hub-command';
import { HubProcess } from '../support/hub/hub-process';
import { productionEnvironment } from '../support/hub/production-environment';
import { signedRequest } from '../support/hub/signed-request';
import {
  ADMIN_URL_VARIABLE,
  APPLICATION_URL_VARIABLE,
  OWNER_URL_VARIABLE,
  type TestDatabase,
  createDatabase,
  urlOf,
  withClient,
} from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const DENIED = '42501';
const DAY_MS = 86_400_000;

const ask = <T = Record<string, unknown>>(url: string, sql: string): Promise<T[]> =>
  withClient(url, async (client) => (await client.query(sql)).rows as T[]);

/** Of a test that starts hubs of its own, which takes a while where several do. */
const PROCESSES_MS = 180_000;

/** Monday of the week that lies so many weeks back, as it stands in the names of weeks. */
function monday(weeksAgo: number): Date {
  const day = new Date(Date.now() - weeksAgo * 7 * DAY_MS);
  return new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth(), day.getUTCDate() - ((day.getUTCDay() + 6) % 7)));
}

function weekOf(table: string, weeksAgo: number): string {
  return `${table}_${monday(weeksAgo).toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/** A week of attempts, made by the owner as all are. */
function makeWeek(database: TestDatabase, weeksAgo: number): Promise<void> {
  return database.asOwner(
    `create table ${weekOf('outbox_attempt', weeksAgo)} partition of outbox_attempt for values from ('${monday(weeksAgo).toISOString()}') to ('${monday(weeksAgo - 1).toISOString()}')`,
  );
}

describe('a hub that serves as a role which owns nothing', () => {
  let hub: TestHub;
  let database: TestDatabase;
  beforeAll(async () => {
    hub = await TestHub.start();
    database = hub.database;
  });
  afterAll(() => hub.stop());

  it('has no power beyond serving, on any of its connections', async () => {
    expect(await powersOf(database.url)).toEqual({ role: 'hub_app', isSuperuser: false, powers: [] });
    expect((await powersOf(database.ownerUrl)).powers).toEqual([
      "may become the owner of the hub's tables",
      'may rewrite the audit log',
      'may make tables and functions',
    ]);
    expect((await powersOf(database.superuserUrl)).powers[0]).toBe('is a superuser');
    const roles = await database.query(
      `select distinct usename as role from pg_stat_activity where datname = current_database() and application_name like 'hub%'`,
    );
    expect(roles).toEqual([{ role: 'hub_app' }]);
  });

  it('accepts, delivers, is called back, tells, rolls back, closes a round, and forgets on demand', async () => {
    const { body: bet } = await hub.debit({ playerId: 'ann', roundId: 'round-1', refId: 'bet-1' });
    await hub.reaches(bet.transactionId, 'confirmed');
    const { body: win } = await hub.credit({ playerId: 'ann', roundId: 'round-1', refId: 'win-1' });
    await hub.reaches(win.transactionId, 'confirmed');
    const { body: other } = await hub.debit({ playerId: 'bob', refId: 'bet-2' });
    await hub.reaches(other.transactionId, 'confirmed');
    expect(
      (await hub.call('POST', '/wallet/rollback', { originalRefId: 'bet-2', playerId: 'bob', refId: 'rollback-2' }))
        .status,
    ).toBeLessThan(300);
    await hub.quiet();
    expect((await hub.rgsReceived()).filter(({ status }) => status === 'OK').length).toBeGreaterThanOrEqual(3);
    expect(
      Number((await database.query<{ n: string }>('select count(*) as n from inbound_callback'))[0]?.n),
    ).toBeGreaterThan(0);
    expect((await hub.call('GET', '/health/ready')).body.status).toBe('ok');
  });

  it('runs a reconciliation from staging to the signed manifest, and a second one over what the first left', async () => {
    for (const attempt of [1, 2]) {
      const { body: begun } = await hub.call(
        'POST',
        '/v1/recon/runs',
        { graceSeconds: 0 },
        { idempotencyKey: `run-${attempt}` },
      );
      const run = await waitFor('the run has ended', async () => {
        const { body } = await hub.call('GET', `/v1/recon/runs/${begun.id}`);
        return ['sealed', 'failed', 'cancelled'].includes(body.state) ? body : undefined;
      });
      expect(run).toMatchObject({ state: 'sealed', error: null });
      await hub.app.get(ReportSigning).sign();
      expect((await hub.call('GET', `/v1/recon/runs/${begun.id}/manifest`)).status).toBe(200);
    }
  });

  it('truncates what a large run staged, and tells the planner of what it lays there', async () => {
    // As recon's store does; PostgreSQL passes over a table that the role may not analyze, with a warning alone.
    for (const table of ['recon.stage_0', 'recon.broken_1', 'recon.matched_0'])
      await ask(database.url, `truncate ${table}`);
    await withClient(database.url, async (client) => {
      const warnings: string[] = [];
      client.on('notice', ({ message }) => warnings.push(message ?? ''));
      await client.query('analyze recon.broken_0; analyze recon.broken_1');
      await client.query('begin; create temp table found on commit drop as select 1 as one; analyze found; commit');
      expect(warnings).toEqual([]);
    });
  });

  it('audits what people do, in a chain that holds, whatever stands in an entry', async () => {
    expect((await hub.call('POST', '/admin/destinations/rgs/resume')).status).toBe(200);
    const audit = hub.app.get(AuditStore, { strict: false });
    const odd = [
      '"quoted\\"',
      `control ${String.fromCharCode(0x01, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x1f, 0x7f)}`,
      'Łódź 日本 🎲 \u2028\u2029',
      '</script>',
      '',
    ];
    for (const text of odd)
      for (const before of [null, undefined, { text }, text])
        await hub.app.get(Database).transaction((tx) =>
          audit.add(tx, {
            actor: text,
            action: 'destination.resume',
            target: text,
            before,
            after: { [text]: [1.5, text, null] },
          }),
        );
    const found = await hub.app
      .get(Database)
      .transaction(async (tx) => verifyChain(audit.entries(tx), await audit.head(tx)));
    expect(found).toEqual({ entries: 1 + odd.length * 4, broken: null });
    const [last] = await database.query<{ target: string; after: unknown }>(
      'select target, after from audit_entry order by id desc limit 1',
    );
    expect(last).toEqual({ target: '', after: { '': [1.5, '', null] } });
  });

  it('keeps the weeks: makes those that come, and lets go of old ones', async () => {
    const outbox = hub.app.get(OutboxStore);
    expect(await outbox.createPartitions(12)).toBeGreaterThan(0);
    await makeWeek(database, 40);
    expect(await outbox.dropPartitions(90, 30)).toEqual([weekOf('outbox_attempt', 40)]);
    // A week that the owner's function has made takes rows at once.
    await database.query(`update outbox_destination set paused_at = null`);
    const { body } = await hub.debit({ playerId: 'new-week' });
    await hub.reaches(body.transactionId, 'confirmed');
  });

  it('keeps house: lanes, callbacks, replicas, gauges, and /metrics', async () => {
    expect(await hub.app.get(OutboxStore).repairLanes()).toBe(0);
    await hub.app.get(OutboxStore).health();
    await hub.app.get(ExceptionMetrics).refresh();
    expect(hub.app.get(OperatorCallbacksStore)).toBeDefined();
    expect(hub.app.get(Replicas)).toBeDefined();
    const metrics = await hub.call('GET', '/metrics');
    expect(metrics.status).toBe(200);
  });

  it('is told what the others do on the server: nobody counts connections or old snapshots that it cannot see', async () => {
    await withClient(database.superuserUrl, async (client) => {
      await client.query('begin isolation level repeatable read; select 1');
      const [seen] = await ask<{ n: number }>(
        database.url,
        `select count(*)::integer as n from pg_stat_activity where backend_type = 'client backend' and backend_xmin is not null and usename = 'postgres' and datname = current_database()`,
      );
      expect(seen?.n).toBe(1);
      await client.query('rollback');
    });
  });

  // ---- what it may not
  // ----------------------------------------------------------------------------------------------------

  it.each([
    `update audit_entry set actor = 'somebody else'`,
    'delete from audit_entry',
    'truncate audit_entry',
    `insert into audit_entry (id, at, actor, action, target, previous_hash, hash) values (9, now(), 'a', 'b', 'c', 'd', 'e')`,
    'update audit_head set entries = 0',
    'delete from audit_head',
    'truncate audit_head',
    'insert into audit_head (entries, hash) values (0, repeat($$0$$, 64))',
    'select * from audit_head for update',
    'update recon.action set note = null',
    'delete from recon.action',
    'truncate recon.action',
    'alter table audit_entry disable trigger all',
    'alter table audit_entry disable trigger audit_entry_append_only',
    'drop trigger audit_entry_append_only on audit_entry',
    'create rule hidden as on insert to audit_entry do instead nothing',
    'alter table wallet_transaction add column x integer',
    'alter table wallet_transaction disable trigger all',
    'alter table wallet_transaction owner to hub_app',
    'drop table wallet_transaction cascade',
    `drop table ${weekOf('outbox_message', 0)}`,
    `alter table outbox_message detach partition ${weekOf('outbox_message', 0)}`,
    'drop index wallet_transaction_pkey',
    'drop function audit_append(text, text, text, text, text, text)',
    'create or replace function audit_append(p_actor text, p_action text, p_target text, p_before text, p_after text, p_request_id text) returns bigint language sql as $$ select 1::bigint $$',
    'create or replace function wallet_hash(p_text text) returns integer language sql immutable as $$ select 1 $$',
    'create function mine() returns integer language sql as $$ select 1 $$',
    'create table mine (n integer)',
    'create view mine as select 1',
    'create schema mine',
    'create type mine as (n integer)',
    'create extension pg_trgm',
    'create trigger mine before insert on wallet_transaction for each row execute function player_link_is_settled()',
    'create policy mine on wallet_transaction using (false)',
    'create role mine superuser',
    'alter role hub_app superuser',
    'alter role hub_owner password $$mine$$',
    'grant hub_owner to hub_app',
    'set role hub_owner',
    'set role postgres',
    'set session authorization hub_owner',
    'set session_replication_role = replica',
    'alter system set fsync = off',
    'alter default privileges for role hub_owner grant all on tables to hub_app',
    'alter function audit_append(text, text, text, text, text, text) security invoker',
    'reassign owned by hub_owner to hub_app',
    'delete from wallet_transaction',
    'delete from wallet_event',
    'delete from wallet_outcome',
    'delete from wallet_round',
    'delete from outbox_message',
    'delete from outbox_attempt',
    'delete from outbox_lane',
    'delete from recon.run',
    'delete from recon.item',
    'delete from recon.summary',
    'delete from recon.exception',
    'delete from partner',
    'delete from migrations',
    `insert into migrations (timestamp, name) values (1, 'x')`,
    `copy audit_entry from stdin`,
    `copy (select 1) to program 'true'`,
    `select pg_read_file('postgresql.conf')`,
    `select pg_promote()`,
    `select lo_import('/etc/passwd')`,
  ])('may not: %s', async (sql) => {
    await withClient(database.url, async (client) => {
      const refused = client.query(sql).then(
        () => 'done',
        (error: { code: string; message: string }) =>
          error.code === DENIED ? 'refused' : `${error.code} ${error.message}`,
      );
      expect(await refused).toBe('refused');
    });
  });

  it('gives itself nothing: such a grant is passed over with a warning', async () => {
    await ask(database.url, 'grant update on audit_entry to hub_app; grant create on schema public to public');
    expect((await powersOf(database.url)).powers).toEqual([]);
  });

  it('cannot end a session of the owner', async () => {
    await withClient(database.ownerUrl, async (owner) => {
      const { rows } = await owner.query<{ pid: number }>('select pg_backend_pid() as pid');
      await expect(ask(database.url, `select pg_terminate_backend(${rows[0]?.pid})`)).rejects.toMatchObject({
        code: DENIED,
      });
    });
  });

  it("cannot have a fresh week dropped, whatever it asks the owner's function for", async () => {
    const weeks = () =>
      database.query<{ name: string }>(
        `select relname as name from pg_class where relispartition and relkind = 'r' and relname ~ '^outbox_(message|attempt)_' order by 1`,
      );
    await makeWeek(database, 1);
    const before = await weeks();
    for (const days of [
      '0, 0',
      '13, 13',
      '-1000, 30',
      '30, -1000',
      '13, 30',
      '30, 13',
      'null, 30',
      '30, null',
      'null, null',
    ])
      await expect(ask(database.url, `select outbox_drop_partitions(${days})`)).rejects.toMatchObject({
        code: '22023',
      });
    // Nor by a time of its own, a table that is called as one of the owner's, or functions that are called as the
    // server's.
    await withClient(database.url, async (client) => {
      await client.query(
        `create temp table outbox_attempt (at timestamptz) partition by range (at); create temp table ${weekOf('outbox_attempt', 1)} partition of outbox_attempt for values from ('2000-01-01') to ('2000-01-02')`,
      );
      await client.query(
        `create temp table ${weekOf('outbox_attempt', 60)} partition of outbox_attempt for values from ('2001-01-01') to ('2001-01-02')`,
      );
      await client.query(
        `create function pg_temp.now() returns timestamptz language sql as $$ select timestamptz '2999-01-01' $$`,
      );
      await client.query(`set search_path to pg_temp, public, pg_catalog; set timezone to 'Etc/GMT-14'`);
      expect((await client.query('select public.outbox_drop_partitions(14, 14) as dropped')).rows).toEqual([
        { dropped: [] },
      ]);
    });
    expect(await weeks()).toEqual(before);
    for (const ahead of ['54', '-1', 'null', '2147483647'])
      await expect(ask(database.url, `select outbox_create_partitions(${ahead})`)).rejects.toMatchObject({
        code: '22023',
      });
  });

  it('cannot lead the audit log elsewhere by names of its own', async () => {
    const count = async () =>
      Number((await database.query<{ n: string }>('select count(*) as n from audit_entry'))[0]?.n);
    const before = await count();
    await withClient(database.url, async (client) => {
      await client.query(
        'create temp table audit_entry (like public.audit_entry); create temp table audit_head as table public.audit_head',
      );
      await client.query(
        `create function pg_temp.sha256(bytea) returns bytea language sql as $$ select 'mine'::bytea $$`,
      );
      await client.query('set search_path to pg_temp, public, pg_catalog');
      await client.query(`select public.audit_append('a', 'b', 'c', null, null, null)`);
    });
    expect(await count()).toBe(before + 1);
    const audit = hub.app.get(AuditStore, { strict: false });
    expect(
      (await hub.app.get(Database).transaction(async (tx) => verifyChain(audit.entries(tx), await audit.head(tx))))
        .broken,
    ).toBeNull();
  });

  it('lets no other role of the server act as the owner', async () => {
    const name = `reader_${randomUUID().replaceAll('-', '')}`;
    await database.query(`create role ${name} login password 'x'`);
    try {
      const url = new URL(database.url);
      [url.username, url.password] = [name, 'x'];
      for (const sql of [
        'select outbox_drop_partitions(90, 30)',
        'select outbox_create_partitions(1)',
        `select audit_append('a', 'b', 'c', null, null, null)`,
      ])
        await expect(ask(url.toString(), sql)).rejects.toMatchObject({ code: DENIED });
    } finally {
      await database.query(`drop role ${name}`);
    }
  });

  it('may delete from, and empty, what the source deletes from and empties, and from nothing else', () => {
    const files = (folder: string): string[] =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && /\.(ts|sql)$/.test(entry.name))
        .map((entry) => path.join(entry.parentPath, entry.name));
    const source = path.resolve(__dirname, '../../src');
    // The owner's own: it drops weeks.
    const texts = files(source)
      .filter((file) => !/migrations|outbox_drop_partitions|schema\.sql$/.test(file))
      .map((file) => readFileSync(file, 'utf8'));
    const deleted = new Set(
      texts.flatMap((text) =>
        [...text.matchAll(/\bdelete from ((?:recon\.)?[a-z_]+)/g)].map(([, table]) => table ?? ''),
      ),
    );
    expect([...deleted].sort()).toEqual([...DELETED_FROM].sort());
    const emptied = texts.flatMap((text) =>
      [...text.matchAll(/'truncate ([a-z_, ]+)'/g)].flatMap(([, tables]) => (tables ?? '').split(', ')),
    );
    expect(emptied.length).toBeGreaterThan(10);
    for (const table of emptied) {
      expect([table, rightsOn(table, { mayClear: true })]).toEqual([table, expect.arrayContaining(['TRUNCATE'])]);
      expect([table, rightsOn(table, { mayClear: false })]).toEqual([table, expect.not.arrayContaining(['TRUNCATE'])]);
    }
  });

  it('forgets everything where that is allowed', async () => hub.clear());
});

describe('the owner', () => {
  const databases: string[] = [];
  const roles: string[] = [];
  const partners = { OPERATOR_BASE_URL: 'http://127.0.0.1:9/', RGS_WEBHOOK_URL: 'http://127.0.0.1:9/webhooks' };
  const application = { role: 'hub_app', mayClear: false };

  const emptyDatabase = async (): Promise<{ url: string; ownerUrl: string; superuserUrl: string }> => {
    const name = `hub_roles_${randomUUID().replaceAll('-', '')}`;
    databases.push(name);
    return {
      superuserUrl: await createDatabase(name, 'template1'),
      ownerUrl: urlOf(OWNER_URL_VARIABLE, name),
      url: urlOf(APPLICATION_URL_VARIABLE, name),
    };
  };
  const newRole = async (options = ''): Promise<string> => {
    const name = `role_${randomUUID().replaceAll('-', '')}`;
    await ask(process.env[ADMIN_URL_VARIABLE] ?? '', `create role ${name} login password 'x' ${options}`);
    roles.push(name);
    return name;
  };
  const as = (url: string, role: string): string => {
    const other = new URL(url);
    [other.username, other.password] = [role, 'x'];
    return other.toString();
  };
  const refused = async (env: Record<string, string>): Promise<string> => {
    const child = spawn(process.execPath, hubArguments(), {
      env: { PATH: process.env.PATH ?? '', NODE_ENV: 'test', HOST: '127.0.0.1', PORT: '0', ...partners, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect(await once(child, 'close')).toEqual([1, null]);
    return said;
  };
  const command = async (env: Record<string, string>): Promise<{ code: number | null; said: string }> => {
    const child = spawn(process.execPath, [path.resolve(__dirname, '../../dist/src/database/migrate-main.js')], {
      env: { PATH: process.env.PATH ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, said };
  };
  afterAll(() =>
    withClient(process.env[ADMIN_URL_VARIABLE] ?? '', async (client) => {
      for (const name of databases) await client.query(`drop database if exists ${name} with (force)`);
      for (const name of roles) await client.query(`drop role ${name}`);
    }),
  );

  it(
    'migrates an empty database at the start of a hub, which then serves as the other role and says nothing of it',
    async () => {
      const { url, ownerUrl } = await emptyDatabase();
      const hub = await HubProcess.start({
        DATABASE_URL: url,
        DATABASE_OWNER_URL: ownerUrl,
        LOG_LEVEL: 'info',
        ...partners,
      });
      try {
        expect(
          await ask(url, `select distinct tableowner as owner from pg_tables where schemaname in ('public', 'recon')`),
        ).toEqual([{ owner: 'hub_owner' }]);
        expect((await powersOf(url)).powers).toEqual([]);
      } finally {
        expect(await hub.end('SIGTERM')).toBe(0);
      }
      expect(hub.log()).toContain('database.migrated');
      expect(hub.log()).not.toMatch(/one_role|permission denied|must be owner/);
      expect(hub.log()).not.toContain(new URL(ownerUrl).password);
    },
    PROCESSES_MS,
  );

  it(
    'migrates by npm run db:migrate, so that a hub need not know it',
    async () => {
      const { url, ownerUrl } = await emptyDatabase();
      expect(await refused({ DATABASE_URL: url })).toMatch(
        /cannot be migrated \(permission denied[^]*DATABASE_OWNER_URL[^]*db:migrate/,
      );
      const withoutPassword = new URL(url);
      withoutPassword.password = '';
      expect(await command({ DATABASE_URL: withoutPassword.toString(), DATABASE_OWNER_URL: ownerUrl })).toEqual({
        code: 0,
        said: expect.stringMatching(/^Done: .*Partners.*The role "hub_app" has its rights\.\n$/),
      });
      expect(await command({ DATABASE_URL: url, DATABASE_OWNER_URL: ownerUrl })).toEqual({
        code: 0,
        said: 'The schema is up to date. The role "hub_app" has its rights.\n',
      });
      expect((await command({ DATABASE_URL: url, DATABASE_OWNER_URL: url })).said).toContain(
        'DATABASE_OWNER_URL names the role "hub_app" as DATABASE_URL does',
      );
      const hub = await HubProcess.start({ DATABASE_URL: url, LOG_LEVEL: 'info', ...partners });
      expect(await hub.end('SIGTERM')).toBe(0);
      expect(hub.log()).not.toMatch(/one_role|permission denied/);
      // NODE_ENV was not set, which is production: nothing may be emptied.
      await expect(ask(url, 'truncate wallet_transaction')).rejects.toMatchObject({ code: DENIED });
    },
    PROCESSES_MS,
  );

  it('takes rights away that are too many, gives those that lack, and leaves alone what is right', async () => {
    const { url, ownerUrl, superuserUrl } = await emptyDatabase();
    await migrate(ownerUrl, { ...application, mayClear: true });
    await ask(url, 'truncate wallet_parked');
    const rights = () =>
      ask(
        superuserUrl,
        `select oid::regclass::text as name, relacl::text, xmin::text from pg_class where relnamespace in ('public'::regnamespace, 'recon'::regnamespace) order by 1`,
      );
    const before = await rights();
    await migrate(ownerUrl, { ...application, mayClear: true });
    expect(await rights()).toEqual(before);

    await ask(
      ownerUrl,
      'grant all on audit_entry, wallet_transaction to hub_app; revoke insert on wallet_event from hub_app; grant create on schema public to hub_app; revoke usage on schema recon from hub_app; revoke all on function audit_append from hub_app',
    );
    expect((await powersOf(url).catch((error: Error) => error.message)) as unknown).toEqual({
      role: 'hub_app',
      isSuperuser: false,
      powers: ['may rewrite the audit log', 'may make tables and functions'],
    });
    await migrate(ownerUrl, application);
    expect((await powersOf(url)).powers).toEqual([]);
    await expect(ask(url, 'truncate wallet_parked')).rejects.toMatchObject({ code: DENIED });
    expect(
      await ask(
        url,
        `select has_table_privilege('wallet_event', 'INSERT') and has_schema_privilege('recon', 'USAGE') and has_function_privilege('audit_append(text, text, text, text, text, text)', 'EXECUTE') as given, has_table_privilege('wallet_transaction', 'DELETE') as taken`,
      ),
    ).toEqual([{ given: true, taken: false }]);
  });

  it('makes later tables that the other role can use, and serves another role when DATABASE_URL names another', async () => {
    const { url, ownerUrl } = await emptyDatabase();
    await migrate(ownerUrl, application);
    await ask(ownerUrl, 'create table later (n integer); create table recon.later (n integer)');
    await ask(url, 'insert into later values (1); update recon.later set n = 2');
    const second = await newRole();
    await migrate(ownerUrl, { ...application, role: second });
    await ask(as(url, second), 'insert into later values (3)');
    expect((await powersOf(as(url, second))).powers).toEqual([]);
  });

  it(
    'is told when the tables belong to somebody else, when the role is not there, and when the two lead to different databases',
    async () => {
      const { url, ownerUrl, superuserUrl } = await emptyDatabase();
      await expect(migrate(ownerUrl, { ...application, role: 'nobody_here' })).rejects.toThrow(
        /role "nobody_here" of DATABASE_URL does not exist/,
      );
      const other = await emptyDatabase();
      expect(await refused({ DATABASE_URL: other.url, DATABASE_OWNER_URL: ownerUrl })).toContain(
        'lead to different databases',
      );
      const third = await emptyDatabase();
      await migrate(third.superuserUrl);
      await expect(migrate(third.ownerUrl, application)).rejects.toThrow(
        /tables belong to postgres, and the role "hub_owner" of DATABASE_OWNER_URL may not change them[^]*runbook/,
      );
      expect(await pendingMigrations(url)).toEqual([]);
      expect(superuserUrl).toContain('postgres');
    },
    PROCESSES_MS,
  );

  it(
    'is missed once where one role does all, and in production a superuser is refused',
    async () => {
      const { url, superuserUrl } = await emptyDatabase();
      await migrate(superuserUrl);
      const one = await HubProcess.start({ DATABASE_URL: superuserUrl, LOG_LEVEL: 'info', ...partners });
      expect(await one.end('SIGTERM')).toBe(0);
      expect(one.log().match(/"database\.one_role"/g)).toHaveLength(1);
      expect(one.log()).toMatch(/"event":"database\.one_role".*"role":"postgres".*is a superuser.*DATABASE_OWNER_URL/);

      const production = { ...productionEnvironment(), LOG_LEVEL: 'info', DATABASE_URL: superuserUrl };
      expect(await refused(production)).toMatch(
        /does not start in production: the role "postgres" of DATABASE_URL is a superuser.*INSECURE_ACCEPTED=database_superuser/,
      );
      const accepted = await HubProcess.start({ ...production, INSECURE_ACCEPTED: 'database_superuser' });
      expect(await accepted.end('SIGTERM')).toBe(0);
      expect(accepted.log()).toMatch(/"config\.insecure_accepted".*"exception":"database_superuser".*is a superuser/);

      // An owner is set, and still the hub would serve as one who may do everything.
      const all = await newRole('superuser');
      expect(await refused({ DATABASE_URL: as(url, all), DATABASE_OWNER_URL: superuserUrl })).toMatch(
        /DATABASE_OWNER_URL is set and the role "role_\w+" of DATABASE_URL is a superuser/,
      );
    },
    PROCESSES_MS,
  );
});

describe('a data folder of the release before, in which the superuser made everything', () => {
  it(
    'is taken over at the next start without loss, and its hub serves as the new role',
    async () => {
      const dataDir = mkdtempSync(path.join(os.tmpdir(), 'hub-roles-'));
      const settings = { fsync: 'off', shared_buffers: '32MB' };
      const [operator, rgs] = [await startMockOperator(), await startMockRgs()];
      let hub: HubProcess | undefined;
      try {
        const former = await startEmbeddedPostgres({ dataDir, settings });
        await migrate(former.superuserUrl);
        await ask(
          former.superuserUrl,
          `insert into partner (id, code, role, base_url, currencies) overriding system value values (1, 'operator', 'operator', 'http://127.0.0.1:9/', '{USD}'), (2, 'rgs', 'rgs', 'http://127.0.0.1:9/', '{USD}')`,
        );
        await ask(
          former.superuserUrl,
          `select audit_append('of the former release', 'destination.resume', 'rgs', null, null, null)`,
        );
        await ask(
          former.superuserUrl,
          `insert into wallet_round (rgs_id, round_id, player_id, operator_id) values (2, 'kept', 'ann', 1)`,
        );
        await ask(
          former.superuserUrl,
          'alter database postgres owner to postgres; revoke pg_read_all_stats from hub_owner, hub_app; drop role hub_owner; drop role hub_app',
        );
        await former.stop();
        const record = path.join(dataDir, 'postgres.json');
        const { rolePasswords: _, ...rest } = JSON.parse(readFileSync(record, 'utf8')) as Record<string, unknown>;
        writeFileSync(record, JSON.stringify(rest));

        hub = await HubProcess.start({
          DATA_DIR: dataDir,
          LOG_LEVEL: 'info',
          OPERATOR_BASE_URL: operator.url,
          RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
        });
        const { url } = hub;
        const { body } = await signedRequest('POST', `${url}/wallet/debit`, {
          playerId: 'ann',
          amountCents: 100,
          currency: 'USD',
          refId: 'after',
        });
        await waitFor(
          'the bet is confirmed',
          async () =>
            (await signedRequest('GET', `${url}/wallet/transactions/${body.transactionId}`, undefined)).body.state ===
            'confirmed',
        );
        expect((await signedRequest('POST', `${url}/admin/destinations/rgs/resume`, undefined)).status).toBe(200);
        const shared = await startEmbeddedPostgres({ dataDir, settings });
        expect(roleOf(shared.url)).toBe('hub_app');
        expect(await ask(shared.url, 'select actor from audit_entry order by id limit 1')).toEqual([
          { actor: 'of the former release' },
        ]);
        expect(await ask(shared.url, `select player_id from wallet_round where round_id = 'kept'`)).toEqual([
          { player_id: 'ann' },
        ]);
        expect(
          await ask(
            shared.superuserUrl,
            `select distinct usename as role from pg_stat_activity where application_name like 'hub%'`,
          ),
        ).toEqual([{ role: 'hub_app' }]);
        expect(
          await ask(
            shared.superuserUrl,
            `select distinct tableowner as owner from pg_tables where schemaname in ('public', 'recon')`,
          ),
        ).toEqual([{ owner: 'hub_owner' }]);
        await expect(ask(shared.url, 'delete from audit_entry')).rejects.toMatchObject({ code: DENIED });
      } finally {
        await hub?.end('SIGTERM');
        await Promise.all([operator.close(), rgs.close()]);
        rmSync(dataDir, { recursive: true, force: true });
      }
      expect(hub.log()).not.toMatch(/one_role|permission denied|must be owner/);
    },
    PROCESSES_MS,
  );
});
