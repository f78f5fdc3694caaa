import { createHash, createHmac } from 'node:crypto';

export interface BoundParts {
  readonly timestamp: string;
  readonly method: string;
  readonly host: string;
  readonly target: string;
  readonly idempotencyKey?: string;
  readonly operator?: string;
  readonly body?: string | Buffer;
}

/** Version 2 of the signature, written from docs/integration.md and on purpose not imported from src. */
export function boundSignatureOf(
  secret: string,
  { timestamp, method, host, target, idempotencyKey = '', operator = '', body = '' }: BoundParts,
): string {
  const digest = createHash('sha256').update(body).digest('hex');
  return createHmac('sha256', secret)
    .update(`hub-v2\n${timestamp}\n${method}\n${host}\n${target}\n${idempotencyKey}\n${operator}\n${digest}`)
    .digest('hex');
}

export function boundHeader(secret: string, parts: BoundParts, kid = 'env'): string {
  return `t=${parts.timestamp},kid=${kid},v2=${boundSignatureOf(secret, parts)}`;
}
