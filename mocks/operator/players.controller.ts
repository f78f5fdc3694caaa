import { Controller, Param, Post, Req, Res } from '@nestjs/common';
import type { Request, Response } from 'express';
import { MovementDesk } from './movement-desk';

/**
 * The wallet. Body: `{amount, currency, reference, correlationId}`, signed.
 * 200 `{status: "OK", correlationId, balance}` or `{status: "REJECTED", reason, correlationId, balance}`;
 * 400, 401 and 422 `{status: "ERROR", reason | code}`. The balance is a JSON number in major units.
 */
@Controller('v2/players/:externalPlayerId')
export class PlayersController {
  constructor(private readonly desk: MovementDesk) {}

  @Post('withdraw')
  withdraw(
    @Param('externalPlayerId') playerId: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.desk.receive(playerId, 'withdraw', request, response);
  }

  @Post('deposit')
  deposit(
    @Param('externalPlayerId') playerId: string,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    return this.desk.receive(playerId, 'deposit', request, response);
  }
}
