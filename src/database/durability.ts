import { Injectable } from '@nestjs/common';
import { Batcher } from './batcher';
import { HotDatabase, type Sql } from './database';

/**
 * Within a transaction that tells of what others wrote and may write nothing itself: its commit then waits as theirs
 * did.
 */
export async function ensureDurable(tx: Sql): Promise<void> {
  await tx.rows('select ensure_durable()');
}

/** For answers that were read outside of any transaction. Answers of the same moment share one commit. */
@Injectable()
export class Durability {
  private readonly waiting: Batcher<null, null> = new Batcher({
    run: async (answers) => {
      await this.hot.prepared('ensure_durable', 'select ensure_durable()', []);
      return answers;
    },
    batchMax: 1_000,
    flightsMax: 2,
    queueMax: 10_000,
  });

  constructor(private readonly hot: HotDatabase) {}

  /** Resolves when everything that this process has read by now is as durable as a commit of its own. */
  async ensure(): Promise<void> {
    await this.waiting.add(null);
  }
}
