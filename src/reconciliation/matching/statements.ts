import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The statements of a run's matching, in the order in which it takes them; each is a file of the folder sql. */
const NAMES = [
  '01-hub-rows',
  '02-match',
  '03-missing-hub-rows',
  '04-looked-up-rows',
  '05-candidate-rows-copied',
  '05-candidate-rows-joined',
  '06-split-keys',
  '07-run-rows',
  '08-keys',
  '09-rgs-only-keys',
  '10-operator-only-keys',
  '11-relinked-keys',
  '12-unfinished-messages',
  '13-missing-bookings',
  '14-classified',
  '15-exceptions',
  '16-cleared-exceptions',
  '17-items',
  '18-candidate-totals',
  '19-matched-totals',
  '20-summary-of-candidates',
  '21-summary-of-implied',
  '22-summary-of-matched',
  '23-unbalanced-cells',
  '24-item-counts',
] as const;
export type StatementName = (typeof NAMES)[number];

/** Read when the program starts: a build without one of them does not start. */
const TEXTS = new Map(NAMES.map((name) => [name, readFileSync(path.join(__dirname, 'sql', `${name}.sql`), 'utf8')]));

/** A statement for the staging tables of a slot; `part` is the suffix of one partition of them, for the one that works on parts. */
export function statement(name: StatementName, slot: number, part = ''): string {
  return (TEXTS.get(name) ?? '').replaceAll('{slot}', String(slot)).replaceAll('{part}', part);
}
