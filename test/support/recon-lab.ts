import { DataSource } from 'typeorm';
import { BulkDatabase } from '../../src/database/bulk-database';
import { dataSourceOptions } from '../../src/database/data-source';
import { Logger } from '../../src/observability/logger';
import type { PartnerDirectory } from '../../src/partners/partner-directory';
import { MatchStore } from '../../src/reconciliation/engine/match.store';
import { ReportDigest } from '../../src/reconciliation/engine/report-digest';
import type { ReconRun, RunRequest } from '../../src/reconciliation/engine/run';
import { EngineLimits, RunEngine } from '../../src/reconciliation/engine/run-engine';
import { RunStore } from '../../src/reconciliation/engine/run.store';
import { SealStore } from '../../src/reconciliation/engine/seal.store';
import { StageStore } from '../../src/reconciliation/engine/stage.store';
import { LegacyFile } from '../../src/reconciliation/legacy-file';
import { LegacyFileStore } from '../../src/reconciliation/legacy-file.store';
import { type Side, type SourcePage, SourceReader, type SourceWindow, type StagedRow } from '../../src/reconciliation/sources/source';

export const PAIR = { operatorId: 101, rgsId: 102 };
const PAGE_ROWS = 1_000;

export type Lists = Readonly<Record<Side, readonly StagedRow[]>>;

/** Pages of lists that a test holds in its hands. The cursor is the number of rows before it. */
export class FakeReader extends SourceReader {
  lists: Lists = { rgs: [], operator: [] };
  pageRows = PAGE_ROWS;
  /** Called before each page is given; may throw. */
  beforePage: (side: Side, page: number) => void | Promise<void> = () => undefined;

  async *pages(side: Side, window: SourceWindow | null, cursor: string | null, gone: AbortSignal): AsyncGenerator<SourcePage> {
    // As a partner with a time filter: what has no time is always listed.
    const rows = this.lists[side].filter(({ at }) => window === null || at === null || (at >= window.from && at < window.to));
    let place = Number(cursor ?? 0);
    do {
      gone.throwIfAborted();
      await this.beforePage(side, place / this.pageRows);
      const page = rows.slice(place, place + this.pageRows);
      place += this.pageRows;
      yield { rows: page, rejected: [], seen: page.length, cursor: place < rows.length ? String(place) : null, highWater: null };
    } while (place < rows.length);
  }
}

/** The engine on a database of its own, without HTTP and without partners. */
export class ReconLab {
  readonly reader = new FakeReader();
  readonly runs: RunStore;
  readonly file: LegacyFile;
  private readonly stores: { stage: StageStore; match: MatchStore; sealing: SealStore };

  private constructor(
    readonly database: BulkDatabase,
    private readonly logger: Logger,
  ) {
    this.runs = new RunStore(database);
    this.file = new LegacyFile(new LegacyFileStore(database));
    this.stores = { stage: new StageStore(database, this.runs), match: new MatchStore(database, this.runs), sealing: new SealStore(database, this.runs) };
  }

  static async open(url: string, logLevel = 'silent'): Promise<ReconLab> {
    const dataSource = await new DataSource({ ...dataSourceOptions(url, { applicationName: 'recon-lab', poolSize: 6 }), entities: [], migrations: [] }).initialize();
    return new ReconLab(new BulkDatabase(dataSource), new Logger(logLevel));
  }

  async close(): Promise<void> {
    await this.database.dataSource.destroy();
  }

  engine(limits: Partial<EngineLimits> = {}): RunEngine {
    const partners = { all: () => [{ currencies: new Set(['USD', 'EUR']), retiredCurrencies: new Set(['JPY']) }], byId: () => ({ currencyExponents: {} }) } as unknown as PartnerDirectory;
    const { stage, match, sealing } = this.stores;
    return new RunEngine(this.runs, stage, match, sealing, this.reader, { of: (run) => this.file.of(run) } satisfies ReportDigest, partners, Object.assign(new EngineLimits(), limits), this.logger);
  }

  /** Runs to the end in this process; a run that fails is answered as failed. */
  async run(request: Partial<RunRequest> = {}, limits: Partial<EngineLimits> = {}): Promise<ReconRun> {
    const { run } = await this.runs.create(requestOf(request), PAIR);
    const held = await this.runs.claim('lab', 600, run.id);
    if (held === undefined) throw new Error('no slot');
    return this.engine(limits).execute(held, new AbortController().signal);
  }

  items(runId: string): Promise<Record<string, any>[]> {
    return this.database.rows(`select seq::int, k, leg, class, classes, severity, state, reason, next_action, presence, booked, n_rgs, n_op, n_hub, ref_id, corr, player, cur, dir, amt_rgs, amt_op, amt_hub, difference,
      st_rgs, st_op, st_hub, anchor_at, business_date::text, linked_corr, outbox_id, outbox_queue, outbox_state, exception_id, exception_state from recon.item where run_id = $1 order by seq`, [runId]);
  }

  async text(runId: string): Promise<string> {
    let text = '';
    for await (const block of this.file.blocks(runId)) text += block;
    return text;
  }
}

export function requestOf(request: Partial<RunRequest> = {}): RunRequest {
  return { kind: 'adhoc', window: null, businessDate: null, zone: 'UTC', cutoff: '00:00', graceSeconds: 0, allowPartial: false, dryRun: true, createdBy: 'test', idempotencyKey: null, scheduleId: null, asOf: null, ...request };
}
