import { once } from 'node:events';
import net from 'node:net';
import zlib from 'node:zlib';
import { Logger } from '../../src/observability/logger';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import { OddServer, SilentPort, httpAnswer, selfSigned } from '../support/partners/odd-server';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const OK = JSON.stringify({ status: 'OK', balance: 12.5 });

interface Attempt {
  readonly class: string;
  readonly error: string | null;
  readonly outcome: string;
}

let database: TestDatabase;
let hub: TestHub;
beforeAll(async () => {
  database = await testDatabase();
  hub = await TestHub.start({
    database,
    env: { MAX_RETRIES: '0', CONNECT_TIMEOUT_MS: '400', RESOLVE_GRACE_SECONDS: '0' },
  });
});
afterAll(async () => {
  await hub.stop();
  await database.drop();
});
afterEach(() => hub.clear());

async function operatorAt(url: string, idempotent = true): Promise<void> {
  await database.query(`update partner set base_url = $1, idempotent_by_reference = $2 where code = 'operator'`, [
    url,
    idempotent,
  ]);
  await hub.app.get(PartnerDirectory).refresh();
}

/** The first attempt at the operator, in the log of attempts. */
function firstAttempt(): Promise<Attempt> {
  return waitFor('an attempt at the operator', async () => {
    const [row] = await database.query<Attempt>(
      `select a.class, a.error, a.outcome from outbox_attempt a join outbox_message m on m.id = a.message_id join outbox_destination d on d.id = m.destination_id where d.queue = 'operator' order by a.at limit 1`,
    );
    return row;
  });
}

describe('a connection that never comes: nothing left, so it is no attempt and nothing is doubtful', () => {
  let silent: SilentPort;
  beforeAll(async () => void (silent = await SilentPort.open()));
  afterAll(() => silent.close());

  /** Servers that break off or keep quiet before TLS stands. */
  async function broken(what: (socket: net.Socket) => void): Promise<{ url: string; stop: () => Promise<void> }> {
    const sockets: net.Socket[] = [];
    const server = net.createServer((socket) => {
      sockets.push(socket.on('error', () => undefined));
      what(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      url: `https://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
      stop: async () => {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }
  const secured = (name: string, days?: number) => async () => {
    const server = await OddServer.start((socket) => void socket.write(httpAnswer(OK)), await selfSigned(name, days));
    return { url: server.url('localhost'), stop: () => server.stop() };
  };

  it.each<readonly [string, () => Promise<{ url: string; stop: () => Promise<void> }>, RegExp]>([
    [
      'a firewall that drops SYNs',
      () => Promise.resolve({ url: silent.url, stop: () => Promise.resolve() }),
      /no connection within 400 ms: 127\.0\.0\.1:\d+ did not answer/,
    ],
    [
      'a closed port',
      () => Promise.resolve({ url: 'http://127.0.0.1:1', stop: () => Promise.resolve() }),
      /ECONNREFUSED.*127\.0\.0\.1:1/,
    ],
    [
      'a certificate that nobody vouches for',
      secured('localhost'),
      /no TLS with localhost:\d+: .*self-signed certificate/,
    ],
    ['a certificate for another name', secured('elsewhere.example'), /no TLS with localhost:\d+/],
    [
      'https at a port that speaks HTTP',
      () => broken((socket) => void socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))),
      /no TLS with 127\.0\.0\.1:\d+: .*the port does not speak TLS/,
    ],
    [
      'a reset in the handshake',
      () => broken((socket) => void socket.once('data', () => socket.resetAndDestroy())),
      /no TLS with 127\.0\.0\.1:\d+: .*ECONNRESET/,
    ],
    ['silence in the handshake', () => broken(() => undefined), /no TLS handshake with 127\.0\.0\.1:\d+ within 400 ms/],
  ])('%s', async (_what, start, reason) => {
    const { url, stop } = await start();
    try {
      await operatorAt(url);
      const { transactionId } = (await hub.debit()).body;
      expect(await firstAttempt()).toEqual({
        class: 'throttled',
        outcome: 'released',
        error: expect.stringMatching(reason),
      });
      expect(await hub.transaction(transactionId)).toMatchObject({ state: 'initiated' });
      // The record and the destination say why, and when, although nothing was ever sent.
      const told = { lastError: expect.stringMatching(reason), lastErrorAt: expect.stringMatching(/^20/) };
      await waitFor('the record says why', async () =>
        (await hub.outbox({ queue: 'operator' })).find(({ lastError }) => lastError !== null),
      );
      expect(await hub.outbox({ queue: 'operator' })).toMatchObject([{ status: 'pending', attemptCount: 0, ...told }]);
      await waitFor('the destination says why', async () =>
        (await hub.call('GET', '/admin/destinations')).body.find(
          ({ code, lastError }: { code: string; lastError: string | null }) =>
            code === 'operator' && reason.test(lastError ?? ''),
        ),
      );
    } finally {
      await stop();
    }
  });
});

describe('an answer as networks make them', () => {
  const utf16 = Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(OK, 'utf16le').swap16()]);

  it.each<readonly [string, () => Buffer]>([
    [
      'after 100, 102, 103 and 100 again',
      () =>
        Buffer.concat([
          Buffer.from(
            'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nRetry-After: 60\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 \r\nX-A: b\r\n\r\n',
          ),
          httpAnswer(OK),
        ]),
    ],
    ['in gzip', () => httpAnswer(zlib.gzipSync(OK), { 'Content-Encoding': 'gzip' })],
    ['in UTF-16 with its mark', () => httpAnswer(utf16, { 'Content-Type': 'application/json; charset=utf-16' })],
    ['byte by byte', () => httpAnswer(OK)],
  ])('%s: the bet is confirmed at the first call', async (how, answer) => {
    const server = await OddServer.start((socket) => {
      if (how !== 'byte by byte') return void socket.write(answer());
      socket.setNoDelay(true);
      for (const byte of answer()) socket.write(Buffer.from([byte]));
    });
    try {
      await operatorAt(server.url());
      const bets = [await hub.debit(), await hub.debit({ playerId: 'player-2' })];
      for (const { body } of bets)
        expect(await hub.reaches(body.transactionId, 'confirmed')).toMatchObject({ balanceCents: 1250 });
      expect(server.requests).toHaveLength(2);
      expect(server.requests[0]).toMatch(/^accept-encoding: identity/im);
    } finally {
      await server.stop();
    }
  });

  it.each<readonly [string, Buffer, RegExp]>([
    [
      'a gzip of a gigabyte',
      httpAnswer(zlib.gzipSync(Buffer.alloc(8_000_000)), { 'Content-Encoding': 'gzip' }),
      /unpacks \(gzip\) to more than 16384 bytes/,
    ],
    [
      'HTML',
      httpAnswer('<!doctype html><title>Sign in</title>', { 'Content-Type': 'text/html' }),
      /HTML instead of JSON.*Sign in/,
    ],
    [
      'a redirect',
      httpAnswer('', { Location: 'https://user:pass@login.example/in?token=1' }, '302 Found'),
      /HTTP 302 to https:\/\/login\.example\/in$/,
    ],
    [
      'an error with its text',
      httpAnswer(JSON.stringify({ error: 'E17', errorDescription: 'wallet is down for the night' }), {}, '500 Oops'),
      /HTTP 500.*E17.*wallet is down for the night/,
    ],
  ])('%s is unknown, and the record says what came', async (_what, answer, reason) => {
    const server = await OddServer.start((socket) => void socket.write(answer));
    try {
      await operatorAt(server.url());
      await hub.debit();
      expect(await firstAttempt()).toMatchObject({ class: 'unknown', error: expect.stringMatching(reason) });
      await waitFor('the record tells it', async () =>
        (await hub.outbox({ queue: 'operator' })).find(({ lastError }) => reason.test(lastError ?? '')),
      );
    } finally {
      await server.stop();
    }
  });
});

describe('a base URL with a query, and a password with a bare %', () => {
  it('paths come before the query, in calls and in questions; the password is sent as it is and shown nowhere', async () => {
    const booked: string[] = [];
    const server = await OddServer.start((socket, request) => {
      booked.push(request);
      if (request.startsWith('GET')) socket.write(httpAnswer('[]'));
      else socket.resetAndDestroy();
    });
    try {
      // An operator that cannot recognise repeats is asked about a lost call.
      await operatorAt(`http://hub:50%25%@127.0.0.1:${server.port}/api/?key=s%20e`, false);
      await hub.debit({ playerId: 'p', refId: 'bet-1' });
      await waitFor('the operator was asked', () => booked.find((request) => request.startsWith('GET')));
      const records = await hub.outbox({ queue: 'operator' });
      expect(booked[0]).toMatch(/^POST \/api\/v2\/players\/p\/withdraw\?key=s%20e HTTP/);
      expect(booked.find((request) => request.startsWith('GET'))).toMatch(
        /^GET \/api\/v2\/transactions\?key=s%20e&reference=bet-1 HTTP/,
      );
      for (const request of booked)
        expect(request).toMatch(
          new RegExp(`^authorization: Basic ${Buffer.from('hub:50%%').toString('base64')}\r$`, 'im'),
        );
      expect(records[0]?.targetUrl).toBe(`http://127.0.0.1:${server.port}/api/v2/players/p/withdraw`);
      expect(JSON.stringify(records)).not.toMatch(/50%|key=/);
    } finally {
      await server.stop();
    }
  });
});

describe('what ops read of a partner in trouble', () => {
  /** Lines of the log while `work` runs, by their event. */
  async function logged(work: (lines: (event: string) => Record<string, unknown>[]) => Promise<void>): Promise<void> {
    const spy = jest.spyOn(hub.app.get(Logger), 'event');
    try {
      await work((event) =>
        spy.mock.calls.filter(([, name]) => name === event).map(([level, , fields]) => ({ level, ...fields })),
      );
    } finally {
      spy.mockRestore();
    }
  }

  it('a breaker that opens and one that closes are one line each, with the reason', async () => {
    const server = await OddServer.start((socket) => void socket.write(httpAnswer(OK)));
    try {
      await logged(async (lines) => {
        await operatorAt('http://127.0.0.1:1');
        const bets = await Promise.all(Array.from({ length: 12 }, (_, n) => hub.debit({ playerId: `player-${n}` })));
        await waitFor('the breaker opened', () => lines('outbox.breaker').find(({ breaker }) => breaker === 'open'));
        await operatorAt(server.url());
        for (const { body } of bets) await hub.reaches(body.transactionId, 'confirmed');
        const moves = await waitFor('the breaker closed', () =>
          lines('outbox.breaker').some(({ breaker }) => breaker === 'closed') ? lines('outbox.breaker') : undefined,
        );
        expect(moves[0]).toMatchObject({
          level: 'warn',
          destination: 'operator',
          was: 'closed',
          breaker: 'open',
          reason: expect.stringContaining('ECONNREFUSED'),
        });
        expect(moves.at(-1)).toMatchObject({
          level: 'info',
          destination: 'operator',
          was: 'half_open',
          breaker: 'closed',
          reason: expect.stringContaining('HTTP 200'),
        });
        expect(moves.filter(({ was, breaker }) => was === breaker)).toEqual([]);
      });
    } finally {
      await server.stop();
    }
  });

  it('a page of HTML is a warning with address, type and first bytes', async () => {
    const server = await OddServer.start(
      (socket) => void socket.write(httpAnswer('<h1>Welcome</h1>', { 'Content-Type': 'text/html' })),
    );
    try {
      await logged(async (lines) => {
        await operatorAt(`http://me:secret@127.0.0.1:${server.port}/base`);
        await hub.debit({ playerId: 'p' });
        const line = await waitFor('the warning', () =>
          lines('outbox.attempted').find(({ class: name }) => name === 'unknown'),
        );
        expect(line).toMatchObject({
          level: 'warn',
          url: `http://127.0.0.1:${server.port}/base/v2/players/p/withdraw`,
          contentType: 'text/html',
          contentEncoding: null,
          firstBytes: '<h1>Welcome</h1>',
          reason: expect.stringContaining('HTML'),
        });
      });
    } finally {
      await server.stop();
    }
  });

  it('an operator that refuses the form of every call raises an alert, with the words of the refusal and the address', async () => {
    const server = await OddServer.start(
      (socket) =>
        void socket.write(httpAnswer('<h1>No such page</h1>', { 'Content-Type': 'text/html' }, '404 Not Found')),
    );
    try {
      await logged(async (lines) => {
        await operatorAt(`${server.url()}/wrong`);
        for (let n = 0; n < 5; n += 1) {
          const { transactionId } = (await hub.debit({ playerId: `player-${n}` })).body;
          expect(await hub.reaches(transactionId, 'rejected')).toMatchObject({ reason: 'operator_misconfigured' });
        }
        const [alert] = await waitFor('the alert', () =>
          lines('outbox.contract_refused').length > 0 ? lines('outbox.contract_refused') : undefined,
        );
        expect(alert).toMatchObject({
          level: 'error',
          destination: 'operator',
          status: 404,
          inARow: 5,
          url: expect.stringContaining('/wrong/v2/players/'),
          reason: expect.stringContaining('No such page'),
        });
        expect((await hub.call('GET', '/metrics')).text).toMatch(
          /hub_outbox_contract_refused_total\{destination="operator"\} 1/,
        );
      });
    } finally {
      await server.stop();
    }
  });
});
