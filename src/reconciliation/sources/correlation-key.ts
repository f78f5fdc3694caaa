import { createHash, hash } from 'node:crypto';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** Place of the version digit in a UUID's text. */
const VERSION_AT = 14;

/**
 * UUID under which the rows of one movement meet, as text for Postgres: the id itself if it is one, else the first 16 bytes of the id's
 * SHA-256 with version 8. A UUID that has version 8 itself is hashed, too: else an outsider could choose it to be the key of another's
 * id. Not md5, of which collisions can be made, and not the id's text, whose comparison costs the match five times as much.
 */
export function correlationKey(correlationId: string): string {
  if (correlationId.length === 36 && correlationId[VERSION_AT] !== '8' && UUID.test(correlationId))
    return correlationId.toLowerCase();
  return hashedKey(hash('sha256', correlationId, 'buffer'));
}

/** Key of the booking that undoes a debit. Debit and reversal share their correlation id, and one without the other is what finance must see. */
export function undoKey(key: string): string {
  return hashedKey(createHash('sha256').update('undo').update(key.replaceAll('-', ''), 'hex').digest());
}

/** Without the dashes, which Postgres does not need. */
function hashedKey(sha256: Buffer): string {
  sha256[6] = 0x80 | ((sha256[6] ?? 0) & 0x0f);
  sha256[8] = 0x80 | ((sha256[8] ?? 0) & 0x3f);
  return sha256.toString('hex', 0, 16);
}
