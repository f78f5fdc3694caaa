import { type Side, SourceReader, type SourceWindow } from '../sources/source';
import { type HeldRun, RunFailure } from './run';
import { CELLS_MAX, SOURCE, StageLines } from './stage-lines';
import type { Progress, StageStore, StagedPage } from './stage.store';

const NOTHING: Omit<Progress, 'totals'> = { cursor: null, pages: 0, seen: 0, staged: 0, rejected: 0, implied: 0, done: false };

/**
 * Reads one partner's list from where it stood to its end. Each page is committed with its place, so a crash repeats no row and loses none.
 * One page is stored while the next is fetched. It waits as bytes, written in the same turn in which its rows came: rows that lived on
 * would outlive the young generation, and a heap of garbage that nobody collects yet counts as memory all the same.
 */
export async function ingest(store: StageStore, reader: SourceReader, run: HeldRun, side: Side, before: Progress | undefined, gone: AbortSignal): Promise<Progress> {
  if (before?.done === true) return before;
  let progress: Progress = before ?? { ...NOTHING, totals: new Map() };
  // Two buffers: one is on its way to the store while the other is filled.
  const buffers = [new StageLines(side, progress.totals), new StageLines(side, progress.totals)] as const;
  let storing: Promise<void> = Promise.resolve();
  try {
    for await (const page of reader.pages(side, paddedWindow(run), progress.cursor, gone)) {
      const lines = buffers[progress.pages % 2 === 0 ? 0 : 1];
      for (const row of page.rows) lines.add(row);
      const { lines: bytes, implied } = lines.take();
      const rows = page.rows.length;
      // The reader stands still at its yield and would keep the rows for as long as they are being stored.
      page.rows.length = 0;
      if (progress.totals.size > CELLS_MAX) throw new RunFailure('too_many_currencies', side, `the list of the ${side === 'rgs' ? 'RGS' : 'operator'} has more than ${CELLS_MAX} kinds of currency, direction and status`);
      progress = {
        cursor: page.cursor,
        pages: progress.pages + 1,
        seen: progress.seen + page.seen,
        staged: progress.staged + rows,
        rejected: progress.rejected + page.rejected.length,
        implied: progress.implied + implied,
        totals: progress.totals,
        done: page.cursor === null,
      };
      // The totals are written down now: the next page goes on adding to them before this one is stored.
      const staged: StagedPage = { source: SOURCE[side], lines: bytes, rejected: page.rejected, highWater: page.highWater, progress: { ...progress, totals: copyOf(progress.totals) } };
      await storing;
      storing = store.page(run, staged);
      // Met when it is awaited; until then it is nobody's and must not end the process.
      storing.catch(() => undefined);
      gone.throwIfAborted();
    }
    await storing;
  } catch (error) {
    // What failed to be stored explains more than the reader that was stopped for it. Nothing may run on behind the caller's back.
    await storing;
    throw error;
  }
  if (!progress.done) throw new RunFailure('incomplete', side, `the list of the ${side === 'rgs' ? 'RGS' : 'operator'} ended before its last page`);
  return progress;
}

function copyOf(totals: Progress['totals']): Progress['totals'] {
  return new Map([...totals].map(([attrs, cell]) => [attrs, { ...cell }]));
}

function paddedWindow({ window, padSeconds }: HeldRun): SourceWindow | null {
  if (window === null) return null;
  return { from: new Date(window.from.getTime() - padSeconds * 1000), to: new Date(window.to.getTime() + padSeconds * 1000), neededTo: window.to };
}
