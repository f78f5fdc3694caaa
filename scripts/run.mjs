// What the scripts share: where the project is, which Node runs it, and how to run a command to its end.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

const OLDEST = [20, 19];

/** Ends the process with a plain message on a Node that cannot run the hub. */
export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
  fail(
    `This project needs Node ${OLDEST.join('.')} or newer; this is Node ${process.versions.node}. See .nvmrc for the version it is made for.`,
  );
}

export function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** The Node that package.json pins, where it has one for this platform; else the Node that runs this script. */
export function pinnedNode() {
  const pinned = path.join(root, 'node_modules', '.bin', 'node');
  return fs.existsSync(pinned) ? pinned : process.execPath;
}

/** How `npm run start:hub` starts the hub: Node's options and the built file. */
export function hubCommand() {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const words = scripts['start:hub'].split(' ');
  const options = words.slice(words.indexOf('node') + 1);
  return { file: options.pop(), options };
}

/**
 * The environment for npm: without the node_modules/.bin folders that `npm start` puts in front of PATH. npm would
 * otherwise run on the pinned Node inside node_modules, which `npm ci` deletes under it.
 */
function npmEnvironment() {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return {
    ...process.env,
    PATH: folders.filter((folder) => !folder.endsWith(path.join('node_modules', '.bin'))).join(path.delimiter),
  };
}

export function npm(...args) {
  // npm is a command file on Windows, which only a shell can start.
  return run('npm', args, { env: npmEnvironment(), shell: process.platform === 'win32' });
}

/**
 * Calls back once when the shell is gone through which npm runs its scripts. npm passes a SIGTERM to that shell only;
 * some shells then end and leave the script behind, which would run on without supervision. Returns a function that
 * stops watching.
 */
export function onOrphaned(callback) {
  // Started without npm, a process may outlive its shell on purpose (nohup, a service manager).
  if (!['start', 'test'].includes(process.env.npm_lifecycle_event)) return () => undefined;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    callback();
  }, 250);
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * Runs a command with this terminal and resolves to its exit code. A signal is passed on and the command's end awaited,
 * so that no installer or test run is left behind.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', ...options });
    // Ctrl-C in a terminal reaches the command by itself; a SIGTERM sent to this process alone does not.
    const ignore = () => undefined;
    const pass = () => child.kill('SIGTERM');
    process.on('SIGINT', ignore).on('SIGTERM', pass);
    const stopWatching = onOrphaned(pass);
    const done = (settle) => {
      process.off('SIGINT', ignore).off('SIGTERM', pass);
      stopWatching();
      settle();
    };
    child.once('error', (error) => done(() => reject(error)));
    child.once('exit', (code, signal) =>
      done(() => resolve(signal === null ? code : 128 + os.constants.signals[signal])),
    );
  });
}
