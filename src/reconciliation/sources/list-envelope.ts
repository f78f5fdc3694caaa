import LinkHeader from 'http-link-header';
import type { OpenAnswer } from './list-call';
import { ListFault } from './list-call';

const CURSOR_CHARS_MAX = 4096;

/** What a page says beside its rows. */
export interface PageClaims {
  /** Rows of the whole list, if the partner counts them. */
  readonly total: number | null;
  /** Time up to which the partner has all of its data, if it says so. */
  readonly dataAvailableEnd: Date | null;
}

export interface ItemsPage extends PageClaims {
  readonly items: unknown[];
  /** Null: the last page. */
  readonly nextCursor: string | null;
}

/** The form `{items, nextCursor}`. Without `nextCursor`, be it null, nothing would tell a whole list from its first page. */
export function itemsPage(value: unknown): ItemsPage {
  const page = value as Record<string, unknown>;
  if (!Array.isArray(page.items)) throw new ListFault('not_a_list', 'it is an object without items');
  const { nextCursor } = page;
  if (nextCursor !== null && (typeof nextCursor !== 'string' || nextCursor === '' || nextCursor.length > CURSOR_CHARS_MAX)) throw new ListFault('not_a_list', 'nextCursor is neither a text nor null');
  return { items: page.items as unknown[], nextCursor, total: totalOf(page.total), dataAvailableEnd: timeOf(page.dataAvailableEnd) };
}

/** `X-Total-Count` and `X-Data-Available-End`, for lists that are bare arrays. */
export function headerClaims(header: OpenAnswer['header']): PageClaims {
  const total = header('x-total-count');
  return { total: totalOf(total === null || !/^\d{1,15}$/.test(total) ? total : Number(total)), dataAvailableEnd: timeOf(header('x-data-available-end')) };
}

/** Path and query of `rel="next"` (RFC 8288), or null. Signed calls go to the partner's own origin and nowhere else. */
export function nextLink(header: OpenAnswer['header'], from: string): string | null {
  const value = header('link');
  if (value === null) return null;
  let uri: string | undefined;
  try {
    uri = LinkHeader.parse(value).rel('next')[0]?.uri;
  } catch {
    throw new ListFault('not_a_list', 'its Link header cannot be read');
  }
  if (uri === undefined) return null;
  if (!URL.canParse(uri, from)) throw new ListFault('not_a_list', 'the address of its next page is none');
  const next = new URL(uri, from);
  if (next.origin !== new URL(from).origin) throw new ListFault('foreign_link', 'its next page is said to be on another host');
  if (next.pathname.length + next.search.length > CURSOR_CHARS_MAX) throw new ListFault('not_a_list', 'the address of its next page is too long');
  return next.pathname + next.search;
}

/** A claim that cannot be read is no claim that was kept. */
function totalOf(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new ListFault('not_a_list', 'its total is no count');
}

function timeOf(value: unknown): Date | null {
  if (value === undefined || value === null) return null;
  const ms = typeof value === 'string' && /(?:Z|[+-]\d\d:?\d\d)$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms)) throw new ListFault('not_a_list', 'its dataAvailableEnd is no time');
  return new Date(ms);
}
