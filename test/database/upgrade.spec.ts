import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { dataSourceOptions } from '../../src/database/data-source';
import { Database } from '../../src/database/database';
import { describeSchema } from '../../src/database/describe-schema';
import { historyOf, migrate } from '../../src/database/migrate';
import { HubProcess } from '../support/hub/hub-process';
import { ROWS_OF_0_2_0, type Rows } from '../support/rows-of-0-2-0';
import { ADMIN_URL_VARIABLE, createDatabase, withClient } from '../support/hub/test-database';

const MAIN = path.resolve(__dirname, '../../dist/src/main.js');
const MIGRATIONS = path.resolve(__dirname, '../../src/database/migrations');
/** The last migration of the first release whose databases are carried over. */
const LAST_OF_0_2_0 = '1798000000900-functions.ts';
const PARTNERS = { OPERATOR_BASE_URL: 'http://127.0.0.1:9/', RGS_WEBHOOK_URL: 'http://127.0.0.1:9/webhooks' };

const databases: string[] = [];

/** Without any table; dropped at the end. */
async function emptyDatabase(): Promise<string> {
  const name = `hub_upgrade_${randomUUID().replaceAll('-', '')}`;
  databases.push(name);
  return createDatabase(name, 'template1');
}
afterAll(() =>
  withClient(process.env[ADMIN_URL_VARIABLE] ?? '', async (client) => {
    for (const name of databases) await client.query(`drop database ${name} with (force)`);
  }),
);

type Migration = string | (new () => MigrationInterface);

async function connected<T>(
  url: string,
  work: (dataSource: DataSource) => Promise<T>,
  migrations?: Migration[],
): Promise<T> {
  const options = dataSourceOptions(url, { applicationName: 'upgrade-test', poolSize: 1 });
  const dataSource = await new DataSource({ ...options, ...(migrations && { migrations }) }).initialize();
  try {
    return await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

const query = <T>(url: string, sql: string, parameters?: unknown[]): Promise<T[]> =>
  withClient(url, async (client) => (await client.query(sql, parameters)).rows as T[]);
const schemaOf = (url: string): Promise<string> =>
  connected(url, (dataSource) => describeSchema(new Database(dataSource)));

/** With the schema of 0.2.0, as the files of that release made it, and rows in every table. */
async function databaseOf020(): Promise<string> {
  const url = await emptyDatabase();
  const files = readdirSync(MIGRATIONS).filter((file) => file <= LAST_OF_0_2_0);
  const run = (dataSource: DataSource): Promise<unknown> => dataSource.runMigrations();
  await connected(
    url,
    run,
    files.map((file) => path.join(MIGRATIONS, file)),
  );
  for (const [table, rows] of Object.entries(ROWS_OF_0_2_0))
    for (const row of rows) {
      const columns = Object.keys(row);
      const values = columns.map((_, index) => `$${index + 1}`);
      await query(
        url,
        `insert into ${table} (${columns.join(', ')}) values (${values.join(', ')})`,
        Object.values(row),
      );
    }
  return url;
}

async function tablesOf(url: string): Promise<string[]> {
  const rows = await query<{ name: string }>(
    url,
    `select c.oid::regclass::text as name from pg_class c
     where c.relnamespace in (select oid from pg_namespace where nspname in ('public', 'recon'))
       and c.relkind in ('r', 'p') and not c.relispartition and c.relname not in ('migrations', 'typeorm_metadata')`,
  );
  return rows.map(({ name }) => name).sort();
}

/** Every row of these tables; of later columns nothing, if `columns` says which there were. */
async function rowsOf(url: string, tables: readonly string[], columns?: Columns): Promise<Rows> {
  const found: Record<string, Record<string, unknown>[]> = {};
  for (const table of tables) {
    const rows = await query<{ row: Record<string, unknown> }>(
      url,
      `select to_jsonb(t) as row from ${table} t order by to_jsonb(t)::text collate "C"`,
    );
    const names = columns?.[table];
    found[table] = rows.map(({ row }) =>
      Object.fromEntries(Object.entries(row).filter(([name]) => names?.includes(name) ?? true)),
    );
  }
  return found;
}

type Columns = Readonly<Record<string, readonly string[]>>;
const columnsOf = (rows: Rows): Columns =>
  Object.fromEntries(Object.entries(rows).map(([table, [row = {}]]) => [table, Object.keys(row)]));

describe('a database of release 0.2.0', () => {
  it('keeps every row, and gets the schema of a new one', async () => {
    const [old, fresh] = await Promise.all([databaseOf020(), emptyDatabase()]);
    await migrate(fresh);
    const tables = await tablesOf(old);
    const before = await rowsOf(old, tables);
    for (const table of tables) expect([table, before[table]?.length]).not.toEqual([table, 0]);

    await migrate(old);
    expect((await historyOf(old)).pending).toEqual([]);
    expect(await schemaOf(old)).toBe(await schemaOf(fresh));
    expect(await rowsOf(old, tables, columnsOf(before))).toEqual(before);
    // The functions are there, and so are the weeks ahead beside the rows in the default partitions.
    const [weeks] = await query<{ n: number }>(
      old,
      `select count(*)::integer as n from pg_inherits where inhparent = 'outbox_message'::regclass`,
    );
    expect(weeks?.n).toBe(6);
    await expect(query(old, `update audit_entry set actor = 'x'`)).rejects.toThrow('append-only');
  });

  it('is compared row by row: what a migration adds is no difference, what it changes or loses is one', async () => {
    const url = await databaseOf020();
    const tables = await tablesOf(url);
    const before = await rowsOf(url, tables);
    const run = (dataSource: DataSource): Promise<unknown> => dataSource.runMigrations();
    const all = path.join(MIGRATIONS, '*.ts');

    await connected(url, run, [all, AddsAColumn1999000000001]);
    expect(await rowsOf(url, tables, columnsOf(before))).toEqual(before);
    await connected(url, run, [all, AddsAColumn1999000000001, LosesARow1999000000002]);
    expect(await rowsOf(url, tables, columnsOf(before))).not.toEqual(before);
  });
});

class AddsAColumn1999000000001 implements MigrationInterface {
  up(runner: QueryRunner): Promise<unknown> {
    return runner.query('alter table wallet_transaction add column later text default $$x$$');
  }
  down(): Promise<unknown> {
    return Promise.resolve();
  }
}

class LosesARow1999000000002 implements MigrationInterface {
  up(runner: QueryRunner): Promise<unknown> {
    return runner.query('delete from wallet_parked');
  }
  down(): Promise<unknown> {
    return Promise.resolve();
  }
}

/** Starts the built hub, which is to refuse; answers what it said. */
async function refusalOf(env: Readonly<Record<string, string>>): Promise<string> {
  const hub = spawn(process.execPath, [MAIN], {
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'test', PORT: '0', ...PARTNERS, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  hub.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  expect(await once(hub, 'close')).toEqual([1, null]);
  return said;
}

/** Everything that a refused start could have changed: relations, functions, rights and what stands in `migrations`. */
const stateOf = (url: string): Promise<unknown[]> =>
  query(
    url,
    `select relname as name, relacl::text as rights from pg_class where relnamespace = 'public'::regnamespace
     union all select proname, proacl::text from pg_proc where pronamespace = 'public'::regnamespace
     union all select nspname, nspacl::text from pg_namespace
     union all select name, timestamp::text from migrations order by 1, 2`,
  );

describe('a database of release 0.1.0', () => {
  const SENTENCE =
    'The database has the tables of release 0.1.0, which no later release carries over, and nothing was changed';

  it('is refused before anything is changed, with what to do', async () => {
    const url = await emptyDatabase();
    // As that release left it: TypeORM's table, with some of its names, and a table that is called as it is today.
    await query(
      url,
      `create table migrations (id serial primary key, timestamp bigint not null, name varchar not null);
       insert into migrations (timestamp, name) values
         (1795000000001, 'CreatePartners1795000000001'), (1795000000002, 'CreateOutbox1795000000002'),
         (1797000000900, 'Functions1797000000900');
       create table partner (id integer primary key, code text)`,
    );
    const before = await stateOf(url);
    await expect(migrate(url)).rejects.toThrow(SENTENCE);
    await expect(historyOf(url)).rejects.toThrow(SENTENCE);
    for (const MIGRATE_ON_START of ['true', 'false']) {
      const said = await refusalOf({ DATABASE_URL: url, MIGRATE_ON_START });
      expect(said).toContain(SENTENCE);
      expect(said).toMatch(/set DATABASE_URL to an empty database .* DATA_DIR .* release 0\.1\.0/);
    }
    expect(await stateOf(url)).toEqual(before);
  });
});

describe('a database that a newer build has migrated', () => {
  const later = (url: string, ...names: string[]): Promise<unknown[]> =>
    query(url, 'insert into migrations (timestamp, name) select right(n, 13)::bigint, n from unnest($1::text[]) n', [
      names,
    ]);

  it('is served when that is the next release, which the log says, and left as it is', async () => {
    const url = await emptyDatabase();
    await migrate(url);
    // A table of the next release, which this build knows no rights for.
    await query(url, 'create table later_table (id integer)');
    await later(url, 'LaterTable1999000000001', 'Functions1999000000900');
    const before = await stateOf(url);
    expect(await migrate(url, { role: 'hub_app', mayClear: true })).toEqual([]);
    const hub = await HubProcess.start({ ...PARTNERS, DATABASE_URL: url });
    try {
      expect((await fetch(`${hub.url}/health/ready`)).status).toBe(200);
      expect(hub.log()).toMatch(/database\.newer.*LaterTable1999000000001/);
    } finally {
      expect(await hub.end('SIGTERM')).toBe(0);
    }
    expect(await stateOf(url)).toEqual(before);
  });

  it('is refused when it is more than one release ahead', async () => {
    const url = await emptyDatabase();
    await migrate(url);
    await later(url, 'Functions1999000000900', 'Functions2000000000900');
    expect(await refusalOf({ DATABASE_URL: url })).toMatch(
      /more than one release newer than this build \(it has Functions1999000000900, Functions2000000000900\)/,
    );
  });

  it('is refused when it lacks a migration of this build', async () => {
    const url = await emptyDatabase();
    await migrate(url);
    await later(url, 'OfAnotherBranch1999000000001');
    await query(url, `delete from migrations where name like 'Functions%'`);
    const refused = migrate(url);
    await expect(refused).rejects.toThrow(/has OfAnotherBranch1999000000001, .* and lacks Functions1798000000900/);
  });
});
