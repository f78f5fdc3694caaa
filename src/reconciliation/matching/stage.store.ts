import { Injectable } from '@nestjs/common';
import { BulkDatabase, type BulkOptions, type BulkTx } from '../../database/bulk-database';
import type { Sql } from '../../database/database';
import type { RejectedRow } from '../sources/source';
import { SOURCE, type SideCode, packCurrency } from '../run/codes';
import type { HeldRun } from '../run/run';
import { RunStore } from '../run/run.store';
import { STAGE_COLUMNS, type Totals, totalsFromJson, totalsSum, totalsToJson } from './stage-lines';
import { statement } from './statements';

/** Rows that could not be matched are kept up to so many per list and part: enough to see what is wrong with a list. */
export const REJECTS_KEPT_MAX = 10_000;

export const NOT_DURABLE: BulkOptions = { durable: false };
/** Of a slot's tables, dead rows included: a scan of them takes some ten milliseconds. */
const DELETED_BYTES_MAX = 16 * 1024 * 1024;

/** Of a list, or of one part of it. */
export interface Progress {
  readonly cursor: string | null;
  readonly pages: number;
  readonly seen: number;
  readonly staged: number;
  readonly rejected: number;
  readonly implied: number;
  readonly totals: Totals;
  readonly done: boolean;
}

/** Of all lists, by source and part. */
export type ShardProgress = ReadonlyMap<SideCode, ReadonlyMap<number, Progress>>;

/** A page in flight into the staging table. */
export interface StagedPage {
  readonly source: SideCode;
  /** Part of the list, from 0. */
  readonly shard: number;
  readonly lines: Buffer;
  readonly rejected: readonly RejectedRow[];
  readonly highWater: Date | null;
  /** Of this part of the list up to and with this page. */
  readonly progress: Progress;
}

/** SQL of the staging tables: filling and emptying them, and whether they still hold what was put into them. */
@Injectable()
export class StageStore {
  constructor(
    private readonly database: BulkDatabase,
    private readonly runs: RunStore,
  ) {}

  async progress(run: HeldRun): Promise<ShardProgress> {
    const rows = await this.database.rows<{
      source: SideCode;
      shard: number;
      cursor: string | null;
      pages: string;
      seen: string;
      staged: string;
      rejected: string;
      implied: string;
      totals: Record<string, [number, string]>;
      done: boolean;
    }>(
      'select source, shard, cursor, pages, rows_seen as seen, rows_staged as staged, rows_rejected as rejected, rows_implied as implied, totals, done from recon.source_progress where run_id = $1',
      [run.id],
    );
    const progress = new Map<SideCode, Map<number, Progress>>();
    for (const row of rows) {
      const shards = progress.get(row.source) ?? new Map<number, Progress>();
      shards.set(row.shard, {
        cursor: row.cursor,
        pages: Number(row.pages),
        seen: Number(row.seen),
        staged: Number(row.staged),
        rejected: Number(row.rejected),
        implied: Number(row.implied),
        totals: totalsFromJson(row.totals),
        done: row.done,
      });
      progress.set(row.source, shards);
    }
    return progress;
  }

  /** Forgets what was staged, for a run that begins or starts over. */
  async begin(run: HeldRun): Promise<void> {
    await this.database.bulk(async (tx) => {
      await this.runs.fence(tx, run);
      await tx.rows('delete from recon.source_progress where run_id = $1', [run.id]);
      await tx.rows('delete from recon.reject where run_id = $1', [run.id]);
      await this.runs.enter(tx, run, 'ingesting');
      await this.empty(tx, run);
    });
  }

  /**
   * Empties the slot's tables in the caller's transaction. Truncating makes 34 new files and takes as long for ten rows as for a million,
   * so small runs delete theirs, until what is left behind of them is no longer small.
   */
  async empty(tx: Sql, { slot }: Pick<HeldRun, 'slot'>): Promise<void> {
    const tables = [`recon.stage_${slot}`, `recon.broken_${slot}`, `recon.matched_${slot}`];
    const sizes = tables
      .map((table) => `(select sum(pg_relation_size(relid)) from pg_partition_tree('${table}'))`)
      .join(' + ');
    const [row] = await tx.rows<{ bytes: string; used: boolean }>(
      `select ${sizes} as bytes, ${tables.map((table) => `exists (select 1 from ${table})`).join(' or ')} as used`,
    );
    if (Number(row?.bytes ?? 0) > DELETED_BYTES_MAX) await tx.rows(`truncate ${tables.join(', ')}`);
    else if (row?.used === true) for (const table of tables) await tx.rows(`delete from ${table}`);
  }

  /** Rows and place of the list in one commit: a crash loses both or neither. Not waited for the disk: a crash of Postgres empties the table anyway. */
  async page(run: HeldRun, page: StagedPage): Promise<void> {
    const { progress } = page;
    await this.database.bulk(async (tx) => {
      await this.runs.fence(tx, run);
      if (page.lines.length > 0)
        await tx.copy(`copy recon.stage_${run.slot} (${STAGE_COLUMNS}) from stdin`, page.lines);
      await this.reject(tx, run, page);
      await this.save(tx, run, page, progress, page.highWater);
    }, NOT_DURABLE);
  }

  private async reject(tx: Sql, run: HeldRun, { source, shard, rejected, progress }: StagedPage): Promise<void> {
    const first = progress.rejected - rejected.length;
    const kept = rejected.slice(0, Math.max(0, REJECTS_KEPT_MAX - first));
    if (kept.length === 0) return;
    await tx.rows(
      `insert into recon.reject (run_id, source, n, reason, raw) select $1, $2, $3 + o, r, x from unnest($4::text[], $5::text[]) with ordinality as e (r, x, o)`,
      [run.id, source, shard * REJECTS_KEPT_MAX + first, kept.map(({ reason }) => reason), kept.map(({ raw }) => raw)],
    );
  }

  private async save(
    tx: Sql,
    run: HeldRun,
    { source, shard }: Pick<StagedPage, 'source' | 'shard'>,
    progress: Progress,
    highWater: Date | null,
  ): Promise<void> {
    await tx.rows(
      `insert into recon.source_progress (run_id, source, shard, cursor, pages, rows_seen, rows_staged, rows_rejected, rows_implied, totals, done, high_water)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
       on conflict (run_id, source, shard) do update set cursor = excluded.cursor, pages = excluded.pages, rows_seen = excluded.rows_seen, rows_staged = excluded.rows_staged,
         rows_rejected = excluded.rows_rejected, rows_implied = excluded.rows_implied, totals = excluded.totals, done = excluded.done,
         high_water = greatest(source_progress.high_water, excluded.high_water), updated_at = now()`,
      [
        run.id,
        source,
        shard,
        progress.cursor,
        progress.pages,
        progress.seen,
        progress.staged,
        progress.rejected,
        progress.implied,
        JSON.stringify(totalsToJson(progress.totals)),
        progress.done,
        highWater,
      ],
    );
  }

  /**
   * The hub's own rows, after both lists were read: whatever they hold was accepted by the hub before. One snapshot for the rows and for
   * their totals, which are counted from the wallet's table and not from the copy that they are to check.
   */
  async hub(run: HeldRun, currencies: readonly string[]): Promise<void> {
    await this.database.bulk(
      async (tx) => {
        await this.runs.fence(tx, run);
        const rows = statement('01-hub-rows', run.slot);
        const parameters = [run.operatorId, run.rgsId, currencies, currencies.map(packCurrency), ...paddedWindow(run)];
        await tx.rows(`insert into recon.stage_${run.slot} (${STAGE_COLUMNS}) ${rows}`, parameters);
        const cells = await tx.rows<{ attributes: string; n: string; sum: string }>(
          `select attrs as attributes, count(*) as n, coalesce(sum(amt), 0)::text as sum from (${rows}) hub
           where recon.has_hub(src) group by attrs`,
          parameters,
        );
        const totals: Totals = new Map(
          cells.map(({ attributes, n, sum }) => [Number(attributes), { n: Number(n), sum: BigInt(sum) }]),
        );
        const [{ own = '0', foreign = '0' } = {}] = await tx.rows<{ own: string; foreign: string }>(
          `select count(*) filter (where is_hub) as own, count(*) filter (where is_foreign) as foreign
           from recon.staged_${run.slot} where is_hub or is_foreign`,
        );
        await this.save(
          tx,
          run,
          { source: SOURCE.hub, shard: 0 },
          {
            cursor: null,
            pages: 1,
            seen: Number(own),
            staged: Number(own),
            rejected: 0,
            implied: Number(foreign),
            totals,
            done: true,
          },
          null,
        );
      },
      { snapshot: true },
    );
  }

  /** Whether the staging table holds what the progress says: a crash of Postgres empties what is unlogged, and only that. */
  async isWhole(run: HeldRun, progress: ReadonlyMap<SideCode, Progress>): Promise<boolean> {
    const rows = await this.database.rows<{ source: number; n: string }>(
      `select source, count(*) as n from recon.staged_${run.slot} where not is_looked_up group by source`,
    );
    const found = new Map(rows.map(({ source, n }) => [source, Number(n)]));
    const of = (source: SideCode) => progress.get(source) ?? { staged: 0, implied: 0 };
    return (
      found.get(SOURCE.rgs) === positive(of(SOURCE.rgs).staged) &&
      found.get(SOURCE.operator) === positive(of(SOURCE.operator).staged) &&
      found.get(SOURCE.hub) === positive(of(SOURCE.hub).staged) &&
      found.get(SOURCE.implied) === positive(of(SOURCE.rgs).implied) &&
      found.get(SOURCE.foreign) === positive(of(SOURCE.hub).implied)
    );
  }

  /** Days in UTC on which the hub's staged rows lie, as instants of their midnights. */
  async hubDays(run: HeldRun): Promise<Date[]> {
    const rows = await this.database.rows<{ day: Date }>(
      `select distinct date_trunc('day', booked_at, 'UTC') as day from recon.staged_${run.slot}
       where is_hub and booked_at is not null order by 1`,
    );
    return rows.map(({ day }) => day);
  }

  /** Opens a transaction of this run's pool, for the phases that follow. */
  bulk<T>(work: (tx: BulkTx) => Promise<T>): Promise<T> {
    return this.database.bulk(work);
  }
}

/** Rows so far outside the window are staged as counterparts of rows inside it; null: all that there is. */
function paddedWindow({ window, padSeconds }: HeldRun): [Date, Date] | [null, null] {
  if (window === null) return [null, null];
  return [new Date(window.from.getTime() - padSeconds * 1000), new Date(window.to.getTime() + padSeconds * 1000)];
}

/** A group that is not there counts nothing. */
function positive(count: number): number | undefined {
  return count === 0 ? undefined : count;
}

/** What the parts of each list come to. */
export function wholeOf(progress: ShardProgress): Map<SideCode, Progress> {
  return new Map([...progress].map(([source, shards]) => [source, [...shards.values()].reduce(sumOf)]));
}

function sumOf(a: Progress, b: Progress): Progress {
  return {
    cursor: null,
    pages: a.pages + b.pages,
    seen: a.seen + b.seen,
    staged: a.staged + b.staged,
    rejected: a.rejected + b.rejected,
    implied: a.implied + b.implied,
    totals: totalsSum(a.totals, b.totals),
    done: a.done && b.done,
  };
}
