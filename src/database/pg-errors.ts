import { HubError } from '../kernel/errors';

/** SQLSTATEs that the hub tells apart. Source: PostgreSQL, appendix A. */
const UNIQUE_VIOLATION = '23505';
/**
 * States in which the server did nothing wrong and could do nothing right, so a caller may repeat: the connection (08),
 * a server that only reads (25006), a session that the server ended by its time-outs (25P03, 25P04), an account or
 * database that is not there now (28, 3D000), a prepared statement that a pooler or a reset lost (26000, 42P05), a
 * commit whose end is not known (40000, 40003), resources (53), a lock that was not to be had (55P03), cancelled or
 * ended by an operator (57), the machine below (58).
 */
const UNAVAILABLE = /^(08...|25006|25P0[34]|26000|28...|3D000|40000|40003|42P05|53...|55P03|57...|58...)$/;
/** Of those: the session is over, leads to the wrong server, or does not know what the driver believes it knows. */
const FATAL = /^(08...|25006|25P0[34]|26000|28...|3D000|40003|42P05|57P..|58...)$/;
const SOCKET_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
/**
 * node-postgres gives no code for a connection that it lost or could not get in time, only these texts. TypeORM lets go
 * of a connection that breaks between two statements of a transaction, and then says of the next that its runner was
 * released.
 */
const LOST_CONNECTION = new RegExp(
  [
    'Connection terminated',
    'Query runner already released',
    'timeout exceeded when trying to connect',
    'Client was closed',
    'not queryable',
    'Connection ended',
    'Driver not Connected',
    'after calling end on the pool',
  ].join('|'),
);

/** A statement reached its limit, and its connection was given up. Whether it was carried out is not known. */
export class StatementTimeoutError extends Error {
  readonly code = 'HUB_STATEMENT_TIMEOUT';

  constructor(limitMs: number) {
    super(`no answer from the database within ${limitMs / 1000} s`);
    this.name = 'StatementTimeoutError';
  }
}

/** Nothing was sent: the database does not answer others either. */
export class StoreAwayError extends Error {
  readonly code = 'HUB_STORE_AWAY';

  constructor(forMs: number) {
    super(`the database does not answer${forMs === 0 ? '' : ` for ${(forMs / 1000).toFixed(1)} s`}`);
    this.name = 'StoreAwayError';
  }
}

/** The address leads to a server that cannot be written to. */
export class WrongServerError extends Error {
  readonly code = 'HUB_WRONG_SERVER';

  constructor() {
    super('the address of the database leads to a standby');
    this.name = 'WrongServerError';
  }
}

/** Committed on one machine: the wait for the standby was cancelled, and the server reports success with a warning. */
export class NotReplicatedError extends Error {
  readonly code = 'HUB_NOT_REPLICATED';

  constructor() {
    super('the commit did not wait for a standby');
    this.name = 'NotReplicatedError';
  }
}

const OWN_CODES = new Set(['HUB_STATEMENT_TIMEOUT', 'HUB_STORE_AWAY', 'HUB_WRONG_SERVER', 'HUB_NOT_REPLICATED']);

function property(error: unknown, name: 'code' | 'constraint'): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const value: unknown = (error as Record<string, unknown>)[name];
  return typeof value === 'string' ? value : undefined;
}

export function isUniqueViolation(error: unknown, constraint: string): boolean {
  return property(error, 'code') === UNIQUE_VIOLATION && property(error, 'constraint') === constraint;
}

/** Classes 22 and 23: the data of this very statement is at fault, so the same rows alone may behave otherwise. */
export function isDataError(error: unknown): boolean {
  return /^2[23]/.test(property(error, 'code') ?? '');
}

/**
 * A role or a database allows sessions or transactions so little time that the server ended this one before the hub
 * could set its own limits: nothing was sent in it, and another may begin in time.
 */
export class SessionNotBegunError extends Error {
  private constructor(
    readonly code: string,
    cause: unknown,
  ) {
    super('the server ended the session before it began', { cause });
    this.name = 'SessionNotBegunError';
  }

  /** Undefined when the session ended for another reason. */
  static of(error: unknown): SessionNotBegunError | undefined {
    const code = property(error, 'code') ?? '';
    return ['57P05', '25P04'].includes(code) ? new SessionNotBegunError(code, error) : undefined;
  }
}

/**
 * A deadlock, a serialization failure, or a session that did not begin: nothing was written, and the same work may well
 * succeed now.
 */
export function isTransient(error: unknown): boolean {
  return error instanceof SessionNotBegunError || /^40(001|P01)$/.test(property(error, 'code') ?? '');
}

/** The role has no right to do this. */
export function isPermissionDenied(error: unknown): error is Error {
  return error instanceof Error && property(error, 'code') === '42501';
}

/** A lock was not to be had within lock_timeout. */
export function isLockTimeout(error: unknown): boolean {
  return property(error, 'code') === '55P03';
}

/** Whether a connection on which the server said this must not be used again. */
export function isFatalToConnection(code: string): boolean {
  return FATAL.test(code);
}

/** Whether the store gave no answer in time; who stands behind the statement that waited for it would wait as long. */
export function isStoreSilent(error: unknown): boolean {
  const code = property(error, 'code');
  return code === 'HUB_STATEMENT_TIMEOUT' || code === 'HUB_STORE_AWAY';
}

/** Whether the database could not be reached or went away; the statement may or may not have been committed. */
export function isStoreUnavailable(error: unknown): boolean {
  const code = property(error, 'code');
  if (code !== undefined && (UNAVAILABLE.test(code) || SOCKET_CODES.has(code) || OWN_CODES.has(code))) return true;
  return error instanceof Error && LOST_CONNECTION.test(error.message);
}

/** 503 for the caller when the store is away, the error itself otherwise. */
export function asStoreUnavailable(error: unknown): unknown {
  return isStoreUnavailable(error) || isTransient(error)
    ? new HubError('store_unavailable', { retryAfterSeconds: 1, cause: error })
    : error;
}
