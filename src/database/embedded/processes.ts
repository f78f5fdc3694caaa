import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';

/** Of the user that a process runs as; empty: as this one. */
export interface Identity {
  uid?: number;
  gid?: number;
}

/** A process is named by its id and its start time, since ids are used again. */
export interface ProcessName {
  pid: number;
  started: string;
}

// A fixed environment: PGPORT, LC_MESSAGES and the like of a developer's shell must not change how the server behaves,
// and its messages, which are read below, stay English.
export const SERVER_ENVIRONMENT: NodeJS.ProcessEnv = {
  LC_ALL: 'C',
  TZ: 'UTC',
  PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
};

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

let selfName: ProcessName | undefined;

export function self(): ProcessName {
  selfName ??= { pid: process.pid, started: startTimeOf(process.pid) ?? '' };
  return selfName;
}

export function isSelf(name: ProcessName | null): boolean {
  return name !== null && name.pid === self().pid && name.started === self().started;
}

export function isAlive(name: ProcessName): boolean {
  return startTimeOf(name.pid) === name.started;
}

/**
 * When this process was started, in the system's own words; undefined when there is none, or only its exit status is
 * left.
 */
export function startTimeOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const stat = readIfThere(`/proc/${pid}/stat`);
    if (stat === undefined) return undefined;
    // The second field is the program's name in brackets, in which anything may stand; the fields after it are plain.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const isOver = fields[0] === 'Z' || fields[0] === 'X';
    return isOver ? undefined : fields[19];
  }
  const line = ps(pid, 'state=,lstart=');
  return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '');
}

export function commandLineOf(pid: number): string {
  return ps(pid, 'args=');
}

function ps(pid: number, columns: string): string {
  const { stdout } = spawnSync('ps', ['-ww', '-o', columns, '-p', String(pid)], {
    encoding: 'utf8',
    env: SERVER_ENVIRONMENT,
  });
  return (stdout ?? '').trim();
}

interface RunResult {
  code: number | null;
  reason: string;
  output: string;
}

export function run(
  program: string,
  args: readonly string[],
  identity: Identity = {},
  { input = '', env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      ...identity,
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...SERVER_ENVIRONMENT, ...env },
    });
    let output = '';
    // A program that ends without reading it says why by its exit.
    child.stdin.on('error', () => undefined).end(input);
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    child.once('error', (error) => resolve({ code: null, reason: messageOf(error), output }));
    child.once('close', (code, signalName) =>
      resolve({ code, reason: signalName === null ? `exit code ${code}` : `ended by ${signalName}`, output }),
    );
  });
}

export function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    // ESRCH is what /proc answers when the process ends during the read.
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}

// By shape and not by instanceof: under jest, errors of Node's own modules are made by another realm's Error class.
export function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

export function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
}
