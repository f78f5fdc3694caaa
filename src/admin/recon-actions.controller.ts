import { Body, Controller, Headers, HttpCode, Param, Post, Res } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBody,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiTags,
} from '@nestjs/swagger';
import { isUUID } from 'class-validator';
import type { Response } from 'express';
import { Access } from '../http/access';
import { CallingStaff, type Staff } from '../http/caller';
import { checkedIdempotencyKey } from '../http/idempotency-key';
import { TakesJson } from '../http/json-body.guard';
import { ApiProblems } from '../http/openapi';
import { HubError } from '../kernel/errors';
import { EXCEPTION_ID } from '../reconciliation/exceptions/exceptions.dto';
import { ActionResponse, ActionRequest, BulkResponse, BulkRequest } from './recon-actions.dto';
import { ReconActionsService } from './recon-actions.service';

const HEADERS = {
  'Idempotent-Replayed': {
    description: '`true` for the result of an earlier request with the same key',
    schema: { type: 'string' as const, enum: ['true'] },
  },
};

/** In this folder, since each action is in the audit log, which only this folder may write. */
@ApiTags('finance')
@Controller('v1/recon/exceptions')
@Access(['ops', 'finance'])
export class ReconActionsController {
  constructor(private readonly actions: ReconActionsService) {}

  @Post(':exceptionId/actions')
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({
    summary: 'Act on an exception',
    description:
      "`requery_operator` looks the reference up at the operator and changes nothing. `replay_outbox` sends the message again (ops only). `accept` and `ignore` close it; above RECON_ACCEPT_LIMIT the first person's request gets 202, and the second person's closes it. Each action is in the exception's history and in the audit log.",
  })
  @ApiParam({ name: 'exceptionId', format: 'uuid', description: '`id` of the exception', example: EXCEPTION_ID })
  @ApiHeader({
    name: 'Idempotency-Key',
    required: false,
    description: 'A repeat with the same key and action has no second effect',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
    example: 'b1f7c1de-8f0e-4d3c-9b61-1c8f5f8d0a11',
  })
  @ApiBody({ type: ActionRequest })
  @ApiOkResponse({ description: 'The action was performed', type: ActionResponse, headers: HEADERS })
  @ApiAcceptedResponse({
    description: 'Another person must confirm with the same action',
    type: ActionResponse,
    headers: HEADERS,
  })
  @ApiProblems(
    'malformed_request',
    'not_found',
    'exception_state_conflict',
    'second_person_required',
    'idempotency_key_reused',
    'outbox_record_not_found',
    'money_in_flight',
    'replay_refused',
    'upstream_failed',
    'payload_too_large',
    'unsupported_media_type',
    'validation_failed',
  )
  async actOnException(
    @CallingStaff() staff: Staff,
    @Param('exceptionId') exceptionId: string,
    @Body() request: ActionRequest,
    @Headers('idempotency-key') key: string | undefined,
    @Res({ passthrough: true }) response: Response,
  ): Promise<ActionResponse> {
    if (!isUUID(exceptionId)) throw new HubError('not_found');
    const { replayed, ...answer } = await this.actions.act(staff, exceptionId, request, checkedIdempotencyKey(key));
    if (replayed) response.setHeader('Idempotent-Replayed', 'true');
    if (answer.approval === 'requested') response.status(202);
    return answer;
  }

  @Post('bulk')
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({
    summary: 'Act on many exceptions, or preview it',
    description:
      'Up to 100 ids, or a filter with a note and the count of a dry run. Each is independent; a refused one does not block the others.',
  })
  @ApiBody({ type: BulkRequest })
  @ApiOkResponse({ description: 'The result for each', type: BulkResponse })
  @ApiProblems(
    'malformed_request',
    'selection_changed',
    'payload_too_large',
    'unsupported_media_type',
    'validation_failed',
  )
  actOnExceptions(@CallingStaff() staff: Staff, @Body() request: BulkRequest): Promise<BulkResponse> {
    return this.actions.actOnMany(staff, request);
  }
}
