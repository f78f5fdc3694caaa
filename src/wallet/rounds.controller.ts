import { Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../http/access';
import { CallingRgs } from '../http/caller';
import type { Partner } from '../partners/partner';
import { RoundView } from './rounds.dto';
import { WalletService } from './wallet.service';
import { ApiCloseRound, ApiGetRound, ApiRounds } from './rounds.openapi';

@ApiTags('wallet')
@Controller('rounds')
@Access('rgs', { signed: true })
@ApiRounds()
export class RoundsController {
  constructor(private readonly wallet: WalletService) {}

  @Get(':roundId')
  @ApiGetRound()
  getRound(@CallingRgs() { rgs }: { rgs: Partner }, @Param('roundId') roundId: string): Promise<RoundView> {
    return this.wallet.round(rgs, roundId);
  }

  @Post(':roundId/close')
  @HttpCode(200)
  @ApiCloseRound()
  closeRound(@CallingRgs() { rgs }: { rgs: Partner }, @Param('roundId') roundId: string): Promise<RoundView> {
    return this.wallet.closeRound(rgs, roundId);
  }
}
