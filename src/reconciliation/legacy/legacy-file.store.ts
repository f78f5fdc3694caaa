import { Injectable } from '@nestjs/common';
import { Database } from '../../database/database';

/** A line of the six-column file, its amount in major units as text. */
export interface LegacyLine {
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

  /** Number of the run's last item; 0 when it has none. */
  async lastSeq(runId: string): Promise<number> {
    const [end] = await this.database.rows<{ seq: string | null }>(
      'select max(seq) as seq from recon.item where run_id = $1',
      [runId],
    );
    return Number(end?.seq ?? 0);
  }

  /**
   * Items `after` < seq <= `last` that exactly one of the two partners has booked. Page by page by key: no connection is held while a reader is
   * slow, and none is left behind by one that goes. By ranges for the reason that ReportStore.itemPages has.
   */
  async lines(runId: string, after: number, last: number): Promise<LegacyLine[]> {
    const rows = await this.database.rows<{
      in_rgs: boolean;
      ref: string | null;
      corr: string | null;
      direction: string | null;
      amount: string | null;
    }>(
      `select in_rgs, corr,
         case when in_rgs then ref_rgs else ref_op end as ref,
         case when in_rgs then dir_raw_rgs else dir_raw_op end as direction,
         case when in_rgs then amt_raw_rgs else amt_raw_op end as amount
       from recon.item cross join lateral (select recon.has_rgs(booked) as in_rgs) booking
       where run_id = $1 and seq > $2 and seq <= $3 and in_rgs <> recon.has_operator(booked) order by seq`,
      [runId, after, last],
    );
    return rows.map((row) => ({
      refId: row.ref ?? '',
      correlationId: row.corr ?? '',
      direction: row.direction ?? '',
      amount: row.amount ?? '',
      inRgs: row.in_rgs,
    }));
  }
}
