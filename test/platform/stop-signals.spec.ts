import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { hubArguments } from '../support/hub/hub-command';
import { HubProcess, freePort } from '../support/hub/hub-process';
import { signedRequest } from '../support/hub/signed-request';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('a process that is told to stop', () => {
  let database: TestDatabase;
  let operator: MockOperator;
  let rgs: MockRgs;
  let partners: Record<string, string>;
  let folder: string;
  const children: ChildProcess[] = [];
  const sockets: net.Socket[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'hub-stop-'));
    [database, operator, rgs] = await Promise.all([
      testDatabase(),
      startMockOperator({ callbacks: false }),
      startMockRgs(),
    ]);
    partners = { OPERATOR_BASE_URL: operator.url, RGS_WEBHOOK_URL: `${rgs.url}/webhooks` };
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all([operator.close(), rgs.close()]);
    await database.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  const startHub = async (env: Record<string, string> = {}): Promise<HubProcess> => {
    const hub = await HubProcess.start({ DATABASE_URL: database.url, LOG_LEVEL: 'info', ...partners, ...env });
    children.push(hub.child);
    return hub;
  };
  /** A connection that has said only this. */
  const silentAfter = async (url: string, bytes: string): Promise<{ closed: () => boolean }> => {
    const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
    sockets.push(socket);
    let closed = false;
    socket
      .on('error', () => undefined)
      .once('close', () => (closed = true))
      .resume();
    await once(socket, 'connect');
    if (bytes !== '') await new Promise((resolve) => socket.write(bytes, resolve));
    return { closed: () => closed };
  };
  const HALF = [
    ['nothing', ''],
    ['half a request line', 'POST /wal'],
    ['half a head', 'POST /wallet/debit HTTP/1.1\r\nHost: hub\r\nContent-Le'],
    ['half a body', 'POST /wallet/debit HTTP/1.1\r\nHost: hub\r\nContent-Length: 100\r\n\r\n{"pla'],
    [
      'a body that it never begins',
      'POST /wallet/debit HTTP/1.1\r\nHost: hub\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n',
    ],
    [
      'half of a chunked body',
      'POST /wallet/debit HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"pla\r\n',
    ],
    ['a whole request, and nothing after', 'GET /health HTTP/1.1\r\nHost: hub\r\n\r\n'],
    ['a whole request and half of the next', 'GET /health HTTP/1.1\r\nHost: hub\r\n\r\nGET /hea'],
    ['a request to upgrade', 'GET /health HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ] as const;

  it('ends within seconds and with 0, whatever callers have left unsaid on their connections', async () => {
    const hub = await startHub();
    for (const [, bytes] of HALF) await silentAfter(hub.url, bytes);
    for (let n = 0; n < 200; n += 1) await silentAfter(hub.url, 'GET / HTTP/1.1\r\nX-Slow: ');
    const toldAt = performance.now();
    expect(await hub.end('SIGTERM')).toBe(0);
    // The stated grace of half requests is two seconds.
    expect(performance.now() - toldAt).toBeLessThan(8_000);
    expect(hub.log()).not.toContain('hub.stop_failed');
  }, 90_000);

  it('a mock does so, too', async () => {
    for (const [program, signal] of [
      ['mocks/operator/main.js', 'SIGTERM'],
      ['mocks/rgs/main.js', 'SIGHUP'],
    ] as const) {
      const port = await freePort();
      const child = spawn(process.execPath, [...hubArguments(program)], {
        env: { PATH: process.env.PATH ?? '', PORT: String(port) },
        stdio: 'ignore',
      });
      children.push(child);
      const url = `http://127.0.0.1:${port}`;
      await waitFor('the mock answers', async () => (await fetch(`${url}/admin/settings`)).ok);
      for (const [, bytes] of HALF) await silentAfter(url, bytes);
      const ended = once(child, 'exit') as Promise<[number | null]>;
      const toldAt = performance.now();
      child.kill(signal);
      child.kill('SIGINT');
      expect((await ended)[0]).toBe(0);
      expect(performance.now() - toldAt).toBeLessThan(5_000);
    }
  }, 90_000);

  it.each([
    ['SIGTERM', ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']],
    ['SIGHUP', []],
  ] as const)(
    '%s lets answers in flight go out, also when %j follow',
    async (first, others) => {
      const hub = await startHub({ DRAIN_SECONDS: '0.5' });
      const reference = `in-flight-${first}`;
      await control(operator.url, 'POST', '/admin/faults', { kind: 'delay', ms: 2_000, reference });
      expect(
        (
          await signedRequest('POST', `${hub.url}/wallet/debit`, {
            playerId: 'p',
            amountCents: 100,
            currency: 'USD',
            refId: reference,
          })
        ).status,
      ).toBe(200);
      await waitFor('the call is at the operator', async () =>
        ((await control(operator.url, 'GET', '/admin/calls')) as { reference: string }[]).some(
          (call) => call.reference === reference,
        ),
      );
      // These say nothing, and so cost nothing: not even the grace of a request that came in part.
      for (const [, bytes] of [HALF[0], HALF[6]]) await silentAfter(hub.url, bytes);
      const toldAt = performance.now();
      const ended = hub.end(first);
      await waitFor('the hub stops', () => hub.log().includes('hub.stopping'));
      for (const signal of others) {
        hub.child.kill(signal);
        await waitFor('the signal came', () => hub.log().includes(`"signal":"${signal}"`));
      }
      expect(await ended).toBe(0);
      expect(hub.log()).toContain('hub.stopped');
      expect(performance.now() - toldAt).toBeLessThan(10_000);
      expect(await database.query('select state from wallet_transaction where ref_id = $1', [reference])).toEqual([
        { state: 'confirmed' },
      ]);
    },
    90_000,
  );

  it('is never left with its PostgreSQL, at whatever moment of its start the signals come', async () => {
    const dataDir = path.join(folder, 'data');
    const moments = [/postgres\.new-/, /database\.embedded/, /hub\.started/];
    for (const [index, moment] of moments.entries()) {
      const port = await freePort();
      const child = spawn(process.execPath, hubArguments(), {
        env: {
          PATH: process.env.PATH ?? '',
          NODE_ENV: 'test',
          HOST: '127.0.0.1',
          PORT: String(port),
          DATA_DIR: dataDir,
          ...partners,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      children.push(child);
      let log = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
      const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
      await waitFor(`the start is at ${moment}`, () => moment.test(`${log} ${filesOf(dataDir)}`), 60_000);
      child.kill(index % 2 === 0 ? 'SIGTERM' : 'SIGHUP');
      child.kill('SIGINT');
      const [code] = await ended;
      // What came to serve ends as ever; what did not says by which signal.
      expect({ moment, isRight: log.includes('hub.started') ? code === 0 : (code ?? 0) > 128 }).toEqual({
        moment,
        isRight: true,
      });
      expect(filesOf(dataDir)).not.toContain('postmaster.pid');
    }
  }, 150_000);

  describe('while it waits for its database', () => {
    let gate: net.Server;
    let open: () => void;
    let url: string;
    let child: ChildProcess;
    beforeEach(async () => {
      const opened = new Promise<void>((resolve) => (open = resolve));
      const { hostname, port: databasePort } = new URL(database.url);
      gate = net.createServer((near) => {
        sockets.push(near.on('error', () => undefined));
        void opened.then(() => {
          const far = net.connect(Number(databasePort), hostname);
          sockets.push(far.on('error', () => undefined));
          near.pipe(far).pipe(near);
        });
      });
      gate.listen(0, '127.0.0.1');
      await once(gate, 'listening');
      const through = new URL(database.url);
      through.host = `127.0.0.1:${(gate.address() as net.AddressInfo).port}`;
      const port = await freePort();
      url = `http://127.0.0.1:${port}`;
      child = spawn(process.execPath, hubArguments(), {
        env: {
          PATH: process.env.PATH ?? '',
          NODE_ENV: 'test',
          HOST: '127.0.0.1',
          PORT: String(port),
          DATABASE_URL: through.toString(),
          ...partners,
        },
        stdio: 'ignore',
      });
      children.push(child);
      await waitFor('its port is open', async () => (await fetch(`${url}/health`)).ok, 60_000);
    }, 90_000);
    afterEach(() => void gate.close());

    it('says that it lives and starts, takes no money, and is ready once the database is', async () => {
      expect(await (await fetch(`${url}/health/live`)).json()).toEqual({ status: 'ok' });
      const ready = await fetch(`${url}/health/ready`);
      expect([ready.status, await ready.json()]).toEqual([
        503,
        { status: 'unavailable', checks: { accepting: 'the process is starting' } },
      ]);
      const debit = await signedRequest('POST', `${url}/wallet/debit`, {
        playerId: 'p',
        amountCents: 100,
        currency: 'USD',
        refId: 'early',
      });
      expect([debit.status, debit.headers.get('retry-after'), debit.body]).toMatchObject([
        503,
        '1',
        { code: 'store_unavailable', outcome: 'not_applied', retryable: true },
      ]);
      open();
      await waitFor('it is ready', async () => (await fetch(`${url}/health/ready`)).ok, 60_000);
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      expect(await ended).toEqual([0, null]);
    }, 90_000);

    it('ends at once at a signal, and not with 0', async () => {
      const ended = once(child, 'exit');
      const toldAt = performance.now();
      child.kill('SIGHUP');
      expect(await ended).toEqual([129, null]);
      expect(performance.now() - toldAt).toBeLessThan(4_000);
    }, 90_000);
  });
});

function filesOf(dataDir: string): string {
  return [dataDir, path.join(dataDir, 'postgres')]
    .flatMap((one) => (existsSync(one) ? readdirSync(one) : []))
    .join(' ');
}
