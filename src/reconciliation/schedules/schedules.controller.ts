import { Body, Controller, Delete, Get, Param, Put } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Access } from '../../http/access';
import { Actor } from '../../http/caller';
import { TakesJson } from '../../http/json-body.guard';
import { ApiProblems } from '../../http/openapi';
import { HubError } from '../../kernel/errors';
import { ScheduleRequest, ScheduleView } from './schedule.dto';
import { SchedulesService } from './schedules.service';

const nameParam = ApiParam({ name: 'name', description: '1 to 40 small letters, digits and dashes', example: 'daily' });

@ApiTags('finance')
@Controller('v1/recon/schedules')
@Access(['finance', 'ops'])
export class SchedulesController {
  constructor(private readonly schedules: SchedulesService) {}

  @Get()
  @ApiOperation({ summary: 'Schedules of business days, with their progress' })
  @ApiOkResponse({ description: 'All schedules', type: [ScheduleView] })
  listSchedules(): Promise<ScheduleView[]> {
    return this.schedules.list();
  }

  @Put(':name')
  @TakesJson()
  @ApiOperation({
    summary: 'Create or change a schedule',
    description:
      'Each business day is run at the first scheduled time after it has ended. Days missed while no hub was running are caught up, oldest first, up to catchUpDays.',
  })
  @nameParam
  @ApiBody({ type: ScheduleRequest })
  @ApiOkResponse({ description: 'The schedule', type: ScheduleView })
  @ApiProblems('malformed_request', 'not_found', 'payload_too_large', 'unsupported_media_type', 'validation_failed')
  putSchedule(
    @Actor() actor: string,
    @Param('name') name: string,
    @Body() request: ScheduleRequest,
  ): Promise<ScheduleView> {
    return this.schedules.put(actor, named(name), request);
  }

  @Delete(':name')
  @ApiOperation({ summary: 'Remove a schedule', description: 'Its runs and reports stay.' })
  @nameParam
  @ApiOkResponse({ description: 'The removed schedule', type: ScheduleView })
  @ApiProblems('not_found')
  removeSchedule(@Actor() actor: string, @Param('name') name: string): Promise<ScheduleView> {
    return this.schedules.remove(actor, named(name));
  }
}

function named(name: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,39}$/.test(name)) throw new HubError('not_found');
  return name;
}
