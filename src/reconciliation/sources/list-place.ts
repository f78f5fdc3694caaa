/** Where a reading stands after a page: enough to go on in another process with every guard still in force. */
export interface ListPlace {
  readonly form: 'items' | 'link' | 'array';
  /** items: the partner's cursor. link: path and query of the next page. array: nothing, its rows are skipped by count. */
  readonly next: string;
  /** Rows read so far. */
  readonly seen: number;
  /** Latest time read so far, as ms since the epoch. */
  readonly highWaterMs: number | null;
  /** array: digest of the last row read, by which a resume knows the list again. */
  readonly lastRow: string | null;
}

export function encodePlace({ form, next, seen, highWaterMs, lastRow }: ListPlace): string {
  return JSON.stringify([form, next, seen, highWaterMs, lastRow]);
}

/** Throws on a text that `encodePlace` did not write: cursors come from our own table, so that is a fault of ours. */
export function decodePlace(cursor: string): ListPlace {
  const [form, next, seen, highWaterMs, lastRow] = JSON.parse(cursor) as unknown[];
  if ((form !== 'items' && form !== 'link' && form !== 'array') || typeof next !== 'string' || typeof seen !== 'number')
    throw new Error('not the cursor of a list');
  return {
    form,
    next,
    seen,
    highWaterMs: typeof highWaterMs === 'number' ? highWaterMs : null,
    lastRow: typeof lastRow === 'string' ? lastRow : null,
  };
}
