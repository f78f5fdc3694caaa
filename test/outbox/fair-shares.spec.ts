import { bucketCapacity } from '../../src/outbox/outbox.worker';
import { addPartner, as, followPartners, partnerId } from '../support/partners/partner-rows';
import { TestHub, movement } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const LOUD = { token: 'token-of-loud-rgs', signingKey: 'secret-of-loud-rgs' };
const QUEUED = 160;
const RATE_PER_SECOND = 20;

/**
 * One operator that takes 20 calls a second, and two game servers: one that has sent eight seconds of work, and one
 * that plays.
 */
describe("a game server that fills an operator's queue", () => {
  let hub: TestHub;

  beforeAll(async () => {
    hub = await TestHub.start({
      env: { RATE_LIMIT_PER_MINUTE: String(RATE_PER_SECOND * 60), DEBIT_DEADLINE_SECONDS: '3' },
    });
    await addPartner(hub, {
      code: 'loud',
      role: 'rgs',
      baseUrl: `${hub.rgs.url}/webhooks`,
      operatorId: await partnerId(hub, 'operator'),
      ...LOUD,
    });
    await followPartners(hub);
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const queue = async (route: 'debit' | 'credit', options = {}, count = QUEUED) => {
    const answers = await Promise.all(
      Array.from({ length: count }, (_, n) =>
        hub.call('POST', `/wallet/${route}`, movement({ playerId: `crowd-${n}` }), options),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  };
  /** How many calls for such players have left; those before the call for `untilPlayer`. */
  const sentBy = async (playerPrefix: string, untilPlayer?: string): Promise<number> => {
    const calls = await hub.operatorCalls();
    const end = calls.findIndex(({ playerId }) => playerId === untilPlayer);
    return calls.slice(0, end < 0 ? undefined : end).filter(({ playerId }) => playerId.startsWith(playerPrefix)).length;
  };

  it('does not hold up the bets of another: none comes near its deadline, and all of them pass in their turn', async () => {
    // Twice as many, so that a slow machine is through with six bets before the queue is empty.
    const count = 2 * QUEUED;
    await queue('credit', as(LOUD), count);
    const overtakenBy: number[] = [];
    for (let n = 0; n < 6; n += 1) {
      const before = await sentBy('crowd');
      const { body } = await hub.debit({ playerId: `calm-${n}` });
      await hub.reaches(body.transactionId, 'confirmed');
      overtakenBy.push((await sentBy('crowd', `calm-${n}`)) - before);
    }
    // A permit of its own is kept for who sends little. What it meets are the calls of the time that accepting takes.
    expect(Math.max(...overtakenBy)).toBeLessThan(25);
    expect(await sentBy('crowd')).toBeLessThan(count);
  });

  it('gets everything that another leaves', async () => {
    await queue('credit', as(LOUD));
    const from = Date.now();
    const before = await sentBy('crowd');
    await waitFor('thirty more calls have left', async () => (await sentBy('crowd')) >= before + 30);
    // Half the rate, if the other's part lay idle.
    expect(30 / ((Date.now() - from) / 1000)).toBeGreaterThan(RATE_PER_SECOND * 0.6);
  });

  it('shares with another that sends as much: each gets half', async () => {
    await queue('credit', as(LOUD));
    await Promise.all(Array.from({ length: 40 }, (_, n) => hub.credit({ playerId: `calm-${n}` })));
    await waitFor('the other is served', async () => (await sentBy('calm')) >= 30);
    const calls = (await hub.operatorCalls()).map(({ playerId }) => playerId.startsWith('calm'));
    const [first, last] = [calls.indexOf(true), calls.lastIndexOf(true)];
    const share = calls.slice(first, last + 1).filter(Boolean).length / (last + 1 - first);
    expect(share).toBeGreaterThan(0.35);
    expect(share).toBeLessThan(0.65);
  });

  it("cannot spend in repeats and late calls what is kept for another, nor leave the operator's rate in debt", async () => {
    await queue('credit', as(LOUD));
    await hub.reaches((await hub.debit({ playerId: 'calm-before' })).body.transactionId, 'confirmed');
    await hub.clear();
    const operator = await partnerId(hub, 'operator');
    const kept = Math.floor(bucketCapacity(RATE_PER_SECOND) / 2);
    // Both were silent for long: what is kept is whole, and the bucket is full.
    await hub.database.query(
      `update outbox_destination set tokens = burst, tokens_at = clock_timestamp(), sharers_at = clock_timestamp() - interval '1 minute' where id = $1`,
      [operator],
    );
    // In one statement, so that the bucket gets next to nothing meanwhile.
    const reserve = async (waitMsMax: number): Promise<number> => {
      const rows = await hub.database.query<{ ms: number | null }>(
        'select outbox_reserve_permit($1, $2) as ms from generate_series(1, 40)',
        [operator, waitMsMax],
      );
      return rows.filter(({ ms }) => ms !== null).length;
    };
    const permits = async () =>
      (
        await hub.database.query<{ tokens: number }>('select tokens from outbox_destination where id = $1', [operator])
      )[0]?.tokens;
    await reserve(0);
    expect(await permits()).toBeGreaterThanOrEqual(kept);
    await reserve(10_000);
    expect(await permits()).toBeGreaterThan(0);
  });

  it('leaves half of its own part to bets when wins wait, and to wins when bets wait', async () => {
    await queue('credit');
    const { body: bet } = await hub.debit({ playerId: 'calm-bet' });
    await hub.reaches(bet.transactionId, 'confirmed');
    expect(await sentBy('crowd')).toBeLessThan(QUEUED);
    await hub.clear();
    await queue('debit');
    const { body: win } = await hub.credit({ playerId: 'calm-win' });
    await hub.reaches(win.transactionId, 'confirmed');
    expect(await sentBy('crowd', 'calm-win')).toBeLessThan(QUEUED / 2);
  });
});
