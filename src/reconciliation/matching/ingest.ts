import { type Side, SourceReader, type SourceWindow } from '../sources/source';
import { SOURCE } from '../run/codes';
import { type HeldRun, RunFailure } from '../run/run';
import { CELLS_MAX, StageLines, totalsSum } from './stage-lines';
import type { Progress, StageStore, StagedPage } from './stage.store';

const NOTHING: Omit<Progress, 'totals'> = {
  cursor: null,
  pages: 0,
  seen: 0,
  staged: 0,
  rejected: 0,
  implied: 0,
  done: false,
};

/** A list, or a part of it that is read for itself. */
export interface ListPart {
  readonly shard: number;
  /** Null: all that there is. */
  readonly window: SourceWindow | null;
}

/**
 * Reads one partner's list, or one part of it, from where it stood to its end. Each page is committed with its place, so a crash repeats no row and loses none.
 * One page is stored while the next is fetched; it waits as bytes, into which its rows were written as they came.
 */
export async function ingest(
  store: StageStore,
  reader: SourceReader,
  run: HeldRun,
  side: Side,
  { shard, window }: ListPart,
  before: Progress | undefined,
  gone: AbortSignal,
): Promise<void> {
  if (before?.done === true) return;
  let progress: Progress = before ?? { ...NOTHING, totals: new Map() };
  const sink = new StageLines(side);
  let storing: Promise<void> = Promise.resolve();
  try {
    for await (const page of reader.pages(side, window, progress.cursor, gone, sink)) {
      const { lines, rows, implied, totals } = sink.take();
      progress = {
        cursor: page.cursor,
        pages: progress.pages + 1,
        seen: progress.seen + page.seen,
        staged: progress.staged + rows,
        rejected: progress.rejected + page.rejected.length,
        implied: progress.implied + implied,
        totals: totalsSum(progress.totals, totals),
        done: page.cursor === null,
      };
      if (progress.totals.size > CELLS_MAX)
        throw new RunFailure(
          'too_many_currencies',
          side,
          `the list of the ${side === 'rgs' ? 'RGS' : 'operator'} has more than ${CELLS_MAX} kinds of currency, direction and status`,
        );
      const staged: StagedPage = {
        source: SOURCE[side],
        shard,
        lines,
        rejected: page.rejected,
        highWater: page.highWater,
        progress,
      };
      await storing;
      storing = store.page(run, staged);
      // Met when it is awaited; until then it has no handler and must not end the process.
      storing.catch(() => undefined);
      gone.throwIfAborted();
    }
    await storing;
  } catch (error) {
    // What failed to be stored explains more than the reader that was stopped for it. Nothing may run on behind the caller's back.
    await storing;
    throw error;
  }
  if (!progress.done)
    throw new RunFailure(
      'incomplete',
      side,
      `the list of the ${side === 'rgs' ? 'RGS' : 'operator'} ended before its last page`,
    );
}

/**
 * The parts in which a run reads each list: equal spans of its window and the padding around it, without gap or overlap. Cut from what the
 * run says and nothing else, so that a process that resumes it cuts it in the same way.
 */
export function listParts({
  window,
  padSeconds,
  listShards,
}: Pick<HeldRun, 'window' | 'padSeconds' | 'listShards'>): ListPart[] {
  if (window === null) return [{ shard: 0, window: null }];
  const from = window.from.getTime() - padSeconds * 1000;
  const span = window.to.getTime() + padSeconds * 1000 - from;
  const edge = (shard: number): Date => new Date(from + Math.floor((span * shard) / listShards));
  return Array.from({ length: listShards }, (_, shard) => {
    const to = edge(shard + 1);
    return {
      shard,
      window: { from: edge(shard), to, neededTo: to < window.to ? to : window.to, isPart: listShards > 1 },
    };
  });
}
