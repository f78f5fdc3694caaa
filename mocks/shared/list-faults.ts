import { DELAY_MS_MAX, readStatusFault, readThrottleFault } from './fault-params';
import { FaultBoard, type Fault, type FaultKinds } from './faults';
import type { Fields } from './fields';

/** What a list can do wrong. Those about rows hold for pages and for the bare array alike. */
const LIST_FAULT_KINDS = {
  /** Any HTTP answer, redirects among them. */
  list_status: readStatusFault,
  /** 429 or 503 with Retry-After. */
  list_throttle: readThrottleFault,
  /** Never answers. */
  list_hang: () => ({}),
  /** Breaks the connection after so many bytes of the body. */
  list_reset: (fields: Fields) => ({ afterBytes: fields.integer('afterBytes', 0, 1_000_000_000, 0) }),
  /** A whole HTTP answer with so many bytes of the body's end cut off. */
  list_truncated: (fields: Fields) => ({ bytes: fields.integer('bytes', 1, 1_000_000_000, 1) }),
  /** 200 with a login page; `asJson` calls it JSON. */
  list_html: (fields: Fields) => ({ asJson: fields.flag('asJson') }),
  /** The right body, one byte every `ms` milliseconds. */
  list_slow_drip: (fields: Fields) => ({ ms: fields.integer('ms', 1, DELAY_MS_MAX) }),
  /** Gzip of so many blanks before the body. */
  list_gzip_bomb: (fields: Fields) => ({ bytes: fields.integer('bytes', 0, 200_000_000) }),
  /** The next page is the one that was asked for. */
  list_same_cursor: () => ({}),
  /** The first page once more, with a next cursor that was not seen before. */
  list_cursor_back: () => ({}),
  /** So many more rows than were asked for. */
  list_long_page: (fields: Fields) => ({ rows: fields.integer('rows', 1, 100_000, 1) }),
  /** `Link: rel="next"` to this address. */
  list_foreign_link: (fields: Fields) => ({ url: fields.text('url') }),
  /** A wrong `total`. */
  list_total: (fields: Fields) => ({ total: fields.integer('total', 0, 1_000_000_000) }),
  /** Says up to when it has all of its data. */
  list_available_end: (fields: Fields) => ({ at: fields.text('at') }),
  /** Leaves out every n-th row. */
  list_missing_rows: readEvery,
  /** Gives every n-th row twice. */
  list_duplicate_rows: readEvery,
  /** Gives every n-th row another value in a field; null takes the field away. */
  list_changed_rows: (fields: Fields) => ({
    ...readEvery(fields),
    field: fields.text('field'),
    value: fields.anything('value'),
  }),
  /** So many bytes of padding in every n-th row. */
  list_huge_rows: (fields: Fields) => ({ ...readEvery(fields), bytes: fields.integer('bytes', 1, 100_000_000) }),
} satisfies FaultKinds;

export type ListFault = Fault<typeof LIST_FAULT_KINDS>;

/**
 * Faults of the list, apart from those of calls that move money. `page` narrows them: first, next or array, the list
 * without parameters.
 */
export class ListFaults extends FaultBoard<typeof LIST_FAULT_KINDS> {
  constructor() {
    super(LIST_FAULT_KINDS, { page: ['first', 'next', 'array'] });
  }
}

/** Whether a kind is one of a list's. */
export function isListFault(kind: unknown): boolean {
  return typeof kind === 'string' && kind.startsWith('list_');
}

function readEvery(fields: Fields): { every: number } {
  return { every: fields.integer('every', 1, 1_000_000, 1) };
}
