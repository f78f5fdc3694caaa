import { expectProblem } from '../support/hub/problem';
import { rollback } from '../support/money';
import { TestHub } from '../support/hub/test-hub';

/**
 * Keys, references and rounds are found by hash and told apart by text. Nobody will meet two texts with equal hashes,
 * so this hub's database hashes all texts alike that begin with "twin-".
 */
describe('texts whose hashes are equal', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { ROLE: 'api' } });
    await hub.database
      .query(`create or replace function wallet_hash(p_text text) returns integer language sql immutable parallel safe
      return case when p_text like 'twin-%' then 7 else hashtext(p_text) end`);
    await hub.database
      .query(`create or replace function wallet_hash_long(p_text text, p_seed bigint) returns bigint language sql immutable parallel safe
      return case when p_text like 'twin-%' then 7 else hashtextextended(p_text, p_seed) end`);
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const count = async (table: string): Promise<number> =>
    Number((await hub.database.query<{ n: string }>(`select count(*) as n from ${table}`))[0]?.n);

  it('of references: the second is refused and leaves its key free, the first is still repeated', async () => {
    const bet = { refId: 'twin-a', playerId: 'ada' };
    const first = await hub.debit(bet, { idempotencyKey: 'key-1' });
    expect(first.status).toBe(200);
    const second = await hub.debit({ ...bet, refId: 'twin-b' }, { idempotencyKey: 'key-2' });
    expectProblem(second, 'reference_reused');
    expect(second.body).not.toHaveProperty('correlationId');
    expectProblem(await hub.debit({ ...bet, playerId: 'bob' }), 'reference_reused');
    expectProblem(await hub.credit(bet), 'reference_reused');
    expect(await count('wallet_transaction')).toBe(1);
    expect(await count('outbox_message')).toBe(1);
    expect((await hub.debit({ refId: 'other' }, { idempotencyKey: 'key-2' })).status).toBe(200);
    for (const idempotencyKey of ['key-1', 'key-3'])
      expect((await hub.debit(bet, { idempotencyKey })).body.transactionId).toBe(first.body.transactionId);
  });

  it('of keys: the second is refused, whatever it asks for', async () => {
    const first = await hub.debit({ refId: 'one' }, { idempotencyKey: 'twin-1' });
    expect(first.status).toBe(200);
    for (const refId of ['one', 'two'])
      expectProblem(await hub.debit({ refId }, { idempotencyKey: 'twin-2' }), 'idempotency_key_reused');
    expectProblem(
      await rollback(hub, { playerId: 'player-1', refId: 'undo', originalRefId: 'one' }, { idempotencyKey: 'twin-2' }),
      'idempotency_key_reused',
    );
    expect((await hub.debit({ refId: 'one' }, { idempotencyKey: 'twin-1' })).headers.get('idempotent-replayed')).toBe(
      'true',
    );
    expect(await count('wallet_transaction')).toBe(1);
    expect(await count('idempotency_key')).toBe(1);
  });

  it('at the same moment: one of them is taken, the others are refused, and neighbours do not notice', async () => {
    const answers = await Promise.all([
      ...Array.from({ length: 8 }, (_, n) => hub.debit({ refId: `twin-${n}`, playerId: `p-${n}` })),
      ...Array.from({ length: 8 }, (_, n) => hub.debit({ refId: `own-${n}` }, { idempotencyKey: `twin-${n}` })),
      ...Array.from({ length: 8 }, (_, n) => hub.debit({ refId: `neighbour-${n}` }, { idempotencyKey: `key-${n}` })),
    ]);
    const statuses = (from: number): number[] =>
      answers
        .slice(from, from + 8)
        .map(({ status }) => status)
        .sort();
    expect([statuses(0), statuses(8), statuses(16)]).toEqual([
      [200, ...Array(7).fill(409)],
      [200, ...Array(7).fill(409)],
      Array(8).fill(200),
    ]);
    expect(await count('wallet_transaction')).toBe(10);
  });

  it('of bets: a rollback never undoes, or keeps out, one for the other', async () => {
    const bet = await hub.debit({ refId: 'twin-a', playerId: 'cy' });
    expectProblem(
      await rollback(hub, { playerId: 'cy', refId: 'undo-b', originalRefId: 'twin-b' }),
      'reference_reused',
    );
    await hub.debit({ refId: 'plain', playerId: 'cy' });
    expectProblem(
      await rollback(hub, { playerId: 'cy', refId: 'twin-undo', originalRefId: 'plain' }),
      'reference_reused',
    );
    expect((await hub.transaction(bet.body.transactionId)).state).toBe('initiated');
    expect(await count('wallet_transaction')).toBe(2);
    expect((await rollback(hub, { playerId: 'cy', refId: 'undo-a', originalRefId: 'twin-a' })).body).toMatchObject({
      applied: false,
    });
  });

  it('of a place that is held: the bet that never came is kept out, the other is told nothing about it', async () => {
    expect((await rollback(hub, { playerId: 'di', refId: 'undo', originalRefId: 'twin-a' })).status).toBe(200);
    expectProblem(await hub.debit({ refId: 'twin-a', playerId: 'di' }), 'transaction_rolled_back');
    expectProblem(await hub.debit({ refId: 'twin-b', playerId: 'di' }), 'reference_reused');
  });

  it('of rounds: each shows its own movements, and closing one does not close the other', async () => {
    await hub.debit({ refId: 'a', playerId: 'eli', roundId: 'twin-r' });
    expect((await hub.call('GET', '/rounds/twin-s')).status).toBe(404);
    expect((await hub.call('POST', '/rounds/twin-s/close')).status).toBe(404);
    await hub.debit({ refId: 'b', playerId: 'eli', roundId: 'twin-s' });
    expect((await hub.call('POST', '/rounds/twin-r/close')).body.state).toBe('completed');
    expectProblem(await hub.debit({ refId: 'c', playerId: 'eli', roundId: 'twin-r' }), 'round_closed');
    expect((await hub.debit({ refId: 'd', playerId: 'eli', roundId: 'twin-s' })).status).toBe(200);
    const movements = async (roundId: string): Promise<string[]> =>
      (await hub.call('GET', `/rounds/${roundId}`)).body.movements.map(({ refId }: { refId: string }) => refId);
    expect([await movements('twin-r'), await movements('twin-s')]).toEqual([['a'], ['b', 'd']]);
  });

  it('of look-ups: a list answers what was asked for', async () => {
    await hub.debit({ refId: 'twin-a', roundId: 'twin-r' });
    for (const filter of ['refId=twin-a', 'roundId=twin-r'])
      expect((await hub.call('GET', `/wallet/transactions?${filter}`)).body.items).toHaveLength(1);
    for (const filter of ['refId=twin-b', 'roundId=twin-s'])
      expect((await hub.call('GET', `/wallet/transactions?${filter}`)).body.items).toEqual([]);
  });
});
