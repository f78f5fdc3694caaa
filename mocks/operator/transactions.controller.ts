import { Controller, Get, Query, Res } from '@nestjs/common';
import type { Response } from 'express';
import { sendJsonArray } from '../shared/answers';
import { exactJson } from '../shared/bodies';
import { queryText } from '../shared/fields';
import { type Booking, PlayerAccounts } from './player-accounts';

/** What the wallet booked. */
@Controller('v2/transactions')
export class TransactionsController {
  constructor(private readonly accounts: PlayerAccounts) {}

  /**
   * A bare array, oldest first:
   * `{playerId, amount, currency, reference, correlationId, direction: "withdraw"|"deposit", status: "OK", createdAt}`.
   * The amount is as it was sent. `?reference=` gives only that reference's bookings.
   */
  @Get()
  async list(@Query('reference') query: unknown, @Res() response: Response): Promise<void> {
    const reference = queryText('reference', query);
    const bookings = reference === null ? this.accounts.list() : this.accounts.withReference(reference);
    await sendJsonArray(response, rows(bookings));
  }
}

function* rows(bookings: readonly Booking[]): Generator<string> {
  for (const { playerId, amount, currency, reference, correlationId, direction, createdAt } of bookings) {
    yield exactJson({ playerId, amount, currency, reference, correlationId, direction, status: 'OK', createdAt: new Date(createdAt).toISOString() });
  }
}
