import { randomUUID } from 'node:crypto';
import { OperatorCallbacksService } from '../../src/webhooks/operator-callbacks.service';
import { configureOperator } from '../support/money';
import { addPartner, as, followPartners } from '../support/partners/partner-rows';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const OPERATOR = { token: 'token-of-operator', signingKey: 'change_secret' };

describe('a callback of the operator', () => {
  let hub: TestHub;
  beforeAll(async () => {
    // A retry is an hour away: what happens sooner, the callback did.
    hub = await TestHub.start({
      env: {
        MAX_RETRIES: '0',
        OUTBOX_RETRY_SCHEDULE_SECONDS: '3600,3600,3600',
        OPERATOR_TIMEOUT_MS: '1500',
        BREAKER_FAILURES: '10000',
        OPERATOR_TOKEN: OPERATOR.token,
      },
    });
    hub.operator.settings.token = OPERATOR.token;
  });
  afterAll(() => hub.stop());
  beforeEach(async () => {
    await hub.clear();
    hub.operator.settings.callbacks = false;
  });

  interface Asked {
    readonly playerId: string;
    readonly refId: string;
    readonly transactionId: string;
    readonly event: 'withdraw' | 'deposit';
  }
  const ask = async (route: 'debit' | 'credit', playerId: string, refId = `ref-${randomUUID()}`): Promise<Asked> => {
    const answer = await hub[route]({ playerId, refId });
    expect(answer.status).toBe(200);
    return {
      playerId,
      refId,
      transactionId: answer.body.transactionId,
      event: route === 'debit' ? 'withdraw' : 'deposit',
    };
  };
  /** As the operator would word it. */
  const word = (
    { playerId, refId, transactionId, event }: Asked,
    status = 'OK',
    change: Record<string, unknown> = {},
  ) => ({ playerId, amount: 5, currency: 'USD', status, event, refId, correlationId: transactionId, ...change });
  const say = (asked: Asked, status = 'OK', change: Record<string, unknown> = {}) =>
    hub.callback(word(asked, status, change), as(OPERATOR));
  const kept = (asked: { refId: string }) =>
    hub.database.query<{
      verdict: string;
      seen: number;
      body: string;
      transaction_id: string | null;
      operator_id: number;
    }>('select verdict, seen, body, transaction_id, operator_id from inbound_callback where ref_id = $1 order by id', [
      asked.refId,
    ]);
  const called = (playerId: string) =>
    waitFor(`the operator was called for ${playerId}`, async () =>
      (await hub.operatorCalls()).some((call) => call.playerId === playerId),
    );
  const callsOf = async (playerId: string) => (await hub.operatorCalls()).filter((call) => call.playerId === playerId);
  const toldOf = async (asked: Asked) =>
    (await hub.rgsReceived()).filter(({ correlationId }) => correlationId === asked.transactionId);
  const timeline = async (asked: Asked) =>
    (await hub.transaction(asked.transactionId)).timeline.map(({ event, source, from, to }: Record<string, string>) => [
      event,
      source,
      from,
      to,
    ]);
  const ACCEPTED = ['accepted', 'rgs', null, 'initiated'];
  /** An OK that only the callback knows of: the operator books, says "pending" and then nothing. */
  const pending = (playerId: string) =>
    hub.operatorFault({ kind: 'status_after_commit', status: 202, body: { status: 'PENDING' }, playerId, next: 1 });

  it('that cannot prove who sent it is 401, and nothing is kept of it', async () => {
    await pending('ann');
    const bet = await ask('debit', 'ann');
    await called('ann');
    for (const options of [
      { ...as(OPERATOR), token: null },
      { ...as(OPERATOR), token: 'guess' },
      { ...as(OPERATOR), signature: null },
      { ...as(OPERATOR), secret: 'guess' },
    ])
      expect((await hub.callback(word(bet), options)).status).toBe(401);
    expect(await kept(bet)).toEqual([]);
    expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'initiated' });
    expect((await say(bet)).status).toBe(200);
    await hub.reaches(bet.transactionId, 'confirmed');
  });

  it('before the HTTP response counts: the RGS is told while the operator still has not answered', async () => {
    await hub.operatorFault({ kind: 'hang', afterCommit: true, playerId: 'ben', next: 1 });
    const bet = await ask('debit', 'ben');
    await called('ben');
    const answer = await say(bet, 'OK', { balance: 12.5 });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ status: 'accepted' });
    expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'confirmed', balanceCents: 1250 });
    await waitFor('the RGS was told', async () => (await toldOf(bet)).length === 1);
    // The hub is still waiting for its answer: nothing has been written about the call yet.
    expect((await callsOf('ben')).map(({ status }) => status)).toEqual([null]);
    expect(await hub.outbox({ queue: 'operator' })).toMatchObject([{ status: 'pending' }]);

    // In the end the call times out, which no longer matters.
    await hub.drained();
    expect(await hub.outbox({ queue: 'operator' })).toMatchObject([{ status: 'sent' }]);
    expect(await callsOf('ben')).toHaveLength(1);
    expect(await toldOf(bet)).toMatchObject([{ status: 'OK', balanceCents: 1250, deliveries: 1 }]);
    expect(await timeline(bet)).toEqual([ACCEPTED, ['transition', 'operator_callback', 'initiated', 'confirmed']]);
    expect(await hub.player('ben')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
  });

  it('before the HTTP response that then says the same makes one webhook', async () => {
    hub.operator.settings.callbacks = true;
    await hub.operatorFault({ kind: 'callback_before_answer', playerId: 'cat', next: 1 });
    const bet = await ask('debit', 'cat');
    await hub.reaches(bet.transactionId, 'confirmed');
    await hub.drained();
    expect(await toldOf(bet)).toMatchObject([{ status: 'OK', deliveries: 1 }]);
    expect(await timeline(bet)).toEqual([ACCEPTED, ['transition', 'operator_callback', 'initiated', 'confirmed']]);
    expect(await kept(bet)).toMatchObject([{ verdict: 'applied', seen: 1, transaction_id: bet.transactionId }]);
  });

  it('before an HTTP response that says the opposite: the first word stands, the other is kept as a contradiction', async () => {
    await hub.operatorFault({ kind: 'delay', ms: 400, playerId: 'dan_bad', next: 1 });
    const bet = await ask('debit', 'dan_bad');
    await called('dan_bad');
    expect((await say(bet)).status).toBe(200);
    await waitFor(
      'the answer was settled',
      async () => (await hub.outbox({ queue: 'operator' }))[0]?.status === 'dead',
    );
    await hub.drained();
    expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'confirmed', status: 'OK' });
    expect(await timeline(bet)).toEqual([
      ACCEPTED,
      ['transition', 'operator_callback', 'initiated', 'confirmed'],
      ['contradiction', 'operator_response', 'confirmed', 'confirmed'],
    ]);
    expect(await toldOf(bet)).toMatchObject([{ status: 'OK', deliveries: 1 }]);
  });

  it('five times at once makes one RGS webhook', async () => {
    await pending('eve');
    const bet = await ask('debit', 'eve');
    await called('eve');
    const answers = await Promise.all(Array.from({ length: 5 }, () => say(bet)));
    expect(answers.map(({ status, body }) => [status, body])).toEqual(
      Array.from({ length: 5 }, () => [200, { status: 'accepted' }]),
    );
    await hub.drained();
    expect(await toldOf(bet)).toMatchObject([{ status: 'OK', deliveries: 1 }]);
    expect(await kept(bet)).toMatchObject([{ verdict: 'applied', seen: 5 }]);
    expect(await timeline(bet)).toEqual([ACCEPTED, ['transition', 'operator_callback', 'initiated', 'confirmed']]);
    expect(await callsOf('eve')).toHaveLength(1);
  });

  it.each([
    { first: 'OK', then: 'REJECTED', player: 'fay', state: 'confirmed' },
    { first: 'REJECTED', then: 'OK', player: 'fay_bad', state: 'rejected' },
  ])(
    '$then after $first changes nothing, is recorded and raises an incident',
    async ({ first, then, player, state }) => {
      const contradictions = async () =>
        Number(/^hub_wallet_contradictions_total (\d+)/m.exec((await hub.call('GET', '/metrics')).text)?.[1]);
      const before = await contradictions();
      const bet = await ask('debit', player);
      const settled = await hub.reaches(bet.transactionId, state);
      await hub.drained();
      expect(settled.status).toBe(first);

      const answer = await say(bet, then, { reason: 'second thoughts', balance: 99 });
      expect(answer.status).toBe(200);
      expect(await hub.transaction(bet.transactionId)).toMatchObject({
        state,
        status: first,
        balanceCents: settled.balanceCents,
        reason: settled.reason,
        settledAt: settled.settledAt,
      });
      expect((await timeline(bet)).at(-1)).toEqual(['contradiction', 'operator_callback', state, state]);
      expect((await hub.transaction(bet.transactionId)).timeline.at(-1).evidence).toMatchObject({
        status: then,
        reason: then === 'OK' ? null : 'second thoughts',
      });
      expect(await kept(bet)).toMatchObject([{ verdict: 'contradicted', transaction_id: bet.transactionId }]);
      expect(await contradictions()).toBe(before + 1);
      // The next movement's webhook comes through the same lane, so none for the contradiction is still on its way.
      const next = await ask('credit', player.replace('_bad', ''));
      await hub.reaches(next.transactionId, 'confirmed');
      await hub.drained();
      expect(await toldOf(bet)).toMatchObject([{ status: first, deliveries: 1 }]);
    },
  );

  it.each([
    { route: 'debit', status: 'OK', state: 'confirmed', told: 'OK', record: 'sent' },
    { route: 'debit', status: 'REJECTED', state: 'rejected', told: 'REJECTED', record: 'dead' },
    { route: 'credit', status: 'OK', state: 'confirmed', told: 'OK', record: 'sent' },
    { route: 'credit', status: 'REJECTED', state: 'parked', told: null, record: 'dead' },
  ] as const)(
    '$status for a $route that was only accepted: $state, without another call',
    async ({ route, status, state, told, record }) => {
      await pending('gil');
      const asked = await ask(route, 'gil');
      const next = await ask('debit', 'gil');
      await waitFor(
        'the answer was settled',
        async () => (await hub.outbox({ queue: 'operator', status: 'failed' })).length === 1,
      );
      expect(await hub.transaction(asked.transactionId)).toMatchObject({ state: 'initiated', status: 'initiated' });

      expect((await say(asked, status)).status).toBe(200);
      await hub.reaches(asked.transactionId, state);
      // The lane is free at once, an hour before the message would have been tried again.
      await hub.reaches(next.transactionId, 'confirmed');
      await hub.drained();
      expect((await toldOf(asked)).map((webhook) => webhook.status)).toEqual(told === null ? [] : [told]);
      expect((await hub.outbox({ queue: 'operator' })).map((each) => [each.payload.reference, each.status])).toEqual([
        [next.refId, 'sent'],
        [asked.refId, record],
      ]);
      expect((await callsOf('gil')).map(({ reference }) => reference)).toEqual([asked.refId, next.refId]);
    },
  );

  it('that stays out: the movement goes again with its reference when the time is up', async () => {
    await pending('hal');
    const bet = await ask('debit', 'hal');
    await waitFor(
      'the answer was settled',
      async () => (await hub.outbox({ queue: 'operator', status: 'failed' })).length === 1,
    );
    const [waiting] = await hub.outbox({ queue: 'operator' });
    const waitMs = new Date(waiting?.nextAttemptAt).getTime() - Date.now();
    expect(waitMs).toBeGreaterThan(50_000);
    expect(waitMs).toBeLessThanOrEqual(60_000);

    await hub.database.query(`update outbox_head set visible_at = now() where lane_key = 'hal'`);
    await hub.reaches(bet.transactionId, 'confirmed');
    const calls = await callsOf('hal');
    expect(calls.map(({ applied, repeat }) => [applied, repeat])).toEqual([
      [true, false],
      [false, true],
    ]);
    expect(await hub.player('hal')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
  });

  it.each([
    { status: 'OK', state: 'confirmed', fault: { kind: 'status_after_commit', status: 500 } },
    { status: 'DECLINED', state: 'rejected', fault: { kind: 'reset' } },
  ])(
    '$status while the message waits for its retry finishes it without another call',
    async ({ status, state, fault }) => {
      await hub.operatorFault({ ...fault, playerId: 'ida', next: 1 });
      const bet = await ask('debit', 'ida');
      await hub.reaches(bet.transactionId, 'unknown');
      expect((await say(bet, status)).status).toBe(200);
      expect(await timeline(bet)).toEqual([
        ACCEPTED,
        ['transition', 'operator_response', 'initiated', 'unknown'],
        ['transition', 'operator_callback', 'unknown', state],
      ]);
      const next = await ask('debit', 'ida');
      await hub.reaches(next.transactionId, 'confirmed');
      await hub.drained();
      expect((await callsOf('ida')).map(({ reference }) => reference)).toEqual([bet.refId, next.refId]);
      expect(await toldOf(bet)).toHaveLength(1);
    },
  );

  it('in the wrong order reaches the right transactions', async () => {
    const asked: Asked[] = [];
    for (const player of ['out-1', 'out-2', 'out-3']) {
      await pending(player);
      asked.push(await ask('debit', player));
      await called(player);
    }
    for (const [index, each] of asked.reverse().entries())
      expect((await say(each, index === 1 ? 'REJECTED' : 'OK')).status).toBe(200);
    expect(
      await Promise.all(asked.map(async ({ transactionId }) => (await hub.transaction(transactionId)).state)),
    ).toEqual(['confirmed', 'rejected', 'confirmed']);
    await hub.drained();
    for (const each of asked) expect(await toldOf(each)).toHaveLength(1);
  });

  it('that the operator sends in reverse, duplicated or contradicting itself leaves one webhook per movement', async () => {
    hub.operator.settings.callbacks = true;
    await hub.operatorFault({ kind: 'out_of_order_callbacks', window: 3, playerId: 'ron' });
    await hub.operatorFault({ kind: 'duplicate_callbacks', count: 5, playerId: 'sue' });
    await hub.operatorFault({ kind: 'contradicting_callback', status: 'REJECTED', playerId: 'tim' });
    const asked = [
      await ask('debit', 'ron'),
      await ask('debit', 'ron'),
      await ask('credit', 'ron'),
      await ask('debit', 'sue'),
      await ask('debit', 'tim'),
    ];
    for (const each of asked.slice(0, 4)) await hub.reaches(each.transactionId, 'confirmed');
    await waitFor('all callbacks came', async () => {
      const [row] = await hub.database.query<{ seen: number }>(
        'select sum(seen)::integer as seen from inbound_callback',
      );
      return row?.seen === 3 + 5 + 1;
    });
    await hub.drained();
    for (const each of asked) expect(await toldOf(each)).toHaveLength(1);
  });

  it('for a pair that the hub never sent is 404, and its body is kept', async () => {
    const bet = await ask('debit', 'jon');
    await hub.reaches(bet.transactionId, 'confirmed');
    const strangers = [
      { ...bet, refId: `other-${randomUUID()}` },
      { ...bet, transactionId: randomUUID() },
      { ...bet, transactionId: 'corr-1' },
    ];
    for (const stranger of strangers) {
      const answer = await say(stranger);
      expect(answer.status).toBe(404);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect(answer.body).toMatchObject({ detail: 'unknown reference/correlation', code: 'unknown_reference' });
      expect(await kept(stranger)).toContainEqual(
        expect.objectContaining({ verdict: 'unmatched', body: JSON.stringify(word(stranger)), transaction_id: null }),
      );
    }
    expect(await timeline(bet)).toHaveLength(2);
  });

  it('that was too early is matched later, and one bad body does not keep the others from it', async () => {
    await pending('kim');
    const bet = await ask('debit', 'kim');
    await called('kim');
    // The hub does not know the pair yet, as after a restore from a backup.
    await hub.database.query(`update wallet_transaction set ref_id = 'not-yet' where id = $1`, [bet.transactionId]);
    expect((await say(bet, 'OK', { amount: 6 })).status).toBe(404);
    expect(
      (await hub.call('POST', '/webhooks/incoming', `\ufeff${JSON.stringify(word(bet))}`, as(OPERATOR))).status,
    ).toBe(404);
    expect((await kept(bet)).map(({ verdict }) => verdict)).toEqual(['unmatched', 'unmatched']);
    await hub.app.get(OperatorCallbacksService).rematch();
    expect((await kept(bet)).map(({ verdict }) => verdict)).toEqual(['unmatched', 'unmatched']);

    await hub.database.query('update wallet_transaction set ref_id = $2 where id = $1', [bet.transactionId, bet.refId]);
    await hub.app.get(OperatorCallbacksService).rematch();
    expect((await kept(bet)).map(({ verdict }) => verdict)).toEqual(['mismatched', 'applied']);
    expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'confirmed' });
    await hub.drained();
    expect(await toldOf(bet)).toMatchObject([{ status: 'OK' }]);
    // A second round finds nothing to do.
    await hub.app.get(OperatorCallbacksService).rematch();
    expect(await timeline(bet)).toHaveLength(2);
  });

  it.each([
    { field: 'playerId', change: { playerId: 'somebody-else' } },
    { field: 'amount', change: { amount: 5.01 } },
    { field: 'amount', change: { amount: '4.99' } },
    { field: 'amount', change: { amount: 5.001 } },
    { field: 'amount', change: { amount: -5 } },
    { field: 'currency', change: { currency: 'EUR' } },
    { field: 'event', change: { event: 'deposit' } },
  ])('with another $field ($change) is 409, is kept, and changes nothing', async ({ field, change }) => {
    await pending('lou');
    const bet = await ask('debit', 'lou');
    await called('lou');
    const answer = await say(bet, 'OK', change);
    expect(answer.status).toBe(409);
    expect(answer.body).toMatchObject({
      code: 'callback_mismatch',
      correlationId: bet.transactionId,
      errors: [{ field }],
    });
    expect(await kept(bet)).toMatchObject([{ verdict: 'mismatched', transaction_id: bet.transactionId }]);
    expect(await timeline(bet)).toEqual([ACCEPTED]);
    // The right word still counts.
    expect((await say(bet)).status).toBe(200);
    expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'confirmed' });
  });

  it.each([{ amount: 5 }, { amount: '5' }, { amount: '5.00' }, { status: 'ok' }, { status: 'Success' }])(
    'may be worded as %j',
    async (change) => {
      await pending('mia');
      const bet = await ask('debit', 'mia');
      await called('mia');
      expect((await say(bet, 'OK', change)).status).toBe(200);
      expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'confirmed' });
    },
  );

  it('is compared exactly, also for an amount that no double holds', async () => {
    await hub.operatorFault({ kind: 'status', status: 202, body: { status: 'PENDING' }, playerId: 'max', next: 1 });
    const answer = await hub.debit({ playerId: 'max', refId: 'max-1', amountCents: 9_007_199_254_740_991 });
    expect(answer.status).toBe(200);
    await called('max');
    const body = (amount: string) =>
      JSON.stringify({
        playerId: 'max',
        amount: 0,
        currency: 'USD',
        status: 'OK',
        event: 'withdraw',
        refId: 'max-1',
        correlationId: answer.body.correlationId,
      }).replace('"amount":0', `"amount":${amount}`);
    const send = (amount: string) => hub.call('POST', '/webhooks/incoming', body(amount), as(OPERATOR));
    // As doubles these two are the same number.
    expect((await send('90071992547409.90')).status).toBe(409);
    expect((await send('90071992547409.91')).status).toBe(200);
    expect(await hub.transaction(answer.body.transactionId)).toMatchObject({ state: 'confirmed' });
  });

  it.each([
    { vague: 'MAYBE', status: 422 },
    { vague: 'O\u212a', status: 422 },
    { vague: 'PENDING', status: 200 },
    { vague: 'Accepted', status: 200 },
  ])(
    'with the word $vague is $status, decides nothing, is recorded, and the next word counts',
    async ({ vague, status }) => {
      await pending('ned');
      const bet = await ask('debit', 'ned');
      await waitFor(
        'the answer was settled',
        async () => (await hub.outbox({ queue: 'operator', status: 'failed' })).length === 1,
      );
      const answer = await say(bet, vague);
      expect(answer.status).toBe(status);
      if (status === 422)
        expect(answer.body).toMatchObject({
          code: 'unknown_status_word',
          errors: [{ field: 'status', message: expect.stringContaining('OK, SUCCESS, PENDING') }],
        });
      expect(await kept(bet)).toMatchObject([{ verdict: 'undecided' }]);
      expect(await timeline(bet)).toEqual([ACCEPTED]);
      expect(await hub.outbox({ queue: 'operator' })).toMatchObject([{ status: 'failed' }]);
      expect((await say(bet)).status).toBe(200);
      expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'confirmed' });
    },
  );

  it('cannot touch a transaction of another operator', async () => {
    const other = { token: 'token-of-other-operator', signingKey: 'secret-of-other-operator' };
    const otherId = await addPartner(hub, {
      code: 'operator-2',
      role: 'operator',
      baseUrl: hub.operator.url,
      ...other,
    });
    await followPartners(hub);
    await pending('oda');
    const bet = await ask('debit', 'oda');
    await called('oda');
    const answer = await hub.callback(word(bet, 'REJECTED'), as(other));
    expect(answer.status).toBe(404);
    expect(answer.body).toMatchObject({ code: 'unknown_reference' });
    expect(answer.body).not.toHaveProperty('correlationId');
    await hub.app.get(OperatorCallbacksService).rematch();
    expect(await timeline(bet)).toEqual([ACCEPTED]);
    expect(await kept(bet)).toMatchObject([{ verdict: 'unmatched', operator_id: otherId, transaction_id: null }]);
    // Its token with the right operator's key opens nothing either, and the right operator is heard.
    expect((await hub.callback(word(bet), { ...as(OPERATOR), token: other.token })).status).toBe(401);
    expect((await say(bet)).status).toBe(200);
    expect(await hub.transaction(bet.transactionId)).toMatchObject({ state: 'confirmed' });
  });

  describe('racing', () => {
    // These count calls, and on a busy machine forty at once can take longer than the short time-out of the tests
    // above.
    beforeAll(() => configureOperator({ timeout_ms: 15_000 }, hub));
    afterAll(() => configureOperator({ timeout_ms: 1_500 }, hub));

    it('with others and with the response, many times over, makes exactly one webhook and one transition', async () => {
      hub.operator.settings.callbacks = true;
      const rounds = await Promise.all(
        Array.from({ length: 40 }, async (_, round) => {
          const playerId = `race-${round}`;
          await hub.operatorFault(
            round % 2 === 0
              ? { kind: 'duplicate_callbacks', count: 4, playerId }
              : { kind: 'delay', ms: round, afterCommit: true, playerId },
          );
          const bet = await ask(round % 3 === 0 ? 'credit' : 'debit', playerId);
          // Three more at about the time of the answer, each with bytes of its own.
          await called(playerId);
          const answers = await Promise.all([1, 2, 3].map((balance) => say(bet, 'OK', { balance })));
          expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
          return bet;
        }),
      );
      for (const bet of rounds) await hub.reaches(bet.transactionId, 'confirmed');
      await hub.drained();
      const told = await hub.rgsReceived();
      for (const bet of rounds) {
        expect(told.filter(({ correlationId }) => correlationId === bet.transactionId)).toMatchObject([
          { status: 'OK', deliveries: 1 },
        ]);
        expect(await timeline(bet)).toEqual([ACCEPTED, ['transition', expect.any(String), 'initiated', 'confirmed']]);
      }
      expect(await hub.operatorCalls()).toHaveLength(40);
    });

    it('with its own opposite ends in one of the two, told once, with the other kept as a contradiction', async () => {
      const rounds = await Promise.all(
        Array.from({ length: 20 }, async (_, round) => {
          await pending(`split-${round}`);
          const bet = await ask('debit', `split-${round}`);
          await called(bet.playerId);
          await Promise.all([say(bet, 'OK'), say(bet, 'REJECTED')]);
          return bet;
        }),
      );
      await hub.drained();
      for (const bet of rounds) {
        const { state, status } = await hub.transaction(bet.transactionId);
        expect(['confirmed', 'rejected']).toContain(state);
        expect(await timeline(bet)).toEqual([
          ACCEPTED,
          ['transition', 'operator_callback', 'initiated', state],
          ['contradiction', 'operator_callback', state, state],
        ]);
        expect(await toldOf(bet)).toMatchObject([{ status, deliveries: 1 }]);
        expect((await kept(bet)).map(({ verdict }) => verdict).sort()).toEqual(['applied', 'contradicted']);
      }
    });
  });
});
