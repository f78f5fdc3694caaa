import { createHash } from 'node:crypto';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { addPartner, as, followPartners } from '../support/partners/partner-rows';
import { TestHub, control, movement } from '../support/hub/test-hub';

const NORTH_RGS = { token: 'token-of-north-rgs', signingKey: 'secret-of-north-rgs' };
const NORTH_OPERATOR = { token: 'token-of-north-operator', signingKey: 'secret-of-north-operator' };

/** Beside the pair of the environment a second pair, "north", that differs from it in everything a row can say. */
describe('operators and game servers are rows', () => {
  let hub: TestHub;
  let northOperator: MockOperator;
  let northRgs: MockRgs;
  let northOperatorId: number;
  let northRgsId: number;

  beforeAll(async () => {
    hub = await TestHub.start({ env: { RATE_LIMIT_PER_MINUTE: '0' } });
    northOperator = await startMockOperator({
      token: NORTH_OPERATOR.token,
      hmacSecret: NORTH_OPERATOR.signingKey,
      hubUrl: hub.url,
      supportedCurrencies: ['USD', 'KWD', 'JPY', 'SEK'],
    });
    northRgs = await startMockRgs({ hmacSecret: NORTH_RGS.signingKey });
    northOperatorId = await addPartner(hub, {
      code: 'north-operator',
      role: 'operator',
      baseUrl: `${northOperator.url}/`,
      currencies: ['USD', 'KWD', 'JPY'],
      columns: {
        retired_currencies: ['SEK'],
        player_id_template: 'north:{playerId}',
        currency_exponents: { KWD: 2 },
        amount_encoding: 'string',
        amount_minor_max: 10_000,
      },
      ...NORTH_OPERATOR,
    });
    northRgsId = await addPartner(hub, {
      code: 'north-rgs',
      role: 'rgs',
      baseUrl: `${northRgs.url}/webhooks`,
      currencies: ['USD', 'KWD', 'JPY'],
      columns: { retired_currencies: ['SEK'] },
      operatorId: northOperatorId,
      ...NORTH_RGS,
    });
    await followPartners(hub);
  });
  afterAll(async () => {
    await hub.stop();
    await Promise.all([northOperator.close(), northRgs.close()]);
  });
  beforeEach(async () => {
    await hub.clear();
    await control(northOperator.url, 'POST', '/admin/clear-db');
    await control(northRgs.url, 'POST', '/admin/clear-db');
  });

  const north = (route: 'debit' | 'credit', body: Record<string, unknown>, options = {}) =>
    hub.call('POST', `/wallet/${route}`, movement(body), { ...as(NORTH_RGS), ...options });
  const northBooks = () => control(northOperator.url, 'GET', '/v2/transactions') as Promise<any[]>;
  const northTold = () => control(northRgs.url, 'GET', '/webhooks') as Promise<any[]>;
  const stateOf = async (transactionId: string) =>
    (
      await hub.database.query<{ state: string }>('select state from wallet_transaction where id = $1', [transactionId])
    )[0]?.state;
  const sentBody = async (transactionId: string) =>
    (
      await hub.database.query<{ body: string }>(
        'select m.body from outbox_message m join wallet_transaction t on t.message_id = m.id where t.id = $1',
        [transactionId],
      )
    )[0]?.body;

  it("each RGS moves its own operator's wallet only, and only it is told", async () => {
    const home = await hub.debit({ playerId: 'ann', refId: 'bet' });
    const away = await north('debit', { playerId: 'ann', refId: 'bet' });
    expect([home.status, away.status]).toEqual([200, 200]);
    expect(away.body.transactionId).not.toBe(home.body.transactionId);
    await hub.drained();
    expect([await stateOf(home.body.transactionId), await stateOf(away.body.transactionId)]).toEqual([
      'confirmed',
      'confirmed',
    ]);
    expect((await hub.operatorBooks()).map(({ correlationId }) => correlationId)).toEqual([home.body.correlationId]);
    expect((await northBooks()).map(({ correlationId }) => correlationId)).toEqual([away.body.correlationId]);
    expect((await hub.rgsReceived()).map(({ correlationId }) => correlationId)).toEqual([home.body.correlationId]);
    expect(await northTold()).toMatchObject([
      { correlationId: away.body.correlationId, playerId: 'ann', status: 'OK', deliveries: 1 },
    ]);
  });

  it('each RGS sees its own transactions only', async () => {
    const home = await hub.debit({ playerId: 'ben', refId: 'bet', roundId: 'round' });
    const away = await north('debit', { playerId: 'ben', refId: 'bet', roundId: 'round' });
    const read = (path: string, options = {}) => hub.call('GET', `/wallet/transactions${path}`, undefined, options);
    for (const query of ['?refId=bet', '?roundId=round', '?playerId=ben']) {
      expect((await read(query)).body.items.map((item: { transactionId: string }) => item.transactionId)).toEqual([
        home.body.transactionId,
      ]);
      expect(
        (await read(query, as(NORTH_RGS))).body.items.map((item: { transactionId: string }) => item.transactionId),
      ).toEqual([away.body.transactionId]);
    }
    expect((await read(`/${away.body.transactionId}`, as(NORTH_RGS))).status).toBe(200);
    const foreign = await read(`/${away.body.transactionId}`);
    expect(foreign.status).toBe(404);
    expect(foreign.body).toMatchObject({ code: 'not_found' });
    expect((await read(`?correlationId=${away.body.correlationId}`)).body).toEqual({ items: [], nextCursor: null });
  });

  it('each partner signs with its own key, and a token says whose key is asked for', async () => {
    const bet = { playerId: 'cat', refId: 'bet-signed' };
    expect((await north('debit', bet, { secret: 'change_secret' })).body).toMatchObject({
      status: 401,
      code: 'invalid_signature',
    });
    expect((await hub.debit(bet, { secret: NORTH_RGS.signingKey })).body).toMatchObject({
      status: 401,
      code: 'invalid_signature',
    });
    expect((await north('debit', bet)).status).toBe(200);
    await hub.drained();
    // The mocks verify what the hub signs for each of them: a wrong key would be 401 in their logs.
    for (const url of [northOperator.url, northRgs.url])
      expect((await control(url, 'GET', '/admin/calls')).map(({ status }: { status: number }) => status)).toEqual([
        200,
      ]);
  });

  it('a token without an operator opens no wallet', async () => {
    const lost = { token: 'token-of-lost-rgs', signingKey: 'secret-of-lost-rgs' };
    await addPartner(hub, { code: 'lost-rgs', role: 'rgs', baseUrl: northRgs.url, ...lost });
    await followPartners(hub);
    const answer = await hub.debit({}, as(lost));
    expect(answer.status).toBe(403);
    expect(answer.body).toMatchObject({ code: 'forbidden' });
    // An operator's token is no RGS's, and the other way round.
    expect((await hub.debit({}, as(NORTH_OPERATOR))).status).toBe(403);
    expect((await hub.callback({}, as(NORTH_RGS))).status).toBe(403);
  });

  it.each([
    { playerId: 'plain', external: 'north:plain' },
    { playerId: 'a/b c?d#e%', external: 'north:a/b c?d#e%' },
    { playerId: 'j\u00fcrgen \u{1F3B2}', external: 'north:j\u00fcrgen \u{1F3B2}' },
    { playerId: '$&', external: 'north:$&' },
    { playerId: 'linked', external: 'vip-77' },
  ])('the operator knows player $playerId as $external, the RGS by its own id', async ({ playerId, external }) => {
    await hub.database.query(
      'insert into player_link (operator_id, rgs_id, player_id, external_player_id) values ($1, $2, $3, $4) on conflict do nothing',
      [northOperatorId, northRgsId, 'linked', 'vip-77'],
    );
    await followPartners(hub);
    const { body } = await north('debit', { playerId });
    await hub.drained();
    expect(await northBooks()).toMatchObject([{ playerId: external }]);
    expect(await northTold()).toMatchObject([{ playerId }]);
    // Callbacks name the player as the operator does; or as the RGS does.
    for (const name of [external, playerId])
      expect(
        (
          await hub.callback(
            {
              playerId: name,
              amount: '5.00',
              currency: 'USD',
              status: 'OK',
              event: 'withdraw',
              refId: `hub~${body.transactionId}`,
              correlationId: body.correlationId,
            },
            as(NORTH_OPERATOR),
          )
        ).status,
      ).toBe(200);
    // A link is of one pair: the other RGS's player of that name is somebody else.
    const home = await hub.debit({ playerId });
    await hub.reaches(home.body.transactionId, 'confirmed');
    expect(await hub.operatorBooks()).toMatchObject([{ playerId }]);
  });

  it.each([
    { whose: 'home', currency: 'USD', amountCents: 500, sent: '"amount":5.00' },
    { whose: 'home', currency: 'EUR', amountCents: 9_007_199_254_740_991, sent: '"amount":90071992547409.91' },
    { whose: 'north', currency: 'USD', amountCents: 500, sent: '"amount":"5.00"' },
    { whose: 'north', currency: 'JPY', amountCents: 500, sent: '"amount":"500"' },
    // ISO 4217 says three decimals; this operator says two.
    { whose: 'north', currency: 'KWD', amountCents: 500, sent: '"amount":"5.00"' },
  ])(
    '$amountCents minor units of $currency leave for $whose as $sent',
    async ({ whose, currency, amountCents, sent }) => {
      const answer = await (whose === 'home'
        ? hub.credit({ currency, amountCents })
        : north('debit', { currency, amountCents }));
      expect(answer.status).toBe(200);
      expect(await sentBody(answer.body.transactionId)).toContain(sent);
      await hub.drained();
      expect(await stateOf(answer.body.transactionId)).toBe('confirmed');
      expect([...(await hub.rgsReceived()), ...(await northTold())]).toMatchObject([{ amountCents, currency }]);
    },
  );

  it('a limit holds for debits; a win passes', async () => {
    expect((await north('debit', { amountCents: 10_000 })).status).toBe(200);
    const refused = await north('debit', { amountCents: 10_001 });
    expect(refused.status).toBe(422);
    expect(refused.body).toMatchObject({ code: 'validation_failed', errors: [{ field: 'amountCents' }] });
    expect((await north('credit', { amountCents: 10_001 })).status).toBe(200);
    expect((await hub.debit({ amountCents: 10_001 })).status).toBe(200);
    await hub.drained();
    expect((await northBooks()).map(({ direction, amount }) => [direction, amount])).toEqual([
      ['withdraw', '100.00'],
      ['deposit', '100.01'],
    ]);
  });

  it('a retired currency: no debit, but a win is never gated; a currency that never was: neither', async () => {
    const debit = await north('debit', { currency: 'SEK' });
    expect(debit.status).toBe(422);
    expect(debit.body).toMatchObject({ detail: 'unsupported currency', code: 'unsupported_currency' });
    const credit = await north('credit', { currency: 'SEK' });
    expect(credit.status).toBe(200);
    for (const route of ['debit', 'credit'] as const)
      expect((await north(route, { currency: 'EUR' })).body).toMatchObject({ code: 'unsupported_currency' });
    await hub.drained();
    expect(await northBooks()).toMatchObject([{ direction: 'deposit', currency: 'SEK' }]);
  });

  it("a currency that leaves the environment's list is retired at the next start", async () => {
    const later = await TestHub.start({
      database: hub.database,
      operator: hub.operator,
      rgs: hub.rgs,
      env: { SUPPORTED_CURRENCIES: 'USD' },
    });
    try {
      expect((await later.debit({ currency: 'EUR' })).body).toMatchObject({ code: 'unsupported_currency' });
      const win = await later.credit({ currency: 'EUR' });
      expect(win.status).toBe(200);
      await later.reaches(win.body.transactionId, 'confirmed');
    } finally {
      await later.stop();
    }
    const back = await TestHub.start({ database: hub.database, operator: hub.operator, rgs: hub.rgs });
    await back.stop();
    await followPartners(hub);
    expect((await hub.debit({ currency: 'EUR' })).status).toBe(200);
    expect(await hub.database.query(`select retired_currencies from partner where code = 'rgs'`)).toEqual([
      { retired_currencies: [] },
    ]);
  });

  it('keys rotate without a gap: two verify side by side, an expired one no longer, and the newest signs', async () => {
    const old = NORTH_RGS.signingKey;
    await hub.database.query(
      `insert into partner_credential (partner_id, kind, label, secret) values ($1, 'signing', 'next', 'next-secret')`,
      [northRgsId],
    );
    northRgs.settings.hmacSecret = 'next-secret';
    try {
      await followPartners(hub);
      for (const secret of [old, 'next-secret']) expect((await north('debit', {}, { secret })).status).toBe(200);
      await hub.drained();
      expect((await northTold()).map(({ deliveries }) => deliveries)).toEqual([1, 1]);
      await hub.database.query(
        `update partner_credential set not_after = now() where partner_id = $1 and label = 'test' and kind = 'signing'`,
        [northRgsId],
      );
      await followPartners(hub);
      expect((await north('debit', {}, { secret: old })).status).toBe(401);
      expect((await north('debit', {}, { secret: 'next-secret' })).status).toBe(200);
      await hub.drained();
    } finally {
      await hub.database.query(
        `update partner_credential set not_after = null where partner_id = $1 and label = 'test'`,
        [northRgsId],
      );
      await hub.database.query(`delete from partner_credential where partner_id = $1 and label = 'next'`, [northRgsId]);
      northRgs.settings.hmacSecret = old;
      await followPartners(hub);
    }
  });

  it('an expired token and a partner that was switched off open nothing; the others go on', async () => {
    const set = async (sql: string, parameters: unknown[]) => {
      await hub.database.query(sql, parameters);
      await followPartners(hub);
    };
    await set(`update partner_credential set not_after = now() where partner_id = $1 and kind = 'bearer'`, [
      northRgsId,
    ]);
    expect((await north('debit', {})).status).toBe(401);
    expect((await hub.debit()).status).toBe(200);
    await set(`update partner_credential set not_after = null where partner_id = $1 and kind = 'bearer'`, [northRgsId]);
    expect((await north('debit', {})).status).toBe(200);
    await hub.drained();

    await set('update partner set active = false where id = $1', [northRgsId]);
    expect((await north('debit', {})).status).toBe(401);
    expect((await hub.debit()).status).toBe(200);
    await set('update partner set active = true where id = $1', [northRgsId]);
    expect((await north('debit', {})).status).toBe(200);
    await hub.drained();
  });

  it('tokens are stored as their SHA-256 and nowhere in clear', async () => {
    const rows = await hub.database.query<{ token_sha256: Buffer; text: string }>(
      `select token_sha256, c::text as text from partner_credential c where kind = 'bearer'`,
    );
    for (const token of ['change_token', NORTH_RGS.token, NORTH_OPERATOR.token]) {
      expect(rows.map(({ token_sha256 }) => token_sha256.toString('hex'))).toContain(
        createHash('sha256').update(token).digest('hex'),
      );
      expect(rows.map(({ text }) => text).join('\n')).not.toContain(token);
    }
    await expect(
      hub.database.query(
        `insert into partner_credential (partner_id, kind, label, secret) values ($1, 'bearer', 'clear', 'token')`,
        [northRgsId],
      ),
    ).rejects.toMatchObject({ constraint: 'partner_credential_value' });
  });
});
