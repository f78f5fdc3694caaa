import type { ReconRun } from '../run/run';

/** SHA-256 and length of the file that a run is downloaded as (for a legacy run, the six columns); taken before the run counts as sealed. A class, so that it can be injected. */
export abstract class ReportDigest {
  abstract of(run: ReconRun): Promise<{ sha256: Buffer; bytes: number }>;
}
