import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { transformFileSync } from '@swc/core';
import { Client } from 'pg';
import { startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import type { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';

// These tests are about processes and files, not about disks: without fsync they take a third of the time.
const settings = { fsync: 'off', shared_buffers: '16MB', max_connections: '20' };

const root = path.join(__dirname, '..', '..');
let scratch: string;
let launcher: string;
let dataDir: string;
let count = 0;
const children: ChildProcess[] = [];
const servers: EmbeddedPostgres[] = [];

beforeAll(() => {
  scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'embedded-postgres-'));
  // A program that starts Postgres, says so on one line, and stops it when its input ends. Its own process, so that it
  // can be killed.
  launcher = path.join(scratch, 'launcher.cjs');
  const source = path.join(root, 'src', 'database', 'embedded');
  fs.mkdirSync(path.join(scratch, 'embedded'));
  for (const file of fs.readdirSync(source)) {
    const { code } = transformFileSync(path.join(source, file), {
      jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
      module: { type: 'commonjs' },
    });
    fs.writeFileSync(path.join(scratch, 'embedded', file.replace(/\.ts$/, '.js')), code);
  }
  fs.copyFileSync(path.join(root, 'src', 'database', 'hand-over.sql'), path.join(scratch, 'hand-over.sql'));
  fs.writeFileSync(
    launcher,
    `const { startEmbeddedPostgres } = require('./embedded/embedded-postgres.js');
     startEmbeddedPostgres({ dataDir: process.argv[2], settings: ${JSON.stringify(settings)} }).then(async (pg) => {
       console.log(JSON.stringify({ port: pg.port, pid: pg.pid, owned: pg.owned, url: pg.url, superuserUrl: pg.superuserUrl }));
       process.stdin.on('end', () => pg.stop().then(() => process.exit(0))).resume();
     }, (error) => { console.error(error); process.exit(1); });`,
  );
});

beforeEach(() => {
  dataDir = path.join(scratch, `data-${++count}`);
});

afterEach(async () => {
  for (const child of children.splice(0)) if (isRunning(child)) await kill(child);
  for (const server of servers.splice(0)) await server.stop();
  // Takes over whatever a killed launcher left, and stops it.
  if (fs.existsSync(path.join(dataDir, 'postgres', 'postmaster.pid'))) await (await start()).stop();
});

afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

async function start(options: { port?: number } = {}): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir, settings, ...options });
  servers.push(server);
  return server;
}

type Launched = Pick<EmbeddedPostgres, 'port' | 'pid' | 'owned' | 'url' | 'superuserUrl'>;

async function launch(env: Readonly<Record<string, string>> = {}): Promise<Launched & { child: ChildProcess }> {
  const child = spawn(process.execPath, [launcher, dataDir], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env, NODE_PATH: path.join(root, 'node_modules') },
  });
  children.push(child);
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
  for await (const line of readline.createInterface({ input: child.stdout })) {
    return { child, ...(JSON.parse(line) as Launched) };
  }
  throw new Error(`the launcher ended early:\n${stderr}`);
}

/** As the superuser. */
function query({ superuserUrl }: { superuserUrl: string }, sql: string): Promise<Record<string, unknown>[]> {
  return queryAt(superuserUrl, sql);
}

async function queryAt(url: string | undefined, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  // Some tests kill the server.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** What somebody meets who has no password, or guesses one: over TCP every user of the machine is the same. */
async function strangersSeen({ port }: { port: number }): Promise<string[]> {
  const tries = [
    {},
    { password: 'postgres' },
    { password: 'postgres', user: 'hub' },
    { password: 'postgres', replication: 'true' },
  ];
  return Promise.all(
    tries.map(async (options) => {
      const client = new Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres', ...options });
      try {
        await client.connect();
        return 'let in';
      } catch (error) {
        return /password/.test(String(error)) ? 'refused' : String(error);
      } finally {
        await client.end();
      }
    }),
  );
}

/** Makes of a running server what releases without a password left. */
async function makeFormer(server: { superuserUrl: string }): Promise<void> {
  const file = path.join(dataDir, 'postgres', 'pg_hba.conf');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replaceAll(/scram-sha-256$/gm, 'trust'));
  await query(server, 'ALTER ROLE postgres PASSWORD NULL; SELECT pg_reload_conf()');
}

function forgetPassword(): void {
  const record = path.join(dataDir, 'postgres.json');
  const { port, owner } = JSON.parse(fs.readFileSync(record, 'utf8')) as { port: number; owner: object | null };
  fs.writeFileSync(record, JSON.stringify({ port, owner }));
  fs.chmodSync(record, 0o644);
}

function filesUnder(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

function modeOf(file: string): string {
  return (fs.statSync(file).mode & 0o777).toString(8);
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Asked by its port and not by its process id: without an init that collects it, a dead process keeps its id. */
function isListening(server: { port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(server.port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

async function waitUntil(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('the embedded Postgres', () => {
  it('starts, keeps its data and its port over a stop, and stops cleanly', async () => {
    const first = await start();
    expect(first.owned).toBe(true);
    for (const [url, role] of [
      [first.url, 'hub_app'],
      [first.ownerUrl, 'hub_owner'],
      [first.superuserUrl, 'postgres'],
    ])
      expect(url).toMatch(new RegExp(`^postgres://${role}:[\\w-]{43}@127\\.0\\.0\\.1:${first.port}/postgres$`));
    await query(first, 'CREATE TABLE kept (n bigint); INSERT INTO kept VALUES (42)');
    await first.stop();
    await first.stop();
    expect(await isListening(first)).toBe(false);
    expect(fs.existsSync(path.join(dataDir, 'postgres', 'postmaster.pid'))).toBe(false);

    const second = await start();
    expect(second.port).toBe(first.port);
    expect(second.owned).toBe(true);
    expect(await query(second, 'SELECT n FROM kept')).toEqual([{ n: '42' }]);
  });

  it('lets nobody in without the password, which stands in a file for its owner alone and in no log', async () => {
    const lines: string[] = [];
    const server = await startEmbeddedPostgres({ dataDir, settings, log: (line) => lines.push(line) });
    servers.push(server);
    expect(await strangersSeen(server)).toEqual(['refused', 'refused', 'refused', 'refused']);
    const urls = [server.superuserUrl, server.ownerUrl ?? '', server.url];
    for (const url of urls)
      await expect(queryAt(url.replace(/.@/, '@'), 'select 1')).rejects.toMatchObject({ code: '28P01' });

    const passwords = urls.map((url) => new URL(url).password);
    expect(new Set(passwords).size).toBe(3);
    const holders = filesUnder(dataDir).filter((file) =>
      passwords.some((password) => fs.readFileSync(file).includes(password)),
    );
    expect(holders).toEqual([path.join(dataDir, 'postgres.json')]);
    expect(modeOf(path.join(dataDir, 'postgres.json'))).toBe('600');
    expect(lines.join('\n')).toContain('ready on');
    for (const password of passwords) expect(lines.join('\n')).not.toContain(password);
  });

  it('refuses a data directory of release 0.1.0, and leaves it as it is, whether its server runs or not', async () => {
    const former = await start();
    await query(former, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (5)');
    await makeFormer(former);
    const refusal = /made by release 0\.1\.0, .* nothing was changed: choose another DATA_DIR/;
    const files = ['postgres.json', 'postgres/pg_hba.conf'].map((file) => path.join(dataDir, file));
    const stateOf = (): string[] => files.map((file) => `${modeOf(file)} ${fs.readFileSync(file, 'utf8')}`);
    const before = stateOf();
    await expect(start()).rejects.toThrow(refusal);
    expect(stateOf()).toEqual(before);
    // It still runs, and lets in whom it let in.
    const url = `postgres://postgres@127.0.0.1:${former.port}/postgres`;
    expect(await queryAt(url, 'SELECT n FROM kept')).toEqual([{ n: 5 }]);
    await former.stop();

    forgetPassword();
    const stopped = stateOf();
    await expect(start()).rejects.toThrow(refusal);
    expect(stateOf()).toEqual(stopped);
  });

  it('has two roles that are no superusers: the hub serves as one, and what it serves belongs to the other', async () => {
    const server = await start();
    const power =
      'SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS power, pg_has_role(current_user, (SELECT datdba FROM pg_database WHERE datname = current_database()), $$MEMBER$$) AS owns FROM pg_roles WHERE rolname = current_user';
    expect(await queryAt(server.url, power)).toEqual([{ power: false, owns: false }]);
    expect(await queryAt(server.ownerUrl, power)).toEqual([{ power: false, owns: true }]);
    await queryAt(server.ownerUrl, 'CREATE TABLE kept (n int); GRANT SELECT ON kept TO hub_app');
    expect(await queryAt(server.url, 'SELECT n FROM kept')).toEqual([]);
    for (const forbidden of [
      'CREATE TABLE mine (n int)',
      'CREATE SCHEMA mine',
      'DROP TABLE kept',
      'SET ROLE hub_owner',
      `COPY kept FROM PROGRAM 'true'`,
      `SELECT pg_read_file('postgresql.conf')`,
    ])
      await expect(queryAt(server.url, forbidden)).rejects.toMatchObject({ code: '42501' });
    await server.stop();

    const again = await start();
    expect([again.url, again.ownerUrl]).toEqual([server.url, server.ownerUrl]);
  });

  it('hands over what the superuser of the release before has made, of every kind, and again after that release ran once more', async () => {
    const first = await start();
    // As the release before left it: no roles, and one password.
    await query(
      first,
      'ALTER DATABASE postgres OWNER TO postgres; REVOKE pg_read_all_stats FROM hub_owner, hub_app; DROP ROLE hub_owner; DROP ROLE hub_app',
    );
    await query(
      first,
      `CREATE SCHEMA recon; CREATE TYPE pair AS (a int, b int); CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN cents AS bigint; CREATE SEQUENCE own_numbers;
      CREATE TABLE weeks (n int GENERATED ALWAYS AS IDENTITY, s serial, at int) PARTITION BY RANGE (at); CREATE TABLE weeks_1 PARTITION OF weeks FOR VALUES FROM (1) TO (9); CREATE INDEX ON weeks (at);
      CREATE TABLE recon."Odd name" (n cents); CREATE VIEW seen AS SELECT at FROM weeks; CREATE MATERIALIZED VIEW kept_view AS SELECT 1 AS one;
      CREATE FUNCTION twice(p int) RETURNS int LANGUAGE sql AS 'select 2 * p'; CREATE PROCEDURE nothing() LANGUAGE sql AS ''; INSERT INTO weeks (at) VALUES (5)`,
    );
    const lines: string[] = [];
    const record = path.join(dataDir, 'postgres.json');
    const forget = (): void => {
      const { rolePasswords: _, ...rest } = JSON.parse(fs.readFileSync(record, 'utf8')) as Record<string, unknown>;
      fs.writeFileSync(record, JSON.stringify(rest));
    };
    await first.stop();
    forget();

    const second = await startEmbeddedPostgres({ dataDir, settings, log: (line) => lines.push(line) });
    servers.push(second);
    expect(lines.join('\n')).toMatch(/serves as hub_app, and its tables belong to hub_owner \(\d+ handed over\)/);
    const owners = `SELECT DISTINCT owner::regrole::text AS owner FROM (
      SELECT relowner AS owner FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'recon'::regnamespace) UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      UNION ALL SELECT typowner FROM pg_type WHERE typnamespace IN ('public'::regnamespace, 'recon'::regnamespace) UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname = 'recon' UNION ALL SELECT datdba FROM pg_database WHERE datname = 'postgres') o`;
    expect(await query(second, owners)).toEqual([{ owner: 'hub_owner' }]);
    expect(await queryAt(second.ownerUrl, 'SELECT at, s FROM weeks')).toEqual([{ at: 5, s: 1 }]);
    await query(second, 'CREATE TABLE by_the_former_release (n int)');
    await second.stop();
    forget();

    const third = await start();
    expect(await query(third, owners)).toEqual([{ owner: 'hub_owner' }]);
    expect(third.url).not.toBe(second.url);
    await expect(queryAt(second.url, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('sets a new password when the old one is lost, but neither below a server that runs nor on a standby', async () => {
    const first = await start();
    const record = path.join(dataDir, 'postgres.json');
    const kept = fs.readFileSync(record, 'utf8');
    fs.rmSync(record);
    await expect(start()).rejects.toThrow(/does not hold the password[^]*kill -INT/);
    fs.writeFileSync(record, kept);
    await first.stop();

    fs.rmSync(record);
    const signal = path.join(dataDir, 'postgres', 'standby.signal');
    fs.writeFileSync(signal, '');
    await expect(start()).rejects.toThrow(/is a standby, which has the password of its primary/);
    fs.rmSync(signal);
    const second = await start();
    expect(await query(second, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(second.url).not.toBe(first.url);
    await second.stop();

    fs.writeFileSync(record, JSON.stringify({ port: second.port, owner: null, password: 'of-another-cluster' }));
    await expect(start()).rejects.toThrow(/does not hold the password/);
    fs.rmSync(record);
  });

  it('does not hear what the shell says of another server', async () => {
    const { child, owned } = await launch({
      PGSSLMODE: 'require',
      PGOPTIONS: '-c no_such_setting=1',
      PGHOST: '192.0.2.1',
      PGPORT: '1',
      PGUSER: 'nobody',
      PGDATABASE: 'none',
      PGSERVICE: 'none',
      PGPASSFILE: '/nowhere',
      PGCLIENTENCODING: 'LATIN1',
    });
    expect(owned).toBe(true);
    child.stdin?.end();
    await once(child, 'exit');
  });

  it('is PostgreSQL 18 with UTF8, locale C, UTC, loopback only, and fsync on unless told otherwise', async () => {
    const server = await startEmbeddedPostgres({ dataDir });
    servers.push(server);
    const [row] = await query(
      server,
      `SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding, (SELECT datcollate FROM pg_database WHERE datname = 'postgres') AS collation,
              current_setting('timezone') AS timezone, current_setting('listen_addresses') AS listen, current_setting('fsync') AS fsync,
              current_setting('max_connections') AS connections, current_setting('shared_buffers') AS buffers, current_setting('unix_socket_directories') AS socket`,
    );
    expect(row).toEqual({
      version: expect.stringMatching(/^18\./),
      encoding: 'UTF8',
      collation: 'C',
      timezone: 'UTC',
      listen: '127.0.0.1',
      fsync: 'on',
      connections: '200',
      buffers: '256MB',
      socket: '',
    });
  });

  it('is taken over after its owner was killed, and stops with the new owner', async () => {
    const killed = await launch();
    expect(killed.owned).toBe(true);
    await query(killed, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)');
    await kill(killed.child);

    const next = await start();
    expect(next).toMatchObject({ pid: killed.pid, port: killed.port, owned: true });
    expect(await query(next, 'SELECT n FROM kept')).toEqual([{ n: 1 }]);
    await next.stop();
    expect(await isListening(next)).toBe(false);
  });

  it('is shared while its owner lives, and outlives the one who only shares it', async () => {
    const owner = await launch();
    const guest = await start();
    expect(guest).toMatchObject({ pid: owner.pid, port: owner.port, owned: false });
    await guest.stop();
    expect(await query(owner, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);

    owner.child.stdin?.end();
    await waitUntil('the owner has stopped it', () => !isRunning(owner.child));
    expect(owner.child.exitCode).toBe(0);
    expect(await isListening(owner)).toBe(false);
  });

  it('is one server when several processes start at once on an empty directory', async () => {
    const all = await Promise.all([launch(), launch(), launch()]);
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(1);
    expect(new Set(all.map(({ port }) => port)).size).toBe(1);
    expect(all.filter(({ owned }) => owned)).toHaveLength(1);
  });

  it('has one new owner when several processes come after a killed one', async () => {
    const killed = await launch();
    await kill(killed.child);
    const all = await Promise.all([launch(), launch(), start()]);
    expect(all.map(({ pid }) => pid)).toEqual([killed.pid, killed.pid, killed.pid]);
    expect(all.filter(({ owned }) => owned)).toHaveLength(1);
  });

  it('recovers when the server itself was killed', async () => {
    const first = await start();
    await query(first, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)');
    process.kill(first.pid, 'SIGKILL');
    const second = await start();
    expect(second.pid).not.toBe(first.pid);
    expect(second.owned).toBe(true);
    expect(await query(second, 'SELECT n FROM kept')).toEqual([{ n: 7 }]);
    await first.stop();
    expect(await isListening(second)).toBe(true);
    await second.stop();
    expect(await isListening(second)).toBe(false);
  });

  it('waits for the last queries of a server that was killed', async () => {
    const first = await start();
    const busy = query(first, 'SELECT count(*) FROM generate_series(1, 3000000)').catch(() => undefined);
    const deadline = Date.now() + 15_000;
    while (
      (
        await query(
          first,
          "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%generate_series(1,%' AND state = 'active' AND pid <> pg_backend_pid()",
        )
      ).length === 0
    ) {
      if (Date.now() > deadline) throw new Error('the long query did not start');
    }
    process.kill(first.pid, 'SIGKILL');
    const second = await start();
    expect(await query(second, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await busy;
  });

  it('starts past a postmaster.pid whose process id now belongs to another program', async () => {
    const first = await start();
    await query(first, 'CREATE TABLE kept (n int)');
    await first.stop();

    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    children.push(other);
    const pidFile = path.join(dataDir, 'postgres', 'postmaster.pid');
    const stat = fs.statSync(path.join(dataDir, 'postgres'));
    fs.writeFileSync(pidFile, `${other.pid}\n${dataDir}/postgres\n1\n${first.port}\n\n127.0.0.1\n 0 0\nready   \n`, {
      mode: 0o600,
    });
    fs.chownSync(pidFile, stat.uid, stat.gid);

    const second = await start();
    expect(second.owned).toBe(true);
    expect(await query(second, 'SELECT count(*)::int AS rows FROM kept')).toEqual([{ rows: 0 }]);
    expect(isRunning(other)).toBe(true);
  });

  it('makes the directory anew when an earlier one is half made, and keeps the old one aside', async () => {
    fs.mkdirSync(path.join(dataDir, 'postgres', 'base'), { recursive: true });
    fs.writeFileSync(path.join(dataDir, 'postgres', 'PG_VERSION'), '18\n');
    fs.mkdirSync(path.join(dataDir, 'postgres.new-left-by-a-killed-initdb'));
    const server = await start();
    expect(await query(server, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    const names = fs.readdirSync(dataDir);
    expect(names.filter((name) => name.startsWith('postgres.new-'))).toEqual([]);
    expect(names.filter((name) => name.startsWith('postgres.incomplete-'))).toHaveLength(1);
  });

  it('breaks the lock of a process that has died', async () => {
    fs.mkdirSync(dataDir, { recursive: true });
    fs.writeFileSync(
      path.join(dataDir, 'postgres.lock'),
      JSON.stringify({ id: 'left', pid: process.pid, started: 'long ago' }),
    );
    const all = await Promise.all([start(), start(), start()]);
    expect(all.filter(({ owned }) => owned)).toHaveLength(1);
    expect(fs.readdirSync(dataDir).filter((name) => name.startsWith('postgres.lock'))).toEqual([]);
  });

  it('takes another port when the last one is in use, but insists on a port it was given', async () => {
    const first = await start();
    await first.stop();
    const other = net.createServer().listen(first.port, '127.0.0.1');
    await once(other, 'listening');
    try {
      await expect(start({ port: first.port })).rejects.toThrow(
        `Port ${first.port}, wanted for the embedded Postgres, is in use.`,
      );
      const second = await start();
      expect(second.port).not.toBe(first.port);
    } finally {
      other.close();
    }
  });

  it('says what is wrong when the server does not start, and what to do', async () => {
    await expect(
      startEmbeddedPostgres({ dataDir, settings: { ...settings, max_connections: 'many' } }),
    ).rejects.toThrow(/did not start \(exit code 1\)[^]*max_connections[^]*postgres\.log[^]*DATABASE_URL/);
  });

  it('refuses the data of another major version', async () => {
    const server = await start();
    await server.stop();
    fs.writeFileSync(path.join(dataDir, 'postgres', 'PG_VERSION'), '17\n');
    await expect(start()).rejects.toThrow('was made by PostgreSQL 17 and this hub ships PostgreSQL 18');
  });
});
