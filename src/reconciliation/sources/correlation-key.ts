import { hash } from 'node:crypto';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** Place of the version digit in a UUID's text. */
const VERSION_AT = 14;

/**
 * 16 bytes under which the rows of one movement meet: the UUID itself, else the first 16 bytes of the id's SHA-256 with version 8. A UUID
 * that has version 8 itself is hashed, too: else an outsider could choose it to be the key of somebody else's id. Not md5, of which
 * collisions can be made, and not the text, whose comparison costs the match five times as much.
 */
export function correlationKey(correlationId: string): Buffer {
  if (correlationId.length === 36 && correlationId[VERSION_AT] !== '8' && UUID.test(correlationId)) return Buffer.from(correlationId.replaceAll('-', ''), 'hex');
  const key = hash('sha256', correlationId, 'buffer').subarray(0, 16);
  key[6] = 0x80 | ((key[6] ?? 0) & 0x0f);
  key[8] = 0x80 | ((key[8] ?? 0) & 0x3f);
  return key;
}
