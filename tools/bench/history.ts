import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Line } from './report';
import { query } from './stage';

const FILE = path.resolve(__dirname, '../../../docs/performance-history.jsonl');

/** One line per run, with what is needed to know whether two runs may be compared. */
export async function appendHistory(serverUrl: string, quick: boolean, lines: readonly Line[]): Promise<void> {
  const [server] = await query<{ server_version: string }>(serverUrl, 'show server_version');
  const cpus = os.cpus();
  const run = {
    at: new Date().toISOString(),
    commit: commit(),
    quick,
    node: process.version,
    postgres: server?.server_version.split(' ')[0],
    cpu: `${cpus.length} x ${cpus[0]?.model.trim()}`,
    load_before: Number((os.loadavg()[2] ?? 0).toFixed(2)),
    figures: Object.fromEntries(lines.map(({ name, value, ratio }) => [name, { value, ratio }])),
  };
  appendFileSync(FILE, `${JSON.stringify(run)}\n`);
}

/** With a plus sign when the tree differs from it; undefined outside a repository. */
function commit(): string | undefined {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, {
        cwd: path.dirname(FILE),
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim();
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+'}`;
  } catch {
    return undefined;
  }
}
