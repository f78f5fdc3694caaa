import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { hubArguments } from '../support/hub/hub-command';
import { HubProcess, freePort } from '../support/hub/hub-process';
import { signedRequest } from '../support/hub/signed-request';
import { type TestDatabase, createDatabase, testDatabase, withClient } from '../support/hub/test-database';
import { waitFor } from '../support/wait-for';

const ROOT = path.resolve(__dirname, '../..');

describe('a process that starts', () => {
  let folder: string;
  let operator: MockOperator;
  let database: TestDatabase;
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'hub-start-'));
    [operator, database] = await Promise.all([startMockOperator({ callbacks: false }), testDatabase()]);
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(
      children
        .filter((child) => child.exitCode === null && child.signalCode === null)
        .map((child) => once(child, 'exit')),
    );
    await operator.close();
    await database.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  const hub = async (env: Record<string, string>): Promise<HubProcess> => {
    const started = await HubProcess.start({
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${operator.url}/none`,
      ...env,
    });
    children.push(started.child);
    return started;
  };
  /** One that is expected to give up. */
  const refused = async (env: Record<string, string>): Promise<{ code: number | null; said: string }> => {
    const child = spawn(process.execPath, hubArguments(), {
      env: {
        PATH: process.env.PATH ?? '',
        HOST: '127.0.0.1',
        PORT: '0',
        OPERATOR_BASE_URL: operator.url,
        RGS_WEBHOOK_URL: `${operator.url}/none`,
        ...env,
      },
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(child);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, said };
  };

  it('without NODE_ENV is production, and names all that it lacks', async () => {
    const { code, said } = await refused({});
    expect(code).toBe(1);
    for (const name of [
      'RGS_TOKEN',
      'OPERATOR_TOKEN',
      'OPS_TOKEN',
      'FINANCE_TOKEN',
      'HMAC_SECRET',
      'RECON_SIGNING_KEY',
      'DATABASE_URL',
      'OPERATOR_BASE_URL',
      'RGS_WEBHOOK_URL',
    ])
      expect(said).toContain(`- ${name} `);
  });

  it("with a port that is taken has touched nothing: neither a database of its own nor anybody's partners", async () => {
    const taken = net.createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as net.AddressInfo;
    const empty = await createDatabase(`untouched_${process.pid}`, 'template1');
    const { code, said } = await refused({ NODE_ENV: 'test', PORT: String(port), DATABASE_URL: empty });
    expect([code, said]).toEqual([1, expect.stringContaining(`Port ${port} of 127.0.0.1 is in use`)]);
    expect(
      (await withClient(empty, (client) => client.query(`select 1 from pg_tables where schemaname = 'public'`))).rows,
    ).toEqual([]);
    taken.close();
  }, 30_000);

  it('a data folder in use is refused by the name of its user, unless it is to be shared; its PostgreSQL has a port that stays', async () => {
    const dataDir = path.join(folder, 'data');
    const port = await freePort();
    const first = await hub({ DATA_DIR: dataDir, EMBEDDED_DATABASE_PORT: String(port), LOG_LEVEL: 'trace' });
    const second = await refused({ NODE_ENV: 'test', DATA_DIR: dataDir });
    expect([second.code, second.said]).toEqual([
      1,
      expect.stringContaining(`is in use by the process ${first.child.pid} (${first.url})`),
    ]);
    expect(second.said).toContain('DATA_DIR_SHARED=true');
    const shared = await hub({ DATA_DIR: dataDir, DATA_DIR_SHARED: 'true' });
    expect(await shared.end('SIGTERM')).toBe(0);
    expect((await fetch(`${first.url}/health/ready`)).status).toBe(200);
    const record = JSON.parse(readFileSync(path.join(dataDir, 'postgres.json'), 'utf8')) as {
      port: number;
      password: string;
      rolePasswords: Record<string, string>;
    };
    const secret = expect.stringMatching(/^[\w-]{43}$/);
    expect(record).toMatchObject({ port, password: secret, rolePasswords: { hub_owner: secret, hub_app: secret } });
    const sql = (...args: string[]) =>
      promisify(execFile)(process.execPath, [path.join(ROOT, 'scripts/sql.mjs'), ...args], {
        env: { PATH: process.env.PATH ?? '', DATA_DIR: dataDir, NODE_ENV: 'test' },
      });
    expect((await sql('--url')).stdout).toMatch(
      new RegExp(`^postgres://hub_app@127\\.0\\.0\\.1:${port}/postgres\\n$`, 'm'),
    );
    expect((await sql('select count(*) > 0 as migrated from migrations')).stdout).toMatch(/^\{"migrated":true\}\n$/m);
    await expect(sql('--write', 'alter table wallet_round set (fillfactor = 90)')).rejects.toMatchObject({
      stderr: expect.stringContaining('must be owner of table wallet_round'),
    });
    await sql('--owner', '--write', 'alter table wallet_round set (fillfactor = 90)');
    expect(await first.end('SIGTERM')).toBe(0);
    expect(first.log()).toContain('hub.started');
    for (const password of [record.password, ...Object.values(record.rolePasswords)])
      expect(first.log() + second.said + shared.log()).not.toContain(password);
  }, 150_000);

  it('is refused on a database whose living processes send money elsewhere, and what it changes after them is told', async () => {
    const partners = () => database.query('select code, base_url, player_id_template from partner order by code');
    const env = { DATABASE_URL: database.url, LOG_LEVEL: 'info' };
    const first = await hub(env);
    const before = await partners();

    // Each waits in vain for the first to go; so all at once.
    const changes: Record<string, string>[] = [
      { OPERATOR_BASE_URL: 'http://127.0.0.1:1/other?key=hidden' },
      { RGS_WEBHOOK_URL: 'http://user:hidden@127.0.0.1:1/' },
      { PLAYER_ID_TEMPLATE: 'x-{playerId}' },
    ];
    for (const { code, said } of await Promise.all(
      changes.map((change) => refused({ NODE_ENV: 'test', ...env, ...change })),
    )) {
      expect([code, said]).toEqual([
        1,
        expect.stringMatching(/other processes live on this database[\s\S]*PARTNER_CHANGE_ACCEPTED=true/),
      ]);
      expect(said).not.toContain('hidden');
    }
    expect(await partners()).toEqual(before);
    expect(
      (
        await signedRequest('POST', `${first.url}/wallet/debit`, {
          playerId: 'p',
          amountCents: 100,
          currency: 'USD',
          refId: 'mine',
        })
      ).status,
    ).toBe(200);
    await waitFor('the bet is booked at the operator of the first', async () =>
      ((await (await fetch(`${operator.url}/v2/transactions`)).json()) as { reference: string }[]).some(
        ({ reference }) => reference === 'mine',
      ),
    );

    // A change that is wanted, while the first still lives: both say so.
    const other = await startMockOperator({ callbacks: false });
    const next = await hub({ ...env, OPERATOR_BASE_URL: other.url, PARTNER_CHANGE_ACCEPTED: 'true' });
    expect(lineOf(next, 'partners.address_changed')).toMatchObject({
      level: 'warn',
      partner: 'operator',
      what: 'address',
      before: new URL(operator.url).href,
      after: new URL(other.url).href,
      others: [expect.stringContaining(`:${first.child.pid}:`)],
    });
    await waitFor('the first says it', () => lineOf(first, 'partners.environment_differs'));
    expect(lineOf(first, 'partners.environment_differs')).toMatchObject({
      level: 'error',
      partner: 'operator',
      used: new URL(other.url).href,
    });
    expect([await first.end('SIGTERM'), await next.end('SIGTERM')]).toEqual([0, 0]);

    // Alone it may change anything, and says what.
    const last = await hub({ ...env, HMAC_SECRET: 'another-secret' });
    expect(lineOf(last, 'partners.address_changed')).toMatchObject({
      before: new URL(other.url).href,
      after: new URL(operator.url).href,
    });
    expect(last.log()).toMatch(/"partners.changed".*"what":"signing key"/);
    expect(last.log()).not.toContain('another-secret');
    expect(await last.end('SIGTERM')).toBe(0);
    await other.close();
  }, 150_000);

  it.each(['start:hub', 'start'])(
    'npm run %s hears a signal that only npm was sent, and leaves nothing behind',
    async (script) => {
      const [port, operatorPort, rgsPort] = [await freePort(), await freePort(), await freePort()];
      // As npm before 8.14 ran a script, and as a supervisor that knows the shell only: through sh -c.
      const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
        scripts: Record<string, string>;
      };
      const child = spawn('sh', ['-c', scripts[script] ?? ''], {
        cwd: ROOT,
        env: {
          PATH: `${path.join(ROOT, 'node_modules/.bin')}:${process.env.PATH ?? ''}`,
          NODE_ENV: 'test',
          HOST: '127.0.0.1',
          PORT: String(port),
          OPERATOR_PORT: String(operatorPort),
          RGS_PORT: String(rgsPort),
          DATABASE_URL: database.url,
          ...(script === 'start' ? { PARTNER_CHANGE_ACCEPTED: 'true' } : { OPERATOR_BASE_URL: operator.url }),
        },
        stdio: 'ignore',
      });
      children.push(child);
      await waitFor('the hub is ready', async () => (await fetch(`http://127.0.0.1:${port}/health/ready`)).ok, 60_000);
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      expect(await ended).toEqual([0, null]);
      for (const one of [port, operatorPort, rgsPort])
        await expect(fetch(`http://127.0.0.1:${one}/health`)).rejects.toThrow();
    },
    150_000,
  );
});

function lineOf(hub: HubProcess, event: string): Record<string, unknown> | undefined {
  const line = hub
    .log()
    .split('\n')
    .find((one) => one.includes(`"event":"${event}"`));
  return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>);
}
