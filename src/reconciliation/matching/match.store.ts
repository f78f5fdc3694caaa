import { Injectable } from '@nestjs/common';
import { BulkDatabase } from '../../database/bulk-database';
import type { DayBounds } from '../calendar/day-bounds';
import { type HeldRun, PARTITIONS } from '../run/run';
import { RunStore } from '../run/run.store';
import { STATUS_CODE } from './stage-lines';

/**
 * Whether a key is alike on all three sides: each lists it once, with the same amount, currency, direction and status, all of them known,
 * and at times no further apart than the padding ($1 seconds), beyond which a window could not see them together.
 */
const ALIKE = `mask = 7 and n = 3 and namt = 3 and lo = hi and attrs_lo = attrs_hi and flags = 0 and coalesce(spread <= $1 * interval '1 second', true)`;

/**
 * Whether all that list a key say that it was refused, each once: no money moved, and nobody claims that it did. Where there is a window the
 * hub's time must be known, as it decides whose key this is; what the hub was not staged for is placed by the second pass.
 */
const REFUSED = `(mask & 4 <> 0 or $2::timestamptz is null) and attrs_lo = attrs_hi and attrs_lo & 3 = ${STATUS_CODE.rejected} and n = (mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1) and namt = n and lo = hi and flags = 0 and mask & 7 = mask`;

/**
 * The first pass over all rows: one hash aggregate over a 16 byte key and two numbers, which are the values themselves and no hashes of
 * them. What it cannot prove to be alike is only named here and looked at in the second pass, which can afford more.
 */
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
        const stage = `recon.stage_${run.slot}`;
        const tables =
          buckets === 1
            ? [stage]
            : Array.from({ length: PARTITIONS }, (_, partition) => `${stage}_${partition}`).filter(
                (_, partition) => partition % buckets === bucket,
              );
        for (const table of tables) await tx.rows(bucketSql(run.slot, table), parameters);
        await this.runs.bucketsDone(tx, run, bucket + 1);
      },
      { durable: false },
    );
  }
}

function bucketSql(slot: number, stage: string): string {
  return `
    with per_key as materialized (
      select k, bit_or(src) as mask, count(*) as n, count(amt) as namt, min(amt) as lo, max(amt) as hi, min(attrs) as attrs_lo, max(attrs) as attrs_hi, bit_or(flags) as flags,
        max(ts) - min(ts) as spread, max(ts) filter (where src = 4) as hub_at
      from ${stage} group by k
    ), broken as (
      insert into recon.broken_${slot} select k from per_key where not ((${ALIKE}) or (${REFUSED}))
    )
    insert into recon.matched_${slot} (owned, business_date, attrs, mask, n, sum_minor)
    select owned, case when owned then ($5::date[])[width_bucket(hub_at, $4::timestamptz[])] end, attrs_lo, mask, count(*), sum(lo)
    from per_key cross join lateral (select $2::timestamptz is null or (hub_at is not null and hub_at >= $2::timestamptz and hub_at < $3::timestamptz) as owned) o
    where (${ALIKE}) or (${REFUSED}) group by 1, 2, 3, 4`;
}
