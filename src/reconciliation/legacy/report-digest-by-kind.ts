import { Injectable } from '@nestjs/common';
import { ReportDigest } from '../engine/report-digest';
import type { ReconRun } from '../run/run';
import { LegacyFile } from './legacy-file';
import { ReportService } from '../reports/report.service';

/** The digest of the file that is meant: six columns for the legacy hub's call, the report for everything else. */
@Injectable()
export class ReportDigestByKind extends ReportDigest {
  constructor(
    private readonly legacy: LegacyFile,
    private readonly reports: ReportService,
  ) {
    super();
  }

  of(run: ReconRun): Promise<{ sha256: Buffer; bytes: number }> {
    return run.kind === 'legacy' ? this.legacy.of(run) : this.reports.of(run);
  }
}
