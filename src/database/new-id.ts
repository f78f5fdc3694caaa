import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const RANDOM_BYTES = 16;
/**
 * The library asks the system for its randomness once per id, which costs four times the rest of the id; a debit needs
 * two.
 */
const random = Buffer.alloc(256 * RANDOM_BYTES);
const own = Buffer.alloc(RANDOM_BYTES);
let used = random.length;
let latestMs = 0;
let sequence = 0;

/**
 * A UUIDv7, later than every other of this process: within a millisecond the sequence counts on (RFC 9562, 6.2, method
 * 1).
 */
export function newId(): string {
  if (used === random.length) {
    randomFillSync(random);
    used = 0;
  }
  used += random.copy(own, 0, used, used + RANDOM_BYTES);
  const now = Date.now();
  if (now > latestMs) {
    latestMs = now;
    // 31 random bits at first, so that the 32 of the sequence do not run over; the id takes its other bits from byte 10
    // on.
    sequence = own.readUInt32BE(6) >>> 1;
  } else sequence += 1;
  return v7({ random: own, msecs: latestMs, seq: sequence });
}
