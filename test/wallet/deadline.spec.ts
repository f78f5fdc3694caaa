import { Periodic } from '../../src/scheduling/periodic';
import { DeadlineWorker } from '../../src/wallet/deadline.worker';
import {
  arrows,
  booked,
  callsOf,
  holdOperator,
  leaseLost,
  releaseOperator,
  timePasses,
  told,
  wait,
} from '../support/money';
import { withClient } from '../support/hub/test-database';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const QUICK = {
  MAX_RETRIES: '0',
  OPERATOR_TIMEOUT_MS: '250',
  OUTBOX_LEASE_SECONDS: '1.25',
  BREAKER_FAILURES: '10000',
  RESOLVE_GRACE_SECONDS: '0.15',
  CALLBACK_TIMEOUT_SECONDS: '30',
};

/** Eight time-outs of the operator, so that a busy machine still gets a second try in. */
const DEADLINE_SECONDS = 2;

describe('the deadline of a debit', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { ...QUICK, DEBIT_DEADLINE_SECONDS: String(DEADLINE_SECONDS) } });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const sweep = () => hub.app.get(DeadlineWorker).sweep();
  /** Another replica is at the sweep as long as `work` lasts. */
  const withTurnTaken = <T>(work: () => Promise<T>): Promise<T> =>
    withClient(hub.database.superuserUrl, async (replica) => {
      await replica.query(`begin; select pg_advisory_xact_lock(hashtext('wallet:deadline'))`);
      return work();
    });
  const debit = async (playerId: string, more: Record<string, unknown> = {}): Promise<string> =>
    (await hub.debit({ playerId, refId: 'bet', ...more })).body.transactionId;

  describe.each([
    { how: 'hangs', fault: { kind: 'hang' } },
    { how: 'breaks the connection', fault: { kind: 'reset' } },
    { how: 'answers what nobody can read', fault: { kind: 'unreadable' } },
  ])('when the operator $how', ({ fault }) => {
    it('having booked the bet: the stake is paid back, the net is 0 and the RGS is told once', async () => {
      const before = performance.timeOrigin + performance.now();
      await hub.operatorFault({ ...fault, afterCommit: true, direction: 'withdraw' });
      const id = await debit('ann');
      const done = await hub.reaches(id, 'compensated');
      await hub.drained();

      expect(done).toMatchObject({ status: 'ROLLED_BACK', reason: 'deadline', balanceCents: 100_000_000 });
      expect(await arrows(hub, id)).toEqual(['initiated', 'unknown', 'compensating', 'compensated']);
      expect(done.timeline.map(({ source }: { source: string }) => source)).toEqual([
        'rgs',
        'operator_response',
        'operator_list',
        'operator_response',
      ]);
      expect(await booked(hub, 'ann')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect((await hub.player('ann')).net).toEqual({ USD: '0' });
      expect(await told(hub, 'ann')).toEqual(['bet ROLLED_BACK']);
      // The same reference was tried until the deadline, and not once after it.
      const withdrawals = (await callsOf(hub, 'ann')).filter(({ direction }) => direction === 'withdraw');
      expect(withdrawals.length).toBeGreaterThan(1);
      const last = Math.max(...withdrawals.map(({ at }) => at));
      expect(last).toBeLessThan(Date.parse(done.timeline.find(({ to }: { to: string }) => to === 'compensating').at));
      expect(last - before).toBeLessThan((DEADLINE_SECONDS + 1) * 1000);
    });

    it('having lost it: no deposit, and the bet is rejected', async () => {
      await hub.operatorFault({ ...fault, direction: 'withdraw' });
      const id = await debit('bea');
      const done = await hub.reaches(id, 'rejected');
      await hub.drained();
      expect(done).toMatchObject({ status: 'REJECTED', reason: 'deadline' });
      expect(done.timeline.at(-1)).toMatchObject({
        source: 'operator_list',
        from: 'unknown',
        to: 'rejected',
        evidence: { class: 'absent' },
      });
      expect((await callsOf(hub, 'bea')).filter(({ direction }) => direction === 'deposit')).toEqual([]);
      expect(await booked(hub, 'bea')).toEqual([]);
      expect(await told(hub, 'bea')).toEqual(['bet REJECTED']);
    });
  });

  it('finds a bet that was booked between the two questions', async () => {
    await hub.operatorFault({ kind: 'reset', direction: 'withdraw' });
    const id = await debit('cat');
    await waitFor(
      'the operator said once that it does not know the bet',
      async () =>
        (await hub.database.query(`select 1 from wallet_transaction where id = $1 and absent_at is not null`, [id]))
          .length === 1,
    );
    // The lost call arrives after all.
    await control(hub.operator.url, 'POST', '/admin/book', {
      playerId: 'cat',
      direction: 'withdraw',
      amount: 5,
      currency: 'USD',
      reference: 'bet',
      correlationId: id,
    });
    await hub.reaches(id, 'compensated');
    await hub.drained();
    expect(await booked(hub, 'cat')).toEqual(['withdraw bet', 'deposit rollback:bet']);
    expect((await hub.player('cat')).net).toEqual({ USD: '0' });
    expect(await told(hub, 'cat')).toEqual(['bet ROLLED_BACK']);
  });

  it('resolves a bet that was only accepted and whose callback never came', async () => {
    await hub.operatorFault({
      kind: 'status_after_commit',
      status: 202,
      body: { status: 'PENDING' },
      direction: 'withdraw',
    });
    const id = await debit('dan');
    const done = await hub.reaches(id, 'compensated');
    await hub.drained();
    expect(done.reason).toBe('deadline');
    expect(await arrows(hub, id)).toEqual(['initiated', 'compensating', 'compensated']);
    expect(await booked(hub, 'dan')).toEqual(['withdraw bet', 'deposit rollback:bet']);
    expect(await told(hub, 'dan')).toEqual(['bet ROLLED_BACK']);
  });

  describe('after a replica died between sending and settling', () => {
    const crash = async (playerId: string, isBooked: boolean): Promise<string> => {
      await holdOperator(hub.database);
      const id = await debit(playerId);
      await leaseLost(hub.database, id);
      if (isBooked)
        await control(hub.operator.url, 'POST', '/admin/book', {
          playerId,
          direction: 'withdraw',
          amount: 5,
          currency: 'USD',
          reference: 'bet',
          correlationId: id,
        });
      await timePasses(hub.database, 60);
      await sweep();
      // Whether its call left nobody knows, so the sweep leaves it alone.
      expect(await hub.transaction(id)).toMatchObject({ state: 'initiated' });
      await releaseOperator(hub.database);
      return id;
    };

    it('its call was booked: paid back', async () => {
      const id = await crash('eve', true);
      await hub.reaches(id, 'compensated');
      await hub.drained();
      expect((await callsOf(hub, 'eve')).map(({ direction }) => direction)).toEqual(['deposit']);
      expect((await hub.player('eve')).net).toEqual({ USD: '0' });
      expect(await told(hub, 'eve')).toEqual(['bet ROLLED_BACK']);
    });

    it('its call never arrived: rejected, and nothing is sent', async () => {
      const id = await crash('fay', false);
      await hub.reaches(id, 'rejected');
      await hub.drained();
      expect(await callsOf(hub, 'fay')).toEqual([]);
      expect(await told(hub, 'fay')).toEqual(['bet REJECTED']);
    });
  });

  describe('of a bet that never left', () => {
    it('is kept although the bet queues behind a stuck head; the head goes on when it can', async () => {
      await hub.operatorFault({ kind: 'status', status: 500, direction: 'deposit' });
      const win = await hub.credit({ playerId: 'gil', refId: 'win' });
      const id = await debit('gil');
      const other = await hub.debit({ playerId: 'hal', refId: 'bet' }, wait(5));
      expect(other.body.status).toBe('OK');
      await timePasses(hub.database, 5);
      await sweep();
      const rejected = await hub.reaches(id, 'rejected');
      expect(rejected).toMatchObject({ reason: 'deadline', status: 'REJECTED' });
      expect(rejected.timeline.at(-1)).toMatchObject({ source: 'hub', from: 'initiated', to: 'rejected' });
      await waitFor('the RGS was told', async () => (await told(hub, 'gil')).length === 1);

      await control(hub.operator.url, 'DELETE', '/admin/faults');
      await hub.reaches(win.body.transactionId, 'confirmed');
      await hub.drained();
      expect((await callsOf(hub, 'gil')).filter(({ direction }) => direction === 'withdraw')).toEqual([]);
      expect(await told(hub, 'gil')).toEqual(['bet REJECTED', 'win OK']);
      expect((await hub.player('gil')).net).toEqual({ USD: '500' });
    });

    it('is kept while the breaker is open; credits wait for it', async () => {
      await hub.database.query(
        `update outbox_destination set breaker = 'open', open_until = now() + interval '1 hour' where queue = 'operator'`,
      );
      const id = await debit('ida');
      const win = await hub.credit({ playerId: 'jon', refId: 'win' });
      // Nobody calls the sweep here: the hub looks by itself.
      expect(await hub.reaches(id, 'rejected')).toMatchObject({ reason: 'deadline' });
      await waitFor('the RGS was told', async () => (await told(hub, 'ida')).length === 1);
      expect(await hub.operatorCalls()).toEqual([]);

      await timePasses(hub.database, 3600);
      await hub.reaches(win.body.transactionId, 'confirmed');
      await hub.drained();
      expect((await hub.operatorCalls()).map(({ reference }) => reference)).toEqual(['win']);
      expect(await told(hub, 'ida')).toEqual(['bet REJECTED']);
    });

    it('is kept by the queue itself when a throttled bet comes to its turn too late', async () => {
      await hub.operatorFault({ kind: 'throttle', retryAfter: DEADLINE_SECONDS + 1, playerId: 'kim' });
      // The sweep is another replica's turn that never ends, so only the queue can be what keeps the deadline.
      const done = await withTurnTaken(async () => {
        const id = await debit('kim');
        await waitFor('the operator was called', async () => (await callsOf(hub, 'kim')).length === 1);
        return hub.reaches(id, 'rejected');
      });
      expect(done).toMatchObject({ reason: 'deadline' });
      // It never left, so there is nothing to ask.
      expect(done.timeline.at(-1)).toMatchObject({
        source: 'hub',
        from: 'initiated',
        to: 'rejected',
        evidence: { class: 'expired' },
      });
      expect(await callsOf(hub, 'kim')).toHaveLength(1);
      expect(await booked(hub, 'kim')).toEqual([]);
    });

    it('is kept even when five hundred other bets may have left and cannot be decided yet', async () => {
      await holdOperator(hub.database);
      const accept = (count: number, prefix: string) =>
        Promise.all(
          Array.from({ length: count }, (_, index) => hub.debit({ playerId: `${prefix}-${index}`, refId: 'bet' })),
        );
      const never = await withTurnTaken(async () => {
        await accept(520, 'may');
        await hub.database.query(
          `update outbox_head set leased = true, claims = 1, owner = 'busy', visible_at = now() + interval '1 hour'`,
        );
        return accept(3, 'never');
      });
      await timePasses(hub.database, 5);
      await sweep();
      for (const { body } of never)
        expect(await hub.reaches(body.transactionId, 'rejected')).toMatchObject({ reason: 'deadline' });
      const [rest] = await hub.database.query<{ count: string }>(
        `select count(*) from wallet_transaction where state = 'initiated'`,
      );
      expect(rest?.count).toBe('520');
    });
  });

  it('does not bind a credit', async () => {
    await holdOperator(hub.database);
    const win = await hub.credit({ playerId: 'lou', refId: 'win' });
    await timePasses(hub.database, 86_400);
    expect(await sweep()).toBe(0);
    expect(await hub.transaction(win.body.transactionId)).toMatchObject({ state: 'initiated' });
    await releaseOperator(hub.database);
    await hub.reaches(win.body.transactionId, 'confirmed');
    expect(await booked(hub, 'lou')).toEqual(['deposit win']);
  });
});

describe('a call that left in time', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: { ...QUICK, OPERATOR_TIMEOUT_MS: '4000', OUTBOX_LEASE_SECONDS: '6', DEBIT_DEADLINE_SECONDS: '1' },
    });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());

  it('counts, however late its answer', async () => {
    await hub.operatorFault({ kind: 'delay', ms: 1_500, playerId: 'ann' });
    const { body } = await hub.debit({ playerId: 'ann', refId: 'bet' });
    await hub.reaches(body.transactionId, 'confirmed');
    await hub.drained();
    expect(await arrows(hub, body.transactionId)).toEqual(['initiated', 'confirmed']);
    expect(await told(hub, 'ann')).toEqual(['bet OK']);
    expect((await hub.player('ann')).net).toEqual({ USD: '-500' });
  });

  it('counts when its callback is first', async () => {
    await hub.operatorFault({ kind: 'delay', ms: 2_500, afterCommit: true, playerId: 'bea' });
    const { body } = await hub.debit({ playerId: 'bea', refId: 'bet' });
    await waitFor(
      'the deadline has passed',
      async () =>
        (
          await hub.database.query(`select 1 from outbox_message where transaction_id = $1 and expires_at < now()`, [
            body.transactionId,
          ])
        ).length === 1,
    );
    const heard = await hub.callback({
      playerId: 'bea',
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      refId: 'bet',
      correlationId: body.transactionId,
    });
    expect(heard.status).toBe(200);
    expect(await hub.transaction(body.transactionId)).toMatchObject({ state: 'confirmed' });
    await hub.drained();
    expect(await told(hub, 'bea')).toEqual(['bet OK']);
  });
});

describe('without a deadline', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { ...QUICK, DEBIT_DEADLINE_SECONDS: '0' } });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());

  it('a bet is tried until it is known, a day later too', async () => {
    await holdOperator(hub.database);
    await hub.operatorFault({ kind: 'reset', afterCommit: true, next: 2 });
    const { body } = await hub.debit({ playerId: 'ann', refId: 'bet' });
    expect(
      await hub.database.query('select expires_at from outbox_message where transaction_id = $1', [body.transactionId]),
    ).toEqual([{ expires_at: null }]);
    await timePasses(hub.database, 86_400);
    await hub.app.get(Periodic).run('wallet.deadline_sweep');
    expect(await hub.transaction(body.transactionId)).toMatchObject({ state: 'initiated' });
    await releaseOperator(hub.database);
    await hub.reaches(body.transactionId, 'confirmed');
    await hub.drained();
    expect(await arrows(hub, body.transactionId)).toEqual(['initiated', 'unknown', 'confirmed']);
    expect(await booked(hub, 'ann')).toEqual(['withdraw bet']);
    expect(await told(hub, 'ann')).toEqual(['bet OK']);
  });
});
