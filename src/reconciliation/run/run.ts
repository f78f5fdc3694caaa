import { createHash } from 'node:crypto';
import type { Side } from '../sources/source';

export type RunKind = 'legacy' | 'adhoc' | 'scheduled' | 'cli';
export type RunState = 'queued' | 'ingesting' | 'matching' | 'summarising' | 'sealed' | 'failed' | 'cancelled';

export const LIVE_STATES = ['queued', 'ingesting', 'matching', 'summarising'] as const satisfies readonly RunState[];

/** Staging tables exist for so many runs at once; see the migration. */
export const SLOTS = 2;
export const PARTITIONS = 32;

/** What a caller asks for. */
export interface RunRequest {
  readonly kind: RunKind;
  /** Null: everything that the lists hold. */
  readonly window: { readonly from: Date; readonly to: Date } | null;
  /** YYYY-MM-DD when the window is a business day. */
  readonly businessDate: string | null;
  /** IANA name and HH:MM; business dates in the result are of this zone and cut-off. */
  readonly zone: string;
  readonly cutoff: string;
  /** Younger than this, what is missing may still be in flight. */
  readonly graceSeconds: number;
  /** Run although a list holds less than half of what the hub has. */
  readonly allowPartial: boolean;
  /** Leaves the exceptions as they are. */
  readonly dryRun: boolean;
  /** The window has not ended: the result is as far as it is, and leaves the exceptions as they are. */
  readonly provisional: boolean;
  readonly createdBy: string;
  readonly idempotencyKey: string | null;
  readonly scheduleId: string | null;
  /** Ages are measured to this moment; null: to now. */
  readonly asOf: Date | null;
}

/** The source of a run's failure, and how it is reported. */
export interface RunFault {
  /** A stable word: a reason of sources/source.ts, or one of the engine's own. */
  readonly reason: string;
  readonly side: Side | null;
  /** Fit for finance's eyes. */
  readonly message: string;
}

export interface RunRules {
  readonly allowPartial: boolean;
  readonly dryRun: boolean;
  /** Runs of earlier builds do not have it. */
  readonly provisional?: boolean;
}

/** A run as it is stored. */
export interface ReconRun {
  readonly id: string;
  readonly kind: RunKind;
  readonly state: RunState;
  readonly operatorId: number;
  readonly rgsId: number;
  readonly window: { readonly from: Date; readonly to: Date } | null;
  readonly businessDate: string | null;
  readonly zone: string;
  readonly cutoff: string;
  readonly asOf: Date;
  readonly graceSeconds: number;
  /** Beyond this age nothing is in flight. */
  readonly hardLimitSeconds: number;
  /** Rows so far outside the window are fetched as partners of rows inside it. */
  readonly padSeconds: number;
  /** Parts of the window in which the lists are read at once. */
  readonly listShards: number;
  readonly rules: RunRules;
  readonly slot: number | null;
  readonly leaseToken: string;
  /** Leases in a row that expired without progress before this one. */
  readonly lostLeases: number;
  readonly bucketsDone: number;
  readonly itemsWritten: boolean;
  readonly counts: RunCounts | null;
  readonly itemCount: number | null;
  readonly csvSha256: Buffer | null;
  readonly csvBytes: number | null;
  /** Of the six-column file, for runs of kind legacy. */
  readonly legacySha256: Buffer | null;
  readonly error: RunFault | null;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
}

/** Whether its window had not ended when it was begun. */
export function isProvisional({ rules }: Pick<ReconRun, 'rules'>): boolean {
  return rules.provisional === true;
}

/** Which runs a list shows. */
export interface RunFilter {
  readonly state?: RunState;
  readonly kind?: RunKind;
  readonly businessDate?: string;
  /** Runs made before this one. */
  readonly before?: string;
  readonly limit: number;
}

/** A run that this process holds by lease: it has a slot. */
export interface HeldRun extends ReconRun {
  readonly slot: number;
}

export interface SideFunnel {
  /** Elements of the list. */
  readonly seen: number;
  /** Of these, rows that could not be matched. */
  readonly rejected: number;
  /** Rows of keys that are alike on all sides, inside the window. */
  readonly matched: number;
  /** Rows that say "refused" where every side that knows the key says so. */
  readonly refused: number;
  /** Rows of items. */
  readonly inItems: number;
  /** Rows outside the window, or without a time where there is a window, or of other partners. */
  readonly outside: number;
}

/** What a sealed run found; the same whatever the order of the lists, page sizes and crashes on the way. */
export interface RunCounts {
  readonly broken: number;
  readonly inFlight: number;
  /** Keys with a fault and without any time: no window owns them. They are exceptions, and are in runs over all time. Always 0 there. */
  readonly unplaced: number;
  /** Items per primary class. */
  readonly classes: Readonly<Record<string, { readonly broken: number; readonly inFlight: number }>>;
  readonly funnel: Readonly<Record<Side | 'hub', SideFunnel>>;
  /** Lines of the six-column file. */
  readonly legacyLines: number;
  /** Items that both sides list and that differ in what six columns cannot show. */
  readonly valueMismatches: number;
  readonly rejected: number;
}

/** Equal requests that are alive are one run. Who asked, and how the result is named, is not part of it. */
export function paramsHash(request: RunRequest, pair: { operatorId: number; rgsId: number }): Buffer {
  const { window, businessDate, zone, cutoff, graceSeconds, allowPartial, dryRun, provisional, asOf } = request;
  // The legacy call never touches exceptions, so it is no equal of another run.
  const parts = [
    pair.operatorId,
    pair.rgsId,
    request.kind === 'legacy',
    window?.from.toISOString() ?? null,
    window?.to.toISOString() ?? null,
    businessDate,
    zone,
    cutoff,
    graceSeconds,
    allowPartial,
    dryRun,
    asOf?.toISOString() ?? null,
    ...(provisional ? ['provisional'] : []),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest();
}

/** Why a run cannot give a result; it becomes the run's error. */
export class RunFailure extends Error implements RunFault {
  constructor(
    readonly reason: string,
    readonly side: Side | null,
    message: string,
  ) {
    super(message);
    this.name = 'RunFailure';
  }
}
