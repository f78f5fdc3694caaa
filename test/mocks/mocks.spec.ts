import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';

const SECRET = 'mock-secret';
const TOKEN = 'mock-token';

/** Written out here once more, so that a mistake in the mocks' own signing cannot cancel itself out. */
function signed(
  body: string,
  secret = SECRET,
  timestamp = Math.floor(Date.now() / 1000).toString(),
): Record<string, string> {
  const signature = createHmac('sha256', secret).update(`${timestamp}:${body}`).digest('hex');
  return { 'Content-Type': 'application/json', 'X-Timestamp': timestamp, 'X-Signature': signature };
}

/** A parsed JSON body: untyped by nature, and asserted field by field. */
type Json = ReturnType<typeof JSON.parse>;

interface Reply {
  status: number;
  headers: Headers;
  text: string;
  json: Json;
}

async function call(
  method: string,
  url: string,
  options: { body?: string; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Reply> {
  const response = await fetch(url, { method, ...options });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parsedOrUndefined(text) };
}

function parsedOrUndefined(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Some faults answer what is no JSON; a test that expects JSON then fails on the undefined.
  }
}

/** Asks until the answer is as wished, at most ten seconds; every question is a request, so nothing sleeps. */
async function until<T>(ask: () => Promise<T>, isWished: (answer: T) => boolean): Promise<T> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const answer = await ask();
    if (isWished(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`waited in vain, the last answer was ${JSON.stringify(answer)}`);
  }
}

/** A hub that only takes callbacks. */
class HubStub {
  readonly callbacks: { headers: IncomingHttpHeaders; text: string; json: Json }[] = [];
  /** Answers by turn; 200 when there are none left. */
  readonly statuses: number[] = [];
  /** Called at the arrival of each callback, before it is answered. */
  onArrival: () => Promise<void> = () => Promise.resolve();
  private readonly waiting: { count: number; resolve: () => void }[] = [];
  private readonly server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      this.callbacks.push({ headers: request.headers, text, json: JSON.parse(text) });
      const answer = (): void => {
        response
          .writeHead(this.statuses.shift() ?? 200, { 'Content-Type': 'application/json' })
          .end('{"status":"accepted"}');
        for (const { count, resolve } of this.waiting) if (this.callbacks.length >= count) resolve();
      };
      void this.onArrival().then(answer);
    });
  });

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async received(count: number): Promise<Json[]> {
    if (this.callbacks.length < count) await new Promise<void>((resolve) => this.waiting.push({ count, resolve }));
    return this.callbacks.map(({ json }) => json);
  }

  reset(): void {
    this.callbacks.length = 0;
    this.statuses.length = 0;
    this.waiting.length = 0;
    this.onArrival = () => Promise.resolve();
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

describe('mock operator', () => {
  const hub = new HubStub();
  let hubUrl: string;
  let operator: MockOperator;

  beforeAll(async () => {
    hubUrl = await hub.start();
    // The slash at the end must not turn up in the middle of the callback's address.
    operator = await startMockOperator({
      hubUrl: `${hubUrl}/`,
      token: TOKEN,
      hmacSecret: SECRET,
      supportedCurrencies: ['USD', 'EUR', 'JPY', 'KWD'],
    });
  });
  beforeEach(async () => {
    await admin('POST', 'clear-db');
    hub.reset();
    await admin('PUT', 'settings', {
      callbacks: true,
      startingBalanceMinor: 100_000_000,
      latencyMs: 0,
      callbackDelayMs: 0,
    });
  });
  afterAll(async () => {
    await operator.close();
    await hub.stop();
  });

  function admin(method: string, path: string, body?: object): Promise<Reply> {
    return call(
      method,
      `${operator.url}/admin/${path}`,
      body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } },
    );
  }

  interface Wish {
    player?: string;
    direction?: 'withdraw' | 'deposit';
    /** JSON text, so that 5.00 stays 5.00. */
    amount?: string;
    currency?: string;
    reference?: string;
    correlationId?: string;
  }

  function bodyOf({ amount = '5.00', currency = 'USD', reference = 'ref-1', correlationId = 'corr-1' }: Wish): string {
    return `{"amount":${amount},"currency":"${currency}","reference":"${reference}","correlationId":"${correlationId}"}`;
  }

  function move(wish: Wish = {}, signal?: AbortSignal): Promise<Reply> {
    const body = bodyOf(wish);
    const url = `${operator.url}/v2/players/${encodeURIComponent(wish.player ?? 'p1')}/${wish.direction ?? 'withdraw'}`;
    return call('POST', url, {
      body,
      headers: { ...signed(body), 'Idempotency-Key': 'key-1' },
      ...(signal ? { signal } : {}),
    });
  }

  const arm = (fault: object): Promise<Reply> => admin('POST', 'faults', fault);
  const calls = async (since = 0): Promise<Json[]> => (await admin('GET', `calls?since=${since}`)).json;
  const summary = async (): Promise<Json> => (await admin('GET', 'summary')).json;
  const player = async (id = 'p1'): Promise<Json> => (await admin('GET', `players/${id}`)).json;
  const transactions = (query = ''): Promise<Reply> => call('GET', `${operator.url}/v2/transactions${query}`);

  describe('signature', () => {
    it.each([
      ['no headers', () => ({})],
      ['another secret', (body: string) => signed(body, 'other')],
      ['another body', () => signed('{}')],
      [
        'capital hex',
        (body: string) => ({ ...signed(body), 'X-Signature': signed(body)['X-Signature']?.toUpperCase() ?? '' }),
      ],
      ['a short signature', (body: string) => ({ ...signed(body), 'X-Signature': 'ab' })],
      ['no hex', (body: string) => ({ ...signed(body), 'X-Signature': 'z'.repeat(64) })],
      ['no timestamp', (body: string) => ({ 'X-Signature': signed(body)['X-Signature'] ?? '' })],
    ])('%s: 401 and nothing moves', async (_name, headers: (body: string) => Record<string, string>) => {
      const body = bodyOf({});
      const reply = await call('POST', `${operator.url}/v2/players/p1/withdraw`, { body, headers: headers(body) });
      expect(reply).toMatchObject({ status: 401, json: { status: 'ERROR', reason: 'invalid signature' } });
      expect(await player()).toMatchObject({ movements: 0 });
      expect(await calls()).toMatchObject([{ n: 1, playerId: 'p1', reference: null, applied: false, status: 401 }]);
    });

    it.each(['soon', '1e9', '1000000000', (Math.floor(Date.now() / 1000) + 400).toString()])(
      'timestamp %s: 401 timestamp skew',
      async (timestamp) => {
        const body = bodyOf({});
        const reply = await call('POST', `${operator.url}/v2/players/p1/withdraw`, {
          body,
          headers: signed(body, SECRET, timestamp),
        });
        expect(reply).toMatchObject({ status: 401, json: { reason: 'timestamp skew' } });
      },
    );

    it('signs the bytes, whatever their spacing', async () => {
      const body = ` {"reference":"ref-1", "amount": 5.0 ,"currency":"USD","correlationId":"é"}\n`;
      const reply = await call('POST', `${operator.url}/v2/players/p1/withdraw`, { body, headers: signed(body) });
      expect(reply).toMatchObject({ status: 200, json: { status: 'OK', correlationId: 'é' } });
    });

    it('not required: takes an unsigned call, but no wrongly signed one', async () => {
      operator.settings.signatureRequired = false;
      try {
        const body = bodyOf({});
        const url = `${operator.url}/v2/players/p1/withdraw`;
        expect((await call('POST', url, { body })).status).toBe(200);
        expect((await call('POST', url, { body, headers: signed(body, 'other') })).status).toBe(401);
      } finally {
        operator.settings.signatureRequired = true;
      }
    });
  });

  describe('movements', () => {
    it('answers a JSON number with the decimals of the currency', async () => {
      expect((await move({ amount: '5.00' })).text).toBe(
        '{"status":"OK","correlationId":"corr-1","balance":999995.00}',
      );
      expect((await move({ amount: '500', currency: 'JPY', reference: 'j' })).text).toContain('"balance":99999500}');
      expect((await move({ amount: '0.500', currency: 'KWD', reference: 'k' })).text).toContain('"balance":99999.500}');
      expect((await move({ amount: '"2.50"', currency: 'EUR', reference: 'e', direction: 'deposit' })).text).toContain(
        '"balance":1000002.50}',
      );
      expect(await player()).toEqual({
        playerId: 'p1',
        balances: { USD: '99999500', JPY: '99999500', KWD: '99999500', EUR: '100000250' },
        net: { USD: '-500', JPY: '-500', KWD: '-500', EUR: '250' },
        movements: 4,
      });
    });

    it('keeps amounts beyond the floats exact', async () => {
      expect((await move({ direction: 'deposit', amount: '90071992547409.93' })).text).toContain(
        '"balance":90071993547409.93}',
      );
      expect((await transactions()).text).toContain('"amount":90071992547409.93,');
    });

    it('a repeat moves nothing and answers OK with the balance of now', async () => {
      await move();
      await move({ reference: 'ref-2', amount: '1' });
      const repeat = await move({ amount: '5.0', correlationId: 'corr-9' });
      expect(repeat.text).toBe('{"status":"OK","correlationId":"corr-9","balance":999994.00}');
      expect((await transactions()).json).toMatchObject([
        { reference: 'ref-1', correlationId: 'corr-1' },
        { reference: 'ref-2' },
      ]);
      expect(await calls()).toMatchObject([
        { n: 1, applied: true, repeat: false },
        { n: 2, applied: true, repeat: false },
        {
          n: 3,
          applied: false,
          repeat: true,
          correlationId: 'corr-9',
          idempotencyKey: 'key-1',
          fault: null,
          status: 200,
        },
      ]);
      expect(await summary()).toMatchObject({ calls: 3, applied: 2, repeats: 1 });
    });

    it('a reference belongs to a player and a direction', async () => {
      await move();
      await move({ direction: 'deposit', amount: '7' });
      await move({ player: 'p2' });
      expect(await summary()).toMatchObject({ applied: 3, repeats: 0 });
    });

    it('the same reference with other data: 422, nothing moves', async () => {
      await move();
      expect(await move({ amount: '5.01' })).toMatchObject({
        status: 422,
        json: { status: 'ERROR', code: 'reference_reused' },
      });
      expect(await move({ currency: 'EUR' })).toMatchObject({
        status: 422,
        json: { status: 'ERROR', code: 'reference_reused' },
      });
      expect(await player()).toMatchObject({ net: { USD: '-500' }, movements: 1 });
    });

    it('twenty at once move the money once', async () => {
      const replies = await Promise.all(Array.from({ length: 20 }, () => move()));
      expect(replies.every(({ json }) => json.status === 'OK' && json.balance === 999995)).toBe(true);
      expect(await summary()).toMatchObject({ applied: 1, repeats: 19 });
    });

    it('refuses for business reasons with 200 and the balance, and tells the hub', async () => {
      expect((await move({ amount: '1000000.01' })).text).toBe(
        '{"status":"REJECTED","reason":"insufficient_funds","correlationId":"corr-1","balance":1000000.00}',
      );
      expect((await move({ player: 'p_bad', reference: 'ref-2' })).text).toBe(
        '{"status":"REJECTED","reason":"player_blocked","correlationId":"corr-1","balance":1000000.00}',
      );
      const callbacks = await hub.received(2);
      expect(callbacks.map(({ status, playerId }) => [playerId, status])).toEqual(
        expect.arrayContaining([
          ['p1', 'REJECTED'],
          ['p_bad', 'REJECTED'],
        ]),
      );
      expect((await transactions()).json).toEqual([]);
      expect(await summary()).toMatchObject({ calls: 2, applied: 0 });
    });

    it('unsupported currency: 422', async () => {
      expect(await move({ currency: 'GBP' })).toMatchObject({
        status: 422,
        json: { status: 'ERROR', reason: 'unsupported currency' },
      });
    });

    it.each([
      ['no JSON', '{"amount":5'],
      ['an array', '[]'],
      ['nothing', ''],
      ['amount missing', '{"currency":"USD","reference":"r","correlationId":"c"}'],
      ['amount negative', '{"amount":-5,"currency":"USD","reference":"r","correlationId":"c"}'],
      ['amount no decimal', '{"amount":"5,00","currency":"USD","reference":"r","correlationId":"c"}'],
      ['amount too fine', '{"amount":5.001,"currency":"USD","reference":"r","correlationId":"c"}'],
      ['withdrawal of nothing', '{"amount":0,"currency":"USD","reference":"r","correlationId":"c"}'],
      ['reference no string', '{"amount":5,"currency":"USD","reference":7,"correlationId":"c"}'],
      ['reference empty', '{"amount":5,"currency":"USD","reference":"","correlationId":"c"}'],
    ])('malformed, %s: 400', async (_name, body) => {
      const reply = await call('POST', `${operator.url}/v2/players/p1/withdraw`, { body, headers: signed(body) });
      expect(reply).toMatchObject({ status: 400, json: { status: 'ERROR', reason: expect.any(String) } });
      expect(await summary()).toMatchObject({ applied: 0 });
    });

    it('takes the player id from the decoded path, and answers 400 to one that cannot be decoded', async () => {
      await move({ player: 'a/b é' });
      expect(await calls()).toMatchObject([{ playerId: 'a/b é' }]);
      expect((await call('POST', `${operator.url}/v2/players/%E0%A4%A/withdraw`, { body: '{}' })).status).toBe(400);
    });
  });

  describe('callbacks', () => {
    it('are signed, carry the token, and the amount as it was sent', async () => {
      await move({ amount: '5.00' });
      await hub.received(1);
      await move({ amount: '"5.00"', reference: 'rollback:ref-1', direction: 'deposit' });
      await hub.received(2);
      const [first, second] = hub.callbacks;
      expect(first?.text).toBe(
        '{"playerId":"p1","amount":5.00,"currency":"USD","status":"OK","event":"withdraw","refId":"ref-1","correlationId":"corr-1"}',
      );
      expect(second?.text).toContain(
        '"amount":"5.00","currency":"USD","status":"OK","event":"deposit","refId":"rollback:ref-1"',
      );
      const timestamp = String(first?.headers['x-timestamp']);
      expect(first?.headers).toMatchObject({
        authorization: `Bearer ${TOKEN}`,
        'x-signature': signed(first?.text ?? '', SECRET, timestamp)['X-Signature'],
      });
    });

    it('are tried again when the hub fails, and not when it refuses', async () => {
      hub.statuses.push(500, 200, 404);
      await move();
      await until(summary, ({ callbacks }) => callbacks.pending === 0);
      expect(hub.callbacks).toHaveLength(2);
      await move({ reference: 'ref-2' });
      expect((await until(summary, ({ callbacks }) => callbacks.pending === 0)).callbacks).toEqual({
        delivered: 1,
        failed: 1,
        pending: 0,
      });
      expect(hub.callbacks).toHaveLength(3);
    });

    it('survive a hub that is away, and clear-db forgets them', async () => {
      operator.settings.hubUrl = 'http://127.0.0.1:1';
      try {
        expect((await move()).status).toBe(200);
        expect((await summary()).callbacks).toEqual({ delivered: 0, failed: 0, pending: 1 });
        await admin('POST', 'clear-db');
        expect((await summary()).callbacks).toEqual({ delivered: 0, failed: 0, pending: 0 });
      } finally {
        operator.settings.hubUrl = hubUrl;
      }
    });

    it('go out 32 at a time at most, and all arrive', async () => {
      let open = 0;
      let openMax = 0;
      let release = (): void => undefined;
      const full = new Promise<void>((resolve) => (release = resolve));
      hub.onArrival = async () => {
        openMax = Math.max(openMax, ++open);
        if (open === 32) release();
        // None is answered until 32 are there, so the bound is reached, and a 33rd would be counted.
        await full;
        open--;
      };
      await Promise.all(Array.from({ length: 100 }, (_, index) => move({ reference: `ref-${index}` })));
      expect((await until(summary, ({ callbacks }) => callbacks.pending === 0)).callbacks).toEqual({
        delivered: 100,
        failed: 0,
        pending: 0,
      });
      expect(openMax).toBe(32);
    });

    it('off: none', async () => {
      await admin('PUT', 'settings', { callbacks: false });
      await move();
      await admin('PUT', 'settings', { callbacks: true });
      await move({ reference: 'ref-2' });
      expect((await until(summary, ({ callbacks }) => callbacks.pending === 0)).callbacks).toEqual({
        delivered: 1,
        failed: 0,
        pending: 0,
      });
      expect(hub.callbacks.map(({ json }) => json.refId)).toEqual(['ref-2']);
    });

    it('wait as long as the settings say', async () => {
      await admin('PUT', 'settings', { callbackDelayMs: 60 });
      const startedAt = performance.now();
      await move();
      await hub.received(1);
      expect(performance.now() - startedAt).toBeGreaterThan(55);
    });
  });

  describe('faults', () => {
    /** What a fault does to one withdrawal: the answer, and whether the money moved. */
    it.each<[string, object, Partial<Reply>, boolean]>([
      [
        'status',
        { kind: 'status', status: 500 },
        { status: 500, text: '{"status":"ERROR","reason":"injected 500"}' },
        false,
      ],
      ['status with a body', { kind: 'status', status: 401, body: { a: 1 } }, { status: 401, text: '{"a":1}' }, false],
      [
        'status with a text',
        { kind: 'status', status: 502, body: '<h1>', contentType: 'text/html', headers: { 'X-A': 'b' } },
        { status: 502, text: '<h1>' },
        false,
      ],
      ['status_after_commit', { kind: 'status_after_commit', status: 500 }, { status: 500 }, true],
      ['throttle', { kind: 'throttle', retryAfter: 7 }, { status: 429 }, false],
      ['delay', { kind: 'delay', ms: 1 }, { status: 200 }, true],
      ['delay after commit', { kind: 'delay', ms: 1, afterCommit: true }, { status: 200 }, true],
      [
        'error_body',
        { kind: 'error_body' },
        { status: 200, text: '{"status":"ERROR","reason":"internal error"}' },
        false,
      ],
      [
        'error_body of ours',
        { kind: 'error_body', body: { status: 'FAILED' } },
        { status: 200, text: '{"status":"FAILED"}' },
        false,
      ],
      ['pending', { kind: 'pending' }, { status: 202, text: '{"status":"PENDING","correlationId":"corr-1"}' }, true],
      ['pending, to be refused', { kind: 'pending', reject: true }, { status: 202 }, false],
      ['unknown_word', { kind: 'unknown_word' }, { status: 200, text: '{"status":"MAYBE"}' }, false],
      [
        'unknown_word after commit',
        { kind: 'unknown_word', afterCommit: true },
        { status: 200, text: '{"status":"MAYBE"}' },
        true,
      ],
      [
        'unreadable',
        { kind: 'unreadable' },
        { status: 200, text: '<html><body><h1>Welcome</h1></body></html>' },
        false,
      ],
      [
        'unreadable JSON',
        { kind: 'unreadable', form: 'truncated', afterCommit: true },
        { status: 200, text: '{"status":"OK","correlationId":"0' },
        true,
      ],
      [
        'refuse',
        { kind: 'refuse', reason: 'limit' },
        { status: 200, text: '{"status":"REJECTED","reason":"limit","correlationId":"corr-1","balance":1000000.00}' },
        false,
      ],
      [
        'slow_drip',
        { kind: 'slow_drip', ms: 1 },
        { status: 200, text: '{"status":"OK","correlationId":"corr-1","balance":999995.00}' },
        true,
      ],
      ['no_callback', { kind: 'no_callback' }, { status: 200 }, true],
    ])('%s', async (_name, fault, expected, moved) => {
      const armed = await arm({ ...fault, next: 1 });
      expect(armed).toMatchObject({ status: 201, json: { remaining: 1, hits: 0 } });
      expect(await move()).toMatchObject(expected);
      const kind = armed.json.kind as string;
      expect(await calls()).toMatchObject([{ fault: kind, applied: moved, status: expected.status }]);
      expect((await player()).movements).toBe(moved ? 1 : 0);
      expect((await summary()).faults).toEqual({ [kind]: 1 });
      // The fault is used up: the next call is answered well, and the reference is there exactly once.
      expect(await move()).toMatchObject({ status: 200, json: { status: 'OK', balance: 999995 } });
      expect((await transactions('?reference=ref-1')).json).toHaveLength(1);
    });

    it.each([
      ['hang', false],
      ['hang', true],
      ['reset', false],
      ['reset', true],
    ])('%s, after commit: %s', async (kind, afterCommit) => {
      await arm({ kind, afterCommit, next: 1 });
      const leaving = new AbortController();
      const attempt = move({}, leaving.signal).then(
        () => 'answered',
        () => 'broken',
      );
      const [row] = await until(calls, ([first]) => first?.fault === kind);
      leaving.abort();
      expect(await attempt).toBe('broken');
      expect(row).toMatchObject({ applied: afterCommit, status: null });
      expect(await move()).toMatchObject({ status: 200, json: { balance: 999995 } });
      expect(await summary()).toMatchObject({ applied: 1, repeats: afterCommit ? 1 : 0 });
    });

    it('reset is seen as a broken connection at once', async () => {
      await arm({ kind: 'reset' });
      await expect(move()).rejects.toThrow();
    });

    it('throttle says when to come again, in seconds or as a date', async () => {
      await arm({ kind: 'throttle', retryAfter: 7, next: 1 });
      expect((await move()).headers.get('retry-after')).toBe('7');
      await arm({ kind: 'throttle', retryAfter: 60, retryAfterForm: 'date', status: 503, next: 1 });
      const reply = await move();
      expect(reply.status).toBe(503);
      const waitMs = Date.parse(reply.headers.get('retry-after') ?? '') - Date.now();
      expect(waitMs).toBeGreaterThan(58_000);
      expect(waitMs).toBeLessThanOrEqual(61_000);
    });

    it('status keeps content type and headers', async () => {
      await arm({ kind: 'status', status: 502, body: '<h1>', contentType: 'text/html', headers: { 'X-A': 'b' } });
      const { headers } = await move();
      expect([headers.get('content-type'), headers.get('x-a')]).toEqual(['text/html', 'b']);
    });

    it('delay and latency make the answer late', async () => {
      await arm({ kind: 'delay', ms: 60, next: 1 });
      for (const reference of ['ref-1', 'ref-2']) {
        const startedAt = performance.now();
        await move({ reference });
        expect(performance.now() - startedAt).toBeGreaterThan(55);
        await admin('PUT', 'settings', { latencyMs: 60 });
      }
    });

    it('huge_body is valid JSON of that size', async () => {
      await arm({ kind: 'huge_body', bytes: 300_000 });
      const reply = await move();
      expect(reply.json).toMatchObject({ status: 'OK', balance: 999995 });
      expect(reply.json.padding).toHaveLength(300_000);
    });

    it('callback_before_answer: the hub has answered the callback before it sees the answer', async () => {
      await arm({ kind: 'callback_before_answer' });
      const order: string[] = [];
      hub.onArrival = async () => {
        expect((await player()).movements).toBe(1);
        order.push('callback');
      };
      await move();
      order.push('answer');
      expect(order).toEqual(['callback', 'answer']);
    });

    it('duplicate_callbacks', async () => {
      await arm({ kind: 'duplicate_callbacks', count: 3 });
      await move();
      const callbacks = await hub.received(3);
      expect(new Set(callbacks.map((callback) => JSON.stringify(callback))).size).toBe(1);
      expect((await until(summary, ({ callbacks: { pending } }) => pending === 0)).callbacks.delivered).toBe(3);
    });

    it('late_callback comes after later ones', async () => {
      await arm({ kind: 'late_callback', delayMs: 100, reference: 'ref-1' });
      await move();
      await move({ reference: 'ref-2' });
      expect((await hub.received(2)).map(({ refId }) => refId)).toEqual(['ref-2', 'ref-1']);
    });

    it('out_of_order_callbacks come in reverse, and a window that is not filled is flushed', async () => {
      await arm({ kind: 'out_of_order_callbacks', window: 3, flushMs: 400 });
      for (const reference of ['a', 'b', 'c', 'd', 'e']) await move({ reference });
      expect((await hub.received(5)).map(({ refId }) => refId)).toEqual(['c', 'b', 'a', 'e', 'd']);
    });

    it('contradicting_callback says something else than the answer', async () => {
      await arm({ kind: 'contradicting_callback', status: 'REJECTED' });
      expect((await move()).json.status).toBe('OK');
      expect(await hub.received(1)).toMatchObject([{ status: 'REJECTED', refId: 'ref-1' }]);
    });

    it('pending is decided by the callback', async () => {
      await arm({ kind: 'pending', reject: true, reference: 'no' });
      await arm({ kind: 'pending' });
      await move({ reference: 'yes' });
      await hub.received(1);
      await move({ reference: 'no' });
      expect(await hub.received(2)).toMatchObject([
        { refId: 'yes', status: 'OK' },
        { refId: 'no', status: 'REJECTED' },
      ]);
    });

    it('a broken answer is called back only on request', async () => {
      await arm({ kind: 'status_after_commit', status: 500, reference: 'quiet' });
      await arm({ kind: 'no_callback', reference: 'none' });
      await arm({ kind: 'status_after_commit', status: 500, callback: true, reference: 'loud' });
      await move({ reference: 'quiet' });
      await move({ reference: 'none' });
      await move({ reference: 'loud' });
      expect(await hub.received(1)).toMatchObject([{ refId: 'loud', status: 'OK' }]);
      expect((await until(summary, ({ callbacks }) => callbacks.pending === 0)).callbacks.delivered).toBe(1);
    });

    it('are matched by player, reference and direction; the first match wins', async () => {
      await arm({ kind: 'status', status: 500, playerId: 'p1', direction: 'deposit' });
      await arm({ kind: 'status', status: 501, reference: 'ref-2' });
      expect((await move()).status).toBe(200);
      expect((await move({ direction: 'deposit' })).status).toBe(500);
      expect((await move({ player: 'p2', reference: 'ref-2' })).status).toBe(501);
      expect((await move({ direction: 'deposit', reference: 'ref-2' })).status).toBe(500);
      expect((await admin('GET', 'faults')).json).toMatchObject([
        {
          id: expect.any(Number),
          kind: 'status',
          match: { playerId: 'p1', direction: 'deposit' },
          remaining: null,
          share: null,
          hits: 2,
        },
        { kind: 'status', params: { status: 501 }, match: { reference: 'ref-2' }, hits: 1 },
      ]);
    });

    it('share hits the same calls again with the same seed', async () => {
      const run = async (): Promise<number[]> => {
        await admin('POST', 'clear-db');
        await arm({ kind: 'status', status: 500, share: 0.3, seed: 42 });
        const statuses: number[] = [];
        for (let index = 0; index < 60; index++) statuses.push((await move({ reference: `r${index}` })).status);
        return statuses;
      };
      const first = await run();
      expect(await run()).toEqual(first);
      const hits = first.filter((status) => status === 500).length;
      expect(hits).toBeGreaterThan(8);
      expect(hits).toBeLessThan(30);
    });

    it('can be disarmed', async () => {
      await arm({ kind: 'status', status: 500 });
      expect((await admin('DELETE', 'faults')).json).toEqual({ disarmed: 1 });
      expect((await move()).status).toBe(200);
    });

    it.each([
      [{}, 'kind must be one of status,'],
      [{ kind: 'toString' }, 'kind must be one of'],
      [{ kind: 'status' }, 'status must be an integer from 200 to 599'],
      [{ kind: 'status', status: 99 }, 'status must be'],
      [{ kind: 'status', status: 500, share: 2 }, 'share must be a number from 0 to 1'],
      [{ kind: 'status', status: 500, next: 0 }, 'next must be an integer'],
      [{ kind: 'status', status: 500, headers: { 'a b': 'c' } }, 'headers must be'],
      [{ kind: 'throttle', status: 500 }, 'status must be 429 or 503'],
      [{ kind: 'hang', ms: 5, direction: 'debit' }, 'direction must be one of withdraw, deposit; ms is not known here'],
    ])('refuses %j', async (fault, reason) => {
      expect(await arm(fault)).toMatchObject({
        status: 400,
        json: { status: 'ERROR', reason: expect.stringContaining(reason) },
      });
      expect((await admin('GET', 'faults')).json).toEqual([]);
    });

    it('refuses what is no JSON object', async () => {
      expect((await call('POST', `${operator.url}/admin/faults`, { body: '[' })).json).toEqual({
        status: 'ERROR',
        reason: 'the body must be a JSON object',
      });
    });
  });

  describe('books and lists', () => {
    it('lists what was booked, oldest first, the amounts as sent', async () => {
      await move({ amount: '5.00' });
      await move({ amount: '"7"', direction: 'deposit', reference: 'ref-2', correlationId: 'corr-2' });
      const { json, text } = await transactions();
      expect(json).toEqual([
        {
          playerId: 'p1',
          amount: 5,
          currency: 'USD',
          reference: 'ref-1',
          correlationId: 'corr-1',
          direction: 'withdraw',
          status: 'OK',
          createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
        },
        {
          playerId: 'p1',
          amount: '7',
          currency: 'USD',
          reference: 'ref-2',
          correlationId: 'corr-2',
          direction: 'deposit',
          status: 'OK',
          createdAt: expect.any(String),
        },
      ]);
      expect(text).toContain('"amount":5.00,');
      expect((await transactions('?reference=ref-2')).json).toHaveLength(1);
      expect((await transactions('?reference=none')).json).toEqual([]);
    });

    it('plants a booking in its place in time, and loses one', async () => {
      await move();
      const planted = {
        playerId: 'p1',
        direction: 'withdraw',
        amount: 1.5,
        currency: 'USD',
        reference: 'old',
        correlationId: 'c',
        createdAt: '2020-01-01T00:00:00.000Z',
      };
      expect(await admin('POST', 'book', planted)).toMatchObject({ status: 201, json: { status: 'booked' } });
      expect((await transactions()).json).toMatchObject([planted, { reference: 'ref-1' }]);
      expect(await player()).toMatchObject({ balances: { USD: '99999350' }, net: { USD: '-650' }, movements: 2 });

      expect((await admin('DELETE', 'book/ref-1?direction=deposit')).status).toBe(404);
      expect((await admin('DELETE', 'book/ref-1?playerId=p1')).json).toEqual({ lost: 1 });
      expect((await transactions()).json).toMatchObject([planted]);
      expect(await player()).toMatchObject({ net: { USD: '-150' }, movements: 1 });
      // As if it had never been: the next call with the reference books it.
      await move();
      expect(await player()).toMatchObject({ net: { USD: '-650' }, movements: 2 });
    });

    it('refuses to plant what is no booking', async () => {
      expect(await admin('POST', 'book', { playerId: 'p1', direction: 'debit', createdAt: 'x' })).toMatchObject({
        status: 400,
        json: { reason: 'direction must be one of withdraw, deposit; createdAt must be a time in ISO 8601' },
      });
    });

    it('lists and logs many rows as one array', async () => {
      await admin('PUT', 'settings', { callbacks: false });
      for (let index = 0; index < 2000; index += 100)
        await Promise.all(Array.from({ length: 100 }, (_, offset) => move({ reference: `ref-${index + offset}` })));
      expect((await transactions()).json).toHaveLength(2000);
      const rows = await calls(1990);
      expect(rows.map(({ n }) => n)).toEqual([1991, 1992, 1993, 1994, 1995, 1996, 1997, 1998, 1999, 2000]);
      expect(Math.abs(rows[0].at - Date.now())).toBeLessThan(30_000);
      expect((await admin('GET', 'calls?since=-1')).status).toBe(400);
    });

    it('a player nobody has seen has nothing; a new one has the starting balance', async () => {
      expect(await player('nobody')).toEqual({ playerId: 'nobody', balances: {}, net: {}, movements: 0 });
      await admin('PUT', 'settings', { startingBalanceMinor: '100' });
      expect((await move({ player: 'poor' })).json).toMatchObject({ status: 'REJECTED', balance: 1 });
    });

    it('shows settings without secrets, and refuses bad ones', async () => {
      expect((await admin('GET', 'settings')).json).toEqual({
        hubUrl: operator.settings.hubUrl,
        signatureRequired: true,
        callbacks: true,
        startingBalanceMinor: '100000000',
        supportedCurrencies: ['USD', 'EUR', 'JPY', 'KWD'],
        latencyMs: 0,
        callbackDelayMs: 0,
        referenceScope: 'player',
        listForm: 'items',
      });
      expect((await admin('PUT', 'settings', { hubUrl: 'ftp://x', latencyMs: -1, callbacks: 'on' })).json.reason).toBe(
        'hubUrl must be an http or https address; callbacks must be true or false; latencyMs must be an integer from 0 to 600000',
      );
    });
  });

  it('stops at once though a call hangs', async () => {
    const other = await startMockOperator({ hmacSecret: SECRET, callbacks: false });
    await call('POST', `${other.url}/admin/faults`, { body: '{"kind":"hang"}' });
    const body = bodyOf({});
    const hung = fetch(`${other.url}/v2/players/p1/withdraw`, { method: 'POST', body, headers: signed(body) }).then(
      () => 'answered',
      () => 'broken',
    );
    await until(
      () => call('GET', `${other.url}/admin/calls`),
      ({ json }) => json.length === 1,
    );
    await other.close();
    expect(await hung).toBe('broken');
  });
});

describe('mock RGS', () => {
  let rgs: MockRgs;

  beforeAll(async () => {
    rgs = await startMockRgs({ hmacSecret: SECRET });
  });
  beforeEach(async () => {
    await admin('POST', 'clear-db');
  });
  afterAll(async () => {
    await rgs.close();
  });

  function admin(method: string, path: string, body?: object): Promise<Reply> {
    return call(method, `${rgs.url}/admin/${path}`, body === undefined ? {} : { body: JSON.stringify(body) });
  }

  function deliver(
    key: string,
    refId = 'ref-1',
    extra: { headers?: Record<string, string>; signal?: AbortSignal; body?: string } = {},
  ): Promise<Reply> {
    const {
      headers = {},
      signal,
      body = `{"playerId":"p1","amountCents":9007199254740993,"status":"OK","event":"debit","refId":"${refId}"}`,
    } = extra;
    return call('POST', `${rgs.url}/webhooks`, {
      body,
      headers: { ...signed(body), 'Idempotency-Key': key, ...headers },
      ...(signal ? { signal } : {}),
    });
  }

  const arm = (fault: object): Promise<Reply> => admin('POST', 'faults', fault);
  const calls = async (since = 0): Promise<Json[]> => (await admin('GET', `calls?since=${since}`)).json;
  const list = (query = ''): Promise<Reply> => call('GET', `${rgs.url}/webhooks${query}`);

  it('verifies the signature over the raw bytes', async () => {
    expect(await deliver('k', 'r', { headers: { 'X-Signature': 'f'.repeat(64) } })).toMatchObject({
      status: 401,
      json: { reason: 'invalid signature' },
    });
    expect(await deliver('k', 'r', { headers: { 'X-Timestamp': '1' } })).toMatchObject({
      status: 401,
      json: { reason: 'timestamp skew' },
    });
    expect((await list()).json).toEqual([]);
    expect(await deliver('k')).toMatchObject({ status: 200, json: { status: 'received' } });
  });

  it('stores the first delivery of a key and counts the others', async () => {
    await deliver('k1', 'ref-1');
    await deliver('k2', 'ref-2', { body: ' { } ' });
    expect((await deliver('k1', 'ref-1')).status).toBe(200);
    await deliver('k1', 'ref-3');
    const { json, text } = await list();
    expect(json).toMatchObject([
      {
        playerId: 'p1',
        status: 'OK',
        event: 'debit',
        refId: 'ref-1',
        idempotencyKey: 'k1',
        deliveries: 3,
        createdAt: expect.stringMatching(/Z$/),
      },
      { idempotencyKey: 'k2', deliveries: 1 },
    ]);
    expect(text).toContain('"amountCents":9007199254740993,');
    expect((await list('?refId=ref-1')).json).toHaveLength(1);
    expect((await admin('GET', 'summary')).json).toEqual({
      calls: 4,
      stored: 2,
      repeats: 2,
      keyConflicts: 1,
      faults: {},
    });
  });

  it('logs every call with its headers and its body as it came', async () => {
    const headers = { 'webhook-id': 'w1', 'webhook-timestamp': '123', 'webhook-signature': 'v1,abc' };
    await deliver('k1', 'ref-1', { headers });
    await deliver('k1', 'ref-1', { headers });
    const rows = await calls();
    expect(rows).toMatchObject([
      {
        n: 1,
        playerId: 'p1',
        refId: 'ref-1',
        event: 'debit',
        headers: { ...headers, 'idempotency-key': 'k1' },
        stored: true,
        repeat: false,
        fault: null,
        status: 200,
      },
      { n: 2, stored: false, repeat: true },
    ]);
    expect(rows[0].body).toBe(
      '{"playerId":"p1","amountCents":9007199254740993,"status":"OK","event":"debit","refId":"ref-1"}',
    );
    expect(await calls(1)).toHaveLength(1);
  });

  it('malformed: 400', async () => {
    expect((await deliver('k', 'r', { body: '{"a":' })).status).toBe(400);
    expect((await deliver('k', 'r', { body: '[]' })).status).toBe(400);
  });

  it.each<[string, object, number, boolean]>([
    ['status', { kind: 'status', status: 410 }, 410, false],
    ['status after storing', { kind: 'status', status: 500, afterCommit: true }, 500, true],
    ['throttle', { kind: 'throttle', status: 503, retryAfter: 3 }, 503, false],
    ['delay', { kind: 'delay', ms: 1 }, 200, true],
    ['delay after storing', { kind: 'delay', ms: 1, afterCommit: true }, 200, true],
  ])('%s', async (_name, fault, status, stored) => {
    const armed = await arm({ ...fault, next: 1, refId: 'ref-1' });
    expect((await deliver('k0', 'ref-0')).status).toBe(200);
    expect((await deliver('k1')).status).toBe(status);
    expect((await calls(1))[0]).toMatchObject({ stored, status, fault: armed.json.kind });
    expect((await deliver('k1')).json).toEqual({ status: 'received' });
    expect((await list('?refId=ref-1')).json).toMatchObject([{ deliveries: stored ? 2 : 1 }]);
  });

  it.each([
    ['hang', false],
    ['hang', true],
    ['reset', false],
    ['reset', true],
  ])('%s, after storing: %s', async (kind, afterCommit) => {
    await arm({ kind, afterCommit, playerId: 'p1', next: 1 });
    const leaving = new AbortController();
    const attempt = deliver('k1', 'ref-1', { signal: leaving.signal }).then(
      () => 'answered',
      () => 'broken',
    );
    const [row] = await until(calls, ([first]) => first?.fault === kind);
    leaving.abort();
    expect(await attempt).toBe('broken');
    expect(row).toMatchObject({ stored: afterCommit, status: null });
    expect((await list()).json).toHaveLength(afterCommit ? 1 : 0);
  });

  it('plants and loses webhooks', async () => {
    await deliver('k1', 'ref-1');
    const planted = {
      playerId: 'p2',
      event: 'credit',
      refId: 'ref-9',
      amountCents: 5,
      createdAt: '2020-01-01T00:00:00.000Z',
      idempotencyKey: 'planted',
    };
    expect(await admin('POST', 'book', planted)).toMatchObject({ status: 201, json: { status: 'booked' } });
    expect((await admin('POST', 'book', planted)).status).toBe(409);
    expect((await list()).json).toMatchObject([{ ...planted, deliveries: 1 }, { refId: 'ref-1' }]);
    expect((await admin('DELETE', 'book/ref-1?event=credit')).status).toBe(404);
    expect((await admin('DELETE', 'book/ref-1')).json).toEqual({ lost: 1 });
    expect((await list()).json).toMatchObject([planted]);
    expect((await deliver('k1', 'ref-1')).status).toBe(200);
    expect((await list('?refId=ref-1')).json).toMatchObject([{ deliveries: 1 }]);
    expect((await admin('POST', 'book', { refId: 'x' })).json.reason).toBe(
      'playerId must be a non-empty string; event must be a non-empty string',
    );
  });

  it('shows its settings without the secret', async () => {
    expect((await admin('PUT', 'settings', { latencyMs: 0 })).json).toEqual({
      signatureRequired: true,
      latencyMs: 0,
      listForm: 'items',
    });
  });
});
