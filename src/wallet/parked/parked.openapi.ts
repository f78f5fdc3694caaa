import { ApiBody, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, described } from '../../http/openapi';
import { BulkResolveResponse, BulkResolveRequest, FailedTransactionPage, ResolveRequest } from './parked.dto';

export const ApiListFailedTransactions = () =>
  described(
    ApiOperation({
      summary: 'Parked money, oldest first',
      description:
        'Credits that an operator refused, movements of unknown outcome, reversals that failed. Each waits for a person.',
    }),
    ApiOkResponse({ description: 'A page of parked transactions', type: FailedTransactionPage }),
    ApiProblems('validation_failed'),
  );

export const ApiResolveFailedTransaction = () =>
  described(
    ApiOperation({
      summary: 'Resolve a parked transaction',
      description:
        "`applied` and `not_applied` say what the operator's books hold; `retry` sends the same bytes again. The audit log records who and why.",
    }),
    ApiParam({
      name: 'transactionId',
      format: 'uuid',
      description: '`transactionId` of the parked transaction',
      example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
    }),
    ApiBody({ type: ResolveRequest }),
    ApiOkResponse({
      description: 'Its current state; still parked after `retry`',
      schema: {
        type: 'object',
        required: ['transactionId', 'state'],
        properties: {
          transactionId: { type: 'string', format: 'uuid', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' },
          state: { type: 'string', example: 'confirmed' },
        },
      },
    }),
    ApiProblems(
      'malformed_request',
      'not_found',
      'not_parked',
      'money_in_flight',
      'replay_refused',
      'payload_too_large',
      'unsupported_media_type',
      'validation_failed',
    ),
  );

export const ApiResolveFailedTransactions = () =>
  described(
    ApiOperation({ summary: 'Resolve many parked transactions, or preview it' }),
    ApiBody({ type: BulkResolveRequest }),
    ApiOkResponse({ description: 'The result for each', type: BulkResolveResponse }),
    ApiProblems('malformed_request', 'payload_too_large', 'unsupported_media_type', 'validation_failed'),
  );
