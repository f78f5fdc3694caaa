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
    schema: { type: 'string', example: 'refId,correlationId,direction,amount,inRGS,inOperator\r\nref-local,corr-1,credit,10.0,True,False\r\n' },
    headers: {
      'X-Mismatch-Count': { description: 'Lines of the file without its heading', schema: { type: 'integer' } },
      'X-Recon-Rejected-Count': { description: 'Rows of either list without a correlation id; they stand in no line', schema: { type: 'integer' } },
      'Content-Disposition': { schema: { type: 'string', example: 'attachment; filename="reconciliation.csv"' } },
    },
  })
  @ApiProblems('upstream_failed')
  async download(@Res() response: Response): Promise<void> {
    const { mismatchCount, rejectedCount, mismatches } = await this.reconciliation.run();
    response.setHeader('Content-Type', 'text/csv; charset=utf-8');
    response.setHeader('Content-Disposition', 'attachment; filename="reconciliation.csv"');
    response.setHeader('X-Mismatch-Count', String(mismatchCount));
    response.setHeader('X-Recon-Rejected-Count', String(rejectedCount));
    // A spreadsheet runs a cell that begins like a formula, and ids are chosen by outsiders.
    const csv = stringify({ header: true, columns: COLUMNS, record_delimiter: 'windows', escape_formulas: true, quoted_match: /[\r\n]/ });
    await pipeline(Readable.from(mismatches), async function* (rows: AsyncIterable<Mismatch>) { for await (const row of rows) yield cells(row); }, csv, response);
  }
}

function cells({ refId, correlationId, direction, amount, inRgs, inOperator }: Mismatch): string[] {
  return [refId, correlationId, direction, amount, inRgs ? 'True' : 'False', inOperator ? 'True' : 'False'];
}
