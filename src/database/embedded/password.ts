import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Home } from './home';
import { OR_SET_URL } from './options';

export function newPassword(): string {
  // Needs no escaping in URLs and quotes.
  return randomBytes(32).toString('base64url');
}

export function passwordUnknown(home: Home): string {
  return (
    `${home.record} does not hold the password of ${home.cluster}. ` +
    'Put the file back, or delete it: the next start of a stopped server sets a new password.'
  );
}

/**
 * Release 0.1.0 let every user of the machine in, over TCP and as superuser. No later release takes over its tables.
 * Checked before anything is changed: with a password, that release could not start on its folder any more.
 */
export function refuseFolderOf010(home: Home): void {
  const lines = fs.readFileSync(path.join(home.cluster, 'pg_hba.conf'), 'utf8').split('\n');
  if (!lines.some((line) => TRUSTING_LINE.test(line))) return;
  throw new Error(
    `${home.cluster} was made by release 0.1.0, whose data no later release carries over, and nothing was changed: ` +
      'choose another DATA_DIR, and keep this one with release 0.1.0 for as long as its records are needed. ' +
      OR_SET_URL,
  );
}

/** The method is the last word of a line. */
const TRUSTING_LINE = /^[^#]*\strust\s*(?:#.*)?$/;
