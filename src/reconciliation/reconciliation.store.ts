import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';

export type Side = 'rgs' | 'operator';

export interface LedgerRow {
  readonly correlationId: string;
  readonly refId: string;
  /** The side's own word: debit and credit, or withdraw and deposit. */
  readonly direction: string;
  /** Major units as text. */
  readonly amount: string;
}

/** SQL of the staging table; both lists meet there, so that neither has to fit in this process's memory. */
@Injectable()
export class ReconciliationStore {
  constructor(private readonly database: Database) {}

  /** Rows of one correlation id collapse into the first, as in the first hub. */
  async stage(runId: string, side: Side, rows: readonly LedgerRow[]): Promise<void> {
    await this.database.rows(
      `insert into reconciliation_row (run_id, side, correlation_id, ref_id, direction, amount)
       select $1, $2, * from unnest($3::text[], $4::text[], $5::text[], $6::text[]) on conflict do nothing`,
      [runId, side, rows.map((r) => r.correlationId), rows.map((r) => r.refId), rows.map((r) => r.direction), rows.map((r) => r.amount)],
    );
  }

  async staged(runId: string): Promise<number> {
    const [row] = await this.database.rows<{ n: string }>('select count(*) as n from reconciliation_row where run_id = $1', [runId]);
    return Number(row?.n ?? 0);
  }

  async mismatchCount(runId: string): Promise<number> {
    const [row] = await this.database.rows<{ n: string }>(
      `select count(*) as n from (
         select correlation_id from reconciliation_row where run_id = $1 group by correlation_id having count(*) = 1) single`,
      [runId],
    );
    return Number(row?.n ?? 0);
  }

  /** Rows that only `side` has, in the order of their correlation ids, after `after`. */
  async missingElsewhere(runId: string, side: Side, after: string, limit: number): Promise<LedgerRow[]> {
    const rows = await this.database.rows<{ correlation_id: string; ref_id: string; direction: string; amount: string }>(
      `select r.correlation_id, r.ref_id, r.direction, r.amount from reconciliation_row r
       where r.run_id = $1 and r.side = $2 and r.correlation_id > $3
         and not exists (select 1 from reconciliation_row o where o.run_id = $1 and o.side <> $2 and o.side in ('rgs', 'operator') and o.correlation_id = r.correlation_id)
       order by r.correlation_id limit $4`,
      [runId, side, after, limit],
    );
    return rows.map((row) => ({ correlationId: row.correlation_id, refId: row.ref_id, direction: row.direction, amount: row.amount }));
  }

  async discard(runId: string): Promise<void> {
    await this.database.rows('delete from reconciliation_row where run_id = $1', [runId]);
  }

  /** Rows of runs that began before `before` (a UUIDv7 bound): their process died. */
  async discardBefore(before: string): Promise<void> {
    await this.database.rows('delete from reconciliation_row where run_id < $1', [before]);
  }
}
