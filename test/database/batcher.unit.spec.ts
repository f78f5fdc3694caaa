import { setImmediate as turn } from 'node:timers/promises';
import { Batcher, QueueFullError } from '../../src/database/batcher';

/** A store whose commits happen when the test says so. */
class Store {
  readonly batches: number[][] = [];
  private readonly commits: ((error?: Error) => void)[] = [];
  flights = 0;
  flightsSeen = 0;

  readonly run = async (items: number[]): Promise<string[]> => {
    this.batches.push(items);
    this.flights += 1;
    this.flightsSeen = Math.max(this.flightsSeen, this.flights);
    await new Promise<void>((resolve, reject) =>
      this.commits.push((error) => (error === undefined ? resolve() : reject(error))),
    );
    this.flights -= 1;
    return items.map((item) => `stored ${item}`);
  };

  commit(error?: Error): void {
    this.commits.shift()?.(error);
  }
}

function pgError(code: string): Error {
  return Object.assign(new Error(`SQLSTATE ${code}`), { code });
}

const numbers = (count: number, from = 0): number[] => Array.from({ length: count }, (_, index) => from + index);

describe('Batcher', () => {
  let store: Store;
  let batcher: Batcher<number, string>;
  beforeEach(() => {
    store = new Store();
    batcher = new Batcher({ run: store.run, batchMax: 10, flightsMax: 2, queueMax: 25 });
  });

  it('lets an idle caller wait for the end of the present turn only', async () => {
    const answer = batcher.add(1);
    await turn();
    expect(store.batches).toEqual([[1]]);
    store.commit();
    await expect(answer).resolves.toBe('stored 1');
  });

  it('writes what comes in one turn in one batch, and answers each its own after the commit and not before', async () => {
    const settled: number[] = [];
    const answers = numbers(5).map((n) => batcher.add(n).then((text) => (settled.push(n), text)));
    await turn();
    await turn();
    expect(store.batches).toEqual([numbers(5)]);
    expect(settled).toEqual([]);
    store.commit();
    expect(await Promise.all(answers)).toEqual(numbers(5).map((n) => `stored ${n}`));
  });

  it('keeps batches, flights and the queue bounded, and refuses at once beyond them', async () => {
    const accepted = numbers(20).map((n) => batcher.add(n));
    await turn();
    // Two batches are on their way, and 25 more may wait.
    expect(store.batches.map(({ length }) => length)).toEqual([10, 10]);
    const waiting = numbers(25, 20).map((n) => batcher.add(n));
    await expect(batcher.add(99)).rejects.toBeInstanceOf(QueueFullError);
    for (let commits = 0; commits < 6; commits += 1) {
      store.commit();
      await turn();
      await turn();
    }
    expect(await Promise.all([...accepted, ...waiting])).toEqual(numbers(45).map((n) => `stored ${n}`));
    expect(store.flightsSeen).toBe(2);
    expect(Math.max(...store.batches.map(({ length }) => length))).toBe(10);
    const again = batcher.add(100);
    await turn();
    store.commit();
    await expect(again).resolves.toBe('stored 100');
  });

  it.each(['22P05', '23514'])(
    'runs a batch that the data of one item failed (%s) item by item, so that only that one fails',
    async (code) => {
      const bad = new Batcher<number, string>({
        run: (items) =>
          items.includes(3) ? Promise.reject(pgError(code)) : Promise.resolve(items.map((item) => `stored ${item}`)),
        batchMax: 10,
        flightsMax: 2,
        queueMax: 25,
      });
      const results = await Promise.allSettled(numbers(6).map((n) => bad.add(n)));
      expect(results.map(({ status }) => status)).toEqual([
        'fulfilled',
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
        'fulfilled',
      ]);
    },
  );

  it.each(['40P01', '40001'])(
    'tries a batch that was rolled back by no fault of its own (%s) again, and not for ever',
    async (code) => {
      const once = batcher.add(1);
      await turn();
      store.commit(pgError(code));
      await turn();
      store.commit();
      await expect(once).resolves.toBe('stored 1');

      const never = batcher.add(2).catch((error: unknown) => error);
      for (let tries = 0; tries < 3; tries += 1) {
        await turn();
        store.commit(pgError(code));
      }
      expect(await never).toMatchObject({ code });
      expect(store.batches).toEqual([[1], [1], [2], [2], [2]]);
    },
  );

  it('fails all of a batch when the connection broke: whether it was committed is not known', async () => {
    const answers = Promise.allSettled(numbers(3).map((n) => batcher.add(n)));
    await turn();
    store.commit(new Error('Connection terminated unexpectedly'));
    expect((await answers).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(store.batches).toHaveLength(1);
  });

  it('takes a batch whose answers do not match its items for failed', async () => {
    const short = new Batcher<number, string>({
      run: () => Promise.resolve(['one']),
      batchMax: 10,
      flightsMax: 2,
      queueMax: 25,
    });
    const results = await Promise.allSettled([short.add(1), short.add(2)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });

  describe('with several sources', () => {
    const loud = (n: number) => `loud ${n}`;
    const texts = (prefix: string, from: number, to: number) => numbers(to - from, from).map((n) => `${prefix} ${n}`);
    let batches: string[][];
    let commits: (() => void)[];
    let shared: Batcher<string, string>;
    beforeEach(() => {
      batches = [];
      commits = [];
      shared = new Batcher<string, string>({
        run: async (items) => {
          batches.push(items);
          await new Promise<void>((resolve) => commits.push(resolve));
          return items;
        },
        batchMax: 4,
        flightsMax: 2,
        queueMax: 10,
        sourceOf: (item) => item.split(' ')[0],
      });
    });
    const commit = async (): Promise<void> => {
      commits.shift()?.();
      await turn();
      await turn();
    };

    it('one whose queue is long makes another wait for no commit: that one gets a batch of its own', async () => {
      const first = numbers(8).map((n) => shared.add(loud(n)));
      await turn();
      const ofLoud = [...first, ...numbers(6, 8).map((n) => shared.add(loud(n)))];
      expect(batches).toEqual([texts('loud', 0, 4), texts('loud', 4, 8)]);
      const ofQuiet = shared.add('quiet 0');
      await turn();
      expect(batches.at(-1)).toEqual(['quiet 0']);
      // One more, and no more than that: with three on their way everybody waits.
      const later = [shared.add('quiet 1'), shared.add('third 0')];
      await turn();
      expect(batches).toHaveLength(3);
      while (commits.length > 0) await commit();
      expect(await Promise.all([...ofLoud, ofQuiet, ...later])).toEqual([
        ...texts('loud', 0, 14),
        'quiet 0',
        'quiet 1',
        'third 0',
      ]);
    });

    it('they take turns in a batch, each in its own order', async () => {
      const answers = [...texts('loud', 0, 8), ...texts('quiet', 0, 2), ...texts('third', 0, 3)].map((text) =>
        shared.add(text),
      );
      await turn();
      while (commits.length > 0) await commit();
      expect(batches).toEqual([
        ['loud 0', 'quiet 0', 'third 0', 'loud 1'],
        ['loud 2', 'quiet 1', 'third 1', 'loud 3'],
        ['loud 4', 'third 2', 'loud 5', 'loud 6'],
        ['loud 7'],
      ]);
      await Promise.all(answers);
    });

    it('a full queue of one refuses that one alone', async () => {
      const ofLoud = numbers(8).map((n) => shared.add(loud(n)));
      await turn();
      const waiting = numbers(10, 8).map((n) => shared.add(loud(n)));
      await expect(shared.add('loud 99')).rejects.toBeInstanceOf(QueueFullError);
      const ofQuiet = shared.add('quiet 0');
      await turn();
      while (commits.length > 0) await commit();
      expect(await ofQuiet).toBe('quiet 0');
      expect(await Promise.all([...ofLoud, ...waiting])).toHaveLength(18);
    });

    it('many with a little each share batches as one source does', async () => {
      const answers = numbers(8).map((n) => shared.add(`source-${n} 0`));
      await turn();
      expect(batches.map(({ length }) => length)).toEqual([4, 4]);
      while (commits.length > 0) await commit();
      await Promise.all(answers);
    });
  });
});
