import { readFileSync } from 'node:fs';
import path from 'node:path';
import Sequencer from '@jest/test-sequencer';

const ROOT = path.resolve(import.meta.dirname, '../../..');
/** Seconds by file, as scripts/record-durations.mjs wrote them. */
const DURATIONS = JSON.parse(readFileSync(path.join(import.meta.dirname, 'durations.json'), 'utf8'));

/**
 * The files that take longest come first: begun last, one of them would run on while the other worker has nothing left
 * to do. Jest orders by its cache instead, which a fresh clone does not have. A file without a duration is new, and
 * comes first too.
 */
export default class LongestFirst extends Sequencer {
  sort(tests) {
    const seconds = ({ path: file }) => DURATIONS[path.relative(ROOT, file)] ?? Infinity;
    return [...super.sort(tests)].sort((one, other) => seconds(other) - seconds(one) || 0);
  }
}
