import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, described } from '../http/openapi';
import { OutboxRecordView } from '../outbox/outbox.dto';
import { DestinationView, OverdueRound } from './admin.dto';

export const ApiReplayOutboxRecord = () =>
  described(
    ApiOperation({
      summary: 'Replay an outbox record',
      description:
        'Same bytes, same id, due now. Refused when it could move money twice: the movement was rejected and the RGS notified, or the operator is not idempotent.',
    }),
    ApiParam({ name: 'queue', enum: ['rgs', 'operator'], description: 'The side that the record is sent to' }),
    ApiParam({
      name: 'recordId',
      format: 'uuid',
      description: '`id` of the record in GET /webhooks/outbox',
      example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a12',
    }),
    ApiOkResponse({ description: 'The record, pending again and due now', type: OutboxRecordView }),
    ApiProblems('outbox_record_not_found', 'money_in_flight', 'replay_refused'),
  );

export const ApiListDestinations = () =>
  described(
    ApiOperation({ summary: 'Destinations with their waiting messages, and why they are not called' }),
    ApiOkResponse({ description: 'One destination per partner', type: [DestinationView] }),
  );

export const ApiResumeDestination = () =>
  described(
    ApiOperation({
      summary: 'Resume a paused destination',
      description: 'An RGS that responds 410 is paused; its messages wait in order.',
    }),
    ApiParam({
      name: 'code',
      description: 'Code of the partner; the pair of the environment are `rgs` and `operator`',
      example: 'rgs',
    }),
    ApiOkResponse({
      description: 'The destination, resumed',
      schema: {
        type: 'object',
        required: ['code', 'resumed'],
        properties: {
          code: { type: 'string', example: 'rgs' },
          resumed: { type: 'boolean', description: 'false: it was not paused', example: true },
        },
      },
    }),
    ApiProblems('not_found'),
  );

export const ApiListOverdueRounds = () =>
  described(
    ApiOperation({ summary: 'Rounds that have been open for longer than ROUND_OVERDUE_MINUTES, oldest first' }),
    ApiOkResponse({ description: 'Overdue rounds, at most 500', type: [OverdueRound] }),
  );

export const ApiClearDatabase = () =>
  described(
    ApiOperation({
      summary: 'Delete all movements and messages',
      description: 'Only while ALLOW_CLEAR_DB is true, which production refuses. The audit log stays.',
    }),
    ApiOkResponse({
      description: 'All movements and messages are deleted',
      schema: {
        type: 'object',
        required: ['status'],
        properties: { status: { type: 'string', enum: ['cleared'], example: 'cleared' } },
      },
    }),
  );
