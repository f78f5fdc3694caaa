import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import type { Violation } from './explore';
import { type Job, type JobResult, run } from './jobs';
import { MUTANTS } from './mutants';
import { ASSUMPTIONS } from './scenario';
import { allScenarios, hunts } from './scenarios';

/** Mutants that the short form tries: the former rules, and a few whose end is near. */
const SHORT_MUTANTS = 24;
/** Of the small worlds, those that a short walk takes. */
const SHORT_HUNTS = [
  'a bet',
  'a bet at an operator that books each call',
  'a bet that nobody can ask for',
  'a bet with no help at all',
  'a bet, refused and repeated',
  'a lane with no help',
  'a win',
  'a bet, accepted later',
];

if (isMainThread) void main();
else parentPort?.on('message', (job: Job) => parentPort?.postMessage(run(job)));

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      short: { type: 'boolean', default: false },
      'states-max': { type: 'string' },
      world: { type: 'string' },
      mutants: { type: 'string' },
      cores: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    say('npm run model -- [--short] [--world words] [--mutants words] [--states-max N] [--cores N]');
    say('  --short       a walk of some 10^5 states and the first mutants');
    say('  --world       only worlds whose name holds the words');
    say('  --mutants     only mutants whose name holds the words; "none" for none');
    say('  --states-max  ends the walk of a world after so many states, and then proves nothing');
    return;
  }
  const began = performance.now();
  const jobs = jobsOf(values.short, values.world ?? '', values.mutants ?? '', Number(values['states-max'] ?? Infinity));
  const results = await all(
    jobs,
    values.cores === undefined ? Math.min(2, cpus().length) : Number(values.cores),
    (result) => report(result),
  );
  const walked = results.filter(({ job }) => job.kind === 'world' || job.kind === 'hunt');
  const tried = results.filter(({ job }) => job.kind === 'mutant');
  const equivalent = tried.filter(
    ({ job, killedBy }) => killedBy === undefined && MUTANTS[job.index]?.equivalent !== undefined,
  );
  const mutants = tried.filter((result) => !equivalent.includes(result));
  const killed = mutants.filter(({ killedBy }) => killedBy !== undefined);
  const unexplained = mutants.filter(
    ({ job, killedBy }) => killedBy === undefined && MUTANTS[job.index]?.survives === undefined,
  );
  const kept = results.filter(({ job, violations }) => job.kind === 'promise' && violations.length === 0);
  const incomplete = walked.filter(({ walk }) => walk?.complete === false);
  const states = walked.reduce((sum, { walk }) => sum + (walk?.states ?? 0), 0);
  const violations = walked.reduce((sum, { walk }) => sum + (walk?.broken ?? 0), 0);
  for (const { job, name } of equivalent) say(`changes nothing alone: ${name}: ${MUTANTS[job.index]?.equivalent}`);
  for (const { name } of incomplete) say(`not walked to the end: ${name}`);
  for (const { name } of unexplained) say(`survives without an explanation: ${name}`);
  for (const { name } of kept)
    say(`nothing breaks without the promise "${name}": it is none, or the walk is too short`);
  say(`${Math.round((performance.now() - began) / 1000)} s, ${Math.round(process.memoryUsage.rss() / 1e6)} MB`);
  say(JSON.stringify({ states, violations, mutants: mutants.length, killed: killed.length }));
  process.exitCode = violations > 0 || unexplained.length > 0 || kept.length > 0 ? 1 : 0;
}

function jobsOf(short: boolean, world: string, mutant: string, statesMax: number): Job[] {
  if (short) {
    return [
      ...hunts().flatMap(({ name }, index): Job[] => (SHORT_HUNTS.includes(name) ? [{ kind: 'hunt', index }] : [])),
      ...MUTANTS.slice(0, SHORT_MUTANTS).flatMap((each, index): Job[] =>
        each.survives === undefined && each.equivalent === undefined ? [{ kind: 'mutant', index }] : [],
      ),
    ];
  }
  const worlds = allScenarios().flatMap(({ name }, index): Job[] =>
    name.includes(world) ? [{ kind: 'world', index, statesMax }] : [],
  );
  const small = hunts().flatMap(({ name }, index): Job[] => (name.includes(world) ? [{ kind: 'hunt', index }] : []));
  const weakened = MUTANTS.flatMap(({ name }, index): Job[] =>
    name.includes(mutant) ? [{ kind: 'mutant', index }] : [],
  );
  const promises =
    world === '' && mutant === '' ? ASSUMPTIONS.map((_name, index): Job => ({ kind: 'promise', index })) : [];
  return [...promises, ...small, ...weakened, ...worlds];
}

/** Runs the jobs on so many threads, each taking the next. */
async function all(jobs: readonly Job[], threads: number, each: (result: JobResult) => void): Promise<JobResult[]> {
  const results: JobResult[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(threads, jobs.length) }, async () => {
      const worker = new Worker(__filename, { resourceLimits: { maxOldGenerationSizeMb: 2_500 } });
      try {
        for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) {
          const taken = job;
          const result = await new Promise<JobResult>((resolve, reject) => {
            worker.once('message', resolve);
            worker.once('error', reject);
            worker.postMessage(taken);
          });
          worker.removeAllListeners('error');
          results.push(result);
          each(result);
        }
      } finally {
        await worker.terminate();
      }
    }),
  );
  return results;
}

function report({ job, name, ms, walk, violations, killedBy }: JobResult): void {
  const seconds = (ms / 1000).toFixed(1);
  switch (job.kind) {
    case 'world':
    case 'hunt':
      say(
        `${walk?.broken === 0 ? 'holds' : 'BROKEN'}  ${name}: ${walk?.states} states, ${walk?.steps} steps, depth ${walk?.depth}, ${walk?.atRest} at rest, ${seconds} s`,
      );
      for (const violation of violations) tell(violation, name);
      return;
    case 'mutant':
      say(
        killedBy === undefined
          ? `lives   ${name}: ${MUTANTS[job.index]?.survives ?? MUTANTS[job.index]?.equivalent ?? 'NOT EXPLAINED'} (${seconds} s)`
          : `found   ${name}: ${killedBy}`,
      );
      return;
    case 'promise':
      for (const { rule, steps } of violations) {
        say(`without "${name}": broken is "${rule}"`);
        steps.forEach(({ words }, index) => say(`    ${index + 1}. ${words}`));
      }
      return;
  }
}

/** A shortest way, in words and as a test. */
function tell({ rule, steps }: Violation, world: string): void {
  say(`\n  broken: ${rule}`);
  steps.forEach(({ words }, index) => say(`    ${index + 1}. ${words}`));
  say(
    `\n  it(${JSON.stringify(rule)}, () => expect(brokenBy(named(${JSON.stringify(world)}), ${JSON.stringify(steps.map(({ key }) => key))})).toBeNull());\n`,
  );
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
