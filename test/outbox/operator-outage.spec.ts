import { Outbox } from '../../src/outbox/outbox';
import { DeadlineWorker } from '../../src/wallet/deadline.worker';
import { metric, rollback, timePasses, wait } from '../support/money';
import { RecordingProxy } from '../support/partners/recording-proxy';
import { startMockOperator } from '../../mocks/operator/start';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const HOUR = 3600;
const HOURS_DOWN = 25;

describe(`an operator that is down for ${HOURS_DOWN} hours`, () => {
  let hub: TestHub;
  let line: RecordingProxy;
  let operator: Awaited<ReturnType<typeof startMockOperator>>;
  beforeAll(async () => {
    operator = await startMockOperator({ callbacks: false });
    line = await RecordingProxy.start(operator.url);
    // The schedule, the deadline and the breaker are those of production; only the clock is quick.
    hub = await TestHub.start({
      operator,
      env: {
        OPERATOR_BASE_URL: line.url,
        DEBIT_DEADLINE_SECONDS: '60',
        OUTBOX_RETRY_SCHEDULE_SECONDS: '1,5,15,60,300,1800,7200,18000,36000,50400,72000,86400',
        BREAKER_FAILURES: '10',
        BREAKER_OPEN_SECONDS: '10',
      },
    });
  });
  afterAll(async () => {
    await hub.stop();
    await line.switchOff();
    await operator.close();
  });

  const knock = async () => {
    const [row] = await hub.database.query<{ id: number }>(`select id from partner where code = 'operator'`);
    hub.app.get(Outbox).wake(row?.id ?? 0);
  };
  const tried = async (): Promise<number> =>
    Number(
      (
        await hub.database.query<{ count: string }>(
          `select count(*) from outbox_attempt a join outbox_message m on m.id = a.message_id join partner p on p.id = m.destination_id where p.code = 'operator'`,
        )
      )[0]?.count,
    );
  const stateOf = async (id: string) => (await hub.transaction(id)).state as string;

  it('rejects every bet at its deadline, and pays every win and every rollback once when it is back', async () => {
    const before = (await hub.debit({ playerId: 'before', refId: 'bet', roundId: 'r' }, wait(5))).body;
    expect(before.status).toBe('OK');
    await line.switchOff();

    const bets: string[] = [];
    const wins: string[] = [];
    const play = async (hour: number) => {
      for (const playerId of [`ann-${hour}`, `bea-${hour}`]) {
        // The last bet stands behind a win that cannot be paid yet.
        const [bet, win, more] = [
          await hub.debit({ playerId, refId: 'bet' }),
          await hub.credit({ playerId, refId: 'win', amountCents: 900 }),
          await hub.debit({ playerId, refId: 'more' }),
        ];
        expect([bet, win, more].map(({ status, body }) => [status, body.status])).toEqual(
          Array.from({ length: 3 }, () => [200, 'initiated']),
        );
        bets.push(bet.body.transactionId, more.body.transactionId);
        wins.push(win.body.transactionId);
      }
    };
    await play(0);
    const undo = (await rollback(hub, { playerId: 'before', refId: 'undo', originalRefId: 'bet' })).body;
    expect(undo).toMatchObject({ status: 'initiated', applied: null });

    for (let hour = 1; hour <= HOURS_DOWN; hour += 1) {
      const calls = await tried();
      await timePasses(hub.database, HOUR);
      await knock();
      // The hub glances at the last seconds each second, and hours have gone by in one; the whole sweep would come
      // within fifteen.
      await hub.app.get(DeadlineWorker).sweep();
      // It knocks again and again: nothing is given up, and nothing is waited for longer than the breaker says.
      await waitFor(`the hub tried again in hour ${hour}`, async () => (await tried()) > calls);
      if (hour === 1 || hour === 12) {
        for (const id of bets)
          expect(await hub.reaches(id, 'rejected')).toMatchObject({ reason: 'deadline', status: 'REJECTED' });
        await play(hour);
      }
    }
    for (const id of bets) expect(await hub.reaches(id, 'rejected')).toMatchObject({ reason: 'deadline' });
    // 25 hours later the wins are neither sent, nor given up, nor parked: they wait.
    for (const id of wins) expect(await stateOf(id)).toBe('initiated');
    expect(await stateOf(undo.transactionId)).toBe('initiated');
    expect(await hub.outbox({ queue: 'operator', status: 'sent' })).toHaveLength(1);
    expect((await hub.call('GET', '/admin/failed-transactions')).body.items).toEqual([]);
    expect(await metric(hub, 'hub_wallet_parked_total')).toBe(0);
    expect((await hub.operatorCalls()).map(({ reference }) => reference)).toEqual(['bet']);
    await waitFor(
      'the RGS was told of every rejected bet',
      async () => (await hub.rgsReceived()).filter(({ status }) => status === 'REJECTED').length === bets.length,
    );

    await line.switchOn();
    // The breaker pauses for six minutes at most.
    await timePasses(hub.database, 400);
    await knock();
    for (const id of wins) await hub.reaches(id, 'confirmed', 20_000);
    await hub.reaches(undo.transactionId, 'confirmed');
    const fresh = await hub.debit({ playerId: 'fresh', refId: 'bet' }, wait(5));
    expect(fresh.body.status).toBe('OK');
    await hub.drained();

    const books = (await hub.operatorBooks())
      .filter(({ playerId }) => playerId !== 'fresh')
      .map(({ playerId, direction, reference }) => `${playerId} ${direction} ${reference}`);
    const winners = [0, 1, 12].flatMap((hour) => [`ann-${hour}`, `bea-${hour}`]);
    expect(books.sort()).toEqual(
      [
        ...winners.map((player) => `${player} deposit win`),
        'before deposit rollback:bet',
        'before withdraw bet',
      ].sort(),
    );
    const told = (await hub.rgsReceived())
      .filter(({ playerId }) => playerId !== 'fresh')
      .map(({ playerId, refId, status, deliveries }) => `${playerId} ${refId} ${status} ${deliveries}`);
    expect(told.sort()).toEqual(
      [
        ...winners.flatMap((player) => [`${player} bet REJECTED 1`, `${player} more REJECTED 1`, `${player} win OK 1`]),
        'before bet OK 1',
        'before bet ROLLED_BACK 1',
      ].sort(),
    );
    for (const player of winners) expect((await hub.player(player)).net).toEqual({ USD: '900' });
    expect((await hub.player('before')).net).toEqual({ USD: '0' });
  }, 60_000);

  it('turns later refusals into parked money, never into "sent"', async () => {
    await hub.operatorFault({ kind: 'refuse', reason: 'player_closed', playerId: 'zoe' });
    const { body } = await hub.credit({ playerId: 'zoe', refId: 'win' });
    expect(await hub.reaches(body.transactionId, 'parked')).toMatchObject({
      reason: 'player_closed',
      status: 'initiated',
    });
    expect(await metric(hub, 'hub_wallet_parked_total', { movement: 'credit' })).toBe(1);
    const record = (await hub.outbox({ queue: 'operator' })).find(
      ({ payload }) => payload.correlationId === body.transactionId,
    );
    expect(record).toMatchObject({ status: 'dead', lastError: 'rejected_business: player_closed' });
    expect((await hub.rgsReceived()).filter(({ playerId }) => playerId === 'zoe')).toEqual([]);
  });
});
