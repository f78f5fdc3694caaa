import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { migrate } from '../../src/database/migrate';
import { hubArguments } from '../../test/support/hub/hub-command';
import { ownedChild, withOwned } from '../../test/support/leftovers';

/**
 * A quarter of the machine's memory, as PostgreSQL's manual advises: with less, the indexes that are in no order are
 * read and written again for each debit.
 */
const SHARED_BUFFERS_MB = Math.floor(os.totalmem() / 4 / 1024 / 1024);

/**
 * A throw-away Postgres with real fsync, set as docs/scaling.md says; both a figure and its yardstick run on it.
 * Checkpoints are far apart, so none falls into one's rounds only.
 */
export async function withDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'hub-bench-'));
  const starting = startEmbeddedPostgres({
    dataDir,
    settings: {
      max_connections: '300',
      shared_buffers: `${SHARED_BUFFERS_MB}MB`,
      max_wal_size: '16GB',
      checkpoint_timeout: '30min',
    },
  });
  const end = async (server: EmbeddedPostgres): Promise<void> => {
    await server.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  return withOwned(starting, end, ({ superuserUrl }) => work(superuserUrl));
}

/** A fresh migrated database of its own, so that no round pays for the rows of another. */
export async function freshDatabase(serverUrl: string, name: string): Promise<string> {
  await query(serverUrl, `drop database if exists ${name} with (force)`);
  await query(serverUrl, `create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  await migrate(url.toString());
  return url.toString();
}

export async function query<T = Record<string, unknown>>(
  url: string,
  sql: string,
  parameters: unknown[] = [],
): Promise<T[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql, parameters)).rows as T[];
  } finally {
    await client.end();
  }
}

/** A process that is measured: its port, and the CPU and memory that it has used. */
export interface Measured {
  readonly port: number;
  readonly pid: number;
  readonly child: ChildProcess;
}

/**
 * A built hub in its own process. `nodeOptions` come after those of `npm run start:hub`, and the last of a kind counts.
 */
export async function withHub<T>(
  env: Readonly<Record<string, string>>,
  work: (hub: Measured) => Promise<T>,
  nodeOptions: readonly string[] = [],
): Promise<T> {
  const args = hubArguments();
  args.splice(-1, 0, ...nodeOptions);
  const port = await freePort();
  const child = ownedChild(
    spawn(process.execPath, args, {
      env: {
        PATH: process.env.PATH ?? '',
        NODE_ENV: 'test',
        HOST: '127.0.0.1',
        PORT: String(port),
        LOG_LEVEL: 'warn',
        RATE_LIMIT_PER_MINUTE: '0',
        ...env,
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    }),
  );
  try {
    await ready(port, child);
    return await work({ port, pid: pidOf(child), child });
  } finally {
    await ended(child);
  }
}

/** Another program of this folder in its own process; it writes its port as its first line. */
export async function withProgram<T>(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  work: (program: Measured) => Promise<T>,
): Promise<T> {
  const child = ownedChild(
    spawn(process.execPath, [path.resolve(__dirname, file), ...args], {
      env: { PATH: process.env.PATH ?? '', ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  try {
    const [line] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [unknown];
    const port = Number(String(line));
    if (child.exitCode !== null || !Number.isInteger(port) || port <= 0) throw new Error(`${file} did not start`);
    return await work({ port, pid: pidOf(child), child });
  } finally {
    await ended(child);
  }
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the process did not start');
  return child.pid;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

async function ready(port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the hub exited with ${child.exitCode}`);
    const answer = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined);
    if (answer?.ok === true) return;
    await delay(50);
  }
  throw new Error('the hub was not ready within 30 s');
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** The C driver of PostgreSQL, when this machine has one. */
export function pgbench(): string | undefined {
  for (const command of [
    process.env.PGBENCH,
    'pgbench',
    ...[18, 17, 16, 15].map((major) => `/usr/lib/postgresql/${major}/bin/pgbench`),
  ]) {
    if (command === undefined) continue;
    try {
      execFileSync(command, ['--version'], { stdio: 'ignore' });
      return command;
    } catch {
      // Not at this place; the next one, or the SQL-only driver, will do.
    }
  }
  return undefined;
}
