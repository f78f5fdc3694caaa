import { Injectable } from '@nestjs/common';
import { Interval } from '@nestjs/schedule';
import { messageOf } from '../../kernel/errors';
import { Logger } from '../../observability/logger';
import type { ReconRun } from '../run/run';
import { RunStore } from '../run/run.store';
import { ReportService } from './report.service';

const SIGN_MS = 5_000;
/** Runs that are signed in one go; the rest waits for the next. */
const SIGNED_AT_ONCE = 20;

/**
 * Signs runs soon after they were sealed and not when somebody first asks: what is not signed can still be changed
 * unseen. All replicas may do so at once: the store lets one manifest a run through.
 */
@Injectable()
export class ReportSigning {
  constructor(
    private readonly runs: RunStore,
    private readonly reports: ReportService,
    private readonly logger: Logger,
  ) {}

  @Interval(SIGN_MS)
  async sign(): Promise<void> {
    try {
      // Each on its own: a run that cannot be signed must not leave those behind it unsigned forever.
      for (const run of await this.runs.unsigned(SIGNED_AT_ONCE)) await this.signOne(run);
    } catch (error) {
      this.failed(error);
    }
  }

  private async signOne(run: ReconRun): Promise<void> {
    try {
      const { manifest, sha256 } = await this.reports.manifest(run);
      this.logger.event('info', 'reconciliation.signed', {
        runId: run.id,
        sequence: manifest.sequence,
        manifestSha256: sha256,
        reportSha256: manifest.report.sha256,
      });
    } catch (error) {
      this.failed(error, run.id);
    }
  }

  /** The next round tries again; until then ops see it here. */
  private failed(error: unknown, runId?: string): void {
    this.logger.event('warn', 'reconciliation.duty_failed', { duty: 'sign', runId, error: messageOf(error) });
  }
}
