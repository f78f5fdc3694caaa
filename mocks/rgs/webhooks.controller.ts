import { Controller, Get, Post, Query, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { sendJsonArray } from '../shared/answers';
import { queryText } from '../shared/fields';
import { ListDesk } from '../shared/list-desk';
import { ListFaults } from '../shared/list-faults';
import { type ReceivedWebhook, ReceivedWebhooks } from './received-webhooks';
import { RgsSettings } from './settings';
import { WebhookDesk } from './webhook-desk';

/** The game server's end of the hub's webhooks. */
@Controller('webhooks')
export class WebhooksController {
  private readonly lists: ListDesk<ReceivedWebhook>;

  constructor(
    private readonly desk: WebhookDesk,
    private readonly received: ReceivedWebhooks,
    faults: ListFaults,
    settings: RgsSettings,
  ) {
    this.lists = new ListDesk(
      { list: () => received.list(), page: (span, limit) => received.page(span, limit), textOf },
      faults,
      settings,
    );
  }

  /** A signed JSON object -> 200 `{status: "received"}`; 400 and 401 `{status: "ERROR", reason}`. */
  @Post()
  receive(@Req() request: Request, @Res() response: Response): Promise<void> {
    return this.desk.receive(request, response);
  }

  /**
   * A bare array of what was stored, in order of arrival: the body as received plus `createdAt` (ISO 8601),
   * `idempotencyKey` and `deliveries`. `?refId=` gives only that refId's webhooks. With any of
   * `?limit=1..10000&from=&to=&cursor=` a page `{items, nextCursor, total}` of those with from <= createdAt < to, in
   * the order of (createdAt, id), each with its `id`; or, by the setting `listForm`, an array with `Link: rel="next"`
   * and `X-Total-Count`.
   */
  @Get()
  async list(@Query('refId') query: unknown, @Req() request: Request, @Res() response: Response): Promise<void> {
    const refId = queryText('refId', query);
    if (refId === null) return this.lists.answer(request, response);
    await sendJsonArray(response, this.received.withRefId(refId).map(textOf));
  }
}

function textOf({ body, idempotencyKey, createdAt, deliveries }: ReceivedWebhook): string {
  return joined(body, JSON.stringify({ createdAt: new Date(createdAt).toISOString(), idempotencyKey, deliveries }));
}

/** Two JSON objects as one, by their texts: the body's numbers keep their digits, and 100 000 rows need no parsing. */
function joined(body: string, added: string): string {
  const opened = body.trimEnd().slice(0, -1).trimEnd();
  return opened.trimStart() === '{' ? added : `${opened},${added.slice(1)}`;
}
