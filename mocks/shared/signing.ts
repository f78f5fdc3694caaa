import { createHmac, timingSafeEqual } from 'node:crypto';

/** How far a partner's clock may be off, in seconds; the contract's default. */
const SKEW_SECONDS_MAX = 300;

/** The two texts the contract has for a request that cannot prove who sent it. */
export type SignatureFault = 'invalid signature' | 'timestamp skew';

export interface SignedRequest {
  /** `X-Timestamp`, unix seconds as text. */
  timestamp: string | undefined;
  /** `X-Signature`, 64 lower-case hex digits. */
  signature: string | undefined;
  /** The body's bytes as they came in; empty when there was none. */
  rawBody: Buffer;
}

/** HMAC_SHA256(secret, timestamp + ":" + raw body bytes) in lower-case hex. */
export function sign(secret: string, timestamp: string, rawBody: Buffer | string): string {
  return createHmac('sha256', secret).update(`${timestamp}:`).update(rawBody).digest('hex');
}

/** The headers of a call that leaves now: `X-Timestamp` and `X-Signature`. */
export function signatureHeaders(
  secret: string,
  rawBody: Buffer | string,
): Record<'X-Timestamp' | 'X-Signature', string> {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  return { 'X-Timestamp': timestamp, 'X-Signature': sign(secret, timestamp, rawBody) };
}

/**
 * Says what is wrong with a request's signature, or null.
 * When signatures are not required, a request without either header passes; headers that are there are still checked.
 */
export function signatureFault(request: SignedRequest, secret: string, required: boolean): SignatureFault | null {
  const { timestamp, signature, rawBody } = request;
  if (timestamp === undefined && signature === undefined && !required) return null;
  if (timestamp === undefined || signature === undefined) return 'invalid signature';
  if (!/^\d{1,12}$/.test(timestamp)) return 'timestamp skew';
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > SKEW_SECONDS_MAX) return 'timestamp skew';
  // The form is checked first: timingSafeEqual throws on a length it did not expect.
  if (!/^[0-9a-f]{64}$/.test(signature)) return 'invalid signature';
  const expected = sign(secret, timestamp, rawBody);
  return timingSafeEqual(Buffer.from(signature), Buffer.from(expected)) ? null : 'invalid signature';
}
