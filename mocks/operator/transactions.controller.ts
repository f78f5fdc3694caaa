import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { sendJsonArray } from '../shared/answers';
import { exactJson } from '../shared/bodies';
import { queryText } from '../shared/fields';
import { ListDesk } from '../shared/list-desk';
import { ListFaults } from '../shared/list-faults';
import { type Booking, PlayerAccounts } from './player-accounts';
import { OperatorSettings } from './settings';

/** What the wallet booked. */
@Controller('v2/transactions')
export class TransactionsController {
  private readonly desk: ListDesk<Booking>;

  constructor(
    private readonly accounts: PlayerAccounts,
    faults: ListFaults,
    settings: OperatorSettings,
  ) {
    this.desk = new ListDesk(
      { list: () => accounts.list(), page: (span, limit) => accounts.page(span, limit), textOf },
      faults,
      settings,
    );
  }

  /**
   * A bare array, oldest first:
   * `{playerId, amount, currency, reference, correlationId, direction: "withdraw"|"deposit", status: "OK", createdAt}`.
   * The amount is as it was sent. `?reference=` gives only that reference's bookings. With any of
   * `?limit=1..10000&from=&to=&cursor=` a page `{items, nextCursor, total}` of those with from <= createdAt < to, in
   * the order of (createdAt, id), each with its `id`; or, by the setting `listForm`, an array with `Link: rel="next"`
   * and `X-Total-Count`.
   */
  @Get()
  async list(@Query('reference') query: unknown, @Req() request: Request, @Res() response: Response): Promise<void> {
    const reference = queryText('reference', query);
    if (reference === null) return this.desk.answer(request, response);
    await sendJsonArray(response, this.accounts.withReference(reference).map(textOf));
  }
}

function textOf({ playerId, amount, currency, reference, correlationId, direction, createdAt }: Booking): string {
  return exactJson({
    playerId,
    amount,
    currency,
    reference,
    correlationId,
    direction,
    status: 'OK',
    createdAt: new Date(createdAt).toISOString(),
  });
}
