import { Body, Controller, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { isUUID } from 'class-validator';
import { Access } from '../../http/access';
import { Actor } from '../../http/caller';
import { TakesJson } from '../../http/json-body.guard';
import { ApiProblems } from '../../http/openapi';
import { HubError } from '../../kernel/errors';
import {
  BulkResolveAnswer,
  BulkResolveRequest,
  FailedTransactionPage,
  ParkedQuery,
  ResolveRequest,
} from './parked.dto';
import { ParkedService } from './parked.service';

@ApiTags('ops')
@Controller('admin/failed-transactions')
@Access('ops')
export class ParkedController {
  constructor(private readonly parked: ParkedService) {}

  @Get()
  @ApiOperation({
    summary: 'Parked money, oldest first',
    description:
      'Credits that an operator refused, movements of unknown outcome, reversals that failed. Each waits for a person.',
  })
  @ApiOkResponse({ description: 'A page of parked transactions', type: FailedTransactionPage })
  @ApiProblems('validation_failed')
  failedTransactions(@Query() query: ParkedQuery): Promise<FailedTransactionPage> {
    return this.parked.list(query);
  }

  @Patch(':transactionId')
  @TakesJson()
  @ApiOperation({
    summary: 'Resolve a parked transaction',
    description:
      "`applied` and `not_applied` say what the operator's books hold; `retry` sends the same bytes again. The audit log records who and why.",
  })
  @ApiParam({
    name: 'transactionId',
    format: 'uuid',
    description: '`transactionId` of the parked transaction',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
  })
  @ApiBody({ type: ResolveRequest })
  @ApiOkResponse({
    description: 'Its current state; still parked after `retry`',
    schema: {
      type: 'object',
      required: ['transactionId', 'state'],
      properties: {
        transactionId: { type: 'string', format: 'uuid', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' },
        state: { type: 'string', example: 'confirmed' },
      },
    },
  })
  @ApiProblems(
    'malformed_request',
    'not_found',
    'not_parked',
    'money_in_flight',
    'replay_refused',
    'payload_too_large',
    'unsupported_media_type',
    'validation_failed',
  )
  async resolve(
    @Actor() actor: string,
    @Param('transactionId') transactionId: string,
    @Body() request: ResolveRequest,
  ): Promise<{ transactionId: string; state: string }> {
    if (!isUUID(transactionId)) throw new HubError('not_found');
    return {
      transactionId,
      state: await this.parked.resolve(actor, transactionId, request.resolution, request.reason),
    };
  }

  @Post('resolve')
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({ summary: 'Resolve many parked transactions, or preview it' })
  @ApiBody({ type: BulkResolveRequest })
  @ApiOkResponse({ description: 'The result for each', type: BulkResolveAnswer })
  @ApiProblems('malformed_request', 'payload_too_large', 'unsupported_media_type', 'validation_failed')
  resolveMany(@Actor() actor: string, @Body() request: BulkResolveRequest): Promise<BulkResolveAnswer> {
    return this.parked.resolveMany(actor, request.ids, request.resolution, request.reason, request.dryRun);
  }
}
