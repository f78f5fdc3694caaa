import { Webhook } from 'standardwebhooks';
import { startMockOperator } from '../../mocks/operator/start';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import { ManualClock } from '../support/manual-clock';
import { expectProblem } from '../support/hub/problem';
import { httpText, rawExchange } from '../support/raw-socket';
import { type RequestOptions, signatureOf } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';

/** The default, which the helpers of TestHub sign with. */
const RGS_SECRET = 'change_secret';
const OPERATOR_SECRET = 'secret-of-the-operator';
/** Whole seconds, so that the edge of the skew is exact. */
const NOW_SECONDS = Math.floor(Date.now() / 1000);

let hub: TestHub;
let operator: Awaited<ReturnType<typeof startMockOperator>>;
let bodies = 0;

beforeAll(async () => {
  operator = await startMockOperator({ hmacSecret: OPERATOR_SECRET });
  hub = await TestHub.start({
    operator,
    clock: new ManualClock(NOW_SECONDS * 1000),
    env: { OPERATOR_HMAC_SECRET: OPERATOR_SECRET },
  });
  operator.settings.hubUrl = hub.url;
});
afterAll(async () => {
  await hub.stop();
  await operator.close();
});

/** Must never be stored: no test sends it with a good signature. */
const BAD_BODY = '{"playerId":"a","amountCents":500,"currency":"USD","refId":"bad-1"}';
const now = (offsetSeconds = 0) => String(NOW_SECONDS + offsetSeconds);
const freshBody = () => `{"playerId":"signer","amountCents":100,"currency":"USD","refId":"sig-${++bodies}"}`;

/** A debit that is right in everything but what the test changes. */
function debit(body: string | Buffer = freshBody(), options: RequestOptions = {}) {
  return hub.call('POST', '/wallet/debit', body, { secret: RGS_SECRET, timestamp: now(), ...options });
}

describe('the signature of a request', () => {
  it.each([
    ['compact', '{"playerId":"a","amountCents":500,"currency":"USD","refId":"raw-1"}'],
    [
      'with odd spacing and a line feed at the end',
      '  {\r\n\t"playerId" : "a" ,"amountCents":  500,\n"currency":"USD","refId":"raw-2"  }\n',
    ],
    ['with keys in another order', '{"refId":"raw-3","currency":"USD","amountCents":500,"playerId":"a"}'],
    [
      'with 500.0, which a JSON writer would make 500',
      '{"playerId":"a","amountCents":500.0,"currency":"USD","refId":"raw-4"}',
    ],
    ['with 5e2', '{"playerId":"a","amountCents":5e2,"currency":"USD","refId":"raw-5"}'],
    ['with Unicode as it is', '{"playerId":"Zoë 🎰","amountCents":500,"currency":"USD","refId":"raw-6"}'],
    [
      'with Unicode escaped',
      '{"playerId":"Zo\\u00eb \\ud83c\\udfb0","amountCents":500,"currency":"USD","refId":"raw-7"}',
    ],
  ])('is over the bytes as sent: %s', async (_what, body) => {
    const answer = await debit(body);
    expect(answer.status).toBe(200);
    expect(await hub.transaction(answer.body.transactionId)).toMatchObject({
      amountCents: 500,
      playerId: body.includes('Zo') ? 'Zoë 🎰' : 'a',
    });
  });

  it('is over the bytes and not over their meaning: the same object written otherwise is refused', async () => {
    const signature = signatureOf(
      RGS_SECRET,
      now(),
      '{"playerId":"a","amountCents":500,"currency":"USD","refId":"raw-8"}',
    );
    for (const body of [
      '{"playerId":"a","amountCents":500.0,"currency":"USD","refId":"raw-8"}',
      '{"playerId":"a", "amountCents":500,"currency":"USD","refId":"raw-8"}',
      '{"amountCents":500,"playerId":"a","currency":"USD","refId":"raw-8"}',
    ])
      expectProblem(await debit(body, { signature }), 'invalid_signature');
    await nothingStored('raw-8');
  });

  const good = signatureOf(RGS_SECRET, now(), BAD_BODY);
  it.each<[string, string, RequestOptions]>([
    [
      'a body with one digit more',
      '{"playerId":"a","amountCents":5000,"currency":"USD","refId":"bad-1"}',
      { signature: good },
    ],
    [
      'a body for another player',
      '{"playerId":"b","amountCents":500,"currency":"USD","refId":"bad-1"}',
      { signature: good },
    ],
    [
      'a body with a byte behind its end',
      '{"playerId":"a","amountCents":500,"currency":"USD","refId":"bad-1"} ',
      { signature: good },
    ],
    ['an empty body', '', { signature: good }],
    ['a timestamp one second later', BAD_BODY, { signature: good, timestamp: now(1) }],
    ['a timestamp written with a leading zero', BAD_BODY, { signature: good, timestamp: `0${now()}` }],
    ['one digit changed', BAD_BODY, { signature: (good.startsWith('0') ? '1' : '0') + good.slice(1) }],
    ['the secret of the operator', BAD_BODY, { secret: OPERATOR_SECRET }],
    ['an empty secret', BAD_BODY, { secret: '' }],
    ['upper-case hex', BAD_BODY, { signature: good.toUpperCase() }],
    ['63 digits', BAD_BODY, { signature: good.slice(1) }],
    ['65 digits', BAD_BODY, { signature: `${good}0` }],
    ['a prefix as of other products', BAD_BODY, { signature: `sha256=${good}` }],
    ['letters that are not hex', BAD_BODY, { signature: 'z'.repeat(64) }],
    ['bytes above ASCII', BAD_BODY, { signature: 'é'.repeat(64) }],
    ['an empty signature', BAD_BODY, { signature: '' }],
    ['10 000 digits', BAD_BODY, { signature: 'a'.repeat(10_000) }],
    ['no signature', BAD_BODY, { signature: null }],
    ['no timestamp', BAD_BODY, { timestamp: null }],
    ['neither', BAD_BODY, { timestamp: null, signature: null }],
  ])('is refused: %s', async (_what, body, options) => {
    const answer = await debit(body, options);
    expectProblem(answer, 'invalid_signature');
    expect(answer.body.detail).toBe('invalid signature');
    await nothingStored('bad-1');
  });

  it.each([
    ['letters', 'yesterday'],
    ['a date', new Date(NOW_SECONDS * 1000).toISOString()],
    ['a fraction', `${NOW_SECONDS}.5`],
    ['a sign', `-${NOW_SECONDS}`],
    ['an exponent', '1e9'],
    ['hexadecimal', `0x${NOW_SECONDS.toString(16)}`],
    ['milliseconds', String(NOW_SECONDS * 1000)],
    ['400 digits', '9'.repeat(400)],
    ['not a number', 'NaN'],
    ['nothing', ''],
    ['zero', '0'],
  ])('with a timestamp of %s is a skew, never a 500', async (_what, timestamp) => {
    const answer = await debit(BAD_BODY, { timestamp });
    expectProblem(answer, 'timestamp_skew');
    expect(answer.body.detail).toBe('timestamp skew');
    await nothingStored('bad-1');
  });

  it.each([
    [0, 200],
    [300, 200],
    [-300, 200],
    [301, 401],
    [-301, 401],
    [86_400, 401],
  ])("made %i seconds from the hub's clock is %i", async (offset, status) => {
    const answer = await debit(freshBody(), { timestamp: now(offset) });
    expect(answer.status).toBe(status);
    if (status === 401) expectProblem(answer, 'timestamp_skew');
  });

  it('must come once: headers that stand twice are refused, also when both are right', async () => {
    const body = BAD_BODY.replace('bad-1', 'doubled');
    const signature: [string, string] = ['X-Signature', signatureOf(RGS_SECRET, now(), body)];
    const timestamp: [string, string] = ['X-Timestamp', now()];
    const send = async (headers: [string, string][]) => {
      const common: [string, string][] = [
        ['Authorization', 'Bearer change_token'],
        ['Content-Type', 'application/json'],
        ['Content-Length', String(body.length)],
        ['Connection', 'close'],
      ];
      const [answer] = await rawExchange(hub.url, httpText('POST', '/wallet/debit', [...common, ...headers], body));
      return answer!;
    };
    expectProblem(await send([timestamp, signature, signature]), 'invalid_signature');
    expectProblem(await send([timestamp, timestamp, signature]), 'timestamp_skew');
    await nothingStored('doubled');
    // Each once is taken, so it was the doubling that was refused.
    expect((await send([timestamp, signature])).status).toBe(200);
  });

  it('is checked before the body is read: nonsense with a wrong signature is 401, with a right one 400', async () => {
    expectProblem(await debit('{"playerId":', { signature: good }), 'invalid_signature');
    expectProblem(await debit('{"playerId":'), 'malformed_request');
  });

  it('is asked for on the reads of the wallet too, over an empty body', async () => {
    expect((await hub.call('GET', '/wallet/transactions?playerId=a')).status).toBe(200);
    expectProblem(
      await hub.call('GET', '/wallet/transactions?playerId=a', undefined, { timestamp: null, signature: null }),
      'invalid_signature',
    );
    expectProblem(
      await hub.call('GET', '/wallet/transactions?playerId=a', undefined, { secret: OPERATOR_SECRET }),
      'invalid_signature',
    );
  });

  it("belongs to one route's partner: an operator's callback is signed with the operator's secret", async () => {
    const callback = {
      playerId: 'a',
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      refId: 'nobody',
      correlationId: 'nobody',
    };
    expectProblem(await hub.callback(callback, { secret: RGS_SECRET, timestamp: now() }), 'invalid_signature');
    expectProblem(await hub.callback(callback, { signature: null, timestamp: null }), 'invalid_signature');
    expectProblem(await hub.callback(callback, { secret: OPERATOR_SECRET, timestamp: now() }), 'unknown_reference');
  });
});

describe('the signature of what the hub sends', () => {
  it('lets the operator and the RGS verify it, each with its own secret', async () => {
    const answer = await debit();
    await hub.reaches(answer.body.transactionId, 'confirmed');
    await hub.drained();
    // The mock operator refuses calls that its own verification does not pass, so a booking is the proof.
    expect(await hub.operatorBooks()).toContainEqual(expect.objectContaining({ reference: answer.body.refId }));

    const webhook = await webhookFor(answer.body.refId);
    expect(webhook.headers['x-signature']).toBe(signatureOf(RGS_SECRET, webhook.headers['x-timestamp'], webhook.body));
    expect(webhook.headers['x-timestamp']).toBe(now());
    expect(webhook.headers['webhook-id']).toBe(webhook.headers['idempotency-key']);
    expect(verified(RGS_SECRET, webhook)).toMatchObject({
      refId: answer.body.refId,
      correlationId: answer.body.correlationId,
      status: 'OK',
    });
    expect(() => verified(OPERATOR_SECRET, webhook)).toThrow();
    expect(() =>
      verified(RGS_SECRET, { ...webhook, body: webhook.body.replace('"amountCents":100', '"amountCents":101') }),
    ).toThrow();
    expect(() =>
      verified(RGS_SECRET, { ...webhook, headers: { ...webhook.headers, 'webhook-id': 'another' } }),
    ).toThrow();
  });

  it('is refused by an operator that holds another secret, and then nothing is booked', async () => {
    operator.settings.hmacSecret = 'another-secret';
    try {
      const answer = await debit();
      await hub.reaches(answer.body.transactionId, 'rejected');
      expect(await hub.operatorBooks()).not.toContainEqual(expect.objectContaining({ reference: answer.body.refId }));
    } finally {
      operator.settings.hmacSecret = OPERATOR_SECRET;
    }
  });
});

describe('a rotation of the signing key', () => {
  const NEW_SECRET = 'secret-after-the-rotation';
  afterEach(async () => {
    await hub.database.query(`delete from partner_credential where label = 'rotation'`);
    await hub.app.get(PartnerDirectory).refresh();
    hub.rgs.settings.hmacSecret = RGS_SECRET;
  });

  const addKey = async (notAfter: string | null) => {
    await hub.database.query(
      `insert into partner_credential (partner_id, kind, label, secret, not_after) select id, 'signing', 'rotation', $1, $2 from partner where code = 'rgs'`,
      [NEW_SECRET, notAfter],
    );
    await hub.app.get(PartnerDirectory).refresh();
  };

  it('takes requests signed with either key while both live, and signs with the newer so that either verifies', async () => {
    expectProblem(await debit(freshBody(), { secret: NEW_SECRET }), 'invalid_signature');
    await addKey(null);
    hub.rgs.settings.hmacSecret = NEW_SECRET;

    expect((await debit(freshBody(), { secret: RGS_SECRET })).status).toBe(200);
    const answer = await debit(freshBody(), { secret: NEW_SECRET });
    expect(answer.status).toBe(200);
    expectProblem(await debit(freshBody(), { secret: 'neither' }), 'invalid_signature');

    await hub.reaches(answer.body.transactionId, 'confirmed');
    await hub.drained();
    const webhook = await webhookFor(answer.body.refId);
    expect(webhook.headers['x-signature']).toBe(signatureOf(NEW_SECRET, webhook.headers['x-timestamp'], webhook.body));
    // Standard Webhooks has room for several signatures, so a receiver may change over at any moment of the overlap.
    expect(verified(RGS_SECRET, webhook)).toMatchObject({ refId: answer.body.refId });
    expect(verified(NEW_SECRET, webhook)).toMatchObject({ refId: answer.body.refId });
  });

  it('ends for a key whose time is over', async () => {
    await addKey('2020-01-01T00:00:00Z');
    expectProblem(await debit(freshBody(), { secret: NEW_SECRET }), 'invalid_signature');
    expect((await debit(freshBody(), { secret: RGS_SECRET })).status).toBe(200);
  });
});

describe('with SIGNATURE_REQUIRED=false and TIMESTAMP_SKEW_SECONDS=10', () => {
  let lax: TestHub;
  const clock = new ManualClock(NOW_SECONDS * 1000);
  beforeAll(async () => {
    lax = await TestHub.start({ clock, env: { SIGNATURE_REQUIRED: 'false', TIMESTAMP_SKEW_SECONDS: '10' } });
  });
  afterAll(() => lax.stop());

  it('an unsigned debit and an unsigned callback are taken', async () => {
    expect((await lax.debit({}, { timestamp: null, signature: null })).status).toBe(200);
    const callback = {
      playerId: 'a',
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      refId: 'nobody',
      correlationId: 'nobody',
    };
    expectProblem(await lax.callback(callback, { timestamp: null, signature: null }), 'unknown_reference');
  });

  it('a header that is present is verified all the same', async () => {
    expectProblem(await lax.debit({}, { timestamp: now(), signature: '0'.repeat(64) }), 'invalid_signature');
    expectProblem(await lax.debit({}, { timestamp: now(), signature: null }), 'invalid_signature');
    expectProblem(await lax.debit({}, { timestamp: null, signature: '0'.repeat(64) }), 'invalid_signature');
    expectProblem(await lax.debit({}, { timestamp: 'now' }), 'timestamp_skew');
    expect((await lax.debit({}, { timestamp: now() })).status).toBe(200);
  });

  it('a captured request is of no use once the skew has passed', async () => {
    expect((await lax.debit({ refId: 'captured-1' }, { timestamp: now() })).status).toBe(200);
    clock.advance(10_000);
    expect((await lax.debit({ refId: 'captured-2' }, { timestamp: now() })).status).toBe(200);
    clock.advance(1_000);
    expectProblem(await lax.debit({ refId: 'captured-3' }, { timestamp: now() }), 'timestamp_skew');
    expect((await lax.debit({ refId: 'captured-4' }, { timestamp: now(11) })).status).toBe(200);
  });
});

async function nothingStored(refId: string): Promise<void> {
  const answer = await hub.call('GET', `/wallet/transactions?refId=${refId}`);
  expect(answer.body.items).toEqual([]);
}

interface ReceivedCall {
  readonly body: string;
  readonly headers: Record<
    'webhook-id' | 'webhook-timestamp' | 'webhook-signature' | 'idempotency-key' | 'x-timestamp' | 'x-signature',
    string
  >;
}

async function webhookFor(refId: string): Promise<ReceivedCall> {
  const calls = (await hub.rgsCalls()).filter((call) => call.refId === refId);
  expect(calls).toHaveLength(1);
  return calls[0];
}

function verified(secret: string, { body, headers }: ReceivedCall): unknown {
  return new Webhook(secret, { format: 'raw' }).verify(body, headers);
}
