import { randomUUID } from 'node:crypto';
import { TestHub } from '../support/hub/test-hub';

describe('the transactions of an RGS', () => {
  let hub: TestHub;
  /** Ids by refId, in the order of their making. */
  const made = new Map<string, string>();
  beforeAll(async () => {
    hub = await TestHub.start({ env: { MAX_RETRIES: '0' } });
    hub.operator.settings.callbacks = false;
    const make = async (route: 'debit' | 'credit', body: Record<string, unknown> & { refId: string }) => {
      const answer = await hub[route](body);
      expect(answer.status).toBe(200);
      made.set(`${body.refId}/${route}`, answer.body.transactionId);
    };
    await make('debit', {
      playerId: 'ann',
      refId: 'a',
      roundId: 'round-1',
      gameId: 'game',
      sessionId: 'session',
      meta: { table: 7, note: 'x' },
      amountCents: 300,
    });
    await make('credit', { playerId: 'ann', refId: 'a', roundId: 'round-1', roundClosed: true, amountCents: 450 });
    await make('debit', { playerId: 'bob', refId: 'a', roundId: 'round-2' });
    for (let n = 1; n <= 7; n += 1)
      await make('credit', { playerId: 'bob', refId: `b-${n}`, roundId: 'round-2', kind: 'free', amountCents: n });
    await hub.operatorFault({ kind: 'status_after_commit', status: 500, playerId: 'cleo', next: 1 });
    await make('debit', { playerId: 'cleo', refId: 'c', currency: 'EUR' });
    await hub.drained();
  });
  afterAll(() => hub.stop());

  const id = (name: string): string => made.get(name) ?? '';
  const list = async (query: Record<string, string>) => {
    const answer = await hub.call('GET', `/wallet/transactions?${new URLSearchParams(query).toString()}`);
    expect(answer.status).toBe(200);
    return answer.body as { items: Record<string, any>[]; nextCursor: string | null };
  };
  const idsOf = ({ items }: { items: Record<string, any>[] }) =>
    items.map(({ transactionId }) => transactionId as string);
  const bobs = () => [...[7, 6, 5, 4, 3, 2, 1].map((n) => id(`b-${n}/credit`)), id('a/debit')];

  it('are found by id, with everything that was said and what became of it', async () => {
    const transaction = await hub.transaction(id('a/credit'));
    expect(transaction).toEqual({
      transactionId: id('a/credit'),
      correlationId: id('a/credit'),
      refId: 'a',
      playerId: 'ann',
      event: 'credit',
      amountCents: 450,
      currency: 'USD',
      state: 'confirmed',
      status: 'OK',
      balanceCents: 100_000_150,
      reason: null,
      reasonCode: null,
      warnings: [],
      applied: null,
      originalTransactionId: null,
      kind: 'regular',
      roundId: 'round-1',
      roundClosed: true,
      gameId: null,
      sessionId: null,
      meta: null,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      settledAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      timeline: [
        { at: transaction.createdAt, event: 'accepted', source: 'rgs', from: null, to: 'initiated', evidence: {} },
        {
          at: expect.any(String),
          event: 'transition',
          source: 'operator_response',
          from: 'initiated',
          to: 'confirmed',
          evidence: {
            message: 'credit',
            attempt: 1,
            status: 200,
            class: 'applied',
            reason: null,
            balance: '1000001.5',
          },
        },
      ],
    });
    const debit = (await list({ playerId: 'ann' })).items[1];
    expect(debit).toMatchObject({
      event: 'debit',
      gameId: 'game',
      sessionId: 'session',
      meta: { table: 7, note: 'x' },
      balanceCents: 99_999_700,
    });
  });

  it('tell their whole way in order', async () => {
    const { timeline, state } = await hub.transaction(id('c/debit'));
    expect(state).toBe('confirmed');
    expect(
      timeline.map((entry: Record<string, any>) => [
        entry.event,
        entry.from,
        entry.to,
        entry.evidence.class,
        entry.evidence.attempt,
      ]),
    ).toEqual([
      ['accepted', null, 'initiated', undefined, undefined],
      ['transition', 'initiated', 'unknown', 'unknown', 1],
      ['transition', 'unknown', 'confirmed', 'applied', 2],
    ]);
    const times = timeline.map(({ at }: { at: string }) => Date.parse(at));
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  it.each([
    { query: { refId: 'a' }, names: ['a/debit', 'a/credit', 'ann a/debit'] },
    { query: { roundId: 'round-1' }, names: ['a/credit', 'ann a/debit'] },
    { query: { playerId: 'ann' }, names: ['a/credit', 'ann a/debit'] },
    { query: { refId: 'a', playerId: 'bob' }, names: ['a/debit'] },
    { query: { refId: 'a', roundId: 'round-2' }, names: ['a/debit'] },
    { query: { playerId: 'cleo' }, names: ['c/debit'] },
    { query: { playerId: 'nobody' }, names: [] },
    { query: { refId: 'c', playerId: 'ann' }, names: [] },
  ])('are found by $query, newest first', async ({ query, names }) => {
    const [anns] = await hub.database.query<{ id: string }>(
      `select id from wallet_transaction where player_id = 'ann' and movement = 'debit'`,
    );
    const page = await list(query);
    expect(idsOf(page)).toEqual(names.map((name) => (name === 'ann a/debit' ? anns?.id : id(name))));
    expect(page.nextCursor).toBeNull();
  });

  it('are found by correlation id, alone or together with what fits', async () => {
    expect(idsOf(await list({ correlationId: id('c/debit') }))).toEqual([id('c/debit')]);
    expect(idsOf(await list({ correlationId: id('c/debit'), refId: 'c' }))).toEqual([id('c/debit')]);
    expect(idsOf(await list({ correlationId: id('c/debit'), refId: 'a' }))).toEqual([]);
    expect(idsOf(await list({ correlationId: randomUUID() }))).toEqual([]);
  });

  it.each([1, 2, 3, 4, 7, 8, 50])(
    'come in pages of %i, newest first, each once, and the last page says that it is the last',
    async (limit) => {
      const seen: string[] = [];
      let cursor: string | null = null;
      let pages = 0;
      do {
        const page = await list({ playerId: 'bob', limit: String(limit), ...(cursor === null ? {} : { cursor }) });
        expect(page.items.length).toBeLessThanOrEqual(limit);
        seen.push(...idsOf(page));
        cursor = page.nextCursor;
        pages += 1;
      } while (cursor !== null);
      expect(seen).toEqual(bobs());
      expect(pages).toBe(Math.ceil(8 / limit));
    },
  );

  it('keep their place in the pages while new ones arrive', async () => {
    const first = await list({ playerId: 'bob', limit: '3' });
    const answer = await hub.debit({ playerId: 'bob', refId: 'later' });
    const second = await list({ playerId: 'bob', limit: '50', cursor: first.nextCursor ?? '' });
    expect([...idsOf(first), ...idsOf(second)]).toEqual(bobs());
    expect(idsOf(await list({ playerId: 'bob', limit: '1' }))).toEqual([answer.body.transactionId]);
  });

  it.each([
    { query: '', field: 'refId' },
    { query: 'limit=10', field: 'refId' },
    { query: 'playerId=bob&limit=0', field: 'limit' },
    { query: 'playerId=bob&limit=201', field: 'limit' },
    { query: 'playerId=bob&limit=many', field: 'limit' },
    { query: 'playerId=bob&cursor=7', field: 'cursor' },
    { query: 'correlationId=corr-1', field: 'correlationId' },
    { query: 'playerId=bob&state=confirmed', field: 'state' },
    { query: 'refId=', field: 'refId' },
  ])('are not searched with "$query"', async ({ query, field }) => {
    const answer = await hub.call('GET', `/wallet/transactions?${query}`);
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({ code: 'validation_failed' });
    expect(answer.body.errors.map((error: { field: string }) => error.field)).toContain(field);
  });

  it.each(['00000000-0000-7000-8000-000000000000', 'corr-1', 'null'])('do not include %s', async (unknown) => {
    const answer = await hub.call('GET', `/wallet/transactions/${unknown}`);
    expect(answer.status).toBe(404);
    expect(answer.body).toMatchObject({ code: 'not_found' });
  });
});
