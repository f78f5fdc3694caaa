import { Controller, Get, Headers, Param, Query, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiProduces, ApiTags } from '@nestjs/swagger';
import { isUUID } from 'class-validator';
import type { Response } from 'express';
import { createHash } from 'node:crypto';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { Access } from '../../http/access';
import { ApiProblems } from '../../http/openapi';
import { HubError } from '../../kernel/errors';
import type { SignedManifest } from '../reports/manifest';
import { ManifestQuery, RUN_ID, ReportQuery, SignedManifestView } from './recon.dto';
import { CSV_DEFAULTS, type CsvOptions } from '../reports/report-csv';
import { ReportService, type SignedRun } from '../reports/report.service';
import { isProvisional } from '../run/run';

const SEPARATORS = { comma: ',', semicolon: ';', tab: '\t', pipe: '|' } as const;
const XLSX_TYPE = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet';
const runParam = ApiParam({ name: 'runId', format: 'uuid', description: '`id` of the run', example: RUN_ID });
const FILE_HEADERS = {
  ETag: {
    description: 'Of exactly these bytes; with If-None-Match the response is 304',
    schema: { type: 'string' as const, example: '"9f86d081884c7d65"' },
  },
  'Content-Disposition': {
    description: 'Names the file',
    schema: { type: 'string' as const, example: 'attachment; filename="reconciliation-2026-11-22.csv"' },
  },
  'X-Recon-Run-Id': {
    description: 'Id of the run',
    schema: { type: 'string' as const, format: 'uuid', example: RUN_ID },
  },
  'X-Recon-Item-Count': {
    description: 'Items, which are the lines of the CSV without its heading',
    schema: { type: 'integer' as const, example: 4 },
  },
  Link: {
    description: 'The run',
    schema: { type: 'string' as const, example: `</v1/recon/runs/${RUN_ID}>; rel="describedby"` },
  },
};
const DIGEST_HEADER = {
  'Repr-Digest': {
    description: 'RFC 9530; a trailer where the bytes are not known beforehand (options, gzip, NDJSON, XLSX)',
    schema: { type: 'string' as const, example: 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:' },
  },
};
const DOES =
  'Streamed: a slow reader holds no connection to the database. `Accept-Encoding: gzip` is honoured. The same bytes every time.';

interface ReportFile {
  readonly extension: 'csv' | 'ndjson' | 'xlsx';
  readonly type: string;
  /** Which of the forms of this format; part of the ETag. */
  readonly form: string;
  readonly body: AsyncIterable<Buffer>;
}

function csvOptions({ bom, sep, raw }: Pick<ReportQuery, 'bom' | 'sep' | 'raw'>): CsvOptions {
  return { bom: bom === '1', sep: SEPARATORS[sep], raw: raw === '1' };
}

@ApiTags('finance')
@Controller('v1/recon/runs/:runId')
@Access(['finance', 'ops'])
export class ReportController {
  constructor(private readonly reports: ReportService) {}

  @Get('report.csv')
  @ApiOperation({
    summary: 'The report of a sealed run as CSV',
    description: `RFC 4180, UTF-8, CRLF. Cells that a spreadsheet would execute as a formula start with an apostrophe; \`raw=1\` omits it. Without options these are the bytes that the manifest signs. ${DOES}`,
  })
  @runParam
  @ApiProduces('text/csv')
  @ApiOkResponse({
    description: 'The file; only a heading when every booking matched',
    headers: { ...FILE_HEADERS, ...DIGEST_HEADER },
    schema: { type: 'string', example: 'runId,seq,businessDate,…\r\n' },
  })
  @ApiProblems('not_found', 'run_state_conflict', 'validation_failed')
  async downloadReportCsv(
    @Param('runId') runId: string,
    @Query() { bom, sep, raw }: ReportQuery,
    @Headers() headers: Record<string, string | undefined>,
    @Res() response: Response,
  ): Promise<void> {
    const run = await this.signed(runId);
    const options = csvOptions({ bom, sep, raw });
    const form =
      options.bom === CSV_DEFAULTS.bom && options.sep === CSV_DEFAULTS.sep && options.raw === CSV_DEFAULTS.raw
        ? ''
        : `csv-${bom}-${sep}-${raw}`;
    await this.send(
      run,
      { extension: 'csv', type: 'text/csv; charset=utf-8', form, body: this.reports.csv(run, options) },
      headers,
      response,
    );
  }

  @Get('report.ndjson')
  @ApiOperation({
    summary: 'The report of a sealed run, one JSON object a line',
    description: `The columns of the CSV as fields. Amounts are text. ${DOES}`,
  })
  @runParam
  @ApiProduces('application/x-ndjson')
  @ApiOkResponse({
    description: 'The file; empty when every booking matched',
    headers: FILE_HEADERS,
    schema: { type: 'string', example: '{"seq":1,"class":"missing_in_rgs"}\n' },
  })
  @ApiProblems('not_found', 'run_state_conflict')
  async downloadReportNdjson(
    @Param('runId') runId: string,
    @Headers() headers: Record<string, string | undefined>,
    @Res() response: Response,
  ): Promise<void> {
    const run = await this.signed(runId);
    await this.send(
      run,
      { extension: 'ndjson', type: 'application/x-ndjson', form: 'ndjson', body: this.reports.ndjson(run) },
      headers,
      response,
    );
  }

  @Get('report.xlsx')
  @ApiOperation({
    summary: 'The report of a sealed run as a workbook',
    description: `Sheets Summary, Bridge and Items. Ids are text, amounts are numbers. Up to 1 048 575 items. ${DOES}`,
  })
  @runParam
  @ApiProduces(XLSX_TYPE)
  @ApiOkResponse({
    description: 'The file',
    headers: FILE_HEADERS,
    schema: { type: 'string', format: 'binary', example: 'PK…' },
  })
  @ApiProblems('not_found', 'run_state_conflict', 'report_too_long')
  async downloadReportXlsx(
    @Param('runId') runId: string,
    @Headers() headers: Record<string, string | undefined>,
    @Res() response: Response,
  ): Promise<void> {
    const run = await this.signed(runId);
    await this.send(
      run,
      { extension: 'xlsx', type: XLSX_TYPE, form: 'xlsx', body: await this.reports.xlsx(run) },
      headers,
      response,
    );
  }

  @Get('manifest')
  @ApiOperation({
    summary: 'The signed manifest of the run',
    description:
      'Holds the SHA-256 of report.csv and of the previous manifest; with `file` also that of another form of the report. `npm run recon -- verify` checks file and manifest without the hub.',
  })
  @runParam
  @ApiOkResponse({ description: 'The manifest with its digest and signature', type: SignedManifestView })
  @ApiProblems('not_found', 'run_state_conflict', 'report_too_long', 'validation_failed')
  async getRunManifest(
    @Param('runId') runId: string,
    @Query() { file, bom, sep, raw }: ManifestQuery,
  ): Promise<SignedManifest> {
    const run = await this.signed(runId);
    return file === undefined
      ? run.manifest
      : this.reports.proof(
          run,
          file,
          file === 'csv' ? `csv bom=${bom} sep=${sep} raw=${raw}` : file,
          csvOptions({ bom, sep, raw }),
        );
  }

  private async signed(runId: string): Promise<SignedRun> {
    if (!isUUID(runId)) throw new HubError('not_found');
    return this.reports.signed(runId);
  }

  private async send(
    { run, manifest: signed }: SignedRun,
    file: ReportFile,
    headers: Record<string, string | undefined>,
    response: Response,
  ): Promise<void> {
    // A workbook is compressed already.
    const gzip = file.extension !== 'xlsx' && takesGzip(headers['accept-encoding']);
    const etag = `"${signed.manifest.report.sha256.slice(0, 32)}${file.form === '' ? '' : `-${file.form}`}${gzip ? '-gzip' : ''}"`;
    response.setHeader('ETag', etag);
    response.setHeader('Vary', 'Accept-Encoding');
    response.setHeader('X-Recon-Run-Id', run.id);
    response.setHeader('X-Recon-Item-Count', String(run.itemCount));
    response.setHeader('Link', `</v1/recon/runs/${run.id}>; rel="describedby"`);
    // Revalidated each time, since tokens are taken back; but what did not change need not be sent again.
    response.setHeader('Cache-Control', 'private, no-cache');
    if (sameTag(headers['if-none-match'], etag)) {
      response.status(304).end();
      return;
    }
    response.setHeader('Content-Type', file.type);
    response.setHeader(
      'Content-Disposition',
      `attachment; filename="reconciliation-${run.businessDate ?? run.id}${isProvisional(run) ? '-provisional' : ''}.${file.extension}"`,
    );
    await deliver(response, file, gzip, signed);
  }
}

/** Writes the file at the reader's pace. A reader that leaves ends it quietly: no response is possible. */
async function deliver(response: Response, file: ReportFile, gzip: boolean, signed: SignedManifest): Promise<void> {
  const { bytes, sha256 } = signed.manifest.report;
  const body = Readable.from(file.body, { objectMode: false });
  let left = false;
  response.once('close', () => (left = !response.writableFinished));
  try {
    if (file.form === '' && !gzip) {
      // Known beforehand, so a file that broke off is shorter than it says. So is one that would be longer: Node refuses its last chunk, and
      // without that a reader would take what fits for the whole and the rest for its next answer.
      response.strictContentLength = true;
      response.setHeader('Repr-Digest', digestField(Buffer.from(sha256, 'hex')));
      response.setHeader('Content-Length', String(bytes));
      await pipeline(body, response);
      return;
    }
    response.setHeader('Trailer', 'Repr-Digest');
    const digest = new Digest((sum) => response.addTrailers({ 'Repr-Digest': digestField(sum) }));
    if (gzip) {
      response.setHeader('Content-Encoding', 'gzip');
      await pipeline(body, createGzip(), digest, response);
    } else await pipeline(body, digest, response);
  } catch (error) {
    if (!left) throw error;
  }
}

/** Passes bytes on and tells their SHA-256 before the end is passed on. */
class Digest extends Transform {
  private readonly hash = createHash('sha256');

  constructor(private readonly done: (sum: Buffer) => void) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: (error: null, chunk: Buffer) => void): void {
    this.hash.update(chunk);
    callback(null, chunk);
  }

  override _flush(callback: () => void): void {
    this.done(this.hash.digest());
    callback();
  }
}

function digestField(sum: Buffer): string {
  return `sha-256=:${sum.toString('base64')}:`;
}

/** Whether gzip was asked for by name: a client that says nothing, or `*`, gets the bytes that are signed. */
function takesGzip(accept: string | undefined): boolean {
  return (accept ?? '').split(',').some((part) => {
    const [coding = '', ...parameters] = part
      .toLowerCase()
      .split(';')
      .map((piece) => piece.trim());
    return coding === 'gzip' && !parameters.some((parameter) => /^q=0(\.0{0,3})?$/.test(parameter));
  });
}

function sameTag(given: string | undefined, etag: string): boolean {
  return (
    given !== undefined &&
    (given.trim() === '*' || given.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag))
  );
}
