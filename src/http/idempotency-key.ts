import { hash } from 'node:crypto';
import { HubError } from '../kernel/errors';

/** In bytes: that is what Node makes the characters of a header's value. */
export const IDEMPOTENCY_KEY_LENGTH_MAX = 255;

/** The header's value; undefined when it was not sent. Throws validation_failed for one that is empty or too long. */
export function checkedIdempotencyKey(key: string | undefined): string | undefined {
  if (key !== undefined && (key.length < 1 || key.length > IDEMPOTENCY_KEY_LENGTH_MAX))
    throw new HubError('validation_failed', {
      errors: [
        {
          field: 'Idempotency-Key',
          message: `Idempotency-Key must have 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} bytes (a letter outside ASCII has several); this one has ${key.length}`,
        },
      ],
    });
  return key;
}

/**
 * What a repeat must repeat, as hex SHA-256: the route ("POST /wallet/debit"), the operator whose wallet is meant, and
 * the body as received. The operator is null for the pair of the environment, whose keys of before must stay what they
 * are.
 */
export function requestFingerprint(route: string, operatorCode: string | null, rawBody: Buffer): string {
  return hash(
    'sha256',
    Buffer.concat([
      Buffer.from(operatorCode === null ? `${route}\n` : `${route} ${JSON.stringify(operatorCode)}\n`),
      rawBody,
    ]),
    'hex',
  );
}
