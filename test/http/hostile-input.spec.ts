import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { ErrorCode } from '../../src/kernel/errors';
import { expectNoLeak, expectProblem } from '../support/hub/problem';
import { type RawAnswer, httpText, rawExchange } from '../support/raw-socket';
import { callablePath, routesOf } from '../support/hub/routes';
import { type HttpAnswer, type RequestOptions, signatureOf } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** Everything that a refused request must leave as it was. Partner tables belong to the start of the hub. */
const TABLES = [
  'wallet_transaction',
  'wallet_event',
  'wallet_outcome',
  'idempotency_key',
  'outbox_message',
  'outbox_head',
  'outbox_lane',
  'inbound_callback',
  'audit_entry',
];

let hub: TestHub;
let before: unknown;
const rowCounts = async () =>
  (
    await hub.database.query(
      `select ${TABLES.map((table) => `(select count(*) from ${table}) as ${table}`).join(', ')}`,
    )
  )[0];

beforeAll(async () => {
  hub = await TestHub.start();
  // As on a busy machine: the movement is settled long before its callback comes, and the callback leaves rows of its
  // own.
  hub.operator.settings.callbackDelayMs = 200;
  // One good movement, so that lists are not empty and a lost table would be noticed.
  const { body } = await hub.debit({ playerId: 'honest', refId: 'honest-1' });
  await hub.reaches(body.transactionId, 'confirmed');
  await hub.quiet();
});
afterAll(() => hub.stop());

beforeEach(async () => {
  before = await rowCounts();
});
afterEach(async () => {
  expect((await hub.call('GET', '/health', undefined, { token: null })).body).toEqual({ status: 'ok' });
  expect(await rowCounts()).toEqual(before);
});

const good = { playerId: 'mallory', amountCents: 500, currency: 'USD', refId: 'hostile' };
const text = (body: object) => JSON.stringify(body);
/** JSON text with one more member, written by hand where a JSON writer would not write it so. */
const withMember = (member: string) => `${text(good).slice(0, -1)},${member}}`;
const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
const LONG = 'x'.repeat(10_000);

const ALLOWED: [string, string][] = [
  ['Authorization', 'Bearer change_token'],
  ['Content-Type', 'application/json'],
];
const debit = (body: unknown, options?: RequestOptions): Promise<HttpAnswer> =>
  hub.call('POST', '/wallet/debit', body, options);

describe('a body that is not one JSON object', () => {
  const bodies: [string, string | Buffer][] = [
    ['empty', ''],
    ['a space', ' '],
    ['truncated', '{"playerId":"mallory","amountCents":5'],
    ['truncated in a string', '{"playerId":"mall'],
    ['with something behind its end', `${text(good)}{}`],
    ['with a comma too many', '{"playerId":"mallory",}'],
    ['with a comment', `/* hello */${text(good)}`],
    ['single-quoted', "{'playerId':'mallory'}"],
    ['NaN', withMember('"x":NaN')],
    ['a number with a leading zero', withMember('"x":007')],
    ['hexadecimal', withMember('"x":0x10')],
    ['null', 'null'],
    ['a string', '"debit"'],
    ['a number', '1e400'],
    ['a list', `[${text(good)}]`],
    ['two lines of JSON', `${text(good)}\n${text(good)}`],
    ['a form', 'playerId=mallory&amountCents=500'],
    ['XML', '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'],
    ['nested 33 deep', `{"meta":${nested(33)}}`],
    ['nested 20 000 deep', nested(10_000)],
    ['20 000 opening brackets', '['.repeat(20_000)],
    ['a key twice', withMember('"amountCents":1')],
    ['a key twice with the same value', withMember('"amountCents":500')],
    ['a key twice, once escaped', withMember('"amount\\u0043ents":1')],
    ['a key twice in meta', withMember('"meta":{"a":1,"a":2}')],
    ['__proto__', withMember('"__proto__":{"admin":true}')],
    ['__proto__ escaped', withMember('"\\u005f_proto__":{"admin":true}')],
    ['constructor', withMember('"constructor":{"prototype":{"admin":true}}')],
    ['prototype in meta', withMember('"meta":{"prototype":1}')],
    ['a raw control character in a string', '{"playerId":"mal\u0001lory"}'],
    ['a raw NUL', '{"playerId":"mal\u0000lory"}'],
    ['NUL bytes only', Buffer.alloc(100)],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    ['an overlong UTF-8 form', Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d])],
    ['a surrogate encoded as UTF-8', Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])],
    ['UTF-16', Buffer.from(`\ufeff${text(good)}`, 'utf16le')],
    ['a bad escape', '{"playerId":"\\x41"}'],
    ['an escape that breaks off', '{"playerId":"\\u12"}'],
  ];

  it.each(bodies)('is 400: %s', async (_what, body) => {
    for (const path of ['/wallet/debit', '/wallet/credit', '/webhooks/incoming'])
      expectProblem(await hub.call('POST', path, body), 'malformed_request');
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });
});

describe('a body over the limit', () => {
  it.each([
    ['64 KiB and one byte', 65_537],
    ['1 MB', 1_000_000],
  ])('is 413: %s', async (_what, bytes) => {
    expectProblem(await debit(`${text(good).slice(0, -1)},"meta":"${'x'.repeat(bytes)}"}`), 'payload_too_large');
    expectProblem(await debit('x'.repeat(bytes)), 'payload_too_large');
  });

  it('of 1 MB without a Content-Length is 413 as soon as the limit is passed', async () => {
    const chunk = Buffer.alloc(16 * 1024, 'x');
    const chunked = Buffer.concat(
      Array.from({ length: 64 }, () =>
        Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
      ),
    );
    const [answer] = await rawExchange(
      hub.url,
      Buffer.concat([
        httpText('POST', '/wallet/debit', [...ALLOWED, ['Transfer-Encoding', 'chunked'], ['Connection', 'close']]),
        chunked,
        Buffer.from('0\r\n\r\n'),
      ]),
    );
    expectProblem(answer!, 'payload_too_large');
  });

  it.each<[string, [string, string][]]>([
    ['in chunks', [['Transfer-Encoding', 'chunked']]],
    [
      'in chunks, by a client that wants to close',
      [
        ['Transfer-Encoding', 'chunked'],
        ['Connection', 'close'],
      ],
    ],
    ['of ten megabytes, of which a few bytes come', [['Content-Length', '10000000']]],
  ])('that never ends is 413 at once, and its connection does not stay: %s', async (_what, headers) => {
    const chunk = Buffer.concat([Buffer.from('4000\r\n'), Buffer.alloc(0x4000, 'x'), Buffer.from('\r\n')]);
    const [answer] = await rawExchange(
      hub.url,
      Buffer.concat([httpText('POST', '/wallet/debit', [...ALLOWED, ...headers]), ...Array<Buffer>(8).fill(chunk)]),
    );
    expectProblem(answer!, 'payload_too_large');
  });

  it('that never ends is read no further than the answer, but what comes soon after is not cut off', async () => {
    // A usual client writes all of its body before it reads.
    const answer = await debit('x'.repeat(3_000_000));
    expectProblem(answer, 'payload_too_large');
    expect((await debit('x'.repeat(100_000))).status).toBe(413);
  });

  it('is not reached by 64 KiB exactly, which is then judged by its content', async () => {
    const body = withMember(`"meta":{"a":"${'x'.repeat(65_536 - withMember('"meta":{"a":""}').length)}"}`);
    expect(Buffer.byteLength(body)).toBe(65_536);
    expectFields(await debit(body), ['meta']);
  });
});

describe('a body of another kind', () => {
  it.each([
    ['no content type', ''],
    ['text', 'text/plain'],
    ['a form', 'application/x-www-form-urlencoded'],
    ['a form with files', 'multipart/form-data; boundary=x'],
    ['XML', 'application/xml'],
    ['something that only begins like JSON', 'application/jsonp'],
    ['something that only ends like JSON', 'text/json'],
    ['latin1', 'application/json; charset=latin1'],
    ['UTF-16', 'application/json; charset=utf-16'],
    ['two charsets', 'application/json; charset=utf-8; charset=utf-7'],
    ['nonsense', ';;;'],
  ])('is 415: %s', async (_what, contentType) => {
    expectProblem(await debit(text(good), { contentType }), 'unsupported_media_type');
    expectProblem(await hub.callback(good, { contentType }), 'unsupported_media_type');
  });

  it.each(['gzip', 'br', 'deflate', 'zstd', 'gzip, gzip', 'nonsense'])(
    'is 415: Content-Encoding %s',
    async (encoding) => {
      const squeezed = gzipSync(text(good));
      expectProblem(await debit(squeezed, { headers: { 'content-encoding': encoding } }), 'unsupported_media_type');
    },
  );

  it('is not a charset written in other letters, which is JSON like any other', async () => {
    expectProblem(await debit('{', { contentType: 'Application/JSON; Charset="UTF-8"' }), 'malformed_request');
  });
});

describe('a field', () => {
  const cases: [string, string, string[]][] = [
    ['playerId of 10 000 characters', text({ ...good, playerId: LONG }), ['playerId']],
    ['refId of 10 000 characters', text({ ...good, refId: LONG }), ['refId']],
    ['roundId of 129 characters', text({ ...good, roundId: 'r'.repeat(129) }), ['roundId']],
    ['empty ids', text({ ...good, playerId: '', refId: '' }), ['playerId', 'refId']],
    ['no fields at all', '{}', ['amountCents', 'currency', 'playerId', 'refId']],
    [
      'null in place of everything',
      text({ playerId: null, amountCents: null, currency: null, refId: null }),
      ['amountCents', 'currency', 'playerId', 'refId'],
    ],
    ['NUL in playerId', text({ ...good, playerId: 'mal\u0000lory' }), ['playerId']],
    ['NUL in refId', text({ ...good, refId: '\u0000' }), ['refId']],
    [
      'NUL in roundId, gameId and sessionId',
      text({ ...good, roundId: '\u0000', gameId: 'a\u0000', sessionId: '\u0000a' }),
      ['gameId', 'roundId', 'sessionId'],
    ],
    ['a line feed in refId, as for a header', text({ ...good, refId: 'a\r\nX-Admin: true' }), ['refId']],
    ['a refId that the hub uses for repayments', text({ ...good, refId: 'rollback:bet-1' }), ['refId']],
    [
      'the same in other letters, for operators that compare without case',
      text({ ...good, refId: 'RollBack:bet-1' }),
      ['refId'],
    ],
    ['half a surrogate pair', withMember('"roundId":"\\ud83c"'), ['roundId']],
    ['two halves in the wrong order', withMember('"gameId":"\\udfb0\\ud83c"'), ['gameId']],
    ['an object for an id', text({ ...good, playerId: { $ne: null } }), ['playerId']],
    ['a list for an id', text({ ...good, refId: ['a'] }), ['refId']],
    ['a number for an id', text({ ...good, refId: 7 }), ['refId']],
    ['the player "."', text({ ...good, playerId: '.' }), ['playerId']],
    [
      'the player "..", whose path would name another route of the operator',
      text({ ...good, playerId: '..' }),
      ['playerId'],
    ],
    ['an unknown field', text({ ...good, admin: true }), ['admin']],
    ['many unknown fields', text({ ...good, a: 1, b: 2, c: 3 }), ['a', 'b', 'c']],
    ['a field in other letters', text({ playerid: 'a', ...good }), ['playerid']],
    ['hasOwnProperty as a field', text({ ...good, hasOwnProperty: 1 }), ['hasOwnProperty']],
    ['toString as a field', text({ ...good, toString: 1 }), ['toString']],
    [
      'a field named with NUL and a line feed',
      '{"a\\u0000\\n":1}',
      ['a??', 'amountCents', 'currency', 'playerId', 'refId'],
    ],
    ['an amount of 1e400', '{"playerId":"m","amountCents":1e400,"currency":"USD","refId":"r"}', ['amountCents']],
    ['an amount that is an object', text({ ...good, amountCents: { valueOf: 1 } }), ['amountCents']],
    ['an amount that is a list of one', text({ ...good, amountCents: [500] }), ['amountCents']],
    ['an amount that is true', text({ ...good, amountCents: true }), ['amountCents']],
    ['a currency that is a list', text({ ...good, currency: ['USD'] }), ['currency']],
    ['a currency of 10 000 characters', text({ ...good, currency: LONG }), ['currency']],
    ['a kind that nobody knows', text({ ...good, kind: 'bonus' }), ['kind']],
    ['a kind from the prototype', text({ ...good, kind: 'constructor' }), ['kind']],
    ['roundClosed as text', text({ ...good, roundClosed: 'true' }), ['roundClosed']],
    ['meta as text', text({ ...good, meta: '{}' }), ['meta']],
    ['meta as a list', text({ ...good, meta: [] }), ['meta']],
    ['meta over 4 KiB', text({ ...good, meta: { a: 'x'.repeat(4096) } }), ['meta']],
    ['meta over 4 KiB in bytes, not in characters', text({ ...good, meta: { a: '🎰'.repeat(1100) } }), ['meta']],
    ['NUL in meta', text({ ...good, meta: { a: ['\u0000'] } }), ['meta']],
    ['NUL in a key of meta', text({ ...good, meta: { 'a\u0000': 1 } }), ['meta']],
    ['half a surrogate pair in meta', withMember('"meta":{"a":"\\ud83c"}'), ['meta']],
    ['a number in meta that no double holds', withMember('"meta":{"a":123456789012345678901}'), ['meta']],
  ];

  it.each(cases)('is 422 with its name: %s', async (_what, body, fields) => {
    for (const path of ['/wallet/debit', '/wallet/credit']) expectFields(await hub.call('POST', path, body), fields);
  });

  const callback = {
    playerId: 'honest',
    amount: 5,
    currency: 'USD',
    status: 'OK',
    event: 'withdraw',
    refId: 'honest-1',
    correlationId: randomUUID(),
  };
  it.each<[string, string, string[]]>([
    ['nothing', '{}', ['amount', 'correlationId', 'currency', 'event', 'playerId', 'refId', 'status']],
    [
      'ids of 10 000 characters',
      text({ ...callback, playerId: LONG, refId: LONG, correlationId: LONG }),
      ['correlationId', 'playerId', 'refId'],
    ],
    [
      'NUL in ids',
      text({ ...callback, playerId: '\u0000', refId: 'a\u0000', correlationId: '\u0000' }),
      ['correlationId', 'playerId', 'refId'],
    ],
    [
      'NUL in words',
      text({ ...callback, status: 'OK\u0000', currency: 'US\u0000', reason: '\u0000' }),
      ['currency', 'reason', 'status'],
    ],
    ['half a surrogate pair', `${text(callback).slice(0, -1)},"reason":"\\ud83c"}`, ['reason']],
    ['an unknown event', text({ ...callback, event: 'refund' }), ['event']],
    ['an amount that is an object', text({ ...callback, amount: {} }), ['amount']],
    ['an amount that is a word', text({ ...callback, amount: 'all' }), ['amount']],
    ['an unknown field', text({ ...callback, admin: true }), ['admin']],
  ])('of a callback is 422 with its name: %s', async (_what, body, fields) => {
    expectFields(await hub.call('POST', '/webhooks/incoming', body), fields);
  });
});

describe('a header', () => {
  it.each(['Idempotency-Key', 'X-Request-Id', 'Authorization', 'Prefer'])(
    '%s with a line feed cannot split the answer',
    async (name) => {
      const answers = await rawExchange(
        hub.url,
        httpText('GET', '/health/live', [
          [name, 'a\r\nX-Injected: yes\r\nSet-Cookie: a=b'],
          ['Connection', 'close'],
        ]),
      );
      expect(answers.map(({ status }) => status)).toEqual([200]);
      expect([...answers[0]!.headers.keys()]).not.toContain('x-injected');
      expect([...answers[0]!.headers.keys()]).not.toContain('set-cookie');
    },
  );

  it('X-Request-Id that is no plain word is replaced, not repeated', async () => {
    for (const given of ['a b', '<script>', 'a'.repeat(129), '{"a":1}', 'é']) {
      const answer = await hub.call('GET', '/health', undefined, { headers: { 'x-request-id': given } });
      expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect(
      (await hub.call('GET', '/health', undefined, { headers: { 'x-request-id': 'mine-1' } })).headers.get(
        'x-request-id',
      ),
    ).toBe('mine-1');
  });

  it.each([
    ['of 256 characters', 'k'.repeat(256)],
    ['of 10 000 characters', LONG],
    ['of no characters', ''],
  ])('Idempotency-Key %s is 422', async (_what, idempotencyKey) => {
    expectFields(await debit(good, { idempotencyKey }), ['Idempotency-Key']);
  });

  it.each<[string, string, ErrorCode]>([
    ['NUL in a value', 'X-Odd: a\0b', 'malformed_request'],
    ['NUL in a name', 'X-O\0dd: a', 'malformed_request'],
    ['a control character in a value', 'X-Odd: a\x01b', 'malformed_request'],
    ['DEL in a value', 'X-Odd: a\x7fb', 'malformed_request'],
    ['a space in a name', 'X Odd: a', 'malformed_request'],
    ['a space before the colon, which proxies read differently', 'Content-Length : 5', 'malformed_request'],
    ['a line without a colon', 'X-Odd', 'malformed_request'],
    ['a bare carriage return', 'X-Odd: a\rX-Other: b', 'malformed_request'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6', 'malformed_request'],
    [
      'a length and chunks, which proxies read differently',
      'Content-Length: 5\r\nTransfer-Encoding: chunked',
      'malformed_request',
    ],
    ['a negative length', 'Content-Length: -1', 'malformed_request'],
    ['a length that is no number', 'Content-Length: 1e3', 'malformed_request'],
    ['a length beyond all counting', `Content-Length: ${'9'.repeat(30)}`, 'malformed_request'],
    ['a transfer encoding that nobody knows', 'Transfer-Encoding: chunked, identity', 'malformed_request'],
    ['20 KiB in one value', `X-Odd: ${'a'.repeat(20 * 1024)}`, 'headers_too_large'],
    ['2 000 headers', Array.from({ length: 2_000 }, (_, n) => `X-Odd-${n}: a`).join('\r\n'), 'headers_too_large'],
    ['an expectation that nobody meets', 'Expect: a-miracle', 'malformed_request'],
  ])('with %s is refused before any route', async (_what, line, code) => {
    const answers = await rawExchange(
      hub.url,
      Buffer.from(`POST /wallet/debit HTTP/1.1\r\nHost: hub\r\n${line}\r\n\r\n`, 'latin1'),
    );
    expect(answers).toHaveLength(1);
    expectProblem(answers[0]!, code);
  });
});

describe('something on the wire that is not HTTP', () => {
  it.each([
    ['garbage', 'garbage\r\n\r\n'],
    ['the hello of TLS', Buffer.from('16030100a5010000a1030354', 'hex')],
    ['the hello of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['binary noise', Buffer.from(Array.from({ length: 300 }, (_, n) => (n * 37) % 256))],
    ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['a version from the future', 'GET /health HTTP/9.9\r\nHost: hub\r\n\r\n'],
    ['a method that nobody knows', 'STEAL /wallet/debit HTTP/1.1\r\nHost: hub\r\n\r\n'],
    ['no Host', 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['a request line of 20 KiB', `GET /${'a'.repeat(20 * 1024)} HTTP/1.1\r\nHost: hub\r\n\r\n`],
  ])('is a 4xx problem and a closed connection: %s', async (_what, bytes) => {
    const answers = await rawExchange(hub.url, bytes, { end: true });
    expect(answers).toHaveLength(1);
    expectProblem(answers[0]!, answers[0]!.status === 431 ? 'headers_too_large' : 'malformed_request');
  });

  it("behind a good request does not take that request's answer away", async () => {
    const answers = await rawExchange(
      hub.url,
      Buffer.concat([
        httpText('GET', '/wallet/transactions?playerId=honest', signed('')),
        Buffer.from('garbage\r\n\r\n'),
      ]),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 400]);
    expect(answers[0]!.body.items).toHaveLength(1);
    expectProblem(answers[1]!, 'malformed_request');
  });

  it('behind 50 pipelined requests leaves each its own answer, in order', async () => {
    const requests = Array.from({ length: 50 }, (_, n) =>
      httpText('GET', n % 2 === 0 ? '/health' : `/nowhere-${n}`, []),
    );
    const answers = await rawExchange(hub.url, Buffer.concat([...requests, Buffer.from('\0\0\0\0\r\n\r\n')]));
    expect(answers.map(({ status }) => status)).toEqual([
      ...Array.from({ length: 50 }, (_, n) => (n % 2 === 0 ? 200 : 404)),
      400,
    ]);
  });

  it('gets all its answers, in order, although the client closes its half behind the last request', async () => {
    const request = (n: number) =>
      httpText(
        'GET',
        n % 3 === 0
          ? '/wallet/transactions?playerId=honest'
          : n % 3 === 1
            ? `/nowhere-${n}`
            : '/admin/failed-transactions',
        signed(''),
      );
    const statuses = Array.from({ length: 12 }, (_, n) => (n % 3 === 1 ? 404 : 200));
    const requests = statuses.map((_status, n) => request(n));
    for (const [bytes, expected] of [
      [[request(0)], [200]],
      [requests, statuses],
      [
        [...requests, httpText('POST', '/wallet/debit', [...ALLOWED, ['Content-Length', '1000']], '{"playerId":')],
        [...statuses, 400],
      ],
    ] as const) {
      const answers = await rawExchange(hub.url, Buffer.concat(bytes), { end: true });
      expect(answers.map(({ status }) => status)).toEqual(expected);
    }
  });

  it('in place of the next chunk of a body is 400, and the movement is not made', async () => {
    const head = httpText('POST', '/wallet/debit', [...ALLOWED, ['Transfer-Encoding', 'chunked']]);
    const [answer] = await rawExchange(hub.url, Buffer.concat([head, Buffer.from('5\r\n{"pla\r\nnot a length\r\n')]));
    expectProblem(answer!, 'malformed_request');
  });

  it('at the end of a body that promised more is 400 or silence, and the movement is not made', async () => {
    const body = text(good);
    const answers = await rawExchange(
      hub.url,
      httpText('POST', '/wallet/debit', [...signed(body), ['Content-Length', String(body.length + 10)]], body),
      { end: true },
    );
    expect(answers.length).toBeLessThanOrEqual(1);
    for (const answer of answers) expectProblem(answer, 'malformed_request');
  });

  it('behind a body that promised less: the body is cut there, so its signature does not fit', async () => {
    const body = text(good);
    const [answer] = await rawExchange(
      hub.url,
      httpText('POST', '/wallet/debit', [...signed(body), ['Content-Length', String(body.length - 10)]], body),
    );
    expectProblem(answer!, 'invalid_signature');
  });

  it('a client that goes away in the middle of a body leaves nothing behind', async () => {
    for (let n = 0; n < 20; n++)
      await rawExchange(
        hub.url,
        httpText('POST', '/wallet/debit', [...signed(text(good)), ['Content-Length', '1000']], '{"playerId":'),
        { end: true },
      );
    expect((await hub.call('GET', '/health/ready')).status).toBe(200);
  });
});

describe('a path', () => {
  it.each<[string, ErrorCode]>([
    ['/nowhere', 'not_found'],
    ['/wallet', 'not_found'],
    ['//wallet/debit', 'not_found'],
    ['/wallet/debit/../../admin/clear-db/x', 'not_found'],
    ['/wallet/transactions/%zz', 'malformed_request'],
    ['/wallet/transactions/%', 'malformed_request'],
    ['/wallet/transactions/%ff%fe', 'malformed_request'],
    ['/wallet/transactions/%00', 'not_found'],
    ['/wallet/transactions/..%2f..%2fadmin', 'not_found'],
    ['/wallet/transactions/not-a-uuid', 'not_found'],
    ["/wallet/transactions/'%20or%201=1--", 'not_found'],
    [`/wallet/transactions/${'a'.repeat(8_000)}`, 'not_found'],
    [`/${'a/'.repeat(4_000)}`, 'not_found'],
    [`/wallet/transactions/${'a'.repeat(17_000)}`, 'headers_too_large'],
    ['/swagger/../../package.json', 'not_found'],
    ['/swagger/%2e%2e/%2e%2e/package.json', 'not_found'],
    ['/swagger/..%2f..%2fpackage.json', 'not_found'],
  ])('GET %s is a 4xx', async (path, code) => {
    // fetch would tidy the path up before it leaves.
    const [answer] = await rawExchange(hub.url, httpText('GET', path, [...signed(''), ['Connection', 'close']]));
    expectProblem(answer!, code);
  });

  it.each<[string, ErrorCode]>([
    ['/admin/replay/operator/not-a-uuid', 'outbox_record_not_found'],
    ['/admin/replay/operator/%00', 'outbox_record_not_found'],
    ['/admin/replay/nowhere/00000000-0000-7000-8000-000000000000', 'outbox_record_not_found'],
    ['/admin/replay/__proto__/constructor', 'outbox_record_not_found'],
    [`/admin/replay/rgs/${LONG}`, 'outbox_record_not_found'],
    ['/admin/destinations/%00/resume', 'not_found'],
    ['/admin/destinations/nobody/resume', 'not_found'],
    ["/admin/destinations/'; drop table partner; --/resume", 'not_found'],
  ])('POST %s is a 4xx', async (path, code) => {
    const [answer] = await rawExchange(
      hub.url,
      httpText('POST', path.replaceAll(' ', '%20'), [...signed(''), ['Connection', 'close']]),
    );
    expectProblem(answer!, code);
  });

  it('asked for with a method that it does not have is 405 and says which it has, and HEAD says no more than it must', async () => {
    for (const route of routesOf(hub.app)) {
      const answersTo = ({ path }: { path: string }) =>
        new RegExp(`^${path.replace(/:[^/]+/g, '[^/]+')}$`).test(callablePath(route));
      const methods = new Set(
        routesOf(hub.app)
          .filter(answersTo)
          .flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method])),
      );
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        if (methods.has(method)) continue;
        // A stranger may know it: the methods stand in the public document.
        const answer = await withMethod(method, callablePath(route));
        expectProblem(answer, 'method_not_allowed');
        expect(answer.headers.get('allow')).toBe([...methods].sort().join(', '));
      }
    }
    const head = await hub.call('HEAD', '/wallet/transactions?playerId=honest');
    expect([head.status, head.text]).toEqual([200, '']);
    expect((await hub.call('HEAD', '/wallet/debit')).status).toBe(405);
  });

  it.each(['PROPFIND', 'TRACE', 'LOCK', 'M-SEARCH'])('asked for with %s is 405', async (method) => {
    expectProblem(await withMethod(method, '/wallet/debit'), 'method_not_allowed');
  });

  it.each(['PUT', 'PROPFIND', 'OPTIONS'])('that nobody has stays 404 for %s', async (method) => {
    expectProblem(await withMethod(method, '/wallet/nothing'), 'not_found');
  });

  const spellings: [string, (path: string) => string][] = [
    ['in capitals', (path) => path.toUpperCase()],
    ['with one other letter', (path) => path.replace(/[a-z]/, (letter) => letter.toUpperCase())],
    ['with a slash at the end', (path) => `${path}/`],
    ['with two slashes in front', (path) => `/${path}`],
    ['with two slashes inside', (path) => path.replace(/(.)\//, '$1//')],
    ['with an escaped slash', (path) => `/${path.slice(1).replaceAll('/', '%2f')}`],
    ['with an escaped letter', (path) => path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`)],
    ['with a dot segment', (path) => `/.${path}`],
    ['with two dots', (path) => `/x/..${path}`],
    ['with escaped dots', (path) => `/x/%2e%2e${path}`],
    ['with a backslash', (path) => path.replaceAll('/', '\\')],
    ['with a backslash in front', (path) => `/\\${path.slice(1)}`],
    ['with a semicolon', (path) => `${path};a=b`],
    ['with a dot at the end', (path) => `${path}.`],
    ['with an escaped blank at the end', (path) => `${path}%20`],
    ['with NUL at the end', (path) => `${path}%00`],
    ['with "#"', (path) => `${path}#`],
    ['with a backslash and "#"', (path) => `${path.replace(/(.)\//, '$1\\')}#`],
    ['with letters above ASCII', (path) => `${path}\u00a0`],
  ];
  it.each(spellings)('is compared letter by letter: %s it is no route of ours', async (_what, spell) => {
    const routes = routesOf(hub.app);
    const paths = [
      ...new Set(
        routes.filter(({ path }) => !path.includes(':') && !path.startsWith('/swagger')).map(({ path }) => path),
      ),
    ];
    expect(paths).toEqual(expect.arrayContaining(['/admin/failed-transactions', '/metrics', '/wallet/debit']));
    for (const path of paths) {
      if (spell(path) === path) continue;
      const { method } = routes.find((route) => route.path === path)!;
      const answer = await withMethod(method, spell(path));
      // 405: it names something below a route with a parameter, which has other methods.
      expect({ path: spell(path), refused: [400, 404, 405].includes(answer.status) }).toEqual({
        path: spell(path),
        refused: true,
      });
    }
  });

  it('may be written in the absolute form, as RFC 9112 has it, and is the same path then', async () => {
    expect((await withMethod('GET', 'http://hub/health')).status).toBe(200);
    expect((await withMethod('GET', 'http://hub/wallet/transactions?playerId=honest')).body.items).toHaveLength(1);
    expectProblem(await withMethod('GET', 'http://hub/HEALTH'), 'not_found');
    expectProblem(await withMethod('GET', 'http://hub\\health'), 'malformed_request');
  });
});

describe('a query', () => {
  const lists = ['/webhooks/outbox?', '/wallet/transactions?playerId=honest&'];

  it.each([
    ['limit', 'limit=0'],
    ['limit', 'limit=-1'],
    ['limit', 'limit=501'],
    ['limit', 'limit=1e9'],
    ['limit', 'limit=NaN'],
    ['limit', 'limit=Infinity'],
    ['limit', 'limit=1.5'],
    ['limit', 'limit='],
    ['limit', 'limit=ten'],
    ['limit', `limit=${'9'.repeat(400)}`],
    ['limit', 'limit=1&limit=2'],
    ['cursor', 'cursor=1'],
    ['cursor', 'cursor='],
    ['cursor', 'cursor=%00'],
    ['cursor', `cursor=${LONG}`],
    ['cursor', "cursor=00000000-0000-7000-8000-000000000000'--"],
    ['cursor', 'cursor=00000000-0000-7000-8000-000000000000&cursor=00000000-0000-7000-8000-000000000001'],
    ['admin', 'admin=true'],
    ['limit[$gt]', 'limit[$gt]=1'],
    ['__proto__', '__proto__=1'],
    ['constructor', 'constructor=1'],
    ['hasOwnProperty', 'hasOwnProperty=1'],
  ])('with a bad %s is 422 with its name: %s', async (field, query) => {
    for (const list of lists) expectFields(await hub.call('GET', list + query), [field]);
  });

  it.each([
    ['queue', '/webhooks/outbox?queue=nowhere'],
    ['queue', '/webhooks/outbox?queue=rgs&queue=operator'],
    ['queue', '/webhooks/outbox?queue=constructor'],
    ['status', '/webhooks/outbox?status=SENT'],
    ['playerId', '/wallet/transactions?playerId=a&playerId=b'],
    ['playerId', '/wallet/transactions?playerId='],
    ['playerId', `/wallet/transactions?playerId=${LONG}`],
    ['refId', '/wallet/transactions?refId=%00'],
    ['refId', '/wallet/transactions?refId=a%0d%0aX-Admin:%20true'],
    ['roundId', '/wallet/transactions?roundId=a&roundId=a'],
    ['correlationId', '/wallet/transactions?correlationId=not-a-uuid'],
    ['refId', '/wallet/transactions'],
    ['refId', '/wallet/transactions?limit=5'],
  ])('with a bad %s is 422 with its name: %s', async (field, path) => {
    expectFields(await hub.call('GET', path), [field]);
  });

  it.each(['%ff%fe', '%E0%A4%A', '%zz', "' or 1=1 --", '%25', '\\', '%F0%9F%8E%B0'])(
    'for an id such as %s finds nothing and harms nothing',
    async (id) => {
      const answer = await hub.call('GET', `/wallet/transactions?refId=${id}`);
      expect([answer.status, answer.body]).toEqual([200, { items: [], nextCursor: null }]);
    },
  );

  it('with 5 000 parameters is a 4xx', async () => {
    const answer = await hub.call(
      'GET',
      `/webhooks/outbox?${Array.from({ length: 2_000 }, (_, n) => `p${n}=1`).join('&')}`,
    );
    expectProblem(answer, 'validation_failed');
  });

  it('with a cursor of another list or of nothing is an empty page, not an error', async () => {
    const answer = await hub.call('GET', '/webhooks/outbox?cursor=00000000-0000-7000-8000-000000000000');
    expect([answer.status, answer.body]).toEqual([200, []]);
  });
});

it('a body on a route that takes none is ignored, however broken', async () => {
  expect(
    (await hub.call('POST', '/admin/replay/operator/not-a-uuid', '{{{', { contentType: 'application/json' })).status,
  ).toBe(404);
  expectProblem(await hub.call('POST', '/admin/replay/operator/not-a-uuid', 'x'.repeat(100_000)), 'payload_too_large');
});

it.each([
  ['refuses with NUL in its reason', { kind: 'refuse', reason: 'a\u0000b' }],
  ['refuses with half a surrogate pair in its reason', { kind: 'refuse', reason: '\ud83c' }],
  ['refuses with a reason that is cut in the middle of a pair', { kind: 'refuse', reason: `${'x'.repeat(199)}🎰` }],
  ['refuses with a reason of 10 000 characters', { kind: 'refuse', reason: LONG }],
])('an operator that %s does not keep the movement from being settled', async (_what, fault) => {
  await hub.operatorFault({ ...fault, next: 1 });
  hub.operator.settings.callbacks = false;
  const { body } = await debit({ ...good, refId: randomUUID() });
  const settled = await hub.reaches(body.transactionId, 'rejected');
  expect(settled.reason.length).toBeLessThan(300);
  await hub.quiet();
  before = await rowCounts();
});

describe('a balance', () => {
  const balances: [string, unknown][] = [
    ['beyond all counting', '9'.repeat(30)],
    ['just beyond what JSON clients read exactly', '90071992547409.92'],
    ['finer than the currency', '1.234'],
  ];

  it.each([
    ...balances,
    ['with NUL', '1\u0000'],
    ['that is a word', 'plenty'],
    ['that is an object', {}],
    ['of 10 000 digits', '1'.repeat(LONG.length)],
  ])("%s in an operator's answer is left out, and the movement is settled", async (_what, balance) => {
    await hub.operatorFault({ kind: 'error_body', body: { status: 'OK', balance }, next: 1 });
    const { body } = await debit({ ...good, refId: randomUUID() });
    expect(await hub.reaches(body.transactionId, 'confirmed')).toMatchObject({ balanceCents: null });
    await hub.quiet();
    before = await rowCounts();
  });

  it.each(balances)('%s in a callback is left out, and the movement is settled', async (_what, balance) => {
    await hub.operatorFault({ kind: 'pending', next: 1 });
    hub.operator.settings.callbacks = false;
    const refId = randomUUID();
    const { body } = await debit({ ...good, refId });
    await waitFor('the operator has the movement', async () =>
      (await hub.operatorCalls()).some((call) => call.reference === refId && call.status === 202),
    );
    const callback = {
      playerId: good.playerId,
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      refId,
      correlationId: body.correlationId,
      balance,
    };
    expect((await hub.callback(callback)).body).toEqual({ status: 'accepted' });
    expect(await hub.reaches(body.transactionId, 'confirmed')).toMatchObject({ balanceCents: null });
    await hub.quiet();
    before = await rowCounts();
  });
});

/** Headers of somebody who may call and signs, in the order in which a client writes them. */
function signed(body: string): [string, string][] {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  return [...ALLOWED, ['X-Timestamp', timestamp], ['X-Signature', signatureOf('change_secret', timestamp, body)]];
}

async function withMethod(method: string, path: string): Promise<RawAnswer> {
  const [answer] = await rawExchange(hub.url, httpText(method, path, [...signed(''), ['Connection', 'close']]));
  return answer!;
}

/** 422 that names exactly these fields. */
function expectFields(answer: HttpAnswer, fields: readonly string[]): void {
  expectProblem(answer, 'validation_failed');
  const named = new Set((answer.body.errors as { field: string }[]).map(({ field }) => field));
  expect([...named].sort()).toEqual([...fields].sort());
  for (const { message } of answer.body.errors as { message: string }[]) expect(message.length).toBeLessThan(400);
  expectNoLeak(answer.text);
}
