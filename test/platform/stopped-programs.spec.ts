import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { hubArguments } from '../support/hub/hub-command';
import { waitFor } from '../support/wait-for';

/** Ids of all processes below one, and their command lines. */
function below(root: number): Map<number, string> {
  const all = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
    .stdout.split('\n')
    .flatMap((line) => {
      const [, pid, parent, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
      return pid === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), command: command ?? '' }];
    });
  const found = new Map<number, string>();
  for (let parents = new Set([root]); parents.size > 0;) {
    const children = all.filter(({ parent }) => parents.has(parent));
    for (const { pid, command } of children) found.set(pid, command);
    parents = new Set(children.map(({ pid }) => pid));
  }
  return found;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('a signal', () => {
  const HUB = '/src/main.js';
  it.each([
    ['fuzz', ['--short'], 'SIGTERM', 143],
    ['bench', ['--only', 'wait', '--quick'], 'SIGINT', 130],
    ['chaos', ['--seed', '1', '--movements', '2000', '--hubs', '1'], 'SIGTERM', 143],
  ] as const)(
    'that stops npm run %s leaves no hub, no database and no folder behind',
    async (name, args, signal, code) => {
      const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-stopped-'));
      // The path only: these programs run with the options of a plain Node.
      const main = hubArguments(`tools/${name}/main.js`).at(-1) ?? '';
      const child = spawn(process.execPath, [main, ...args], {
        env: { PATH: process.env.PATH ?? '', TMPDIR: temporary },
        stdio: 'ignore',
      });
      const exit = once(child, 'exit');
      try {
        const started = await waitFor(
          `${name} has a database and a hub`,
          () => {
            if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
            const processes = below(child.pid ?? 0);
            const commands = [...processes.values()];
            return (
              commands.some((command) => command.includes('postgres')) &&
              commands.some((command) => command.includes(HUB)) &&
              processes
            );
          },
          60_000,
        );
        child.kill(signal);
        expect(await exit).toEqual([code, null]);
        // A server that has said goodbye takes another moment to go.
        await waitFor('all its processes are gone', () => ![...started.keys()].some(isAlive));
        expect(fs.readdirSync(temporary)).toEqual([]);
      } finally {
        child.kill('SIGKILL');
        for (const pid of below(child.pid ?? 0).keys()) process.kill(pid, 'SIGKILL');
        fs.rmSync(temporary, { recursive: true, force: true });
      }
    },
    120_000,
  );
});
