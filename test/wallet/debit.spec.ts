import { TestHub } from '../support/hub/test-hub';

describe('a debit', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
    // A callback tells neither reason nor balance, and may be first; these tests are about the answer.
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());

  it('is answered at once, booked once at the operator and told once to the RGS', async () => {
    const answer = await hub.debit({ playerId: 'alice', amountCents: 1999, refId: 'bet-1', roundId: 'round-1' });

    expect(answer.status).toBe(200);
    const { transactionId } = answer.body;
    expect(answer.body).toEqual({
      status: 'initiated',
      refId: 'bet-1',
      correlationId: transactionId,
      balanceCents: null,
      reason: null,
      reasonCode: null,
      transactionId,
    });

    const settled = await hub.reaches(transactionId, 'confirmed');
    expect(settled).toMatchObject({
      status: 'OK',
      balanceCents: 99_998_001,
      amountCents: 1999,
      roundId: 'round-1',
      event: 'debit',
    });
    expect(settled.timeline.map((entry: { to: string }) => entry.to)).toEqual(['initiated', 'confirmed']);

    await hub.drained();
    expect(await hub.operatorBooks()).toMatchObject([
      { playerId: 'alice', amount: 19.99, reference: 'bet-1', correlationId: transactionId, direction: 'withdraw' },
    ]);
    expect(await hub.rgsReceived()).toMatchObject([
      {
        playerId: 'alice',
        amountCents: 1999,
        currency: 'USD',
        status: 'OK',
        event: 'debit',
        refId: 'bet-1',
        correlationId: transactionId,
        state: 'confirmed',
        balanceCents: 99_998_001,
        deliveries: 1,
      },
    ]);
  });

  it('that the operator refuses is rejected with its reason and true balance', async () => {
    const answer = await hub.debit({ playerId: 'bob', amountCents: 100_000_001, refId: 'bet-2' });
    const settled = await hub.reaches(answer.body.transactionId, 'rejected');
    expect(settled).toMatchObject({ status: 'REJECTED', reason: 'insufficient_funds', balanceCents: 100_000_000 });
    await hub.drained();
    expect((await hub.rgsReceived()).filter(({ refId }) => refId === 'bet-2')).toMatchObject([
      { status: 'REJECTED', reason: 'insufficient_funds', balanceCents: 100_000_000 },
    ]);
    expect(await hub.operatorBooks()).not.toContainEqual(expect.objectContaining({ reference: 'bet-2' }));
  });
});
