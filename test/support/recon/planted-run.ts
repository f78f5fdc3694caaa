import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { withClient } from '../hub/test-database';
import type { TestHub } from '../hub/test-hub';

/** A row of recon.item; what is not given is a bet that only the RGS and the hub know. */
export type PlantedItem = Readonly<Record<string, unknown>>;

export interface PlantedRun {
  readonly items?: readonly PlantedItem[];
  /** So many items more, made by the database. */
  readonly many?: number;
  /** A statement about them, with the run's id as $1. */
  readonly reshape?: string;
  /** Rows of recon.summary. */
  readonly summary?: readonly {
    business_date: string | null;
    cur: string;
    dir: string;
    class: string;
    state: string;
    source: number;
    n: number;
    sum_minor: string;
  }[];
  readonly businessDate?: string | null;
  readonly window?: readonly [string, string] | null;
  readonly zone?: string;
  readonly state?: string;
  readonly kind?: string;
}

/**
 * Writes a run as the engine leaves it behind, without reading any list: for tests of what is made from it. In one
 * transaction, as the engine seals: a hub signs sealed runs on its own, and would sign one whose items are still to
 * come.
 */
export async function plantRun(
  hub: Pick<TestHub, 'database'>,
  {
    items = [],
    many = 0,
    reshape,
    summary = [],
    businessDate = '2026-11-22',
    window = ['2026-11-22T05:00:00Z', '2026-11-23T05:00:00Z'],
    zone = 'Europe/Malta',
    state = 'sealed',
    kind = 'adhoc',
  }: PlantedRun = {},
): Promise<string> {
  const id = uuidv7();
  const ended = ['sealed', 'failed', 'cancelled'].includes(state);
  const count = items.length + many;
  await withClient(hub.database.superuserUrl, async (client) => {
    await client.query('begin');
    await client.query(
      `insert into recon.run (id, kind, params_hash, operator_id, rgs_id, window_from, window_to, business_date, zone, cutoff, as_of, grace_seconds, hard_limit_seconds, pad_seconds, state, items_written, counts, item_count, error, created_by, started_at, finished_at)
       select $1, $2, $3, o.id, r.id, $4, $5, $6, $7, '06:00', '2026-11-23T05:20:00Z', 900, 86400, 7200, $8, $9, $10, $11, $12, 'finance:planted', now(), $13
       from partner o, partner r where o.code = 'operator' and r.code = 'rgs'`,
      [
        id,
        kind,
        Buffer.from(randomUUID()),
        window?.[0] ?? null,
        window?.[1] ?? null,
        businessDate,
        zone,
        state,
        state === 'sealed',
        state === 'sealed' ? JSON.stringify({ broken: count }) : null,
        state === 'sealed' ? count : null,
        state === 'failed' ? JSON.stringify({ reason: 'unreachable', side: 'operator' }) : null,
        ended ? new Date('2026-11-23T05:20:10Z') : null,
      ],
    );
    const rows = items.map((item, index) => ({
      run_id: id,
      seq: index + 1,
      k: randomUUID(),
      leg: 'movement',
      classes: ['missing_in_operator'],
      severity: 'critical',
      state: 'broken',
      reason: 'rgs x1, operator x0, hub x1',
      next_action: 'requery_operator',
      presence: 5,
      booked: 5,
      n_rgs: 1,
      n_op: 0,
      n_hub: 1,
      ref_id: `ref-${index + 1}`,
      corr: randomUUID(),
      player: 'player-17',
      cur: 'EUR',
      dir: 'debit',
      amt_rgs: '1000',
      amt_op: null,
      amt_hub: '1000',
      difference: '-1000',
      st_rgs: 'OK',
      st_op: null,
      st_hub: 'confirmed',
      anchor_at: '2026-11-22T12:00:00Z',
      business_date: businessDate,
      ...item,
    }));
    for (const row of rows) Object.assign(row, { class: row.classes[0] });
    await client.query('insert into recon.item select * from json_populate_recordset(null::recon.item, $1)', [
      JSON.stringify(rows),
    ]);
    await client.query('insert into recon.summary select * from json_populate_recordset(null::recon.summary, $1)', [
      JSON.stringify(summary.map((cell) => ({ run_id: id, ...cell }))),
    ]);
    await client.query(
      `insert into recon.item (run_id, seq, k, leg, class, classes, severity, state, reason, next_action, presence, booked, n_rgs, n_op, n_hub, ref_id, corr, player, cur, dir, amt_rgs, amt_hub, anchor_at, business_date)
       select $1, n, gen_random_uuid(), 'movement', 'missing_in_operator', array['missing_in_operator'], 'critical', 'broken', 'rgs x1, operator x0, hub x1', 'requery_operator', 5, 5, 1, 0, 1,
         'ref-' || n, gen_random_uuid()::text, 'player-' || n, 'EUR', 'debit', n, n, timestamptz '2026-11-22 12:00Z' + n * interval '1 millisecond', '2026-11-22'
       from generate_series($2::bigint, $3::bigint) n`,
      [id, items.length + 1, count],
    );
    if (reshape !== undefined) await client.query(reshape, [id]);
    await client.query('commit');
  });
  return id;
}
