import { isDataError, isStoreSilent, isTransient } from './pg-errors';

const TRANSIENT_TRIES_MAX = 3;

interface BatcherOptions<Item, Result> {
  /** Writes all items in one commit and answers in the same order. */
  readonly run: (items: Item[]) => Promise<Result[]>;
  readonly batchMax: number;
  /** Batches in flight. Two keep the database busy while the next one gathers; more only make smaller batches. */
  readonly flightsMax: number;
  /**
   * Items of one source that may wait; beyond it `add` refuses at once, since a longer queue only makes every answer
   * late.
   */
  readonly queueMax: number;
  /**
   * Whose item it is. Sources take turns, and one more batch may start for those that have nothing in flight. Without
   * it all are of one source.
   */
  readonly sourceOf?: (item: Item) => unknown;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

export class QueueFullError extends Error {
  constructor() {
    super('too many items are waiting for the database');
    this.name = 'QueueFullError';
  }
}

/**
 * Turns concurrent single writes into one statement per flush. An idle caller waits only for the end of the present
 * event-loop turn, and one source never waits for what another has queued. Every promise settles after the commit of
 * its own batch. When the data of one item fails a batch, the items are run one by one, so that a bad item never fails
 * its neighbours.
 */
export class Batcher<Item, Result> {
  /** What waits, by source. */
  private readonly lines = new Map<unknown, Waiting<Item, Result>[]>();
  /** Batches in flight with items of a source. */
  private readonly flying = new Map<unknown, number>();
  private flights = 0;
  private scheduled = false;

  constructor(private readonly options: BatcherOptions<Item, Result>) {}

  add(item: Item): Promise<Result> {
    const source = this.options.sourceOf?.(item);
    const line = this.lines.get(source) ?? [];
    if (line.length >= this.options.queueMax) return Promise.reject(new QueueFullError());
    return new Promise((resolve, reject) => {
      line.push({ item, resolve, reject });
      this.lines.set(source, line);
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.scheduled || this.mayFly().length === 0) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      for (let sources = this.mayFly(); sources.length > 0; sources = this.mayFly()) this.fly(sources);
    });
  }

  /** Sources whose items may go now: all while there is room, then for one batch those that have nothing in flight. */
  private mayFly(): unknown[] {
    const { flights, options } = this;
    if (this.lines.size === 0 || flights > options.flightsMax) return [];
    const sources = [...this.lines.keys()];
    return flights < options.flightsMax ? sources : sources.filter((source) => !this.flying.has(source));
  }

  private fly(sources: readonly unknown[]): void {
    const { batch, taken } = this.take(sources);
    this.flights += 1;
    for (const source of taken) this.flying.set(source, (this.flying.get(source) ?? 0) + 1);
    void this.flush(batch).finally(() => {
      this.flights -= 1;
      for (const source of taken) {
        const left = (this.flying.get(source) ?? 1) - 1;
        if (left > 0) this.flying.set(source, left);
        else this.flying.delete(source);
      }
      this.schedule();
    });
  }

  /** Up to a batch, one of each source in turn. Who was served comes behind the others. */
  private take(sources: readonly unknown[]): { batch: Waiting<Item, Result>[]; taken: readonly unknown[] } {
    const { batchMax } = this.options;
    const batch: Waiting<Item, Result>[] = [];
    const taken = new Map<unknown, number>();
    for (let place = 0, found = true; found && batch.length < batchMax; place += 1) {
      found = false;
      for (const source of sources) {
        const waiting = this.lines.get(source)?.[place];
        if (waiting === undefined || batch.length >= batchMax) continue;
        found = true;
        batch.push(waiting);
        taken.set(source, place + 1);
      }
    }
    for (const [source, count] of taken) {
      const line = this.lines.get(source) ?? [];
      line.splice(0, count);
      this.lines.delete(source);
      if (line.length > 0) this.lines.set(source, line);
    }
    return { batch, taken: [...taken.keys()] };
  }

  private takeAll(): Waiting<Item, Result>[] {
    const all = [...this.lines.values()].flat();
    this.lines.clear();
    return all;
  }

  private async flush(batch: Waiting<Item, Result>[], tries = 1): Promise<void> {
    try {
      const results = await this.options.run(batch.map(({ item }) => item));
      if (results.length !== batch.length)
        throw new Error(`a batch of ${batch.length} items gave ${results.length} results`);
      batch.forEach(({ resolve }, index) => resolve(results[index] as Result));
    } catch (error) {
      if (isTransient(error) && tries < TRANSIENT_TRIES_MAX) {
        await this.flush(batch, tries + 1);
      } else if (batch.length > 1 && isDataError(error)) {
        for (const waiting of batch) await this.flush([waiting]);
      } else {
        // Behind a store that does not answer each would wait for its own time-out, after that of the batch before.
        const behind = isStoreSilent(error) ? this.takeAll() : [];
        for (const { reject } of [...batch, ...behind]) reject(error);
      }
    }
  }
}
