import { Injectable } from '@nestjs/common';
import { isStoreUnavailable, isTransient } from '../../database/pg-errors';
import { messageOf } from '../../kernel/errors';
import { Logger } from '../../observability/logger';
import type { Partner } from '../../partners/partner';
import { PartnerDirectory } from '../../partners/partner-directory';
import { type Side, SourceError, SourceReader } from '../sources/source';
import { type DayBounds, dayBounds, windowBounds } from '../calendar/day-bounds';
import { type ListPart, ingest, listParts } from '../matching/ingest';
import { MatchStore } from '../matching/match.store';
import { ReportDigest } from './report-digest';
import { type HeldRun, PARTITIONS, type ReconRun, RunFailure, type RunFault } from '../run/run';
import { SOURCE, type SideCode, hasStatus } from '../run/codes';
import { LeaseLostError, RunStore } from '../run/run.store';
import { BridgeError, SealStore } from '../matching/seal.store';
import { type Progress, type ShardProgress, StageStore, wholeOf } from '../matching/stage.store';

/** Hub rows above which a list of less than half of them is taken for a broken list, and not for a broken world. */
const SUSPICIOUS_FROM_ROWS = 1_000;
/** A crash of Postgres empties the staging tables; how often a run starts over before it gives up. */
const RESTARTS_MAX = 5;

/** How many processes in a row may die at the same point of a run: what kills a process kills the next one, too. */
const LOST_LEASES_MAX = 5;

/** A class, so that tests can put another number in its place. */
export class EngineLimits {
  /** Staged rows per step of the first pass: small runs take one step, large ones a bounded amount of memory and of work that a crash repeats. */
  readonly bucketRows: number = 200_000;
}

/** Takes a run from whatever point it had reached to its end. */
@Injectable()
export class RunEngine {
  constructor(
    private readonly runs: RunStore,
    private readonly stage: StageStore,
    private readonly match: MatchStore,
    private readonly sealing: SealStore,
    private readonly reader: SourceReader,
    private readonly digest: ReportDigest,
    private readonly partners: PartnerDirectory,
    private readonly limits: EngineLimits,
    private readonly logger: Logger,
  ) {}

  /**
   * Answers the run sealed, or failed with what was wrong with its sources. Throws LeaseLostError when another process has it, what `gone`
   * was aborted with, and errors of a store that is away: then the run keeps its position, for the next process that takes it.
   */
  async execute(run: HeldRun, gone: AbortSignal): Promise<ReconRun> {
    const started = performance.now();
    try {
      if (run.lostLeases >= LOST_LEASES_MAX)
        throw new RunFailure(
          'processes_died',
          null,
          `${run.lostLeases} processes in a row died or lost the database at the same point of this run`,
        );
      const sealed = await this.toSeal(run, gone);
      this.logger.event('info', 'reconciliation.sealed', {
        runId: run.id,
        kind: run.kind,
        ...sealed.counts,
        durationMs: Math.round(performance.now() - started),
      });
      return sealed;
    } catch (error) {
      if (error instanceof LeaseLostError || gone.aborted || isStoreUnavailable(error) || isTransient(error))
        throw error;
      const fault = faultOf(error);
      this.logger.event(fault.reason === 'internal_error' ? 'error' : 'warn', 'reconciliation.failed', {
        runId: run.id,
        kind: run.kind,
        ...fault,
        error: messageOf(error),
        stack: error instanceof Error && fault.reason === 'internal_error' ? error.stack : undefined,
      });
      return await this.stage.bulk(async (tx) => {
        await this.stage.empty(tx, run);
        return this.runs.fail(tx, run, fault);
      });
    }
  }

  private async toSeal(run: HeldRun, gone: AbortSignal): Promise<ReconRun> {
    if (!run.itemsWritten) await this.toItems(run, gone);
    const digest = await this.digest.of(run);
    return this.stage.bulk(async (tx) => {
      // Fenced by the seal itself: it changes the run only under the token, and then all of this is rolled back.
      await this.stage.empty(tx, run);
      return this.runs.seal(tx, run, digest);
    });
  }

  private async toItems(run: HeldRun, gone: AbortSignal): Promise<void> {
    for (let restarts = 0; ; restarts++) {
      const known = await this.stage.progress(run);
      const isResumed = known.size > 0 && restarts === 0;
      const isWhole = isResumed && (await this.stage.isWhole(run, wholeOf(known)));
      if (isResumed)
        this.logger.event('info', 'reconciliation.resumed', {
          runId: run.id,
          state: run.state,
          isWhole,
          bucketsDone: run.bucketsDone,
        });
      if (!isWhole) await this.stage.begin(run);
      const progress = await this.ingestAll(run, isWhole ? known : new Map(), gone);
      const buckets = this.bucketsOf(progress);
      await this.matchAll(run, isWhole ? run.bucketsDone : 0, buckets, gone);
      try {
        await this.stage.bulk((tx) => this.runs.enter(tx, run, 'summarising', buckets));
        await this.sealing.write(run, {
          progress,
          currencies: this.currencies(),
          exponents: this.partners.byId(run.operatorId).currencyExponents,
        });
        return;
      } catch (error) {
        // The one innocent reason for sums that do not add up: Postgres crashed meanwhile and the staging tables are empty.
        if (!(error instanceof BridgeError) || restarts >= RESTARTS_MAX || (await this.stage.isWhole(run, progress)))
          throw error;
        this.logger.event('warn', 'reconciliation.staging_lost', { runId: run.id, error: error.message });
      }
    }
  }

  /** Both lists at once, and all of their parts, then the hub's rows: what a list holds was accepted by the hub before, so reading the hub last finds it. */
  private async ingestAll(run: HeldRun, known: ShardProgress, gone: AbortSignal): Promise<Map<SideCode, Progress>> {
    const failed = new AbortController();
    const signal = AbortSignal.any([gone, failed.signal]);
    let first: Error | undefined;
    const read = async (side: Side, part: ListPart): Promise<void> => {
      try {
        await ingest(this.stage, this.reader, run, side, part, known.get(SOURCE[side])?.get(part.shard), signal);
      } catch (error) {
        // The others fail too, for being stopped; what stopped it is what to tell.
        first ??= error instanceof Error ? error : new Error(messageOf(error), { cause: error });
        failed.abort(new Error('the other list could not be read'));
      }
    };
    await Promise.all(listParts(run).flatMap((part) => [read('rgs', part), read('operator', part)]));
    gone.throwIfAborted();
    if (first !== undefined) throw first;

    if (!known.has(SOURCE.hub)) await this.stage.hub(run, this.currencies());
    const progress = wholeOf(await this.stage.progress(run));
    this.refuseSuspicious(run, progress);
    return progress;
  }

  /** Without this, a list that lost half its rows gives finance a million breaks that are none. The legacy hub's file must report even an empty side. */
  private refuseSuspicious(run: HeldRun, progress: ReadonlyMap<SideCode, Progress>): void {
    if (run.kind === 'legacy' || run.rules.allowPartial) return;
    const settled = (source: SideCode) =>
      [...(progress.get(source)?.totals ?? [])]
        .filter(([attributes]) => hasStatus(attributes, 'settled'))
        .reduce((total, [, { n }]) => total + n, 0);
    const hub = settled(SOURCE.hub);
    if (hub <= SUSPICIOUS_FROM_ROWS) return;
    for (const side of ['rgs', 'operator'] as const) {
      const listed = settled(SOURCE[side]);
      if (listed * 2 < hub)
        throw new RunFailure(
          'source_suspicious',
          side,
          `the list of the ${side === 'rgs' ? 'RGS' : 'operator'} holds ${listed} bookings where the hub has ${hub}; allowPartial would take it as it is`,
        );
    }
  }

  /** From what was staged and nothing else, so that a process that resumes comes to the same. */
  private bucketsOf(progress: ReadonlyMap<SideCode, Progress>): number {
    const rows = [...progress.values()].reduce((total, { staged, implied }) => total + staged + implied, 0);
    return Math.min(PARTITIONS, Math.max(1, Math.ceil(rows / this.limits.bucketRows)));
  }

  private async matchAll(run: HeldRun, done: number, buckets: number, gone: AbortSignal): Promise<void> {
    await this.stage.bulk((tx) => this.runs.enter(tx, run, 'matching', done));
    const days: DayBounds =
      run.window === null
        ? dayBounds(await this.stage.hubDays(run), run.zone, run.cutoff)
        : windowBounds(run.window, run.zone, run.cutoff);
    for (let bucket = done; bucket < buckets; bucket++) {
      gone.throwIfAborted();
      await this.match.bucket(run, bucket, buckets, days);
    }
  }

  private currencies(): string[] {
    const of = ({ currencies, retiredCurrencies }: Partner) => [...currencies, ...retiredCurrencies];
    return [...new Set(this.partners.all().flatMap(of))];
  }
}

function faultOf(error: unknown): RunFault {
  if (error instanceof SourceError || error instanceof RunFailure)
    return { reason: error.reason, side: error.side, message: error.message };
  if (error instanceof BridgeError) return { reason: 'bridge_not_zero', side: null, message: error.message };
  return { reason: 'internal_error', side: null, message: 'a fault of the hub; its log has the details' };
}
