import path from 'node:path';
import Sequencer from '@jest/test-sequencer';

/**
 * The files that take longest come first: begun last, one of them would run on while the other worker has nothing left to do. Those that
 * use their time, mostly with processes of their own, take turns with those that wait for time to pass. Jest orders by the size of the
 * files instead, or by its cache, which a fresh clone does not have.
 */
const LONGEST = [
  'unknown-outcomes',
  'rollback-interleavings',
  'chaos',
  'fuzz',
  'outbox-rate-limit',
  'far-network',
  'partner-network',
  'rolling-restart',
  'deadline',
  'recon-laws',
  'outbox-retry',
  'chaos-processes',
  'recon-crash',
  'outbox-shutdown',
  'reconciliation',
  'recon-readers',
  'postman',
  'embedded-postgres',
  'operator-outcomes',
  'recon-parts',
  'recon-oracle',
  'rollback',
];

export default class LongestFirst extends Sequencer {
  sort(tests) {
    const turn = ({ path: file }) => {
      const index = LONGEST.indexOf(path.basename(file, '.spec.ts'));
      return index === -1 ? LONGEST.length : index;
    };
    return [...super.sort(tests)].sort((one, other) => turn(one) - turn(other));
  }
}
