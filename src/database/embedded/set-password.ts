import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { changeRecord, type Home, readRecord } from './home';
import { type Log, OR_SET_URL, POLL_MS, READY_TIMEOUT_MS, SUPERUSER } from './options';
import { accessFileOf, isOpen, newPassword, TRUSTING_LINE } from './password';
import { isAlive, run } from './processes';
import type { Runner } from './server-user';
import { ignoreStaleLock, type RunningServer } from './running-server';
import { endServer } from './stop-server';

/**
 * Ends a server that trusts everybody and whose owner has died, so that it comes back with a password. A living owner
 * of the release before is left alone: it could not connect any more.
 */
export async function endIfOpen(home: Home, running: RunningServer, log: Log): Promise<boolean> {
  const owner = readRecord(home)?.owner ?? null;
  if (!isOpen(home) || owner === null || isAlive(owner)) return false;
  log(
    `embedded Postgres: the server that runs (process id ${running.pid}) lets every user of this machine in; ` +
      'starting it again with a password',
  );
  await endServer(home, running, log);
  return true;
}

/**
 * Gives a stopped cluster a password when it has none, or when nobody knows it any more. In single-user mode, which
 * opens no port: whoever may write these files may set it, and nobody else can come in meanwhile. Killed half-way, the
 * next start does it again.
 */
export async function closeCluster(native: string, home: Home, runner: Runner, log: Log): Promise<void> {
  const known = readRecord(home)?.password;
  if (known !== undefined && !isOpen(home)) return;
  if (fs.existsSync(path.join(home.cluster, 'standby.signal'))) {
    throw new Error(
      `${home.cluster} is a standby, which has the password of its primary. ` +
        `Copy the primary's postgres.json to ${home.record}. ${OR_SET_URL}`,
    );
  }
  const password = known ?? newPassword();
  const deadline = Date.now() + READY_TIMEOUT_MS;
  const args = [
    '--single',
    '-D',
    home.cluster,
    '-c',
    'password_encryption=scram-sha-256',
    '-c',
    'log_min_error_statement=panic',
    'postgres',
  ];
  const [program, programArgs] = runner.command(path.join(native, 'bin', 'postgres'), args);
  for (;;) {
    const { code, reason, output } = await run(program, programArgs, runner.identity, {
      input: `ALTER ROLE ${SUPERUSER} PASSWORD '${password}'\n`,
      env: ignoreStaleLock(home),
    });
    // It goes on after a failed statement, and its exit code is 0 then.
    if (code === 0 && !/^.*(ERROR|FATAL|PANIC):/m.test(output)) break;
    if (!/pre-existing shared memory block/.test(output) || Date.now() > deadline) {
      throw new Error(
        `The embedded Postgres in ${home.cluster} could not be given a password (${reason}):\n` +
          `${output.trim()}\n${OR_SET_URL}`,
      );
    }
    await delay(10 * POLL_MS);
  }
  changeRecord(home, { password });
  const file = accessFileOf(home);
  const { uid, gid } = fs.statSync(file);
  const text = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.replace(TRUSTING_LINE, '$1scram-sha-256$2'))
    .join('\n');
  const fresh = `${file}.new`;
  fs.rmSync(fresh, { force: true });
  fs.writeFileSync(fresh, text, { mode: 0o600 });
  fs.chownSync(fresh, uid, gid);
  fs.renameSync(fresh, file);
  log(`embedded Postgres: ${home.cluster} has a password now, which stands in ${home.record}`);
}
