import { Controller, Get, Post, Query, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { sendJsonArray } from '../shared/answers';
import { queryText } from '../shared/fields';
import { type ReceivedWebhook, ReceivedWebhooks } from './received-webhooks';
import { WebhookDesk } from './webhook-desk';

/** The game server's end of the hub's webhooks. */
@Controller('webhooks')
export class WebhooksController {
  constructor(
    private readonly desk: WebhookDesk,
    private readonly received: ReceivedWebhooks,
  ) {}

  /** A signed JSON object -> 200 `{status: "received"}`; 400 and 401 `{status: "ERROR", reason}`. */
  @Post()
  receive(@Req() request: Request, @Res() response: Response): Promise<void> {
    return this.desk.receive(request, response);
  }

  /**
   * A bare array of what was stored, in order of arrival: the body as received plus `createdAt` (ISO 8601),
   * `idempotencyKey` and `deliveries`. `?refId=` gives only that refId's webhooks.
   */
  @Get()
  async list(@Query('refId') query: unknown, @Res() response: Response): Promise<void> {
    const refId = queryText('refId', query);
    await sendJsonArray(response, rows(refId === null ? this.received.list() : this.received.withRefId(refId)));
  }
}

function* rows(webhooks: readonly ReceivedWebhook[]): Generator<string> {
  for (const { body, idempotencyKey, createdAt, deliveries } of webhooks) {
    const added = JSON.stringify({ createdAt: new Date(createdAt).toISOString(), idempotencyKey, deliveries });
    yield joined(body, added);
  }
}

/** Two JSON objects as one, by their texts: the body's numbers keep their digits, and 100 000 rows need no parsing. */
function joined(body: string, added: string): string {
  const opened = body.trimEnd().slice(0, -1).trimEnd();
  return opened.trimStart() === '{' ? added : `${opened},${added.slice(1)}`;
}
