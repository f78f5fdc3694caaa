import { booked, callsOf, holdOperator, metric, releaseOperator, rollback, timePasses, wait } from '../support/money';
import { TestHub } from '../support/hub/test-hub';

describe('a round', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: { DEBIT_DEADLINE_SECONDS: '30', MAX_RETRIES: '0', BREAKER_FAILURES: '10000', ROUND_OVERDUE_MINUTES: '30' },
    });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const bet = async (playerId: string, more: Record<string, unknown> = {}) =>
    (await hub.debit({ playerId, refId: 'bet', roundId: 'r', ...more }, wait(5))).body;
  const win = async (playerId: string, more: Record<string, unknown> = {}) =>
    (await hub.credit({ playerId, refId: 'win', roundId: 'r', amountCents: 900, ...more }, wait(5))).body;
  const round = async (roundId = 'r') => (await hub.call('GET', `/rounds/${roundId}`)).body;
  const close = (roundId = 'r') => hub.call('POST', `/rounds/${roundId}/close`);

  it('groups the movements of its bets and wins, with totals by what was applied', async () => {
    const stake = await bet('ann');
    await bet('ann', { refId: 'bet-2', amountCents: 300 });
    await bet('ann', { refId: 'bet-3', amountCents: 100_000_001 });
    const prize = await win('ann');
    await bet('ann', { refId: 'elsewhere', roundId: 's' });
    const view = await round();
    expect(view).toMatchObject({
      roundId: 'r',
      state: 'open',
      closedAt: null,
      totals: [{ currency: 'USD', debitedCents: 800, creditedCents: 900, openMovements: 0 }],
      violations: [],
    });
    expect(
      view.movements.map(({ refId, event, state }: Record<string, string>) => `${event} ${refId} ${state}`),
    ).toEqual(['debit bet confirmed', 'debit bet-2 confirmed', 'debit bet-3 rejected', 'credit win confirmed']);
    expect(view.movements[0]).toMatchObject({
      transactionId: stake.transactionId,
      playerId: 'ann',
      amountCents: 500,
      currency: 'USD',
      kind: 'regular',
    });
    expect(view.movements[3].transactionId).toBe(prize.transactionId);
    const listed = await hub.call('GET', '/wallet/transactions?roundId=r');
    expect(listed.body.items.map(({ refId }: { refId: string }) => refId)).toEqual(['win', 'bet-3', 'bet-2', 'bet']);
  });

  it('counts what has no outcome yet as open', async () => {
    await bet('bea');
    await holdOperator(hub.database);
    await hub.credit({ playerId: 'bea', refId: 'win', roundId: 'r', amountCents: 900 });
    expect((await round()).totals).toEqual([
      { currency: 'USD', debitedCents: 500, creditedCents: 0, openMovements: 1 },
    ]);
    await releaseOperator(hub.database);
    await hub.drained();
    expect((await round()).totals).toEqual([
      { currency: 'USD', debitedCents: 500, creditedCents: 900, openMovements: 0 },
    ]);
  });

  it('that nobody opened is 404, to look at and to close', async () => {
    for (const answer of [await hub.call('GET', '/rounds/nowhere'), await close('nowhere')])
      expect([answer.status, answer.body.code]).toEqual([404, 'not_found']);
  });

  describe.each([
    { by: 'its route', end: async () => void (await close()) },
    { by: 'the flag on a win', end: async () => void (await win('cat', { refId: 'end', roundClosed: true })) },
    {
      by: 'a win of nothing',
      end: async () => void (await win('cat', { refId: 'end', amountCents: 0, roundClosed: true })),
    },
    { by: 'the flag on its last bet', end: async () => void (await bet('cat', { refId: 'end', roundClosed: true })) },
  ])('closed by $by', ({ end }) => {
    it('is completed, and takes no more bets; the operator is not called', async () => {
      const key = { idempotencyKey: 'key-of-bet' };
      const body = { playerId: 'cat', refId: 'bet', roundId: 'r' };
      const first = await hub.debit(body, wait(5, key));
      await end();
      const closed = await round();
      expect(closed.state).toBe('completed');
      expect(Date.parse(closed.closedAt)).toBeGreaterThanOrEqual(Date.parse(closed.openedAt));
      const before = (await callsOf(hub, 'cat')).length;

      const late = await hub.debit({ playerId: 'cat', refId: 'late', roundId: 'r' }, { idempotencyKey: 'key-of-late' });
      expect([late.status, late.body.code, late.body.outcome]).toEqual([409, 'round_closed', 'not_applied']);
      expect((await hub.call('GET', '/wallet/transactions?refId=late')).body.items).toEqual([]);
      // Bets that were taken before are still answered, by key and by reference.
      expect((await hub.debit(body, wait(5, key))).text).toBe(first.text);
      expect((await hub.debit(body)).body).toMatchObject({ transactionId: first.body.transactionId, status: 'OK' });
      // The refusal left its key free for another round.
      expect(
        (await hub.debit({ playerId: 'cat', refId: 'late', roundId: 's' }, wait(5, { idempotencyKey: 'key-of-late' })))
          .body.status,
      ).toBe('OK');
      await hub.drained();
      expect((await callsOf(hub, 'cat')).slice(before).map(({ reference }) => reference)).toEqual(['late']);
      expect(
        await metric(hub, 'hub_wallet_movements_total', { movement: 'debit', verdict: 'round_closed' }),
      ).toBeGreaterThan(0);
    });

    it('still takes every win', async () => {
      await bet('cat');
      await end();
      for (const kind of ['regular', 'free', 'promo', 'jackpot'])
        expect(await win('cat', { refId: `late-${kind}`, kind })).toMatchObject({ status: 'OK' });
      const view = await round();
      expect(view).toMatchObject({ state: 'completed', violations: [] });
      expect((await booked(hub, 'cat')).filter((booking) => booking.includes('late-'))).toHaveLength(4);
    });
  });

  it('closed twice stays closed since the first time', async () => {
    await bet('dan');
    const first = (await close()).body;
    expect((await close()).body).toMatchObject({ state: 'completed', closedAt: first.closedAt });
    await win('dan', { roundClosed: true });
    expect((await round()).closedAt).toBe(first.closedAt);
  });

  it("of several players is completed when it is closed for each; one player's end does not end the others'", async () => {
    await bet('eve');
    await bet('fay');
    await win('eve', { roundClosed: true });
    expect((await round()).state).toBe('open');
    expect((await hub.debit({ playerId: 'eve', refId: 'late', roundId: 'r' })).body.code).toBe('round_closed');
    expect(await bet('fay', { refId: 'more' })).toMatchObject({ status: 'OK' });
    await win('fay', { amountCents: 0, roundClosed: true });
    expect(await round()).toMatchObject({ state: 'completed', totals: [{ debitedCents: 1500, creditedCents: 900 }] });
    expect((await round()).movements.map(({ playerId }: { playerId: string }) => playerId)).toEqual([
      'eve',
      'fay',
      'eve',
      'fay',
      'fay',
    ]);
  });

  it('whose every bet was undone or refused is cancelled', async () => {
    await bet('gil');
    await bet('gil_bad', { refId: 'refused' });
    expect((await round()).state).toBe('open');
    await rollback(hub, { playerId: 'gil', refId: 'undo', originalRefId: 'bet' }, wait(5));
    const view = await round();
    expect(view).toMatchObject({
      state: 'cancelled',
      totals: [{ currency: 'USD', debitedCents: 0, creditedCents: 0, openMovements: 0 }],
    });
    expect(view.movements.map(({ event, state }: Record<string, string>) => `${event} ${state}`)).toEqual([
      'debit rolled_back',
      'debit rejected',
      'rollback confirmed',
    ]);
  });

  it('of which only the rollback of a bet came is cancelled', async () => {
    await rollback(hub, { playerId: 'gus', refId: 'undo', originalRefId: 'bet', roundId: 'r' }, wait(5));
    expect(await round()).toMatchObject({ state: 'cancelled', totals: [], violations: [], movementCount: 2 });
  });

  it('of more movements than one answer carries still has whole totals, and says how many there are', async () => {
    const first = await bet('hue');
    await hub.database.query(
      `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, state, settled_at, message_id)
       select uuidv7(), operator_id, rgs_id, movement, player_id, external_player_id, 'copy-' || n, 7, currency, exponent, round_id, 'confirmed', now(), uuidv7()
       from wallet_transaction, generate_series(1, 1500) n where id = $1`,
      [first.transactionId],
    );
    const view = await round();
    expect(view).toMatchObject({
      state: 'open',
      movementCount: 1501,
      totals: [{ currency: 'USD', debitedCents: 500 + 1500 * 7, creditedCents: 0, openMovements: 0 }],
    });
    expect(view.movements).toHaveLength(1000);
    expect(view.movements[0].transactionId).toBe(first.transactionId);
  });

  it('with a win that has no standing bet of its player is taken, and says what is wrong with it', async () => {
    expect(await win('hal')).toMatchObject({ status: 'OK' });
    expect((await round()).violations).toEqual(['regular credit win has no standing bet of its player']);
    await bet('ian', { roundId: 'theirs' });
    await win('hal', { refId: 'w2', roundId: 'theirs' });
    expect((await round('theirs')).violations).toEqual(['regular credit w2 has no standing bet of its player']);
    await win('ian', { refId: 'w3', roundId: 'theirs' });
    expect((await round('theirs')).violations).toEqual(['regular credit w2 has no standing bet of its player']);
    await bet('ian_bad', { roundId: 'refused' });
    // The operator refuses this one too: it is parked, and to wait for its outcome would be in vain.
    await hub.credit({ playerId: 'ian_bad', refId: 'w4', roundId: 'refused', amountCents: 900 });
    expect((await round('refused')).violations).toEqual(['regular credit w4 has no standing bet of its player']);
    for (const kind of ['free', 'promo', 'jackpot']) {
      await win('ida', { refId: kind, roundId: kind, kind });
      expect((await round(kind)).violations).toEqual([]);
    }
  });

  it('belongs to its game server: another sees nothing of it', async () => {
    await bet('jon');
    await hub.database.query(`update wallet_transaction set rgs_id = 99; update wallet_round set rgs_id = 99`);
    expect((await hub.call('GET', '/rounds/r')).status).toBe(404);
    expect((await close()).status).toBe(404);
    expect(await bet('jon', { refId: 'bet-2' })).toMatchObject({ status: 'OK' });
  });

  it('that is open for too long is listed for ops, oldest first', async () => {
    await bet('kim', { roundId: 'oldest' });
    await timePasses(hub.database, 600);
    await bet('kim', { roundId: 'old', refId: 'b2' });
    await bet('kim', { roundId: 'done', refId: 'b3' });
    await close('done');
    await timePasses(hub.database, 1799);
    await bet('kim', { roundId: 'young', refId: 'b4' });
    const overdue = async () =>
      (await hub.call('GET', '/admin/rounds/overdue')).body.map(
        ({ rgs, roundId, playerId }: Record<string, string>) => `${rgs} ${roundId} ${playerId}`,
      );
    expect(await overdue()).toEqual(['rgs oldest kim']);
    await timePasses(hub.database, 60);
    expect(await overdue()).toEqual(['rgs oldest kim', 'rgs old kim']);
    await close('oldest');
    expect(await overdue()).toEqual(['rgs old kim']);
  });
});
