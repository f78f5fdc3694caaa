import type { Bench } from './bench';
import { withRig } from './outbox-rig';
import { median } from './report';
import { freshDatabase, query } from './stage';

const BLOCKED = 50_000;

/**
 * What one player whose messages stand still costs the others: the drain of everybody else, with and without 50 000
 * messages behind a blocked head.
 */
export const blockedPlayer: Bench = {
  name: 'blocked_player',
  figures: ['blocked_player'],
  needsFullWindows: true,
  run: async ({ serverUrl, rounds, report }) => {
    const count = 30_000;
    const rates = { blocked: [] as number[], free: [] as number[] };
    for (let round = 0; round < rounds; round += 1)
      for (const kind of ['free', 'blocked'] as const) {
        const url = await freshDatabase(serverUrl, `bench_blocked_${kind}`);
        const rate = await withRig(url, async (rig) => {
          if (kind === 'blocked') await block(url, rig.destinationId);
          await rig.enqueue(count);
          await query(url, 'vacuum analyze');
          return rig.drain();
        });
        rates[kind].push(rate);
      }
    report({
      name: 'blocked_player',
      value: median(rates.blocked),
      unit: 'messages/s',
      yardstick: `the same drain without the ${BLOCKED} blocked messages of one player`,
      yardstickValue: median(rates.free),
      rounds,
    });
  },
};

/** As outbox_settle leaves a lane whose head must wait for a person. */
async function block(url: string, destinationId: number): Promise<void> {
  await query(
    url,
    `with message as (
       insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, path, body)
       select rpad(left(replace(uuid_v7_floor(now())::text, '-', ''), 12) || '7' || lpad(to_hex(n), 8, '0'), 32, '0')::uuid, $1, $1, $1, 'blocked', n, 'debit', '', '{}' from generate_series(1, $2::integer) n
       returning id, lane_seq
     ), lane as (
       insert into outbox_lane (destination_id, lane_key, last_seq, head_seq, blocked_by) select $1, 'blocked', $2, 1, id from message where lane_seq = 1
     )
     insert into outbox_head (message_id, destination_id, lane_key, lane_seq, visible_at, attempts) select id, $1, 'blocked', 1, 'infinity', 1 from message where lane_seq = 1`,
    [destinationId, BLOCKED],
  );
}
