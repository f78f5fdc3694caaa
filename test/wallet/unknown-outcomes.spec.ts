import { Client } from 'pg';
import { FakeOperator } from '../support/partners/fake-operator';
import { arrows, booked, callsOf, configureOperator, leaseLost, metric, rollback, told, wait } from '../support/money';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const QUICK = {
  MAX_RETRIES: '0',
  OPERATOR_TIMEOUT_MS: '2000',
  OUTBOX_LEASE_SECONDS: '3',
  BREAKER_FAILURES: '10000',
  RESOLVE_GRACE_SECONDS: '0.1',
  CALLBACK_TIMEOUT_SECONDS: '30',
};

interface Capabilities {
  readonly idempotentByReference: boolean;
  readonly statusQuery: boolean;
  readonly rollbackRoute: boolean;
}
const FLAGS = [true, false];
const ALL: readonly Capabilities[] = FLAGS.flatMap((idempotentByReference) =>
  FLAGS.flatMap((statusQuery) => FLAGS.map((rollbackRoute) => ({ idempotentByReference, statusQuery, rollbackRoute }))),
);

describe('an operator by what it can do', () => {
  let hub: TestHub;
  /** Takes bets that have no deadline, for what must not end there on a slow machine. */
  let patient: TestHub;
  let operator: FakeOperator;
  beforeAll(async () => {
    operator = await FakeOperator.start();
    hub = await TestHub.start({
      env: { ...QUICK, OPERATOR_TIMEOUT_MS: '1000', OPERATOR_BASE_URL: operator.url, DEBIT_DEADLINE_SECONDS: '2' },
    });
    patient = await TestHub.start({
      database: hub.database,
      operator: hub.operator,
      rgs: hub.rgs,
      env: {
        ...QUICK,
        OPERATOR_TIMEOUT_MS: '1000',
        OPERATOR_BASE_URL: operator.url,
        DEBIT_DEADLINE_SECONDS: '0',
        ROLE: 'api',
      },
    });
  });
  afterAll(async () => {
    await patient.stop();
    await hub.stop();
    await operator.stop();
  });

  describe.each(ALL)(
    'idempotentByReference $idempotentByReference, statusQuery $statusQuery, rollbackRoute $rollbackRoute',
    (can) => {
      const { idempotentByReference, statusQuery, rollbackRoute } = can;
      const undo = rollbackRoute ? 'rollback' : 'deposit';
      const bet = async (playerId: string) =>
        (await (playerId.endsWith('-for-ever') ? hub : patient).debit({ playerId, refId: `bet@${playerId}` })).body
          .transactionId as string;
      const lose = (playerId: string, what: 'withdraw' | 'deposit' | 'rollback', isBooked: boolean, times = Infinity) =>
        operator.losing.set(playerId, { what, booked: isBooked, times });
      beforeAll(async () => {
        operator.recognisesReferences = idempotentByReference;
        await configureOperator(
          { idempotent_by_reference: idempotentByReference, status_query: statusQuery, rollback_route: rollbackRoute },
          hub,
        );
        await hub.call('POST', '/admin/clear-db');
        await control(hub.rgs.url, 'POST', '/admin/clear-db');
        operator.calls = [];
        operator.books = [];
        operator.losing.clear();
      });

      it('a bet whose answer was lost moves once, or waits for a person, and a repayment too', async () => {
        lose('booked-for-ever', 'withdraw', true);
        lose('absent-for-ever', 'withdraw', false);
        lose('booked-once', 'withdraw', true, 1);
        lose('absent-once', 'withdraw', false, 1);
        lose('undo-booked', undo, true, 1);
        lose('undo-absent', undo, false, 1);
        const ids = Object.fromEntries(
          await Promise.all(
            ['booked-for-ever', 'absent-for-ever', 'booked-once', 'absent-once', 'undo-booked', 'undo-absent'].map(
              async (player) => [player, await bet(player)] as const,
            ),
          ),
        );
        for (const player of ['undo-booked', 'undo-absent']) {
          await hub.reaches(ids[player] ?? '', 'confirmed');
          expect(
            (await rollback(hub, { playerId: player, refId: 'undo', originalRefId: `bet@${player}` })).status,
          ).toBe(200);
        }
        const settles = async (player: string, state: string): Promise<Record<string, any> & { calls: string[] }> => ({
          ...(await hub.reaches(ids[player] ?? '', state)),
          calls: operator.callsOf(player),
        });
        const withdraw = (player: string) => `withdraw bet@${player}`;
        const ask = (player: string) => `ask bet@${player}`;
        const payBack = (player: string) => `${undo} rollback:bet@${player}`;
        const askUndo = (player: string) => `ask rollback:bet@${player}`;

        if (idempotentByReference) {
          // The same reference goes again until it is answered.
          expect((await settles('booked-once', 'confirmed')).calls).toEqual([
            withdraw('booked-once'),
            withdraw('booked-once'),
          ]);
          expect((await settles('absent-once', 'confirmed')).calls).toEqual([
            withdraw('absent-once'),
            withdraw('absent-once'),
          ]);
          expect((await settles('undo-booked', 'rolled_back')).calls).toEqual([
            withdraw('undo-booked'),
            payBack('undo-booked'),
            payBack('undo-booked'),
          ]);
          expect((await settles('undo-absent', 'rolled_back')).calls).toEqual([
            withdraw('undo-absent'),
            payBack('undo-absent'),
            payBack('undo-absent'),
          ]);
        } else if (statusQuery) {
          // Nothing goes twice unless the operator said twice that it is not there.
          expect((await settles('booked-once', 'confirmed')).calls).toEqual([
            withdraw('booked-once'),
            ask('booked-once'),
          ]);
          expect((await settles('absent-once', 'confirmed')).calls).toEqual([
            withdraw('absent-once'),
            ask('absent-once'),
            ask('absent-once'),
            withdraw('absent-once'),
          ]);
          expect((await settles('undo-booked', 'rolled_back')).calls).toEqual([
            withdraw('undo-booked'),
            payBack('undo-booked'),
            askUndo('undo-booked'),
          ]);
          expect((await settles('undo-absent', 'rolled_back')).calls).toEqual([
            withdraw('undo-absent'),
            payBack('undo-absent'),
            askUndo('undo-absent'),
            askUndo('undo-absent'),
            payBack('undo-absent'),
          ]);
        } else {
          for (const player of ['booked-once', 'absent-once'])
            expect((await settles(player, 'parked')).calls).toEqual([withdraw(player)]);
          for (const player of ['undo-booked', 'undo-absent'])
            expect((await settles(player, 'parked')).calls).toEqual([withdraw(player), payBack(player)]);
        }

        if (statusQuery) {
          // After the deadline it is asked; what is found is paid back, unless it was found in time.
          const found = await settles('booked-for-ever', idempotentByReference ? 'compensated' : 'confirmed');
          const gone = await settles('absent-for-ever', 'rejected');
          expect(found.calls.at(-1)).toBe(idempotentByReference ? payBack('booked-for-ever') : ask('booked-for-ever'));
          expect(gone.reason).toBe('deadline');
          expect(gone.calls.slice(-2)).toEqual([ask('absent-for-ever'), ask('absent-for-ever')]);
          if (!idempotentByReference)
            expect(found.calls.filter((call) => call === withdraw('booked-for-ever'))).toHaveLength(1);
        } else if (idempotentByReference) {
          // It cannot be asked, so the same reference goes again after the deadline, and what is then applied is paid
          // back.
          await waitFor(
            'the deadline has passed',
            async () =>
              (
                await hub.database.query(
                  `select 1 from outbox_message where transaction_id = $1 and expires_at < now()`,
                  [ids['absent-for-ever']],
                )
              ).length === 1,
          );
          operator.losing.clear();
          for (const player of ['booked-for-ever', 'absent-for-ever']) {
            const { calls } = await settles(player, 'compensated');
            expect(calls.slice(-2)).toEqual([withdraw(player), payBack(player)]);
          }
        } else {
          for (const player of ['booked-for-ever', 'absent-for-ever'])
            expect((await settles(player, 'parked')).calls).toEqual([withdraw(player)]);
        }

        // Whatever it can do: no reference is on the books twice, and no confirmed or undone bet has moved another sum
        // than it should.
        await hub.drained();
        expect(operator.books.map(({ direction, reference }) => `${direction} ${reference}`).sort()).toEqual(
          [...new Set(operator.books.map(({ direction, reference }) => `${direction} ${reference}`))].sort(),
        );
        for (const [player, id] of Object.entries(ids)) {
          const { state } = await hub.transaction(id);
          if (state === 'parked') continue;
          expect({ player, state, net: operator.net(player) }).toEqual({
            player,
            state,
            net: state === 'confirmed' ? -500 : 0,
          });
        }
        expect(
          operator.books
            .filter(({ direction }) => direction === 'rollback')
            .every(({ reference, originalReference }) => reference === `rollback:${originalReference}`),
        ).toBe(true);
        expect(operator.calls.some(({ what }) => what === (rollbackRoute ? 'deposit' : 'rollback'))).toBe(false);
      });
    },
  );
});

describe('a word that comes late', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { ...QUICK, DEBIT_DEADLINE_SECONDS: '2' } });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const bet = async (playerId: string) => (await hub.debit({ playerId, refId: 'bet' })).body.transactionId as string;
  const say = (playerId: string, correlationId: string, status: string, change: Record<string, unknown> = {}) =>
    hub.callback({
      playerId,
      amount: 5,
      currency: 'USD',
      status,
      event: 'withdraw',
      refId: 'bet',
      correlationId,
      ...change,
    });

  const refused = async (player: string) => {
    await hub.operatorFault({ kind: 'refuse', playerId: player });
    return bet(player);
  };
  const confirmed = async (player: string) => {
    const id = await bet(player);
    await hub.reaches(id, 'confirmed');
    return id;
  };
  const lost = (afterCommit: boolean) => async (player: string) => {
    await hub.operatorFault({ kind: 'reset', afterCommit, direction: 'withdraw', playerId: player });
    return bet(player);
  };
  const undone = async (player: string) => {
    const id = await confirmed(player);
    await rollback(hub, { playerId: player, refId: 'undo', originalRefId: 'bet' });
    return id;
  };
  const undoRefused = async (player: string) => {
    await hub.operatorFault({ kind: 'refuse', playerId: player, direction: 'deposit' });
    return undone(player);
  };

  it.each([
    { state: 'confirmed', how: 'confirmed', reach: confirmed, word: 'OK', contradicts: false },
    { state: 'confirmed', how: 'confirmed', reach: confirmed, word: 'REJECTED', contradicts: true },
    { state: 'rejected', how: 'refused', reach: refused, word: 'OK', contradicts: true },
    { state: 'rejected', how: 'refused', reach: refused, word: 'REJECTED', contradicts: false },
    { state: 'rejected', how: 'found absent', reach: lost(false), word: 'OK', contradicts: true },
    { state: 'rejected', how: 'found absent', reach: lost(false), word: 'REJECTED', contradicts: false },
    { state: 'compensated', how: 'paid back after its deadline', reach: lost(true), word: 'OK', contradicts: false },
    {
      state: 'compensated',
      how: 'paid back after its deadline',
      reach: lost(true),
      word: 'REJECTED',
      contradicts: true,
    },
    { state: 'rolled_back', how: 'rolled back', reach: undone, word: 'OK', contradicts: false },
    { state: 'rolled_back', how: 'rolled back', reach: undone, word: 'REJECTED', contradicts: true },
    { state: 'parked', how: 'parked for its refused repayment', reach: undoRefused, word: 'OK', contradicts: false },
    {
      state: 'parked',
      how: 'parked for its refused repayment',
      reach: undoRefused,
      word: 'REJECTED',
      contradicts: true,
    },
  ])('$word about a bet that is $how: 200, and nothing changes', async ({ state, reach, word, contradicts }) => {
    const id = await reach('ann');
    const before = await hub.reaches(id, state);
    await hub.drained();
    const [toldBefore, callsBefore, contradictions] = [
      await told(hub, 'ann'),
      await callsOf(hub, 'ann'),
      await metric(hub, 'hub_wallet_contradictions_total'),
    ];

    const answer = await say('ann', id, word, { balance: 7 });
    expect([answer.status, answer.body]).toEqual([200, { status: 'accepted' }]);
    // Another bet of the player runs to its end, so nothing of the late word is still on its way.
    await control(hub.operator.url, 'DELETE', '/admin/faults');
    expect((await hub.debit({ playerId: 'ann', refId: 'next' }, wait(5))).body.status).toBe('OK');
    await hub.drained();

    const after = await hub.transaction(id);
    expect(after).toMatchObject({
      state,
      status: before.status,
      balanceCents: before.balanceCents,
      reason: before.reason,
      settledAt: before.settledAt,
    });
    expect(
      after.timeline.slice(before.timeline.length).map(({ event, source }: Record<string, string>) => [event, source]),
    ).toEqual(contradicts ? [['contradiction', 'operator_callback']] : []);
    expect(await metric(hub, 'hub_wallet_contradictions_total')).toBe(contradictions + (contradicts ? 1 : 0));
    expect(await told(hub, 'ann')).toEqual([...toldBefore, 'next OK']);
    expect((await callsOf(hub, 'ann')).slice(callsBefore.length).map(({ reference }) => reference)).toEqual(['next']);
  });

  it('about a bet that was rolled back before it came is 404: the hub never sent it', async () => {
    await rollback(hub, { playerId: 'bea', refId: 'undo', originalRefId: 'bet' });
    const [place] = await hub.database.query<{ id: string }>(`select id from wallet_transaction where tombstone`);
    expect((await say('bea', place?.id ?? '', 'OK')).body.code).toBe('unknown_reference');
    expect(await hub.transaction(place?.id ?? '')).toMatchObject({ state: 'rolled_back' });
    expect(await told(hub, 'bea')).toEqual([]);
  });

  describe('about a bet whose place is not known', () => {
    const parked = async (player: string): Promise<string> => {
      await configureOperator({ idempotent_by_reference: false, status_query: false }, hub);
      const id = await lost(true)(player);
      await hub.reaches(id, 'parked');
      await configureOperator({ idempotent_by_reference: true, status_query: true }, hub);
      await control(hub.operator.url, 'DELETE', '/admin/faults');
      return id;
    };

    it('and whose deadline has passed: OK pays it back', async () => {
      const id = await parked('cat');
      await waitFor(
        'the deadline has passed',
        async () =>
          (await hub.database.query(`select 1 from wallet_transaction where id = $1 and deadline_at < now()`, [id]))
            .length === 1,
      );
      expect((await say('cat', id, 'OK')).status).toBe(200);
      await hub.reaches(id, 'compensated');
      await hub.drained();
      expect(await booked(hub, 'cat')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect(await told(hub, 'cat')).toEqual(['bet ROLLED_BACK']);
    });

    it('REJECTED ends it, and the lane goes on', async () => {
      const id = await parked('dan');
      const win = await hub.credit({ playerId: 'dan', refId: 'win' });
      expect((await say('dan', id, 'REJECTED', { reason: 'limit' })).status).toBe(200);
      expect(await hub.transaction(id)).toMatchObject({ state: 'rejected', reason: 'limit' });
      await hub.reaches(win.body.transactionId, 'confirmed');
      await hub.drained();
      expect(await told(hub, 'dan')).toEqual(['bet REJECTED', 'win OK']);
    });
  });

  describe('about the repayment', () => {
    const sayUndone = (playerId: string, id: string, status: string, change: Record<string, unknown> = {}) =>
      say(playerId, id, status, { event: 'deposit', refId: 'rollback:bet', ...change });

    it('as a repeat of what the operator answered: 200, nothing changes', async () => {
      const id = await undone('eve');
      await hub.reaches(id, 'rolled_back');
      expect((await sayUndone('eve', id, 'OK')).status).toBe(200);
      expect((await sayUndone('eve', id, 'REJECTED')).status).toBe(200);
      const { state, timeline } = await hub.transaction(id);
      expect([state, timeline.at(-1).event]).toEqual(['rolled_back', 'contradiction']);
      await hub.drained();
      expect(await told(hub, 'eve')).toEqual(['bet OK', 'bet ROLLED_BACK']);
    });

    it('settles it when the operator only accepted the call', async () => {
      await hub.operatorFault({
        kind: 'status_after_commit',
        status: 202,
        body: { status: 'PENDING' },
        direction: 'deposit',
        playerId: 'fay',
      });
      const id = await undone('fay');
      await waitFor('the repayment was called', async () =>
        (await callsOf(hub, 'fay')).some(({ direction }) => direction === 'deposit'),
      );
      expect((await sayUndone('fay', id, 'OK')).status).toBe(200);
      expect(await hub.reaches(id, 'rolled_back')).toMatchObject({ status: 'ROLLED_BACK' });
      await hub.drained();
      expect((await callsOf(hub, 'fay')).map(({ direction }) => direction)).toEqual(['withdraw', 'deposit']);
      expect(await told(hub, 'fay')).toEqual(['bet OK', 'bet ROLLED_BACK']);
    });

    it('parks it when it refuses what was only accepted', async () => {
      await hub.operatorFault({
        kind: 'status',
        status: 202,
        body: { status: 'PENDING' },
        direction: 'deposit',
        playerId: 'gil',
      });
      const id = await undone('gil');
      await waitFor('the repayment was called', async () =>
        (await callsOf(hub, 'gil')).some(({ direction }) => direction === 'deposit'),
      );
      expect((await sayUndone('gil', id, 'MAYBE')).status).toBe(422);
      expect(await hub.transaction(id)).toMatchObject({ state: 'rolling_back' });
      expect((await sayUndone('gil', id, 'REJECTED')).status).toBe(200);
      expect(await hub.transaction(id)).toMatchObject({ state: 'parked' });
      await hub.drained();
      expect(await told(hub, 'gil')).toEqual(['bet OK']);
    });

    it('is refused when it names another sum, and 404 while nothing is being paid back', async () => {
      const id = await confirmed('hal');
      expect((await sayUndone('hal', id, 'OK')).body.code).toBe('unknown_reference');
      await rollback(hub, { playerId: 'hal', refId: 'undo', originalRefId: 'bet' });
      await hub.reaches(id, 'rolled_back');
      expect((await sayUndone('hal', id, 'OK', { amount: 4 })).body.code).toBe('callback_mismatch');
      expect((await sayUndone('hal', id, 'OK', { event: 'withdraw' })).body.code).toBe('callback_mismatch');
    });
  });
});

describe('a replica that lost its lease', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: { ...QUICK, OPERATOR_TIMEOUT_MS: '1500', OUTBOX_LEASE_SECONDS: '2.5', DEBIT_DEADLINE_SECONDS: '0' },
    });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());

  it('changes nothing with the answer that it still gets; who has the message now decides', async () => {
    await hub.operatorFault({ kind: 'delay', ms: 500, playerId: 'ann_bad', next: 1 });
    const { body } = await hub.debit({ playerId: 'ann_bad', refId: 'bet' });
    await waitFor('the call is on its way', async () => (await callsOf(hub, 'ann_bad')).length === 1);
    // Another replica has taken the message over and died: the first call's refusal comes under a lease that is gone.
    // In one statement with its hour: a hub that found it due in between would send it again at once.
    await leaseLost(hub.database, body.transactionId, '1 hour');
    await waitFor(
      'the refusal came too late',
      async () => (await hub.database.query(`select 1 from outbox_attempt where outcome = 'stale'`)).length === 1,
    );
    expect(await arrows(hub, body.transactionId)).toEqual(['initiated']);
    expect(await metric(hub, 'hub_outbox_stale_settles_total')).toBe(1);
    expect(await told(hub, 'ann_bad')).toEqual([]);

    await hub.database.query(`update outbox_head set visible_at = now()`);
    await hub.reaches(body.transactionId, 'rejected');
    await hub.drained();
    expect(await told(hub, 'ann_bad')).toEqual(['bet REJECTED']);
  });
});

describe('an operator that works on after the connection broke', () => {
  let hub: TestHub;
  let operator: FakeOperator;
  beforeAll(async () => {
    operator = await FakeOperator.start();
    hub = await TestHub.start({ env: { ...QUICK, OPERATOR_BASE_URL: operator.url, DEBIT_DEADLINE_SECONDS: '1' } });
    // One that recognises references would simply be sent the same again.
    await configureOperator({ idempotent_by_reference: false, status_query: true }, hub);
  });
  afterAll(async () => {
    await hub.stop();
    await operator.stop();
  });

  it('is given its whole time-out before "absent" counts: the bet is paid back, not called rejected', async () => {
    operator.losing.set('late', { what: 'withdraw', booked: true, times: 1, lateMs: 1_500 });
    const { body } = await hub.debit({ playerId: 'late', refId: 'bet@late' });
    expect(await hub.reaches(body.transactionId, 'compensated')).toMatchObject({
      status: 'ROLLED_BACK',
      reason: 'deadline',
    });
    expect(operator.callsOf('late').filter((call) => !call.includes('rollback:'))).toEqual([
      'withdraw bet@late',
      'ask bet@late',
      'ask bet@late',
    ]);
    expect(operator.net('late')).toBe(0);
  });
});

describe('an operator whose list takes longer than a lease', () => {
  let hub: TestHub;
  let operator: FakeOperator;
  beforeAll(async () => {
    operator = await FakeOperator.start();
    operator.endlessList = true;
    hub = await TestHub.start({
      env: {
        ...QUICK,
        OPERATOR_BASE_URL: operator.url,
        OPERATOR_TIMEOUT_MS: '500',
        OUTBOX_LEASE_SECONDS: '1.5',
        DEBIT_DEADLINE_SECONDS: '0',
        OUTBOX_RETRY_SCHEDULE_SECONDS: '0.05,0.05',
      },
    });
    await configureOperator({ idempotent_by_reference: false, status_query: true }, hub);
  });
  afterAll(async () => {
    await hub.stop();
    await operator.stop();
  });

  it('is asked as often as the schedule says, each time within the lease, and then a person is', async () => {
    operator.losing.set('slow', { what: 'withdraw', booked: true, times: 1 });
    const { body } = await hub.debit({ playerId: 'slow', refId: 'bet@slow' });
    expect((await hub.reaches(body.transactionId, 'parked')).reason).toContain('could not be read');
    expect(operator.callsOf('slow')).toEqual(['withdraw bet@slow', 'ask bet@slow', 'ask bet@slow']);
    expect(await metric(hub, 'hub_outbox_stale_settles_total')).toBe(0);
  });
});

describe('a repeat within an attempt', () => {
  let hub: TestHub;
  let store: Client;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: {
        ...QUICK,
        MAX_RETRIES: '1',
        RETRY_BACKOFF_SECONDS: '0.01',
        OPERATOR_TIMEOUT_MS: '500',
        OUTBOX_LEASE_SECONDS: '1.5',
        DEBIT_DEADLINE_SECONDS: '60',
        OUTBOX_RETRY_SCHEDULE_SECONDS: '0.05,3600',
      },
    });
    hub.operator.settings.callbacks = false;
    store = new Client({ connectionString: hub.database.url });
    await store.connect();
  });
  afterAll(async () => {
    await store.end();
    await hub.stop();
  });
  beforeEach(() => hub.clear());

  /** A bet whose first call goes unanswered. */
  const unanswered = async (playerId: string): Promise<string> => {
    await hub.operatorFault({ kind: 'hang', playerId, next: 1 });
    const { body } = await hub.debit({ playerId, refId: 'bet' });
    await waitFor('the call is on its way', async () => (await callsOf(hub, playerId)).length === 1);
    return body.transactionId;
  };

  it('does not leave when its permit came after its lease was lost', async () => {
    const id = await unanswered('ann');
    // The permit waits for the destination's row, which a stuck store holds.
    await store.query('begin');
    try {
      await store.query(`select 1 from outbox_destination where queue = 'operator' for no key update`);
      await waitFor(
        'the permit is waited for',
        async () =>
          (
            await hub.database.query(
              `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%outbox_reserve_permit(%'`,
            )
          ).length === 1,
      );
      await waitFor(
        'the lease is over',
        async () =>
          (await hub.database.query(`select 1 from outbox_head where visible_at < clock_timestamp()`)).length === 1,
      );
      await leaseLost(hub.database, id, '1 hour');
    } finally {
      await store.query('commit');
    }
    await waitFor(
      'the attempt ended too late',
      async () => (await hub.database.query(`select 1 from outbox_attempt where outcome = 'stale'`)).length === 1,
    );
    expect(await callsOf(hub, 'ann')).toHaveLength(1);
  });

  it('does not leave when its bet was recalled meanwhile: the operator is asked instead', async () => {
    const id = await unanswered('bob');
    await hub.database.query(`update outbox_message set expires_at = clock_timestamp() where transaction_id = $1`, [
      id,
    ]);
    expect(await hub.reaches(id, 'rejected')).toMatchObject({ reason: 'deadline' });
    expect(await callsOf(hub, 'bob')).toHaveLength(1);
  });

  it('does not leave when a callback refused the bet meanwhile', async () => {
    const id = await unanswered('eve');
    const [bet] = await hub.database.query<{ ref_id: string }>('select ref_id from wallet_transaction where id = $1', [
      id,
    ]);
    expect(
      (
        await hub.callback({
          playerId: 'eve',
          amount: 5,
          currency: 'USD',
          status: 'REJECTED',
          event: 'withdraw',
          refId: bet?.ref_id,
          correlationId: id,
        })
      ).status,
    ).toBe(200);
    await hub.reaches(id, 'rejected');
    await waitFor(
      'the attempt ended',
      async () =>
        (
          await hub.database.query(
            `select 1 from outbox_attempt a join wallet_transaction t on t.message_id = a.message_id where t.id = $1 and a.class = 'unknown'`,
            [id],
          )
        ).length === 1,
    );
    expect(await callsOf(hub, 'eve')).toHaveLength(1);
  });
});
