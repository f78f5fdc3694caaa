import { randomUUID } from 'node:crypto';
import { plantRun } from './planted-run';
import type { TestHub } from '../hub/test-hub';

/** Writes an exception as a sealed run leaves it behind; answers its id. */
export async function plantException(
  hub: Pick<TestHub, 'database'>,
  columns: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const run = columns.last_run ?? (await plantRun(hub));
  const row = {
    id: randomUUID(),
    k: randomUUID(),
    class: 'missing_in_operator',
    state: 'open',
    severity: 'critical',
    first_run: run,
    last_run: run,
    first_seen: '2026-11-23T05:20:00Z',
    last_seen: '2026-11-23T05:20:00Z',
    anchor_at: '2026-11-22T12:00:00Z',
    cur: 'EUR',
    amount_minor: 1000,
    ref_id: 'ref-1',
    corr: randomUUID(),
    version: 0,
    ...columns,
  };
  await hub.database.query(
    `insert into recon.exception select (json_populate_record(null::recon.exception, ($1::jsonb || jsonb_build_object('operator_id', o.id, 'rgs_id', r.id))::json)).* from partner o, partner r where o.code = 'operator' and r.code = 'rgs'`,
    [JSON.stringify(row)],
  );
  return row.id;
}
