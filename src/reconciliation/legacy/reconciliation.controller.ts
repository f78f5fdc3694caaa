import { Controller, Get, Headers, Query, Req, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Access } from '../../http/access';
import { Actor } from '../../http/caller';
import { whenHalfClosed } from '../../http/http-server';
import { ApiProblems } from '../../http/openapi';
import type { ReconRun } from '../run/run';
import { LegacyFile } from './legacy-file';
import { ReconciliationQuery } from './reconciliation.dto';
import { ReconciliationService } from './reconciliation.service';

@ApiTags('finance')
@Controller()
@Access('finance')
export class ReconciliationController {
  constructor(
    private readonly reconciliation: ReconciliationService,
    private readonly file: LegacyFile,
  ) {}

  @Get('reconciliation_data')
  @ApiOperation({
    summary: 'Movements that only one side has, as CSV',
    description:
      'Compares the lists of the RGS and of the operator with each other and with the hub. Columns refId, correlationId, direction, amount, inRGS, inOperator; CRLF; True and False. ' +
      'Both lists are read to the end first: a side that fails is a 502, never a short file. Concurrent equal calls are one run. The headers count what six columns cannot show.',
  })
  @ApiProduces('text/csv')
  @ApiOkResponse({
    description: 'The file; only a heading when nothing is missing',
    schema: {
      type: 'string',
      example: 'refId,correlationId,direction,amount,inRGS,inOperator\r\nref-local,corr-1,credit,10.0,True,False\r\n',
    },
    headers: {
      'X-Mismatch-Count': {
        description: 'Lines of the file without its heading',
        schema: { type: 'integer', example: 1 },
      },
      'X-Recon-Rejected-Count': {
        description: 'Rows of either list without a correlation id; they are in no line',
        schema: { type: 'integer', example: 0 },
      },
      'X-Recon-Value-Mismatch-Count': {
        description: 'Movements that both sides list and that differ in amount, currency, direction, status or number',
        schema: { type: 'integer', example: 0 },
      },
      'X-Recon-In-Flight-Count': {
        description: 'Movements that may still be in flight',
        schema: { type: 'integer', example: 0 },
      },
      'X-Recon-Run-Id': {
        description: 'The run; ?run= returns the same file again',
        schema: { type: 'string', format: 'uuid', example: '0198c2c4-3f6e-7cc0-8d8b-0d5e4a8f0b11' },
      },
      'Repr-Digest': {
        description: 'SHA-256 of the file (RFC 9530); not with raw=1',
        schema: { type: 'string', example: 'sha-256=:yO2bQk8mQm6yq5Fz1VqPqvJbXAY1p3m8m6c1V5n0nq0=:' },
      },
      ETag: { description: 'The same for If-None-Match', schema: { type: 'string', example: '"c8ed9b424f26"' } },
      Link: {
        description: 'The run',
        schema: { type: 'string', example: '</v1/recon/runs/0198c2c4-3f6e-7cc0-8d8b-0d5e4a8f0b11>; rel="describedby"' },
      },
      'Content-Disposition': {
        description: 'Names the file',
        schema: { type: 'string', example: 'attachment; filename="reconciliation.csv"' },
      },
    },
  })
  @ApiAcceptedResponse({
    description: 'With Prefer: respond-async: the run has started',
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: ['runId'],
          properties: { runId: { type: 'string', format: 'uuid', example: '0198c2c4-3f6e-7cc0-8d8b-0d5e4a8f0b11' } },
        },
      },
    },
    headers: {
      Location: {
        description: 'The run',
        schema: { type: 'string', example: '/v1/recon/runs/0198c2c4-3f6e-7cc0-8d8b-0d5e4a8f0b11' },
      },
    },
  })
  @ApiProblems('upstream_failed', 'not_found', 'validation_failed')
  async downloadReconciliationData(
    @Query() query: ReconciliationQuery,
    @Headers('prefer') prefer: string | undefined,
    @Actor() actor: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    if (query.run === undefined && /(^|,)\s*respond-async\s*($|[,;])/i.test(prefer ?? '')) {
      const run = await this.reconciliation.begun(query, actor);
      response
        .status(202)
        .setHeader('Location', pathOf(run))
        .setHeader('Preference-Applied', 'respond-async')
        .setHeader('X-Recon-Run-Id', run.id)
        .json({ runId: run.id });
      return;
    }
    // No caller waits for the file any more: reading on would only burden both partners and the database. While the lists are read a client that closed
    // its half and still reads looks like one that left, and most left: both get nothing. A file that is there goes out to either.
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('the client left')));
    if (query.run === undefined) whenHalfClosed(response, () => void (response.headersSent || response.destroy()));
    try {
      await this.send(
        await this.reconciliation.sealed(query, actor, gone.signal),
        query.raw === '1',
        request,
        response,
      );
    } catch (error) {
      if (!gone.signal.aborted || response.writableFinished) throw error;
    }
  }

  private async send(run: ReconRun, raw: boolean, request: Request, response: Response): Promise<void> {
    const { counts } = run;
    if (counts === null) throw new Error(`run ${run.id} is sealed without counts`);
    response.setHeader('X-Mismatch-Count', String(counts.legacyLines));
    response.setHeader('X-Recon-Rejected-Count', String(counts.rejected));
    response.setHeader('X-Recon-Value-Mismatch-Count', String(counts.valueMismatches));
    response.setHeader('X-Recon-In-Flight-Count', String(counts.inFlight));
    response.setHeader('X-Recon-Run-Id', run.id);
    response.setHeader('Link', `<${pathOf(run)}>; rel="describedby"`);
    if (run.legacySha256 !== null && !raw) {
      const tag = `"${run.legacySha256.toString('hex')}"`;
      response.setHeader('ETag', tag);
      if (
        request
          .get('if-none-match')
          ?.split(/\s*,\s*/)
          .includes(tag) === true
      ) {
        response.status(304).end();
        return;
      }
      response.setHeader('Repr-Digest', `sha-256=:${run.legacySha256.toString('base64')}:`);
    }
    response.setHeader('Content-Type', 'text/csv; charset=utf-8');
    response.setHeader('Content-Disposition', 'attachment; filename="reconciliation.csv"');
    await pipeline(
      Readable.from(this.file.blocks(run.id, raw), { objectMode: false, highWaterMark: 64 * 1024 }),
      response,
    );
  }
}

function pathOf({ id }: ReconRun): string {
  return `/v1/recon/runs/${id}`;
}
