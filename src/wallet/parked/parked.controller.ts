import { Body, Controller, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { isUUID } from 'class-validator';
import { Access } from '../../http/access';
import { Actor } from '../../http/caller';
import { TakesJson } from '../../http/json-body.guard';
import { HubError } from '../../kernel/errors';
import {
  BulkResolveResponse,
  BulkResolveRequest,
  FailedTransactionPage,
  ParkedQuery,
  ResolveRequest,
} from './parked.dto';
import { ParkedService } from './parked.service';
import { ApiListFailedTransactions, ApiResolveFailedTransaction, ApiResolveFailedTransactions } from './parked.openapi';

@ApiTags('ops')
@Controller('admin/failed-transactions')
@Access('ops')
export class ParkedController {
  constructor(private readonly parked: ParkedService) {}

  @Get()
  @ApiListFailedTransactions()
  listFailedTransactions(@Query() query: ParkedQuery): Promise<FailedTransactionPage> {
    return this.parked.list(query);
  }

  @Patch(':transactionId')
  @TakesJson()
  @ApiResolveFailedTransaction()
  async resolveFailedTransaction(
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
  @ApiResolveFailedTransactions()
  resolveFailedTransactions(@Actor() actor: string, @Body() request: BulkResolveRequest): Promise<BulkResolveResponse> {
    return this.parked.resolveMany(actor, request.ids, request.resolution, request.reason, request.dryRun);
  }
}
