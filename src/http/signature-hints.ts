import { hash } from 'node:crypto';
import type { FieldViolation } from '../kernel/errors';

const EXPECTED = '64 lower-case hex digits are expected';

/**
 * What is wrong with an X-Signature that did not verify, as far as its form shows. Nothing here may depend on the
 * secret: a hint that did would let a stranger try.
 */
export function signatureHint(signature: string): string {
  if (signature === '') return `X-Signature is empty; ${EXPECTED}`;
  if (/^[0-9a-f]{64}$/.test(signature))
    return 'X-Signature has the right form but is not HMAC_SHA256(secret, X-Timestamp + ":" + body). Was the body serialised again after signing, or is it signed without timestamp and colon? Its bytes as received are described below';
  if (signature.includes(',')) return `X-Signature holds several values; ${EXPECTED}, once`;
  if (/^[A-Za-z0-9_-]{1,20}[=:]./.test(signature)) return `X-Signature has a prefix; ${EXPECTED} and nothing else`;
  if (/^[0-9A-Fa-f]{64}$/.test(signature)) return `X-Signature has upper-case letters; ${EXPECTED}`;
  if (/^[0-9A-Fa-f]+$/.test(signature)) return `X-Signature has ${signature.length} hex digits; ${EXPECTED}`;
  if (/^[A-Za-z0-9+/_-]{42,44}={0,2}$/.test(signature)) return `X-Signature looks like base64; ${EXPECTED}`;
  return `X-Signature is not hex; ${EXPECTED}`;
}

/** Why a timestamp was not taken. */
export function timestampHint(field: string, timestamp: string, nowSeconds: number, allowedSeconds: number): string {
  const expected = `unix seconds are expected; the hub's clock says ${nowSeconds}`;
  if (timestamp === '') return `${field} is empty; ${expected}`;
  if (/^\d{13}$/.test(timestamp)) return `${field} looks like milliseconds; ${expected}`;
  if (/^\d{4}-\d\d-\d\d/.test(timestamp)) return `${field} looks like a date; ${expected}`;
  if (timestamp.includes(',')) return `${field} holds several values; ${expected}`;
  if (!/^\d{1,12}$/.test(timestamp)) return `${field} is not a row of digits; ${expected}`;
  const off = Number(timestamp) - nowSeconds;
  return `${field} is ${Math.abs(off)} s ${off < 0 ? 'behind' : 'ahead of'} the hub's clock, which says ${nowSeconds}; at most ${allowedSeconds} s are allowed`;
}

/** Length and SHA-256 of the body's bytes as received: a caller that signed other bytes sees it immediately. */
export function bodyFact(body: Buffer): FieldViolation {
  return { field: 'body', message: `${body.length} bytes came, SHA-256 ${hash('sha256', body, 'hex')}` };
}
