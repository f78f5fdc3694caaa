import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { messageOf } from '../../kernel/errors';
import { Logger } from '../../observability/logger';
import { Periodic } from '../../scheduling/periodic';
import type { ReconRun } from '../run/run';
import { RunStore } from '../run/run.store';
import { ReportService } from './report.service';

const TASK = 'reconciliation.sign';
const FAILURE = 'reconciliation.duty_failed';
const SIGN_MS = 5_000;
/** Runs that are signed in one go; the rest waits for the next. */
const SIGNED_AT_ONCE = 20;

/**
 * Signs runs soon after they were sealed and not at the first request: what is not signed can still be changed
 * unseen. All replicas may do so at once: the store lets one manifest a run through.
 */
@Injectable()
export class ReportSigning implements OnApplicationBootstrap {
  constructor(
    private readonly runs: RunStore,
    private readonly reports: ReportService,
    private readonly periodic: Periodic,
    private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.periodic.every({ name: TASK, every: SIGN_MS, on: 'all', failure: FAILURE, work: () => this.sign() });
  }

  async sign(): Promise<void> {
    for (const run of await this.runs.unsigned(SIGNED_AT_ONCE)) await this.signOne(run);
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
      // Each on its own: a run that cannot be signed must not leave those behind it unsigned forever.
      this.logger.event('warn', FAILURE, { task: TASK, runId: run.id, error: messageOf(error) });
    }
  }
}
