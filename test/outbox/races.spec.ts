import { setImmediate as nextTurn } from 'node:timers/promises';
import { NO_FAULTS, OutboxLanes, newMessage } from '../support/hub/outbox-lanes';
import { waitFor } from '../support/wait-for';

/** Longer runs: OUTBOX_RACE_SECONDS=30 npm test -- outbox-races. */
const RACE_MS = Number(process.env.OUTBOX_RACE_SECONDS ?? '2') * 1000;
const ENQUEUERS = 6;
const WORKERS = 4;

describe('settling a lane while it is being filled', () => {
  let lanes: OutboxLanes;
  beforeAll(async () => {
    lanes = await OutboxLanes.open(ENQUEUERS + WORKERS + 2);
  });
  afterAll(() => lanes.close());

  // Few lanes: the more often a lane runs empty in the very moment in which somebody fills it, the better.
  it.each([20, 60])(
    'loses nothing, keeps the order and leaves no lane without a head (%i lanes)',
    async (laneCount) => {
      const destination = await lanes.newDestination();
      const delivered = new Map<string, string[]>();
      let enqueued = 0;
      let busy = 0;
      const ends = performance.now() + RACE_MS;
      // For as long as a busy machine needs to fill the lanes.
      const isFilling = (): boolean =>
        performance.now() < ends || (enqueued <= laneCount * 10 && performance.now() < ends + 20_000);

      const fill = async (): Promise<void> => {
        while (isFilling()) {
          const count = 1 + Math.floor(Math.random() * 3);
          const messages = Array.from({ length: count }, () =>
            newMessage(destination, `player-${Math.floor(Math.random() * laneCount)}`),
          );
          await lanes.transaction((tx) => lanes.store.enqueue(tx, messages));
          enqueued += count;
        }
      };
      const empty = async (filling: Promise<unknown>): Promise<void> => {
        let isFilled = false;
        void filling.finally(() => (isFilled = true));
        for (;;) {
          // Read before the claim: an empty answer counts only when nothing could have been added after the look.
          const wasFilled = isFilled;
          const leases = await lanes.claim(destination, 10);
          if (leases.length === 0 && wasFilled && (await openHeads(lanes, destination)) === 0) return;
          if (leases.length === 0) await nextTurn();
          for (const { laneKey, id } of leases)
            delivered.set(laneKey ?? '', [...(delivered.get(laneKey ?? '') ?? []), id]);
          let left = leases;
          while (left.length > 0) {
            const verdicts = await lanes.settle(left, 'sent');
            expect([...verdicts.values()]).not.toContain('stale');
            left = left.filter(({ id }) => verdicts.get(id) === 'busy');
            busy += left.length;
          }
        }
      };

      const filling = Promise.all(Array.from({ length: ENQUEUERS }, fill));
      await Promise.all([filling, ...Array.from({ length: WORKERS }, () => empty(filling))]);

      expect(await lanes.faults(destination)).toEqual(NO_FAULTS);
      const stored = await lanes.database.query<{ lane_key: string; ids: string[] }>(
        'select lane_key, array_agg(id::text order by lane_seq) as ids from outbox_message where destination_id = $1 group by lane_key',
        [destination],
      );
      expect(stored.reduce((sum, { ids }) => sum + ids.length, 0)).toBe(enqueued);
      for (const { lane_key, ids } of stored)
        expect({ lane_key, delivered: delivered.get(lane_key) }).toEqual({ lane_key, delivered: ids });
      // The race that this test is about did happen.
      expect(enqueued).toBeGreaterThan(laneCount * 10);
      expect(busy).toBeGreaterThan(0);
    },
    RACE_MS + 30_000,
  );

  it('gives a number only to what is committed, so an abandoned transaction leaves no gap', async () => {
    const destination = await lanes.newDestination();
    await lanes.transaction((tx) => lanes.store.enqueue(tx, [newMessage(destination, 'player-1')]));
    const abandoned = lanes.transaction(async (tx) => {
      await lanes.store.enqueue(tx, [newMessage(destination, 'player-1'), newMessage(destination, 'player-2')]);
      throw new Error('the business says no');
    });
    await expect(abandoned).rejects.toThrow('the business says no');
    await lanes.transaction((tx) => lanes.store.enqueue(tx, [newMessage(destination, 'player-1')]));

    expect(await lanes.faults(destination)).toEqual(NO_FAULTS);
    expect(
      await lanes.database.query('select lane_key, last_seq, head_seq from outbox_lane where destination_id = $1', [
        destination,
      ]),
    ).toEqual([{ lane_key: 'player-1', last_seq: '2', head_seq: '1' }]);
    expect(
      await lanes.database.query('select lane_key from outbox_head where destination_id = $1', [destination]),
    ).toEqual([{ lane_key: 'player-1' }]);
  });

  it('does not wait for a business transaction that holds one of the lanes', async () => {
    const destination = await lanes.newDestination();
    await lanes.transaction((tx) =>
      lanes.store.enqueue(tx, [newMessage(destination, 'held'), newMessage(destination, 'free')]),
    );
    const leases = await lanes.claim(destination, 2);
    await lanes.transaction(async (tx) => {
      await lanes.store.enqueue(tx, [newMessage(destination, 'held')]);
      const verdicts = await lanes.settle(leases, 'sent');
      expect(new Map(leases.map(({ laneKey, id }) => [laneKey, verdicts.get(id)]))).toEqual(
        new Map([
          ['held', 'busy'],
          ['free', 'ok'],
        ]),
      );
    });
    // What was enqueued meanwhile becomes the head, although it did not exist when the lane was first tried.
    expect(
      await lanes.settle(
        leases.filter(({ laneKey }) => laneKey === 'held'),
        'sent',
      ),
    ).toEqual(new Map([[expect.any(String), 'ok']]));
    expect(await lanes.faults(destination)).toEqual(NO_FAULTS);
    expect((await lanes.claim(destination, 9)).map(({ laneKey }) => laneKey)).toEqual(['held']);
  });

  it('judges a lease that was lost apart from the present one of the same message, also in one batch', async () => {
    const destination = await lanes.newDestination();
    await lanes.transaction((tx) =>
      lanes.store.enqueue(tx, [newMessage(destination, 'player'), newMessage(destination, null)]),
    );
    const lost = await lanes.claim(destination, 2, 'worker', 1);
    const present = await waitFor('both are claimed again', async () => {
      const again = await lanes.claim(destination, 2);
      return again.length === 2 && again;
    });
    for (const leases of [
      [...lost, ...present],
      [...present, ...lost],
    ]) {
      const verdicts = await lanes.transaction((tx) => lanes.store.lock(tx, leases));
      expect(verdicts).toEqual(leases.map((lease) => (present.includes(lease) ? 'ok' : 'stale')));
    }
    expect([lost.length, present.length]).toEqual([2, 2]);
  });

  it('leases one head to one worker only, however many ask at once', async () => {
    const destination = await lanes.newDestination();
    const players = Array.from({ length: 50 }, (_, index) => `player-${index}`);
    await lanes.transaction((tx) =>
      lanes.store.enqueue(
        tx,
        players.flatMap((player) => [newMessage(destination, player), newMessage(destination, player)]),
      ),
    );
    const leased: (string | null)[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async (_, worker) => {
        // A worker that meets another one at the door comes back, as the delivery loop does.
        while (leased.length < players.length)
          for (const { laneKey } of await lanes.claim(destination, 3, `worker-${worker}`)) leased.push(laneKey);
      }),
    );
    expect([...leased].sort()).toEqual([...players].sort());
    expect(await lanes.claim(destination, 100)).toEqual([]);
  });
});

async function openHeads(lanes: OutboxLanes, destination: number): Promise<number> {
  const [row] = await lanes.database.query<{ open: number }>(
    'select count(*)::integer as open from outbox_head where destination_id = $1',
    [destination],
  );
  return row?.open ?? NaN;
}
