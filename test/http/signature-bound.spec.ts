import { createHash, randomUUID } from 'node:crypto';
import { type IncomingHttpHeaders, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import { type BoundParts, boundHeader, boundSignatureOf } from '../support/hub/bound-signature';
import { expectProblem } from '../support/hub/problem';
import { type HttpAnswer, type RequestOptions, signatureOf } from '../support/hub/signed-request';
import { TestHub, movement } from '../support/hub/test-hub';

const SECRET = 'change_secret';
const HOST = 'hub.example';
const nowSeconds = () => Math.floor(Date.now() / 1000).toString();

let hub: TestHub;
let replica: TestHub;
beforeAll(async () => {
  // As behind a balancer that is known under another name and path.
  hub = await TestHub.start({ env: { PUBLIC_BASE_URL: `https://${HOST}/casino` } });
  replica = await TestHub.start({
    database: hub.database,
    operator: hub.operator,
    rgs: hub.rgs,
    env: { PUBLIC_BASE_URL: `https://${HOST}/casino/`, ROLE: 'api' },
  });
});
afterAll(async () => {
  await replica.stop();
  await hub.stop();
});

interface BoundCall {
  readonly method?: string;
  readonly path?: string;
  readonly body?: string;
  readonly idempotencyKey?: string | null;
  /** What is signed in place of the truth. */
  readonly signed?: Partial<BoundParts>;
  readonly secret?: string;
  readonly kid?: string;
  readonly header?: string;
  readonly options?: RequestOptions;
}

const newBody = () => JSON.stringify(movement({ playerId: 'bound' }));

/** A request that is right in everything but what the test changes, with X-Signature-V2 alone. */
function call({
  method = 'POST',
  path = '/wallet/debit',
  body = newBody(),
  idempotencyKey = randomUUID(),
  signed = {},
  secret = SECRET,
  kid,
  header,
  options,
}: BoundCall = {}): Promise<HttpAnswer> {
  const sent = method === 'GET' ? undefined : body;
  const parts: BoundParts = {
    timestamp: nowSeconds(),
    method,
    host: HOST,
    target: `/casino${path}`,
    idempotencyKey: method === 'GET' ? '' : (idempotencyKey ?? ''),
    body: sent ?? '',
    ...signed,
  };
  return hub.call(method, path, sent, {
    timestamp: null,
    signature: null,
    idempotencyKey,
    ...options,
    headers: { 'x-signature-v2': header ?? boundHeader(secret, parts, kid), ...options?.headers },
  });
}

describe('version 2 of the signature', () => {
  it('has the vectors that stand in the docs', () => {
    const about = { timestamp: '1795000000', host: HOST };
    const debit = {
      ...about,
      method: 'POST',
      target: '/wallet/debit',
      idempotencyKey: 'bet-1001',
      body: '{"playerId":"player-1","amountCents":500,"currency":"USD","refId":"bet-1001"}',
    };
    expect(boundSignatureOf(SECRET, debit)).toBe('0be42dd2e8fd7dd57ed9155c060035f3d3ca88968dc84c30b18c38caa553eeb7');
    expect(boundSignatureOf(SECRET, { ...about, method: 'GET', target: '/wallet/transactions?refId=bet-1001' })).toBe(
      '3ed77d0cd2b3e0823b1454cbde17e01123cfa4e20d64751a85614482f9ea8482',
    );
  });

  it('is enough by itself, for movements, callbacks, reads and routes without a body', async () => {
    expect((await call()).status).toBe(200);
    expect((await call({ idempotencyKey: null })).status).toBe(200);
    expect(
      (await call({ method: 'GET', path: '/wallet/transactions?playerId=bound&limit=1' })).body.items,
    ).toHaveLength(1);
    const round = newBody().replace('{', '{"roundId":"bound-round",');
    expect((await call({ body: round })).status).toBe(200);
    expect((await call({ path: '/rounds/bound-round/close', body: '' })).status).toBe(200);
    const callback = JSON.stringify({
      playerId: 'a',
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      refId: 'nobody',
      correlationId: 'nobody',
    });
    expectProblem(await call({ path: '/webhooks/incoming', body: callback }), 'unknown_reference');
  });

  it('may stand beside the old one, and then both must be right', async () => {
    const body = newBody();
    const old = { timestamp: nowSeconds(), signature: signatureOf(SECRET, nowSeconds(), body) };
    expect((await call({ body, options: old })).status).toBe(200);
    expectProblem(await call({ options: { ...old, signature: '0'.repeat(64) } }), 'invalid_signature');
    expectProblem(await call({ options: { timestamp: nowSeconds() } }), 'invalid_signature');
    const other = newBody();
    expectProblem(
      await call({
        body: other,
        secret: 'another',
        options: { timestamp: nowSeconds(), signature: signatureOf(SECRET, nowSeconds(), other) },
      }),
      'invalid_signature',
    );
  });

  it.each<[string, BoundCall]>([
    ['method', { signed: { method: 'PUT' } }],
    ['host', { signed: { host: 'staging.example' } }],
    ['path', { signed: { target: '/casino/wallet/credit' } }],
    ['path without that of the public address', { signed: { target: '/wallet/debit' } }],
    [
      'query',
      {
        method: 'GET',
        path: '/wallet/transactions?playerId=bound',
        signed: { target: '/casino/wallet/transactions?playerId=other' },
      },
    ],
    [
      'order of the query',
      {
        method: 'GET',
        path: '/wallet/transactions?playerId=bound&limit=1',
        signed: { target: '/casino/wallet/transactions?limit=1&playerId=bound' },
      },
    ],
    ['Idempotency-Key', { signed: { idempotencyKey: 'another' } }],
    ['Idempotency-Key that was left out', { idempotencyKey: null, signed: { idempotencyKey: 'taken-off' } }],
    ['Idempotency-Key that was put in', { signed: { idempotencyKey: '' } }],
    ['operator', { signed: { operator: 'another' } }],
    ['operator that was put in', { options: { headers: { 'x-operator': 'another' } } }],
    ['body', { signed: { body: '{}' } }],
    ['secret', { secret: 'another' }],
  ])('is bound to the %s', async (_what, request) => {
    const answer = await call(request);
    expectProblem(answer, 'invalid_signature');
    expect(answer.body.errors[0]).toEqual({
      field: 'X-Signature-V2',
      message: expect.stringContaining('v2 is not the HMAC of what came'),
    });
  });

  it.each<[string, string | undefined, string]>([
    ['the name of no key', 'nobody', 'names a key'],
    ['no name', '', 'must be "t='],
  ])('needs the name of a live key: %s', async (_what, kid, message) => {
    const answer = await call({ kid: kid ?? 'env' });
    expectProblem(answer, 'invalid_signature');
    expect(answer.body.errors[0].message).toContain(message);
  });

  it.each([
    '',
    'x',
    't=1',
    `v2=${'0'.repeat(64)}`,
    `t=${nowSeconds()},v2=${'0'.repeat(64)}`,
    `t=${nowSeconds()},kid=env,v2=${'A'.repeat(64)}`,
    `t=${nowSeconds()},kid=env,v2=${'0'.repeat(63)}`,
    `t= ${nowSeconds()},kid=env,v2=${'0'.repeat(64)}`,
    'x'.repeat(10_000),
  ])('of another form is refused with the right one: %.30s', async (header) => {
    const answer = await call({ header });
    expectProblem(answer, 'invalid_signature');
    expect(answer.body.errors[0].message).toMatch(
      /must be "t=<unix seconds>,kid=<name of the key>,v2=<64 lower-case hex digits>"/,
    );
  });

  it.each([-301, 301, -86_400])("made %i seconds from the hub's clock is a skew", async (offset) => {
    const answer = await call({ signed: { timestamp: String(Number(nowSeconds()) + offset) } });
    expectProblem(answer, 'timestamp_skew');
    expect(answer.body.errors[0].field).toBe('X-Signature-V2');
  });

  it('names its key, so a rotation has no moment at which both sides must change', async () => {
    await hub.database.query(
      `insert into partner_credential (partner_id, kind, label, secret) select id, 'signing', 'autumn key, 2026', 'the-new-secret' from partner where code = 'rgs'`,
    );
    await hub.app.get(PartnerDirectory).refresh();
    try {
      expect((await call({ secret: 'the-new-secret', kid: 'autumn%20key%2C%202026' })).status).toBe(200);
      expect((await call()).status).toBe(200);
      expectProblem(await call({ secret: 'the-new-secret' }), 'invalid_signature');
    } finally {
      await hub.database.query(`delete from partner_credential where secret = 'the-new-secret'`);
      await hub.app.get(PartnerDirectory).refresh();
    }
  });

  it('can be demanded of a partner, on every signed route', async () => {
    await hub.database.query(`update partner set signature_version_required = 2`);
    await hub.app.get(PartnerDirectory).refresh();
    try {
      for (const [method, path] of [
        ['POST', '/wallet/debit'],
        ['POST', '/wallet/credit'],
        ['POST', '/wallet/rollback'],
        ['GET', '/wallet/transactions?playerId=a'],
        ['GET', '/rounds/a'],
        ['POST', '/rounds/a/close'],
        ['POST', '/webhooks/incoming'],
      ] as const) {
        const answer = await hub.call(method, path, method === 'GET' ? undefined : '{}');
        expectProblem(answer, 'invalid_signature');
        expect(answer.body.errors[0]).toEqual({
          field: 'X-Signature-V2',
          message: 'X-Signature-V2 is missing; this partner must send version 2 of the signature',
        });
      }
      expect((await call()).status).toBe(200);
    } finally {
      await hub.database.query(`update partner set signature_version_required = 1`);
      await hub.app.get(PartnerDirectory).refresh();
    }
    const demanding = await TestHub.start({
      env: { ROLE: 'api', SIGNATURE_VERSION_REQUIRED: '2', SIGNATURE_REQUIRED: 'false' },
    });
    try {
      expectProblem(await demanding.debit(), 'invalid_signature');
      expectProblem(await demanding.callback({}), 'validation_failed');
      // Without PUBLIC_BASE_URL the host is the one that the request names.
      const body = newBody();
      const parts = {
        timestamp: nowSeconds(),
        method: 'POST',
        host: new URL(demanding.url).host,
        target: '/wallet/debit',
        body,
      };
      expect(
        (
          await demanding.call('POST', '/wallet/debit', body, {
            timestamp: null,
            signature: null,
            idempotencyKey: null,
            headers: { 'x-signature-v2': boundHeader(SECRET, parts) },
          })
        ).status,
      ).toBe(200);
    } finally {
      await demanding.stop();
    }
  });

  it('goes out with every call, bound to where it goes', async () => {
    const received: { method: string; target: string; headers: IncomingHttpHeaders; body: string }[] = [];
    const partner = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        received.push({ method: request.method!, target: request.url!, headers: request.headers, body });
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(request.method === 'GET' ? '[]' : '{"status":"OK"}');
      });
    });
    await new Promise<void>((resolve) => partner.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(partner.address() as AddressInfo).port}`;
    const own = await TestHub.start({
      env: { OPERATOR_BASE_URL: `${url}/wallet api/`, RGS_WEBHOOK_URL: `${url}/hooks` },
    });
    try {
      const answer = await own.debit({ playerId: 'wide player' });
      await own.reaches(answer.body.transactionId, 'confirmed');
      await own.drained();
      expect((await own.call('GET', '/reconciliation_data')).status).toBe(200);
      const targets = received.map(({ method, target }) => `${method} ${target.replace(/\?.*/, '')}`);
      expect(new Set(targets)).toEqual(
        new Set([
          'POST /wallet%20api/v2/players/wide%20player/withdraw',
          'POST /hooks',
          'GET /wallet%20api/v2/transactions',
          'GET /hooks',
        ]),
      );
      for (const { method, target, headers, body } of received) {
        const timestamp = String(headers['x-timestamp']);
        expect(headers['x-signature']).toBe(signatureOf(SECRET, timestamp, body));
        expect(headers['x-signature-v2']).toBe(
          boundHeader(SECRET, {
            timestamp,
            method,
            host: headers.host!,
            target,
            idempotencyKey: String(headers['idempotency-key'] ?? ''),
            body,
          }),
        );
      }
    } finally {
      await own.stop();
      partner.close();
    }
  });
});

describe('a captured request whose signature is of version 1', () => {
  const post = (at: TestHub, path: string, body: string, timestamp: string, idempotencyKey: string | null = null) =>
    at.call('POST', path, body, { timestamp, signature: signatureOf(SECRET, timestamp, body), idempotencyKey });

  it.each([
    ['a bet', '/wallet/debit', '/wallet/credit'],
    ['a win', '/wallet/credit', '/wallet/debit'],
  ])('of %s is no good on the other route, at no replica, with no key', async (_what, route, other) => {
    const body = newBody();
    const at = nowSeconds();
    expect((await post(hub, route, body, at, randomUUID())).status).toBe(200);
    for (const where of [hub, replica]) {
      for (const key of [null, randomUUID(), `again-${route}`]) {
        const answer = await post(where, other, body, at, key);
        expectProblem(answer, 'signature_reused');
        expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
      }
    }
    expect((await hub.call('GET', `/wallet/transactions?refId=${JSON.parse(body).refId}`)).body.items).toHaveLength(1);
    // The key of what was refused is free, and the right route still knows its own request.
    const repeat = await post(replica, route, body, at, `again-${route}`);
    expect([repeat.status, repeat.headers.get('idempotent-replayed')]).toEqual([200, 'true']);
  });

  it('is refused also when it comes in the same moment as the one that it was taken from', async () => {
    for (let round = 0; round < 10; round += 1) {
      const body = newBody();
      const at = nowSeconds();
      const answers = await Promise.all([
        post(hub, '/wallet/debit', body, at),
        post(hub, '/wallet/credit', body, at),
        post(hub, '/wallet/debit', body, at),
        post(hub, '/wallet/credit', body, at),
      ]);
      expect(answers.filter(({ status }) => status === 401).map((answer) => answer.body.code)).toEqual([
        'signature_reused',
        'signature_reused',
      ]);
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(2);
    }
  });

  it('is refused when only the bound signature was taken off', async () => {
    const body = newBody();
    const at = nowSeconds();
    expect((await call({ body, options: { timestamp: at, signature: signatureOf(SECRET, at, body) } })).status).toBe(
      200,
    );
    expectProblem(await post(hub, '/wallet/credit', body, at), 'signature_reused');
  });

  it('keeps no honest even-money win out, which has the bytes of its bet but is signed at another time', async () => {
    const body = newBody();
    const at = Number(nowSeconds());
    expect((await post(hub, '/wallet/debit', body, String(at - 1))).status).toBe(200);
    expect((await post(hub, '/wallet/credit', body, String(at))).status).toBe(200);
    // Nor one that is signed by version 2 in the very second.
    const bound = newBody();
    expect((await post(hub, '/wallet/debit', bound, String(at))).status).toBe(200);
    expect((await call({ path: '/wallet/credit', body: bound, idempotencyKey: null })).status).toBe(200);
  });

  it('of a rollback, a callback, a webhook or a call to an operator fits no route that moves money', async () => {
    const bodies = [
      { playerId: 'a', refId: 'rb-1', originalRefId: 'bet-1' },
      {
        playerId: 'a',
        amount: 5,
        currency: 'USD',
        status: 'OK',
        event: 'withdraw',
        refId: 'x',
        correlationId: randomUUID(),
      },
      {
        playerId: 'a',
        amountCents: 500,
        currency: 'USD',
        status: 'OK',
        event: 'debit',
        refId: 'x',
        correlationId: randomUUID(),
        transactionId: randomUUID(),
        state: 'confirmed',
        roundId: null,
        balanceCents: null,
        reason: null,
      },
      { amount: 5, currency: 'USD', reference: 'x', correlationId: randomUUID() },
    ];
    for (const [index, body] of bodies.entries()) {
      for (const path of ['/wallet/debit', '/wallet/credit', '/wallet/rollback', '/webhooks/incoming']) {
        if ((index === 0 && path === '/wallet/rollback') || (index === 1 && path === '/webhooks/incoming')) continue;
        expectProblem(await hub.call('POST', path, body), 'validation_failed');
      }
    }
  });
});

describe('a refusal of a signature', () => {
  const body = '{"playerId":"a","amountCents":500,"currency":"USD","refId":"hints"}';
  const at = nowSeconds();
  const good = signatureOf(SECRET, at, body);
  const fact = {
    field: 'body',
    message: `${body.length} bytes came, SHA-256 ${createHash('sha256').update(body).digest('hex')}`,
  };

  it.each<[string, RequestOptions, string, RegExp]>([
    ['a missing signature', { signature: null }, 'X-Signature', /is missing/],
    ['a missing timestamp', { timestamp: null, signature: good }, 'X-Timestamp', /is missing/],
    ['an empty one', { signature: '' }, 'X-Signature', /is empty/],
    ['base64', { signature: Buffer.from(good, 'hex').toString('base64') }, 'X-Signature', /looks like base64/],
    ['base64url', { signature: Buffer.from(good, 'hex').toString('base64url') }, 'X-Signature', /looks like base64/],
    ['a prefix', { signature: `sha256=${good}` }, 'X-Signature', /has a prefix/],
    ['another prefix', { signature: `v1=${good}` }, 'X-Signature', /has a prefix/],
    ['upper case', { signature: good.toUpperCase() }, 'X-Signature', /has upper-case letters/],
    ['too few digits', { signature: good.slice(2) }, 'X-Signature', /has 62 hex digits/],
    ['no hex at all', { signature: 'z'.repeat(64) }, 'X-Signature', /is not hex/],
    [
      'another secret',
      { signature: signatureOf('another', at, body) },
      'X-Signature',
      /has the right form but is not HMAC/,
    ],
    [
      'a dot for the colon',
      { signature: signatureOf(SECRET, '', `${at}.${body}`) },
      'X-Signature',
      /has the right form but is not HMAC/,
    ],
    [
      'milliseconds',
      { timestamp: `${at}000` },
      'X-Timestamp',
      /looks like milliseconds; unix seconds are expected; the hub's clock says \d{10}$/,
    ],
    ['a date', { timestamp: new Date().toISOString() }, 'X-Timestamp', /looks like a date/],
    [
      'an old time',
      { timestamp: String(Number(at) - 1000) },
      'X-Timestamp',
      /is 1\d{3} s behind the hub's clock.*at most 300 s/,
    ],
    ['a time ahead', { timestamp: String(Number(at) + 5000) }, 'X-Timestamp', /is \d{4} s ahead of the hub's clock/],
  ])('says what can be seen of it: %s', async (_what, options, field, message) => {
    const answer = await hub.call('POST', '/wallet/debit', body, { timestamp: at, ...options });
    expect(answer.status).toBe(401);
    expect(['invalid signature', 'timestamp skew']).toContain(answer.body.detail);
    expect(answer.body.errors).toEqual([{ field, message: expect.stringMatching(message) }, fact]);
  });

  it('is the same for every signature of the right form: no hint depends on the secret', async () => {
    const texts = new Set<string>();
    for (const signature of [
      signatureOf('another', at, body),
      '0'.repeat(64),
      `${good.slice(0, 63)}${good.endsWith('0') ? '1' : '0'}`,
      signatureOf(SECRET, at, `${body} `),
      signatureOf(SECRET, '', body),
    ])
      texts.add((await hub.call('POST', '/wallet/debit', body, { timestamp: at, signature })).text);
    expect(texts.size).toBe(1);
  });
});
