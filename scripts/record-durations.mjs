// `node scripts/record-durations.mjs <file>`: of a run `npm test -- --json --outputFile=<file>`, how long each file
// took, for the order in which the next run begins them (test/support/jest/sequencer.mjs).
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './run.mjs';

const { testResults } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const seconds = testResults
  .map(({ name, startTime, endTime }) => [path.relative(root, name), Math.round((endTime - startTime) / 1000)])
  .sort(([one], [other]) => (one < other ? -1 : 1));
const file = path.join(root, 'test/support/jest/durations.json');
writeFileSync(file, `${JSON.stringify(Object.fromEntries(seconds), null, 2)}\n`);
