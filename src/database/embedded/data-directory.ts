import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { majorVersion } from './binaries';
import { readLock } from './file-lock';
import { changeRecord, Home } from './home';
import { type Log, OR_SET_URL, SUPERUSER } from './options';
import { newPassword } from './password';
import { isAlive, run, self } from './processes';
import type { Runner } from './server-user';

/**
 * initdb writes into a directory of its own that is renamed when complete, so that `postgres/` is either whole or not
 * there, whenever the process is killed.
 */
export async function makeCluster(
  native: string,
  home: Home,
  runner: Runner,
  settings: Readonly<Record<string, string>>,
  log: Log,
): Promise<void> {
  for (const name of fs.readdirSync(home.directory)) {
    const file = path.join(home.directory, name);
    // A killed initdb left it, or one that lost its parent is still writing; either way it will not be used.
    if (name.startsWith('postgres.new-')) fs.rmSync(file, { recursive: true, force: true, maxRetries: 5 });
    // What a process left that was killed while it waited for the lock.
    if (name.startsWith('postgres.lock.') && !isAlive(readLock(file) ?? self())) fs.rmSync(file, { force: true });
  }

  const versionFile = path.join(home.cluster, 'PG_VERSION');
  const isWhole = fs.existsSync(versionFile) && fs.existsSync(path.join(home.cluster, 'global', 'pg_control'));
  if (isWhole) {
    const made = fs.readFileSync(versionFile, 'utf8').trim();
    const shipped = await majorVersion(native);
    if (made === shipped) return;
    throw new Error(
      `${home.cluster} was made by PostgreSQL ${made} and this hub ships PostgreSQL ${shipped}. ` +
        `Move the data with pg_dump of the old version, or choose another DATA_DIR to start over. ${OR_SET_URL}`,
    );
  }
  if (fs.existsSync(home.cluster)) {
    // Put aside rather than deleted: half made it is worthless, damaged it may hold data.
    const aside = `${home.cluster}.incomplete-${Date.now()}`;
    fs.renameSync(home.cluster, aside);
    log(`embedded Postgres: ${home.cluster} was not a complete data directory and is now ${aside}; it can be deleted`);
  }

  await initialise(native, home, runner, settings, log);
}

async function initialise(
  native: string,
  home: Home,
  runner: Runner,
  settings: Readonly<Record<string, string>>,
  log: Log,
): Promise<void> {
  const fresh = path.join(home.directory, `postgres.new-${randomUUID()}`);
  fs.mkdirSync(fresh, { mode: 0o700 });
  const password = newPassword();
  // A file, since every user of the machine reads the arguments of a program.
  const passwordFile = `${fresh}.password`;
  fs.writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (runner.identity.uid !== undefined && runner.identity.gid !== undefined) {
    for (const made of [fresh, passwordFile]) fs.chownSync(made, runner.identity.uid, runner.identity.gid);
  }
  log(`embedded Postgres: making a new data directory ${home.cluster}`);
  const args = [
    '-D',
    fresh,
    '-U',
    SUPERUSER,
    '-A',
    'scram-sha-256',
    '--pwfile',
    passwordFile,
    '-E',
    'UTF8',
    '--locale=C',
    '--no-instructions',
  ];
  // Who turns fsync off has chosen speed over survival; flushing the new files to the disk would be wasted.
  if (settings['fsync'] === 'off') args.push('--no-sync');
  const [program, programArgs] = runner.command(path.join(native, 'bin', 'initdb'), args);
  const result = await run(program, programArgs, runner.identity);
  fs.rmSync(passwordFile, { force: true });
  if (result.code !== 0) {
    fs.rmSync(fresh, { recursive: true, force: true });
    throw new Error(
      `The embedded Postgres could not make its data directory ${home.cluster} (${result.reason}):\n` +
        `${result.output.trim()}\n` +
        `Check that ${home.directory} is on a local disk with space left ` +
        `and that the user who runs Postgres may enter it and the package directory. ${OR_SET_URL}`,
    );
  }
  // Before the cluster has its name: one that is there always has a password that is known.
  changeRecord(home, { password });
  fs.renameSync(fresh, home.cluster);
}
