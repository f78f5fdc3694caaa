import type { Side } from '../sources/source';
import { SourceReader, type SourceWindow } from '../sources/source';
import { type HeldRun, RunFailure } from './run';
import { CELLS_MAX, SOURCE, StageLines } from './stage-lines';
import type { Progress, StageStore } from './stage.store';

const NOTHING: Omit<Progress, 'totals'> = { cursor: null, pages: 0, seen: 0, staged: 0, rejected: 0, implied: 0, done: false };

/** Reads one partner's list from where it stood to its end. Each page is committed with its place, so a crash repeats no row and loses none. */
export async function ingest(store: StageStore, reader: SourceReader, run: HeldRun, side: Side, before: Progress | undefined, gone: AbortSignal): Promise<Progress> {
  if (before?.done === true) return before;
  let progress: Progress = before ?? { ...NOTHING, totals: new Map() };
  for await (const page of reader.pages(side, paddedWindow(run), progress.cursor, gone)) {
    const lines = new StageLines(side, progress.totals);
    for (const row of page.rows) lines.add(row);
    if (progress.totals.size > CELLS_MAX) throw new RunFailure('too_many_currencies', side, `the list of the ${side === 'rgs' ? 'RGS' : 'operator'} has more than ${CELLS_MAX} kinds of currency, direction and status`);
    progress = {
      cursor: page.cursor,
      pages: progress.pages + 1,
      seen: progress.seen + page.seen,
      staged: progress.staged + page.rows.length,
      rejected: progress.rejected + page.rejected.length,
      implied: progress.implied + lines.implied,
      totals: progress.totals,
      done: page.cursor === null,
    };
    await store.page(run, { source: SOURCE[side], lines: lines.take(), rejected: page.rejected, highWater: page.highWater, progress });
    gone.throwIfAborted();
  }
  if (!progress.done) throw new RunFailure('incomplete', side, `the list of the ${side === 'rgs' ? 'RGS' : 'operator'} ended before its last page`);
  return progress;
}

function paddedWindow({ window, padSeconds }: HeldRun): SourceWindow | null {
  if (window === null) return null;
  return { from: new Date(window.from.getTime() - padSeconds * 1000), to: new Date(window.to.getTime() + padSeconds * 1000), neededTo: window.to };
}
