import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Access, type HubRequest } from '../http/access';
import { callingOperator, rawBodyOf } from '../http/caller';
import { TakesJson } from '../http/json-body.guard';
import { ApiProblems } from '../http/openapi';
import { CallbackAnswer, OperatorCallback } from './operator-callbacks.dto';
import { OperatorCallbacksService } from './operator-callbacks.service';

@Controller('webhooks')
export class OperatorCallbacksController {
  constructor(private readonly callbacks: OperatorCallbacksService) {}

  @Post('incoming')
  @HttpCode(200)
  @Access('operator', { signed: true, ownCommit: true })
  @TakesJson()
  @ApiTags('webhooks')
  @ApiOperation({
    summary: 'An operator reports the outcome of a movement',
    description:
      "The first definitive outcome, here or in the response to the hub's call, settles the transaction and is notified to the RGS once. Repeats are 200 without a second effect; a contradiction is 200, changes nothing and raises an incident.",
  })
  @ApiBody({ type: OperatorCallback })
  @ApiOkResponse({
    description: 'The callback is stored, and applied if it is the first definitive outcome',
    type: CallbackAnswer,
  })
  @ApiProblems(
    'malformed_request',
    'unknown_reference',
    'callback_mismatch',
    'unknown_status_word',
    'payload_too_large',
    'unsupported_media_type',
    'validation_failed',
  )
  async incoming(@Req() request: HubRequest, @Body() callback: OperatorCallback): Promise<CallbackAnswer> {
    await this.callbacks.receive(callingOperator(request), callback, rawBodyOf(request).toString('utf8'));
    return { status: 'accepted' };
  }
}
