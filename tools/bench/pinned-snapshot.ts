import { Client } from 'pg';
import type { Bench } from './bench';
import { percentile } from './load';
import { withRig } from './outbox-rig';
import { freshDatabase, query } from './stage';

const PER_SECOND = 1_500;

/**
 * How long a claim takes while somebody's transaction keeps every dead row version alive, as a long report or an
 * abandoned session does. Without the watermark each claim walks over all heads that were ever due.
 */
export const pinnedSnapshot: Bench = {
  name: 'pinned_snapshot',
  figures: ['pinned_snapshot_claim_p50_ms'],
  needsFullWindows: true,
  run: async ({ serverUrl, report, note }) => {
    const seconds = 90;
    const free = await withRig(await freshDatabase(serverUrl, 'bench_unpinned'), async (rig) => {
      await rig.flow(PER_SECOND, Math.min(seconds, 20));
      return middle(rig.claimMs);
    });
    const url = await freshDatabase(serverUrl, 'bench_pinned');
    const pinned = await withRig(url, async (rig) => {
      // Something must have been there for the snapshot to see.
      await rig.flow(PER_SECOND, 1);
      const holder = new Client({ connectionString: url });
      await holder.connect();
      await holder.query('begin isolation level repeatable read');
      await holder.query('select count(*) from outbox_head');
      await rig.flow(PER_SECOND, seconds);
      // The last part is the worst: that is where most dead versions are.
      const claims = rig.claimMs.slice(-Math.ceil(rig.claimMs.length / 4));
      const [dead] = await query<{ n: number }>(
        url,
        `select n_dead_tup::integer as n from pg_stat_user_tables where relname = 'outbox_head'`,
      );
      note(
        `  ${seconds} s at ${PER_SECOND}/s under a pinned snapshot: ${dead?.n ?? 0} dead versions of heads at the end`,
      );
      await holder.query('rollback');
      await holder.end();
      return middle(claims);
    });
    report({
      name: 'pinned_snapshot_claim_p50_ms',
      value: pinned,
      unit: 'ms',
      yardstick: `the same ${PER_SECOND}/s without the snapshot; measured: the last quarter of ${seconds} s`,
      yardstickValue: free,
      rounds: 1,
    });
  },
};

function middle(values: readonly number[]): number {
  return percentile(Float64Array.from(values).sort(), 0.5);
}
