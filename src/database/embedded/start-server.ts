import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { changeRecord, type Home, readRecord } from './home';
import { type EmbeddedPostgresOptions, type Log, OR_SET_URL, POLL_MS, READY_TIMEOUT_MS } from './options';
import { passwordUnknown } from './password';
import { freePort, isFree, otherPort } from './ports';
import { isAlive, isSelf, messageOf, self, SERVER_ENVIRONMENT } from './processes';
import type { Runner } from './server-user';
import { ask, ignoreStaleLock, readServerLock, type RunningServer } from './running-server';
import { replaceLostPassword } from './set-password';

const DEFAULT_SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // A socket path may be at most about 100 characters long, which a deep data directory exceeds; TCP has no such limit.
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '256MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

const LOG_BYTES_MAX = 20_000_000;

/** Decides who stops the server: the process that started it, or, when that has died, the first one after it. */
export function claimOwnership(
  home: Home,
  running: RunningServer,
  { address }: EmbeddedPostgresOptions,
  log: Log,
): boolean {
  const record = readRecord(home);
  const owner = record?.owner ?? null;
  if (startedHere.get(home.cluster) === running.pid && isSelf(owner)) {
    startedHere.delete(home.cluster);
    return true;
  }
  if (owner !== null && !isAlive(owner)) {
    log(
      `embedded Postgres: the process ${owner.pid} that started the server (process id ${running.pid}) is gone; ` +
        'this process takes it over',
    );
    changeRecord(home, { port: running.port, owner: { ...self(), address } });
    return true;
  }
  log(
    `embedded Postgres: sharing the server on port ${running.port} (process id ${running.pid}) ` +
      'that another process owns',
  );
  return false;
}

/**
 * Servers that this call has just started, by cluster; a second start in the same process must not own the first one's.
 */
const startedHere = new Map<string, number>();

export async function startServer(
  native: string,
  home: Home,
  runner: Runner,
  options: EmbeddedPostgresOptions,
  log: Log,
): Promise<RunningServer> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  const settings = { ...DEFAULT_SETTINGS, ...options.settings };
  await replaceLostPassword(native, home, runner, log);
  let port = options.port ?? readRecord(home)?.port ?? options.firstPort ?? (await freePort());
  let isWaiting = false;

  for (;;) {
    if (!(await isFree(port))) port = await otherPort(port, options, log);
    // Written before the start: if this process is killed while the server comes up, the next one still finds an owner
    // that is dead, and takes over.
    changeRecord(home, { port, owner: { ...self(), address: options.address } });

    const args = ['-D', home.cluster, '-p', String(port)];
    for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`);
    const [program, programArgs] = runner.command(path.join(native, 'bin', 'postgres'), args);
    const { fd, offset } = openLog(home);
    const child = spawn(program, programArgs, {
      ...runner.identity,
      cwd: '/',
      // A group of its own: Ctrl-C in the terminal must not end the database while the hub still finishes requests.
      detached: true,
      stdio: ['ignore', fd, fd],
      env: { ...SERVER_ENVIRONMENT, ...ignoreStaleLock(home) },
    });
    fs.closeSync(fd);

    const failure = await readyOrExit(child, home, port, Date.now() + READY_TIMEOUT_MS);
    if (failure === undefined && child.pid !== undefined) {
      child.unref();
      startedHere.set(home.cluster, child.pid);
      log(`embedded Postgres: ready on 127.0.0.1:${port} (process id ${child.pid}, log ${home.logFile})`);
      return { pid: child.pid, port };
    }

    const said = tailFrom(home.logFile, offset);
    if (/could not bind|Address already in use/.test(said)) {
      // Another process took the port between the check and the start.
      port = await otherPort(port, options, log);
    } else if (/pre-existing shared memory block/.test(said) && Date.now() < deadline) {
      // The main process of the last server was killed, and its children notice that only at the end of their queries.
      // Until then Postgres rightly refuses: two servers on the same files would destroy them.
      if (!isWaiting) log('embedded Postgres: waiting for the last queries of a server that was killed');
      isWaiting = true;
      await delay(10 * POLL_MS);
    } else {
      throw new Error(
        `The embedded Postgres did not start (${failure}). It said:\n${said.trim()}\n` +
          `See ${home.logFile}. ${OR_SET_URL}`,
      );
    }
  }
}

async function readyOrExit(
  child: ChildProcess,
  home: Home,
  port: number,
  deadline: number,
): Promise<string | undefined> {
  let ended: string | undefined;
  child.once('error', (error) => (ended = messageOf(error)));
  child.once('exit', (code, signal) => (ended = signal === null ? `exit code ${code}` : `ended by ${signal}`));
  for (;;) {
    const answer = ended === undefined ? await ask(home, port) : 'no';
    if (answer === 'ours') return undefined;
    if (ended !== undefined) return ended;
    const lock = readServerLock(home);
    if (answer === 'refused' && lock?.pid === child.pid && lock?.isReady === true) {
      child.kill('SIGINT');
      return passwordUnknown(home);
    }
    if (Date.now() > deadline) {
      child.kill('SIGQUIT');
      return `no answer within ${READY_TIMEOUT_MS / 1000} seconds`;
    }
    await delay(POLL_MS);
  }
}

function openLog(home: Home): { fd: number; offset: number } {
  const size = fs.statSync(home.logFile, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_BYTES_MAX) fs.renameSync(home.logFile, `${home.logFile}.1`);
  return { fd: fs.openSync(home.logFile, 'a', 0o600), offset: size > LOG_BYTES_MAX ? 0 : size };
}

function tailFrom(file: string, offset: number): string {
  return fs.readFileSync(file).subarray(offset).toString('utf8').slice(-4000);
}
