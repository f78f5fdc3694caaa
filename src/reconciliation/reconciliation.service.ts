import { Injectable } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import { HubError, messageOf } from '../kernel/errors';
import { Clock } from '../kernel/clock';
import { Logger } from '../observability/logger';
import { DEFAULT_OPERATOR, DEFAULT_RGS, PartnerDirectory } from '../partners/partner-directory';
import { LedgerSource, type SourceRow } from './ledger-source';
import { ReconciliationStore, type LedgerRow, type Side } from './reconciliation.store';

const STAGE_ROWS = 2_000;
const PAGE_ROWS = 2_000;
const ABANDONED_AFTER_MS = 24 * 3600 * 1000;

export interface Mismatch extends LedgerRow {
  readonly inRgs: boolean;
  readonly inOperator: boolean;
}

export interface Reconciliation {
  readonly mismatchCount: number;
  /** Rows without a correlation id: they can be matched with nothing and stand in no line. */
  readonly rejectedCount: number;
  /** Each mismatch once. */
  readonly mismatches: AsyncGenerator<Mismatch>;
  /** Discards the staged rows; to be called whether the file was sent or not. */
  readonly close: () => Promise<void>;
}

/** Compares what the RGS was told with what the operator booked, by correlation id. */
@Injectable()
export class ReconciliationService {
  constructor(
    private readonly store: ReconciliationStore,
    private readonly sources: LedgerSource,
    private readonly partners: PartnerDirectory,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** Both lists are read to their ends before the first line goes out: half a list would name money as missing that is not. Throws upstream_failed, and when `gone` is aborted. */
  async run(gone: AbortSignal): Promise<Reconciliation> {
    const started = performance.now();
    const rgs = this.partners.byCode(DEFAULT_RGS);
    const operator = this.partners.byCode(DEFAULT_OPERATOR);
    if (rgs === undefined || operator === undefined) throw new HubError('upstream_failed', { detail: 'the default pair of partners is not active' });
    const runId = uuidv7();
    await this.store.discardBefore(uuidv7({ msecs: this.clock.now() - ABANDONED_AFTER_MS }));
    try {
      const sides = await Promise.allSettled([this.stage(runId, 'rgs', this.sources.rgs(rgs, gone)), this.stage(runId, 'operator', this.sources.operator(operator, gone))]);
      const failed = sides.find((side) => side.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const [rgsRows, operatorRows] = sides.map((side) => (side.status === 'fulfilled' ? side.value : { rows: 0, rejected: 0 })) as [Staged, Staged];
      const mismatchCount = await this.store.mismatchCount(runId);
      this.logger.event('info', 'reconciliation.finished', { runId, rgsRows: rgsRows.rows, operatorRows: operatorRows.rows, mismatchCount, durationMs: Math.round(performance.now() - started) });
      return { mismatchCount, rejectedCount: rgsRows.rejected + operatorRows.rejected, mismatches: this.mismatches(runId), close: () => this.discard(runId) };
    } catch (error) {
      await this.discard(runId);
      throw error;
    }
  }

  private async stage(runId: string, side: Side, source: AsyncGenerator<SourceRow>): Promise<Staged> {
    let batch: LedgerRow[] = [];
    let rows = 0;
    let rejected = 0;
    const flush = async () => {
      if (batch.length > 0) await this.store.stage(runId, side, batch);
      batch = [];
    };
    for await (const row of source) {
      rows += 1;
      if (row === 'not_booked') continue;
      if (row === null) rejected += 1;
      else if (batch.push(row) >= STAGE_ROWS) await flush();
    }
    await flush();
    return { rows, rejected };
  }

  private async *mismatches(runId: string): AsyncGenerator<Mismatch> {
    for (const side of ['rgs', 'operator'] as const) {
      let after = '';
      for (;;) {
        const page = await this.store.missingElsewhere(runId, side, after, PAGE_ROWS);
        for (const row of page) yield { ...row, inRgs: side === 'rgs', inOperator: side === 'operator' };
        const last = page.at(-1);
        if (last === undefined || page.length < PAGE_ROWS) break;
        after = last.correlationId;
      }
    }
  }

  /** What is left behind is swept by a later run, so a failure here must not spoil a good file. */
  private async discard(runId: string): Promise<void> {
    await this.store.discard(runId).catch((error: unknown) => this.logger.event('warn', 'reconciliation.discard_failed', { runId, error: messageOf(error) }));
  }
}

interface Staged {
  readonly rows: number;
  readonly rejected: number;
}
