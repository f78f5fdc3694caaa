import { createHash } from 'node:crypto';
import { DataSource } from 'typeorm';
import { type Config, parseConfig } from '../../../src/config/config';
import { BulkDatabase } from '../../../src/database/bulk-database';
import { dataSourceOptions } from '../../../src/database/data-source';
import { Logger } from '../../../src/observability/logger';
import type { Partner } from '../../../src/partners/partner';
import type { PartnerDirectory } from '../../../src/partners/partner-directory';
import { MatchStore } from '../../../src/reconciliation/matching/match.store';
import type { ReconRun, RunRequest } from '../../../src/reconciliation/run/run';
import { EngineLimits, RunEngine } from '../../../src/reconciliation/engine/run-engine';
import { RunStore } from '../../../src/reconciliation/run/run.store';
import { SealStore } from '../../../src/reconciliation/matching/seal.store';
import { StageStore } from '../../../src/reconciliation/matching/stage.store';
import { ReportDigestByKind } from '../../../src/reconciliation/legacy/report-digest-by-kind';
import { LegacyFile } from '../../../src/reconciliation/legacy/legacy-file';
import { LegacyFileStore } from '../../../src/reconciliation/legacy/legacy-file.store';
import { ReportService } from '../../../src/reconciliation/reports/report.service';
import { ReportStore } from '../../../src/reconciliation/reports/report.store';
import { isRejected, rowMapper } from '../../../src/reconciliation/sources/list-rows';
import {
  type RejectedRow,
  type RowSink,
  type Side,
  type SourcePage,
  SourceReader,
  type SourceWindow,
} from '../../../src/reconciliation/sources/source';
import { listsOf } from './facts';
import type { Facts, Question } from './oracle';
import { plantHub } from './books';
import { type TestDatabase, testDatabase } from '../hub/test-database';

export const PAIR = { operatorId: 101, rgsId: 102 };
const PAGE_ROWS = 1_000;

/** Elements of both lists, as JSON has them. */
export type Lists = Readonly<Record<Side, readonly unknown[]>>;

function partner(role: Partner['role']): Partner {
  return {
    id: role === 'rgs' ? PAIR.rgsId : PAIR.operatorId,
    code: role,
    role,
    active: true,
    baseUrl: 'http://localhost/',
    currencies: new Set(['USD', 'EUR']),
    retiredCurrencies: new Set(['JPY']),
    currencyExponents: {},
    amountEncoding: 'number',
    amountMinorMax: 1n,
    playerIdTemplate: '{playerId}',
    statusWords: { applied: ['OK'], pending: ['PENDING'], refused: ['REJECTED'] },
    idempotentByReference: true,
    statusQuery: true,
    rollbackRoute: false,
    timeoutMs: 1,
    refusalIsFinal: false,
    answersLater: false,
    signingKeys: [],
    keys: [],
    signatureVersionRequired: 1,
  };
}
const PARTNERS = { rgs: partner('rgs'), operator: partner('operator') };

/**
 * Pages of lists that a test holds in its hands, as a partner with a time filter gives them. The cursor is the number
 * of rows before the page.
 */
export class FakeReader extends SourceReader {
  lists: Lists = { rgs: [], operator: [] };
  pageRows = PAGE_ROWS;
  /** Called before each page is given; may throw. */
  beforePage: (side: Side, page: number) => void | Promise<void> = () => undefined;

  async *pages(
    side: Side,
    window: SourceWindow | null,
    cursor: string | null,
    gone: AbortSignal,
    sink: RowSink,
  ): AsyncGenerator<SourcePage> {
    const toRow = rowMapper(PARTNERS[side]);
    // What has no time is always listed.
    const rows = this.lists[side]
      .map(toRow)
      .filter(
        (row) => isRejected(row) || window === null || row.at === null || (row.at >= window.from && row.at < window.to),
      );
    let place = Number(cursor ?? 0);
    do {
      gone.throwIfAborted();
      await this.beforePage(side, place / this.pageRows);
      const page = rows.slice(place, place + this.pageRows);
      place += this.pageRows;
      const rejected: RejectedRow[] = [];
      sink.restart();
      for (const row of page)
        if (isRejected(row)) rejected.push(row);
        else sink.add(row);
      yield { rejected, seen: page.length, cursor: place < rows.length ? String(place) : null, highWater: null };
    } while (place < rows.length);
  }
}

/** The engine on a database of its own, without HTTP and without partners. */
export class ReconLab {
  readonly reader = new FakeReader();
  /** Parts in which new runs read each list. */
  listShards = 1;
  readonly runs: RunStore;
  readonly file: LegacyFile;
  readonly reports: ReportService;
  private readonly partners: PartnerDirectory;
  private readonly stores: { stage: StageStore; match: MatchStore; sealing: SealStore };

  constructor(
    readonly database: BulkDatabase,
    private readonly logger: Logger,
    config: Config,
    private readonly own: TestDatabase,
  ) {
    this.partners = {
      all: () => Object.values(PARTNERS),
      byId: (id: number) => (id === PAIR.rgsId ? PARTNERS.rgs : PARTNERS.operator),
    } as unknown as PartnerDirectory;
    this.runs = new RunStore(database);
    this.file = new LegacyFile(new LegacyFileStore(database));
    this.reports = new ReportService(config, database, this.runs, new ReportStore(database), this.partners);
    this.stores = {
      stage: new StageStore(database, this.runs),
      match: new MatchStore(database, this.runs),
      sealing: new SealStore(database, this.runs),
    };
  }

  /** Does what no hub may: changes the schema, or what the books say. */
  tamper(sql: string): Promise<unknown[]> {
    return this.own.query(sql);
  }

  /** Ends it, and its database. */
  async discard(): Promise<void> {
    await this.database.dataSource.destroy();
    await this.own.drop();
  }

  engine(limits: Partial<EngineLimits> = {}): RunEngine {
    const { stage, match, sealing } = this.stores;
    return new RunEngine(
      this.runs,
      stage,
      match,
      sealing,
      this.reader,
      new ReportDigestByKind(this.file, this.reports),
      this.partners,
      Object.assign(new EngineLimits(), limits),
      this.logger,
    );
  }

  /** Makes these the books of all three sides, and forgets every run. */
  async plant(facts: Facts): Promise<void> {
    await this.forget();
    await this.replant(facts);
  }

  /** The same, but remembers what runs found before. */
  async replant(facts: Facts): Promise<void> {
    this.reader.lists = listsOf(facts);
    await plantHub((sql, parameters) => this.own.query(sql, parameters), facts.hub, PAIR);
  }

  async forget(): Promise<void> {
    // No hub may forget either.
    await this.own.query(`with gone as (delete from recon.run) delete from recon.exception`);
  }

  /**
   * A run that this process holds. A report names its run, so the same report is made again only under the same `id`.
   */
  async held(request: Partial<RunRequest> = {}, id: string | null = null) {
    const { run } = await this.runs.create(requestOf(request), PAIR, this.listShards);
    if (id !== null) await this.database.rows('update recon.run set id = $2 where id = $1', [run.id, id]);
    const held = await this.runs.claim('lab', 600, id ?? run.id);
    if (held === undefined) throw new Error('no slot');
    return held;
  }

  /** Runs to the end in this process; a run that fails is answered as failed. */
  async run(
    request: Partial<RunRequest> = {},
    limits: Partial<EngineLimits> = {},
    id: string | null = null,
  ): Promise<ReconRun> {
    return this.engine(limits).execute(await this.held(request, id), new AbortController().signal);
  }

  items(runId: string): Promise<Record<string, any>[]> {
    return this.database.rows(
      `select seq::int, k, leg, class, classes, severity, state, reason, next_action, presence, booked, n_rgs, n_op, n_hub, ref_id, corr, player, cur, dir, amt_rgs, amt_op, amt_hub, difference,
      st_rgs, st_op, st_hub, anchor_at, business_date::text, linked_corr, outbox_id, outbox_queue, outbox_state, exception_id, exception_state, first_seen_run from recon.item where run_id = $1 order by seq`,
      [runId],
    );
  }

  /** The six-column file. */
  async text(runId: string): Promise<string> {
    let text = '';
    for await (const block of this.file.blocks(runId)) text += block;
    return text;
  }

  /** The report as it is downloaded, and what its manifest says of it. */
  async report(run: ReconRun): Promise<{ csv: string; sha256: string; totals: string; counts: string }> {
    const signed = await this.reports.signed(run.id);
    const chunks: Buffer[] = [];
    for await (const chunk of this.reports.csv(signed, { bom: false, sep: ',', raw: false })) chunks.push(chunk);
    const csv = Buffer.concat(chunks);
    const { report, totals, counts } = signed.manifest.manifest;
    if (report.sha256 !== createHash('sha256').update(csv).digest('hex'))
      throw new Error('the manifest names another file');
    return {
      csv: csv.toString(),
      sha256: report.sha256,
      totals: JSON.stringify(totals),
      counts: JSON.stringify(counts),
    };
  }
}

export async function openLab(logLevel = 'silent'): Promise<ReconLab> {
  const own = await testDatabase();
  const dataSource = await new DataSource({
    ...dataSourceOptions(own.url, { applicationName: 'recon-lab', poolSize: 6 }),
    entities: [],
    migrations: [],
  }).initialize();
  return new ReconLab(
    new BulkDatabase(dataSource),
    new Logger(logLevel),
    parseConfig({ NODE_ENV: 'test', DATABASE_URL: own.url }),
    own,
  );
}

export function requestOf(request: Partial<RunRequest> = {}): RunRequest {
  return {
    kind: 'adhoc',
    window: null,
    businessDate: null,
    zone: 'UTC',
    cutoff: '00:00',
    graceSeconds: 0,
    allowPartial: false,
    dryRun: true,
    provisional: false,
    createdBy: 'test',
    idempotencyKey: null,
    scheduleId: null,
    asOf: null,
    ...request,
  };
}

/** The request that asks it of the engine. */
export function requestFor({ window, zone, cutoff, asOf, graceSeconds }: Question): Partial<RunRequest> {
  return {
    window: window === null ? null : { from: new Date(window.from), to: new Date(window.to) },
    zone,
    cutoff,
    graceSeconds,
    asOf: new Date(asOf),
  };
}
