import LinkHeader from 'http-link-header';
import { decimalText } from '../../json/exact-json';
import type { OpenResponse } from './list-response';
import { ListFailure } from './list-failure';

const CURSOR_CHARS_MAX = 4096;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** Names that say "there is more", whatever their spelling: nextCursor, next_page, hasMore, has-more, isTruncated. */
const MORE =
  /next|cursor|more|continu|truncat|partial|incomplet|remaining|pagetoken|synctoken|resumption|lastevaluatedkey|scrollid|limitreached/;
/** Names that say the same by being false. */
const COMPLETE = /^(?:is)?(?:complete|last|lastpage|final|finalpage|done|finished|end|endoflist|exhausted|eof)$/;
/** Rows of the whole list. Totals of money are none. */
const TOTAL = /^total(?:count|items?|rows?|records?|results?|elements?|entries|hits|size|number)?$/;
/** Pages of the whole list, and the page that this is. */
const PAGES = /^(?:pages|totalpages?|pagecount|pagetotal|numberofpages|lastpage)$/;
const PAGE = /^(?:page|currentpage|pagenumber|pageno|pageindex)$/;
/** Headers with which partners page, beside Link. */
const MORE_HEADERS = [
  'x-next-page',
  'x-next-cursor',
  'x-next-token',
  'x-next-link',
  'x-next',
  'x-has-more',
  'x-has-next',
  'x-more',
  'x-cursor',
  'x-continuation',
  'x-continuation-token',
  'x-ms-continuation',
];
const TOTAL_HEADERS = ['x-total-count', 'x-total'];
const PAGES_HEADERS = ['x-total-pages', 'x-page-count'];

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

/**
 * The form `{items, nextCursor}` of a list that is read page by page. Without `nextCursor`, be it null, nothing would
 * tell a whole list from its first page.
 */
export function itemsPage(value: unknown): ItemsPage {
  const page = value as Record<string, unknown>;
  if (!Array.isArray(page.items)) throw new ListFailure('not_a_list', 'it is an object without items');
  const { nextCursor } = page;
  if (
    nextCursor !== null &&
    (typeof nextCursor !== 'string' || nextCursor === '' || nextCursor.length > CURSOR_CHARS_MAX)
  )
    throw new ListFailure('not_a_list', 'nextCursor is neither a text nor null');
  const more = nextCursor === null ? moreBeside(page) : null;
  if (more !== null) throw new ListFailure('not_a_list', `its nextCursor is null, and yet ${more}`);
  return {
    items: page.items as unknown[],
    nextCursor,
    total: totalOf(page.total),
    dataAvailableEnd: timeOf(page.dataAvailableEnd),
  };
}

/** `X-Total-Count` and `X-Data-Available-End`, for lists that are bare arrays. */
export function headerClaims(header: OpenResponse['header']): PageClaims {
  const total = header('x-total-count');
  return {
    total: totalOf(total === null || !/^\d{1,15}$/.test(total) ? total : Number(total)),
    dataAvailableEnd: timeOf(header('x-data-available-end')),
  };
}

/**
 * Path and query of `rel="next"` (RFC 8288), or null. Signed calls go to the partner's own host and nowhere else; a
 * link that differs from it by scheme alone is the partner's too, since what stands behind a balancer does not know
 * that the balancer speaks https. A link that means next and cannot be read is a fault: taken for the end of the list,
 * it would make every row behind it missing.
 */
export function nextLink(header: OpenResponse['header'], from: string): string | null {
  const value = header('link');
  if (value === null) return null;
  let uri: string | undefined;
  try {
    uri = LinkHeader.parse(value).rel('next')[0]?.uri;
  } catch {
    throw new ListFailure('not_a_list', 'its Link header cannot be read');
  }
  if (uri === undefined) {
    if (meansNext(value))
      throw new ListFailure('not_a_list', 'its Link header speaks of a next page and cannot be read');
    return null;
  }
  if (!URL.canParse(uri, from)) throw new ListFailure('not_a_list', 'the address of its next page is none');
  const next = new URL(uri, from);
  if (!isSameHost(next, new URL(from)))
    throw new ListFailure('foreign_link', 'its next page is said to be on another host');
  if (next.pathname.length + next.search.length > CURSOR_CHARS_MAX)
    throw new ListFailure('not_a_list', 'the address of its next page is too long');
  return next.pathname + next.search;
}

/**
 * Why a response in one piece need not be the whole list, by its headers; null when nothing says so. Throws ListFault
 * for a Link header that cannot be read.
 */
export function moreByHeaders(header: OpenResponse['header'], from: string, rows: number): string | null {
  if (nextLink(header, from) !== null) return 'a Link header names a next page';
  const more = MORE_HEADERS.find((name) => saysYes(header(name)));
  if (more !== undefined) return `the header ${more} says that more follows`;
  const pages = PAGES_HEADERS.find((name) => header(name) !== null && header(name) !== '0' && header(name) !== '1');
  if (pages !== undefined) return `the header ${pages} speaks of several pages`;
  const total = TOTAL_HEADERS.find((name) => header(name) !== null && countOf(header(name)) !== rows);
  if (total !== undefined) return `the header ${total} gives another number of rows`;
  return header('content-range') === null ? null : 'a Content-Range header says that it is a part';
}

/**
 * Why what stands beside the items of a list says that more follows; null when it does not. Looks into nested objects,
 * as `meta` and `paging`.
 */
export function moreBeside(around: Readonly<Record<string, unknown>>): string | null {
  let pages = 1;
  let page = 1;
  for (const [key, value] of Object.entries(around)) {
    if (key === 'items') continue;
    const plain = plainName(key);
    if (MORE.test(plain) && holdsYes(value)) return 'a member of another name says that more follows';
    if (COMPLETE.test(plain) && (value === false || value === 0 || value === 'false'))
      return 'it says that it is not complete';
    if (PAGES.test(plain)) pages = Math.max(pages, countOf(value) ?? 0);
    if (PAGE.test(plain)) page = Math.max(page, countOf(value) ?? 0);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const inside = moreBeside(value as Record<string, unknown>);
      if (inside !== null) return inside;
    }
  }
  return pages > page ? 'it says that it has more pages' : null;
}

/** Whether any count of rows that stands beside the items is another than `rows`, or is none. */
export function hasOtherTotal(around: Readonly<Record<string, unknown>>, rows: number): boolean {
  return Object.entries(around).some(([key, value]) => {
    if (key === 'items' || value === null) return false;
    if (typeof value === 'object' && !Array.isArray(value))
      return hasOtherTotal(value as Record<string, unknown>, rows);
    return TOTAL.test(plainName(key)) && countOf(value) !== rows;
  });
}

/** Letters and digits in lower case: has_more, has-more and hasMore are one name. */
export function plainName(key: string): string {
  return key
    .normalize('NFKC')
    .replace(/[^\p{L}\p{N}]+/gu, '')
    .toLowerCase();
}

/** Whole numbers from 0 on, as JSON number or as digits; null for anything else. */
export function countOf(value: unknown): number | null {
  const digits = decimalText(value)?.trim() ?? '';
  return /^\d{1,15}$/.test(digits) ? Number(digits) : null;
}

function saysYes(value: unknown): boolean {
  return typeof value === 'string' ? !/^\s*(?:0|false|no|none|null)?\s*$/i.test(value) : Boolean(value);
}

/** Whether anything in it, at any depth, is more than nothing. */
export function holdsYes(value: unknown): boolean {
  return typeof value === 'object' && value !== null && decimalText(value) === null
    ? Object.values(value).some(holdsYes)
    : saysYes(value);
}

/** Whether "next" occurs in a Link header outside its addresses, quoted and escaped in any way. */
function meansNext(value: string): boolean {
  const parameters = value
    .replace(/<[^>]*>/g, '')
    .replace(/\\/g, '')
    .replace(/%([\da-f]{2})/gi, (_whole, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return /n\s*e\s*x\s*t/i.test(parameters);
}

/** Scheme aside: the same name, and the same port or each scheme's own. */
function isSameHost(a: URL, b: URL): boolean {
  const isDefault = ({ port, protocol }: URL) => port === '' || port === DEFAULT_PORTS[protocol];
  return (
    a.protocol in DEFAULT_PORTS && a.hostname === b.hostname && (a.port === b.port || (isDefault(a) && isDefault(b)))
  );
}

/** A claim that cannot be read is no claim that was kept. */
function totalOf(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new ListFailure('not_a_list', 'its total is no count');
}

function timeOf(value: unknown): Date | null {
  if (value === undefined || value === null) return null;
  const ms = typeof value === 'string' && /(?:Z|[+-]\d\d:?\d\d)$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms)) throw new ListFailure('not_a_list', 'its dataAvailableEnd is no time');
  return new Date(ms);
}
