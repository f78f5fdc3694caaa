import type { ListFailureReason } from '../../partners/lists/list-failure';

/** Whose list a row comes from. */
export type Side = 'rgs' | 'operator';

/** What a row's status says about its money. `unknown` is an unconfigured word: it equals nothing. */
export type RowStatus = 'settled' | 'pending' | 'refused' | 'unknown';

/** A row as it is staged. Texts have no NUL and no half surrogate pairs, so that the store takes them. */
export interface StagedRow {
  /** Text of a UUID, see `correlationKey`. */
  readonly key: string;
  readonly correlationId: string;
  readonly refId: string;
  /** The side's own word: debit and credit, or withdraw and deposit. */
  readonly direction: string;
  /** What the word means; null for an unknown word. */
  readonly movement: 'debit' | 'credit' | null;
  /** Null when the amount is missing, no decimal, finer than the minor unit or above 2^53-1 minor units. */
  readonly amountMinor: bigint | null;
  /** Major units as decimal text for `pythonFloat`; the side's own text when it is no amount. */
  readonly amountRaw: string;
  readonly currency: string;
  /** A row without a status counts as settled: lists hold what was booked. An RGS's REJECTED is news of a refusal and no booking. */
  readonly status: RowStatus;
  readonly statusRaw: string;
  readonly playerId: string;
  /** Null when the row has no ISO 8601 time with a zone. */
  readonly at: Date | null;
  /** The side's own id of the row, if it has one. */
  readonly rowId: string | null;
}

/** A row that cannot be matched; it is counted and shown, never staged. */
export interface RejectedRow {
  readonly reason: 'no_key' | 'not_an_object' | 'too_large';
  /** Its JSON, at most 500 characters. */
  readonly raw: string;
}

/** Takes rows as they come, so that no page of them is held: they would outlive the young generation of the heap, and stay for long. */
export interface RowSink {
  /** A page begins, or starts over since its connection broke: what was added after the last page that was given is void. */
  restart(): void;
  add(row: StagedRow): void;
}

/** What is reported of a page whose rows were added to the sink. */
export interface SourcePage {
  readonly rejected: readonly RejectedRow[];
  /** Rows and rejected ones. */
  readonly seen: number;
  /** Hand it to `pages` to go on after this page, also in another process; null: this was the last page. */
  readonly cursor: string | null;
  /** Latest `at` of the page. */
  readonly highWater: Date | null;
}

export interface SourceWindow {
  readonly from: Date;
  readonly to: Date;
  /** End of the window without its padding; a source that says it has data only up to an earlier time is refused. Default: `to`. */
  readonly neededTo?: Date;
  /** It is a part of what is read, so a row outside of it, or without a time, is a fault: other parts would give it again. Default: false. */
  readonly isPart?: boolean;
}

/** Why a list could not be read to its end. Stable words: runs keep them, and finance reads them. */
export type SourceFault =
  /** No partner of this code is active. */
  | 'not_configured'
  /** No connection, or it broke and the repeats were used up. */
  | 'unreachable'
  /** A status other than 200, after the repeats that 5xx get. */
  | 'bad_status'
  /** A 3xx; lists are never followed elsewhere. */
  | 'redirected'
  /** 429, or 503 with Retry-After, for longer than we wait. */
  | 'throttled'
  /** The page did not come in time: silent, or byte by byte. */
  | 'too_slow'
  | ListFailureReason
  /** `gone` fired. */
  | 'aborted';

const SIDE_NAMES = { rgs: 'RGS', operator: 'operator' } as const;

/** The only thing that a reader throws. The message is fit for finance's eyes and quotes nothing of the partner's answer. */
export class SourceError extends Error {
  constructor(
    readonly side: Side,
    readonly reason: SourceFault,
    detail: string,
    options: { cause?: unknown } = {},
  ) {
    super(`the list of the ${SIDE_NAMES[side]} could not be read: ${detail}`, options);
    this.name = 'SourceError';
  }
}

/** Reads a partner's list page by page. A class, so that it can be injected. */
export abstract class SourceReader {
  /**
   * Pages of the list, oldest first where the side has an order. `window` null: everything; a side without a time filter gives everything in
   * any case, so rows may lie outside the window. `cursor` null: from the start. A page is fetched when it is asked for; who wants one in flight while another is stored asks before storing.
   * Rows go to the sink; when a page is given they are all there, and nothing is added before the next page is asked for.
   * Throws SourceError for every fault and when `gone` fires; never ends early without throwing. An empty list is one page without rows.
   */
  abstract pages(
    side: Side,
    window: SourceWindow | null,
    cursor: string | null,
    gone: AbortSignal,
    sink: RowSink,
  ): AsyncGenerator<SourcePage>;
}
