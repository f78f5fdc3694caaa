import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { withOwned } from '../../test/support/leftovers';
import { type Violation, check, offendersOf, timelineOf } from './checker';
import { Disturber } from './disturber';
import { type Facts, gatherFacts } from './facts';
import { GameServer, type GameServerLog } from './game-server';
import { type OperatorKind, type Plan, makePlan } from './plan';
import { type Network, World } from './world';

export interface ChaosOptions {
  readonly seed: number;
  readonly movements: number;
  readonly kills: number;
  readonly hubs: number;
  /** Players whose scripts run at once. */
  readonly atOnce: number;
  readonly playersMin?: number;
  readonly operator?: OperatorKind;
  /**
   * Failures in a row that open the breaker of a destination; the hub's own default is 10. The slow start after each
   * opening then leaves most bets to their deadline. With many more the breaker seldom opens, and most bets reach the
   * operator: two different storms.
   */
  readonly breakerFailures?: number;
  readonly network?: Network;
  /** Where databases and logs live; one folder per run. */
  readonly directory: string;
  readonly log: (line: string) => void;
}

export interface ChaosReport {
  readonly seed: number;
  readonly operator: OperatorKind;
  readonly verdict: 'ok' | 'violated';
  readonly violations: readonly Violation[];
  readonly counts: Readonly<Record<string, unknown>>;
  /** Kept only when something is wrong. */
  readonly directory: string | null;
}

const QUIET_MS_MAX = 120_000;
const OFFENDERS_SHOWN = 10;
const PERSON_ROUNDS_MAX = 60;
/** Scripts whose movements may be met by misfortune before the weather changes next. */
const SCRIPTS_AHEAD = 300;

/** One seed: plan, storm, calm, person, verdict. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const plan = makePlan(options);
  const directory = path.join(options.directory, `seed-${options.seed}`);
  const started = performance.now();
  const log = (line: string): void =>
    options.log(`[seed ${options.seed} ${((performance.now() - started) / 1000).toFixed(1)} s] ${line}`);
  log(
    `${plan.movements} movements in ${plan.requests} requests of ${plan.scripts.length} players, ${plan.disturbances.length} disturbances, ${plan.refusals.length} refusals`,
  );
  const world = World.start(
    directory,
    options.hubs,
    options.operator ?? 'idempotent',
    options.breakerFailures ?? 10,
    options.network ?? 'near',
  );
  const report = await withOwned(
    world,
    (it) => it.stop(),
    (it) => storm(plan, it, options, log, started, directory),
  );
  if (report.verdict === 'ok') fs.rmSync(directory, { recursive: true, force: true });
  return report;
}

async function storm(
  plan: Plan,
  world: World,
  options: ChaosOptions,
  log: (line: string) => void,
  started: number,
  directory: string,
): Promise<ChaosReport> {
  const seconds = (): number => Math.round((performance.now() - started) / 100) / 10;
  const gameServer = new GameServer(() => world.hubs);
  const loadStartedAt = Date.now();
  let loadIsOver = false;
  const progress = (): number => (loadIsOver ? 1 : gameServer.answered / plan.requests);
  const disturber = new Disturber(world, progress, log);

  const weather = followWeather(plan, world, gameServer, () => loadIsOver);
  const ticker = setInterval(() => log(`${gameServer.answered} of ${plan.requests} requests answered`), 10_000);
  const disturbed = disturber.run(plan.disturbances);
  const played = await gameServer.play(plan.scripts, options.atOnce, plan.options.seed);
  loadIsOver = true;
  clearInterval(ticker);
  const loadSeconds = seconds();
  log('the load is over');
  await Promise.all([weather, disturbed]);
  await world.setFaults({ targeted: plan.refusals.map((fault) => [fault]), weather: [] }, []);
  await Promise.all(world.hubs.map((hub) => hub.ready(60_000)));
  log('calm: all faults are off, all processes are up');

  const problems: Violation[] = [];
  const note = (invariant: string, what: string): void =>
    void problems.push({ invariant, what, playerId: null, transactionId: null });
  let open = await waitForQuiet(world, log);
  if (open !== null) note('nothing stays open', open);
  const calmSeconds = seconds();
  let facts = await gatherFacts(world);
  const kind = options.operator ?? 'idempotent';
  problems.push(...check(plan, kind, played, facts));
  const parked = facts.parked.length;

  // What is parked waits for a person. This one sends it again where that is safe, and then goes by the operator's
  // books. What stood behind a parked bet goes on then, and the operator may refuse some of it: that is parked in its
  // turn.
  if (parked > 0 && problems.length === 0) {
    for (let round = 0; facts.parked.length > 0 && round < PERSON_ROUNDS_MAX; round++) {
      await resolveParked(world, facts, round === 0 && kind === 'idempotent' ? 'retry' : 'books');
      open = await waitForQuiet(world, log);
      if (open !== null) note('nothing stays open', open);
      facts = await gatherFacts(world);
    }
    if (facts.parked.length > 0)
      note(
        'nothing stays open',
        `${facts.parked.length} transactions are parked after a person dealt with all of them`,
      );
    problems.push(...check(plan, kind, played, facts));
  }
  for (const crash of world.hubs.flatMap(({ crashes }) => crashes)) note('hubs live until they are killed', crash);
  for (const failure of disturber.failures) note('disturbances pass', failure);

  const counts = {
    ...countsOf(facts, played),
    plannedMovements: plan.movements,
    kills: disturber.kills,
    disturbances: disturber.done,
    parkedBeforeThePerson: parked,
    hubStarts: world.hubs.reduce((sum, { starts }) => sum + starts, 0),
    hubStartsThatFailed: world.hubs.reduce((sum, { failedStarts }) => sum + failedStarts, 0),
    seconds: { load: loadSeconds, quiet: calmSeconds, all: seconds() },
  };
  if (problems.length > 0) {
    const file = path.join(directory, 'violations.txt');
    fs.writeFileSync(file, describe(problems, played, facts, loadStartedAt));
    log(`${problems.length} violations; the data is kept in ${directory}`);
  }
  return {
    seed: plan.options.seed,
    operator: kind,
    verdict: problems.length === 0 ? 'ok' : 'violated',
    violations: problems,
    counts,
    directory: problems.length === 0 ? null : directory,
  };
}

async function followWeather(plan: Plan, world: World, gameServer: GameServer, isOver: () => boolean): Promise<void> {
  for (const { from, operator, rgs } of plan.weather) {
    while (gameServer.answered / plan.requests < from && !isOver()) await delay(50);
    if (isOver()) return;
    const ahead = plan.scripts.slice(gameServer.finished, gameServer.finished + SCRIPTS_AHEAD);
    const misfortunes = ahead.flatMap(({ playerId }) => plan.misfortunes.get(playerId) ?? []);
    await world.setFaults(
      { targeted: [...plan.refusals.map((fault) => [fault]), ...misfortunes], weather: operator },
      rgs,
    );
  }
}

/** Null when nothing is open any more; otherwise what still is after the deadline, in words. */
export async function waitForQuiet(world: Pick<World, 'query'>, log: (line: string) => void): Promise<string | null> {
  const deadline = performance.now() + QUIET_MS_MAX;
  let told = performance.now();
  for (;;) {
    const [row] = await world.query<{ open: Record<string, number> }>(
      `select json_build_object(
         'heads', (select count(*) from outbox_head where visible_at < 'infinity'),
         'lanes', (select count(*) from outbox_lane where head_seq <= last_seq and blocked_by is null),
         'states', (select coalesce(json_object_agg(state, n), '{}') from (select state, count(*) as n from wallet_transaction t
           where state not in ('confirmed', 'rejected', 'compensated', 'rolled_back', 'parked')
             and not (movement = 'rollback' and exists (select 1 from wallet_transaction b where b.id = t.original_id and b.state = 'parked'))
             -- What stands behind a parked bet waits for the same person.
             and not exists (select 1 from outbox_message m join outbox_lane l on l.destination_id = m.destination_id and l.lane_key = m.lane_key where m.id = t.message_id and l.blocked_by is not null and m.lane_seq > l.head_seq)
           group by state) s)) as open`,
    );
    const open = row?.open as { heads: number; lanes: number; states: Record<string, number> } | undefined;
    if (open !== undefined && open.heads === 0 && open.lanes === 0 && Object.keys(open.states).length === 0) {
      // Callbacks that are still on their way come to a hub that knows all outcomes; they may only repeat them.
      await delay(300);
      return null;
    }
    if (performance.now() - told > 5_000) {
      told = performance.now();
      log(`still open: ${JSON.stringify(open)}`);
    }
    if (performance.now() > deadline) return `not quiet after ${QUIET_MS_MAX / 1000} s: ${JSON.stringify(open)}`;
    await delay(100);
  }
}

/** Longer than a time-out and the grace under any plan. */
const IN_FLIGHT_MS_MAX = 120_000;

async function resolveParked(world: World, facts: Facts, how: 'retry' | 'books'): Promise<void> {
  const booked = new Set(
    facts.books.map(({ playerId, direction, reference }) => `${playerId} ${direction} ${reference}`),
  );
  for (const { transaction_id } of facts.parked) {
    const row = facts.transactions.find(({ id }) => id === transaction_id);
    if (row === undefined) continue;
    const reference =
      row.undo_message_id === null
        ? `${row.external_player_id} ${row.movement === 'debit' ? 'withdraw' : 'deposit'} ${row.ref_id}`
        : `${row.external_player_id} deposit rollback:${row.ref_id}`;
    // Half of the time the books are enough to go by.
    const resolution =
      how === 'retry' && Number.parseInt(transaction_id.slice(-1), 16) % 2 === 0
        ? 'retry'
        : booked.has(reference)
          ? 'applied'
          : 'not_applied';
    const resolve = () =>
      fetch(`${world.hubs[0]?.url}/admin/failed-transactions/${transaction_id}`, {
        method: 'PATCH',
        headers: { authorization: 'Bearer change_token', 'content-type': 'application/json' },
        body: JSON.stringify({ resolution, reason: "chaos run: as the operator's books say" }),
      });
    let answer = await resolve();
    let text = await answer.text();
    // What was lost last may still be booked: a person waits for as long as the answer says.
    for (
      const deadline = Date.now() + IN_FLIGHT_MS_MAX;
      answer.status === 409 && text.includes('money_in_flight') && Date.now() < deadline;
      text = await answer.text()
    ) {
      await delay(Number(answer.headers.get('retry-after') ?? 1) * 1000);
      answer = await resolve();
    }
    if (!answer.ok)
      throw new Error(`resolving ${transaction_id} as ${resolution} was answered ${answer.status}: ${text}`);
  }
}

function countsOf(facts: Facts, played: GameServerLog): Record<string, unknown> {
  const tally = (values: readonly string[]): Record<string, number> =>
    values.reduce<Record<string, number>>((sum, value) => ({ ...sum, [value]: (sum[value] ?? 0) + 1 }), {});
  const states: Record<string, number> = {};
  for (const { movement, state, tombstone } of facts.transactions) {
    const name = tombstone ? 'tombstone' : `${movement}_${state}`;
    states[name] = (states[name] ?? 0) + 1;
  }
  const sendings = played.sent.flatMap((sent) => sent.sendings);
  return {
    movements: facts.transactions.length,
    states,
    requests: played.sent.length,
    sendings: sendings.length,
    replays: sendings.filter(({ replayed }) => replayed).length,
    sendingsWithoutAnswer: sendings.filter(({ status }) => status === null).length,
    answers5xx: played.faults,
    looks: played.looked.length,
    operatorCalls: facts.operatorCalls.length,
    operatorRepeats: facts.operatorCalls.filter(({ repeat }) => repeat).length,
    operatorFaults: facts.injected.operator,
    rgsFaults: facts.injected.rgs,
    bookings: facts.books.length,
    webhooks: facts.told.length,
    webhookDeliveries: facts.rgsCalls.length,
    callbacks: tally(facts.callbacks.map(({ verdict }) => verdict)),
    staleSettles: facts.attempts.filter(({ outcome }) => outcome === 'stale').length,
    attempts: tally(facts.attempts.map(({ class: name }) => name)),
    errorsLogged: facts.logged,
  };
}

function describe(problems: readonly Violation[], played: GameServerLog, facts: Facts, loadStartedAt: number): string {
  const offenders = offendersOf(problems, facts);
  return [
    ...problems.map(
      ({ invariant, what, playerId }) => `${invariant}: ${what}${playerId === null ? '' : ` (player ${playerId})`}`,
    ),
    ...offenders.flatMap((id) => ['', `--- ${id}`, ...timelineOf(id, played, facts, loadStartedAt)]),
    '',
  ].join('\n');
}

/** The violations with the timelines of the first offenders, as a person reads them. */
export function explain(report: ChaosReport): string {
  if (report.directory === null) return '';
  const text = fs.readFileSync(path.join(report.directory, 'violations.txt'), 'utf8');
  const parts = text.split('\n--- ');
  return parts.slice(0, 1 + OFFENDERS_SHOWN).join('\n--- ');
}
