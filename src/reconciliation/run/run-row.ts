import type { Row } from '../../database/database';
import type { HeldRun, ReconRun, RunCounts, RunFault, RunKind, RunRules, RunState } from './run';

/** What `toRun` reads of recon.run. */
export const RUN_COLUMNS = `id, kind, state, operator_id, rgs_id, window_from, window_to, business_date::text as business_date,
  zone, cutoff, as_of, grace_seconds, hard_limit_seconds, pad_seconds, list_shards, rules, slot, lease_token, lost_leases,
  buckets_done, items_written, counts, item_count, csv_sha256, csv_bytes, legacy_sha256, error, created_by, created_at,
  started_at, finished_at`;

export interface RunRow extends Row {
  id: string;
  kind: RunKind;
  state: RunState;
  operator_id: number;
  rgs_id: number;
  window_from: Date | null;
  window_to: Date | null;
  business_date: string | null;
  zone: string;
  cutoff: string;
  as_of: Date;
  grace_seconds: number;
  hard_limit_seconds: number;
  pad_seconds: number;
  list_shards: number;
  rules: RunRules;
  slot: number | null;
  lease_token: string;
  lost_leases: number;
  buckets_done: number;
  items_written: boolean;
  counts: RunCounts | null;
  item_count: string | null;
  csv_sha256: Buffer | null;
  csv_bytes: string | null;
  legacy_sha256: Buffer | null;
  error: RunFault | null;
  created_by: string;
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
}

export function toRun(row: RunRow): ReconRun {
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    operatorId: row.operator_id,
    rgsId: row.rgs_id,
    window: row.window_from === null || row.window_to === null ? null : { from: row.window_from, to: row.window_to },
    businessDate: row.business_date,
    zone: row.zone,
    cutoff: row.cutoff,
    asOf: row.as_of,
    graceSeconds: row.grace_seconds,
    hardLimitSeconds: row.hard_limit_seconds,
    padSeconds: row.pad_seconds,
    listShards: row.list_shards,
    rules: row.rules,
    slot: row.slot,
    leaseToken: row.lease_token,
    lostLeases: row.lost_leases,
    bucketsDone: row.buckets_done,
    itemsWritten: row.items_written,
    counts: row.counts,
    itemCount: row.item_count === null ? null : Number(row.item_count),
    csvSha256: row.csv_sha256,
    legacySha256: row.legacy_sha256,
    csvBytes: row.csv_bytes === null ? null : Number(row.csv_bytes),
    error: row.error,
    createdBy: row.created_by,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  };
}

/** Throws for a run without a slot. */
export function held(run: ReconRun): HeldRun {
  const { slot } = run;
  if (slot === null) throw new Error(`run ${run.id} was taken without a slot`);
  return { ...run, slot };
}
