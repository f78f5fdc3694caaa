import { Controller, Get, Query, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Access } from '../http/access';
import { readPage } from '../kernel/page';
import { Outbox } from './outbox';
import { recordJson } from './outbox-records.store';
import { OutboxQuery } from './outbox.dto';
import { ApiListOutboxRecords } from './outbox.openapi';

@ApiTags('ops')
@Controller('webhooks/outbox')
@Access('ops')
export class OutboxController {
  constructor(private readonly outbox: Outbox) {}

  @Get()
  @ApiListOutboxRecords()
  async listOutboxRecords(
    @Query() query: OutboxQuery,
    @Res({ passthrough: true }) response: Response,
  ): Promise<string> {
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
