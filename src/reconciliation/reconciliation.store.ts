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

  async mismatchCount(runId: string): Promise<number> {
    const [row] = await this.database.rows<{ n: string }>(
      `select count(*) as n from (
         select correlation_id from reconciliation_row where run_id = $1 group by correlation_id having count(*) = 1) single`,
      [runId],
    );
    return Number(row?.n ?? 0);
  }

  /**
   * Rows that only `side` has, in the order of their correlation ids, after `after`. The other side is asked row by row, which OFFSET 0
   * insists on: the planner's idea of this table is that of an earlier run, and a join planned for a few rows is quadratic for many.
   */
  async missingElsewhere(runId: string, side: Side, after: string, limit: number): Promise<LedgerRow[]> {
    const rows = await this.database.rows<{ correlation_id: string; ref_id: string; direction: string; amount: string }>(
      `select r.correlation_id, r.ref_id, r.direction, r.amount from reconciliation_row r
       left join lateral (select 1 as known from reconciliation_row o where o.run_id = r.run_id and o.side = $5 and o.correlation_id = r.correlation_id offset 0) other on true
       where r.run_id = $1 and r.side = $2 and r.correlation_id > $3 and other.known is null
       order by r.correlation_id limit $4`,
      [runId, side, after, limit, side === 'rgs' ? 'operator' : 'rgs'],
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
