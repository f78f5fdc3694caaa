import { Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { isUUID } from 'class-validator';
import { Access } from '../http/access';
import { Actor } from '../http/caller';
import { ApiProblems } from '../http/openapi';
import { HubError } from '../kernel/errors';
import { recordJson } from '../outbox/outbox-records.store';
import { OutboxRecordView } from '../outbox/outbox.dto';
import { AdminService } from './admin.service';
import { DestinationView, OverdueRound } from './admin.dto';

@ApiTags('ops')
@Controller('admin')
@Access('ops')
export class AdminController {
  constructor(private readonly admin: AdminService) {}

  @Post('replay/:queue/:recordId')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Replay an outbox record',
    description:
      'Same bytes, same id, due now. Refused when it could move money twice: the movement was rejected and the RGS notified, or the operator is not idempotent.',
  })
  @ApiParam({ name: 'queue', enum: ['rgs', 'operator'], description: 'The side that the record is sent to' })
  @ApiParam({
    name: 'recordId',
    format: 'uuid',
    description: '`id` of the record in GET /webhooks/outbox',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a12',
  })
  @ApiOkResponse({ description: 'The record, pending again and due now', type: OutboxRecordView })
  @ApiProblems('outbox_record_not_found', 'money_in_flight', 'replay_refused')
  async replay(
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
  @ApiOperation({ summary: 'Destinations with their waiting messages, and why they are not called' })
  @ApiOkResponse({ description: 'One destination per partner', type: [DestinationView] })
  destinations(): Promise<DestinationView[]> {
    return this.admin.destinations();
  }

  @Post('destinations/:code/resume')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Resume a paused destination',
    description: 'An RGS that responds 410 is paused; its messages wait in order.',
  })
  @ApiParam({
    name: 'code',
    description: 'Code of the partner; the pair of the environment are `rgs` and `operator`',
    example: 'rgs',
  })
  @ApiOkResponse({
    description: 'The destination, resumed',
    schema: {
      type: 'object',
      required: ['code', 'resumed'],
      properties: {
        code: { type: 'string', example: 'rgs' },
        resumed: { type: 'boolean', description: 'false: it was not paused', example: true },
      },
    },
  })
  @ApiProblems('not_found')
  resume(@Actor() actor: string, @Param('code') code: string): Promise<{ code: string; resumed: boolean }> {
    return this.admin.resume(actor, code);
  }

  @Get('rounds/overdue')
  @ApiOperation({ summary: 'Rounds that have been open for longer than ROUND_OVERDUE_MINUTES, oldest first' })
  @ApiOkResponse({ description: 'Overdue rounds, at most 500', type: [OverdueRound] })
  overdueRounds(): Promise<OverdueRound[]> {
    return this.admin.overdueRounds();
  }

  @Post('clear-db')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Delete all movements and messages',
    description: 'Only while ALLOW_CLEAR_DB is true, which production refuses. The audit log stays.',
  })
  @ApiOkResponse({
    description: 'All movements and messages are deleted',
    schema: {
      type: 'object',
      required: ['status'],
      properties: { status: { type: 'string', enum: ['cleared'], example: 'cleared' } },
    },
  })
  async clearDatabase(@Actor() actor: string): Promise<{ status: 'cleared' }> {
    await this.admin.clearDatabase(actor);
    return { status: 'cleared' };
  }
}
