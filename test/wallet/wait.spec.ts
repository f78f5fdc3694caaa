import { readFileSync } from 'node:fs';
import net from 'node:net';
import { randomUUID } from 'node:crypto';
import { startMockOperator } from '../../mocks/operator/start';
import { WalletStore } from '../../src/wallet/wallet.store';
import { HubProcess } from '../support/hub/hub-process';
import { holdOperator, releaseOperator, rollback, told, wait } from '../support/money';
import { httpText, rawExchange } from '../support/raw-socket';
import { signatureOf, signedRequest } from '../support/hub/signed-request';
import { testDatabase } from '../support/hub/test-database';
import { TestHub, control, movement } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('a request that prefers to wait', () => {
  let hub: TestHub;
  let other: TestHub;
  const env = {
    OPERATOR_TIMEOUT_MS: '9000',
    OUTBOX_LEASE_SECONDS: '12',
    DEBIT_DEADLINE_SECONDS: '60',
    MAX_RETRIES: '0',
    BREAKER_FAILURES: '10000',
  };
  beforeAll(async () => {
    hub = await TestHub.start({ env });
    other = await TestHub.start({
      env: { ...env, ROLE: 'api' },
      database: hub.database,
      operator: hub.operator,
      rgs: hub.rgs,
    });
  });
  afterAll(async () => {
    await other.stop();
    await hub.stop();
  });
  beforeEach(async () => {
    await hub.clear();
    hub.operator.settings.callbacks = false;
    hub.operator.settings.latencyMs = 0;
  });

  const timed = async <T>(work: Promise<T>): Promise<{ result: T; ms: number }> => {
    const started = performance.now();
    const result = await work;
    return { result, ms: performance.now() - started };
  };
  const word = (playerId: string, refId: string, correlationId: string, status: string, balance?: number) => ({
    playerId,
    amount: 5,
    currency: 'USD',
    status,
    event: 'withdraw',
    refId,
    correlationId,
    ...(balance === undefined ? {} : { balance }),
  });

  it.each([
    { route: 'debit', balanceCents: 99_999_500 },
    { route: 'credit', balanceCents: 100_000_500 },
  ] as const)(
    'for a $route whose operator answers in 100 ms: 200 with its true balance',
    async ({ route, balanceCents }) => {
      hub.operator.settings.latencyMs = 100;
      const { result, ms } = await timed(hub[route]({ playerId: 'ann', refId: 'ref' }, wait(2)));
      expect(result.status).toBe(200);
      expect(result.headers.get('preference-applied')).toBe('wait=2');
      expect(result.headers.get('location')).toBeNull();
      expect(result.body).toMatchObject({ status: 'OK', refId: 'ref', balanceCents, reason: null });
      expect(ms).toBeGreaterThanOrEqual(100);
      expect(ms).toBeLessThan(2000);
      await hub.drained();
      expect(await told(hub, 'ann')).toEqual(['ref OK']);
    },
  );

  it('for a debit that is refused: 200 with the reason and the balance', async () => {
    const answer = await hub.debit({ playerId: 'bea', amountCents: 100_000_001 }, wait(2));
    expect([answer.status, answer.body.status, answer.body.reason, answer.body.balanceCents]).toEqual([
      200,
      'REJECTED',
      'insufficient_funds',
      100_000_000,
    ]);
  });

  it('for an operator that answers in 5 s: 202 in time, and the same key later gives the final result', async () => {
    await hub.operatorFault({ kind: 'delay', ms: 5000, playerId: 'cat' });
    const key = randomUUID();
    const body = JSON.stringify(movement({ playerId: 'cat', refId: 'bet' }));
    const { result: first, ms } = await timed(
      hub.call('POST', '/wallet/debit', body, wait(2, { idempotencyKey: key })),
    );
    expect(ms).toBeGreaterThanOrEqual(1990);
    expect(ms).toBeLessThan(2300);
    expect(first.status).toBe(202);
    expect(first.body).toMatchObject({ status: 'initiated', balanceCents: null });
    expect(first.headers.get('location')).toBe(`/wallet/transactions/${first.body.transactionId}`);
    expect(first.headers.get('preference-applied')).toBe('wait=2');
    expect((await hub.call('GET', first.headers.get('location') ?? '')).body).toMatchObject({ state: 'initiated' });

    // The same request, without a wait and with one, until it is known.
    const early = await hub.call('POST', '/wallet/debit', body, { idempotencyKey: key });
    expect([early.status, early.headers.get('idempotent-replayed'), early.headers.get('preference-applied')]).toEqual([
      202,
      'true',
      null,
    ]);
    const late = await hub.call('POST', '/wallet/debit', body, wait(10, { idempotencyKey: key }));
    expect([late.status, late.body.status, late.body.balanceCents, late.headers.get('idempotent-replayed')]).toEqual([
      200,
      'OK',
      99_999_500,
      'true',
    ]);
    const after = await hub.call('POST', '/wallet/debit', body, { idempotencyKey: key });
    expect([after.status, after.text, after.headers.get('idempotent-replayed')]).toEqual([200, late.text, 'true']);
    await hub.drained();
    expect(await told(hub, 'cat')).toEqual(['bet OK']);
  });

  it('for a rollback: 200 once the money is back, 202 while it is not', async () => {
    await hub.debit({ playerId: 'dan', refId: 'bet' }, wait(5));
    await holdOperator(hub.database);
    const early = await rollback(hub, { playerId: 'dan', refId: 'undo', originalRefId: 'bet' }, wait(1));
    expect([early.status, early.body.status, early.body.applied, early.headers.get('location')]).toEqual([
      202,
      'initiated',
      null,
      `/wallet/transactions/${early.body.transactionId}`,
    ]);
    const late = rollback(hub, { playerId: 'dan', refId: 'undo', originalRefId: 'bet' }, wait(5));
    await releaseOperator(hub.database);
    expect([(await late).status, (await late).body.status, (await late).body.applied]).toEqual([200, 'OK', true]);
    const after = await rollback(hub, { playerId: 'dan', refId: 'undo', originalRefId: 'bet' });
    expect([after.status, after.body.applied]).toEqual([200, true]);
  });

  it('for a bet that is rolled back meanwhile: 200 REJECTED at once', async () => {
    await holdOperator(hub.database);
    const waiting = timed(hub.debit({ playerId: 'eve', refId: 'bet' }, wait(10)));
    await waitFor(
      'the bet is accepted',
      async () => (await hub.call('GET', '/wallet/transactions?refId=bet')).body.items.length === 1,
    );
    await rollback(hub, { playerId: 'eve', refId: 'undo', originalRefId: 'bet' });
    const { result, ms } = await waiting;
    expect([result.status, result.body.status, result.body.reason]).toEqual([200, 'REJECTED', 'rolled_back']);
    expect(ms).toBeLessThan(5000);
  });

  it('for a credit that is parked: no outcome, so 202', async () => {
    await hub.operatorFault({ kind: 'refuse', playerId: 'fay' });
    const answer = await hub.credit({ playerId: 'fay' }, wait(1));
    expect([answer.status, answer.body.status]).toEqual([202, 'initiated']);
    expect(await hub.transaction(answer.body.transactionId)).toMatchObject({ state: 'parked' });
  });

  it('many times for one movement: all get the outcome, and it moved once', async () => {
    hub.operator.settings.latencyMs = 300;
    const body = JSON.stringify(movement({ playerId: 'gil', refId: 'bet' }));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? hub : other).call('POST', '/wallet/debit', body, wait(5, { idempotencyKey: 'one' })),
      ),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers[0]?.body).toMatchObject({ status: 'OK', balanceCents: 99_999_500 });
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1);
    await hub.drained();
    expect((await hub.player('gil')).movements).toBe(1);
  });

  it('at a replica that neither delivers nor hears the callback is woken by the one that does', async () => {
    await hub.operatorFault({ kind: 'status_after_commit', status: 202, body: { status: 'PENDING' }, playerId: 'hal' });
    // Asked at the replica that only serves requests; the callback comes to the other one.
    const waiting = timed(other.debit({ playerId: 'hal', refId: 'bet' }, wait(10)));
    await waitFor('the operator was called', async () => (await hub.operatorCalls()).length === 1);
    const [asked] = await hub.operatorCalls();
    // The sweep that would find it half a second later finds nothing now: what wakes the request is the notification.
    const sweep = jest.spyOn(other.app.get(WalletStore, { strict: false }), 'settledOf').mockResolvedValue([]);
    expect((await hub.callback(word('hal', 'bet', asked.correlationId, 'OK', 12.5))).status).toBe(200);
    const { result, ms } = await waiting;
    sweep.mockRestore();
    expect([result.status, result.body.status, result.body.balanceCents]).toEqual([200, 'OK', 1250]);
    expect(ms).toBeLessThan(5000);
  });

  it('is found by the sweep when the wake-up was lost', async () => {
    // A movement that nobody said to wait for wakes nobody; a repeat that does wait must learn of the outcome all the
    // same.
    await hub.operatorFault({ kind: 'delay', ms: 700, playerId: 'ida' });
    await hub.debit({ playerId: 'ida', refId: 'bet' }, { idempotencyKey: 'k' });
    const body = movement({ playerId: 'ida', refId: 'bet' });
    const { result, ms } = await timed(other.debit(body, wait(10)));
    expect([result.status, result.body.status, result.headers.get('idempotent-replayed')]).toEqual([200, 'OK', 'true']);
    expect(ms).toBeLessThan(5000);
  });

  it('and whose caller hangs up is forgotten; the movement goes on', async () => {
    await holdOperator(hub.database);
    const hungUp = new AbortController();
    const raw = JSON.stringify(movement({ playerId: 'jon', refId: 'bet' }));
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const waiting = fetch(`${hub.url}/wallet/debit`, {
      method: 'POST',
      body: raw,
      signal: hungUp.signal,
      headers: {
        'content-type': 'application/json',
        authorization: 'Bearer change_token',
        'x-timestamp': timestamp,
        'x-signature': signatureOf('change_secret', timestamp, raw),
        'idempotency-key': 'k',
        prefer: 'wait=20',
      },
    });
    await waitFor(
      'the bet is accepted',
      async () => (await hub.call('GET', '/wallet/transactions?refId=bet')).body.items.length === 1,
    );
    hungUp.abort();
    await expect(waiting).rejects.toThrow('aborted');
    await releaseOperator(hub.database);
    await hub.drained();
    expect(await told(hub, 'jon')).toEqual(['bet OK']);
    const again = await hub.call('POST', '/wallet/debit', raw, { idempotencyKey: 'k' });
    expect([again.status, again.body.status]).toEqual([200, 'OK']);
  });

  it('is over when its caller closes its half, who still gets his answer', async () => {
    await holdOperator(hub.database);
    const raw = JSON.stringify(movement({ playerId: 'mia', refId: 'bet' }));
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const headers: [string, string][] = [
      ['Content-Type', 'application/json'],
      ['Authorization', 'Bearer change_token'],
      ['X-Timestamp', timestamp],
      ['X-Signature', signatureOf('change_secret', timestamp, raw)],
      ['Prefer', 'wait=20'],
      ['Content-Length', String(Buffer.byteLength(raw))],
    ];
    const answers = await rawExchange(hub.url, httpText('POST', '/wallet/debit', headers, raw), { end: true });
    expect(answers.map(({ status, body }) => [status, body.status])).toEqual([[202, 'initiated']]);
    await releaseOperator(hub.database);
    await hub.drained();
  });

  it('does not wait for a request that is refused', async () => {
    for (const body of [{ playerId: '' }, { amountCents: 0 }, { currency: 'ZZZ' }]) {
      const { result, ms } = await timed(hub.debit(body, wait(20)));
      expect(result.status).toBe(422);
      expect(ms).toBeLessThan(1000);
    }
  });

  it.each(['wait=0', 'wait=abc', 'wait', 'wait=-1', 'respond-async', ''])(
    '"%s" makes no sense as a wait: the answer comes at once',
    async (prefer) => {
      await holdOperator(hub.database);
      const answer = await hub.debit({ playerId: 'kim' }, { headers: { prefer } });
      expect([
        answer.status,
        answer.body.status,
        answer.body.balanceCents,
        answer.headers.get('preference-applied'),
      ]).toEqual([200, 'initiated', null, null]);
    },
  );

  it('"wait=21" is the longest there is', async () => {
    const answer = await hub.debit({ playerId: 'lou' }, { headers: { prefer: 'wait=21' } });
    expect([answer.status, answer.body.status, answer.headers.get('preference-applied')]).toEqual([
      200,
      'OK',
      'wait=20',
    ]);
  });

  it('once and then does not: the repeat without a wait still gets what the waited request gets', async () => {
    const waited = await hub.debit({ playerId: 'mia', refId: 'bet' }, wait(5, { idempotencyKey: 'k1' }));
    const known = await hub.debit({ playerId: 'mia', refId: 'bet' }, { idempotencyKey: 'k2' });
    expect([known.text, known.headers.get('idempotent-replayed')]).toEqual([waited.text, 'true']);
    const plain = await hub.debit({ playerId: 'mia', refId: 'bet-2' }, { idempotencyKey: 'k3' });
    await hub.drained();
    expect((await hub.debit({ playerId: 'mia', refId: 'bet-2' }, { idempotencyKey: 'k3' })).text).toBe(plain.text);
    expect(
      (await hub.debit({ playerId: 'mia', refId: 'bet-2' }, wait(5, { idempotencyKey: 'k3' }))).body,
    ).toMatchObject({ status: 'OK', balanceCents: 99_999_000 });
  });
});

describe('two thousand waiters on one process', () => {
  const WAITERS = 2000;
  it('stay under 300 MB, hold no connection of the database, and all get their outcome', async () => {
    const database = await testDatabase();
    const operator = await startMockOperator({ callbacks: false });
    const hub = await HubProcess.start({
      DATABASE_URL: database.url,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${operator.url}/nowhere`,
      RATE_LIMIT_PER_MINUTE: '0',
      DATABASE_POOL_SIZE: '5',
      DEBIT_DEADLINE_SECONDS: '60',
      OUTBOX_RETRY_SCHEDULE_SECONDS: '3600',
      LOG_LEVEL: 'error',
    });
    const sockets: net.Socket[] = [];
    try {
      await holdOperator(database);
      const { hostname, port } = new URL(hub.url);
      const answers: Promise<string>[] = [];
      const ask = (index: number): Promise<string> =>
        new Promise((resolve, reject) => {
          const body = JSON.stringify(movement({ playerId: `player-${index}`, refId: 'bet' }));
          const timestamp = Math.floor(Date.now() / 1000).toString();
          const head = [
            'POST /wallet/debit HTTP/1.1',
            `Host: ${hostname}`,
            'Content-Type: application/json',
            `Content-Length: ${Buffer.byteLength(body)}`,
            'Authorization: Bearer change_token',
            `X-Timestamp: ${timestamp}`,
            `X-Signature: ${signatureOf('change_secret', timestamp, body)}`,
            'Prefer: wait=20',
            'Connection: close',
          ];
          let text = '';
          const socket = net.connect(Number(port), hostname, () => socket.write(`${head.join('\r\n')}\r\n\r\n${body}`));
          sockets.push(socket);
          socket
            .setEncoding('utf8')
            .on('data', (chunk: string) => (text += chunk))
            .once('end', () => resolve(text))
            .once('error', reject);
        });
      for (let index = 0; index < WAITERS; index += 1) answers.push(ask(index));
      const accepted = async () =>
        Number((await database.query<{ count: string }>('select count(*) from wallet_transaction'))[0]?.count);
      await waitFor('all are accepted', async () => (await accepted()) === WAITERS, 10_000);

      const status = readFileSync(`/proc/${hub.child.pid}/status`, 'utf8');
      const rssMb = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
      expect(rssMb).toBeGreaterThan(20);
      expect(rssMb).toBeLessThan(300);
      // Nobody who waits holds a connection: none is inside a transaction, and others are served as if nobody waited.
      const busy = async () =>
        (
          await database.query(
            `select 1 from pg_stat_activity where datname = current_database() and application_name = 'hub' and state <> 'idle'`,
          )
        ).length;
      await waitFor('no connection is in use', async () => (await busy()) === 0, 3000);
      const times: number[] = [];
      for (let index = 0; index < 20; index += 1) {
        const started = performance.now();
        const answer = await signedRequest('POST', `${hub.url}/wallet/debit`, movement({ playerId: 'other' }));
        expect(answer.body.status).toBe('initiated');
        expect(
          (await signedRequest('GET', `${hub.url}/wallet/transactions/${answer.body.transactionId}`, undefined)).status,
        ).toBe(200);
        times.push(performance.now() - started);
      }
      expect(times.toSorted((a, b) => a - b)[10]).toBeLessThan(250);

      await releaseOperator(database);
      const outcomes = await Promise.all(answers);
      const good = outcomes.filter(
        (text) =>
          text.startsWith('HTTP/1.1 200') && text.includes('"status":"OK"') && text.includes('"balanceCents":99999500'),
      );
      expect(good).toHaveLength(WAITERS);
      expect((await control(operator.url, 'GET', '/admin/summary')).applied).toBeGreaterThanOrEqual(WAITERS);
    } finally {
      for (const socket of sockets) socket.destroy();
      await hub.end('SIGKILL');
      await operator.close();
      await database.drop();
    }
    // Two thousand connections at once: the answers have their own limit of 20 s, and a busy machine needs more than
    // the usual 30 s for all around them.
  }, 90_000);
});
