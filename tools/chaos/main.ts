import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { endAllOnSignals, ownedFolder } from '../../test/support/leftovers';
import type { OperatorKind } from './plan';
import { explain, runChaos } from './run';
import type { Network } from './world';

const USAGE = `npm run chaos -- [--seed N] [--seeds 3] [--movements 20000] [--kills 10] [--hubs 3] [--at-once 128] [--operator idempotent|asked|blind] [--breaker-failures 10] [--network near|slow]
Drives hub processes and misbehaving partners through a storm and holds the end against the operator's own books.
--seed repeats a run; without it the seeds are drawn. One JSON line per seed on standard output, progress on standard error.
`;

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} must be a whole number\n${USAGE}`);
  return value;
}

function operatorKind(text: string): OperatorKind {
  if (text !== 'idempotent' && text !== 'asked' && text !== 'blind')
    throw new Error(`--operator must be idempotent, asked or blind\n${USAGE}`);
  return text;
}

function networkKind(text: string): Network {
  if (text !== 'near' && text !== 'slow') throw new Error(`--network must be near or slow\n${USAGE}`);
  return text;
}

async function main(): Promise<void> {
  endAllOnSignals();
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      movements: { type: 'string', default: '20000' },
      kills: { type: 'string', default: '10' },
      hubs: { type: 'string', default: '3' },
      'at-once': { type: 'string', default: '128' },
      operator: { type: 'string', default: 'idempotent' },
      'breaker-failures': { type: 'string', default: '10' },
      network: { type: 'string', default: 'near' },
    },
  });
  // A seed that is named is the one to repeat; otherwise three new ones, one after the other.
  const first = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : wholeNumber('seed', values.seed);
  const count = wholeNumber('seeds', values.seeds ?? (values.seed === undefined ? '3' : '1'));
  const directory = ownedFolder(mkdtempSync(path.join(os.tmpdir(), 'hub-chaos-')));
  let isClean = true;
  for (let seed = first; seed < first + count; seed++) {
    const report = await runChaos({
      seed,
      movements: wholeNumber('movements', values.movements),
      kills: wholeNumber('kills', values.kills),
      hubs: wholeNumber('hubs', values.hubs),
      atOnce: wholeNumber('at-once', values['at-once']),
      operator: operatorKind(values.operator),
      breakerFailures: wholeNumber('breaker-failures', values['breaker-failures']),
      network: networkKind(values.network),
      directory,
      log: (line) => void process.stderr.write(`${line}\n`),
    });
    process.stdout.write(
      `${JSON.stringify({ ...report, violations: report.violations.length, violated: [...new Set(report.violations.map(({ invariant }) => invariant))] })}\n`,
    );
    if (report.verdict !== 'ok') {
      isClean = false;
      process.stderr.write(
        `${explain(report)}\nRepeat it with: npm run chaos -- --seed ${seed} --movements ${values.movements} --kills ${values.kills} --hubs ${values.hubs} --at-once ${values['at-once']} --operator ${values.operator} --breaker-failures ${values['breaker-failures']} --network ${values.network}\n`,
      );
    }
  }
  if (isClean) rmSync(directory, { recursive: true, force: true });
  process.exitCode = isClean ? 0 : 1;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 2;
});
