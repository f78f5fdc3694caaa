import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import { addPartner, as, followPartners, partnerId } from '../support/partners/partner-rows';
import type { HttpAnswer } from '../support/hub/signed-request';
import { TestHub, movement } from '../support/hub/test-hub';

/** Two hubs on one database: what one has promised the other must keep. */
describe('a repeated request', () => {
  let hub: TestHub;
  let twin: TestHub;
  let secondRgs: MockRgs;
  beforeAll(async () => {
    secondRgs = await startMockRgs({ hmacSecret: 'secret-of-second-rgs' });
    hub = await TestHub.start();
    twin = await TestHub.start({ database: hub.database, operator: hub.operator, rgs: hub.rgs });
  });
  afterAll(async () => {
    await twin.stop();
    await hub.stop();
    await secondRgs.close();
  });
  beforeEach(() => hub.clear());

  const stored = async (): Promise<{ transactions: number; keys: number; messages: number }> => {
    const [row] = await hub.database.query<Record<string, string>>(
      'select (select count(*) from wallet_transaction) as transactions, (select count(*) from idempotency_key) as keys, (select count(*) from outbox_message) as messages',
    );
    return { transactions: Number(row?.transactions), keys: Number(row?.keys), messages: Number(row?.messages) };
  };
  const post = (where: TestHub, route: 'debit' | 'credit', body: unknown, idempotencyKey: string | null) =>
    where.call('POST', `/wallet/${route}`, body, { idempotencyKey });
  const isReplay = (answer: HttpAnswer) => answer.headers.get('idempotent-replayed') === 'true';

  it.each([
    { hubs: 'one hub', spread: 1, key: 'key-50' },
    { hubs: 'two hubs', spread: 2, key: 'key-50' },
    { hubs: 'two hubs, without a key', spread: 2, key: null },
  ])(
    'fifty times at once on $hubs makes one row, one operator call and fifty identical answers',
    async ({ spread, key }) => {
      const bet = movement({ playerId: 'fifty', refId: 'bet-50' });
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => post(index % spread === 0 ? hub : twin, 'debit', bet, key)),
      );

      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
      expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
      await hub.reaches(answers[0]?.body.transactionId, 'confirmed');
      await hub.drained();
      expect(await hub.operatorCalls()).toHaveLength(1);
      expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet-50', deliveries: 1 }]);
      expect(await stored()).toEqual({ transactions: 1, keys: key === null ? 0 : 1, messages: 2 });
      expect(await hub.player('fifty')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
    },
  );

  it('gets the first answer byte for byte, before and after the outcome is known, and says that it is a replay', async () => {
    const win = movement({ playerId: 'rita', refId: 'win-1', meta: { note: 'a "quoted" word' } });
    const first = await post(hub, 'credit', win, 'key-1');
    const soon = await post(twin, 'credit', win, 'key-1');
    await hub.reaches(first.body.transactionId, 'confirmed');
    const late = await post(hub, 'credit', win, 'key-1');

    expect(isReplay(first)).toBe(false);
    for (const replay of [soon, late]) {
      expect(replay.status).toBe(200);
      expect(replay.text).toBe(first.text);
      expect(isReplay(replay)).toBe(true);
      expect(replay.headers.get('content-type')).toBe(first.headers.get('content-type'));
    }
  });

  describe('under a key that stands for something else', () => {
    const bet = movement({ playerId: 'kim', refId: 'bet-key' });
    it.each([
      { what: 'another amount', route: 'debit', body: { ...bet, amountCents: 501 } },
      { what: 'another refId', route: 'debit', body: { ...bet, refId: 'bet-other' } },
      { what: 'another player', route: 'debit', body: { ...bet, playerId: 'lou' } },
      { what: 'the same fields with other spaces', route: 'debit', body: JSON.stringify(bet, null, 1) },
      {
        what: 'the same fields in another order',
        route: 'debit',
        body: JSON.stringify(Object.fromEntries(Object.entries(bet).reverse())),
      },
      { what: 'the other route', route: 'credit', body: bet },
    ] as const)('($what) is 409 idempotency_key_reused, and nothing is stored', async ({ route, body }) => {
      const first = await post(hub, 'debit', bet, 'key-taken');
      await hub.reaches(first.body.transactionId, 'confirmed');
      await hub.drained();
      const before = await stored();

      const refused = await post(twin, route, body, 'key-taken');
      expect(refused.status).toBe(409);
      expect(refused.body).toMatchObject({
        detail: 'idempotency conflict',
        code: 'idempotency_key_reused',
        outcome: 'not_applied',
        retryable: false,
      });
      expect(isReplay(refused)).toBe(false);
      expect(await stored()).toEqual(before);
      // The key still stands for the first request.
      expect((await post(hub, 'debit', bet, 'key-taken')).text).toBe(first.text);
      expect(await hub.operatorCalls()).toHaveLength(1);
    });
  });

  it('belongs to its partner: another RGS may use the same key, player and refId', async () => {
    const second = { token: 'token-of-second-rgs', signingKey: 'secret-of-second-rgs' };
    await addPartner(hub, {
      code: 'rgs-second',
      role: 'rgs',
      baseUrl: `${secondRgs.url}/webhooks`,
      operatorId: await partnerId(hub, 'operator'),
      ...second,
    });
    await followPartners(hub, twin);

    const bet = movement({ playerId: 'sam', refId: 'bet-shared' });
    const own = await post(hub, 'debit', bet, 'key-shared');
    const other = await hub.call(
      'POST',
      '/wallet/debit',
      { ...bet, amountCents: 900, refId: 'bet-shared-2' },
      { idempotencyKey: 'key-shared', ...as(second) },
    );
    expect([own.status, other.status]).toEqual([200, 200]);
    expect(isReplay(other)).toBe(false);
    expect(other.body.transactionId).not.toBe(own.body.transactionId);
    // Each partner's repeat finds its own transaction.
    expect((await post(hub, 'debit', bet, 'key-shared')).text).toBe(own.text);
    const replay = await twin.call(
      'POST',
      '/wallet/debit',
      { ...bet, amountCents: 900, refId: 'bet-shared-2' },
      { idempotencyKey: 'key-shared', ...as(second) },
    );
    expect(replay.text).toBe(other.text);
    expect(isReplay(replay)).toBe(true);
    await hub.reaches(own.body.transactionId, 'confirmed');
    await hub.drained();
    expect(await hub.player('sam')).toMatchObject({ net: { USD: '-1400' }, movements: 2 });
  });

  describe('with a refId that is known', () => {
    const bet = movement({
      playerId: 'tom',
      refId: 'bet-ref',
      roundId: 'round-1',
      gameId: 'game-1',
      kind: 'regular',
      roundClosed: false,
    });

    it.each([
      { what: 'nothing', change: {} },
      { what: 'the session', change: { sessionId: 'another' } },
      { what: 'what the RGS notes down for itself', change: { meta: { attempt: 2 } } },
    ])(
      'under a new key, differing in $what, gets the stored result, and the new key stands for it',
      async ({ change }) => {
        const first = await post(hub, 'debit', bet, 'key-old');
        const again = { ...bet, ...change };
        const second = await post(twin, 'debit', again, 'key-new');
        expect(second.status).toBe(200);
        expect(second.text).toBe(first.text);
        expect(isReplay(second)).toBe(true);

        const third = await post(hub, 'debit', again, 'key-new');
        expect(third.text).toBe(first.text);
        expect((await post(hub, 'debit', { ...again, refId: 'bet-elsewhere' }, 'key-new')).body.code).toBe(
          'idempotency_key_reused',
        );
        expect(await stored()).toMatchObject({ transactions: 1, keys: 2 });
        await hub.reaches(first.body.transactionId, 'confirmed');
        expect(await hub.operatorCalls()).toHaveLength(1);
      },
    );

    it.each([
      { what: 'amount', change: { amountCents: 499 } },
      { what: 'currency', change: { currency: 'EUR' } },
      { what: 'round', change: { roundId: 'round-2' } },
      { what: 'lack of a round', change: { roundId: undefined } },
      { what: 'end of the round', change: { roundClosed: true } },
      { what: 'kind', change: { kind: 'free' } },
      { what: 'game', change: { gameId: 'game-2' } },
    ])('but another $what is 409 reference_reused, and its key stays free', async ({ change }) => {
      const first = await post(hub, 'debit', bet, 'key-old');
      const before = await stored();
      for (const where of [hub, twin]) {
        const refused = await post(where, 'debit', { ...bet, ...change }, 'key-free');
        expect(refused.status).toBe(409);
        expect(refused.body).toMatchObject({
          detail: 'idempotency conflict',
          code: 'reference_reused',
          outcome: 'not_applied',
          correlationId: first.body.correlationId,
        });
      }
      expect(await stored()).toMatchObject({ transactions: before.transactions, keys: before.keys });
      const next = await post(hub, 'debit', { ...bet, ...change, refId: 'bet-ref-2' }, 'key-free');
      expect(next.status).toBe(200);
      expect(isReplay(next)).toBe(false);
    });

    it('is a movement of its own for another player, and for a credit', async () => {
      const answers = [
        await post(hub, 'debit', bet, 'key-1'),
        await post(hub, 'debit', { ...bet, playerId: 'una', amountCents: 100 }, 'key-2'),
        await post(hub, 'credit', { ...bet, amountCents: 200 }, 'key-3'),
        await post(hub, 'credit', { ...bet, playerId: 'una', amountCents: 300 }, null),
      ];
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      expect(new Set(answers.map(({ body }) => body.transactionId)).size).toBe(4);
      for (const { body } of answers) await hub.reaches(body.transactionId, 'confirmed');
      expect(await hub.player('tom')).toMatchObject({ net: { USD: '-300' }, movements: 2 });
      expect(await hub.player('una')).toMatchObject({ net: { USD: '200' }, movements: 2 });
    });
  });

  it('is still answered after its currency left the list, while a new bet is refused', async () => {
    const bet = movement({ playerId: 'vic', refId: 'bet-eur', currency: 'EUR' });
    const first = await post(hub, 'debit', bet, 'key-eur');
    const allow = async (currencies: string) => {
      await hub.database.query('update partner set currencies = $1', [currencies]);
      for (const each of [hub, twin]) await each.app.get(PartnerDirectory).refresh();
    };
    await allow('{USD}');
    try {
      for (const key of ['key-eur', 'key-eur-2', null]) {
        const replay = await post(twin, 'debit', bet, key);
        expect(replay.text).toBe(first.text);
        expect(isReplay(replay)).toBe(true);
      }
      expect((await post(hub, 'debit', { ...bet, refId: 'bet-eur-2' }, 'key-eur-3')).body.code).toBe(
        'unsupported_currency',
      );
      expect((await post(hub, 'debit', { ...bet, amountCents: 1 }, null)).body.code).toBe('reference_reused');
      expect((await post(hub, 'debit', { ...bet, refId: 'bet-eur-2' }, 'key-eur')).body.code).toBe(
        'idempotency_key_reused',
      );
    } finally {
      await allow('{USD,EUR}');
    }
  });

  /** One post as the property makes it; small pools, so that most posts collide with others. */
  interface Post {
    readonly route: 'debit' | 'credit';
    readonly playerId: string;
    readonly refId: string;
    readonly amountCents: number;
    readonly key: string | null;
    readonly at: number;
  }
  const posts: fc.Arbitrary<Post[]> = fc.array(
    fc.record({
      route: fc.constantFrom('debit' as const, 'debit' as const, 'credit' as const),
      playerId: fc.constantFrom('p1', 'p2'),
      refId: fc.constantFrom('r1', 'r2'),
      amountCents: fc.constantFrom(100, 200),
      key: fc.constantFrom('k1', 'k2', 'k3', null),
      at: fc.constantFrom(0, 1),
    }),
    { minLength: 2, maxLength: 14 },
  );

  it('meets the same fate as if the requests had come one after the other, however they collide', async () => {
    await fc.assert(
      fc.asyncProperty(posts, async (requests) => {
        const run = randomUUID().slice(0, 8);
        const before = new Set((await hub.operatorCalls()).map(({ n }) => n as number));
        const answers = await Promise.all(
          requests.map(({ route, playerId, refId, amountCents, key, at }) =>
            post(
              at === 0 ? hub : twin,
              route,
              { playerId: `${playerId}-${run}`, refId: `${refId}-${run}`, amountCents, currency: 'USD', gameId: route },
              key === null ? null : `${key}-${run}`,
            ),
          ),
        );
        const outcomes = answers.map((answer) =>
          answer.status === 200
            ? {
                is: isReplay(answer) ? ('replayed' as const) : ('created' as const),
                id: String(answer.body.transactionId),
              }
            : { is: String(answer.body.code), id: '' },
        );
        expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true);
        expect(isSerial(requests, outcomes) ? 'serial' : { requests, outcomes }).toBe('serial');

        const created = outcomes.filter(({ is }) => is === 'created').map(({ id }) => id);
        for (const id of created) await hub.reaches(id, 'confirmed');
        await hub.drained();
        const called = (await hub.operatorCalls())
          .filter(({ n }) => !before.has(n as number))
          .map(({ correlationId }) => String(correlationId));
        expect(called.sort()).toEqual(created.sort());
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });

  it('in a crowd of two hundred posts that mix keys, refIds and amounts leaves one transaction per refId and no error', async () => {
    const crowd = Array.from({ length: 200 }, (_, index) => ({
      key: index % 5 === 0 ? null : `crowd-key-${index % 17}`,
      body: {
        playerId: `crowd-${index % 3}`,
        refId: `crowd-ref-${index % 11}`,
        amountCents: 100 + (index % 2),
        currency: 'USD',
      },
      at: index % 2 === 0 ? hub : twin,
    }));
    const answers = await Promise.all(crowd.map(({ at, body, key }) => post(at, 'debit', body, key)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 409]));
    const created = answers
      .filter((answer) => answer.status === 200 && !isReplay(answer))
      .map(({ body }) => String(body.transactionId));
    // 3 players x 11 refIds, each asked for without a key at least once: each has exactly one winner.
    expect(created).toHaveLength(33);
    for (const id of created) await hub.reaches(id, 'confirmed');
    await hub.drained();
    expect((await hub.operatorCalls()).map(({ correlationId }) => correlationId as string).sort()).toEqual(
      created.sort(),
    );
  });

  interface Outcome {
    readonly is: string;
    readonly id: string;
  }

  /** Whether some order of the requests, taken one by one by a simple model, gives exactly these outcomes. */
  function isSerial(requests: readonly Post[], outcomes: readonly Outcome[]): boolean {
    const dead = new Set<string>();
    const from = (
      done: readonly boolean[],
      keys: ReadonlyMap<string, { print: string; id: string }>,
      known: ReadonlyMap<string, { amount: number; id: string }>,
    ): boolean => {
      if (done.every(Boolean)) return true;
      const place = done.map(Number).join('');
      if (dead.has(place)) return false;
      for (const [index, request] of requests.entries()) {
        const outcome = outcomes[index];
        if (done[index] === true || outcome === undefined) continue;
        const print = JSON.stringify([request.route, request.playerId, request.refId, request.amountCents]);
        const business = JSON.stringify([request.route, request.playerId, request.refId]);
        const byKey = request.key === null ? undefined : keys.get(request.key);
        const byReference = known.get(business);
        let expected: Outcome;
        if (byKey !== undefined)
          expected =
            byKey.print === print ? { is: 'replayed', id: byKey.id } : { is: 'idempotency_key_reused', id: '' };
        else if (byReference === undefined) expected = { is: 'created', id: outcome.id };
        else
          expected =
            byReference.amount === request.amountCents
              ? { is: 'replayed', id: byReference.id }
              : { is: 'reference_reused', id: '' };
        if (expected.is !== outcome.is || expected.id !== outcome.id) continue;
        const taken = outcome.is === 'created' || outcome.is === 'replayed';
        const next = done.map((was, other) => was || other === index);
        const keysAfter =
          taken && request.key !== null ? new Map([...keys, [request.key, { print, id: outcome.id }]]) : keys;
        const knownAfter =
          outcome.is === 'created'
            ? new Map([...known, [business, { amount: request.amountCents, id: outcome.id }]])
            : known;
        if (from(next, keysAfter, knownAfter)) return true;
      }
      dead.add(place);
      return false;
    };
    return from(
      requests.map(() => false),
      new Map(),
      new Map(),
    );
  }
});
