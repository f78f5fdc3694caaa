import { gzipSync } from 'node:zlib';
import { rollback, wait } from '../support/money';
import { TestHub } from '../support/hub/test-hub';

describe("a refusal says what is wrong in the caller's words", () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const faults = ({ body }: { body: { errors?: { field: string; message: string }[] } }) => body.errors ?? [];

  describe('of an id that looks like another', () => {
    const SPELLINGS = [
      ' p1',
      'p1 ',
      '\u00a0p1',
      'p1\u3000',
      '\ufeffp1',
      'p1\u200b',
      'p\u200b1',
      '\u202ep1',
      'p1\u0085',
      'p1\u2028',
      ' ',
    ];
    const REQUIRED = { playerId: 'p1', refId: 'r1' };

    it.each(
      SPELLINGS.flatMap((id) =>
        ['playerId', 'refId', 'roundId', 'gameId', 'sessionId'].map((field) => ({ field, id })),
      ),
    )('$field $id: 422 for a bet and a win, which names the field and shows it', async ({ field, id }) => {
      for (const answer of [
        await hub.debit({ ...REQUIRED, [field]: id }),
        ...(field === 'gameId' || field === 'sessionId' ? [] : [await hub.credit({ ...REQUIRED, [field]: id })]),
      ]) {
        expect([answer.status, answer.body.code, answer.body.outcome]).toEqual([
          422,
          'validation_failed',
          'not_applied',
        ]);
        expect(faults(answer)).toEqual([{ field, message: expect.stringMatching(/invisible character/) }]);
        expect(faults(answer)[0]?.message).not.toMatch(/[\u0080-\uffff]/);
      }
    });

    it.each(['playerId', 'refId', 'originalRefId', 'roundId'])(
      '%s of a rollback: 422, and no place is held',
      async (field) => {
        const answer = await rollback(hub, { playerId: 'p1', refId: 'undo', originalRefId: 'bet', [field]: ' x' });
        expect([answer.status, faults(answer).map((each) => each.field)]).toEqual([422, [field]]);
        expect((await hub.debit({ playerId: 'p1', refId: 'bet' })).status).toBe(200);
      },
    );

    it.each(['p 1', 'Zoë', '玩家-1', 'p1/ä?&#', '👩‍🚀'])('not of %s, which can be seen for what it is', async (id) => {
      expect((await hub.debit({ playerId: id, refId: id, roundId: id })).status).toBe(200);
    });

    it('but what was taken before can be repeated, won for, rolled back and looked up', async () => {
      const bet = { playerId: 'p1', refId: 'bet', roundId: 'r', amountCents: 500 };
      const old = { ...bet, playerId: ' p1 ', refId: ' bet ' };
      const taken = await hub.debit(bet, wait(5));
      await hub.database.query(`update wallet_transaction set player_id = ' p1 ', ref_id = ' bet ' where id = $1`, [
        taken.body.transactionId,
      ]);
      await hub.database.query(`update wallet_round set player_id = ' p1 '`);
      expect((await hub.debit(old)).body).toMatchObject({ transactionId: taken.body.transactionId });
      expect((await hub.call('GET', '/wallet/transactions?playerId=%20p1%20')).body.items).toHaveLength(1);
      expect((await hub.call('GET', '/wallet/transactions?refId=%20bet%20')).body.items).toHaveLength(1);
      expect(
        (await rollback(hub, { playerId: ' p1 ', refId: 'undo', originalRefId: ' bet ' }, wait(5))).body,
      ).toMatchObject({ result: 'undone' });
      expect((await hub.credit({ playerId: ' p1 ', refId: 'win', roundId: 'r' }, wait(5))).body.status).toBe('OK');
      expect((await hub.debit({ ...old, refId: 'next' })).status).toBe(422);
    });
  });

  it.each([
    ['usd', /USD/, /codes are three upper-case letters: USD/],
    ['TRY', /^"TRY" is not one of the currencies of your game server, EUR, USD$/, /TRY/],
  ])('of the currency %s names those that are taken', async (currency, what, hint) => {
    const answer = await hub.debit({ currency });
    expect([answer.status, answer.body.code, answer.body.detail]).toEqual([
      422,
      'unsupported_currency',
      'unsupported currency',
    ]);
    expect(faults(answer)[0]?.message).toMatch(what);
    expect(faults(answer)[0]?.message).toMatch(hint);
  });

  it.each([
    {
      what: 'a charset',
      options: { contentType: 'application/json; charset=ISO-8859-1' },
      status: 415,
      detail: 'the charset must be utf-8, not "iso-8859-1"',
    },
    {
      what: 'another type',
      options: { contentType: 'text/plain' },
      status: 415,
      detail: 'content type must be application/json, not "text/plain"',
    },
    {
      what: 'no type',
      options: { contentType: '' },
      status: 415,
      detail: 'content type must be application/json, and there is none',
    },
    {
      what: 'an encoding',
      body: gzipSync('{}'),
      options: { headers: { 'content-encoding': 'gzip' } },
      status: 415,
      detail: 'the body must not be compressed: send it without Content-Encoding, which is "gzip"',
    },
    {
      what: 'an empty body',
      body: '',
      options: {},
      status: 400,
      detail: 'malformed request: the body is empty; it must be one JSON object',
    },
  ])('of $what names it', async ({ body, options, status, detail }) => {
    const answer = await hub.call('POST', '/wallet/debit', body ?? '{}', options);
    expect([answer.status, answer.body.detail]).toEqual([status, detail]);
  });

  it('of a key that is too long counts it in bytes', async () => {
    const answer = await hub.debit({}, { idempotencyKey: 'k'.repeat(256) });
    expect(faults(answer)).toEqual([
      { field: 'Idempotency-Key', message: expect.stringMatching(/1 to 255 bytes .*; this one has 256$/) },
    ]);
  });

  it('of a rollback after a win says that the round has a win; of a bet after the close that it is closed', async () => {
    await hub.debit({ playerId: 'ann', refId: 'bet', roundId: 'r' }, wait(5));
    await hub.credit({ playerId: 'ann', refId: 'win', roundId: 'r' }, wait(5));
    const kept = await rollback(hub, { playerId: 'ann', refId: 'undo', originalRefId: 'bet' });
    expect([kept.status, kept.body.code, kept.body.detail]).toEqual([
      409,
      'round_closed',
      'the round has a win already, so its bets stay',
    ]);
    await hub.call('POST', '/rounds/r/close');
    const late = await hub.debit({ playerId: 'ann', refId: 'late', roundId: 'r' });
    expect([late.status, late.body.code, late.body.detail]).toEqual([
      409,
      'round_closed',
      'round is closed: "r" takes no more bets of this player',
    ]);
  });
});
