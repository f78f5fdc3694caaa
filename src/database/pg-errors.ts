import { HubError } from '../kernel/errors';

/** SQLSTATEs that the hub tells apart. Source: PostgreSQL, appendix A. */
const UNIQUE_VIOLATION = '23505';
/** Class 08 connection exceptions, 53300 too many connections, 57P01-03 shutting down or starting up. */
const UNAVAILABLE = /^(08...|53300|57P0[1-3])$/;
const SOCKET_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);
/**
 * node-postgres gives no code for a connection that it lost or could not get in time, only these texts. TypeORM lets go of a connection
 * that breaks between two statements of a transaction, and then says of the next that its runner was released.
 */
const LOST_CONNECTION = /Connection terminated|Query runner already released|timeout exceeded when trying to connect|Client was closed|not queryable|Connection ended|Driver not Connected|after calling end on the pool/;

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

/** A deadlock or a serialization failure: everything was rolled back, and the same work may well succeed now. */
export function isTransient(error: unknown): boolean {
  return /^40(001|P01)$/.test(property(error, 'code') ?? '');
}

/** A lock was not to be had within lock_timeout. */
export function isLockTimeout(error: unknown): boolean {
  return property(error, 'code') === '55P03';
}

/** Whether the database could not be reached or went away; the statement may or may not have been committed. */
export function isStoreUnavailable(error: unknown): boolean {
  const code = property(error, 'code');
  if (code !== undefined && (UNAVAILABLE.test(code) || SOCKET_CODES.has(code))) return true;
  return error instanceof Error && LOST_CONNECTION.test(error.message);
}

/** 503 for the caller when the store is away, the error itself otherwise. */
export function asStoreUnavailable(error: unknown): unknown {
  return isStoreUnavailable(error) || isTransient(error) ? new HubError('store_unavailable', { retryAfterSeconds: 1, cause: error }) : error;
}
