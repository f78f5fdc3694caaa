import { Inject, Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Database, type Tx } from '../database/database';
import { HubError } from '../kernel/errors';
import { currencyExponent, toMajorUnits } from '../kernel/money';
import { PartnerDirectory } from '../partners/partner-directory';
import { type BridgeLine, bridgeOf } from './bridge';
import { type JsonObject, ManifestKey, type SignedManifest } from './manifest';
import { type Column, REPORT_COLUMNS_V1, type ReportItem, type ReportRow, rowMaker } from './report-columns';
import { CSV_DEFAULTS, type CsvOptions, csvHeader, csvLines, ndjsonLines } from './report-csv';
import { ReportStore, type RunRecord, type SummaryCell } from './report.store';
import { type SheetRow, XLSX_ROWS_MAX, xlsx } from './xlsx';

/** Items of one statement and one chunk of a file. */
const PAGE_ITEMS = 2_000;

const SUMMARY_COLUMNS: readonly Column[] = ['businessDate', 'currency', 'direction', 'class', 'state', 'side', 'count', 'total'].map((name) => ({ name, kind: name === 'count' || name === 'total' ? 'number' : 'text' }));
const BRIDGE_COLUMNS: readonly Column[] = ['businessDate', 'currency', 'direction', 'from', 'to', 'what', 'amount'].map((name) => ({ name, kind: name === 'amount' ? 'number' : 'text' }));
export const SIDE_OF = { 1: 'rgs', 2: 'operator', 4: 'hub' } as const;

/** Makes what finance reads from a sealed run. Items do not change after the seal, so neither do the bytes. */
@Injectable()
export class ReportService {
  readonly key: ManifestKey;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly database: Database,
    private readonly store: ReportStore,
    private readonly partners: PartnerDirectory,
  ) {
    this.key = new ManifestKey(config.reconSigningKey);
  }

  /** Throws not_found, and run_state_conflict for a run that has no result, or none yet. */
  async sealed(id: string): Promise<RunRecord> {
    const run = await this.store.run(id);
    if (run === undefined) throw new HubError('not_found');
    if (run.state !== 'sealed') throw new HubError('run_state_conflict', { detail: `the run is ${run.state}` });
    return run;
  }

  csv(run: RunRecord, options: CsvOptions): AsyncGenerator<Buffer> {
    return this.chunks(run, csvHeader(options), (rows) => csvLines(rows, options));
  }

  ndjson(run: RunRecord): AsyncGenerator<Buffer> {
    return this.chunks(run, '', ndjsonLines);
  }

  /** Throws report_too_long: Excel opens no sheet that is longer. */
  async xlsx(run: RunRecord): Promise<Readable> {
    if (Number(run.itemCount) > XLSX_ROWS_MAX) throw new HubError('report_too_long', { detail: `the run has ${run.itemCount} items, and a sheet holds ${XLSX_ROWS_MAX}; take report.csv` });
    const cells = await this.store.summary(run.id);
    const major = this.majorUnits(run);
    const summary = cells.map((cell) => [cell.businessDate, cell.currency, cell.direction, cell.class, cell.state, SIDE_OF[cell.source], cell.count, major(cell.sumMinor, cell.currency)]);
    const bridge = bridgeOf(cells).flatMap((line) => {
      const row = (what: string, minor: bigint): SheetRow => [line.businessDate, line.currency, line.direction, line.from, line.to, what, major(minor, line.currency)];
      return [row(`total ${line.from}`, line.fromMinor), ...line.steps.map((step) => row(step.class, step.differenceMinor)), row('unexplained', line.unexplainedMinor), row(`total ${line.to}`, line.toMinor)];
    });
    return xlsx([
      { name: 'Summary', columns: SUMMARY_COLUMNS, pages: onePage(summary.length > 0 ? summary : [['No activity']]) },
      { name: 'Bridge', columns: BRIDGE_COLUMNS, pages: onePage(bridge) },
      { name: 'Items', columns: REPORT_COLUMNS_V1, pages: this.sheetPages(run) },
    ]);
  }

  summary(run: RunRecord): Promise<SummaryCell[]> {
    return this.store.summary(run.id);
  }

  async bridge(run: RunRecord): Promise<BridgeLine[]> {
    return bridgeOf(await this.store.summary(run.id));
  }

  /** Signs the run when it has no manifest yet, and appends it to the chain; answers the one manifest that it has from then on. */
  async manifest(run: RunRecord): Promise<SignedManifest> {
    const made = await this.store.manifest(this.database, run.id);
    if (made !== undefined) return made;
    // Before the chain is locked: the digest of a long report takes seconds, and others want to sign meanwhile.
    const digest = await this.digest(run);
    return this.database.transaction(async (tx) => {
      const end = await this.store.lockChain(tx);
      const meanwhile = await this.store.manifest(tx, run.id);
      if (meanwhile !== undefined) return meanwhile;
      const signed = this.key.sign({ format: 'recon-manifest/1', sequence: (end?.sequence ?? 0) + 1, previousManifestSha256: end?.sha256 ?? null, ...(await this.content(tx, run, digest)) });
      await this.store.saveManifest(tx, run.id, signed);
      return signed;
    });
  }

  majorUnits(run: RunRecord): (minor: bigint, currency: string) => string {
    const exponents = this.exponents(run);
    return (minor, currency) => toMajorUnits(minor, currencyExponent(currency, exponents));
  }

  rows(run: RunRecord): (item: ReportItem) => ReportRow {
    return rowMaker({ zone: run.zone, asOf: run.asOf, exponents: this.exponents(run) });
  }

  private async content(tx: Tx, run: RunRecord, digest: { bytes: number; sha256: string }) {
    if (run.finishedAt === null) throw new Error(`sealed run ${run.id} has no end`);
    return {
      run: {
        id: run.id,
        kind: run.kind,
        rgs: this.partners.byId(run.rgsId).code,
        operator: this.partners.byId(run.operatorId).code,
        businessDate: run.businessDate,
        window: run.from === null || run.to === null ? null : { from: run.from.toISOString(), to: run.to.toISOString() },
        zone: run.zone,
        cutoff: run.cutoff,
        graceSeconds: run.graceSeconds,
        asOf: run.asOf.toISOString(),
        sealedAt: run.finishedAt.toISOString(),
      },
      counts: (run.counts ?? {}) as JsonObject,
      totals: await this.store.totals(tx, run.id),
      report: { version: 1 as const, mediaType: 'text/csv' as const, rows: Number(run.itemCount), ...digest },
    };
  }

  private async digest(run: RunRecord): Promise<{ bytes: number; sha256: string }> {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of this.csv(run, CSV_DEFAULTS)) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    return { bytes, sha256: hash.digest('hex') };
  }

  private async *chunks(run: RunRecord, head: string, write: (rows: ReportRow[]) => string): AsyncGenerator<Buffer> {
    if (head !== '') yield Buffer.from(head);
    const row = this.rows(run);
    for await (const items of this.store.itemPages(run.id, PAGE_ITEMS)) yield Buffer.from(write(items.map(row)));
  }

  private async *sheetPages(run: RunRecord): AsyncGenerator<SheetRow[]> {
    const row = this.rows(run);
    for await (const items of this.store.itemPages(run.id, PAGE_ITEMS)) yield items.map(row).map((cells) => REPORT_COLUMNS_V1.map(({ name }) => cells[name]));
  }

  /** Amounts were counted in minor units as the operator counts them. */
  private exponents(run: RunRecord): Readonly<Record<string, number>> {
    return this.partners.byId(run.operatorId).currencyExponents;
  }
}

function onePage(rows: SheetRow[]): AsyncIterable<SheetRow[]> {
  return Readable.from([rows]);
}
