/**
 * Every error on the wire. The error filter, the OpenAPI document and the README's table read this catalogue, so code,
 * status and advice cannot disagree.
 */
export type Outcome = 'applied' | 'not_applied' | 'unknown';

interface CatalogueEntry {
  readonly status: number;
  readonly title: string;
  /** Default `detail`; those of the legacy hub (v0) are kept word for word, since clients compare them. */
  readonly detail: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** What happened to the requested movement. */
  readonly outcome: Outcome;
  /** For the README and the partner guide: when it happens and what to do. */
  readonly meaning: string;
}

export const ERROR_CATALOGUE = {
  malformed_request: {
    status: 400,
    title: 'Malformed request',
    detail: 'malformed request',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'The body is not one JSON object (truncated, duplicate or forbidden keys, nested too deep, not UTF-8), or the request line or a header is not HTTP. Fix the request.',
  },
  unauthorized: {
    status: 401,
    title: 'Unauthorized',
    detail: 'Unauthorized',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The bearer token is missing or unknown.',
  },
  invalid_signature: {
    status: 401,
    title: 'Invalid signature',
    detail: 'invalid signature',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'X-Signature is missing or is not the HMAC of X-Timestamp, ":" and the exact body bytes, or X-Signature-V2 is wrong, or missing where it is required. `errors` lists what can be checked without the secret, and the length and SHA-256 of the body as received.',
  },
  signature_reused: {
    status: 401,
    title: 'Signature reused',
    detail: 'this signature was used for another movement',
    retryable: true,
    outcome: 'not_applied',
    meaning:
      'The same X-Timestamp and X-Signature were used for a debit and a credit of one refId. Sign again with the current time, or use X-Signature-V2, which is bound to its route.',
  },
  timestamp_skew: {
    status: 401,
    title: 'Timestamp skew',
    detail: 'timestamp skew',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      "X-Timestamp is not unix seconds or is too far from the hub's clock. Sign again with the current time; `errors` gives the expected format, or the difference in seconds.",
  },
  forbidden: {
    status: 403,
    title: 'Forbidden',
    detail: 'forbidden',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The token is valid but not allowed on this route.',
  },
  not_found: {
    status: 404,
    title: 'Not found',
    detail: 'not found',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'No such route (paths are case sensitive, and a trailing slash is another path), or no such transaction for this partner.',
  },
  method_not_allowed: {
    status: 405,
    title: 'Method not allowed',
    detail: 'method not allowed',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The path does not support this method; `Allow` lists those it does.',
  },
  unknown_reference: {
    status: 404,
    title: 'Unknown reference',
    detail: 'unknown reference/correlation',
    retryable: true,
    outcome: 'not_applied',
    meaning:
      'A callback names a refId and correlationId that the hub never sent. The body is stored and matched again later.',
  },
  outbox_record_not_found: {
    status: 404,
    title: 'Outbox record not found',
    detail: 'outbox record not found',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The outbox has no record with this id.',
  },
  idempotency_key_reused: {
    status: 409,
    title: 'Idempotency conflict',
    detail: 'idempotency conflict',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The Idempotency-Key was already used with another route or body. This request had no effect.',
  },
  reference_reused: {
    status: 409,
    title: 'Reference reused',
    detail: 'idempotency conflict',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'The refId was already used by this player in the same direction with other data. This request had no effect.',
  },
  transaction_rolled_back: {
    status: 409,
    title: 'Transaction rolled back',
    detail: 'transaction was rolled back',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'A rollback of this debit was accepted before the debit arrived. It is never sent to the operator.',
  },
  wrong_operator: {
    status: 409,
    title: 'Wrong operator',
    detail: 'the debit belongs to another operator',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      "The rollback used one operator's token, but the debit was made at another. Nothing was rolled back: use that operator's token.",
  },
  round_closed: {
    status: 409,
    title: 'Round closed',
    detail: 'round is closed',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'A debit on a completed round, or a rollback of a debit whose round already has a credit.',
  },
  not_parked: {
    status: 409,
    title: 'Not parked',
    detail: 'transaction is not parked',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'Only a parked transaction can be resolved manually; this one is settled or still being delivered.',
  },
  money_in_flight: {
    status: 409,
    title: 'Money in flight',
    detail: 'money may still be booked',
    retryable: true,
    outcome: 'not_applied',
    meaning:
      'A request whose response was lost may still be booked by the operator, so the outcome cannot be decided yet. Retry after Retry-After.',
  },
  callback_mismatch: {
    status: 409,
    title: 'Callback mismatch',
    detail: 'callback contradicts the transaction',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'A callback names a known transaction but another player, amount, currency or event. It is stored as an incident and changes nothing.',
  },
  unknown_status_word: {
    status: 422,
    title: 'Unknown status word',
    detail: 'status is not one of the configured status words',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      "A callback matches its movement, but its status is not in the operator's status_words. It is stored and changes nothing; `errors` lists the words.",
  },
  replay_refused: {
    status: 409,
    title: 'Replay refused',
    detail: 'replay would move money twice',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'The transaction was settled as not applied and the RGS was notified, or the operator is not idempotent. A new debit is needed.',
  },
  run_state_conflict: {
    status: 409,
    title: 'Run state conflict',
    detail: 'operation not allowed in the current state of the run',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'A report of a run that is not sealed, a cancellation of a finished run, or a retry of a run that did not fail. `detail` names the state.',
  },
  report_too_long: {
    status: 409,
    title: 'Report too long',
    detail: 'a sheet holds 1048575 rows',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The run has more items than a sheet has rows. Use report.csv.',
  },
  exception_state_conflict: {
    status: 409,
    title: 'Exception state conflict',
    detail: 'operation not allowed in the current state of the exception',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'The action is not allowed in the current state of the exception, or its retry limit is reached. `detail` says which.',
  },
  second_person_required: {
    status: 409,
    title: 'Second person required',
    detail: 'another person must confirm this',
    retryable: false,
    outcome: 'not_applied',
    meaning:
      'The amount is above the limit (or unknown), and this person already requested it. Another person must confirm with their own token.',
  },
  selection_changed: {
    status: 409,
    title: 'Selection changed',
    detail: 'the filter now selects a different number of exceptions',
    retryable: true,
    outcome: 'not_applied',
    meaning: 'Exceptions were opened or closed since the dry run. Run it again.',
  },
  payload_too_large: {
    status: 413,
    title: 'Payload too large',
    detail: 'body larger than 64 KiB',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The body is over 64 KiB.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'Unsupported media type',
    detail: 'content type must be application/json',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The body must be application/json in UTF-8 without content encoding.',
  },
  unsupported_currency: {
    status: 422,
    title: 'Unsupported currency',
    detail: 'unsupported currency',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The currency is not enabled for this partner.',
  },
  validation_failed: {
    status: 422,
    title: 'Validation failed',
    detail: 'validation failed',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'A field or parameter is missing, unknown or out of range; `errors` names each.',
  },
  headers_too_large: {
    status: 431,
    title: 'Request header fields too large',
    detail: 'headers too large',
    retryable: false,
    outcome: 'not_applied',
    meaning: 'The request headers are over 16 KiB.',
  },
  internal_error: {
    status: 500,
    title: 'Internal error',
    detail: 'internal error',
    retryable: true,
    outcome: 'unknown',
    meaning: 'A bug in the hub. Retry with the same Idempotency-Key and refId: that is always safe.',
  },
  upstream_failed: {
    status: 502,
    title: 'Upstream failed',
    detail: "a partner's list could not be read",
    retryable: true,
    outcome: 'not_applied',
    meaning:
      'Reconciliation could not read the complete list of the RGS or the operator; no report is made from a partial list.',
  },
  store_unavailable: {
    status: 503,
    title: 'Store unavailable',
    detail: 'store unavailable',
    retryable: true,
    outcome: 'unknown',
    meaning:
      'The database is unreachable or the queue of waiting requests is full. Retry after Retry-After with the same Idempotency-Key and refId.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

export interface FieldViolation {
  readonly field: string;
  readonly message: string;
}

/** RFC 9457 problem document, as it goes over the wire. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  retryable: boolean;
  outcome: Outcome;
  correlationId?: string;
  errors?: readonly FieldViolation[];
}

interface HubErrorOptions {
  readonly detail?: string;
  readonly errors?: readonly FieldViolation[];
  readonly correlationId?: string;
  readonly outcome?: Outcome;
  readonly retryAfterSeconds?: number;
  /** Methods that the path has, for method_not_allowed. */
  readonly allow?: readonly string[];
  readonly cause?: unknown;
}

/** The only error the hub's own code throws deliberately to a caller. */
export class HubError extends Error {
  constructor(
    readonly code: ErrorCode,
    readonly options: HubErrorOptions = {},
  ) {
    super(options.detail ?? ERROR_CATALOGUE[code].detail, { cause: options.cause });
    this.name = 'HubError';
  }

  get status(): number {
    return ERROR_CATALOGUE[this.code].status;
  }

  toProblem(): Problem {
    const entry = ERROR_CATALOGUE[this.code];
    return {
      type: `urn:integration-hub:problem:${this.code}`,
      title: entry.title,
      status: entry.status,
      detail: this.message,
      code: this.code,
      retryable: entry.retryable,
      outcome: this.options.outcome ?? entry.outcome,
      ...(this.options.correlationId === undefined ? {} : { correlationId: this.options.correlationId }),
      ...(this.options.errors === undefined ? {} : { errors: this.options.errors }),
    };
  }
}

/** Message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
