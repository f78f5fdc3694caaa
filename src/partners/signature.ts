import { createHmac, hash, timingSafeEqual } from 'node:crypto';

/**
 * HMAC over what was sent, byte for byte. A body that was parsed and written again would verify only for partners whose
 * JSON writer agrees with ours in every space and zero.
 */
export function sign(secret: string, timestamp: string, body: Buffer | string): string {
  return createHmac('sha256', secret).update(`${timestamp}:`).update(body).digest('hex');
}

/** True when `signature` (lower-case hex) was made with any of the keys. Constant time in the signature's content. */
export function verify(keys: readonly string[], timestamp: string, body: Buffer, signature: string): boolean {
  if (!/^[0-9a-f]{64}$/.test(signature)) return false;
  const given = Buffer.from(signature);
  const signed = Buffer.concat([Buffer.from(`${timestamp}:`), body]);
  let matched = false;
  // No early exit: which of two live keys matched stays private.
  for (const key of keys)
    matched = timingSafeEqual(given, Buffer.from(createHmac('sha256', key).update(signed).digest('hex'))) || matched;
  return matched;
}

/** A live key of a partner, with the name that tells it from the others. */
export interface SigningKey {
  readonly kid: string;
  readonly secret: string;
}

/** Everything that version 2 of the signature binds a request to. */
export interface BoundRequest {
  /** Unix seconds. */
  readonly timestamp: string;
  readonly method: string;
  /** With its port where that is not the scheme's own, in lower case. */
  readonly host: string;
  /** Path and query as they go over the wire. */
  readonly target: string;
  /** As in its header; empty when there is none. */
  readonly idempotencyKey: string;
  /** Code of the operator that the request names; empty when it names none. */
  readonly operator: string;
  readonly body: Buffer | string;
}

function boundSignature(
  secret: string,
  { timestamp, method, host, target, idempotencyKey, operator, body }: BoundRequest,
): string {
  const text = ['hub-v2', timestamp, method, host, target, idempotencyKey, operator, hash('sha256', body, 'hex')].join(
    '\n',
  );
  // Header values are bytes, which Node hands out one character each.
  return createHmac('sha256', secret).update(text, 'latin1').digest('hex');
}

/** Value of `X-Signature-V2`. */
export function signBound({ kid, secret }: SigningKey, request: BoundRequest): string {
  return `t=${request.timestamp},kid=${kid},v2=${boundSignature(secret, request)}`;
}

/** Parts of `X-Signature-V2`; null for a value of another form. */
export function parseBound(
  header: string,
): { readonly timestamp: string; readonly kid: string; readonly signature: string } | null {
  const match = /^t=(\d{1,12}),kid=([\x21-\x2b\x2d-\x7e]{1,192}),v2=([0-9a-f]{64})$/.exec(header);
  return match === null ? null : { timestamp: match[1] ?? '', kid: match[2] ?? '', signature: match[3] ?? '' };
}

/**
 * True when `signature` (64 lower-case hex digits) is that of the request. Constant time in the signature's content.
 */
export function verifyBound(secret: string, request: BoundRequest, signature: string): boolean {
  return timingSafeEqual(Buffer.from(signature), Buffer.from(boundSignature(secret, request)));
}

/** `webhook-signature` of the Standard Webhooks specification: one "v1," entry per live key, separated by spaces. */
export function standardWebhookSignature(keys: readonly string[], id: string, timestamp: string, body: string): string {
  return keys
    .map((key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`)
    .join(' ');
}
