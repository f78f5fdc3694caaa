// `npm run bench:compare -- --with <folder of another build> [--only cost] [--pairs 6] [--quick]`: the same benches of
// two builds in turns, ABBA, so that a machine that gets slower or faster meanwhile does so for both. Prints one JSON
// line per figure: the median of the paired ratios this / other, and their range. Exit code 1 when a figure of --bounds
// cost=1.03 (name=ratio, several with commas) is above its bound.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { pinnedNode, root } from './run.mjs';

const { values } = parseArgs({
  options: {
    with: { type: 'string' },
    only: { type: 'string', default: 'cost' },
    pairs: { type: 'string', default: '6' },
    quick: { type: 'boolean', default: false },
    bounds: { type: 'string', default: '' },
  },
});
if (values.with === undefined) {
  process.stderr.write('--with <folder of another checkout that is built> is missing\n');
  process.exit(2);
}
const other = path.resolve(values.with);
const pairs = Number(values.pairs);
const bounds = new Map(
  values.bounds
    .split(',')
    .filter(Boolean)
    .map((bound) => bound.split('='))
    .map(([name, ratio]) => [name, Number(ratio)]),
);

/** Builds of 0.1.0 have their benches below test/. */
const mainOf = (folder) =>
  ['tools', 'test'].map((top) => path.join(folder, 'dist', top, 'bench', 'main.js')).find((file) => existsSync(file));

/** Figures of one run by name. */
function figures(folder) {
  const run = spawnSync(pinnedNode(), [mainOf(folder), '--only', values.only, ...(values.quick ? ['--quick'] : [])], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NODE_ENV: 'development' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (run.status !== 0) throw new Error(`the benches of ${folder} ended with ${run.status}`);
  return new Map(
    run.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .map(({ name, value }) => [name, value]),
  );
}

const ratios = new Map();
for (let pair = 0; pair < pairs; pair += 1) {
  const order = pair % 2 === 0 ? [root, other] : [other, root];
  const [first, second] = order.map(figures);
  const [mine, theirs] = pair % 2 === 0 ? [first, second] : [second, first];
  for (const [name, value] of mine) {
    const base = theirs.get(name);
    if (typeof value === 'number' && typeof base === 'number' && base > 0)
      ratios.set(name, [...(ratios.get(name) ?? []), value / base]);
  }
  process.stderr.write(`pair ${pair + 1} of ${pairs}\n`);
}

const round = (number) => Math.round(number * 1000) / 1000;
for (const [name, list] of ratios) {
  const sorted = list.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
  const bound = bounds.get(name);
  process.stdout.write(
    `${JSON.stringify({ figure: name, ratio: round(median), least: round(sorted[0]), most: round(sorted.at(-1)), pairs: sorted.length, ...(bound === undefined ? {} : { bound, held: median <= bound }) })}\n`,
  );
  if (bound !== undefined && median > bound) process.exitCode = 1;
}
