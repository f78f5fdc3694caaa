import { Body, Controller, Get, HttpCode, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Access, type HubRequest } from '../http/access';
import { callingOperator, rawBodyOf } from '../http/caller';
import { TakesJson } from '../http/json-body.guard';
import { ApiProblems } from '../http/openapi';
import { Outbox } from '../outbox/outbox';
import { recordJson } from '../outbox/outbox-records.store';
import { CallbackAnswer, OperatorCallback, OutboxQuery, OutboxRecordView } from './operator-callbacks.dto';
import { WebhooksService } from './operator-callbacks.service';

@Controller('webhooks')
export class WebhooksController {
  constructor(
    private readonly webhooks: WebhooksService,
    private readonly outbox: Outbox,
  ) {}

  @Post('incoming')
  @HttpCode(200)
  @Access('operator', { signed: true, ownCommit: true })
  @TakesJson()
  @ApiTags('webhooks')
  @ApiOperation({
    summary: 'An operator tells the outcome of a movement',
    description:
      "The first definitive word, here or in the answer to the hub's call, settles the transaction and is told to the RGS once. Repeats are 200 without a second effect; a contradiction is 200, changes nothing and raises an incident.",
  })
  @ApiBody({ type: OperatorCallback })
  @ApiOkResponse({
    description: 'The callback is stored, and applied if it is the first definitive word',
    type: CallbackAnswer,
  })
  @ApiProblems(
    'malformed_request',
    'unknown_reference',
    'callback_mismatch',
    'unknown_status_word',
    'payload_too_large',
    'unsupported_media_type',
    'validation_failed',
  )
  async incoming(@Req() request: HubRequest, @Body() callback: OperatorCallback): Promise<CallbackAnswer> {
    await this.webhooks.receive(callingOperator(request), callback, rawBodyOf(request).toString('utf8'));
    return { status: 'accepted' };
  }

  @Get('outbox')
  @Access('ops')
  @ApiTags('ops')
  @ApiOperation({
    summary: 'What the hub delivers, newest first',
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
    const found = await this.outbox.list({
      ...filter,
      limit: limit + 1,
      ...(cursor === undefined ? {} : { before: cursor }),
    });
    const page = found.slice(0, limit);
    const last = page.at(-1);
    if (found.length > limit && last !== undefined) {
      const next = new URLSearchParams({ ...filter, limit: String(limit), cursor: last.id });
      response.setHeader('Link', `</webhooks/outbox?${next.toString()}>; rel="next"`);
    }
    response.type('application/json');
    return `[${page.map(recordJson).join(',')}]`;
  }
}
