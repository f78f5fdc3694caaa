/** A row with its place: time, and among rows of one time the order of arrival. */
export interface Placed {
  /** ms epoch */
  createdAt: number;
  /** Larger than that of every row that came before it. */
  id: number;
}

/** Which rows are meant: from <= createdAt < to, null for no bound, and none up to and including the place `after`. */
export interface Span {
  from: number | null;
  to: number | null;
  after: Placed | null;
}

/** Rows in the order of their time, oldest first, with an index by one of their values; in memory. */
export class Timeline<Row extends Placed> {
  private rows: Row[] = [];
  private readonly index = new Map<string, Row[]>();

  /** @param keyOf the value to look rows up by; rows with null are only in the whole list */
  constructor(private readonly keyOf: (row: Row) => string | null) {}

  get size(): number {
    return this.rows.length;
  }

  /** Adds a row at the place its time gives it, after those of the same time. */
  add(row: Row): void {
    // The clock seldom goes back, so the search from the end stops at once; only a row made up for the past goes
    // further.
    let place = this.rows.length;
    while (place > 0 && (this.rows[place - 1]?.createdAt ?? 0) > row.createdAt) place--;
    if (place === this.rows.length) this.rows.push(row);
    else this.rows.splice(place, 0, row);

    const key = this.keyOf(row);
    if (key === null) return;
    const sameKey = this.index.get(key);
    if (sameKey === undefined) this.index.set(key, [row]);
    else sameKey.push(row);
  }

  /** All rows as they are now. A copy, of pointers only: it can be streamed while rows come and go. */
  all(): readonly Row[] {
    return this.rows.slice();
  }

  /** The first `limit` rows of a span, how many rows the span has without `after`, and whether more follow. */
  page({ from, to, after }: Span, limit: number): { rows: readonly Row[]; total: number; more: boolean } {
    const first = from === null ? 0 : this.firstAt({ createdAt: from, id: 0 });
    const end = to === null ? this.rows.length : Math.max(first, this.firstAt({ createdAt: to, id: 0 }));
    const start =
      after === null
        ? first
        : Math.min(Math.max(first, this.firstAt({ createdAt: after.createdAt, id: after.id + 1 })), end);
    return {
      rows: this.rows.slice(start, Math.min(start + limit, end)),
      total: end - first,
      more: start + limit < end,
    };
  }

  /** The rows with this key as they are now, in the order in which they were added. */
  with(key: string): readonly Row[] {
    return this.index.get(key)?.slice() ?? [];
  }

  /**
   * Removes the rows with this key that are meant, and answers them. Walks the whole list: for a test's single cuts.
   */
  remove(key: string, isMeant: (row: Row) => boolean): Row[] {
    const removed = new Set(this.with(key).filter(isMeant));
    if (removed.size === 0) return [];
    const left = this.with(key).filter((row) => !removed.has(row));
    if (left.length === 0) this.index.delete(key);
    else this.index.set(key, left);
    this.rows = this.rows.filter((row) => !removed.has(row));
    return [...removed];
  }

  clear(): void {
    this.rows = [];
    this.index.clear();
  }

  /** Index of the first row at or after a place. */
  private firstAt(place: Placed): number {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { createdAt, id } = this.rows[middle] ?? place;
      if (createdAt < place.createdAt || (createdAt === place.createdAt && id < place.id)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
