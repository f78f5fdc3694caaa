import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Home } from './home';

export function newPassword(): string {
  // Stands in URLs and in quotes as it is.
  return randomBytes(32).toString('base64url');
}

export function passwordUnknown(home: Home): string {
  return (
    `${home.record} does not hold the password of ${home.cluster}. ` +
    'Put the file back, or delete it: the next start of a stopped server sets a new password.'
  );
}

/** Releases before this one let every user of the machine in, over TCP and as superuser. */
export function isOpen(home: Home): boolean {
  return fs
    .readFileSync(accessFileOf(home), 'utf8')
    .split('\n')
    .some((line) => TRUSTING_LINE.test(line));
}

/** As in pg_hba.conf, whose method is the last word of a line. */
export const TRUSTING_LINE = /^([^#]*\s)trust(\s*(?:#.*)?)$/;

export function accessFileOf(home: Home): string {
  return path.join(home.cluster, 'pg_hba.conf');
}
