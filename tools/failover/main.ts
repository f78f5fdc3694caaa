import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { endAllOnSignals, ownedFolder } from '../../test/support/leftovers';
import type { ActName } from './acts';
import { type FailoverReport, runFailover } from './run';

const VARIANTS: Readonly<
  Record<string, { readonly underLoad: readonly ActName[]; readonly afterLoad?: readonly ActName[] }>
> = {
  kill: { underLoad: ['kill', 'kill'] },
  frozen: { underLoad: ['frozen'] },
  away: { underLoad: [], afterLoad: ['away'] },
  replay: { underLoad: [], afterLoad: ['replay'] },
  readonly: { underLoad: ['readonly'] },
  async: { underLoad: ['async'] },
};

const USAGE = `npm run failover -- [--only ${Object.keys(VARIANTS).join(',')}] [--movements 1500] [--hubs 2] [--callers 32] [--seed N]
Three embedded PostgreSQLs, of which any one standby confirms each commit, and hubs under load: the primary is killed, stands still, loses its
standbys, comes back with a repeat, or is taken for a standby. One JSON line per variant on standard output, progress on standard error. Exit
code 0 when nothing was lost, doubled or untold, and "async" did lose something.
`;

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number\n${USAGE}`);
  return value;
}

async function main(): Promise<void> {
  endAllOnSignals();
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      movements: { type: 'string', default: '1500' },
      hubs: { type: 'string', default: '2' },
      callers: { type: 'string', default: '32' },
      seed: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) return void process.stdout.write(USAGE);
  const names = values.only?.split(',') ?? Object.keys(VARIANTS);
  const unknown = names.filter((name) => !(name in VARIANTS));
  if (unknown.length > 0) throw new Error(`there is no variant ${unknown.join(', ')}\n${USAGE}`);
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : wholeNumber('seed', values.seed);
  const directory = ownedFolder(mkdtempSync(path.join(os.tmpdir(), 'hub-failover-')));
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const reports: FailoverReport[] = [];
  for (const name of names) {
    const variant = VARIANTS[name];
    if (variant === undefined) continue;
    const report = await runFailover({
      name,
      ...variant,
      seed,
      movements: wholeNumber('movements', values.movements),
      hubs: wholeNumber('hubs', values.hubs),
      atOnce: wholeNumber('callers', values.callers),
      directory,
      log,
    });
    reports.push(report);
    process.stdout.write(`${JSON.stringify({ ...report, faults: report.faults.slice(0, 20) })}\n`);
    if (report.verdict !== 'ok')
      log(
        `${name}: ${report.faults.length} faults; logs are kept in ${directory}. Repeat it with: npm run failover -- --only ${name} --seed ${seed}`,
      );
  }
  const kept = reports.filter(({ variant }) => variant !== 'async');
  const sum = (of: (report: FailoverReport) => number): number => kept.reduce((total, report) => total + of(report), 0);
  const isClean = reports.every(({ verdict }) => verdict === 'ok');
  process.stdout.write(
    `${JSON.stringify({ variant: 'all but async', seed, acknowledged: sum(({ acknowledged }) => acknowledged), lost: sum(({ lost }) => lost), doubled: sum(({ doubled }) => doubled), notTold: sum(({ notTold }) => notTold), verdict: isClean ? 'ok' : 'violated' })}\n`,
  );
  if (isClean) rmSync(directory, { recursive: true, force: true });
  process.exitCode = isClean ? 0 : 1;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 2;
});
