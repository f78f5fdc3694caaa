import { Injectable } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import { Database, type Sql } from '../../database/database';
import { isUniqueViolation } from '../../database/pg-errors';
import {
  type HeldRun,
  LIVE_STATES,
  type ReconRun,
  type RunCounts,
  type RunFault,
  type RunFilter,
  type RunRequest,
  type RunRules,
  SLOTS,
  paramsHash,
} from './run';
import { RUN_COLUMNS, type RunRow, held, toRun } from './run-row';

export const HARD_LIMIT_SECONDS = 24 * 3600;
export const PAD_SECONDS = 2 * 3600;

const LIVE = LIVE_STATES.map((state) => `'${state}'`).join(', ');

/** Another process took the run over, or a person cancelled it: what is being written must not be committed. */
export class LeaseLostError extends Error {
  constructor(id: string) {
    super(`run ${id} is no longer held by this process`);
    this.name = 'LeaseLostError';
  }
}

/** Runs, their leases and their ends. */
@Injectable()
export class RunStore {
  constructor(private readonly database: Database) {}

  /** A new run, or the live one that was asked for with the same parameters; `created` says which. */
  async create(
    request: RunRequest,
    pair: { operatorId: number; rgsId: number },
    listShards: number,
  ): Promise<{ run: ReconRun; created: boolean }> {
    const hash = paramsHash(request, pair);
    const rules: RunRules = {
      allowPartial: request.allowPartial,
      dryRun: request.dryRun,
      provisional: request.provisional,
    };
    for (;;) {
      const [created] = await this.database.rows<RunRow>(
        `insert into recon.run (id, kind, params_hash, operator_id, rgs_id, window_from, window_to, business_date, zone, cutoff, as_of, grace_seconds, hard_limit_seconds, pad_seconds, rules, created_by, idempotency_key, schedule_id, list_shards)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11, date_trunc('milliseconds', now())), $12, $13, $14, $15, $16, $17, $18, $19)
         on conflict (params_hash) where state in (${LIVE}) do nothing returning ${RUN_COLUMNS}`,
        [
          uuidv7(),
          request.kind,
          hash,
          pair.operatorId,
          pair.rgsId,
          request.window?.from ?? null,
          request.window?.to ?? null,
          request.businessDate,
          request.zone,
          request.cutoff,
          request.asOf,
          request.graceSeconds,
          HARD_LIMIT_SECONDS,
          PAD_SECONDS,
          JSON.stringify(rules),
          request.createdBy,
          request.idempotencyKey,
          request.scheduleId,
          listShards,
        ],
      );
      if (created !== undefined) return { run: toRun(created), created: true };
      const [live] = await this.database.rows<RunRow>(
        `select ${RUN_COLUMNS} from recon.run where params_hash = $1 and state in (${LIVE})`,
        [hash],
      );
      // Between the two statements it may have ended; then there is room for a new one.
      if (live !== undefined) return { run: toRun(live), created: false };
    }
  }

  async find(id: string): Promise<ReconRun | undefined> {
    const [row] = await this.database.rows<RunRow>(`select ${RUN_COLUMNS} from recon.run where id = $1`, [id]);
    return row === undefined ? undefined : toRun(row);
  }

  /** The run that a caller began with a key. */
  async byKey(createdBy: string, key: string): Promise<{ id: string; paramsHash: Buffer } | undefined> {
    const [row] = await this.database.rows<{ id: string; paramsHash: Buffer }>(
      'select id, params_hash as "paramsHash" from recon.run where created_by = $1 and idempotency_key = $2',
      [createdBy, key],
    );
    return row;
  }

  /** Newest first. */
  async list({ state, kind, businessDate, before, limit }: RunFilter): Promise<ReconRun[]> {
    const rows = await this.database.rows<RunRow>(
      `select ${RUN_COLUMNS} from recon.run
       where ($1::text is null or state = $1) and ($2::text is null or kind = $2)
         and ($3::date is null or business_date = $3)
         and ($4::uuid is null or (created_at, id) < (select created_at, id from recon.run where id = $4))
       order by created_at desc, id desc limit $5`,
      [state ?? null, kind ?? null, businessDate ?? null, before ?? null, limit],
    );
    return rows.map(toRun);
  }

  /** The youngest sealed run: of those that finance asked for, or of the legacy hub's call. */
  async latestSealed({ legacy }: { legacy: boolean }): Promise<ReconRun | undefined> {
    const [row] = await this.database.rows<RunRow>(
      `select ${RUN_COLUMNS} from recon.run where state = 'sealed' and (kind = 'legacy') = $1
       order by created_at desc, id desc limit 1`,
      [legacy],
    );
    return row === undefined ? undefined : toRun(row);
  }

  /**
   * Sealed runs without a manifest, oldest first. The legacy hub's call makes a file each time and is signed only on
   * request.
   */
  async unsigned(limit: number): Promise<ReconRun[]> {
    const rows = await this.database.rows<RunRow>(
      `select ${RUN_COLUMNS} from recon.run where state = 'sealed' and manifest is null and kind <> 'legacy'
       order by finished_at, id limit $1`,
      [limit],
    );
    return rows.map(toRun);
  }

  /**
   * Takes a run that waits, or whose holder has fallen silent: `id`, or the oldest. Undefined when there is none, or no slot for it.
   * A lease that expired counts against the run unless it made progress meanwhile.
   * The lock waits out a page that its former holder is committing, so that afterwards only the new token writes.
   */
  async claim(owner: string, leaseSeconds: number, id: string | null = null): Promise<HeldRun | undefined> {
    try {
      // One statement is a transaction already; looking for work each second should cost one round trip.
      const [row] = await this.database.rows<RunRow>(
        `with due as (
           select r.id as due_id, r.lease_until is not null as is_lost,
             concat_ws('/', r.state, r.buckets_done, r.items_written, (select sum(p.pages) from recon.source_progress p where p.run_id = r.id)) as progress,
             coalesce(r.slot, (select min(s) from generate_series(0, ${SLOTS - 1}) s where not exists (select 1 from recon.run o where o.slot = s))) as due_slot
           from recon.run r where r.state in (${LIVE}) and (r.lease_until is null or r.lease_until < clock_timestamp())
             -- Who looks for work leaves a run that was made this moment to the process that made it and is about to take it.
             and case when $3::uuid is null then r.state <> 'queued' or r.created_at < clock_timestamp() - interval '1 second' else r.id = $3 end
           order by r.slot is null, r.created_at, r.id limit 1 for update of r skip locked
         )
         update recon.run r set slot = due_slot, state = case r.state when 'queued' then 'ingesting' else r.state end, lease_owner = $1, lease_token = r.lease_token + 1,
           lease_until = clock_timestamp() + $2 * interval '1 second', started_at = coalesce(r.started_at, now()),
           lost_leases = case when not is_lost then 0 when r.lost_at = progress then r.lost_leases + 1 else 1 end, lost_at = case when is_lost then progress end
         from due where r.id = due_id and due_slot is not null returning ${RUN_COLUMNS}`,
        [owner, leaseSeconds, id],
      );
      return row === undefined ? undefined : held(toRun(row));
    } catch (error) {
      // Two processes saw the same free slot; the index let one of them have it.
      if (isUniqueViolation(error, 'run_one_per_slot')) return undefined;
      throw error;
    }
  }

  /** False when the lease was lost. */
  async heartbeat({ id, leaseToken }: ReconRun, leaseSeconds: number): Promise<boolean> {
    const rows = await this.database.rows(
      `update recon.run set lease_until = clock_timestamp() + $3 * interval '1 second' where id = $1 and lease_token = $2 and state in (${LIVE}) returning 1`,
      [id, leaseToken, leaseSeconds],
    );
    return rows.length > 0;
  }

  /** Gives a run back so that another process may take it at once; a process that stops does so. */
  async release({ id, leaseToken }: ReconRun): Promise<void> {
    await this.database.rows(
      `update recon.run set lease_until = null where id = $1 and lease_token = $2 and state in (${LIVE})`,
      [id, leaseToken],
    );
  }

  /**
   * Fences the caller's transaction: a process that takes the run over waits until it is committed, and it throws when the run was taken over
   * already. KEY SHARE, so that two lists can be staged and the lease renewed at the same time.
   */
  async fence(tx: Sql, { id, leaseToken }: ReconRun): Promise<void> {
    const rows = await tx.rows('select 1 from recon.run where id = $1 and lease_token = $2 for key share', [
      id,
      leaseToken,
    ]);
    if (rows.length === 0) throw new LeaseLostError(id);
  }

  async enter(tx: Sql, run: HeldRun, state: 'ingesting' | 'matching' | 'summarising', bucketsDone = 0): Promise<void> {
    await tx.rows('update recon.run set state = $3, buckets_done = $4 where id = $1 and lease_token = $2', [
      run.id,
      run.leaseToken,
      state,
      bucketsDone,
    ]);
  }

  async bucketsDone(tx: Sql, run: HeldRun, count: number): Promise<void> {
    await tx.rows('update recon.run set buckets_done = $3 where id = $1 and lease_token = $2', [
      run.id,
      run.leaseToken,
      count,
    ]);
  }

  async itemsWritten(tx: Sql, run: HeldRun, counts: RunCounts): Promise<void> {
    await tx.rows(
      'update recon.run set items_written = true, counts = $3, item_count = $4 where id = $1 and lease_token = $2',
      [run.id, run.leaseToken, JSON.stringify(counts), counts.broken + counts.inFlight],
    );
  }

  /** Throws LeaseLostError when another process ended it. */
  async seal(tx: Sql, run: HeldRun, digest: { sha256: Buffer; bytes: number }): Promise<ReconRun> {
    if (run.kind === 'legacy') return this.end(tx, run, `state = 'sealed', legacy_sha256 = $3`, [digest.sha256]);
    return this.end(tx, run, `state = 'sealed', csv_sha256 = $3, csv_bytes = $4`, [digest.sha256, digest.bytes]);
  }

  async fail(tx: Sql, run: HeldRun, fault: RunFault): Promise<ReconRun> {
    return this.end(tx, run, `state = 'failed', error = $3`, [JSON.stringify(fault)]);
  }

  /** Its holder notices at the next write. `slot` is what it had. Undefined when the run has ended already. */
  async cancel(tx: Sql, id: string): Promise<{ run: ReconRun; slot: number | null } | undefined> {
    // Waits for a page that is being committed, so that the slot is released without a writer.
    const [before] = await tx.rows<{ slot: number | null }>(
      `select slot from recon.run where id = $1 and state in (${LIVE}) for update`,
      [id],
    );
    if (before === undefined) return undefined;
    const [row] = await tx.rows<RunRow>(
      `update recon.run set state = 'cancelled', slot = null, lease_owner = null, lease_until = null, lease_token = lease_token + 1, finished_at = clock_timestamp() where id = $1 returning ${RUN_COLUMNS}`,
      [id],
    );
    return row === undefined ? undefined : { run: toRun(row), slot: before.slot };
  }

  private async end(
    tx: Sql,
    run: HeldRun,
    change: string,
    parameters: (string | number | Buffer)[],
  ): Promise<ReconRun> {
    const [row] = await tx.rows<RunRow>(
      `update recon.run set ${change}, slot = null, lease_owner = null, lease_until = null, finished_at = clock_timestamp() where id = $1 and lease_token = $2 and state in (${LIVE}) returning ${RUN_COLUMNS}`,
      [run.id, run.leaseToken, ...parameters],
    );
    if (row === undefined) throw new LeaseLostError(run.id);
    return toRun(row);
  }
}
