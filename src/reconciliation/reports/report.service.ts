import { Inject, Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Config } from '../../config/config';
import { CONFIG } from '../../config/config.module';
import { Database } from '../../database/database';
import { HubError } from '../../kernel/errors';
import { currencyExponent, toMajorUnits } from '../../kernel/money';
import { PartnerDirectory } from '../../partners/partner-directory';
import { type ReconRun, isProvisional } from '../run/run';
import { RunStore } from '../run/run.store';
import { bridgeOf } from './bridge';
import { ManifestKey, type SignedManifest } from './manifest';
import { type Column, REPORT_COLUMNS_V1, type ReportRow, rowMaker } from './report-columns';
import { CSV_DEFAULTS, type CsvOptions, csvHeader, csvLines, ndjsonLines } from './report-csv';
import { ReportStore } from './report.store';
import { type SheetRow, XLSX_ROWS_MAX, xlsx } from './xlsx';

/** Items of one statement and one chunk of a file. */
const PAGE_ITEMS = 500;

const SUMMARY_COLUMNS: readonly Column[] = [
  'businessDate',
  'currency',
  'direction',
  'class',
  'state',
  'side',
  'count',
  'total',
].map((name) => ({ name, kind: name === 'count' || name === 'total' ? 'number' : 'text' }));
const BRIDGE_COLUMNS: readonly Column[] = ['businessDate', 'currency', 'direction', 'from', 'to', 'what', 'amount'].map(
  (name) => ({ name, kind: name === 'amount' ? 'number' : 'text' }),
);
const RUN_COLUMNS: readonly Column[] = ['what', 'value'].map((name) => ({ name, kind: 'text' }));

/** What a report is about. */
export type ReportSubject = Pick<ReconRun, 'id' | 'zone' | 'asOf' | 'operatorId'>;

export interface SignedRun {
  readonly run: ReconRun;
  readonly manifest: SignedManifest;
  readonly exponents: Readonly<Record<string, number>>;
}

/** Makes what finance reads from a sealed run. Items do not change after the seal, so neither do the bytes. */
@Injectable()
export class ReportService {
  readonly key: ManifestKey;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly database: Database,
    private readonly runs: RunStore,
    private readonly store: ReportStore,
    private readonly partners: PartnerDirectory,
  ) {
    this.key = new ManifestKey(config.reconSigningKey);
  }

  /** Throws not_found, and run_state_conflict for a run that has no result, or none yet. */
  async sealed(id: string): Promise<ReconRun> {
    const run = await this.runs.find(id);
    if (run === undefined) throw new HubError('not_found');
    if (run.state !== 'sealed') throw new HubError('run_state_conflict', { detail: `the run is ${run.state}` });
    return run;
  }

  csv({ run, exponents }: SignedRun, options: CsvOptions): AsyncGenerator<Buffer> {
    return this.chunks(run, exponents, csvHeader(options), (rows) => csvLines(rows, options));
  }

  ndjson({ run, exponents }: SignedRun): AsyncGenerator<Buffer> {
    return this.chunks(run, exponents, '', ndjsonLines);
  }

  /** The manifest, with the digest of one file more. It is made once to be counted, since nothing signed may rest on what a caller says. */
  async proof(
    signed: SignedRun,
    file: 'csv' | 'ndjson' | 'xlsx',
    form: string,
    options: CsvOptions,
  ): Promise<SignedManifest> {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of (file === 'csv'
      ? this.csv(signed, options)
      : file === 'ndjson'
        ? this.ndjson(signed)
        : await this.xlsx(signed)) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    return this.key.signFile(signed.manifest, form, { bytes, sha256: hash.digest('hex') });
  }

  /** Throws report_too_long: Excel opens no sheet that is longer. */
  async xlsx({ run, exponents, manifest }: SignedRun): Promise<Readable> {
    if (Number(run.itemCount) > XLSX_ROWS_MAX)
      throw new HubError('report_too_long', {
        detail: `the run has ${run.itemCount} items, and a sheet holds ${XLSX_ROWS_MAX}; take report.csv`,
      });
    const cells = await this.store.summary(run.id);
    const major = (minor: bigint, currency: string) => toMajorUnits(minor, currencyExponent(currency, exponents));
    const summary = cells.map((cell) => [
      cell.businessDate,
      cell.currency,
      cell.direction,
      cell.class,
      cell.state,
      cell.side,
      cell.count,
      major(cell.sumMinor, cell.currency),
    ]);
    const bridge = bridgeOf(cells).flatMap((line) => {
      const row = (what: string, minor: bigint): SheetRow => [
        line.businessDate,
        line.currency,
        line.direction,
        line.from,
        line.to,
        what,
        major(minor, line.currency),
      ];
      return [
        row(`total ${line.from}`, line.fromMinor),
        ...line.steps.map((step) => row(step.class, step.differenceMinor)),
        row('unexplained', line.unexplainedMinor),
        row(`total ${line.to}`, line.toMinor),
      ];
    });
    return xlsx([
      { name: 'Summary', columns: SUMMARY_COLUMNS, pages: onePage(summary.length > 0 ? summary : [['No activity']]) },
      { name: 'Bridge', columns: BRIDGE_COLUMNS, pages: onePage(bridge) },
      { name: 'Items', columns: REPORT_COLUMNS_V1, pages: this.sheetPages(run, exponents) },
      { name: 'Run', columns: RUN_COLUMNS, pages: onePage(aboutRows(manifest)) },
    ]);
  }

  /** A sealed run with what its files are made by; signs it when that was not done yet. Throws as `sealed`. */
  async signed(id: string): Promise<SignedRun> {
    const run = await this.sealed(id);
    const manifest = await this.manifest(run);
    return { run, manifest, exponents: manifest.manifest.run.exponents };
  }

  /** The run's manifest. Makes it when it has none yet, and appends it to the chain; it is the one that the run has from then on. */
  async manifest(run: ReconRun): Promise<SignedManifest> {
    const made = await this.store.manifest(this.database, run.id);
    if (made !== undefined) return made;
    const exponents = this.exponents(run.operatorId);
    // Before the chain is locked: the digest of a long report takes seconds, and others want to sign meanwhile.
    const digest = await this.sealedDigest(run);
    const report = { version: 1 as const, mediaType: 'text/csv' as const, rows: Number(run.itemCount), ...digest };
    return this.database.transaction(async (tx) => {
      const end = await this.store.lockChain(tx);
      const meanwhile = await this.store.manifest(tx, run.id);
      if (meanwhile !== undefined) return meanwhile;
      const totals = await this.store.totals(tx, run.id);
      const signed = this.key.sign({
        format: 'recon-manifest/1',
        sequence: (end?.sequence ?? 0) + 1,
        previousManifestSha256: end?.sha256 ?? null,
        run: this.identity(run, exponents),
        audit: await this.store.auditHeads(tx),
        counts: run.counts ?? {},
        totals,
        report,
      });
      await this.store.saveManifest(tx, run.id, signed);
      return signed;
    });
  }

  /** Digest and length of the run's default CSV. The engine asks for it before the run counts as sealed. */
  async of(run: ReportSubject): Promise<{ sha256: Buffer; bytes: number }> {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of this.chunks(run, this.exponents(run.operatorId), csvHeader(CSV_DEFAULTS), (rows) =>
      csvLines(rows, CSV_DEFAULTS),
    )) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    return { sha256: hash.digest(), bytes };
  }

  /** What the engine sealed; a legacy run was sealed with the digest of its six-column file, which is another. */
  private async sealedDigest(run: ReconRun): Promise<{ bytes: number; sha256: string }> {
    if (run.csvSha256 !== null && run.csvBytes !== null && run.kind !== 'legacy')
      return { bytes: run.csvBytes, sha256: run.csvSha256.toString('hex') };
    const { bytes, sha256 } = await this.of(run);
    return { bytes, sha256: sha256.toString('hex') };
  }

  private identity(run: ReconRun, exponents: Readonly<Record<string, number>>): SignedManifest['manifest']['run'] {
    if (run.finishedAt === null) throw new Error(`sealed run ${run.id} has no end`);
    return {
      id: run.id,
      kind: run.kind,
      rgs: this.partners.byId(run.rgsId).code,
      operator: this.partners.byId(run.operatorId).code,
      businessDate: run.businessDate,
      window: run.window === null ? null : { from: run.window.from.toISOString(), to: run.window.to.toISOString() },
      zone: run.zone,
      cutoff: run.cutoff,
      graceSeconds: run.graceSeconds,
      provisional: isProvisional(run),
      exponents,
      asOf: run.asOf.toISOString(),
      sealedAt: run.finishedAt.toISOString(),
    };
  }

  private async *chunks(
    { id, zone, asOf }: ReportSubject,
    exponents: Readonly<Record<string, number>>,
    head: string,
    write: (rows: ReportRow[]) => string,
  ): AsyncGenerator<Buffer> {
    if (head !== '') yield Buffer.from(head);
    const row = rowMaker({ zone, asOf, exponents });
    for await (const items of this.store.itemPages(id, PAGE_ITEMS)) yield Buffer.from(write(items.map(row)));
  }

  private async *sheetPages(
    { id, zone, asOf }: ReportSubject,
    exponents: Readonly<Record<string, number>>,
  ): AsyncGenerator<SheetRow[]> {
    const row = rowMaker({ zone, asOf, exponents });
    for await (const items of this.store.itemPages(id, PAGE_ITEMS))
      yield items.map(row).map((cells) => REPORT_COLUMNS_V1.map(({ name }) => cells[name]));
  }

  /** As the operator counts; kept in the manifest, since files must not change when the operator's entry does. */
  private exponents(operatorId: number): Readonly<Record<string, number>> {
    return this.partners.byId(operatorId).currencyExponents;
  }
}

/** What a workbook is of, and which manifest stands for it: a file that was renamed still says so. */
function aboutRows({ manifest, sha256 }: SignedManifest): SheetRow[] {
  const { run, report, sequence, signing } = manifest;
  return [
    ['runId', run.id],
    ['provisional', run.provisional === true ? 'yes: the window had not ended' : 'no'],
    ['businessDate', run.businessDate],
    ['windowFrom', run.window?.from ?? 'all time'],
    ['windowTo', run.window?.to ?? 'all time'],
    ['zone', run.zone],
    ['cutoff', run.cutoff],
    ['rgs', run.rgs],
    ['operator', run.operator],
    ['asOf', run.asOf],
    ['sealedAt', run.sealedAt],
    ['manifestSequence', String(sequence)],
    ['manifestSha256', sha256],
    ['signingKeyId', signing.keyId],
    ['csvSha256', report.sha256],
  ];
}

function onePage(rows: SheetRow[]): AsyncIterable<SheetRow[]> {
  return Readable.from([rows]);
}
