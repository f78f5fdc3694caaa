import { Controller, Get } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../http/access';
import { CallingRgs } from '../http/caller';
import type { Partner } from '../partners/partner';
import { Outbox } from './outbox';
import { RgsStanding } from './outbox.dto';
import { ApiGetStanding } from './me.openapi';

@Controller('v1/me')
export class MeController {
  constructor(private readonly outbox: Outbox) {}

  @Get()
  @Access('rgs', { signed: true })
  @ApiTags('wallet')
  @ApiGetStanding()
  async getStanding(@CallingRgs() { rgs }: { rgs: Partner }): Promise<RgsStanding> {
    const { pausedAt, pauseReason, waiting } = await this.outbox.standing(rgs.id);
    return {
      code: rgs.code,
      role: 'rgs',
      paused: pausedAt !== null,
      pausedSince: pausedAt?.toISOString() ?? null,
      pauseReason,
      waiting,
      contact: null,
    };
  }
}
