import { Injectable } from '@nestjs/common';
import { HubError } from '../../kernel/errors';
import { readPage } from '../../kernel/page';
import { currencyExponent, toMajorUnits } from '../../kernel/money';
import { PartnerDirectory } from '../../partners/partner-directory';
import type {
  DiffQuery,
  ItemPage,
  ItemQuery,
  RunBridge,
  RunDiff,
  RunPage,
  RunQuery,
  RunSource,
  RunSummary,
  RunView,
} from './recon.dto';
import { bridgeOf } from '../reports/bridge';
import { rowMaker } from '../reports/report-columns';
import { ndjsonObject } from '../reports/report-csv';
import { ReportService } from '../reports/report.service';
import { ReportStore, type SourceProgress } from '../reports/report.store';
import { type ReconRun, isProvisional } from '../run/run';
import { RunStore } from '../run/run.store';

/** Runs as finance sees them. */
@Injectable()
export class RunsService {
  constructor(
    private readonly runs: RunStore,
    private readonly store: ReportStore,
    private readonly reports: ReportService,
    private readonly partners: PartnerDirectory,
  ) {}

  async list({ limit, cursor, ...filter }: RunQuery): Promise<RunPage> {
    const page = await readPage(
      limit,
      (rows) => this.runs.list({ ...filter, limit: rows, ...(cursor === undefined ? {} : { before: cursor }) }),
      ({ id }) => id,
    );
    return { items: await this.views(page.items), nextCursor: page.nextCursor };
  }

  /** Throws not_found. */
  async one(id: string): Promise<RunView> {
    const run = await this.runs.find(id);
    if (run === undefined) throw new HubError('not_found');
    const [view] = await this.views([run]);
    if (view === undefined) throw new Error('one run has one view');
    return view;
  }

  /** Throws not_found and run_state_conflict, as do all below. */
  async items(id: string, { limit, cursor, ...filter }: ItemQuery): Promise<ItemPage> {
    const { run, exponents } = await this.reports.signed(id);
    const page = await readPage(
      limit,
      (rows) => this.store.items(id, { ...filter, after: cursor ?? '0', limit: rows }),
      ({ seq }) => seq,
    );
    return {
      items: page.items.map(rowMaker({ zone: run.zone, asOf: run.asOf, exponents })).map(ndjsonObject),
      nextCursor: page.nextCursor,
    };
  }

  async summary(id: string): Promise<RunSummary> {
    const { major } = await this.withMoney(id);
    const lines = (await this.store.summary(id)).map(
      ({ businessDate, currency, direction, class: className, state, side, count, sumMinor }) => ({
        businessDate,
        currency,
        direction,
        class: className,
        state,
        side,
        count: Number(count),
        total: major(sumMinor, currency),
      }),
    );
    return { runId: id, activity: lines.length > 0, lines };
  }

  async bridge(id: string): Promise<RunBridge> {
    const { major } = await this.withMoney(id);
    const bridge = bridgeOf(await this.store.summary(id));
    return {
      runId: id,
      balanced: bridge.every(({ unexplainedMinor }) => unexplainedMinor === 0n),
      lines: bridge.map(
        ({ businessDate, currency, direction, from, to, fromMinor, steps, toMinor, unexplainedMinor }) => ({
          businessDate,
          currency,
          direction,
          from,
          to,
          fromTotal: major(fromMinor, currency),
          steps: steps.map((step) => ({ class: step.class, difference: major(step.differenceMinor, currency) })),
          toTotal: major(toMinor, currency),
          unexplained: major(unexplainedMinor, currency),
        }),
      ),
    };
  }

  /** What changed from one run to a later one. */
  async diff(before: string, after: string, { limit, cursor }: DiffQuery): Promise<RunDiff> {
    await this.reports.sealed(before);
    await this.reports.sealed(after);
    const [key, className] = cursor?.split(':') ?? [];
    const from = key === undefined || className === undefined ? null : { key, class: className };
    const page = await readPage(
      limit,
      (rows) => this.store.diff(before, after, from, rows),
      (last) => `${last.key}:${last.class}`,
    );
    const counts = await this.store.diffCounts(before, after);
    return {
      before,
      after,
      counts: {
        new: Number(counts.new),
        cleared: Number(counts.cleared),
        stillOpen: Number(counts.stillOpen),
        outOfWindow: Number(counts.outOfWindow),
      },
      items: page.items.map(({ key: _key, ...line }) => line),
      nextCursor: page.nextCursor,
    };
  }

  private async withMoney(id: string): Promise<{ major: (minor: bigint, currency: string) => string }> {
    const { exponents } = await this.reports.signed(id);
    return { major: (minor, currency) => toMajorUnits(minor, currencyExponent(currency, exponents)) };
  }

  private async views(runs: readonly ReconRun[]): Promise<RunView[]> {
    const ids = runs.map(({ id }) => id);
    const progress = await this.store.progress(ids);
    const active = await this.store.active(ids);
    return runs.map((run) => this.view(run, progress, active));
  }

  private view(run: ReconRun, progress: readonly SourceProgress[], active: ReadonlySet<string>): RunView {
    const iso = (at: Date | null) => at?.toISOString() ?? null;
    return {
      id: run.id,
      kind: run.kind,
      state: run.state,
      rgs: this.partners.byId(run.rgsId).code,
      operator: this.partners.byId(run.operatorId).code,
      businessDate: run.businessDate,
      window: run.window === null ? null : { from: run.window.from.toISOString(), to: run.window.to.toISOString() },
      zone: run.zone,
      cutoff: run.cutoff,
      asOf: run.asOf.toISOString(),
      graceSeconds: run.graceSeconds,
      provisional: isProvisional(run),
      progress: {
        sources: progress.filter(({ runId }) => runId === run.id).map(sourceOf),
        bucketsDone: run.bucketsDone,
      },
      counts: run.counts === null ? null : { ...run.counts },
      itemCount: run.itemCount,
      activity: run.state === 'sealed' ? active.has(run.id) : null,
      error: run.error === null ? null : { ...run.error },
      createdBy: run.createdBy,
      createdAt: run.createdAt.toISOString(),
      startedAt: iso(run.startedAt),
      finishedAt: iso(run.finishedAt),
    };
  }
}

function sourceOf({ side, pages, seen, staged, rejected, done }: SourceProgress): RunSource {
  return {
    side,
    pages: Number(pages),
    rowsSeen: Number(seen),
    rowsStaged: Number(staged),
    rowsRejected: Number(rejected),
    done,
  };
}
