import {
  arrows,
  configureOperator,
  holdOperator,
  leaseLost,
  nothingInFlight,
  releaseOperator,
  rollback,
  timePasses,
  told,
  wait,
} from '../support/money';
import { ScriptedOperator } from '../support/partners/scripted-operator';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const TIMEOUT_MS = 400;
const GRACE_MS = 500;
const ENV = {
  MAX_RETRIES: '0',
  OPERATOR_TIMEOUT_MS: String(TIMEOUT_MS),
  RESOLVE_GRACE_SECONDS: String(GRACE_MS / 1000),
  OUTBOX_LEASE_SECONDS: '3',
  BREAKER_FAILURES: '10000',
  CALLBACK_TIMEOUT_SECONDS: '30',
  DEBIT_DEADLINE_SECONDS: '60',
  OUTBOX_RETRY_SCHEDULE_SECONDS: '0.05,0.05,0.05,1,1,1,1,1',
};
const CAN = { idempotent_by_reference: true, status_query: true, rollback_route: false, timeout_ms: TIMEOUT_MS };

describe('what left and was not answered', () => {
  let hub: TestHub;
  let operator: ScriptedOperator;
  let player = 0;
  beforeAll(async () => {
    operator = await ScriptedOperator.start();
    hub = await TestHub.start({ env: { ...ENV, OPERATOR_BASE_URL: operator.url } });
  });
  afterAll(async () => {
    await hub.stop();
    await operator.stop();
  });
  beforeEach(() => configureOperator(CAN, hub));

  const newPlayer = (): string => `player-${(player += 1)}`;
  const place = async (playerId: string, movement: 'debit' | 'credit' = 'debit'): Promise<string> =>
    (await hub[movement]({ playerId, refId: `${movement}@${playerId}` })).body.transactionId as string;
  const callback = async (playerId: string, correlationId: string, status = 'OK', more: Record<string, unknown> = {}) =>
    hub.callback({
      playerId,
      amount: 5,
      currency: 'USD',
      status,
      event: 'withdraw',
      refId: `debit@${playerId}`,
      correlationId,
      ...more,
    });
  const operatorMessage = async (id: string): Promise<string> => {
    const [row] = await hub.database.query<{ message_id: string }>(
      'select message_id from wallet_transaction where id = $1',
      [id],
    );
    return row?.message_id ?? '';
  };
  const attempts = (id: string) =>
    hub.database.query<{ class: string; status: number | null }>(
      'select a.class, a.status from outbox_attempt a join wallet_transaction t on t.message_id = a.message_id where t.id = $1 order by a.at',
      [id],
    );
  /** Nothing of this player waits to be delivered; other players' messages may go on failing. */
  const quiet = (playerId: string) =>
    waitFor(
      `nothing of ${playerId} is due`,
      async () =>
        (
          await hub.database.query(
            'select 1 from outbox_head h join outbox_message m on m.id = h.message_id join wallet_transaction t on t.id = m.transaction_id where t.player_id = $1',
            [playerId],
          )
        ).length === 0,
    );
  const resolve = (id: string, resolution: string) =>
    hub.call('PATCH', `/admin/failed-transactions/${id}`, { resolution, reason: 'looked it up' });
  const outcomes = async (playerId: string): Promise<string[]> =>
    (await told(hub, playerId)).map((word) => word.slice(word.lastIndexOf(' ') + 1));

  describe('is remembered through a replay by hand', () => {
    it.each([400, 401, 404, 409, 422])(
      'a bet that was accepted with 202, replayed, and turned away with %s is not called rejected',
      async (status) => {
        const playerId = newPlayer();
        operator.script(playerId, (call, reply) =>
          call.nth === 1 ? reply.status(202, { status: 'PENDING' }) : reply.status(status, { error: 'duplicate' }),
        );
        const id = await place(playerId);
        await waitFor('it was accepted', async () => (await attempts(id)).length === 1);
        expect((await hub.replay('operator', await operatorMessage(id))).status).toBe(200);
        await waitFor('the repeat was turned away', async () => (await attempts(id)).length >= 2);
        expect((await hub.transaction(id)).state).toBe('unknown');
        expect((await callback(playerId, id)).status).toBe(200);
        await hub.reaches(id, 'confirmed');
        await waitFor('the RGS was told', async () => (await told(hub, playerId)).length > 0);
        expect(await outcomes(playerId)).toEqual(['OK']);
      },
    );

    it('and so is a call of a process that died, whose message was replayed', async () => {
      const playerId = newPlayer();
      operator.script(playerId, (_call, reply) => reply.status(401));
      await holdOperator(hub.database);
      const id = await place(playerId);
      await leaseLost(hub.database, id);
      expect((await hub.replay('operator', await operatorMessage(id))).status).toBe(200);
      await releaseOperator(hub.database);
      await waitFor('the repeat was turned away', async () => (await attempts(id)).length >= 1);
      expect((await hub.transaction(id)).state).not.toBe('rejected');
    });
  });

  it('is not proven absent by a list that was asked for before it could be booked, however late its answer', async () => {
    await configureOperator({ ...CAN, idempotent_by_reference: false }, hub);
    const playerId = newPlayer();
    // Booked after the second question began, and before it was answered.
    operator.script(playerId, (call, reply) => {
      if (call.direction === 'deposit') return reply.ok();
      reply.reset();
      return reply.book(TIMEOUT_MS + 200);
    });
    operator.onQuestion = (_reference, rows, response, nth) => {
      const text = JSON.stringify(rows);
      response.setHeader('content-type', 'application/json').write(text.slice(0, -1));
      // The end of the list comes when time-out and grace are over.
      setTimeout(() => response.end(']'), nth === 2 ? TIMEOUT_MS + GRACE_MS + 100 : 0);
    };
    const id = await place(playerId);
    await waitFor('it was asked for once', () => Promise.resolve(operator.questions.length === 1));
    await waitFor('it was said to be absent', async () =>
      (await attempts(id)).some((attempt) => attempt.class === 'absent'),
    );
    // The rollback brings the second question forward.
    expect((await rollback(hub, { playerId, refId: 'undo', originalRefId: `debit@${playerId}` })).status).toBe(200);
    await hub.reaches(id, 'compensated');
    await quiet(playerId);
    expect(operator.booked(playerId)).toEqual(['withdraw', 'deposit']);
    expect(await outcomes(playerId)).toEqual(['ROLLED_BACK']);
    operator.onQuestion = (_reference, rows, response) =>
      void response.setHeader('content-type', 'application/json').end(JSON.stringify(rows));
  });

  it.each(['debit', 'credit'] as const)('is not refused by the refusal of its repeat: a %s', async (movement) => {
    const playerId = newPlayer();
    operator.script(playerId, (call, reply) => {
      // The first call hangs; it is booked once its repeat was refused.
      if (call.nth === 1) return;
      if (call.nth > 2) return reply.ok();
      reply.status(402, { status: 'REJECTED', reason: 'insufficient_funds' });
      return reply.book();
    });
    const id = await place(playerId, movement);
    await hub.reaches(id, 'confirmed');
    await quiet(playerId);
    const classes = (await attempts(id)).map((attempt) => attempt.class);
    expect([classes.at(0), classes.at(1), classes.at(-1)]).toEqual(['unknown', 'rejected_business', 'applied']);
    expect(operator.booked(playerId)).toHaveLength(1);
    expect(await outcomes(playerId)).toEqual(['OK']);
  });

  it('is refused when the repeat is refused after nothing of it can be booked any more', async () => {
    const playerId = newPlayer();
    operator.script(playerId, (call, reply) =>
      call.nth === 1 ? reply.reset() : reply.status(402, { status: 'REJECTED', reason: 'insufficient_funds' }),
    );
    const id = await place(playerId);
    expect(await hub.reaches(id, 'rejected')).toMatchObject({ reason: 'insufficient_funds' });
    await quiet(playerId);
    expect((await attempts(id)).map((attempt) => attempt.class)).toEqual([
      'unknown',
      'rejected_business',
      'rejected_business',
    ]);
    expect(await outcomes(playerId)).toEqual(['REJECTED']);
  });

  describe('is not resolved by a person', () => {
    const parkedCredit = async (playerId: string): Promise<string> => {
      operator.script(playerId, (_call, reply) => reply.status(402, { status: 'REJECTED', reason: 'player_blocked' }));
      const id = await place(playerId, 'credit');
      await hub.reaches(id, 'parked');
      return id;
    };

    it.each(['applied', 'not_applied'])('as %s while a call is out', async (resolution) => {
      const playerId = newPlayer();
      const id = await parkedCredit(playerId);
      let answer = (): void => undefined;
      operator.script(playerId, (_call, reply) => void (answer = () => reply.ok()));
      expect((await resolve(id, 'retry')).status).toBe(200);
      await waitFor('the operator works on it', () => Promise.resolve(operator.callsOf(playerId).length === 2));
      const refused = await resolve(id, resolution);
      expect([refused.status, refused.body.code]).toEqual([409, 'money_in_flight']);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      const { items } = (await hub.call('GET', '/admin/failed-transactions')).body as {
        items: { transactionId: string; inFlightUntil: string | null }[];
      };
      expect(Date.parse(items.find(({ transactionId }) => transactionId === id)?.inFlightUntil ?? '')).toBeGreaterThan(
        Date.now(),
      );
      answer();
      await hub.reaches(id, 'confirmed');
      await quiet(playerId);
      expect(await outcomes(playerId)).toEqual(['OK']);
    });

    it('while the last lost call may be booked; after that it is', async () => {
      await configureOperator({ ...CAN, idempotent_by_reference: false, status_query: false }, hub);
      const playerId = newPlayer();
      operator.script(playerId, (_call, reply) => reply.reset());
      const id = await place(playerId);
      await hub.reaches(id, 'parked');
      expect((await resolve(id, 'not_applied')).body.code).toBe('money_in_flight');
      const dryRun = await hub.call('POST', '/admin/failed-transactions/resolve', {
        ids: [id],
        resolution: 'not_applied',
        reason: 'looked it up',
        dryRun: true,
      });
      expect(dryRun.body.items).toEqual([{ id, result: 'refused', code: 'money_in_flight' }]);
      await nothingInFlight(hub.database);
      expect((await resolve(id, 'not_applied')).body.state).toBe('rejected');
      const { items } = (await hub.call('GET', '/admin/failed-transactions')).body as {
        items: { transactionId: string }[];
      };
      expect(items.map(({ transactionId }) => transactionId)).not.toContain(id);
    });
  });

  it("keeps the time-out that it left with, whatever the partner's row says a moment later", async () => {
    await configureOperator({ ...CAN, idempotent_by_reference: false, timeout_ms: 2_000 }, hub);
    const playerId = newPlayer();
    operator.script(playerId, (_call, reply) => {
      reply.reset();
      return reply.book(1_500);
    });
    const id = await place(playerId);
    await waitFor('the call is lost', async () => (await attempts(id)).length > 0);
    await configureOperator({ timeout_ms: 100 }, hub);
    await hub.reaches(id, 'confirmed');
    await quiet(playerId);
    expect(operator.callsOf(playerId)).toEqual(['withdraw']);
    expect(operator.booked(playerId)).toEqual(['withdraw']);
  });

  it('may have been accepted by an operator that answers later, and is then believed absent only when its callback is overdue', async () => {
    await configureOperator({ ...CAN, idempotent_by_reference: false, answers_later: true }, hub);
    const playerId = newPlayer();
    operator.script(playerId, (_call, reply) => {
      reply.reset();
      return reply.book(TIMEOUT_MS + GRACE_MS + 500);
    });
    const id = await place(playerId);
    await waitFor('it was booked after time-out and grace', () =>
      Promise.resolve(operator.booked(playerId).length === 1),
    );
    await timePasses(hub.database, 31);
    await hub.reaches(id, 'confirmed');
    await quiet(playerId);
    expect(operator.callsOf(playerId)).toEqual(['withdraw']);
    expect(await outcomes(playerId)).toEqual(['OK']);
    await configureOperator({ answers_later: false }, hub);
  });

  it('waits for its callback when it is accepted by the last attempt, and its lane does not stop unseen', async () => {
    const playerId = newPlayer();
    operator.script(playerId, (_call, reply) => reply.status(202, { status: 'PENDING' }));
    await holdOperator(hub.database);
    const id = await place(playerId);
    // As after a schedule that is used up, and a proof that nothing of it was booked.
    await hub.database.query('update outbox_head set attempts = 99 where message_id = $1', [await operatorMessage(id)]);
    await releaseOperator(hub.database);
    await waitFor('it was accepted', async () => (await attempts(id)).length === 1);
    const [head] = await hub.database.query<{ due: boolean }>(
      `select visible_at < 'infinity' as due from outbox_head where message_id = $1`,
      [await operatorMessage(id)],
    );
    expect(head?.due).toBe(true);
    expect((await callback(playerId, id)).status).toBe(200);
    await hub.reaches(id, 'confirmed');
  });

  describe('when its repayment was refused', () => {
    const parked = async (playerId: string): Promise<string> => {
      operator.script(playerId, (call, reply) =>
        call.direction === 'withdraw' ? reply.ok() : reply.status(402, { status: 'REJECTED', reason: 'closed' }),
      );
      const id = await place(playerId);
      await hub.reaches(id, 'confirmed');
      await rollback(hub, { playerId, refId: 'undo', originalRefId: `debit@${playerId}` });
      await hub.reaches(id, 'parked');
      return id;
    };
    const repayment = async (id: string): Promise<string> => {
      const [row] = await hub.database.query<{ undo_message_id: string }>(
        'select undo_message_id from wallet_transaction where id = $1',
        [id],
      );
      return row?.undo_message_id ?? '';
    };

    it('is not sent again by a replay of the bet: it is known to be booked', async () => {
      const playerId = newPlayer();
      const id = await parked(playerId);
      expect((await hub.replay('operator', await operatorMessage(id))).status).toBe(200);
      await quiet(playerId);
      expect(operator.callsOf(playerId)).toEqual(['withdraw', 'deposit']);
      expect((await hub.transaction(id)).state).toBe('parked');
    });

    it('is paid back by the repayment that counts, and by no earlier one', async () => {
      const playerId = newPlayer();
      const id = await parked(playerId);
      const first = await repayment(id);
      await nothingInFlight(hub.database);
      expect((await resolve(id, 'not_applied')).body.state).toBe('confirmed');
      await rollback(hub, { playerId, refId: 'undo again', originalRefId: `debit@${playerId}` });
      await hub.reaches(id, 'parked');
      expect(await repayment(id)).not.toBe(first);
      const refused = await hub.replay('operator', first);
      expect([refused.status, refused.body.code]).toEqual([409, 'replay_refused']);
      operator.script(playerId, (_call, reply) => reply.ok());
      expect((await hub.replay('operator', await repayment(id))).status).toBe(200);
      await hub.reaches(id, 'compensated');
      expect(operator.booked(playerId)).toEqual(['withdraw', 'deposit']);
    });
  });

  describe('and what is told of it', () => {
    /** Calls back before it answers, as many wallets do: the callback has no balance, the answer has. */
    const callsBackFirst = (
      playerId: string,
      answers: Readonly<Record<string, () => { status: string; balance?: number; reason?: string; http?: number }>>,
    ): void =>
      operator.script(playerId, async (call, reply) => {
        const { status, http = 200, ...more } = answers[call.direction]?.() ?? { status: 'OK' };
        const heard = await callback(playerId, call.correlationId, status, {
          event: call.direction,
          refId: call.reference,
        });
        expect(heard.status).toBe(200);
        if (status === 'OK') await reply.book();
        reply.status(http, { status, ...more });
      });

    it('carries the balance after the outcome, never the one from before it', async () => {
      const playerId = newPlayer();
      callsBackFirst(playerId, {
        withdraw: () => ({ status: 'OK', balance: 95 }),
        deposit: () => ({ status: 'OK', balance: 100 }),
      });
      const bet = await hub.debit({ playerId, refId: `debit@${playerId}` }, wait(5));
      expect(bet.body).toMatchObject({ status: 'OK', balanceCents: 9_500 });
      const undone = await rollback(hub, { playerId, refId: 'undo', originalRefId: `debit@${playerId}` }, wait(5));
      expect(undone.body).toMatchObject({ status: 'OK', applied: true, balanceCents: 10_000 });
      await quiet(playerId);
      expect(
        (await hub.rgsReceived())
          .filter((webhook) => webhook.playerId === playerId)
          .map(({ status, balanceCents }) => [status, balanceCents]),
      ).toEqual([
        ['OK', 9_500],
        ['ROLLED_BACK', 10_000],
      ]);
      expect(await hub.transaction(bet.body.transactionId)).toMatchObject({
        status: 'ROLLED_BACK',
        balanceCents: 10_000,
      });
    });

    it('is null where no word brought a balance', async () => {
      const playerId = newPlayer();
      callsBackFirst(playerId, { withdraw: () => ({ status: 'OK', balance: 95 }), deposit: () => ({ status: 'OK' }) });
      const bet = await hub.debit({ playerId, refId: `debit@${playerId}` }, wait(5));
      const undone = await rollback(hub, { playerId, refId: 'undo', originalRefId: `debit@${playerId}` }, wait(5));
      expect(undone.body).toMatchObject({ applied: true, balanceCents: null });
      await quiet(playerId);
      expect(
        (await hub.rgsReceived())
          .filter((webhook) => webhook.playerId === playerId)
          .map(({ balanceCents }) => balanceCents),
      ).toEqual([9_500, null]);
      expect((await hub.transaction(bet.body.transactionId)).balanceCents).toBeNull();
    });

    it('gives one reason on all ways, though the callback came first and had none', async () => {
      const playerId = newPlayer();
      callsBackFirst(playerId, {
        withdraw: () => ({ status: 'REJECTED', reason: 'insufficient_funds', balance: 1, http: 402 }),
      });
      const bet = await hub.debit({ playerId, refId: `debit@${playerId}` }, wait(5));
      await quiet(playerId);
      const [webhook] = (await hub.rgsReceived()).filter((each) => each.playerId === playerId);
      for (const each of [bet.body, webhook, await hub.transaction(bet.body.transactionId)])
        expect(each).toMatchObject({ status: 'REJECTED', reason: 'insufficient_funds', balanceCents: 100 });
    });
  });

  describe('of a webhook', () => {
    it('is not sent again when the RGS has heard of a later outcome', async () => {
      const playerId = newPlayer();
      await hub.rgsFault({ kind: 'status', status: 500, playerId, next: 9 });
      const id = await place(playerId);
      await hub.reaches(id, 'confirmed');
      const dead = await waitFor(
        'its webhook is dead',
        async () =>
          (await hub.outbox({ queue: 'rgs', status: 'dead' })).find(({ payload }) => payload.playerId === playerId),
        15_000,
      );
      await rollback(hub, { playerId, refId: 'undo', originalRefId: `debit@${playerId}` });
      await waitFor('the rollback was told', async () => (await outcomes(playerId)).includes('ROLLED_BACK'));
      const refused = await hub.replay('rgs', dead.id);
      expect([refused.status, refused.body.code]).toEqual([409, 'replay_refused']);
      expect(refused.body.detail).toContain('ROLLED_BACK');
      expect(await outcomes(playerId)).toEqual(['ROLLED_BACK']);
    });
  });
});

describe('a deadline', () => {
  let operator: ScriptedOperator;
  let patient: TestHub;
  let hasty: TestHub;
  beforeAll(async () => {
    operator = await ScriptedOperator.start();
    patient = await TestHub.start({ env: { ...ENV, OPERATOR_BASE_URL: operator.url, DEBIT_DEADLINE_SECONDS: '600' } });
    hasty = await TestHub.start({
      env: { ...ENV, OPERATOR_BASE_URL: operator.url, DEBIT_DEADLINE_SECONDS: '2' },
      database: patient.database,
      operator: patient.operator,
      rgs: patient.rgs,
    });
  });
  afterAll(async () => {
    await hasty.stop();
    await patient.stop();
    await operator.stop();
  });

  const place = async (playerId: string, through: TestHub): Promise<string> =>
    (await through.debit({ playerId, refId: `debit@${playerId}` })).body.transactionId as string;

  it('is the one that the bet was accepted with, for a callback and for a person', async () => {
    operator.script('cal', (_call, reply) => reply.reset());
    operator.script('pat', (_call, reply) => reply.reset());
    await configureOperator({ idempotent_by_reference: false, status_query: false }, patient, hasty);
    const [cal, pat] = [await place('cal', patient), await place('pat', patient)];
    for (const id of [cal, pat]) await patient.reaches(id, 'parked');
    await timePasses(patient.database, 10);
    await hasty.callback({
      playerId: 'cal',
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      refId: 'debit@cal',
      correlationId: cal,
    });
    expect(await arrows(patient, cal)).toEqual(['initiated', 'parked', 'confirmed']);
    expect(
      (
        await hasty.call('PATCH', `/admin/failed-transactions/${pat}`, {
          resolution: 'applied',
          reason: 'looked it up',
        })
      ).body.state,
    ).toBe('confirmed');
    await configureOperator({ idempotent_by_reference: true, status_query: true }, patient, hasty);
  });

  it('of each length is kept by whoever sweeps', async () => {
    await holdOperator(patient.database);
    const [long, short] = [await place('lon', patient), await place('sho', hasty)];
    await timePasses(patient.database, 10);
    await patient.reaches(short, 'rejected');
    expect((await patient.transaction(long)).state).toBe('initiated');
    await timePasses(patient.database, 600);
    expect(await patient.reaches(long, 'rejected', 30_000)).toMatchObject({ reason: 'deadline' });
    expect(operator.callsOf('lon')).toEqual([]);
    await releaseOperator(patient.database);
  });
});
