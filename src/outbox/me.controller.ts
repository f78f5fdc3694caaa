import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Access } from '../http/access';
import { CallingRgs } from '../http/caller';
import type { Partner } from '../partners/partner';
import { Outbox } from './outbox';
import { RgsStanding } from './outbox.dto';

@Controller('v1/me')
export class MeController {
  constructor(private readonly outbox: Outbox) {}

  @Get()
  @Access('rgs', { signed: true })
  @ApiTags('wallet')
  @ApiOperation({
    summary: 'Whether your webhook is called, and how many webhooks wait',
    description:
      "An endpoint that responded 410 is paused: nothing is sent to it until the hub's ops resume it, and webhooks wait in order. Movements are still accepted.",
  })
  @ApiOkResponse({ description: 'The current state', type: RgsStanding })
  async me(@CallingRgs() { rgs }: { rgs: Partner }): Promise<RgsStanding> {
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
