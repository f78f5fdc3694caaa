import { randomUUID } from 'node:crypto';
import {
  arrows,
  booked,
  callsOf,
  configureOperator,
  metric,
  rollback,
  timePasses,
  told,
  wait,
  nothingInFlight,
} from '../support/money';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('parked money', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({
      env: {
        DEBIT_DEADLINE_SECONDS: '30',
        RESOLVE_GRACE_SECONDS: '0.1',
        MAX_RETRIES: '0',
        BREAKER_FAILURES: '10000',
        OUTBOX_RETRY_SCHEDULE_SECONDS: '0.05,0.05',
        OPERATOR_TIMEOUT_MS: '2000',
        OUTBOX_LEASE_SECONDS: '3',
      },
    });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(async () => {
    await hub.clear();
    await configureOperator({ idempotent_by_reference: true, status_query: true }, hub);
    await hub.database.query(
      'alter table audit_entry disable trigger all; truncate audit_entry; alter table audit_entry enable trigger all',
    );
    await hub.database.query(`update audit_head set entries = 0, hash = repeat('0', 64)`);
  });

  const list = async (query = '') => (await hub.call('GET', `/admin/failed-transactions${query}`)).body;
  const resolve = (id: string, resolution: string, reason = 'operator support looked it up') =>
    hub.call('PATCH', `/admin/failed-transactions/${id}`, { resolution, reason });
  const audited = () =>
    hub.database.query<Record<string, any>>(
      'select actor, action, target, before, after, request_id from audit_entry order by id',
    );
  const mend = () => control(hub.operator.url, 'DELETE', '/admin/faults');

  const refusedWin = async (playerId: string, more: Record<string, unknown> = {}): Promise<string> => {
    await hub.operatorFault({ kind: 'refuse', reason: 'player_blocked', playerId, direction: 'deposit' });
    const { body } = await hub.credit({ playerId, refId: 'win', amountCents: 900, ...more });
    await hub.reaches(body.transactionId, 'parked');
    return body.transactionId;
  };
  /** Booked or not, nobody can tell the hub. */
  const unknownBet = async (playerId: string, afterCommit = true): Promise<string> => {
    await hub.operatorFault({
      kind: 'status_after_commit',
      status: 500,
      playerId,
      direction: 'withdraw',
      ...(afterCommit ? {} : { kind: 'status' }),
    });
    const { body } = await hub.debit({ playerId, refId: 'bet' });
    await hub.reaches(body.transactionId, 'parked');
    return body.transactionId;
  };
  const refusedRepayment = async (playerId: string): Promise<string> => {
    const { body } = await hub.debit({ playerId, refId: 'bet' }, wait(5));
    await hub.operatorFault({ kind: 'refuse', reason: 'player_closed', playerId, direction: 'deposit' });
    await rollback(hub, { playerId, refId: 'undo', originalRefId: 'bet' });
    await hub.reaches(body.transactionId, 'parked');
    return body.transactionId;
  };

  it('is told to finance as parked, with the workbench as what to do, and never with the message that would book it again', async () => {
    const id = await unknownBet('fin');
    await hub.drained();
    const { body } = await hub.call('POST', '/v1/recon/runs', { graceSeconds: 0 });
    const run = await waitFor('the run has ended', async () => {
      const now = (await hub.call('GET', `/v1/recon/runs/${body.id}`)).body;
      return ['sealed', 'failed'].includes(now.state) ? now : undefined;
    });
    expect(run).toMatchObject({ state: 'sealed', error: null });
    const { items } = (await hub.call('GET', `/v1/recon/runs/${body.id}/items`)).body;
    const item = items.find(({ correlationId }: { correlationId: string }) => correlationId === id);
    expect(item).toMatchObject({
      class: 'missing_in_rgs',
      state: 'broken',
      nextAction: 'resolve_parked',
      outboxId: null,
      reason: expect.stringContaining(`/admin/failed-transactions/${id}`),
    });
    expect((await hub.call('GET', `/v1/recon/exceptions/${item.exceptionId}`)).body).toMatchObject({
      outboxId: null,
      outboxQueue: null,
    });
    expect(
      (
        await hub.call('POST', `/v1/recon/exceptions/${item.exceptionId}/actions`, {
          action: 'replay_outbox',
          reasonCode: 'partner_confirmed',
          note: 'as the report said',
        })
      ).status,
    ).toBe(409);
    expect((await list()).items.map(({ transactionId }: { transactionId: string }) => transactionId)).toContain(id);
  });

  describe('is what an operator refuses to pay', () => {
    it('not sent, not told as refused, counted and listed with its reason', async () => {
      const before = await metric(hub, 'hub_wallet_parked_total', { movement: 'credit' });
      const id = await refusedWin('ann');
      await hub.drained();
      expect(await metric(hub, 'hub_wallet_parked_total', { movement: 'credit' })).toBe(before + 1);
      expect(await list()).toMatchObject({
        items: [
          {
            transactionId: id,
            refId: 'win',
            playerId: 'ann',
            event: 'credit',
            amountCents: 900,
            state: 'parked',
            status: 'initiated',
            reason: 'player_blocked',
          },
        ],
        nextCursor: null,
      });
      expect((await list()).items[0].timeline.at(-1)).toMatchObject({
        from: 'initiated',
        to: 'parked',
        source: 'operator_response',
        evidence: { class: 'rejected_business', reason: 'player_blocked' },
      });
      expect(Date.parse((await list()).items[0].parkedAt)).toBeGreaterThan(Date.now() - 60_000);
      expect(await hub.outbox({ queue: 'operator' })).toMatchObject([
        { status: 'dead', lastError: 'rejected_business: player_blocked' },
      ]);
      expect(await told(hub, 'ann')).toEqual([]);
      // It holds nobody up.
      expect((await hub.debit({ playerId: 'ann', refId: 'next' }, wait(5))).body.status).toBe('OK');
    });

    it('also when it takes long to give up, and for a wrong credential', async () => {
      await hub.operatorFault({ kind: 'status', status: 500, playerId: 'bea', direction: 'deposit' });
      await hub.operatorFault({ kind: 'status', status: 401, playerId: 'bob', direction: 'deposit' });
      const ids = await Promise.all(
        ['bea', 'bob'].map(async (playerId) => (await hub.credit({ playerId, refId: 'win' })).body.transactionId),
      );
      for (const id of ids) await hub.reaches(id, 'parked');
      expect((await list()).items.map(({ playerId }: { playerId: string }) => playerId).sort()).toEqual(['bea', 'bob']);
    });
  });

  it('is listed oldest first, by movement, in pages', async () => {
    const ids: string[] = [];
    for (const playerId of ['p1', 'p2', 'p3']) ids.push(await refusedWin(playerId));
    const bet = await unknownBet('p4');
    expect((await list()).items.map(({ transactionId }: { transactionId: string }) => transactionId)).toEqual([
      ...ids,
      bet,
    ]);
    expect(
      (await list('?event=debit')).items.map(({ transactionId }: { transactionId: string }) => transactionId),
    ).toEqual([bet]);
    const first = await list('?event=credit&limit=2');
    expect([first.items.length, first.nextCursor]).toEqual([2, ids[1]]);
    const second = await list(`?event=credit&limit=2&cursor=${first.nextCursor}`);
    expect([
      second.items.map(({ transactionId }: { transactionId: string }) => transactionId),
      second.nextCursor,
    ]).toEqual([[ids[2]], null]);
    for (const query of ['?limit=0', '?limit=201', '?event=rollback', '?cursor=x', '?other=1'])
      expect((await hub.call('GET', `/admin/failed-transactions${query}`)).status).toBe(422);
  });

  describe('a refused win', () => {
    it.each([
      { resolution: 'applied', state: 'confirmed', told: ['win OK'] },
      { resolution: 'not_applied', state: 'rejected', told: ['win REJECTED'] },
    ])(
      'resolved as $resolution: $state, told once, nothing sent, and in the audit log',
      async ({ resolution, state, told: words }) => {
        const id = await refusedWin('cat');
        const calls = (await callsOf(hub, 'cat')).length;
        const answer = await resolve(id, resolution);
        expect([answer.status, answer.body]).toEqual([200, { transactionId: id, state }]);
        expect(await hub.transaction(id)).toMatchObject({ state });
        expect((await hub.transaction(id)).timeline.at(-1)).toMatchObject({
          source: 'admin',
          from: 'parked',
          to: state,
          evidence: { reason: 'operator support looked it up', resolution },
        });
        await hub.drained();
        expect(await told(hub, 'cat')).toEqual(words);
        expect(await callsOf(hub, 'cat')).toHaveLength(calls);
        expect(await list()).toEqual({ items: [], nextCursor: null });
        const [entry, ...more] = await audited();
        expect(more).toEqual([]);
        expect(entry).toMatchObject({
          action: 'transaction.resolve',
          target: id,
          before: { state: 'parked', reason: 'player_blocked' },
          after: { state, resolution, reason: 'operator support looked it up' },
        });
        expect(entry?.actor).toMatch(/\w/);
        expect(entry?.request_id).toMatch(/\w/);
        expect((await resolve(id, 'applied')).body.code).toBe('not_parked');
      },
    );

    it('sent again: the same bytes, paid once', async () => {
      const id = await refusedWin('dan');
      await mend();
      const answer = await resolve(id, 'retry', 'the player is open again');
      expect([answer.status, answer.body.state]).toEqual([200, 'parked']);
      await hub.reaches(id, 'confirmed');
      await hub.drained();
      const calls = await callsOf(hub, 'dan');
      expect(calls.map(({ status }) => status)).toEqual([200, 200]);
      expect(new Set(calls.map(({ idempotencyKey, reference }) => `${idempotencyKey} ${reference}`)).size).toBe(1);
      expect(await booked(hub, 'dan')).toEqual(['deposit win']);
      expect(await told(hub, 'dan')).toEqual(['win OK']);
      expect(await arrows(hub, id)).toEqual(['initiated', 'parked', 'confirmed']);
      expect(await audited()).toMatchObject([
        {
          action: 'transaction.resolve',
          after: { state: 'parked', resolution: 'retry', reason: 'the player is open again' },
        },
      ]);
    });

    it('sent again and refused again stays parked, and is not told', async () => {
      const id = await refusedWin('eve');
      await resolve(id, 'retry');
      await waitFor(
        'it was refused again',
        async () =>
          (await callsOf(hub, 'eve')).length === 2 &&
          (await hub.outbox({ queue: 'operator', status: 'dead' })).length === 1,
      );
      expect(await hub.transaction(id)).toMatchObject({ state: 'parked' });
      expect((await list()).items).toHaveLength(1);
      expect(await told(hub, 'eve')).toEqual([]);
    });
  });

  describe("a bet whose place is not known holds its player's lane", () => {
    const held = async (playerId: string, afterCommit = true) => {
      const id = await unknownBet(playerId, afterCommit);
      const win = (await hub.credit({ playerId, refId: 'win', amountCents: 900 })).body.transactionId;
      expect((await hub.debit({ playerId: 'other' }, wait(5))).body.status).toBe('OK');
      expect(await hub.transaction(win)).toMatchObject({ state: 'initiated' });
      return { id, win };
    };

    it.each([
      {
        resolution: 'applied',
        afterCommit: true,
        state: 'confirmed',
        books: ['withdraw bet', 'deposit win'],
        words: ['bet OK', 'win OK'],
      },
      {
        resolution: 'not_applied',
        afterCommit: false,
        state: 'rejected',
        books: ['deposit win'],
        words: ['bet REJECTED', 'win OK'],
      },
    ])(
      'resolved as $resolution: $state, and the lane goes on',
      async ({ resolution, afterCommit, state, books, words }) => {
        const { id, win } = await held('fay', afterCommit);
        await mend();
        const withdrawals = (await callsOf(hub, 'fay')).length;
        await nothingInFlight(hub.database);
        expect((await resolve(id, resolution)).body.state).toBe(state);
        await hub.reaches(win, 'confirmed');
        await hub.drained();
        expect((await callsOf(hub, 'fay')).filter(({ direction }) => direction === 'withdraw')).toHaveLength(
          withdrawals,
        );
        expect(await booked(hub, 'fay')).toEqual(books);
        expect(await told(hub, 'fay')).toEqual(words);
        expect(await hub.outbox({ queue: 'operator', status: 'pending' })).toEqual([]);
      },
    );

    it('resolved as applied after its deadline: paid back, since the game went on without it', async () => {
      const { id, win } = await held('gus');
      await mend();
      await timePasses(hub.database, 60);
      expect((await resolve(id, 'applied')).body.state).toBe('compensating');
      expect(await hub.reaches(id, 'compensated')).toMatchObject({ status: 'ROLLED_BACK' });
      await hub.reaches(win, 'confirmed');
      await hub.drained();
      expect((await booked(hub, 'gus')).sort()).toEqual(['deposit rollback:bet', 'deposit win', 'withdraw bet']);
      expect((await told(hub, 'gus')).sort()).toEqual(['bet ROLLED_BACK', 'win OK']);
    });

    it('sent again before its deadline: confirmed, and the lane goes on', async () => {
      const { id, win } = await held('gil');
      await mend();
      await resolve(id, 'retry');
      await hub.reaches(id, 'confirmed');
      await hub.reaches(win, 'confirmed');
      await hub.drained();
      expect(await booked(hub, 'gil')).toEqual(['withdraw bet', 'deposit win']);
      expect(await told(hub, 'gil')).toEqual(['bet OK', 'win OK']);
    });

    it.each([
      {
        how: 'booked',
        afterCommit: true,
        state: 'compensated',
        books: ['withdraw bet', 'deposit win', 'deposit rollback:bet'],
        word: 'bet ROLLED_BACK',
      },
      { how: 'not booked', afterCommit: false, state: 'rejected', books: ['deposit win'], word: 'bet REJECTED' },
    ])('tried again after its deadline: asked for, and $how: $state', async ({ afterCommit, state, books, word }) => {
      const { id, win } = await held('hal', afterCommit);
      await mend();
      await timePasses(hub.database, 60);
      const withdrawals = (await callsOf(hub, 'hal')).length;
      await resolve(id, 'retry');
      expect(await hub.reaches(id, state)).toMatchObject({ reason: 'deadline' });
      await hub.reaches(win, 'confirmed');
      await hub.drained();
      expect((await callsOf(hub, 'hal')).filter(({ direction }) => direction === 'withdraw')).toHaveLength(withdrawals);
      expect((await booked(hub, 'hal')).sort()).toEqual(books.toSorted());
      expect((await told(hub, 'hal')).sort()).toEqual([word, 'win OK'].sort());
      // Asked twice for what is absent, and not in a loop.
      const asked = await hub.database.query(`select 1 from outbox_attempt where class = 'absent'`);
      expect(asked.length).toBe(afterCommit ? 0 : 2);
    });

    it('at an operator with nothing to find it out by: never sent again, not even by hand', async () => {
      await configureOperator({ idempotent_by_reference: false, status_query: false }, hub);
      await hub.operatorFault({ kind: 'reset', afterCommit: true, playerId: 'ida', direction: 'withdraw' });
      const { body } = await hub.debit({ playerId: 'ida', refId: 'bet' });
      await hub.reaches(body.transactionId, 'parked');
      const refused = await resolve(body.transactionId, 'retry');
      expect([refused.status, refused.body.code]).toEqual([409, 'replay_refused']);
      expect(await callsOf(hub, 'ida')).toHaveLength(1);
      expect(await audited()).toEqual([]);
      await nothingInFlight(hub.database);
      expect((await resolve(body.transactionId, 'applied')).body.state).toBe('confirmed');
    });
  });

  describe('a refused repayment', () => {
    it('resolved as applied: the bet is undone, and so is its rollback', async () => {
      const id = await refusedRepayment('jon');
      expect((await list()).items).toMatchObject([{ transactionId: id, event: 'debit', reason: 'player_closed' }]);
      expect((await resolve(id, 'applied')).body.state).toBe('compensated');
      await hub.drained();
      expect(await told(hub, 'jon')).toEqual(['bet OK', 'bet ROLLED_BACK']);
      expect(
        (await rollback(hub, { playerId: 'jon', refId: 'undo', originalRefId: 'bet' }, wait(2))).body,
      ).toMatchObject({ status: 'OK', applied: true });
      expect(await booked(hub, 'jon')).toEqual(['withdraw bet']);
    });

    it('resolved as not applied: the bet stands, its OK is not told again, and its rollback is refused', async () => {
      const id = await refusedRepayment('kim');
      expect((await resolve(id, 'not_applied')).body.state).toBe('confirmed');
      await hub.drained();
      expect(await told(hub, 'kim')).toEqual(['bet OK']);
      const [undo] = (await hub.call('GET', '/wallet/transactions?refId=undo')).body.items;
      expect(undo).toMatchObject({ state: 'rejected', status: 'REJECTED', applied: false });
      // Once the operator takes money again, the RGS may ask anew.
      await mend();
      expect(
        (await rollback(hub, { playerId: 'kim', refId: 'undo-2', originalRefId: 'bet' }, wait(5))).body,
      ).toMatchObject({ status: 'OK', applied: true });
      await hub.drained();
      expect(await booked(hub, 'kim')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect(await told(hub, 'kim')).toEqual(['bet OK', 'bet ROLLED_BACK']);
    });

    it('sent again: paid back once', async () => {
      const id = await refusedRepayment('lou');
      await mend();
      expect((await resolve(id, 'retry')).status).toBe(200);
      await hub.reaches(id, 'compensated');
      await hub.drained();
      expect(await booked(hub, 'lou')).toEqual(['withdraw bet', 'deposit rollback:bet']);
      expect((await hub.player('lou')).net).toEqual({ USD: '0' });
      expect(await told(hub, 'lou')).toEqual(['bet OK', 'bet ROLLED_BACK']);
    });

    it('counts as parked', async () => {
      const before = await metric(hub, 'hub_wallet_parked_total', { movement: 'debit' });
      await refusedRepayment('mia');
      expect(await metric(hub, 'hub_wallet_parked_total', { movement: 'debit' })).toBe(before + 1);
    });
  });

  it('that is not parked cannot be resolved, nor what does not exist, nor without a reason', async () => {
    const { body } = await hub.debit({ playerId: 'nat', refId: 'bet' }, wait(5));
    const { body: undo } = await rollback(hub, { playerId: 'nat', refId: 'undo', originalRefId: 'nothing' });
    for (const id of [body.transactionId, undo.transactionId])
      for (const resolution of ['applied', 'not_applied', 'retry']) {
        const answer = await resolve(id, resolution);
        expect([answer.status, answer.body.code]).toEqual([409, 'not_parked']);
      }
    for (const id of [randomUUID(), 'nonsense']) expect((await resolve(id, 'applied')).status).toBe(404);
    const parked = await refusedWin('oli');
    for (const change of [
      { resolution: 'maybe', reason: 'because' },
      { resolution: 'applied' },
      { resolution: 'applied', reason: 'no' },
      { resolution: 'applied', reason: 'because', actor: 'me' },
    ])
      expect((await hub.call('PATCH', `/admin/failed-transactions/${parked}`, change)).status).toBe(422);
    expect(await hub.transaction(parked)).toMatchObject({ state: 'parked' });
    expect(await audited()).toEqual([]);
  });

  it('resolved by two people at once is resolved by one', async () => {
    const id = await refusedWin('pam');
    const answers = await Promise.all(
      ['applied', 'not_applied', 'applied', 'not_applied'].map((resolution) => resolve(id, resolution)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409]);
    await hub.drained();
    expect(await told(hub, 'pam')).toHaveLength(1);
    expect(await audited()).toHaveLength(1);
  });

  describe('in bulk', () => {
    const bulk = (ids: string[], resolution: string, dryRun: boolean) =>
      hub.call('POST', '/admin/failed-transactions/resolve', {
        ids,
        resolution,
        reason: 'outage of the operator',
        dryRun,
      });

    it('a dry run says what would become of each, and changes nothing', async () => {
      const parked = await refusedWin('ray');
      const { body } = await hub.debit({ playerId: 'sam', refId: 'bet' }, wait(5));
      const nowhere = randomUUID();
      const answer = await bulk([parked, body.transactionId, nowhere, parked], 'applied', true);
      expect(answer.body).toEqual({
        dryRun: true,
        items: [
          { id: parked, result: 'would_resolve', code: null },
          { id: body.transactionId, result: 'refused', code: 'not_parked' },
          { id: nowhere, result: 'refused', code: 'not_found' },
        ],
      });
      expect(await hub.transaction(parked)).toMatchObject({ state: 'parked' });
      expect(await audited()).toEqual([]);

      await configureOperator({ idempotent_by_reference: false, status_query: false }, hub);
      expect((await bulk([parked], 'retry', true)).body.items).toEqual([
        { id: parked, result: 'refused', code: 'replay_refused' },
      ]);
    });

    it('resolves each on its own, and writes each down', async () => {
      const parked = [await refusedWin('tia'), await refusedWin('uma'), await refusedWin('val')];
      const { body } = await hub.debit({ playerId: 'wim', refId: 'bet' }, wait(5));
      await mend();
      const answer = await bulk([parked[0] ?? '', body.transactionId, parked[1] ?? ''], 'retry', false);
      expect(answer.body.items.map(({ result }: { result: string }) => result)).toEqual([
        'resolved',
        'refused',
        'resolved',
      ]);
      for (const id of parked.slice(0, 2)) await hub.reaches(id, 'confirmed');
      expect((await list()).items.map(({ transactionId }: { transactionId: string }) => transactionId)).toEqual([
        parked[2],
      ]);
      expect((await audited()).map(({ target, after }) => [target, after.reason])).toEqual(
        parked.slice(0, 2).map((id) => [id, 'outage of the operator']),
      );
    });

    it('takes 1 to 100 ids and says clearly whether it is a rehearsal', async () => {
      for (const body of [
        { ids: [], resolution: 'retry', reason: 'because', dryRun: true },
        { ids: Array.from({ length: 101 }, () => randomUUID()), resolution: 'retry', reason: 'because', dryRun: true },
        { ids: ['x'], resolution: 'retry', reason: 'because', dryRun: true },
        { ids: [randomUUID()], resolution: 'retry', reason: 'because' },
      ])
        expect((await hub.call('POST', '/admin/failed-transactions/resolve', body)).status).toBe(422);
    });
  });
});
