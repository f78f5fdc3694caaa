import { Controller, Get, Query, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Access } from '../http/access';
import { ApiProblems } from '../http/openapi';
import { readPage } from '../kernel/page';
import { Outbox } from './outbox';
import { recordJson } from './outbox-records.store';
import { OutboxQuery, OutboxRecordView } from './outbox.dto';

@ApiTags('ops')
@Controller('webhooks/outbox')
@Access('ops')
export class OutboxController {
  constructor(private readonly outbox: Outbox) {}

  @Get()
  @ApiOperation({
    summary: 'Outbox records, newest first',
    description: 'The `Link` header with rel="next" leads to the next page.',
  })
  @ApiOkResponse({
    description: 'A page of records',
    type: [OutboxRecordView],
    headers: {
      Link: {
        description: 'rel="next" when there is more',
        schema: {
          type: 'string',
          example: '</webhooks/outbox?limit=100&cursor=019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a12>; rel="next"',
        },
      },
    },
  })
  @ApiProblems('validation_failed')
  async list(@Query() query: OutboxQuery, @Res({ passthrough: true }) response: Response): Promise<string> {
    const { cursor, limit, ...filter } = query;
    const { items, nextCursor } = await readPage(
      limit,
      (rows) => this.outbox.list({ ...filter, limit: rows, ...(cursor === undefined ? {} : { before: cursor }) }),
      ({ id }) => id,
    );
    if (nextCursor !== null) {
      const next = new URLSearchParams({ ...filter, limit: String(limit), cursor: nextCursor });
      response.setHeader('Link', `</webhooks/outbox?${next.toString()}>; rel="next"`);
    }
    response.type('application/json');
    return `[${items.map(recordJson).join(',')}]`;
  }
}
