import { Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { isUUID } from 'class-validator';
import { Access } from '../http/access';
import { Actor } from '../http/caller';
import { HubError } from '../kernel/errors';
import { recordJson } from '../outbox/outbox-records.store';
import { AdminService } from './admin.service';
import { DestinationView, OverdueRound } from './admin.dto';
import {
  ApiClearDatabase,
  ApiListDestinations,
  ApiListOverdueRounds,
  ApiReplayOutboxRecord,
  ApiResumeDestination,
} from './admin.openapi';

@ApiTags('ops')
@Controller('admin')
@Access('ops')
export class AdminController {
  constructor(private readonly admin: AdminService) {}

  @Post('replay/:queue/:recordId')
  @HttpCode(200)
  @ApiReplayOutboxRecord()
  async replayOutboxRecord(
    @Actor() actor: string,
    @Param('queue') queue: string,
    @Param('recordId') recordId: string,
    @Res({ passthrough: true }) response: Response,
  ): Promise<string> {
    if ((queue !== 'rgs' && queue !== 'operator') || !isUUID(recordId)) throw new HubError('outbox_record_not_found');
    const record = await this.admin.replay(actor, queue, recordId);
    response.type('application/json');
    return recordJson(record);
  }

  @Get('destinations')
  @ApiListDestinations()
  listDestinations(): Promise<DestinationView[]> {
    return this.admin.destinations();
  }

  @Post('destinations/:code/resume')
  @HttpCode(200)
  @ApiResumeDestination()
  resumeDestination(@Actor() actor: string, @Param('code') code: string): Promise<{ code: string; resumed: boolean }> {
    return this.admin.resume(actor, code);
  }

  @Get('rounds/overdue')
  @ApiListOverdueRounds()
  listOverdueRounds(): Promise<OverdueRound[]> {
    return this.admin.overdueRounds();
  }

  @Post('clear-db')
  @HttpCode(200)
  @ApiClearDatabase()
  async clearDatabase(@Actor() actor: string): Promise<{ status: 'cleared' }> {
    await this.admin.clearDatabase(actor);
    return { status: 'cleared' };
  }
}
