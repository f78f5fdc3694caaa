/**
 * The one catalogue of what can go wrong on the wire. The error filter, the OpenAPI document and the README's table all read it,
 * so a code, its HTTP status and its advice to the caller can never disagree.
 */
export type Outcome = 'applied' | 'not_applied' | 'unknown';

interface CatalogueEntry {
  readonly status: number;
  readonly title: string;
  /** Default `detail`; those of the first hub are kept word for word, since clients compare them. */
  readonly detail: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** What became of the money movement that was asked for. */
  readonly outcome: Outcome;
  /** For the README and the partner guide: when it happens and what to do. */
  readonly meaning: string;
}

export const ERROR_CATALOGUE = {
  malformed_request: { status: 400, title: 'Malformed request', detail: 'malformed request', retryable: false, outcome: 'not_applied', meaning: 'The body is not one JSON object (truncated, duplicate or forbidden keys, nested too deep, not UTF-8), or the request line or a header is not HTTP. Mend the request.' },
  unauthorized: { status: 401, title: 'Unauthorized', detail: 'Unauthorized', retryable: false, outcome: 'not_applied', meaning: 'The bearer token is missing or not known.' },
  invalid_signature: { status: 401, title: 'Invalid signature', detail: 'invalid signature', retryable: false, outcome: 'not_applied', meaning: 'X-Signature is missing or is not the HMAC of X-Timestamp, ":" and the exact body bytes, or X-Signature-V2 is wrong or missing where it is demanded. `errors` says what can be seen without the secret, and length and SHA-256 of the body as it came.' },
  signature_reused: { status: 401, title: 'Signature reused', detail: 'this signature was used for another movement', retryable: true, outcome: 'not_applied', meaning: 'The same X-Timestamp and X-Signature came with a debit before and now with a credit of the same refId, or the other way round. Sign again with the present time, or with X-Signature-V2, which is bound to its route.' },
  timestamp_skew: { status: 401, title: 'Timestamp skew', detail: 'timestamp skew', retryable: false, outcome: 'not_applied', meaning: 'X-Timestamp is not unix seconds or is too far from the hub\'s clock. Sign again with the present time; `errors` names the form, or how far it is off.' },
  forbidden: { status: 403, title: 'Forbidden', detail: 'forbidden', retryable: false, outcome: 'not_applied', meaning: 'The token is known but may not use this route.' },
  not_found: { status: 404, title: 'Not found', detail: 'not found', retryable: false, outcome: 'not_applied', meaning: 'There is no such route (paths are compared letter by letter, and a slash at the end is another path), or no such transaction for this partner.' },
  method_not_allowed: { status: 405, title: 'Method not allowed', detail: 'method not allowed', retryable: false, outcome: 'not_applied', meaning: 'The path is known, but not with this method; `Allow` names those that it has.' },
  unknown_reference: { status: 404, title: 'Unknown reference', detail: 'unknown reference/correlation', retryable: true, outcome: 'not_applied', meaning: 'A callback names a pair of refId and correlationId that the hub never sent. The body is kept and matched again later.' },
  outbox_record_not_found: { status: 404, title: 'Outbox record not found', detail: 'outbox record not found', retryable: false, outcome: 'not_applied', meaning: 'The queue holds no record with this id.' },
  idempotency_key_reused: { status: 409, title: 'Idempotency conflict', detail: 'idempotency conflict', retryable: false, outcome: 'not_applied', meaning: 'The Idempotency-Key was used before with another route or body. Nothing was done for this request.' },
  reference_reused: { status: 409, title: 'Reference reused', detail: 'idempotency conflict', retryable: false, outcome: 'not_applied', meaning: 'The refId was used before by this player for the same movement with other data. Nothing was done for this request.' },
  transaction_rolled_back: { status: 409, title: 'Transaction rolled back', detail: 'transaction was rolled back', retryable: false, outcome: 'not_applied', meaning: 'The bet was rolled back before it came. It was not sent to the operator and never will be.' },
  wrong_operator: { status: 409, title: 'Wrong operator', detail: 'the bet was taken at another operator', retryable: false, outcome: 'not_applied', meaning: 'A rollback was sent with the token of one operator, and the bet was taken at another. Nothing was undone: send it with that operator\'s token.' },
  round_closed: { status: 409, title: 'Round closed', detail: 'round is closed', retryable: false, outcome: 'not_applied', meaning: 'A debit on a completed round, or a rollback of a bet whose round has a credit already.' },
  not_parked: { status: 409, title: 'Not parked', detail: 'transaction is not parked', retryable: false, outcome: 'not_applied', meaning: 'Only a parked transaction can be resolved by hand; this one has an outcome or is still being tried.' },
  money_in_flight: { status: 409, title: 'Money in flight', detail: 'money may still be booked', retryable: true, outcome: 'not_applied', meaning: 'A call whose answer was lost may still be booked at the operator, so nobody can say yet what became of the money. Repeat after Retry-After.' },
  callback_mismatch: { status: 409, title: 'Callback mismatch', detail: 'callback contradicts the transaction', retryable: false, outcome: 'not_applied', meaning: 'A callback names a known pair but another player, amount, currency or event. It is stored as an incident and changes nothing.' },
  unknown_status_word: { status: 422, title: 'Unknown status word', detail: 'status is none of the words agreed on', retryable: false, outcome: 'not_applied', meaning: 'A callback fits its movement and says a word that is in none of the operator\'s status_words. It is stored and changes nothing; errors names the words.' },
  replay_refused: { status: 409, title: 'Replay refused', detail: 'replay would move money twice', retryable: false, outcome: 'not_applied', meaning: 'The transaction was settled as not applied and the RGS was told so, or the operator cannot recognise a repeat. A new bet is needed.' },
  run_state_conflict: { status: 409, title: 'Run state conflict', detail: 'the run is not in a state for this', retryable: false, outcome: 'not_applied', meaning: 'A report of a reconciliation run that is not sealed, a cancellation of one that has ended, or a repeat of one that did not fail. `detail` names the state.' },
  report_too_long: { status: 409, title: 'Report too long', detail: 'a sheet holds 1048575 rows', retryable: false, outcome: 'not_applied', meaning: 'The run has more items than a sheet has rows. Take report.csv.' },
  exception_state_conflict: { status: 409, title: 'Exception state conflict', detail: 'the exception is not in a state for this', retryable: false, outcome: 'not_applied', meaning: 'The action does not fit the state of the exception, or was tried as often as it may be. `detail` says which.' },
  second_person_required: { status: 409, title: 'Second person required', detail: 'another person must confirm this', retryable: false, outcome: 'not_applied', meaning: 'The amount is above the limit (or not known), and this person has asked for the same already. Another person must do it with a token of their own.' },
  selection_changed: { status: 409, title: 'Selection changed', detail: 'the filter selects another number of exceptions now', retryable: true, outcome: 'not_applied', meaning: 'Between the dry run and the act exceptions were opened or closed. Look again.' },
  payload_too_large: { status: 413, title: 'Payload too large', detail: 'body larger than 64 KiB', retryable: false, outcome: 'not_applied', meaning: 'The body is over 64 KiB.' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type', detail: 'content type must be application/json', retryable: false, outcome: 'not_applied', meaning: 'The body is not application/json in UTF-8 without content encoding.' },
  unsupported_currency: { status: 422, title: 'Unsupported currency', detail: 'unsupported currency', retryable: false, outcome: 'not_applied', meaning: 'The currency is not in the partner\'s list.' },
  validation_failed: { status: 422, title: 'Validation failed', detail: 'validation failed', retryable: false, outcome: 'not_applied', meaning: 'A field or parameter is missing, unknown or out of range; `errors` names each.' },
  headers_too_large: { status: 431, title: 'Request header fields too large', detail: 'headers too large', retryable: false, outcome: 'not_applied', meaning: 'The request headers are over 16 KiB.' },
  internal_error: { status: 500, title: 'Internal error', detail: 'internal error', retryable: true, outcome: 'unknown', meaning: 'A fault of the hub. Repeat with the same Idempotency-Key and refId: that is always safe.' },
  upstream_failed: { status: 502, title: 'Upstream failed', detail: 'a partner\'s list could not be read', retryable: true, outcome: 'not_applied', meaning: 'The reconciliation could not read the RGS or the operator to the end; no file is made from half a list.' },
  store_unavailable: { status: 503, title: 'Store unavailable', detail: 'store unavailable', retryable: true, outcome: 'unknown', meaning: 'The database cannot be reached or the queue of waiting requests is full. Repeat after Retry-After with the same Idempotency-Key and refId.' },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

export interface FieldFault {
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
  errors?: readonly FieldFault[];
}

interface HubErrorOptions {
  readonly detail?: string;
  readonly errors?: readonly FieldFault[];
  readonly correlationId?: string;
  readonly outcome?: Outcome;
  readonly retryAfterSeconds?: number;
  /** Methods that the path has, for method_not_allowed. */
  readonly allow?: readonly string[];
  readonly cause?: unknown;
}

/** The only error that the hub's own code throws on purpose towards a caller. */
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
