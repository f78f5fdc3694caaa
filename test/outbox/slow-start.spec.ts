import type { LeasedMessage } from '../../src/outbox/outbox-message';
import { OutboxLanes, newMessage } from '../support/hub/outbox-lanes';

const LEASE_MS = 60_000;

describe('slow start of a destination whose breaker has just closed', () => {
  let outbox: OutboxLanes;
  let destination: number;

  beforeAll(async () => {
    outbox = await OutboxLanes.open(4);
  });
  afterAll(() => outbox.close());
  beforeEach(async () => {
    destination = await outbox.newDestination();
    await outbox.transaction((tx) =>
      outbox.store.enqueue(
        tx,
        Array.from({ length: 200 }, () => newMessage(destination, null)),
      ),
    );
  });

  const claim = (want: number): ReturnType<OutboxLanes['store']['claim']> =>
    outbox.store.claim(destination, want, LEASE_MS, LEASE_MS, 'test', new Date(0));
  const closedSince = (seconds: number): Promise<unknown> =>
    outbox.query(
      "update outbox_destination set closed_at = clock_timestamp() - $2::float8 * interval '1 second' where id = $1",
      [destination, seconds],
    );

  it('lets five calls be on their way at once for all replicas together, and one more for each that ended', async () => {
    await closedSince(0);
    const first = await claim(100);
    expect(first.messages).toHaveLength(5);
    expect(first.slowed).toBe(true);
    const second = await claim(100);
    expect(second).toMatchObject({ messages: [], slowed: true, waitMs: 50 });

    await outbox.settle(first.messages.slice(0, 2), 'sent');
    expect((await claim(100)).messages).toHaveLength(2);
    expect((await claim(100)).messages).toHaveLength(0);
  });

  it('doubles the number every five seconds, and after forty there is none', async () => {
    const leased: LeasedMessage[] = [];
    for (const [seconds, calls] of [
      [0.1, 5],
      [5.1, 10],
      [10.1, 20],
      [15.1, 40],
      [20.1, 80],
    ] as const) {
      await closedSince(seconds);
      leased.push(...(await claim(500)).messages);
      expect({ seconds, calls: leased.length }).toEqual({ seconds, calls });
    }
    await closedSince(41);
    const rest = await claim(500);
    expect(rest).toMatchObject({ slowed: false });
    expect(rest.messages).toHaveLength(120);
  });

  it('does not count leases that ran out, nor messages that wait or are blocked', async () => {
    await closedSince(0);
    const { messages } = await claim(5);
    await outbox.settle(messages.slice(0, 1), 'blocked');
    await outbox.settle(messages.slice(1, 2), 'retry', 3_600_000);
    await outbox.query(
      `update outbox_head set visible_at = clock_timestamp() - interval '1 second' where message_id = any ($1)`,
      [messages.slice(2).map(({ id }) => id)],
    );
    expect((await claim(100)).messages).toHaveLength(5);
  });

  it('says when asked for less than it would give that nothing holds it back', async () => {
    await closedSince(0);
    expect(await claim(3)).toMatchObject({ slowed: false, waitMs: null });
  });

  it('begins when a probe closes the breaker, and not for a destination that never was in trouble', async () => {
    expect((await claim(100)).messages).toHaveLength(100);
    await outbox.store.report(destination, 0, 10, null);
    await outbox.query('update outbox_destination set open_until = clock_timestamp() where id = $1', [destination]);
    const [probe] = (await claim(100)).messages;
    expect(probe?.probe).toBe(true);
    expect(await outbox.store.report(destination, 1, 0, null)).toMatchObject({ was: 'half_open', now: 'closed' });
    // A hundred leases of before are still out: more than five, so nothing goes until they end.
    expect((await claim(100)).messages).toHaveLength(0);
    await outbox.query(`update outbox_head set leased = false where destination_id = $1`, [destination]);
    expect((await claim(100)).messages).toHaveLength(5);
  });
});
