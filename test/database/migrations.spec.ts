import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/database/data-source';
import { Database } from '../../src/database/database';
import { describeSchema } from '../../src/database/describe-schema';
import { migrate, pendingMigrations } from '../../src/database/migrate';
import { HubProcess } from '../support/hub/hub-process';
import { ADMIN_URL_VARIABLE, createDatabase, withClient } from '../support/hub/test-database';

const MAIN = path.resolve(__dirname, '../../dist/src/main.js');
const SCHEMA_FILE = path.resolve(__dirname, '../../src/database/schema.sql');

describe('the migrations', () => {
  const databases: string[] = [];

  /** Without any table; dropped at the end. */
  async function emptyDatabase(): Promise<string> {
    const name = `hub_migrations_${randomUUID().replaceAll('-', '')}`;
    databases.push(name);
    return createDatabase(name, 'template1');
  }
  afterAll(() =>
    withClient(process.env[ADMIN_URL_VARIABLE] ?? '', async (client) => {
      for (const name of databases) await client.query(`drop database ${name} with (force)`);
    }),
  );

  async function connected<T>(url: string, work: (dataSource: DataSource) => Promise<T>): Promise<T> {
    const dataSource = await new DataSource(
      dataSourceOptions(url, { applicationName: 'migrations-test', poolSize: 1 }),
    ).initialize();
    try {
      return await work(dataSource);
    } finally {
      await dataSource.destroy();
    }
  }

  const schemaOf = (url: string): Promise<string> =>
    connected(url, (dataSource) => describeSchema(new Database(dataSource)));
  /** Whatever else a migration could leave behind in the database. */
  const leftovers = (url: string): Promise<string[]> =>
    connected(url, async (dataSource) => {
      const rows = await new Database(dataSource).rows<{ name: string }>(
        `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind not in ('i', 'I') and relname not like 'migrations%' and relname <> 'typeorm_metadata'
         union all select proname from pg_proc where pronamespace = 'public'::regnamespace
         union all select typname from pg_type where typnamespace = 'public'::regnamespace and typname not like '%migrations' and typname not like '%typeorm_metadata'
         union all select nspname from pg_namespace where nspname not in ('public', 'information_schema') and nspname not like 'pg\\_%' order by 1`,
      );
      return rows.map(({ name }) => name);
    });

  it('lead up from nothing, down to nothing, and up to the same again', async () => {
    const url = await emptyDatabase();
    const names = await migrate(url);
    expect(names.length).toBeGreaterThan(3);
    expect(await migrate(url)).toEqual([]);
    const schema = await schemaOf(url);
    expect(schema).toContain('create table outbox_head');

    await connected(url, async (dataSource) => {
      for (let undone = 0; undone < names.length; undone++) await dataSource.undoLastMigration();
    });
    expect(await leftovers(url)).toEqual([]);
    expect(await pendingMigrations(url)).toEqual(names);

    expect(await migrate(url)).toEqual(names);
    expect(await schemaOf(url)).toBe(schema);
  });

  it('and the entities describe the same tables', async () => {
    const url = await emptyDatabase();
    await migrate(url);
    await connected(url, async (dataSource) => {
      const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
      expect(upQueries.map(({ query }) => query)).toEqual([]);
      // The comparison sees what an entity has and the table lacks.
      await dataSource.query('alter table wallet_transaction drop column reason');
      const drift = await dataSource.driver.createSchemaBuilder().log();
      expect(drift.upQueries.map(({ query }) => query)).toEqual([expect.stringContaining('"reason"')]);
    });
  });

  it('are described by schema.sql as it is', async () => {
    const url = await emptyDatabase();
    await migrate(url);
    // When this fails the schema has changed: run "npm run db:schema" and commit the file.
    expect(readFileSync(SCHEMA_FILE, 'utf8')).toBe(await schemaOf(url));
  });

  it('that a database lacks are named', async () => {
    const url = await emptyDatabase();
    const all = await pendingMigrations(url);
    expect(await migrate(url)).toEqual(all);
    expect(await pendingMigrations(url)).toEqual([]);
    await connected(url, (dataSource) => dataSource.undoLastMigration());
    expect(await pendingMigrations(url)).toEqual(all.slice(-1));
  });

  it('run once when several hubs start at the same moment', async () => {
    const url = await emptyDatabase();
    const ran = await Promise.all([migrate(url), migrate(url), migrate(url)]);
    expect(ran.map(({ length }) => length).sort()).toEqual([0, 0, expect.any(Number)]);
    const env = {
      DATABASE_URL: await emptyDatabase(),
      OPERATOR_BASE_URL: 'http://127.0.0.1:9/',
      RGS_WEBHOOK_URL: 'http://127.0.0.1:9/webhooks',
    };
    const hubs = await Promise.all([HubProcess.start(env), HubProcess.start(env)]);
    try {
      expect(await pendingMigrations(env.DATABASE_URL)).toEqual([]);
      for (const hub of hubs) expect((await fetch(`${hub.url}/health/ready`)).status).toBe(200);
    } finally {
      expect(await Promise.all(hubs.map((hub) => hub.end('SIGTERM')))).toEqual([0, 0]);
    }
  });

  it('and the hub need no more than a role that owns its database', async () => {
    const url = new URL(await emptyDatabase());
    const name = url.pathname.slice(1);
    const asAdmin = (...statements: string[]) =>
      withClient(process.env[ADMIN_URL_VARIABLE] ?? '', async (client) => {
        for (const statement of statements) await client.query(statement);
      });
    // As docs/runbook.md says under Deploying.
    await asAdmin(
      `create role ${name} login password 'of-the-role' nosuperuser nocreatedb nocreaterole noreplication nobypassrls`,
      `alter database ${name} owner to ${name}`,
      `revoke all on database ${name} from public`,
    );
    [url.username, url.password] = [name, 'of-the-role'];
    const hub = await HubProcess.start({
      DATABASE_URL: url.toString(),
      OPERATOR_BASE_URL: 'http://127.0.0.1:9/',
      RGS_WEBHOOK_URL: 'http://127.0.0.1:9/webhooks',
    });
    try {
      expect(await pendingMigrations(url.toString())).toEqual([]);
      expect((await fetch(`${hub.url}/health/ready`)).status).toBe(200);
      const refused = withClient(url.toString(), (client) => client.query(`copy (select 1) to program 'true'`));
      await expect(refused).rejects.toMatchObject({ code: '42501' });
    } finally {
      expect(await hub.end('SIGTERM')).toBe(0);
      databases.splice(databases.indexOf(name), 1);
      await asAdmin(`drop database ${name} with (force)`, `drop role ${name}`);
    }
    expect(hub.log()).not.toMatch(/permission denied|must be/);
  });

  it('must be there before a hub starts that may not run them', async () => {
    const url = await emptyDatabase();
    const names = await migrate(url);
    await connected(url, (dataSource) => dataSource.undoLastMigration());
    const hub = spawn(process.execPath, [MAIN], {
      env: { PATH: process.env.PATH ?? '', NODE_ENV: 'test', DATABASE_URL: url, MIGRATE_ON_START: 'false', PORT: '0' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    hub.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect(await once(hub, 'close')).toEqual([1, null]);
    expect(said).toContain(names.at(-1));
    expect(said).toContain('db:migrate');
  });
});
