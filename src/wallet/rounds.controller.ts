import { Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Access } from '../http/access';
import { CallingRgs } from '../http/caller';
import { ApiProblems } from '../http/openapi';
import type { Partner } from '../partners/partner';
import { RoundView } from './rounds.dto';
import { WalletService } from './wallet.service';

@ApiTags('wallet')
@Controller('rounds')
@Access('rgs', { signed: true })
@ApiParam({ name: 'roundId', description: '`roundId` of its movements', example: 'round-77' })
@ApiProblems('not_found')
export class RoundsController {
  constructor(private readonly wallet: WalletService) {}

  @Get(':roundId')
  @ApiOperation({ summary: 'A round with its movements, totals and state' })
  @ApiOkResponse({ description: 'The current round', type: RoundView })
  round(@CallingRgs() { rgs }: { rgs: Partner }, @Param('roundId') roundId: string): Promise<RoundView> {
    return this.wallet.round(rgs, roundId);
  }

  @Post(':roundId/close')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Complete a round',
    description:
      'As `roundClosed: true` on its last movement. Later debits are refused; credits are still accepted. Closing twice changes nothing.',
  })
  @ApiOkResponse({ description: 'The round, completed', type: RoundView })
  closeRound(@CallingRgs() { rgs }: { rgs: Partner }, @Param('roundId') roundId: string): Promise<RoundView> {
    return this.wallet.closeRound(rgs, roundId);
  }
}
