import { PartnerDirectory } from '../../src/partners/partner-directory';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

type Class = 'applied' | 'rejected_business' | 'rejected_contract' | 'throttled' | 'accepted' | 'unknown';

interface Case {
  readonly said: string;
  readonly fault: Record<string, unknown>;
  readonly class: Class;
  /** HTTP status in the attempt log. */
  readonly status: number | null;
  /** Reason that a debit's RGS is told. */
  readonly reason?: string;
  /** What the RGS reads instead of the reason. */
  readonly told?: string;
  readonly balanceCents?: number | null;
  /** The money moved although the answer did not say so. */
  readonly booked?: boolean;
}

const answered = (status: number, body?: unknown, contentType?: string, headers?: Record<string, string>) => ({
  kind: 'status',
  status,
  ...(body === undefined ? {} : { body }),
  ...(contentType === undefined ? {} : { contentType }),
  ...(headers === undefined ? {} : { headers }),
});
const json = 'application/json';
const emoji = '\u{1F3B2}';

/**
 * Answers to the first call; later calls are answered well. `status` faults book nothing, so an "OK" among them is a
 * lie that only tests the reading.
 */
const CASES: readonly Case[] = [
  // Applied: a declared word in a readable 2xx, and nothing else.
  {
    said: '200 OK',
    fault: answered(200, { status: 'OK', balance: 12.34 }),
    class: 'applied',
    status: 200,
    balanceCents: 1234,
  },
  {
    said: '200 SUCCESS',
    fault: answered(200, { status: 'SUCCESS' }),
    class: 'applied',
    status: 200,
    balanceCents: null,
  },
  {
    said: '200 ok in lower case',
    fault: answered(200, { status: 'ok', balance: '7' }),
    class: 'applied',
    status: 200,
    balanceCents: 700,
  },
  { said: '201 Success in mixed case', fault: answered(201, { status: 'Success' }), class: 'applied', status: 201 },
  { said: '200 OK with blanks around it', fault: answered(200, { status: ' OK\r\n' }), class: 'applied', status: 200 },
  {
    said: 'OK with the currency of the call',
    fault: answered(200, { status: 'OK', currency: 'usd', reference: null, playerId: '' }),
    class: 'applied',
    status: 200,
  },
  { said: '202 that says OK', fault: answered(202, { status: 'OK' }), class: 'applied', status: 202 },
  { said: 'OK as text/plain', fault: answered(200, '{"status":"OK"}', 'text/plain'), class: 'applied', status: 200 },
  {
    said: 'OK with a balance that is finer than a cent',
    fault: answered(200, { status: 'OK', balance: 1.005 }),
    class: 'applied',
    status: 200,
    balanceCents: null,
  },
  {
    said: 'OK with a balance that is no number',
    fault: answered(200, { status: 'OK', balance: 'plenty' }),
    class: 'applied',
    status: 200,
    balanceCents: null,
  },
  {
    said: 'OK with a balance beyond every account',
    fault: answered(200, '{"status":"OK","balance":1e30}', json),
    class: 'applied',
    status: 200,
    balanceCents: null,
  },
  {
    said: 'OK with a negative balance',
    fault: answered(200, { status: 'OK', balance: -0.5 }),
    class: 'applied',
    status: 200,
    balanceCents: -50,
  },

  // Refused for business reasons: a refused word in a 2xx, a 402 or a 409.
  {
    said: '200 REJECTED with reason and balance',
    fault: answered(200, { status: 'REJECTED', reason: 'limit_reached', balance: 3 }),
    class: 'rejected_business',
    status: 200,
    reason: 'limit_reached',
    balanceCents: 300,
  },
  {
    said: '200 DECLINED without a reason',
    fault: answered(200, { status: 'DECLINED' }),
    class: 'rejected_business',
    status: 200,
    reason: 'DECLINED',
  },
  {
    said: '200 failed in lower case, reason in code',
    fault: answered(200, { status: 'failed', code: 'E17' }),
    class: 'rejected_business',
    status: 200,
    reason: 'E17',
  },
  {
    said: '200 with an error body',
    fault: { kind: 'error_body' },
    class: 'rejected_business',
    status: 200,
    reason: 'internal error',
  },
  {
    said: '202 REJECTED',
    fault: answered(202, { status: 'REJECTED', reason: 'blocked' }),
    class: 'rejected_business',
    status: 202,
    reason: 'blocked',
  },
  {
    said: '402 REJECTED',
    fault: answered(402, { status: 'REJECTED', reason: 'no_funds' }),
    class: 'rejected_business',
    status: 402,
    reason: 'no_funds',
  },
  {
    said: '409 DECLINED',
    fault: answered(409, { status: 'DECLINED', message: 'no funds' }),
    class: 'rejected_business',
    status: 409,
    reason: 'no funds',
  },
  {
    said: 'a reason that is no text',
    fault: answered(200, { status: 'REJECTED', reason: 17 }),
    class: 'rejected_business',
    status: 200,
    reason: 'REJECTED',
  },
  {
    said: 'a reason with NUL in it',
    fault: answered(200, '{"status":"REJECTED","reason":"no\\u0000funds"}', json),
    class: 'rejected_business',
    status: 200,
    reason: 'no\ufffdfunds',
  },
  {
    said: 'a reason with half a character',
    fault: answered(200, '{"status":"REJECTED","reason":"no \\ud83d funds"}', json),
    class: 'rejected_business',
    status: 200,
    reason: 'no \ufffd funds',
  },
  {
    said: 'a reason whose cut falls into a character',
    fault: answered(200, { status: 'REJECTED', reason: 'x'.repeat(199) + emoji }),
    class: 'rejected_business',
    status: 200,
    reason: `${'x'.repeat(199)}\ufffd`,
  },

  // Refused because of the request itself.
  {
    said: '400',
    fault: answered(400, { error: 'bad amount' }),
    class: 'rejected_contract',
    status: 400,
    reason: 'bad amount',
  },
  {
    said: '400 REJECTED',
    fault: answered(400, { status: 'REJECTED', reason: 'no_funds' }),
    class: 'rejected_contract',
    status: 400,
    reason: 'no_funds',
  },
  {
    said: '401',
    fault: answered(401),
    class: 'rejected_contract',
    status: 401,
    reason: 'injected 401',
    told: 'operator_misconfigured',
  },
  { said: '402 without a word', fault: answered(402, ''), class: 'rejected_contract', status: 402, reason: 'HTTP 402' },
  {
    said: '403',
    fault: answered(403),
    class: 'rejected_contract',
    status: 403,
    reason: 'injected 403',
    told: 'operator_misconfigured',
  },
  {
    said: '404 in HTML',
    fault: answered(404, '<h1>Not found</h1>', 'text/html'),
    class: 'rejected_contract',
    status: 404,
    reason: 'HTTP 404 with HTML',
    told: 'operator_misconfigured',
  },
  {
    said: '410',
    fault: answered(410),
    class: 'rejected_contract',
    status: 410,
    reason: 'injected 410',
    told: 'operator_misconfigured',
  },
  {
    said: '413',
    fault: answered(413),
    class: 'rejected_contract',
    status: 413,
    reason: 'injected 413',
    told: 'operator_misconfigured',
  },
  {
    said: '422',
    fault: answered(422, { status: 'ERROR', reason: 'unsupported currency' }),
    class: 'rejected_contract',
    status: 422,
    reason: 'unsupported currency',
  },

  // Throttled: nothing was applied, and it costs no attempt.
  { said: '429 with Retry-After', fault: { kind: 'throttle', retryAfter: 1 }, class: 'throttled', status: 429 },
  {
    said: '429 with Retry-After as a date',
    fault: { kind: 'throttle', retryAfter: 1, retryAfterForm: 'date' },
    class: 'throttled',
    status: 429,
  },
  { said: '429 without Retry-After', fault: answered(429), class: 'throttled', status: 429 },
  { said: '429 that says OK', fault: answered(429, { status: 'OK' }), class: 'throttled', status: 429 },
  {
    said: '503 with Retry-After',
    fault: { kind: 'throttle', status: 503, retryAfter: 0 },
    class: 'throttled',
    status: 503,
  },

  // Accepted: the callback will tell; here none comes.
  { said: '202 without a word', fault: answered(202, {}), class: 'accepted', status: 202 },
  { said: '202 without a body', fault: answered(202, ''), class: 'accepted', status: 202 },
  { said: '202 PENDING', fault: answered(202, { status: 'PENDING' }), class: 'accepted', status: 202 },
  { said: '200 pending in lower case', fault: answered(200, { status: 'pending' }), class: 'accepted', status: 200 },
  { said: '200 ACCEPTED', fault: answered(200, { status: 'ACCEPTED' }), class: 'accepted', status: 200 },

  // Unknown: neither success nor failure.
  { said: '200 in HTML', fault: { kind: 'unreadable', form: 'html' }, class: 'unknown', status: 200 },
  {
    said: '200 in HTML, booked',
    fault: { kind: 'unreadable', form: 'html', afterCommit: true },
    class: 'unknown',
    status: 200,
    booked: true,
  },
  {
    said: '200 with half a JSON object',
    fault: { kind: 'unreadable', form: 'truncated' },
    class: 'unknown',
    status: 200,
  },
  {
    said: '200 with half a JSON object, booked',
    fault: { kind: 'unreadable', form: 'truncated', afterCommit: true },
    class: 'unknown',
    status: 200,
    booked: true,
  },
  { said: '200 without a body', fault: answered(200, ''), class: 'unknown', status: 200 },
  { said: '204', fault: answered(204, ''), class: 'unknown', status: 204 },
  { said: '200 with an empty object', fault: answered(200, {}), class: 'unknown', status: 200 },
  { said: '200 with a list', fault: answered(200, [{ status: 'OK' }]), class: 'unknown', status: 200 },
  { said: '200 with the bare word', fault: answered(200, '"OK"', json), class: 'unknown', status: 200 },
  { said: '200 with null', fault: answered(200, 'null', json), class: 'unknown', status: 200 },
  { said: 'a status that is a number', fault: answered(200, { status: 200 }), class: 'unknown', status: 200 },
  { said: 'a status that is true', fault: answered(200, { status: true }), class: 'unknown', status: 200 },
  { said: 'a status that is a list', fault: answered(200, { status: ['OK'] }), class: 'unknown', status: 200 },
  {
    said: 'two statuses',
    fault: answered(200, '{"status":"OK","status":"REJECTED"}', json),
    class: 'unknown',
    status: 200,
  },
  { said: 'a word that nobody declared', fault: { kind: 'unknown_word' }, class: 'unknown', status: 200 },
  {
    said: 'a word that nobody declared, booked',
    fault: { kind: 'unknown_word', word: 'OKAY', afterCommit: true },
    class: 'unknown',
    status: 200,
    booked: true,
  },
  {
    said: 'a declared word with a blank that is not ASCII',
    fault: answered(200, { status: 'OK\u00a0' }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'a declared word in letters that only look like it',
    fault: answered(200, { status: '\u017fUCCE\u017f\u017f' }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'a declared word in wide letters',
    fault: answered(200, { status: '\uff2f\uff2b' }),
    class: 'unknown',
    status: 200,
  },
  { said: 'a Kelvin sign for a K', fault: answered(200, { status: 'O\u212a' }), class: 'unknown', status: 200 },
  { said: '409 without a word', fault: answered(409, ''), class: 'unknown', status: 409 },
  {
    said: '409 that calls it a duplicate',
    fault: answered(409, { code: 'reference_reused' }),
    class: 'unknown',
    status: 409,
  },
  {
    said: '409 ERROR',
    fault: answered(409, { status: 'ERROR', reason: 'already processed' }),
    class: 'unknown',
    status: 409,
  },
  {
    said: '409 failed, booked',
    fault: { kind: 'status_after_commit', status: 409, body: { status: 'failed', message: 'duplicate' } },
    class: 'unknown',
    status: 409,
    booked: true,
  },
  { said: '406', fault: answered(406), class: 'unknown', status: 406 },
  { said: '412', fault: answered(412), class: 'unknown', status: 412 },
  { said: '418', fault: answered(418), class: 'unknown', status: 418 },
  { said: '423 REJECTED', fault: answered(423, { status: 'REJECTED' }), class: 'unknown', status: 423 },
  { said: '424', fault: answered(424), class: 'unknown', status: 424 },
  { said: '499', fault: answered(499), class: 'unknown', status: 499 },
  {
    said: 'OK to another correlation id',
    fault: answered(200, { status: 'OK', correlationId: '019a3c7e-0000-7000-8000-000000000000' }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'OK to another reference',
    fault: answered(200, { status: 'OK', reference: 'bet-of-somebody' }),
    class: 'unknown',
    status: 200,
  },
  { said: 'OK to another refId', fault: answered(200, { status: 'OK', refId: 4711 }), class: 'unknown', status: 200 },
  { said: 'OK to another amount', fault: answered(200, { status: 'OK', amount: 5.01 }), class: 'unknown', status: 200 },
  {
    said: 'OK to an amount that is none',
    fault: answered(200, { status: 'OK', amount: {} }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'OK to another currency',
    fault: answered(200, { status: 'OK', currency: 'EUR' }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'OK to another player',
    fault: answered(200, { status: 'OK', playerId: 'somebody' }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'OK to the other direction and to the right one',
    fault: answered(200, { status: 'OK', direction: 'withdraw', event: 'deposit' }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'REJECTED about another amount',
    fault: answered(200, { status: 'REJECTED', amount: '7.00' }),
    class: 'unknown',
    status: 200,
  },
  {
    said: '422 about another reference',
    fault: answered(422, { reference: 'bet-of-somebody' }),
    class: 'unknown',
    status: 422,
  },
  {
    said: 'PENDING about another player',
    fault: answered(200, { status: 'PENDING', playerId: 77 }),
    class: 'unknown',
    status: 200,
  },
  {
    said: 'an OK in an answer too long to read, booked',
    fault: { kind: 'huge_body', bytes: 100_000 },
    class: 'unknown',
    status: null,
    booked: true,
  },
  { said: '400 that says OK', fault: answered(400, { status: 'OK' }), class: 'unknown', status: 400 },
  { said: '409 that says SUCCESS', fault: answered(409, { status: 'SUCCESS' }), class: 'unknown', status: 409 },
  { said: '422 that says PENDING', fault: answered(422, { status: 'PENDING' }), class: 'unknown', status: 422 },
  {
    said: '302',
    fault: answered(302, '', undefined, { Location: 'http://127.0.0.1:1/elsewhere' }),
    class: 'unknown',
    status: 302,
  },
  { said: '408', fault: answered(408), class: 'unknown', status: 408 },
  { said: '425', fault: answered(425), class: 'unknown', status: 425 },
  { said: '500', fault: answered(500), class: 'unknown', status: 500 },
  { said: '500 that says REJECTED', fault: answered(500, { status: 'REJECTED' }), class: 'unknown', status: 500 },
  {
    said: '500, booked',
    fault: { kind: 'status_after_commit', status: 500 },
    class: 'unknown',
    status: 500,
    booked: true,
  },
  {
    said: '502, booked, saying REJECTED',
    fault: { kind: 'status_after_commit', status: 502, body: { status: 'REJECTED' } },
    class: 'unknown',
    status: 502,
    booked: true,
  },
  { said: '503 without Retry-After', fault: answered(503), class: 'unknown', status: 503 },
  { said: 'a reset before booking', fault: { kind: 'reset' }, class: 'unknown', status: null },
  {
    said: 'a reset after booking',
    fault: { kind: 'reset', afterCommit: true },
    class: 'unknown',
    status: null,
    booked: true,
  },
  { said: 'silence before booking', fault: { kind: 'hang' }, class: 'unknown', status: null },
  {
    said: 'silence after booking',
    fault: { kind: 'hang', afterCommit: true },
    class: 'unknown',
    status: null,
    booked: true,
  },
  {
    said: 'an answer a byte at a time, booked',
    fault: { kind: 'slow_drip', ms: 200 },
    class: 'unknown',
    status: null,
    booked: true,
  },
];

interface Attempt {
  readonly class: Class;
  readonly outcome: string;
  readonly status: number | null;
}

describe('what an operator answers', () => {
  let hub: TestHub;
  const ids = new Map<string, string>();
  let books: any[] = [];
  let told: any[] = [];
  let records: Record<string, any>[] = [];
  let calls: any[] = [];

  /** All movements run at once, each of a player of its own; the tests then look at what became of each. */
  beforeAll(async () => {
    hub = await TestHub.start({
      env: {
        MAX_RETRIES: '0',
        BREAKER_FAILURES: '10000',
        OPERATOR_TIMEOUT_MS: '1500',
        CALLBACK_TIMEOUT_SECONDS: '0.3',
      },
    });
    hub.operator.settings.callbacks = false;
    for (const [index, { fault }] of CASES.entries())
      for (const route of ['debit', 'credit'] as const) {
        const playerId = `${route}-${index}`;
        await hub.operatorFault({ ...fault, playerId, next: 1 });
        const answer = await hub[route]({ playerId, refId: `ref-${route}-${index}`, amountCents: 250 });
        expect(answer.status).toBe(200);
        ids.set(playerId, answer.body.transactionId);
      }
    await hub.drained(60_000);
    [books, told, records, calls] = await Promise.all([
      hub.operatorBooks(),
      hub.rgsReceived(),
      hub.outbox({ queue: 'operator' }),
      hub.operatorCalls(),
    ]);
  }, 90_000);
  afterAll(() => hub.stop());

  const becameOf = async (playerId: string) => {
    const id = ids.get(playerId) ?? '';
    const [row] = await hub.database.query<{ message_id: string }>(
      'select message_id from wallet_transaction where id = $1',
      [id],
    );
    const attempts = await hub.database.query<Attempt>(
      'select class, outcome, status from outbox_attempt where message_id = $1 order by at',
      [row?.message_id],
    );
    return {
      transaction: await hub.transaction(id),
      attempts,
      record: records.find((record) => record.id === row?.message_id),
      booked: books.filter((booking) => booking.playerId === playerId),
      webhooks: told.filter((webhook) => webhook.playerId === playerId),
      calls: calls.filter((call) => call.playerId === playerId),
    };
  };
  const arrows = (transaction: Record<string, any>) => transaction.timeline.map((entry: { to: string }) => entry.to);
  const numbered = CASES.map((each, index) => ({ ...each, index }));
  const of = (...classes: readonly Class[]) => numbered.filter((each) => classes.includes(each.class));

  it.each(of('applied'))(
    '$said: applied, told as OK with the balance if one was given',
    async ({ index, status, balanceCents }) => {
      for (const route of ['debit', 'credit']) {
        const { transaction, attempts, record, webhooks, calls } = await becameOf(`${route}-${index}`);
        expect(attempts).toEqual([{ class: 'applied', outcome: 'sent', status }]);
        expect(record).toMatchObject({ status: 'sent', lastError: null, attemptCount: 1 });
        expect(transaction).toMatchObject({ state: 'confirmed', status: 'OK', reason: null });
        expect(webhooks).toMatchObject([{ status: 'OK', deliveries: 1, reason: null }]);
        if (balanceCents !== undefined)
          expect([transaction.balanceCents, webhooks[0].balanceCents]).toEqual([balanceCents, balanceCents]);
        expect(calls).toHaveLength(1);
      }
    },
  );

  it.each(of('rejected_business', 'rejected_contract'))(
    '$said: refused ($class); a debit is rejected and told with its reason, a credit is parked and not told',
    async ({ index, class: outcome, status, reason = '', told = reason, balanceCents }) => {
      const debit = await becameOf(`debit-${index}`);
      expect(debit.attempts).toEqual([{ class: outcome, outcome: 'dead', status }]);
      expect(debit.record).toMatchObject({
        status: 'dead',
        attemptCount: 1,
        lastError: expect.stringMatching(`^${outcome}: `),
      });
      // People here read the operator's own words, also where the RGS is told that the fault is not its own.
      expect(debit.record?.lastError).toContain(reason);
      expect(debit.transaction).toMatchObject({ state: 'rejected', status: 'REJECTED', reason: told });
      expect(debit.webhooks).toMatchObject([{ status: 'REJECTED', state: 'rejected', reason: told, deliveries: 1 }]);
      if (balanceCents !== undefined)
        expect([debit.transaction.balanceCents, debit.webhooks[0].balanceCents]).toEqual([balanceCents, balanceCents]);

      const credit = await becameOf(`credit-${index}`);
      expect(credit.attempts).toEqual([{ class: outcome, outcome: 'dead', status }]);
      expect(credit.record).toMatchObject({ status: 'dead', attemptCount: 1, lastError: debit.record?.lastError });
      expect(credit.transaction).toMatchObject({ state: 'parked', status: 'initiated', settledAt: null });
      expect(credit.webhooks).toEqual([]);

      for (const { booked, calls } of [debit, credit]) {
        expect(booked).toEqual([]);
        expect(calls).toHaveLength(1);
      }
    },
  );

  it.each(of('throttled'))('$said: not an attempt; it goes again and is booked once', async ({ index, status }) => {
    for (const route of ['debit', 'credit']) {
      const { transaction, attempts, record, booked, webhooks } = await becameOf(`${route}-${index}`);
      expect(attempts).toEqual([
        { class: 'throttled', outcome: 'released', status },
        { class: 'applied', outcome: 'sent', status: 200 },
      ]);
      expect(record).toMatchObject({ status: 'sent', attemptCount: 1 });
      expect(arrows(transaction)).toEqual(['initiated', 'confirmed']);
      expect(booked).toHaveLength(1);
      expect(webhooks).toMatchObject([{ status: 'OK', deliveries: 1 }]);
    }
  });

  it.each(of('accepted'))(
    '$said: stays initiated until the callback is overdue, then the same reference goes again and is booked once',
    async ({ index, status }) => {
      for (const route of ['debit', 'credit']) {
        const { transaction, attempts, booked, webhooks, calls } = await becameOf(`${route}-${index}`);
        expect(attempts).toEqual([
          { class: 'accepted', outcome: 'retry', status },
          { class: 'applied', outcome: 'sent', status: 200 },
        ]);
        expect(arrows(transaction)).toEqual(['initiated', 'confirmed']);
        expect(calls[1].at - calls[0].at).toBeGreaterThanOrEqual(300);
        expect(booked).toHaveLength(1);
        expect(webhooks).toMatchObject([{ status: 'OK', deliveries: 1 }]);
      }
    },
  );

  it.each(of('unknown'))(
    '$said: unknown; the same reference goes again, and the money moves once',
    async ({ index, status, booked: bookedAtOnce }) => {
      for (const route of ['debit', 'credit']) {
        const { transaction, attempts, record, booked, webhooks, calls } = await becameOf(`${route}-${index}`);
        expect(attempts).toEqual([
          { class: 'unknown', outcome: 'retry', status },
          { class: 'applied', outcome: 'sent', status: 200 },
        ]);
        expect(record).toMatchObject({ status: 'sent', attemptCount: 2 });
        expect(arrows(transaction)).toEqual(['initiated', 'unknown', 'confirmed']);
        expect(calls.map((call) => [call.applied, call.repeat])).toEqual([
          [bookedAtOnce ?? false, false],
          bookedAtOnce === true ? [false, true] : [true, false],
        ]);
        expect(new Set(calls.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
        expect(booked).toHaveLength(1);
        expect(webhooks).toMatchObject([{ status: 'OK', deliveries: 1 }]);
        expect((await hub.player(`${route}-${index}`)).net).toEqual({ USD: route === 'debit' ? '-250' : '250' });
      }
    },
  );
});

describe('an operator whose answers stay bad', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: {
        MAX_RETRIES: '1',
        OUTBOX_RETRY_SCHEDULE_SECONDS: '0.05,0.05',
        BREAKER_FAILURES: '10000',
        CALLBACK_TIMEOUT_SECONDS: '0.2',
      },
    });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const attempts = (transactionId: string) =>
    hub.database.query<Attempt>(
      'select a.class, a.outcome, a.status from outbox_attempt a join wallet_transaction t on t.message_id = a.message_id where t.id = $1 order by a.at',
      [transactionId],
    );
  const callsOf = async (playerId: string) => (await hub.operatorCalls()).filter((call) => call.playerId === playerId);
  const arrows = async (transactionId: string) =>
    (await hub.transaction(transactionId)).timeline.map((entry: { to: string }) => entry.to);
  const configure = async (columns: Record<string, unknown>) => {
    const names = Object.keys(columns);
    await hub.database.query(
      `update partner set ${names.map((name, index) => `${name} = $${index + 1}`).join(', ')} where code = 'operator'`,
      Object.values(columns),
    );
    await hub.app.get(PartnerDirectory).refresh();
  };

  it.each([401, 403, 404, 422, 400])(
    'unknown and then %i: the debit is not rejected, since the lost call may have been booked',
    async (status) => {
      await hub.operatorFault({ kind: 'reset', afterCommit: true, playerId: 'ann', next: 2 });
      await hub.operatorFault({ kind: 'status', status, playerId: 'ann', next: 1 });
      const { body } = await hub.debit({ playerId: 'ann' });
      await hub.reaches(body.transactionId, 'confirmed');
      await hub.drained();
      expect(await arrows(body.transactionId)).toEqual(['initiated', 'unknown', 'confirmed']);
      expect((await attempts(body.transactionId)).map((attempt) => [attempt.class, attempt.outcome])).toEqual([
        ['unknown', 'retry'],
        ['rejected_contract', 'retry'],
        ['applied', 'sent'],
      ]);
      expect(await hub.player('ann')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
      expect(await hub.rgsReceived()).toMatchObject([{ status: 'OK' }]);
    },
  );

  it('a lost call and a 401 to its repeat within one attempt: the debit is not rejected either', async () => {
    await hub.operatorFault({ kind: 'status_after_commit', status: 500, playerId: 'ben', next: 1 });
    await hub.operatorFault({ kind: 'status', status: 401, playerId: 'ben', next: 1 });
    const { body } = await hub.debit({ playerId: 'ben' });
    await hub.reaches(body.transactionId, 'confirmed');
    await hub.drained();
    expect(await arrows(body.transactionId)).toEqual(['initiated', 'unknown', 'confirmed']);
    expect((await callsOf('ben')).map(({ status }) => status)).toEqual([500, 401, 200]);
    expect(await hub.player('ben')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
    expect(await hub.rgsReceived()).toMatchObject([{ status: 'OK' }]);
  });

  it('accepted, and a 404 when asked again: the debit is not rejected, since what was accepted may have been booked', async () => {
    await hub.operatorFault({
      kind: 'status_after_commit',
      status: 202,
      body: { status: 'PENDING' },
      playerId: 'cat',
      next: 1,
    });
    await hub.operatorFault({ kind: 'status', status: 404, playerId: 'cat', next: 1 });
    const { body } = await hub.debit({ playerId: 'cat' });
    await hub.reaches(body.transactionId, 'confirmed');
    await hub.drained();
    expect(await arrows(body.transactionId)).toEqual(['initiated', 'unknown', 'confirmed']);
    expect(await hub.player('cat')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
    expect(await hub.rgsReceived()).toMatchObject([{ status: 'OK' }]);
  });

  it('a lost call and then a refusal for want of funds, of an operator that keeps refusals with the reference: the debit is rejected at once', async () => {
    await configure({ refusal_is_final: true });
    await hub.operatorFault({ kind: 'reset', playerId: 'dan', next: 2 });
    await hub.operatorFault({ kind: 'refuse', reason: 'insufficient_funds', playerId: 'dan', next: 1 });
    const { body } = await hub.debit({ playerId: 'dan' });
    await hub.reaches(body.transactionId, 'rejected');
    await hub.drained();
    expect(await arrows(body.transactionId)).toEqual(['initiated', 'unknown', 'rejected']);
    expect(await hub.operatorBooks()).toEqual([]);
    expect(await hub.rgsReceived()).toMatchObject([{ status: 'REJECTED', reason: 'insufficient_funds' }]);
    await configure({ refusal_is_final: false });
  });

  it('unknown to the end of the schedule: the debit is parked and holds its lane until a person replays it', async () => {
    await hub.operatorFault({ kind: 'status_after_commit', status: 500, playerId: 'eve', direction: 'withdraw' });
    const bet = await hub.debit({ playerId: 'eve', refId: 'bet' });
    const win = await hub.credit({ playerId: 'eve', refId: 'win', amountCents: 900 });
    await hub.reaches(bet.body.transactionId, 'parked');
    // Another player's movement goes through, so the win that stays is held and not merely late.
    const other = await hub.credit({ playerId: 'fay' });
    await hub.reaches(other.body.transactionId, 'confirmed');
    expect((await callsOf('eve')).every(({ direction }) => direction === 'withdraw')).toBe(true);
    expect(await hub.transaction(win.body.transactionId)).toMatchObject({ state: 'initiated' });
    const [dead] = await hub.outbox({ queue: 'operator', status: 'dead' });
    expect(dead).toMatchObject({ status: 'dead', nextAttemptAt: null, payload: { reference: 'bet' } });
    expect((await hub.rgsReceived()).map(({ refId }) => refId)).not.toContain('bet');

    // Wrong credentials on the replay prove nothing about the calls before: still parked, still held.
    await control(hub.operator.url, 'DELETE', '/admin/faults');
    await hub.operatorFault({ kind: 'status', status: 401, playerId: 'eve', next: 1 });
    expect((await hub.replay('operator', dead?.id)).status).toBe(200);
    await waitFor('the replay was answered 401', async () =>
      (await attempts(bet.body.transactionId)).some(({ status }) => status === 401),
    );
    expect(await hub.transaction(bet.body.transactionId)).toMatchObject({ state: 'parked' });
    expect((await callsOf('eve')).every(({ direction }) => direction === 'withdraw')).toBe(true);

    expect((await hub.replay('operator', dead?.id)).status).toBe(200);
    await hub.reaches(bet.body.transactionId, 'confirmed');
    await hub.reaches(win.body.transactionId, 'confirmed');
    await hub.drained();
    expect(await hub.player('eve')).toMatchObject({ net: { USD: '400' }, movements: 2 });
    expect((await hub.rgsReceived()).filter(({ playerId }) => playerId === 'eve')).toMatchObject([
      { refId: 'bet', status: 'OK', deliveries: 1 },
      { refId: 'win', status: 'OK', deliveries: 1 },
    ]);
  });

  it.each([
    { how: 'refused', fault: { kind: 'refuse', reason: 'player_blocked', next: 1 } },
    { how: 'refused for its credentials', fault: { kind: 'status', status: 401, next: 1 } },
    { how: 'unknown to the end of the schedule', fault: { kind: 'status', status: 500, next: 6 } },
  ])('$how: the credit is parked, nobody is told, and the lane goes on', async ({ fault }) => {
    await hub.operatorFault({ ...fault, playerId: 'gil', direction: 'deposit' });
    const win = await hub.credit({ playerId: 'gil', refId: 'win' });
    const bet = await hub.debit({ playerId: 'gil', refId: 'bet' });
    await hub.reaches(win.body.transactionId, 'parked');
    await hub.reaches(bet.body.transactionId, 'confirmed');
    await hub.drained();
    expect(await hub.outbox({ queue: 'operator', status: 'dead' })).toMatchObject([{ payload: { reference: 'win' } }]);
    expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet' }]);
    expect(await hub.player('gil')).toMatchObject({ net: { USD: '-500' }, movements: 1 });

    // The money is still owed: once the operator takes it, the player has it and the RGS is told.
    const [dead] = await hub.outbox({ queue: 'operator', status: 'dead' });
    expect((await hub.replay('operator', dead?.id)).status).toBe(200);
    await hub.reaches(win.body.transactionId, 'confirmed');
    await hub.drained();
    expect(await hub.player('gil')).toMatchObject({ net: { USD: '0' }, movements: 2 });
    expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet' }, { refId: 'win', status: 'OK' }]);
  });

  describe('and who does not recognise a repeated reference', () => {
    beforeAll(() => configure({ idempotent_by_reference: false, status_query: false }));
    afterAll(() => configure({ idempotent_by_reference: true, status_query: true }));

    it.each([
      { how: 'a lost answer', fault: { kind: 'reset', afterCommit: true } },
      { how: 'a 500', fault: { kind: 'status_after_commit', status: 500 } },
      { how: 'an unreadable answer', fault: { kind: 'unreadable', form: 'html', afterCommit: true } },
      {
        how: 'an acceptance without a callback',
        fault: { kind: 'status_after_commit', status: 202, body: { status: 'PENDING' } },
      },
    ])('$how: parked after one call, and a replay is refused', async ({ fault }) => {
      await hub.operatorFault({ ...fault, playerId: 'hal' });
      const bet = await hub.debit({ playerId: 'hal' });
      const win = await hub.credit({ playerId: 'ida' });
      await hub.reaches(bet.body.transactionId, 'parked');
      await hub.reaches(win.body.transactionId, 'confirmed');
      await hub.drained();
      expect(await callsOf('hal')).toHaveLength(1);
      const [dead] = await hub.outbox({ queue: 'operator', status: 'dead' });
      const refused = await hub.replay('operator', dead?.id);
      expect(refused.status).toBe(409);
      expect(refused.body).toMatchObject({ code: 'replay_refused', correlationId: bet.body.correlationId });
      expect(await hub.transaction(bet.body.transactionId)).toMatchObject({ state: 'parked' });
      expect(await callsOf('hal')).toHaveLength(1);
      expect((await hub.rgsReceived()).map(({ playerId }) => playerId)).toEqual(['ida']);
    });

    it('a replica that died during its call: parked without another call', async () => {
      await hub.database.query(`update outbox_destination set paused_at = now() where queue = 'operator'`);
      const { body } = await hub.debit({ playerId: 'jon' });
      // As a replica leaves it that was killed between sending and settling.
      await hub.database.query(
        `update outbox_head set leased = true, token = token + 1, claims = 1, owner = 'dead', visible_at = now(), first_sent_at = now(), may_land_until = now() + interval '1 second' where lane_key = 'jon'`,
      );
      await hub.database.query(`update outbox_destination set paused_at = null where queue = 'operator'`);
      await hub.reaches(body.transactionId, 'parked');
      expect(await callsOf('jon')).toEqual([]);
    });

    it('a throttled call goes again, since nothing was booked; a refusal of the first call is a refusal', async () => {
      await hub.operatorFault({ kind: 'throttle', retryAfter: 0, playerId: 'kim', next: 1 });
      await hub.operatorFault({ kind: 'status', status: 422, playerId: 'lou', next: 1 });
      const throttled = await hub.debit({ playerId: 'kim' });
      const refused = await hub.debit({ playerId: 'lou' });
      await hub.reaches(throttled.body.transactionId, 'confirmed');
      await hub.reaches(refused.body.transactionId, 'rejected');
      expect((await callsOf('kim')).map(({ status }) => status)).toEqual([429, 200]);
      expect(await callsOf('lou')).toHaveLength(1);
    });
  });

  it('a replica that died during its call, and a 401 to the next replica: the debit is not rejected', async () => {
    await hub.operatorFault({ kind: 'status', status: 401, playerId: 'mia', next: 1 });
    await hub.database.query(`update outbox_destination set paused_at = now() where queue = 'operator'`);
    const { body } = await hub.debit({ playerId: 'mia' });
    await hub.database.query(
      `update outbox_head set leased = true, token = token + 1, claims = 1, owner = 'dead', visible_at = now(), first_sent_at = now(), may_land_until = now() + interval '1 second' where lane_key = 'mia'`,
    );
    await hub.database.query(`update outbox_destination set paused_at = null where queue = 'operator'`);
    await hub.reaches(body.transactionId, 'confirmed');
    expect((await callsOf('mia')).map(({ status }) => status)).toEqual([401, 200]);
    expect(await arrows(body.transactionId)).toEqual(['initiated', 'unknown', 'confirmed']);
  });

  describe('and who has words of its own', () => {
    beforeAll(() => configure({ status_words: { applied: ['DONE'], pending: ['QUEUED'], refused: ['NOPE'] } }));
    afterAll(() =>
      configure({
        status_words: {
          applied: ['OK', 'SUCCESS'],
          pending: ['PENDING', 'ACCEPTED'],
          refused: ['REJECTED', 'DECLINED', 'FAILED', 'ERROR'],
        },
      }),
    );

    it.each([
      { word: 'DONE', class: 'applied' },
      { word: 'done', class: 'applied' },
      { word: 'Queued', class: 'accepted' },
      { word: 'nope', class: 'rejected_business' },
      { word: 'OK', class: 'unknown' },
      { word: 'REJECTED', class: 'unknown' },
    ])('$word means $class', async ({ word, class: outcome }) => {
      const playerId = `word-${word}`;
      await hub.operatorFault({ kind: 'status', status: 200, body: { status: word }, playerId, next: 1 });
      await hub.operatorFault({ kind: 'status_after_commit', status: 200, body: { status: 'DONE' }, playerId });
      const { body } = await hub.debit({ playerId });
      await hub.reaches(body.transactionId, outcome === 'rejected_business' ? 'rejected' : 'confirmed');
      expect((await attempts(body.transactionId)).at(0)).toMatchObject({ class: outcome, status: 200 });
    });
  });
});
