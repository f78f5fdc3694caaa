import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsIn, IsInt, IsOptional, IsUUID, Max, Min } from 'class-validator';
import type { Queue } from './outbox-message';
import type { RecordStatus } from './outbox-records.store';

export class OutboxQuery {
  @ApiPropertyOptional({ enum: ['rgs', 'operator'], description: 'Only messages to this side' })
  @IsOptional()
  @IsIn(['rgs', 'operator'])
  queue?: Queue;

  @ApiPropertyOptional({ enum: ['pending', 'failed', 'dead', 'sent'], description: 'failed: will be retried' })
  @IsOptional()
  @IsIn(['pending', 'failed', 'dead', 'sent'])
  status?: RecordStatus;

  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: 500, default: 100, description: 'Items per page' })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(500)
  limit: number = 100;

  @ApiPropertyOptional({ format: 'uuid', description: 'From the Link header of the previous page' })
  @IsOptional()
  @IsUUID()
  cursor?: string;
}

export class OutboxRecordView {
  @ApiProperty({
    format: 'uuid',
    description: 'Also the Idempotency-Key and webhook-id that the receiver sees',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a12',
  })
  id!: string;
  @ApiProperty({ example: 'debit' }) eventType!: string;
  @ApiProperty({ example: 'http://localhost:8001/v2/players/player-1/withdraw' }) targetUrl!: string;
  @ApiProperty({ enum: ['pending', 'failed', 'dead', 'sent'], example: 'sent' }) status!: RecordStatus;
  @ApiProperty({ type: 'integer', description: 'Attempts that were sent', example: 1 }) attemptCount!: number;
  @ApiProperty({
    type: 'string',
    format: 'date-time',
    nullable: true,
    description: 'Null for a record that is no longer due',
    example: null,
  })
  nextAttemptAt!: Date | null;
  @ApiProperty({
    type: 'string',
    nullable: true,
    description:
      'Error of the last attempt, also of one that was not sent; without one, why the destination is not called',
    example: null,
  })
  lastError!: string | null;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, description: 'When that was', example: null })
  lastErrorAt!: Date | null;
  @ApiProperty({ type: 'string', format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) createdAt!: Date;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'The body exactly as it is sent, to the digits of its amounts',
    example: {
      amount: 5,
      currency: 'USD',
      reference: 'bet-1001',
      correlationId: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
    },
  })
  payload!: unknown;
  @ApiProperty({ enum: ['rgs', 'operator'], example: 'operator' }) queue!: Queue;
}

export class RgsStanding {
  @ApiProperty({ description: 'Your code at the hub', example: 'rgs' }) code!: string;
  @ApiProperty({ enum: ['rgs'], example: 'rgs' }) role!: 'rgs';
  @ApiProperty({ description: "true: your webhook is not called until the hub's ops resume it", example: true })
  paused!: boolean;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, example: '2026-11-23T12:00:00.000Z' })
  pausedSince!: string | null;
  @ApiProperty({ type: 'string', nullable: true, example: 'the endpoint answered 410 Gone' }) pauseReason!:
    string | null;
  @ApiProperty({
    type: 'integer',
    description: 'Webhooks not delivered yet, in flight or waiting',
    example: 12,
  })
  waiting!: number;
  @ApiProperty({ type: 'string', nullable: true, description: "Contact; null: the hub's ops", example: null })
  contact!: string | null;
}
