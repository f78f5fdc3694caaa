import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { arrows, booked, callsOf, holdOperator, metric, releaseOperator, rollback, told, wait } from '../support/money';
import { TestHub, control } from '../support/hub/test-hub';

const HEADING = 'refId,correlationId,direction,amount,inRGS,inOperator\r\n';

describe('a bet that is no money', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const file = async () => (await hub.call('GET', '/reconciliation_data')).text;

  describe.each(['free', 'promo'])('of kind %s', (kind) => {
    it.each([0, 1, 500, Number.MAX_SAFE_INTEGER])(
      'and amountCents %p takes nothing, is confirmed at once, and is told once',
      async (amountCents) => {
        const playerId = `${kind}-${amountCents}`;
        const answer = await hub.debit({ playerId, refId: 'spin', kind, amountCents, roundId: `r-${playerId}` });
        expect([answer.status, answer.body.status, answer.body.balanceCents]).toEqual([200, 'initiated', null]);
        expect(answer.body.warnings ?? []).toEqual(
          amountCents === 0 ? [] : [{ code: 'nothing_taken', message: expect.any(String) }],
        );
        await hub.drained();
        expect(await hub.transaction(answer.body.transactionId)).toMatchObject({
          state: 'confirmed',
          status: 'OK',
          kind,
          amountCents,
          balanceCents: null,
          settledAt: expect.any(String),
        });
        // The operator is called for what follows, so the bet was left out and not merely late.
        await hub.credit({ playerId, refId: 'win', roundId: `r-${playerId}`, amountCents: 1250 });
        await hub.drained();
        expect((await callsOf(hub, playerId)).map(({ direction, reference }) => `${direction} ${reference}`)).toEqual([
          'deposit win',
        ]);
        expect(await told(hub, playerId)).toEqual(['spin OK', 'win OK']);
        expect((await hub.player(playerId)).net).toEqual({ USD: '1250' });
        expect(await file()).toBe(HEADING);
      },
    );

    it('that is waited for has its outcome at once, also while the operator is not called', async () => {
      await holdOperator(hub.database);
      const first = await hub.debit(
        { playerId: kind, refId: 'spin', kind, amountCents: 0 },
        wait(5, { idempotencyKey: 'one' }),
      );
      expect([
        first.status,
        first.body.status,
        first.body.balanceCents,
        first.headers.get('preference-applied'),
      ]).toEqual([200, 'OK', null, 'wait=5']);
      const again = await hub.debit(
        { playerId: kind, refId: 'spin', kind, amountCents: 0 },
        wait(5, { idempotencyKey: 'one' }),
      );
      expect([again.text, again.headers.get('idempotent-replayed')]).toEqual([first.text, 'true']);
      expect((await hub.debit({ playerId: kind, refId: 'spin', kind, amountCents: 5 })).body.code).toBe(
        'reference_reused',
      );
      expect((await hub.debit({ playerId: kind, refId: 'spin', amountCents: 5 })).body.code).toBe('reference_reused');
      await releaseOperator(hub.database);
    });

    it('is undone without money, once, however often it is asked', async () => {
      const bet = await hub.debit({ playerId: kind, refId: 'spin', kind, amountCents: 300, roundId: 'r' });
      const undo = { playerId: kind, refId: 'undo', originalRefId: 'spin' };
      const first = await rollback(hub, undo, { idempotencyKey: 'undo' });
      expect(first.body).toMatchObject({ status: 'OK', applied: true, result: 'undone' });
      expect((await rollback(hub, undo, { idempotencyKey: 'undo' })).text).toBe(first.text);
      expect((await rollback(hub, { ...undo, refId: 'undo-2' })).body).toMatchObject({
        status: 'OK',
        applied: true,
        result: 'undone',
      });
      await hub.drained();
      expect(await arrows(hub, bet.body.transactionId)).toEqual(['confirmed', 'rolling_back', 'rolled_back']);
      expect(await told(hub, kind)).toEqual(['spin OK', 'spin ROLLED_BACK']);
      expect(await callsOf(hub, kind)).toEqual([]);
      expect((await hub.call('GET', '/rounds/r')).body).toMatchObject({
        state: 'cancelled',
        totals: [{ currency: 'USD', debitedCents: 0, creditedCents: 0, openMovements: 0 }],
      });
      expect(await file()).toBe(HEADING);
    });

    it('obeys rounds and rollbacks as a bet of money does', async () => {
      await rollback(hub, { playerId: kind, refId: 'undo', originalRefId: 'late' });
      expect((await hub.debit({ playerId: kind, refId: 'late', kind, amountCents: 0 })).body.code).toBe(
        'transaction_rolled_back',
      );
      await hub.debit({ playerId: kind, refId: 'spin', kind, amountCents: 700, roundId: 'r' });
      const round = async () => (await hub.call('GET', '/rounds/r')).body;
      expect(await round()).toMatchObject({
        state: 'open',
        totals: [{ currency: 'USD', debitedCents: 0, creditedCents: 0, openMovements: 0 }],
        violations: [],
      });
      const win = await hub.credit({ playerId: kind, refId: 'win', roundId: 'r', amountCents: 900, roundClosed: true });
      expect(win.body.warnings).toBeUndefined();
      await hub.drained();
      expect(await round()).toMatchObject({
        state: 'completed',
        totals: [{ currency: 'USD', debitedCents: 0, creditedCents: 900, openMovements: 0 }],
        violations: [],
      });
      expect(
        (await rollback(hub, { playerId: kind, refId: 'undo-2', originalRefId: 'spin', roundId: 'r' })).body.code,
      ).toBe('round_closed');
      expect((await hub.debit({ playerId: kind, refId: 'spin-2', kind, amountCents: 0, roundId: 'r' })).body.code).toBe(
        'round_closed',
      );
    });
  });

  it('is counted where movements are counted', async () => {
    const before = await metric(hub, 'hub_wallet_settled_total', { movement: 'debit', state: 'confirmed' });
    await hub.debit({ kind: 'free', amountCents: 0 });
    expect(await metric(hub, 'hub_wallet_settled_total', { movement: 'debit', state: 'confirmed' })).toBe(before + 1);
  });

  it('that only one of fifty requests at once makes is one row, one webhook and fifty equal answers', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () =>
        hub.debit({ playerId: 'fifty', refId: 'spin', kind: 'free', amountCents: 0 }, { idempotencyKey: 'one' }),
      ),
    );
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    await hub.drained();
    expect(await told(hub, 'fifty')).toEqual(['spin OK']);
  });

  it.each([
    { what: 'a jackpot', body: { kind: 'jackpot' }, field: 'kind' },
    { what: 'a regular bet of nothing', body: { amountCents: 0 }, field: 'amountCents' },
    { what: 'a regular bet of nothing that says so', body: { amountCents: 0, kind: 'regular' }, field: 'amountCents' },
    { what: 'a free bet of less than nothing', body: { amountCents: -1, kind: 'free' }, field: 'amountCents' },
    { what: 'half a cent for free', body: { amountCents: 0.5, kind: 'free' }, field: 'amountCents' },
  ])('refuses $what as a debit', async ({ body, field }) => {
    const answer = await hub.debit(body);
    expect([answer.status, answer.body.code]).toEqual([422, 'validation_failed']);
    expect(answer.body.errors.map((each: { field: string }) => each.field)).toContain(field);
  });

  /**
   * Whatever comes in whatever order and at once: the operator has the money of regular bets and of wins, and of
   * nothing else.
   */
  it('never reaches the operator, in any mix with money', async () => {
    const move = fc.record({
      kind: fc.constantFrom('regular', 'free', 'promo'),
      isWin: fc.boolean(),
      amountCents: fc.integer({ min: 1, max: 5_000 }),
      player: fc.integer({ min: 0, max: 2 }),
      round: fc.option(fc.integer({ min: 0, max: 3 })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(move, { minLength: 1, maxLength: 40 }), async (moves) => {
        await hub.clear();
        const run = randomUUID();
        const answers = await Promise.all(
          moves.map(({ kind, isWin, amountCents, player, round }, n) => {
            const body = {
              playerId: `${run}-${player}`,
              refId: `${n}`,
              kind,
              amountCents,
              roundId: round === null ? null : `${run}-${round}`,
            };
            return isWin ? hub.credit(body) : hub.debit(body);
          }),
        );
        expect(answers.map(({ status }) => status)).toEqual(moves.map(() => 200));
        await hub.drained();
        for (const player of [0, 1, 2]) {
          const mine = moves.map((each, n) => ({ ...each, n })).filter((each) => each.player === player);
          const money = mine.filter(({ isWin, kind }) => isWin || kind === 'regular');
          expect((await booked(hub, `${run}-${player}`)).sort()).toEqual(
            money.map(({ isWin, n }) => `${isWin ? 'deposit' : 'withdraw'} ${n}`).sort(),
          );
          expect((await told(hub, `${run}-${player}`)).sort()).toEqual(mine.map(({ n }) => `${n} OK`).sort());
        }
        expect(await file()).toBe(HEADING);
      }),
      { numRuns: 8 },
    );
  });

  it('that was charged by a release before is paid back as money', async () => {
    const { body } = await hub.debit({ playerId: 'old', refId: 'bet', amountCents: 300 }, wait(5));
    await hub.database.query(`update wallet_transaction set kind = 'free' where id = $1`, [body.transactionId]);
    expect((await rollback(hub, { playerId: 'old', refId: 'undo', originalRefId: 'bet' }, wait(5))).body).toMatchObject(
      { applied: true, result: 'undone' },
    );
    await hub.drained();
    expect(await booked(hub, 'old')).toEqual(['withdraw bet', 'deposit rollback:bet']);
    expect(await control(hub.operator.url, 'GET', '/admin/players/old')).toMatchObject({ net: { USD: '0' } });
  });
});
