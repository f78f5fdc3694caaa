import { createHash } from 'node:crypto';
import { stringify } from 'lossless-json';
import {
  OPEN_BRACE,
  OPEN_BRACKET,
  type OpenResponse,
  afterFirstByte,
  bounded,
} from '../../partners/lists/list-response';
import { headerClaims, itemsPage, nextLink, type PageClaims } from '../../partners/lists/list-end';
import { ListFailure } from '../../partners/lists/list-failure';
import { arrayBatches, ListJsonError, objectAroundItems } from '../../json/list-json';
import type { ListCall } from './list-call';
import { encodePlace, type ListPlace } from './list-place';
import { isRejected, type RowMapper } from './list-rows';
import type { ReadLimits } from './read-limits';
import {
  type RejectedRow,
  type RowSink,
  SourceError,
  type SourcePage,
  type SourceWindow,
  type StagedRow,
} from './source';

/** Refusals that other parameters would not fix. */
const NOT_ABOUT_PARAMETERS = new Set([401, 403, 408]);

/**
 * Rows of a page that are parsed at once, given away and forgotten: a page as a whole outlives several collections of the young generation,
 * and then stays in the old one long after it was used.
 */
const SLICE = { rows: 250, bytes: 64 * 1024 } as const;

/** A page as fetched, or a bare array that is still in flight. */
type Fetched =
  | {
      readonly kind: 'page';
      readonly form: 'items' | 'link';
      readonly rows: PageRows;
      readonly next: string | null;
      readonly claims: PageClaims;
    }
  | { readonly kind: 'array'; readonly answer: OpenResponse };

/**
 * One reading of one list, in whichever of the three forms the partner answers: the first response tells. Throws ListFault, ListJsonError,
 * SourceError or what the transport threw; the caller translates.
 */
export class ListReading {
  private seen = 0;
  private highWaterMs: number | null = null;
  private lastRow: string | null = null;
  private emptyPages = 0;
  private readonly visited = new Set<string>();
  private readonly firstRowIds = new Set<string>();

  constructor(
    private readonly call: ListCall,
    private readonly base: string,
    private readonly window: SourceWindow | null,
    private readonly limits: ReadLimits,
    private readonly toRow: RowMapper,
    private readonly sink: RowSink,
    private readonly statusOf: (error: unknown) => number | null,
  ) {}

  async *pages(place: ListPlace | null): AsyncGenerator<SourcePage, void, void> {
    if (place?.form === 'array') return yield* this.array(await this.plain(), false, place);
    if (place !== null) this.resumeAt(place);
    let form = place?.form ?? null;
    let url = place === null ? this.address(null) : this.addressOf(place.form, place.next);
    for (;;) {
      const asked: Asked = { url, form };
      const fetched: Fetched =
        form === null ? await this.probe(asked) : await this.call.fetch(url, (answer) => this.take(answer, asked));
      if (fetched.kind === 'array') return yield* this.array(fetched.answer, true, null);
      this.call.pause();
      const page = this.pageOf(fetched);
      yield page;
      if (fetched.next === null) return;
      form = fetched.form;
      url = this.addressOf(form, fetched.next);
    }
  }

  /** A partner that cannot bear our parameters has a bare array: it was there before they were. */
  private async probe(asked: Asked): Promise<Fetched> {
    try {
      return await this.call.fetch(asked.url, (answer) => this.take(answer, asked));
    } catch (error) {
      const status = error instanceof SourceError && error.reason === 'bad_status' ? this.statusOf(error.cause) : null;
      if (status === null || status < 400 || status >= 500 || NOT_ABOUT_PARAMETERS.has(status)) throw error;
      return { kind: 'array', answer: await this.plain() };
    }
  }

  /** The list as the legacy hub asked for it, which must be a bare array. */
  private plain(): Promise<OpenResponse> {
    return this.call.fetch(this.base, (answer) => {
      if (answer.first !== OPEN_BRACKET) throw unreadable(answer);
      return Promise.resolve(answer);
    });
  }

  private async take(answer: OpenResponse, { url, form }: Asked): Promise<Fetched> {
    const rows = this.beginPage();
    const take = (elements: unknown[]): void => rows.add(elements);
    // A row of a page may be as long as the page.
    const slices = { rows: SLICE.rows, batchBytes: SLICE.bytes, rowBytesMax: this.limits.pageBytesMax };
    if (answer.first === OPEN_BRACE && form !== 'link') {
      const { items, nextCursor, ...claims } = itemsPage(await objectAroundItems(this.page(answer), slices, take));
      take(items);
      return { kind: 'page', form: 'items', rows, next: nextCursor, claims };
    }
    if (answer.first !== OPEN_BRACKET || form === 'items') throw unreadable(answer);
    const next = nextLink(answer.header, url);
    if (next === null && form === null) return { kind: 'array', answer };
    for await (const { elements } of arrayBatches(afterFirstByte(this.page(answer)), slices)) take(elements);
    return { kind: 'page', form: 'link', rows, next, claims: headerClaims(answer.header) };
  }

  private page({ chunks }: OpenResponse): AsyncGenerator<Buffer, void, void> {
    return bounded(chunks, this.limits.pageBytesMax, 'a page');
  }

  private pageOf({ form, rows, next, claims }: Extract<Fetched, { kind: 'page' }>): SourcePage {
    this.checkAvailable(claims);
    this.checkOrder(rows);
    const page = this.counted(rows);
    this.emptyPages = page.seen === 0 ? this.emptyPages + 1 : 0;
    if (this.emptyPages > this.limits.emptyPagesMax)
      throw new ListFailure('never_ends', `${this.emptyPages} pages without a row follow each other`);
    if (next === null) {
      this.checkTotal(claims);
      return { ...page, cursor: null };
    }
    if (this.visited.has(next)) throw new ListFailure('cursor_repeated', 'it names a next page that it named before');
    this.visited.add(next);
    return { ...page, cursor: this.placeAt(form, next) };
  }

  /**
   * A bare array has no pages, so that it is cut into batches while it comes. `parameters`: whether we asked for a limit. `skip`: where a
   * former reading stopped.
   */
  private async *array(
    answer: OpenResponse,
    parameters: boolean,
    skip: ListPlace | null,
  ): AsyncGenerator<SourcePage, void, void> {
    const claims = headerClaims(answer.header);
    this.checkAvailable(claims);
    const { pageRows, batchBytes, rowBytesMax } = this.limits;
    const chunks = afterFirstByte(answer.chunks);
    let skipped = 0;
    for await (const batch of arrayBatches(chunks, { rows: pageRows, batchBytes, rowBytesMax })) {
      this.call.pause();
      let { elements } = batch;
      // The list is one text, and one that holds anything but rows is no list of rows; a page at least says what it is.
      if (elements.some((element) => typeof element !== 'object' || element === null || Array.isArray(element)))
        throw new ListFailure('not_a_list', 'it holds something that is not a row');
      if (skip !== null && skipped < skip.seen) {
        const passed = elements.slice(0, skip.seen - skipped);
        skipped += passed.length;
        elements = elements.slice(passed.length);
        if (skipped === skip.seen && digestOf(passed.at(-1)) !== skip.lastRow)
          throw new ListFailure('list_changed', 'its rows are not those that were read before');
        if (skipped === skip.seen) this.resumeAt(skip);
      }
      if (batch.last && skip !== null && skipped < skip.seen)
        throw new ListFailure('list_changed', 'it is shorter than when it was read before');
      // Exactly as many rows as we asked for: the partner may have heeded our limit without a word about what follows.
      const doubtful = batch.last && parameters && this.seen + elements.length === pageRows;
      if (elements.length > 0 || batch.last) {
        const rows = this.beginPage();
        rows.add(elements);
        const page = this.counted(rows);
        this.lastRow = elements.length > 0 ? digestOf(elements.at(-1)) : this.lastRow;
        elements.length = 0;
        batch.elements.length = 0;
        if (batch.last && !doubtful) this.checkTotal(claims);
        yield { ...page, cursor: batch.last && !doubtful ? null : this.placeAt('array', '') };
      }
      if (doubtful) return yield* this.afterDoubt();
      this.call.resume();
    }
  }

  /** Asks for the list without a limit and reads what the first response may have kept back. */
  private async *afterDoubt(): AsyncGenerator<SourcePage, void, void> {
    const answer = await this.plain();
    // A partner that knows Link would have named a next page if there were one.
    if (nextLink(answer.header, this.base) === null) return yield* this.array(answer, false, this.place('array', ''));
    this.call.pause();
    this.sink.restart();
    yield { rejected: [], seen: 0, cursor: null, highWater: null };
  }

  private beginPage(): PageRows {
    this.sink.restart();
    return new PageRows(this.toRow, this.sink, this.limits.pageRows, this.window?.isPart === true ? this.window : null);
  }

  private counted({ rejected, seen, highWater }: PageRows): Omit<SourcePage, 'cursor'> {
    this.seen += seen;
    if (this.seen > this.limits.rowsMax)
      throw new ListFailure('never_ends', `it has more than ${this.limits.rowsMax} rows`);
    if (highWater !== null && highWater.getTime() > (this.highWaterMs ?? -Infinity))
      this.highWaterMs = highWater.getTime();
    return { rejected, seen, highWater };
  }

  /** Pages come oldest first: one that goes back repeats rows, and rows that were added in between may have been left out. */
  private checkOrder({ earliest, firstRow }: PageRows): void {
    if (this.highWaterMs !== null && earliest !== null && earliest.getTime() < this.highWaterMs)
      throw new ListFailure('cursor_went_back', 'a page has rows older than the page before it');
    // Rows of one instant, or without a time, say nothing about order; their own ids tell at least a page that comes again.
    const id = firstRow?.rowId ?? null;
    if (id === null) return;
    if (this.firstRowIds.has(id))
      throw new ListFailure('cursor_went_back', 'a page begins with a row with which another began');
    this.firstRowIds.add(id);
  }

  private checkTotal({ total }: PageClaims): void {
    if (total !== null && total !== this.seen)
      throw new ListFailure('total_mismatch', `it says that it has ${total} rows, and ${this.seen} were read`);
  }

  private checkAvailable({ dataAvailableEnd }: PageClaims): void {
    const needed = this.window?.neededTo ?? this.window?.to;
    if (dataAvailableEnd !== null && needed !== undefined && dataAvailableEnd < needed)
      throw new ListFailure(
        'not_complete_yet',
        `it is complete up to ${dataAvailableEnd.toISOString()}, ${needed.toISOString()} is needed`,
      );
  }

  private resumeAt({ form, next, seen, highWaterMs, lastRow }: ListPlace): void {
    this.seen = seen;
    this.highWaterMs = highWaterMs;
    this.lastRow = lastRow;
    if (form !== 'array') this.visited.add(next);
  }

  private place(form: ListPlace['form'], next: string): ListPlace {
    return { form, next, seen: this.seen, highWaterMs: this.highWaterMs, lastRow: this.lastRow };
  }

  private placeAt(form: ListPlace['form'], next: string): string {
    return encodePlace(this.place(form, next));
  }

  private addressOf(form: ListPlace['form'], next: string): string {
    return form === 'link' ? new URL(next, this.base).href : this.address(next);
  }

  private address(cursor: string | null): string {
    const url = new URL(this.base);
    url.searchParams.set('limit', String(this.limits.pageRows));
    if (this.window !== null) {
      url.searchParams.set('from', this.window.from.toISOString());
      url.searchParams.set('to', this.window.to.toISOString());
    }
    if (cursor !== null) url.searchParams.set('cursor', cursor);
    return url.href;
  }
}

/** Makes rows of a page's elements, adds them to the sink, and keeps what is to be known of the page as a whole. */
class PageRows {
  readonly rejected: RejectedRow[] = [];
  seen = 0;
  earliest: Date | null = null;
  highWater: Date | null = null;
  firstRow: StagedRow | null = null;

  /** `part`: the window to which rows must belong; null: to none. */
  constructor(
    private readonly toRow: RowMapper,
    private readonly sink: RowSink,
    private readonly rowsMax: number,
    private readonly part: SourceWindow | null,
  ) {}

  add(elements: readonly unknown[]): void {
    this.seen += elements.length;
    if (this.seen > this.rowsMax)
      throw new ListFailure('page_too_long', `a page has more than the ${this.rowsMax} rows that were asked for`);
    for (const element of elements) {
      const row = this.toRow(element);
      if (isRejected(row)) this.rejected.push(row);
      else this.take(row);
    }
  }

  private take(row: StagedRow): void {
    const { at } = row;
    if (this.part !== null) checkPart(at, this.part);
    this.firstRow ??= row;
    if (at !== null) {
      if (this.earliest === null || at < this.earliest) this.earliest = at;
      if (this.highWater === null || at > this.highWater) this.highWater = at;
    }
    this.sink.add(row);
  }
}

/** Of a list in parts: a partner that ignores the window returns each row once per part, and rows without a time belong to none. */
function checkPart(at: Date | null, part: SourceWindow): void {
  if (at === null) throw new ListFailure('window_ignored', 'it is read in parts by time, and has a row without a time');
  if (at < part.from || at >= part.to)
    throw new ListFailure(
      'window_ignored',
      'it is read in parts by time, and has a row outside the part that was asked for',
    );
}

interface Asked {
  readonly url: string;
  /** Null: not known yet. */
  readonly form: ListPlace['form'] | null;
}

function unreadable({ first }: OpenResponse): Error {
  if (first === undefined) return new ListJsonError('not_json', 'it is empty');
  return first === OPEN_BRACE || first === OPEN_BRACKET
    ? new ListFailure('not_a_list', 'it changed its form between two pages')
    : new ListJsonError('not_json', 'it is no JSON list');
}

function digestOf(element: unknown): string {
  return createHash('sha256')
    .update(stringify(element) ?? '')
    .digest('base64url')
    .slice(0, 22);
}
