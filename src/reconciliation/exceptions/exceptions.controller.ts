import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { isUUID } from 'class-validator';
import { Access } from '../../http/access';
import { ApiProblems } from '../../http/openapi';
import { HubError } from '../../kernel/errors';
import { EXCEPTION_ID, ExceptionDetail, ExceptionPage, ExceptionQuery } from './exceptions.dto';
import { ExceptionsService } from './exceptions.service';

@ApiTags('finance')
@Controller('v1/recon/exceptions')
@Access(['finance', 'ops'])
export class ExceptionsController {
  constructor(private readonly exceptions: ExceptionsService) {}

  @Get()
  @ApiOperation({
    summary: 'Exceptions over all runs, oldest first, with amounts by age',
    description: 'An exception that a later run finds resolved is `auto_cleared`; one that reappears is opened again.',
  })
  @ApiOkResponse({ description: 'A page of exceptions, and the ageing of all', type: ExceptionPage })
  @ApiProblems('validation_failed')
  listExceptions(@Query() query: ExceptionQuery): Promise<ExceptionPage> {
    return this.exceptions.list(query);
  }

  @Get(':exceptionId')
  @ApiOperation({ summary: 'One exception with its history' })
  @ApiParam({ name: 'exceptionId', format: 'uuid', description: '`exceptionId` in the report', example: EXCEPTION_ID })
  @ApiOkResponse({ description: 'The exception', type: ExceptionDetail })
  @ApiProblems('not_found')
  getException(@Param('exceptionId') exceptionId: string): Promise<ExceptionDetail> {
    if (!isUUID(exceptionId, 'all')) throw new HubError('not_found');
    return this.exceptions.one(exceptionId);
  }
}
