import { isDataError, isStoreSilent, isTransient } from './pg-errors';

const TRANSIENT_TRIES_MAX = 3;

interface BatcherOptions<Item, Result> {
  /** Writes all items in one commit and answers in the same order. */
  readonly run: (items: Item[]) => Promise<Result[]>;
  readonly batchMax: number;
  /** Batches on their way at once. Two keep the database busy while the next one gathers; more only make smaller batches. */
  readonly flightsMax: number;
  /** Items that may wait; beyond it `add` refuses at once, since a longer queue only makes every answer late. */
  readonly queueMax: number;
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
 * Turns concurrent single writes into one statement per flush. An idle caller waits only for the end of the present event-loop turn.
 * Every promise settles after the commit of its own batch. When the data of one item fails a batch, the items are run one by one,
 * so that a bad item never fails its neighbours.
 */
export class Batcher<Item, Result> {
  private queue: Waiting<Item, Result>[] = [];
  private flights = 0;
  private scheduled = false;

  constructor(private readonly options: BatcherOptions<Item, Result>) {}

  add(item: Item): Promise<Result> {
    if (this.queue.length >= this.options.queueMax) return Promise.reject(new QueueFullError());
    return new Promise((resolve, reject) => {
      this.queue.push({ item, resolve, reject });
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.scheduled || this.flights >= this.options.flightsMax) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      while (this.queue.length > 0 && this.flights < this.options.flightsMax) {
        const batch = this.queue.splice(0, this.options.batchMax);
        this.flights += 1;
        void this.flush(batch).finally(() => {
          this.flights -= 1;
          if (this.queue.length > 0) this.schedule();
        });
      }
    });
  }

  private async flush(batch: Waiting<Item, Result>[], tries = 1): Promise<void> {
    try {
      const results = await this.options.run(batch.map(({ item }) => item));
      if (results.length !== batch.length) throw new Error(`a batch of ${batch.length} items gave ${results.length} results`);
      batch.forEach(({ resolve }, index) => resolve(results[index] as Result));
    } catch (error) {
      if (isTransient(error) && tries < TRANSIENT_TRIES_MAX) {
        await this.flush(batch, tries + 1);
      } else if (batch.length > 1 && isDataError(error)) {
        for (const waiting of batch) await this.flush([waiting]);
      } else {
        // Behind a store that does not answer each would wait for its own time-out, after that of the batch before.
        const behind = isStoreSilent(error) ? this.queue.splice(0) : [];
        for (const { reject } of [...batch, ...behind]) reject(error);
      }
    }
  }
}
