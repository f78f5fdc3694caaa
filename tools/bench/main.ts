import 'reflect-metadata';
import { parseArgs } from 'node:util';
import type { Bench, BenchRun } from './bench';
import { blockedPlayer } from './blocked-player';
import { cost } from './cost';
import { deliver } from './deliver';
import { drain } from './drain';
import { far } from './far';
import { fullFlow } from './full-flow';
import { growth } from './growth';
import { appendHistory } from './history';
import { hostile } from './hostile';
import { idle } from './idle';
import { ingest } from './ingest';
import { latency } from './latency';
import { noisyNeighbour } from './noisy-neighbour';
import { pinnedSnapshot } from './pinned-snapshot';
import { type Line, lineOf, table } from './report';
import { endAllOnSignals } from '../../test/support/leftovers';
import { withDatabase } from './stage';
import { wait } from './wait';

/** In this order; each brings its own databases and hubs and leaves nothing behind. */
const BENCHES: readonly Bench[] = [
  ingest,
  drain,
  deliver,
  latency,
  far,
  wait,
  fullFlow,
  idle,
  blockedPlayer,
  pinnedSnapshot,
  noisyNeighbour,
  hostile,
  growth,
  cost,
];

const ROUNDS = 3;

const HELP = `npm run bench [-- options]

  --quick           shorter windows, for a first look; without ${BENCHES.filter(
    ({ needsFullWindows }) => needsFullWindows,
  )
    .map(({ name }) => name)
    .join(', ')}, which say something else then.
                    Some four minutes on an idle machine with two cores; each bench says how long it took
  --only a[,b]      only these benches, by their own name or that of a figure: ${BENCHES.map(({ name }) => name).join(', ')}
  --record          append to docs/performance-history.jsonl even though the run is not complete
`;

async function main(): Promise<void> {
  endAllOnSignals();
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      record: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stderr.write(HELP);
    return;
  }
  const wanted = chosen(values.only);
  const benches = wanted.filter(({ needsFullWindows }) => !values.quick || needsFullWindows !== true);
  const leftOut = wanted.filter((bench) => !benches.includes(bench)).map(({ name }) => name);
  const lines: Line[] = [];
  await withDatabase(async (serverUrl) => {
    const note = (text: string): void => void process.stderr.write(`${text}\n`);
    const run: BenchRun = {
      serverUrl,
      quick: values.quick,
      rounds: ROUNDS,
      note,
      report: (figure) => {
        const line = lineOf(figure);
        lines.push(line);
        process.stdout.write(`${JSON.stringify(line)}\n`);
      },
    };
    for (const bench of benches) {
      const started = performance.now();
      await bench.run(run);
      note(`${bench.name}: ${Math.round((performance.now() - started) / 1000)} s`);
    }
    if (wanted.length === BENCHES.length || values.record) await appendHistory(serverUrl, values.quick, lines);
  });
  process.stderr.write(`\n${table(lines, values.quick)}\n`);
  if (values.quick)
    process.stderr.write('\nShort windows, for a first look: not to be held against targets or other runs.\n');
  if (leftOut.length > 0)
    process.stderr.write(`Left out, since short windows say something else: ${leftOut.join(', ')}.\n`);
}

function chosen(only: string | undefined): readonly Bench[] {
  if (only === undefined) return BENCHES;
  const names = only.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !BENCHES.some((bench) => bench.name === name || bench.figures.includes(name)));
  if (unknown.length > 0) throw new Error(`there is no bench or figure named ${unknown.join(', ')}\n\n${HELP}`);
  return BENCHES.filter((bench) => names.some((name) => bench.name === name || bench.figures.includes(name)));
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
