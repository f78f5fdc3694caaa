import { randomUUID } from 'node:crypto';
import {
  arrows,
  booked,
  callsOf,
  configureOperator,
  holdOperator,
  metric,
  releaseOperator,
  rollback,
  timePasses,
  told,
  wait,
  nothingInFlight,
} from '../support/money';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('a rollback', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: {
        DEBIT_DEADLINE_SECONDS: '30',
        RESOLVE_GRACE_SECONDS: '0.1',
        MAX_RETRIES: '0',
        BREAKER_FAILURES: '10000',
        OPERATOR_TIMEOUT_MS: '2000',
        OUTBOX_LEASE_SECONDS: '3',
      },
    });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const undo = (playerId: string, more: Record<string, unknown> = {}, options = wait(5)) =>
    rollback(hub, { playerId, refId: 'undo', originalRefId: 'bet', ...more }, options);
  const bet = async (playerId: string, more: Record<string, unknown> = {}, options = wait(5)) =>
    (await hub.debit({ playerId, refId: 'bet', ...more }, options)).body;
  const forget = () => control(hub.operator.url, 'DELETE', '/admin/faults');

  describe('of a bet that never came', () => {
    it('says so, holds its place, and keeps the bet out without a call', async () => {
      const answer = await undo('ann', {}, {});
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ status: 'OK', refId: 'undo', applied: false, balanceCents: null });
      for (const idempotencyKey of ['k1', 'k1', 'k2']) {
        const late = await hub.debit({ playerId: 'ann', refId: 'bet', amountCents: 700 }, { idempotencyKey });
        expect(late.status).toBe(409);
        expect(late.body).toMatchObject({ code: 'transaction_rolled_back', outcome: 'not_applied', retryable: false });
      }
      // Another bet goes through, so the one that stays out is kept out and not merely late.
      expect(await bet('ann', { refId: 'other' })).toMatchObject({ status: 'OK' });
      await hub.drained();
      expect((await callsOf(hub, 'ann')).map(({ reference }) => reference)).toEqual(['other']);
      expect(await told(hub, 'ann')).toEqual(['other OK']);
    });

    it('holds the place of that player, movement and refId only', async () => {
      await undo('bea');
      expect(await bet('bob')).toMatchObject({ status: 'OK' });
      expect((await hub.credit({ playerId: 'bea', refId: 'bet' }, wait(5))).body).toMatchObject({ status: 'OK' });
      expect((await hub.debit({ playerId: 'bea', refId: 'bet' })).body.code).toBe('transaction_rolled_back');
    });

    it('has a history that says what it is', async () => {
      const { body } = await undo('cat');
      const view = await hub.transaction(body.transactionId);
      expect(view).toMatchObject({
        event: 'rollback',
        state: 'confirmed',
        status: 'OK',
        applied: false,
        refId: 'undo',
      });
      expect(view.timeline).toMatchObject([{ event: 'accepted', source: 'rgs', from: null, to: 'confirmed' }]);
      expect(await hub.transaction(view.originalTransactionId)).toMatchObject({
        event: 'debit',
        refId: 'bet',
        state: 'rolled_back',
        timeline: [{ event: 'accepted', to: 'rolled_back' }],
      });
    });

    it('of a player whom the operator blocks, and in a currency that was taken off the list, is taken too', async () => {
      const { body } = await undo('dan_bad');
      expect(body).toMatchObject({ status: 'OK', applied: false });
    });
  });

  describe('of a bet that was taken', () => {
    it('pays it back once, and tells the RGS that the bet is undone', async () => {
      const { transactionId, balanceCents } = await bet('eve', { amountCents: 1250 });
      expect(balanceCents).toBe(99_998_750);
      const answer = await undo('eve', { reason: 'client timeout' });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('preference-applied')).toBe('wait=5');
      expect(answer.body).toMatchObject({ status: 'OK', refId: 'undo', applied: true });
      await hub.drained();
      expect(await arrows(hub, transactionId)).toEqual(['initiated', 'confirmed', 'rolling_back', 'rolled_back']);
      expect(await hub.transaction(transactionId)).toMatchObject({
        status: 'ROLLED_BACK',
        reason: 'rolled_back',
        balanceCents: 100_000_000,
      });
      expect(await arrows(hub, answer.body.transactionId)).toEqual(['initiated', 'confirmed']);
      expect(await hub.transaction(answer.body.transactionId)).toMatchObject({
        applied: true,
        originalTransactionId: transactionId,
        reason: 'client timeout',
        amountCents: 1250,
      });
      expect(await booked(hub, 'eve')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect((await hub.player('eve')).net).toEqual({ USD: '0' });
      expect(await told(hub, 'eve')).toEqual(['bet OK', 'bet ROLLED_BACK']);
    });

    it('without a wait is answered before the money is back, and a repeat gets the same bytes', async () => {
      await bet('fay');
      const key = randomUUID();
      const first = await undo('fay', {}, { idempotencyKey: key });
      expect(first.body).toMatchObject({ status: 'initiated', applied: null });
      await hub.reaches(first.body.transactionId, 'confirmed');
      const again = await undo('fay', {}, { idempotencyKey: key });
      expect([again.status, again.text, again.headers.get('idempotent-replayed')]).toEqual([200, first.text, 'true']);
      await hub.drained();
      expect(await booked(hub, 'fay')).toEqual(['withdraw bet', 'deposit rollback:bet']);
    });

    it.each([
      { how: 'with the same key', key: 'same', body: {} },
      { how: 'with another key', key: 'other', body: {} },
      { how: 'under another refId', key: 'other', body: { refId: 'undo-2' } },
    ])('again $how: undone once, answered the same', async ({ key, body }) => {
      await bet('gil');
      const first = await undo('gil', {}, wait(5, { idempotencyKey: 'same' }));
      const again = await undo('gil', body, wait(5, { idempotencyKey: key }));
      expect(again.status).toBe(200);
      expect(again.body).toMatchObject({ status: 'OK', applied: true });
      if (body.refId === undefined) {
        expect(again.text).toBe(first.text);
        expect(again.headers.get('idempotent-replayed')).toBe('true');
      } else expect(again.headers.get('idempotent-replayed')).toBeNull();
      await hub.drained();
      expect(await booked(hub, 'gil')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect(await told(hub, 'gil')).toEqual(['bet OK', 'bet ROLLED_BACK']);
    });

    it('twice at once under two refIds: undone once, both told so', async () => {
      await bet('hal');
      const answers = await Promise.all([
        undo('hal'),
        undo('hal', { refId: 'undo-2' }),
        undo('hal'),
        undo('hal', { refId: 'undo-3' }),
      ]);
      expect(answers.map(({ status, body }) => [status, body.status, body.applied])).toEqual(
        Array.from({ length: 4 }, () => [200, 'OK', true]),
      );
      expect(new Set(answers.map(({ body }) => body.transactionId)).size).toBe(3);
      await hub.drained();
      expect(await booked(hub, 'hal')).toEqual(['withdraw bet', 'deposit rollback:bet']);
    });

    it('under a refId that undid another bet: 409, nothing happens', async () => {
      await bet('ida');
      await bet('ida', { refId: 'bet-2' });
      await undo('ida');
      const other = await undo('ida', { originalRefId: 'bet-2' });
      expect([other.status, other.body.code]).toEqual([409, 'reference_reused']);
      await hub.drained();
      expect(await booked(hub, 'ida')).toEqual(['withdraw bet', 'withdraw bet-2', 'deposit rollback:bet']);
      // The refusal left its key free.
      expect((await undo('ida', { refId: 'undo-2', originalRefId: 'bet-2' })).body).toMatchObject({ applied: true });
    });

    it('with a key that stands for another request: 409 both ways', async () => {
      await bet('jon', {}, wait(5, { idempotencyKey: 'bet-key' }));
      expect((await undo('jon', {}, { idempotencyKey: 'bet-key' })).body.code).toBe('idempotency_key_reused');
      await undo('jon', {}, wait(5, { idempotencyKey: 'undo-key' }));
      expect((await undo('jon', { refId: 'undo-2' }, { idempotencyKey: 'undo-key' })).body.code).toBe(
        'idempotency_key_reused',
      );
      expect((await hub.debit({ playerId: 'jon', refId: 'bet-2' }, { idempotencyKey: 'undo-key' })).body.code).toBe(
        'idempotency_key_reused',
      );
      await hub.drained();
      expect(await booked(hub, 'jon')).toEqual(['withdraw bet', 'deposit rollback:bet']);
    });

    it('overtakes what the player does meanwhile', async () => {
      await bet('kim');
      await hub.operatorFault({ kind: 'status', status: 500, playerId: 'kim', direction: 'withdraw' });
      const stuck = await hub.debit({ playerId: 'kim', refId: 'stuck' });
      await hub.reaches(stuck.body.transactionId, 'unknown');
      expect((await undo('kim')).body).toMatchObject({ applied: true });
      expect(await hub.transaction(stuck.body.transactionId)).toMatchObject({ state: 'unknown' });
    });

    it('goes on until the operator takes it', async () => {
      await bet('lou');
      await hub.operatorFault({ kind: 'status', status: 500, playerId: 'lou', direction: 'deposit', next: 3 });
      await hub.operatorFault({ kind: 'throttle', retryAfter: 0, playerId: 'lou', direction: 'deposit', next: 1 });
      const answer = await undo('lou');
      expect(answer.body).toMatchObject({ applied: true });
      await hub.drained();
      expect(
        (await callsOf(hub, 'lou')).filter(({ direction }) => direction === 'deposit').map(({ status }) => status),
      ).toEqual([500, 500, 500, 429, 200]);
      expect((await hub.player('lou')).net).toEqual({ USD: '0' });
    });
  });

  describe('after a credit of its round', () => {
    it.each([
      { how: 'settled', settled: true, amountCents: 900 },
      { how: 'of nothing', settled: true, amountCents: 0 },
      { how: 'still on its way', settled: false, amountCents: 900 },
    ])('that is $how: 409 round_closed, the bet stands', async ({ settled, amountCents }) => {
      await bet('mia', { roundId: 'r' });
      if (!settled) await holdOperator(hub.database);
      const win = await hub.credit(
        { playerId: 'mia', refId: 'win', roundId: 'r', amountCents },
        settled ? wait(5) : {},
      );
      const answer = await undo('mia', { roundId: 'r' });
      expect([answer.status, answer.body.code]).toEqual([409, 'round_closed']);
      await releaseOperator(hub.database);
      await hub.reaches(win.body.transactionId, 'confirmed');
      await hub.drained();
      expect(await booked(hub, 'mia')).toEqual(['withdraw bet', 'deposit win']);
      expect(await told(hub, 'mia')).toEqual(['bet OK', 'win OK']);
      expect((await undo('mia')).body.code).toBe('round_closed');
    });

    it('is refused as well while the bet itself has no outcome yet', async () => {
      await holdOperator(hub.database);
      await bet('nat', { roundId: 'r' }, {});
      const win = await hub.credit({ playerId: 'nat', refId: 'win', roundId: 'r' });
      expect((await undo('nat')).body.code).toBe('round_closed');
      await releaseOperator(hub.database);
      await hub.reaches(win.body.transactionId, 'confirmed');
      expect(await booked(hub, 'nat')).toEqual(['withdraw bet', 'deposit win']);
    });

    it('is taken when the credit is of another round, another player, or none', async () => {
      await bet('oli', { roundId: 'r' });
      await hub.credit({ playerId: 'oli', refId: 'w1', roundId: 's' }, wait(5));
      await hub.credit({ playerId: 'oli', refId: 'w2' }, wait(5));
      await hub.credit({ playerId: 'pam', refId: 'w3', roundId: 'r' }, wait(5));
      expect((await undo('oli')).body).toMatchObject({ applied: true });
    });
  });

  describe('of a bet without an outcome', () => {
    it('that never left: it ends unsent', async () => {
      await holdOperator(hub.database);
      const { transactionId } = await bet('pia', {}, {});
      const answer = await undo('pia', {}, {});
      expect(answer.body).toMatchObject({ status: 'OK', applied: false });
      expect(await hub.transaction(transactionId)).toMatchObject({ state: 'rejected', reason: 'rolled_back' });
      await releaseOperator(hub.database);
      expect(await bet('pia', { refId: 'next' })).toMatchObject({ status: 'OK' });
      await hub.drained();
      expect((await callsOf(hub, 'pia')).map(({ reference }) => reference)).toEqual(['next']);
      expect(await told(hub, 'pia')).toEqual(['bet REJECTED', 'next OK']);
    });

    it('that queues behind another: it is not sent when its turn comes', async () => {
      await hub.operatorFault({ kind: 'status', status: 500, direction: 'deposit', playerId: 'ray' });
      const win = await hub.credit({ playerId: 'ray', refId: 'win' });
      await hub.reaches(win.body.transactionId, 'unknown');
      const { transactionId } = await bet('ray', {}, {});
      expect((await undo('ray', {}, {})).body).toMatchObject({ applied: false });
      expect(await hub.transaction(transactionId)).toMatchObject({ state: 'rejected', reason: 'rolled_back' });
      const last = await hub.credit({ playerId: 'ray', refId: 'last' });
      await forget();
      await hub.reaches(last.body.transactionId, 'confirmed');
      await hub.drained();
      expect(await booked(hub, 'ray')).toEqual(['deposit win', 'deposit last']);
      expect((await callsOf(hub, 'ray')).filter(({ direction }) => direction === 'withdraw')).toEqual([]);
      expect(await told(hub, 'ray')).toEqual(['bet REJECTED', 'win OK', 'last OK']);
      expect(await metric(hub, 'hub_wallet_contradictions_total')).toBe(0);
    });

    it('that is on its way and is booked: it is paid back as soon as that is known', async () => {
      await hub.operatorFault({ kind: 'delay', ms: 400, playerId: 'sam', direction: 'withdraw' });
      const { transactionId } = await bet('sam', {}, {});
      await waitFor('the bet is on its way', async () => (await callsOf(hub, 'sam')).length === 1);
      const answer = await undo('sam');
      expect(answer.body).toMatchObject({ status: 'OK', applied: true });
      await hub.drained();
      expect(await arrows(hub, transactionId)).toEqual(['initiated', 'compensating', 'compensated']);
      expect(await booked(hub, 'sam')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect(await told(hub, 'sam')).toEqual(['bet ROLLED_BACK']);
    });

    it('that is on its way and is refused: there is nothing to undo', async () => {
      await hub.operatorFault({ kind: 'delay', ms: 400, playerId: 'tom_bad', direction: 'withdraw' });
      await bet('tom_bad', {}, {});
      await waitFor('the bet is on its way', async () => (await callsOf(hub, 'tom_bad')).length === 1);
      expect((await undo('tom_bad')).body).toMatchObject({ status: 'OK', applied: false });
      await hub.drained();
      expect(await callsOf(hub, 'tom_bad')).toHaveLength(1);
      expect(await told(hub, 'tom_bad')).toEqual(['bet REJECTED']);
    });

    it('that is on its way and is throttled: it is not sent again', async () => {
      await hub.operatorFault({ kind: 'throttle', retryAfter: 1, playerId: 'uma', next: 1 });
      hub.operator.settings.latencyMs = 300;
      const { transactionId } = await bet('uma', {}, {});
      await waitFor('the bet is on its way', async () => (await callsOf(hub, 'uma')).length === 1);
      const answer = await undo('uma');
      hub.operator.settings.latencyMs = 0;
      expect(answer.body).toMatchObject({ status: 'OK', applied: false });
      expect(await hub.transaction(transactionId)).toMatchObject({ state: 'rejected', reason: 'rolled_back' });
      await hub.drained();
      expect(await callsOf(hub, 'uma')).toHaveLength(1);
      expect(await told(hub, 'uma')).toEqual(['bet REJECTED']);
    });

    it.each([
      {
        how: 'booked',
        afterCommit: true,
        state: 'compensated',
        applied: true,
        books: ['withdraw bet', 'deposit rollback:bet'],
        word: 'ROLLED_BACK',
      },
      { how: 'lost', afterCommit: false, state: 'rejected', applied: false, books: [], word: 'REJECTED' },
    ])(
      'whose answer was lost and that was $how: asked for at once, not sent again',
      async ({ afterCommit, state, applied, books, word }) => {
        await hub.operatorFault({ kind: 'reset', afterCommit, playerId: 'val', direction: 'withdraw', next: 1 });
        const { transactionId } = await bet('val', {}, {});
        await hub.reaches(transactionId, 'unknown');
        // Far from its next attempt, so that only the rollback can be what hurries it.
        await hub.database.query(`update outbox_head set visible_at = now() + interval '1 hour' where not leased`);
        const before = await callsOf(hub, 'val');
        const answer = await undo('val');
        expect(answer.body).toMatchObject({ status: 'OK', applied });
        await hub.drained();
        expect(await hub.transaction(transactionId)).toMatchObject({ state, reason: 'rolled_back' });
        expect((await callsOf(hub, 'val')).filter(({ direction }) => direction === 'withdraw')).toHaveLength(
          before.length,
        );
        expect(await booked(hub, 'val')).toEqual(books);
        expect(await told(hub, 'val')).toEqual([`bet ${word}`]);
      },
    );

    it('that is parked: it waits for the person, who may say that it was booked or that it was not', async () => {
      await configureOperator({ idempotent_by_reference: false, status_query: false }, hub);
      await hub.operatorFault({ kind: 'reset', afterCommit: true, playerId: 'wim', direction: 'withdraw' });
      await hub.operatorFault({ kind: 'reset', playerId: 'xia', direction: 'withdraw' });
      const [wim, xia] = [await bet('wim', {}, {}), await bet('xia', {}, {})];
      for (const { transactionId } of [wim, xia]) await hub.reaches(transactionId, 'parked');
      await configureOperator({ idempotent_by_reference: true, status_query: true }, hub);
      await forget();
      const answers = [await undo('wim', {}, wait(1)), await undo('xia', {}, {})];
      expect(answers.map(({ status, body }) => [status, body.status, body.applied])).toEqual([
        [202, 'initiated', null],
        [200, 'initiated', null],
      ]);
      const resolve = (id: string, resolution: string) =>
        hub.call('PATCH', `/admin/failed-transactions/${id}`, { resolution, reason: 'looked it up' });
      await nothingInFlight(hub.database);
      expect((await resolve(wim.transactionId, 'applied')).body.state).toBe('compensating');
      expect((await resolve(xia.transactionId, 'not_applied')).body.state).toBe('rejected');
      expect(await hub.reaches(answers[0]?.body.transactionId, 'confirmed')).toMatchObject({ applied: true });
      expect(await hub.reaches(answers[1]?.body.transactionId, 'confirmed')).toMatchObject({ applied: false });
      await hub.drained();
      expect([await booked(hub, 'wim'), await booked(hub, 'xia')]).toEqual([
        ['withdraw bet', 'deposit rollback:bet'],
        [],
      ]);
      expect([await told(hub, 'wim'), await told(hub, 'xia')]).toEqual([['bet ROLLED_BACK'], ['bet REJECTED']]);
    });
  });

  describe('of a bet that is over', () => {
    it('that the operator refused: nothing to undo', async () => {
      await bet('yan_bad');
      expect((await undo('yan_bad')).body).toMatchObject({ status: 'OK', applied: false });
      await hub.drained();
      expect(await callsOf(hub, 'yan_bad')).toHaveLength(1);
    });

    it('that its deadline paid back already: undone, and not again', async () => {
      await hub.operatorFault({ kind: 'reset', afterCommit: true, playerId: 'zoe', direction: 'withdraw' });
      const { transactionId } = await bet('zoe', {}, {});
      await hub.reaches(transactionId, 'unknown');
      await timePasses(hub.database, 60);
      await hub.reaches(transactionId, 'compensated');
      expect((await undo('zoe')).body).toMatchObject({ status: 'OK', applied: true });
      await hub.drained();
      expect(await booked(hub, 'zoe')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect(await told(hub, 'zoe')).toEqual(['bet ROLLED_BACK']);
    });
  });

  it('that is malformed is 422 and does nothing', async () => {
    for (const body of [
      { refId: 'undo', originalRefId: 'bet' },
      { playerId: 'a', originalRefId: 'bet' },
      { playerId: 'a', refId: 'undo' },
      { playerId: '.', refId: 'undo', originalRefId: 'bet' },
      { playerId: 'a', refId: 'undo', originalRefId: 'bet', amountCents: 5 },
      { playerId: 'a', refId: 'u'.repeat(129), originalRefId: 'bet' },
    ])
      expect((await rollback(hub, body)).status).toBe(422);
    expect(await hub.database.query('select 1 from wallet_transaction')).toEqual([]);
  });
});
