import { Controller, Get, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { stringify } from 'csv-stringify';
import type { Response } from 'express';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Access } from '../http/access';
import { ApiProblems } from '../http/openapi';
import { type Mismatch, ReconciliationService } from './reconciliation.service';

const COLUMNS = ['refId', 'correlationId', 'direction', 'amount', 'inRGS', 'inOperator'];

@ApiTags('finance')
@Controller()
@Access('finance')
export class ReconciliationController {
  constructor(private readonly reconciliation: ReconciliationService) {}

  @Get('reconciliation_data')
  @ApiOperation({
    summary: 'Movements that only one side knows, as CSV',
    description: 'Compares the list of the RGS with that of the operator by correlation id. Columns refId, correlationId, direction, amount, inRGS, inOperator; CRLF; True and False. Both lists are read to the end first: a side that fails gives 502, never a short file.',
  })
  @ApiProduces('text/csv')
  @ApiOkResponse({
    description: 'The file; a heading only when nothing is missing',
    schema: { type: 'string', example: 'refId,correlationId,direction,amount,inRGS,inOperator\r\nref-local,corr-1,credit,10.0,True,False\r\n' },
    headers: {
      'X-Mismatch-Count': { description: 'Lines of the file without its heading', schema: { type: 'integer', example: 1 } },
      'X-Recon-Rejected-Count': { description: 'Rows of either list without a correlation id; they stand in no line', schema: { type: 'integer', example: 0 } },
      'Content-Disposition': { description: 'Names the file', schema: { type: 'string', example: 'attachment; filename="reconciliation.csv"' } },
    },
  })
  @ApiProblems('upstream_failed')
  async download(@Res() response: Response): Promise<void> {
    // Nobody waits for the file any more: reading on would only burden both partners and the store.
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('the client left')));
    try {
      await this.send(response, gone.signal);
    } catch (error) {
      if (!gone.signal.aborted || response.writableFinished) throw error;
    }
  }

  private async send(response: Response, gone: AbortSignal): Promise<void> {
    const { mismatchCount, rejectedCount, mismatches, close } = await this.reconciliation.run(gone);
    response.setHeader('Content-Type', 'text/csv; charset=utf-8');
    response.setHeader('Content-Disposition', 'attachment; filename="reconciliation.csv"');
    response.setHeader('X-Mismatch-Count', String(mismatchCount));
    response.setHeader('X-Recon-Rejected-Count', String(rejectedCount));
    const csv = stringify({ header: true, columns: COLUMNS, record_delimiter: 'windows', quoted_match: /[\r\n]/ });
    try {
      await pipeline(Readable.from(mismatches), async function* (rows: AsyncIterable<Mismatch>) { for await (const row of rows) yield cells(row); }, csv, response);
    } finally {
      await close();
    }
  }
}

function cells({ refId, correlationId, direction, amount, inRgs, inOperator }: Mismatch): string[] {
  return [text(refId), text(correlationId), text(direction), isNumber(amount) ? amount : text(amount), inRgs ? 'True' : 'False', inOperator ? 'True' : 'False'];
}

/** A spreadsheet runs a cell that begins like a formula, and ids are chosen by outsiders. */
function text(cell: string): string {
  return /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(cell) ? `'${cell}` : cell;
}

/** A negative amount begins like a formula and is none. */
function isNumber(cell: string): boolean {
  return /^-?\d+\.?\d*(e[+-]\d+)?$/.test(cell);
}
