import path from 'node:path';
import Sequencer from '@jest/test-sequencer';

/**
 * The files that take longest come first: begun last, one of them would run on while the other worker has nothing left to do. Those that
 * use their time, mostly with processes of their own, take turns with those that wait for time to pass. Jest orders by the size of the
 * files instead, or by its cache, which a fresh clone does not have.
 */
const LONGEST = [
  'unknown-outcomes',
  'chaos-processes',
  'recon-laws',
  'recon-crash',
  'rolling-restart',
  'upgrade',
  'rollback-interleavings',
  'deadline',
  'process-start',
  'store-failover',
  'chaos',
  'outbox-rate-limit',
  'generated-clients',
  'process-stop',
  'postman',
  'fuzz',
  'far-network',
  'reconciliation',
  'outbox-retry',
  'recon-readers',
  'recon-cli-world',
  'embedded-postgres',
  'outbox-fair-shares',
  'outbox-shutdown',
  'draining',
  'inbound-limits',
  'shared-operator',
  'look-up-lists',
  'look-up',
  'store-sessions',
  'partner-network',
  'wallet-in-flight',
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
