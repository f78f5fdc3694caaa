import { Injectable } from '@nestjs/common';
import { BulkDatabase } from '../../database/bulk-database';
import type { DayBounds } from '../calendar/day-bounds';
import { type HeldRun, PARTITIONS } from '../run/run';
import { RunStore } from '../run/run.store';
import { statement } from './statements';

/** The first pass over all rows: which keys match, and which the second pass must look at. */
@Injectable()
export class MatchStore {
  constructor(
    private readonly database: BulkDatabase,
    private readonly runs: RunStore,
  ) {}

  /** One bucket in one commit, so that a crash resumes with the next. A bucket is every `buckets`-th partition, or the whole table. */
  async bucket(run: HeldRun, bucket: number, buckets: number, days: DayBounds): Promise<void> {
    await this.database.bulk(
      async (tx) => {
        await this.runs.fence(tx, run);
        const parameters = [
          run.padSeconds,
          run.window?.from ?? null,
          run.window?.to ?? null,
          days.from.map((from) => from.toISOString()),
          days.dates,
        ];
        for (const part of partsOf(bucket, buckets)) await tx.rows(statement('02-match', run.slot, part), parameters);
        await this.runs.bucketsDone(tx, run, bucket + 1);
      },
      { durable: false },
    );
  }
}

/** Suffixes of the partitions of a bucket; the table itself when there is one bucket. */
function partsOf(bucket: number, buckets: number): string[] {
  if (buckets === 1) return [''];
  return Array.from({ length: PARTITIONS }, (_, partition) => partition)
    .filter((partition) => partition % buckets === bucket)
    .map((partition) => `_${partition}`);
}
