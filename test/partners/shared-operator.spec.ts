import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { addPartner, as, followPartners, partnerId } from '../support/partners/partner-rows';
import { TestHub, control, movement } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** In full: SHARED_OPERATOR_MOVEMENTS=1000 npm test -- shared-operator. */
const MOVEMENTS = Number(process.env.SHARED_OPERATOR_MOVEMENTS ?? '120');
const SECOND = { token: 'token-of-second-rgs', signingKey: 'secret-of-second-rgs' };
const SOUTH = { token: 'token-of-south', signingKey: 'secret-of-south' };
/** The same RGS with a token for another operator. */
const SECOND_AT_SOUTH = { token: 'token-of-second-at-south', signingKey: SECOND.signingKey };

describe('operators and game servers that share each other', () => {
  let hub: TestHub;
  let south: MockOperator;
  let secondRgs: MockRgs;
  let home: number;
  let southId: number;
  let secondId: number;

  beforeAll(async () => {
    hub = await TestHub.start({ env: { DEBIT_DEADLINE_SECONDS: '0', MAX_RETRIES: '0' } });
    south = await startMockOperator({ token: SOUTH.token, hmacSecret: SOUTH.signingKey, hubUrl: hub.url });
    secondRgs = await startMockRgs({ hmacSecret: SECOND.signingKey });
    home = await partnerId(hub, 'operator');
    southId = await addPartner(hub, { code: 'south', role: 'operator', baseUrl: south.url, ...SOUTH });
    secondId = await addPartner(hub, {
      code: 'second',
      role: 'rgs',
      baseUrl: `${secondRgs.url}/webhooks`,
      operatorId: home,
      ...SECOND,
    });
    await hub.database.query(
      `insert into partner_credential (partner_id, operator_id, kind, label, token_sha256) values ($1, $2, 'bearer', 'south', sha256($3))`,
      [secondId, southId, Buffer.from(SECOND_AT_SOUTH.token)],
    );
    await followPartners(hub);
  });
  afterAll(async () => {
    await hub.stop();
    await Promise.all([south.close(), secondRgs.close()]);
  });
  beforeEach(async () => {
    await hub.clear();
    for (const { url } of [south, secondRgs]) await control(url, 'POST', '/admin/clear-db');
    await control(hub.operator.url, 'PUT', '/admin/settings', { referenceScope: 'player' });
  });
  afterEach(async () => {
    await hub.database.query(
      `update partner_pair set reference_scope = 'player' where operator_id = $1 and rgs_id <> $2`,
      [home, secondId],
    );
    await followPartners(hub);
  });

  const post = (route: 'debit' | 'credit' | 'rollback', body: Record<string, unknown>, options = {}) =>
    hub.call('POST', `/wallet/${route}`, body, options);
  const confirmed = (id: string) =>
    waitFor(
      'it is confirmed',
      async () =>
        (await hub.database.query(`select 1 from wallet_transaction where id = $1 and state = 'confirmed'`, [id]))
          .length === 1,
    );
  const settled = async (options = {}, ...bodies: { route: 'debit' | 'credit'; body: Record<string, unknown> }[]) => {
    for (const { route, body } of bodies) {
      const answer = await post(route, movement(body), options);
      expect(answer.status).toBe(200);
    }
  };

  it.each(['player', 'operator'] as const)(
    'two game servers use the same ids at one operator whose references are unique per %s: each bet is taken, each win paid, each undo its own',
    async (referenceScope) => {
      await control(hub.operator.url, 'PUT', '/admin/settings', { referenceScope });
      for (const options of [{}, as(SECOND)]) {
        await settled(
          options,
          { route: 'debit', body: { playerId: 'ann', refId: 'bet-1', amountCents: 500 } },
          { route: 'debit', body: { playerId: 'ann', refId: 'bet-2', amountCents: 300 } },
        );
        await hub.drained();
        await settled(options, { route: 'credit', body: { playerId: 'ann', refId: 'win-1', amountCents: 200 } });
        await hub.drained();
      }
      expect((await hub.player('ann')).net).toEqual({ USD: '-1200' });
      expect(
        (await post('rollback', { playerId: 'ann', refId: 'undo-2', originalRefId: 'bet-2' }, as(SECOND))).status,
      ).toBe(200);
      await hub.drained();
      expect((await hub.player('ann')).net).toEqual({ USD: '-900' });
      const references = (await hub.operatorBooks()).map(({ reference }) => reference as string);
      expect(references.slice(0, 3)).toEqual(['bet-1', 'bet-2', 'win-1']);
      expect(references.slice(3)).toEqual([
        ...Array<unknown>(3).fill(expect.stringMatching(/^hub~[0-9a-f-]{36}$/)),
        expect.stringMatching(/^rollback:hub~[0-9a-f-]{36}$/),
      ]);
      // What an RGS is told has its own names.
      for (const { url } of [hub.rgs, secondRgs])
        expect(new Set((await control(url, 'GET', '/webhooks')).map(({ refId }: { refId: string }) => refId))).toEqual(
          new Set(['bet-1', 'bet-2', 'win-1']),
        );
    },
  );

  it('two players of one game server bet under one refId: both are taken where the pair says that the operator goes by the reference alone', async () => {
    await control(hub.operator.url, 'PUT', '/admin/settings', { referenceScope: 'operator' });
    await hub.database.query(`update partner_pair set reference_scope = 'operator' where operator_id = $1`, [home]);
    await followPartners(hub);
    await settled(
      {},
      { route: 'debit', body: { playerId: 'bea', refId: 'bet' } },
      { route: 'debit', body: { playerId: 'ben', refId: 'bet' } },
    );
    await hub.drained();
    expect([(await hub.player('bea')).net, (await hub.player('ben')).net]).toEqual([{ USD: '-500' }, { USD: '-500' }]);
  });

  it("a refId in the form of the hub's own reference cannot be somebody else's", async () => {
    const { body } = await hub.call('POST', '/wallet/debit', movement({ playerId: 'cat', refId: 'bet' }), as(SECOND));
    await confirmed(body.transactionId);
    await control(hub.operator.url, 'PUT', '/admin/settings', { referenceScope: 'operator' });
    await settled(
      {},
      { route: 'debit', body: { playerId: 'cat', refId: `hub~${body.transactionId}` } },
      { route: 'debit', body: { playerId: 'cat', refId: `HUB~${body.transactionId}` } },
    );
    await hub.drained();
    expect((await hub.player('cat')).net).toEqual({ USD: '-1500' });
  });

  it("the operator's callback names the movement as the hub did", async () => {
    await control(hub.operator.url, 'PUT', '/admin/settings', { callbacks: false });
    await hub.operatorFault({ kind: 'pending', playerId: 'dan', next: 1 });
    const { body } = await hub.call('POST', '/wallet/debit', movement({ playerId: 'dan', refId: 'bet' }), as(SECOND));
    const said = {
      playerId: 'dan',
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      correlationId: body.correlationId,
    };
    expect((await hub.callback({ ...said, refId: 'bet' })).status).toBe(404);
    expect((await hub.callback({ ...said, refId: `hub~${body.transactionId}` })).status).toBe(200);
    await confirmed(body.transactionId);
    await control(hub.operator.url, 'PUT', '/admin/settings', { callbacks: true });
  });

  it(`the books of both are right after ${MOVEMENTS} movements with equal ids, lost answers, repeats and look-ups`, async () => {
    await control(hub.operator.url, 'PUT', '/admin/settings', { referenceScope: 'operator' });
    await hub.database.query(`update partner_pair set reference_scope = 'operator' where operator_id = $1`, [home]);
    // Without repeats by reference the hub must look up what it lost.
    await hub.database.query('update partner set idempotent_by_reference = $2 where id = $1', [home, false]);
    await followPartners(hub);
    for (const fault of [
      { kind: 'status_after_commit', status: 500 },
      { kind: 'reset', afterCommit: true },
      { kind: 'duplicate_callbacks' },
    ])
      await hub.operatorFault({ ...fault, share: 0.08, seed: 11, next: Math.ceil(MOVEMENTS / 12) });
    const expected = new Map<string, number>();
    const rounds = Array.from({ length: MOVEMENTS / 4 }, (_, n) => n);
    await Promise.all(
      rounds.flatMap((n) =>
        [{}, as(SECOND)].map(async (options, side) => {
          const playerId = `player-${n % 7}`;
          const bet = movement({
            playerId,
            refId: `bet-${n}`,
            amountCents: 100 + n + 1000 * side,
            roundId: `round-${n}`,
          });
          const win = movement({ playerId, refId: `win-${n}`, amountCents: 50 + n, roundId: `round-${n}` });
          for (const [route, body] of [
            ['debit', bet],
            ['debit', bet],
            ['credit', win],
            ['credit', win],
          ] as const)
            expect((await post(route, body, options)).status).toBe(200);
          expected.set(
            playerId,
            (expected.get(playerId) ?? 0) + (win.amountCents as number) - (bet.amountCents as number),
          );
        }),
      ),
    );
    await hub.drained(120_000);
    await hub.database.query('update partner set idempotent_by_reference = true where id = $1', [home]);
    const states = await hub.database.query<{ rgs_id: number; movement: string; state: string; n: number }>(
      'select rgs_id, movement, state, count(*)::integer as n from wallet_transaction group by 1, 2, 3 order by 1, 2, 3',
    );
    expect(states.map(({ state, n }) => ({ state, n }))).toEqual(
      Array<unknown>(4).fill({ state: 'confirmed', n: MOVEMENTS / 4 }),
    );
    expect(await hub.operatorBooks()).toHaveLength(MOVEMENTS);
    for (const [playerId, net] of expected)
      expect({ playerId, net: (await hub.player(playerId)).net }).toEqual({ playerId, net: { USD: String(net) } });
    for (const { url } of [hub.rgs, secondRgs])
      expect((await control(url, 'GET', '/admin/summary')).stored).toBe(MOVEMENTS / 2);
  }, 180_000);

  it("one Idempotency-Key with the same bytes at two operators is no repeat: the second hears it, and nothing is answered in the first one's name", async () => {
    const body = movement({ playerId: 'eva', refId: 'bet' });
    const key = { headers: { 'idempotency-key': 'key-1' } };
    const first = await post('debit', body, { ...as(SECOND), ...key });
    const second = await post('debit', body, { ...as(SECOND_AT_SOUTH), ...key });
    expect([first.status, second.status, second.body.code]).toEqual([200, 409, 'idempotency_key_reused']);
    const repeat = await post('debit', body, { ...as(SECOND), ...key });
    expect([repeat.body, repeat.headers.get('idempotent-replayed')]).toEqual([first.body, 'true']);
    const undo = { playerId: 'eva', refId: 'undo', originalRefId: 'never-came' };
    const undoKey = { headers: { 'idempotency-key': 'key-2' } };
    expect((await post('rollback', undo, { ...as(SECOND), ...undoKey })).status).toBe(200);
    expect((await post('rollback', undo, { ...as(SECOND_AT_SOUTH), ...undoKey })).body.code).toBe(
      'idempotency_key_reused',
    );
  });

  it("a rollback under another operator's token is refused, holds no place, and the right token undoes the bet", async () => {
    const { body: bet } = await post('debit', movement({ playerId: 'fay', refId: 'bet' }), as(SECOND_AT_SOUTH));
    await hub.drained();
    const undo = { playerId: 'fay', refId: 'undo', originalRefId: 'bet' };
    const wrong = await post('rollback', undo, as(SECOND));
    expect([wrong.status, wrong.body.code, wrong.body.correlationId]).toEqual([
      409,
      'wrong_operator',
      bet.correlationId,
    ]);
    expect(await hub.database.query('select 1 from wallet_transaction where tombstone')).toEqual([]);
    expect((await post('rollback', undo, as(SECOND_AT_SOUTH))).status).toBe(200);
    await hub.drained();
    expect((await control(south.url, 'GET', '/admin/players/fay')).net).toEqual({ USD: '0' });
    // Taken at both, each is undone by its own token.
    await post('debit', movement({ playerId: 'fay', refId: 'both' }), as(SECOND));
    await post('debit', movement({ playerId: 'fay', refId: 'both' }), as(SECOND_AT_SOUTH));
    await hub.drained();
    expect(
      (await post('rollback', { playerId: 'fay', refId: 'undo-both', originalRefId: 'both' }, as(SECOND))).status,
    ).toBe(200);
    await hub.drained();
    expect([(await hub.player('fay')).net, (await control(south.url, 'GET', '/admin/players/fay')).net]).toEqual([
      { USD: '0' },
      { USD: '-500' },
    ]);
  });

  it('a win and an undo go to the wallet that the bet was taken from, though the template changed meanwhile', async () => {
    const rename = async (template: string) => {
      await hub.database.query('update partner set player_id_template = $2 where id = $1', [home, template]);
      await followPartners(hub);
    };
    try {
      await settled(
        {},
        { route: 'debit', body: { playerId: 'gus', refId: 'bet-1', roundId: 'r1' } },
        { route: 'debit', body: { playerId: 'gus', refId: 'bet-2', roundId: 'r2' } },
      );
      await hub.drained();
      await rename('new:{playerId}');
      const win = movement({ playerId: 'gus', refId: 'win-1', amountCents: 900, roundId: 'r1' });
      const paid = await post('credit', win, { headers: { 'idempotency-key': 'win-key' } });
      expect(paid.status).toBe(200);
      expect((await post('credit', win, { headers: { 'idempotency-key': 'win-key' } })).body).toEqual(paid.body);
      expect((await post('rollback', { playerId: 'gus', refId: 'undo-2', originalRefId: 'bet-2' })).status).toBe(200);
      await hub.drained();
      expect((await hub.player('gus')).net).toEqual({ USD: '400' });
      expect((await hub.player('new:gus')).movements).toBe(0);
      expect(await hub.database.query(`select lane_key from outbox_lane where destination_id = $1`, [home])).toEqual([
        { lane_key: 'gus' },
      ]);
    } finally {
      await rename('{playerId}');
    }
  });

  it("a player's link does not change once money moved under it, nor comes between a bet and its win", async () => {
    const link = (external: string) =>
      hub.database.query(
        'insert into player_link (operator_id, rgs_id, player_id, external_player_id) values ($1, $2, $3, $4)',
        [home, secondId, 'hal', external],
      );
    await link('vip-1');
    await hub.database.query(`update player_link set external_player_id = 'vip-2' where player_id = 'hal'`);
    await followPartners(hub);
    await settled(as(SECOND), { route: 'debit', body: { playerId: 'hal', refId: 'bet', roundId: 'r1' } });
    for (const change of [
      `update player_link set external_player_id = 'vip-3' where player_id = 'hal'`,
      `update player_link set player_id = 'other' where player_id = 'hal'`,
      `delete from player_link where player_id = 'hal'`,
    ])
      await expect(hub.database.query(change)).rejects.toThrow(/a link does not change once it is used/);
    await settled(as(SECOND), { route: 'debit', body: { playerId: 'ida', refId: 'bet', roundId: 'r1' } });
    await expect(
      hub.database.query(
        'insert into player_link (operator_id, rgs_id, player_id, external_player_id) values ($1, $2, $3, $4)',
        [home, secondId, 'ida', 'vip-9'],
      ),
    ).rejects.toThrow(/player ida of rgs/);
    await hub.drained();
    await hub.database.query('truncate wallet_transaction cascade');
    await hub.database.query(`delete from player_link`);
  });
});
