import { signatureOf } from '../support/hub/signed-request';
import { TestHub, control, movement } from '../support/hub/test-hub';

/** What the first hub promised, in its own words. */
describe("the first hub's acceptance criteria", () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  it('same key -> one charge', async () => {
    const bet = movement({ playerId: 'ann', refId: 'bet-1', amountCents: 700 });
    const first = await hub.call('POST', '/wallet/debit', bet, { idempotencyKey: 'key-1' });
    const second = await hub.call('POST', '/wallet/debit', bet, { idempotencyKey: 'key-1' });
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.text).toBe(first.text);
    await hub.reaches(first.body.transactionId, 'confirmed');
    await hub.drained();
    expect(await hub.player('ann')).toMatchObject({ net: { USD: '-700' }, movements: 1 });
    expect(await hub.operatorCalls()).toHaveLength(1);
  });

  it('operator 500, 500, 200 -> one success', async () => {
    await hub.operatorFault({ kind: 'status', status: 500, next: 2 });
    const answer = await hub.debit({ playerId: 'ben' });
    await hub.reaches(answer.body.transactionId, 'confirmed');
    await hub.drained();
    expect((await hub.operatorCalls()).map(({ status }) => status)).toEqual([500, 500, 200]);
    expect(await hub.player('ben')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
    expect(await hub.rgsReceived()).toMatchObject([
      { status: 'OK', correlationId: answer.body.correlationId, deliveries: 1 },
    ]);
    expect(await hub.outbox({ queue: 'operator' })).toMatchObject([{ status: 'sent' }]);
  });

  it('429 with Retry-After waited for', async () => {
    await hub.operatorFault({ kind: 'throttle', retryAfter: 1, next: 1 });
    const answer = await hub.debit({ playerId: 'cat' });
    await hub.reaches(answer.body.transactionId, 'confirmed');
    const calls = await hub.operatorCalls();
    expect(calls.map(({ status }) => status)).toEqual([429, 200]);
    // The hub counts from the moment it read the answer, so the operator sees at least the second that it asked for.
    expect(calls[1].at - calls[0].at).toBeGreaterThanOrEqual(1000);
    expect(await hub.player('cat')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
    const [record] = await hub.outbox({ queue: 'operator' });
    // The call that was throttled is not an attempt.
    expect(record).toMatchObject({ status: 'sent', attemptCount: 1 });
  });

  it('webhook 500 then 200 -> one delivery', async () => {
    await hub.rgsFault({ kind: 'status', status: 500, next: 1 });
    const answer = await hub.debit({ playerId: 'dan' });
    await hub.reaches(answer.body.transactionId, 'confirmed');
    await hub.drained();
    const calls = await hub.rgsCalls();
    expect(calls.map(({ status }) => status)).toEqual([500, 200]);
    expect(new Set(calls.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(calls[1].body).toBe(calls[0].body);
    expect(await hub.rgsReceived()).toMatchObject([
      { correlationId: answer.body.correlationId, status: 'OK', deliveries: 1 },
    ]);
    expect(await hub.outbox({ queue: 'rgs' })).toMatchObject([{ status: 'sent' }]);
  });

  it('TRY -> 422 `unsupported currency`', async () => {
    for (const refused of [await hub.debit({ currency: 'TRY' }), await hub.credit({ currency: 'TRY' })]) {
      expect(refused.status).toBe(422);
      expect(refused.body).toMatchObject({
        detail: 'unsupported currency',
        code: 'unsupported_currency',
        outcome: 'not_applied',
      });
    }
    // That nothing left is proved by a movement that does: the hub is not merely slow.
    const taken = await hub.debit({ currency: 'EUR', refId: 'taken' });
    await hub.reaches(taken.body.transactionId, 'confirmed');
    expect((await hub.operatorCalls()).map(({ reference }) => reference)).toEqual(['taken']);
  });

  it('reconciliation finds each planted mismatch', async () => {
    const matched = await hub.debit({ refId: 'ref-ok' });
    const lostThere = await hub.credit({ refId: 'ref-lost', amountCents: 1250 });
    await hub.reaches(matched.body.transactionId, 'confirmed');
    await hub.reaches(lostThere.body.transactionId, 'confirmed');
    await hub.drained();
    await control(hub.operator.url, 'DELETE', '/admin/book/ref-lost');
    await control(hub.rgs.url, 'POST', '/admin/book', {
      playerId: 'player-1',
      refId: 'ref-local',
      correlationId: 'corr-1',
      event: 'credit',
      amountCents: 1000,
      currency: 'USD',
    });
    await control(hub.operator.url, 'POST', '/admin/book', {
      playerId: 'player-1',
      direction: 'withdraw',
      amount: 19.99,
      currency: 'USD',
      reference: 'ref-remote',
      correlationId: 'corr-2',
    });

    const file = await hub.call('GET', '/reconciliation_data');
    expect(file.status).toBe(200);
    expect(file.headers.get('x-mismatch-count')).toBe('3');
    const [heading, ...lines] = file.text.trimEnd().split('\r\n');
    expect(heading).toBe('refId,correlationId,direction,amount,inRGS,inOperator');
    expect(lines.sort()).toEqual([
      'ref-local,corr-1,credit,10.0,True,False',
      `ref-lost,${lostThere.body.correlationId},credit,12.5,True,False`,
      'ref-remote,corr-2,withdraw,19.99,False,True',
    ]);
  });

  it('tampered signature -> 401', async () => {
    const body = JSON.stringify(movement({ playerId: 'eve', refId: 'bet-evil' }));
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const signature = signatureOf('change_secret', timestamp, body);
    const tampered = [
      hub.call('POST', '/wallet/debit', body.replace('500', '501'), { timestamp, signature }),
      hub.call('POST', '/wallet/debit', body, {
        timestamp,
        signature: signature.replace(/^./, (digit) => (digit === '0' ? '1' : '0')),
      }),
      hub.call('POST', '/wallet/debit', body, { timestamp: String(Number(timestamp) - 1), signature }),
      hub.call('POST', '/wallet/debit', body, { timestamp, signature: null }),
    ];
    for (const refused of await Promise.all(tampered)) {
      expect(refused.status).toBe(401);
      expect(refused.body).toMatchObject({ detail: 'invalid signature', code: 'invalid_signature' });
    }
    // Untouched, the very same request passes: it was the tampering that was refused, and it had left nothing behind.
    const taken = await hub.call('POST', '/wallet/debit', body, { timestamp, signature });
    expect(taken.status).toBe(200);
    expect(taken.headers.get('idempotent-replayed')).toBeNull();
    await hub.reaches(taken.body.transactionId, 'confirmed');
    expect(await hub.player('eve')).toMatchObject({ net: { USD: '-500' }, movements: 1 });
  });
});
