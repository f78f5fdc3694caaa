import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { changeRecord, type Home, readRecord } from './home';
import { type Log, OR_SET_URL, POLL_MS, READY_TIMEOUT_MS, SUPERUSER } from './options';
import { newPassword } from './password';
import { run } from './processes';
import type { Runner } from './server-user';
import { ignoreStaleLock } from './running-server';

/**
 * Gives a stopped cluster a new password when its own is lost. In single-user mode, which opens no port: who may write
 * these files may set it, and no one else can come in meanwhile. Killed half-way, the next start does it again.
 */
export async function replaceLostPassword(native: string, home: Home, runner: Runner, log: Log): Promise<void> {
  if (readRecord(home)?.password !== undefined) return;
  if (fs.existsSync(path.join(home.cluster, 'standby.signal'))) {
    throw new Error(
      `${home.cluster} is a standby, which has the password of its primary. ` +
        `Copy the primary's postgres.json to ${home.record}. ${OR_SET_URL}`,
    );
  }
  const password = newPassword();
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
  log(`embedded Postgres: ${home.cluster} has a new password, which is in ${home.record}`);
}
