import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Violation, check } from '../chaos/checker';
import { gatherFacts } from '../chaos/facts';
import { GameServer } from '../chaos/game-server';
import { makePlan } from '../chaos/plan';
import { waitForQuiet } from '../chaos/run';
import { control } from '../chaos/world';
import { withOwned } from '../../test/support/leftovers';
import { ACTS, type ActName, type Seen } from './acts';
import { Stage } from './stage';

export interface FailoverOptions {
  readonly name: string;
  /** What happens under load, one after the other, spread over the run. */
  readonly underLoad: readonly ActName[];
  /** What happens when the load is over: it has callers of its own. */
  readonly afterLoad?: readonly ActName[];
  readonly seed: number;
  readonly movements: number;
  readonly hubs: number;
  readonly atOnce: number;
  readonly settings?: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly log: (line: string) => void;
}

export interface FailoverReport {
  readonly variant: string;
  readonly verdict: 'ok' | 'violated';
  readonly acknowledged: number;
  readonly lost: number;
  readonly doubled: number;
  readonly notTold: number;
  /** From the moment when the new primary took writes to the first answer 200, for each failover. */
  readonly firstAcceptMs: readonly number[];
  readonly answers5xx: Readonly<Record<string, number>>;
  readonly numbers: Readonly<Record<string, unknown>>;
  readonly faults: readonly string[];
  readonly seconds: number;
}

const FIRST_ACCEPT_MS_MAX = 2_000;
/** Of the acts' own callers; the plan knows nothing of them. */
const OWN = /^(away|replayed)/;

/** One set of servers, one load, some acts, one verdict. */
export async function runFailover(options: FailoverOptions): Promise<FailoverReport> {
  const directory = path.join(options.directory, options.name);
  const started = performance.now();
  const log = (line: string): void =>
    options.log(`[${options.name} ${((performance.now() - started) / 1000).toFixed(1)} s] ${line}`);
  const losesOnPurpose = options.underLoad.includes('async');
  const stage = Stage.start({
    directory,
    hubs: options.hubs,
    synchronous: !losesOnPurpose,
    ...(options.settings === undefined ? {} : { settings: options.settings }),
  });
  const report = await withOwned(
    stage,
    (it) => it.stop(),
    (it) => play(options, it, log, losesOnPurpose, started),
  );
  if (report.verdict === 'ok') fs.rmSync(directory, { recursive: true, force: true });
  return report;
}

async function play(
  options: FailoverOptions,
  stage: Stage,
  log: (line: string) => void,
  losesOnPurpose: boolean,
  started: number,
): Promise<FailoverReport> {
  const plan = makePlan({ seed: options.seed, movements: options.movements, kills: 0, hubs: options.hubs });
  for (const fault of plan.refusals) await control(stage.operator.url, 'POST', '/admin/faults', fault);
  const gameServer = new GameServer(() => stage.hubs);
  const gameStartedAt = performance.now();
  let loadIsOver = false;
  const seen: Seen[] = [];
  const acting = (async (): Promise<void> => {
    for (const [index, name] of options.underLoad.entries()) {
      while (!loadIsOver && gameServer.answered / plan.requests < (index + 0.5) / (options.underLoad.length + 0.5))
        await delay(20);
      log(`${name} at ${gameServer.answered} of ${plan.requests} requests`);
      seen.push(await ACTS[name](stage, log));
    }
  })();
  const [played] = await Promise.all([
    gameServer.play(plan.scripts, options.atOnce, options.seed).finally(() => (loadIsOver = true)),
    acting,
  ]);
  log('the load is over');
  await stage.ready();
  for (const name of options.afterLoad ?? []) seen.push(await ACTS[name](stage, log));
  const open = await waitForQuiet(stage, log);
  const facts = await gatherFacts(stage);
  const own = new Set(facts.transactions.filter(({ ref_id }) => OWN.test(ref_id)).map(({ id }) => id));
  // The acts' own movements are asked for one by one by the acts; of them the checker says only that nobody planned
  // them.
  const violations = check(plan, 'idempotent', played, facts).filter(
    ({ invariant, transactionId }) =>
      !(invariant === 'nothing is invented' && transactionId !== null && own.has(transactionId)),
  );
  const faults = [
    ...seen.flatMap(({ faults: found }) => found),
    ...(open === null ? [] : [open]),
    ...stage.hubs.flatMap(({ crashes }) => crashes),
  ];
  for (const [code, count] of Object.entries(played.faults))
    if (code !== 'store_unavailable') faults.push(`${count} answers ${code}`);
  const accepts = played.sent
    .flatMap(({ sendings }) => sendings)
    .filter(({ status }) => status === 200 || status === 202)
    .map(({ endedAt }) => endedAt + gameStartedAt);
  const firstAcceptMs = seen.flatMap(({ readyAt }) =>
    readyAt === undefined ? [] : [Math.round(Math.min(...accepts.filter((at) => at > readyAt)) - readyAt)],
  );
  for (const ms of firstAcceptMs)
    if (!(ms <= FIRST_ACCEPT_MS_MAX)) faults.push(`the first accept came ${ms} ms after the new primary was ready`);
  const lost = count(violations, 'nothing accepted is lost');
  const report = {
    variant: options.name,
    acknowledged:
      played.sent.filter(({ sendings }) => sendings.some(({ status }) => status === 200 || status === 202)).length +
      own.size,
    lost,
    doubled: count(violations, 'the books hold each movement exactly once'),
    notTold: count(violations, 'every outcome is told exactly once') + count(violations, 'every outcome is told'),
    firstAcceptMs,
    answers5xx: played.faults,
    numbers: Object.assign({}, ...seen.map(({ numbers }) => numbers)) as Record<string, unknown>,
    seconds: Math.round((performance.now() - started) / 100) / 10,
  };
  if (losesOnPurpose)
    return {
      ...report,
      verdict: lost > 0 ? 'ok' : 'violated',
      faults: lost > 0 ? [] : ['nothing was lost without synchronous replication: the checker, or the test, is blind'],
    };
  const all = [...faults, ...violations.map(({ invariant, what }) => `${invariant}: ${what}`)];
  return { ...report, verdict: all.length === 0 ? 'ok' : 'violated', faults: all };
}

function count(violations: readonly Violation[], invariant: string): number {
  return violations.filter((violation) => violation.invariant === invariant).length;
}
