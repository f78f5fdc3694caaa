import { holdOperator, releaseOperator, rollback, timePasses, wait } from '../support/money';
import { DeadlineWorker } from '../../src/wallet/deadline.worker';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('what an RGS is told', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: { DEBIT_DEADLINE_SECONDS: '30', RESOLVE_GRACE_SECONDS: '0.1', MAX_RETRIES: '0', BREAKER_FAILURES: '10000' },
    });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const webhookOf = async (playerId: string) =>
    waitFor('the webhook', async () => (await hub.rgsReceived()).find((each) => each.playerId === playerId));

  describe('of a refusal', () => {
    it.each([
      {
        fault: { kind: 'refuse', reason: 'INSUFFICIENT_FUNDS' },
        reason: 'INSUFFICIENT_FUNDS',
        reasonCode: 'insufficient_funds',
      },
      { fault: { kind: 'refuse', reason: 'account locked' }, reason: 'account locked', reasonCode: 'player_blocked' },
      { fault: { kind: 'refuse', reason: 'limit_reached' }, reason: 'limit_reached', reasonCode: 'limit_reached' },
      {
        fault: { kind: 'refuse', reason: 'GAME_NOT_AVAILABLE' },
        reason: 'GAME_NOT_AVAILABLE',
        reasonCode: 'bet_not_allowed',
      },
      { fault: { kind: 'refuse', reason: 'E-77' }, reason: 'E-77', reasonCode: 'other' },
      {
        fault: { kind: 'status', status: 401, body: { status: 'ERROR', reason: 'invalid signature' } },
        reason: 'operator_misconfigured',
        reasonCode: 'operator_misconfigured',
      },
      { fault: { kind: 'status', status: 404 }, reason: 'injected 404', reasonCode: 'operator_misconfigured' },
    ])(
      'is $reasonCode in the answer, the look-up and the webhook, beside "$reason"',
      async ({ fault, reason, reasonCode }) => {
        await hub.operatorFault({ ...fault, next: 1 });
        const { body } = await hub.debit({ playerId: 'ann' }, wait(5));
        expect(body).toMatchObject({ status: 'REJECTED', reason, reasonCode });
        expect(await hub.transaction(body.transactionId)).toMatchObject({ status: 'REJECTED', reason, reasonCode });
        expect(await webhookOf('ann')).toMatchObject({ status: 'REJECTED', reason, reasonCode });
      },
    );

    it('is null of what was not refused, also in the first answer', async () => {
      const first = await hub.debit({ playerId: 'bea', refId: 'bet' });
      expect(first.body).toMatchObject({ status: 'initiated', reason: null, reasonCode: null });
      await hub.reaches(first.body.transactionId, 'confirmed');
      expect(await hub.transaction(first.body.transactionId)).toMatchObject({ reason: null, reasonCode: null });
      expect(await webhookOf('bea')).toMatchObject({ status: 'OK', reason: null, reasonCode: null });
    });

    it('is deadline or rolled_back where the hub stopped the bet', async () => {
      await holdOperator(hub.database);
      const late = await hub.debit({ playerId: 'cat', refId: 'late' });
      const undone = await hub.debit({ playerId: 'dan', refId: 'undone' });
      await rollback(hub, { playerId: 'dan', refId: 'undo', originalRefId: 'undone' });
      await timePasses(hub.database, 31);
      await hub.app.get(DeadlineWorker).sweep();
      expect(await hub.transaction(late.body.transactionId)).toMatchObject({
        state: 'rejected',
        reason: 'deadline',
        reasonCode: 'deadline',
      });
      expect(await hub.transaction(undone.body.transactionId)).toMatchObject({
        state: 'rejected',
        reason: 'rolled_back',
        reasonCode: 'rolled_back',
      });
      await releaseOperator(hub.database);
      expect(await webhookOf('cat')).toMatchObject({ status: 'REJECTED', reasonCode: 'deadline' });
      expect(await webhookOf('dan')).toMatchObject({ status: 'REJECTED', reasonCode: 'rolled_back' });
    });
  });

  describe('of a rollback', () => {
    const undo = (more: Record<string, unknown> = {}, options = wait(5)) =>
      rollback(hub, { playerId: 'eve', refId: 'undo', originalRefId: 'bet', ...more }, options);
    const bet = (options = wait(5)) => hub.debit({ playerId: 'eve', refId: 'bet' }, options);

    it.each([
      { what: 'a bet that the hub never got', before: async () => {}, result: 'never_received', applied: false },
      { what: 'a bet that is booked', before: async () => void (await bet()), result: 'undone', applied: true },
      {
        what: 'a bet that the operator refused',
        before: async () => {
          await hub.operatorFault({ kind: 'refuse', next: 1 });
          await bet();
        },
        result: 'refused',
        applied: false,
      },
      {
        what: 'a bet that still waits in the queue',
        before: async () => {
          await holdOperator(hub.database);
          await bet({});
        },
        result: 'never_sent',
        applied: false,
      },
      {
        what: 'a bet that missed its deadline in the queue',
        before: async () => {
          await holdOperator(hub.database);
          await bet({});
          await timePasses(hub.database, 31);
          await hub.app.get(DeadlineWorker).sweep();
        },
        result: 'never_sent',
        applied: false,
      },
    ])('of $what says $result, and every repeat says the same', async ({ before, result, applied }) => {
      await before();
      const first = await undo({}, wait(5, { idempotencyKey: 'undo' }));
      expect([first.status, first.body.result, first.body.applied]).toEqual([200, result, applied]);
      await releaseOperator(hub.database);
      await hub.drained();
      expect((await undo({}, wait(5, { idempotencyKey: 'undo' }))).text).toBe(first.text);
      expect((await undo({}, { idempotencyKey: 'undo' })).text).toBe(first.text);
      expect((await undo({ refId: 'undo-2' })).body).toMatchObject({ result, applied });
    });

    it('that is not through says in_progress, with the same bytes for the same request; who waits is told the end', async () => {
      const { transactionId } = (await bet()).body;
      await holdOperator(hub.database);
      const first = await undo({}, { idempotencyKey: 'undo' });
      expect(first.body).toMatchObject({ status: 'initiated', applied: null, result: 'in_progress' });
      // A bet that is being paid back has not come to its end.
      expect(await hub.transaction(transactionId)).toMatchObject({
        state: 'rolling_back',
        status: 'OK',
        settledAt: null,
      });
      expect((await undo({ refId: 'undo-2' }, wait(1))).body).toMatchObject({ result: 'in_progress' });
      await releaseOperator(hub.database);
      await hub.drained();
      expect(await hub.transaction(transactionId)).toMatchObject({
        state: 'rolled_back',
        settledAt: expect.any(String),
      });
      expect((await undo({}, { idempotencyKey: 'undo' })).text).toBe(first.text);
      expect((await undo({}, wait(5, { idempotencyKey: 'undo' }))).body).toMatchObject({
        status: 'OK',
        applied: true,
        result: 'undone',
      });
      expect((await undo({ refId: 'undo-2' }, wait(5))).body).toMatchObject({ result: 'undone' });
    });

    it('of a bet whose answer was lost, and which the operator turns out not to have, ends as never_sent', async () => {
      await hub.operatorFault({ kind: 'hang', next: 1 });
      const placed = await bet({});
      await waitFor('the call has left', async () => (await hub.operatorCalls()).length === 1);
      const first = await undo({}, {});
      expect(first.body.result).toBe('in_progress');
      await waitFor('the bet is over', async () => {
        await timePasses(hub.database, 5);
        return (await hub.transaction(placed.body.transactionId)).state === 'rejected';
      });
      expect((await undo({ refId: 'undo-2' })).body).toMatchObject({ applied: false, result: 'never_sent' });
    });
  });

  describe('of a win that nobody bet for', () => {
    const codes = (answer: { body: { warnings?: { code: string }[] } }) =>
      (answer.body.warnings ?? []).map(({ code }) => code);
    const win = (more: Record<string, unknown>, options?: Parameters<TestHub['credit']>[1]) =>
      hub.credit({ playerId: 'fay', amountCents: 900, ...more }, options);

    it('is a warning beside the answer; the win is paid, and a repeat gets the same bytes', async () => {
      const stray = await win({ refId: 'stray', roundId: 'mistyped' }, { idempotencyKey: 'one' });
      expect([stray.status, stray.body.status, codes(stray)]).toEqual([200, 'initiated', ['no_bet_in_round']]);
      const bare = await win({ refId: 'bare' }, { idempotencyKey: 'two' });
      expect(codes(bare)).toEqual(['no_round']);
      await hub.debit({ playerId: 'fay', refId: 'late', roundId: 'mistyped' });
      await hub.drained();
      expect((await win({ refId: 'stray', roundId: 'mistyped' }, { idempotencyKey: 'one' })).text).toBe(stray.text);
      expect((await win({ refId: 'stray', roundId: 'mistyped' })).text).toBe(stray.text);
      expect((await win({ refId: 'bare' }, { idempotencyKey: 'two' })).text).toBe(bare.text);
      expect(codes(await win({ refId: 'stray', roundId: 'mistyped' }, wait(5)))).toEqual(['no_bet_in_round']);
      expect(await hub.transaction(stray.body.transactionId)).toMatchObject({
        status: 'OK',
        warnings: [{ code: 'no_bet_in_round' }],
      });
    });

    it.each([
      { what: 'of nothing', body: { amountCents: 0, roundId: 'r' } },
      { what: 'of a promotion', body: { kind: 'promo' } },
      { what: 'of a free spin', body: { kind: 'free', roundId: 'r' } },
      { what: 'of a jackpot', body: { kind: 'jackpot', roundId: 'r' } },
    ])('is no word when it is one $what', async ({ body }) => {
      expect((await win(body)).body).not.toHaveProperty('warnings');
    });

    it('is no word after a bet of its round, in the same moment or before, and of that player only', async () => {
      await hub.debit({ playerId: 'fay', refId: 'bet', roundId: 'r' });
      expect(codes(await win({ roundId: 'r' }))).toEqual([]);
      expect(codes(await win({ roundId: 'r', playerId: 'gil' }))).toEqual(['no_bet_in_round']);
      // A second win is told nothing new: GET /rounds lists what is wrong with a round.
      expect(codes(await win({ roundId: 'r', playerId: 'gil' }))).toEqual([]);
    });

    it('in a crowd that is stored at once is found for each alone', async () => {
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          n % 3 === 0
            ? hub.debit({ playerId: `p${n}`, roundId: 'r' })
            : win({ playerId: `p${n}`, roundId: 'r', refId: 'win' }),
        ),
      );
      expect(answers.map(codes)).toEqual(answers.map((_, n) => (n % 3 === 0 ? [] : ['no_bet_in_round'])));
      const again = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          win({ playerId: `p${n}`, roundId: n % 2 === 0 ? 'r' : 's', refId: n % 3 === 0 ? 'win' : 'win-2' }),
        ),
      );
      expect(again.map(codes)).toEqual(again.map((_, n) => (n % 2 === 0 ? [] : ['no_bet_in_round'])));
    });
  });
});
