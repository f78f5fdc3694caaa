import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { functionFiles } from '../../src/database/function-files';

interface Release {
  readonly release: string;
  /** File to SHA-256. */
  readonly migrations: Readonly<Record<string, string>>;
  /** Over the files in src/database/functions that the release's last migration writes. */
  readonly functions: string;
}

const FOLDER = path.resolve(__dirname, '../../src/database/migrations');
const RELEASES = JSON.parse(readFileSync(path.join(__dirname, 'migration-files.json'), 'utf8')) as Release[];
const LAST = RELEASES.at(-1);

const sha256 = (...texts: string[]): string => {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(text);
  return hash.digest('hex');
};

describe('migration-files.json', () => {
  // A database has run it already and will never run it again: change the schema with a migration of its own.
  it('has each migration as it was when its release listed it: it never changes', () => {
    const files = readdirSync(FOLDER).sort();
    const found = files.map((file) => [file, sha256(readFileSync(path.join(FOLDER, file), 'utf8'))]);
    expect(found).toEqual(RELEASES.flatMap(({ migrations }) => Object.entries(migrations)));
  });

  it('ends each release with one migration that writes the functions', () => {
    expect(LAST).toBeDefined();
    for (const { release, migrations } of RELEASES) {
      const writers = Object.keys(migrations).filter((file) => file.endsWith('-functions.ts'));
      expect([release, writers]).toEqual([release, Object.keys(migrations).slice(-1)]);
    }
  });

  // A function file is written by a migration, and a database runs each migration once. So when a file has changed
  // since the last release, the next release needs a migration that ends in -functions, and an entry here with the new
  // SHA-256.
  it('has the SQL functions as its last release writes them', () => {
    const found = sha256(...functionFiles().flatMap(({ name, sql }) => [name, '\0', sql, '\0']));
    expect(found).toBe(LAST?.functions);
  });
});
