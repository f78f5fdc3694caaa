import type { Bench, BenchRun } from './bench';
import { commitLimit } from './commit-limit';
import { type LoadResult, blast, percentile, signedDebits } from './load';
import { median } from './report';
import { type Measured, freshDatabase, withHub, withProgram } from './stage';
import { cpuSeconds } from './usage';

const CONNECTIONS = 64;
const PLAYERS = 5_000;
/** More than anything here answers in a second. */
const REQUESTS_PER_SECOND_MAX = 16_000;
const WARM_SECONDS = 1;

interface Contender {
  readonly name: 'hub' | 'two hubs' | 'node:http' | 'Express';
  readonly processes: readonly Measured[];
  readonly rounds: Round[];
}

interface Round {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Microseconds of the server's own CPU per request. */
  readonly serverMicros: number;
  readonly generatorMicros: number;
}

/**
 * Accepted debits per second at 64 connections: one hub, two hubs, a bare server with the same statement, and pgbench,
 * taking turns.
 */
export const ingest: Bench = {
  name: 'ingest',
  figures: ['ingest_http', 'ingest_http_p99_ms', 'ingest_http_2proc', 'ingest_vs_bare_http', 'ingest_vs_bare_express'],
  run: async (run) => {
    const [one, two, bare, withExpress, limit] = await Promise.all(
      ['one', 'two', 'bare', 'express', 'limit'].map((name) => freshDatabase(run.serverUrl, `bench_ingest_${name}`)),
    );
    if (
      one === undefined ||
      two === undefined ||
      bare === undefined ||
      withExpress === undefined ||
      limit === undefined
    )
      throw new Error('five databases were asked for');
    const api = (database: string) => ({ DATABASE_URL: database, ROLE: 'api' });
    await withHub(api(one), (hub) =>
      withHub(api(two), (first) =>
        withHub(api(two), (second) =>
          withProgram('bare-server.js', ['http'], { DATABASE_URL: bare }, (nodeHttp) =>
            withProgram('bare-server.js', ['express'], { DATABASE_URL: withExpress }, (expressServer) =>
              compete(
                run,
                [
                  { name: 'hub', processes: [hub], rounds: [] },
                  { name: 'two hubs', processes: [first, second], rounds: [] },
                  { name: 'node:http', processes: [nodeHttp], rounds: [] },
                  { name: 'Express', processes: [expressServer], rounds: [] },
                ],
                limit,
              ),
            ),
          ),
        ),
      ),
    );
  },
};

async function compete(
  { rounds, quick, report, note }: BenchRun,
  contenders: readonly Contender[],
  limitUrl: string,
): Promise<void> {
  const seconds = quick ? 2 : 6;
  const limit = await commitLimit(limitUrl, CONNECTIONS);
  const limits: number[] = [];
  for (const contender of contenders) await load(contender, WARM_SECONDS, 'warm');
  await limit.perSecond(WARM_SECONDS);
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of contenders) contender.rounds.push(await load(contender, seconds, `run-${round}`));
    limits.push(await limit.perSecond(seconds));
  }
  const of = (name: Contender['name'], value: keyof Round = 'perSecond'): number =>
    median(contenders.find((contender) => contender.name === name)?.rounds.map((round) => round[value]) ?? []);
  report({
    name: 'ingest_http',
    value: of('hub'),
    unit: 'debits/s',
    yardstick: limit.name,
    yardstickValue: median(limits),
    rounds,
  });
  report({
    name: 'ingest_http_p99_ms',
    value: of('hub', 'p99'),
    unit: 'ms',
    yardstick: 'bare node:http server',
    yardstickValue: of('node:http', 'p99'),
    rounds,
  });
  report({
    name: 'ingest_http_2proc',
    value: of('two hubs'),
    unit: 'debits/s',
    yardstick: limit.name,
    yardstickValue: median(limits),
    rounds,
  });
  report({
    name: 'ingest_vs_bare_http',
    value: of('hub'),
    unit: 'debits/s',
    yardstick: 'bare node:http server, same statement and batches',
    yardstickValue: of('node:http'),
    rounds,
  });
  report({
    name: 'ingest_vs_bare_express',
    value: of('hub'),
    unit: 'debits/s',
    yardstick: 'bare Express server, same statement and batches',
    yardstickValue: of('Express'),
    rounds,
  });
  for (const { name } of contenders)
    note(
      `  ${name.padEnd(10)} ${of(name).toFixed(0).padStart(6)}/s  p50 ${of(name, 'p50').toFixed(1)} ms  p99 ${of(name, 'p99').toFixed(1)} ms  ${of(name, 'serverMicros').toFixed(0)} us of server CPU and ${of(name, 'generatorMicros').toFixed(0)} us of load generator per request`,
    );
}

async function load({ processes, name }: Contender, seconds: number, prefix: string): Promise<Round> {
  const requests = signedDebits(seconds * REQUESTS_PER_SECOND_MAX, { host: '127.0.0.1', players: PLAYERS, prefix });
  const used = (): number => processes.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
  const before = used();
  const result: LoadResult = await blast(
    processes.map(({ port }) => port),
    requests,
    CONNECTIONS,
    seconds,
  );
  if (result.failures > 0) throw new Error(`${name} did not accept ${result.failures} of ${result.requests} debits`);
  return {
    perSecond: result.perSecond,
    p50: percentile(result.latencies, 0.5),
    p99: percentile(result.latencies, 0.99),
    serverMicros: ((used() - before) * 1e6) / result.requests,
    generatorMicros: result.generatorMicros,
  };
}
