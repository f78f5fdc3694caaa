/** Rows in the order of their time, oldest first, with an index by one of their values; in memory. */
export class Timeline<Row extends { /** ms epoch */ createdAt: number }> {
  private rows: Row[] = [];
  private readonly index = new Map<string, Row[]>();

  /** @param keyOf the value to look rows up by; rows with null are only in the whole list */
  constructor(private readonly keyOf: (row: Row) => string | null) {}

  get size(): number {
    return this.rows.length;
  }

  /** Adds a row at the place its time gives it, after those of the same time. */
  add(row: Row): void {
    // The clock seldom goes back, so the search from the end stops at once; only a row made up for the past goes further.
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

  /** The rows with this key as they are now, in the order in which they were added. */
  with(key: string): readonly Row[] {
    return this.index.get(key)?.slice() ?? [];
  }

  /** Removes the rows with this key that are meant, and answers them. Walks the whole list: for a test's single cuts. */
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
}
