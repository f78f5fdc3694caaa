import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { type Home, readRecord } from './home';
import { type Log, OR_SET_URL, PING_TIMEOUT_MS, POLL_MS, READY_TIMEOUT_MS, SUPERUSER } from './options';
import { passwordUnknown } from './password';
import { codeOf, commandLineOf, readIfThere, startTimeOf } from './processes';

export interface RunningServer {
  pid: number;
  port: number;
}

const INVALID_PASSWORD = '28P01';

/**
 * Finds the server that a previous or a concurrent process started on this cluster, and waits until it answers. A
 * server that is going down is waited for as well.
 */
export async function waitForRunning(home: Home, log: Log): Promise<RunningServer | undefined> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (let isFirst = true; ; isFirst = false) {
    const lock = readServerLock(home);
    if (!lock || !isServerOf(home, lock.pid)) return undefined;
    if (lock.port !== undefined) {
      const answer = await ask(home, lock.port);
      if (answer === 'ours') return { pid: lock.pid, port: lock.port };
      if (answer === 'refused' && lock.isReady) {
        throw new Error(
          `${passwordUnknown(home)} A server with process id ${lock.pid} still runs: ` +
            `end it (kill -INT ${lock.pid}) first. ${OR_SET_URL}`,
        );
      }
    }
    if (isFirst)
      log(`embedded Postgres: a server with process id ${lock.pid} is there already; waiting for it to answer`);
    if (Date.now() > deadline) {
      throw new Error(
        `A Postgres with process id ${lock.pid} holds ${home.cluster} and does not answer. ` +
          `See ${home.logFile}; end that process (kill -INT ${lock.pid}) and start again. ${OR_SET_URL}`,
      );
    }
    await delay(POLL_MS);
  }
}

/**
 * postmaster.pid: line 1 is the process id, line 4 the port, line 8 how far the server is; the later lines appear while
 * it starts.
 */
export function readServerLock(home: Home): { pid: number; port: number | undefined; isReady: boolean } | undefined {
  const text = readIfThere(path.join(home.cluster, 'postmaster.pid'));
  if (text === undefined) return undefined;
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  const port = Number(lines[3]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  return {
    pid,
    port: Number.isInteger(port) && port > 0 ? port : undefined,
    isReady: ['ready', 'standby'].includes((lines[7] ?? '').trim()),
  };
}

/**
 * Whether this living process is the Postgres of this cluster, and not another one that was given an old process id.
 */
export function isServerOf(home: Home, pid: number): boolean {
  if (startTimeOf(pid) === undefined) return false;
  if (process.platform !== 'linux') return commandLineOf(pid).includes(home.cluster);
  const words = (readIfThere(`/proc/${pid}/cmdline`) ?? '').split('\0');
  if (words.includes(home.cluster)) return true;
  try {
    // A server started by hand may name its directory in another way, but it works inside it.
    return path.basename(words[0] ?? '') === 'postgres' && fs.readlinkSync(`/proc/${pid}/cwd`) === home.cluster;
  } catch {
    return false;
  }
}

/**
 * Whether the server on this port answers a query and works on this very cluster; `refused`: it does not take the
 * password.
 */
export async function ask(home: Home, port: number): Promise<'ours' | 'refused' | 'no'> {
  const password = readRecord(home)?.password;
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: SUPERUSER,
    database: 'postgres',
    password: password ?? '',
    ssl: false,
    connectionTimeoutMillis: PING_TIMEOUT_MS,
    query_timeout: PING_TIMEOUT_MS,
  });
  // A server that goes down during the ping ends the connection; the query below reports it.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const result = await client.query<{ directory: string }>("SELECT current_setting('data_directory') AS directory");
    return result.rows[0]?.directory === home.cluster ? 'ours' : 'no';
  } catch (error) {
    // Without a password it is the driver that gives up.
    return codeOf(error) === INVALID_PASSWORD || password === undefined ? 'refused' : 'no';
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * A process id in a stale postmaster.pid may by now belong to any other process of this user (in containers ids repeat
 * from run to run), and Postgres would refuse to start. Deleting the file would also delete the shared memory key by
 * which Postgres notices children of a killed server. This variable, made for pg_ctl, tells Postgres that the process
 * of that id is no server, and leaves all its other checks in force.
 */
export function ignoreStaleLock(home: Home): NodeJS.ProcessEnv {
  const lock = readServerLock(home);
  return lock && !isServerOf(home, lock.pid) ? { PG_GRANDPARENT_PID: String(lock.pid) } : {};
}
