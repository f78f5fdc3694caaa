import type {
  RowSink,
  Side,
  SourcePage,
  SourceReader,
  SourceWindow,
  StagedRow,
} from '../../../src/reconciliation/sources/source';

/** A page with its rows in hand. */
export interface RowPage extends SourcePage {
  readonly rows: readonly StagedRow[];
}

/** Pages of a reader, each with the rows that were added for it. */
export async function* rowPages(
  reader: SourceReader,
  side: Side,
  window: SourceWindow | null,
  cursor: string | null,
  gone: AbortSignal,
): AsyncGenerator<RowPage, void, void> {
  let rows: StagedRow[] = [];
  const sink: RowSink = { restart: () => void (rows = []), add: (row) => void rows.push(row) };
  for await (const page of reader.pages(side, window, cursor, gone, sink)) {
    const taken = rows;
    rows = [];
    yield { ...page, rows: taken };
  }
}
