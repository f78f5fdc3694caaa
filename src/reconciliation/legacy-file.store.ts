import { Injectable } from '@nestjs/common';
import { Database } from '../database/database';

/** A line of the six-column file, its amount in major units as text. */
export interface LegacyLine {
  readonly seq: string;
  readonly refId: string;
  readonly correlationId: string;
  /** The side's own word: debit and credit, or withdraw and deposit. */
  readonly direction: string;
  readonly amount: string;
  readonly inRgs: boolean;
}

@Injectable()
export class LegacyFileStore {
  constructor(private readonly database: Database) {}

  /**
   * Items that exactly one of the two partners has booked, after `seq`. Page by page by key: no connection is held while a reader is slow,
   * and none is left behind by one that goes.
   */
  async lines(runId: string, after: string, limit: number): Promise<LegacyLine[]> {
    const rows = await this.database.rows<{ seq: string; booked: number; ref: string | null; corr: string | null; direction: string | null; amount: string | null }>(
      `select seq, booked, case when booked & 1 = 1 then ref_rgs else ref_op end as ref, corr, case when booked & 1 = 1 then dir_raw_rgs else dir_raw_op end as direction,
         case when booked & 1 = 1 then amt_raw_rgs else amt_raw_op end as amount
       from recon.item where run_id = $1 and seq > $2 and booked & 3 in (1, 2) order by seq limit $3`,
      [runId, after, limit],
    );
    return rows.map((row) => ({ seq: row.seq, refId: row.ref ?? '', correlationId: row.corr ?? '', direction: row.direction ?? '', amount: row.amount ?? '', inRgs: (row.booked & 1) === 1 }));
  }
}
