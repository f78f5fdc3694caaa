import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access, type HubRequest } from '../http/access';
import { callingOperator, rawBodyOf } from '../http/caller';
import { TakesJson } from '../http/json-body.guard';
import { CallbackResponse, OperatorCallback } from './operator-callbacks.dto';
import { OperatorCallbacksService } from './operator-callbacks.service';
import { ApiReceiveOperatorCallback } from './operator-callbacks.openapi';

@Controller('webhooks')
export class OperatorCallbacksController {
  constructor(private readonly callbacks: OperatorCallbacksService) {}

  @Post('incoming')
  @HttpCode(200)
  @Access('operator', { signed: true, ownCommit: true })
  @TakesJson()
  @ApiTags('webhooks')
  @ApiReceiveOperatorCallback()
  async receiveOperatorCallback(
    @Req() request: HubRequest,
    @Body() callback: OperatorCallback,
  ): Promise<CallbackResponse> {
    await this.callbacks.receive(callingOperator(request), callback, rawBodyOf(request).toString('utf8'));
    return { status: 'accepted' };
  }
}
