import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * HMAC over what was sent, byte for byte. A body that was parsed and written again would verify only for partners whose JSON writer
 * agrees with ours in every space and zero.
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
  // No early exit: which of two live keys matched is nobody's business.
  for (const key of keys) matched = timingSafeEqual(given, Buffer.from(createHmac('sha256', key).update(signed).digest('hex'))) || matched;
  return matched;
}

/** `webhook-signature` of the Standard Webhooks specification: one "v1," entry per live key, separated by spaces. */
export function standardWebhookSignature(keys: readonly string[], id: string, timestamp: string, body: string): string {
  return keys.map((key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`).join(' ');
}
