import { setTimeout as delay } from 'node:timers/promises';
import { withLock } from './file-lock';
import { changeRecord, type Home, readRecord } from './home';
import { type Log, POLL_MS } from './options';
import { isSelf, signal } from './processes';
import { isServerOf, readServerLock, type RunningServer } from './running-server';

const FAST_STOP_TIMEOUT_MS = 20_000;
const IMMEDIATE_STOP_TIMEOUT_MS = 10_000;

/** Under the lock, so that a start that arrives meanwhile waits for the end and then starts a fresh server. */
export async function stopServer(home: Home, running: RunningServer, log: Log): Promise<void> {
  await withLock(home.lock, async () => {
    const lock = readServerLock(home);
    const isThere = lock !== undefined && isServerOf(home, lock.pid);
    // Another process restarted the server after it had died under us; it owns that one.
    if (isThere && lock.pid !== running.pid) return;
    if (isThere) await endServer(home, running, log);
    if (isSelf(readRecord(home)?.owner ?? null)) changeRecord(home, { port: running.port, owner: null });
    log('embedded Postgres: stopped');
  });
}

export async function endServer(home: Home, { pid }: RunningServer, log: Log): Promise<void> {
  // Fast shutdown: open transactions are rolled back, the rest is written, and the next start needs no recovery.
  signal(pid, 'SIGINT');
  if (await hasGone(home, pid, FAST_STOP_TIMEOUT_MS)) return;
  log(
    `embedded Postgres: no end after ${FAST_STOP_TIMEOUT_MS / 1000} seconds; ` +
      'stopping it at once (the next start recovers)',
  );
  signal(pid, 'SIGQUIT');
  if (!(await hasGone(home, pid, IMMEDIATE_STOP_TIMEOUT_MS))) {
    throw new Error(
      `The embedded Postgres (process id ${pid}) does not stop. See ${home.logFile}; end it with kill -KILL ${pid}.`,
    );
  }
}

async function hasGone(home: Home, pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (isServerOf(home, pid)) {
    if (Date.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}
