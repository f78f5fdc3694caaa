import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsIn, IsInt, IsOptional, IsString, IsUUID, Length, Max, Min } from 'class-validator';
import { IsPlainText, IsStorableText, UsuallyLike, check, isUsualText } from '../http/validation';
import type { Queue } from '../outbox/outbox-message';
import type { RecordStatus } from '../outbox/outbox-records.store';

/**
 * A JSON number or decimal text; whether it is exact money is decided with the currency's exponent at hand. NaN stands for a number whose
 * digits no double holds; they are read from the body then.
 */
function IsDecimal(): PropertyDecorator {
  return check(
    'isDecimal',
    '$property must be a decimal in major units, as a number or as text',
    (value) =>
      (typeof value === 'number' && value !== Infinity && value !== -Infinity) ||
      (typeof value === 'string' && /^-?\d{1,30}(\.\d{1,30})?$/.test(value)),
  );
}

/** A callback as nearly every operator writes it: plain characters, amounts as numbers that a double holds. */
function isUsualCallback(body: Readonly<Record<string, unknown>>): boolean {
  for (const name of Object.keys(body)) {
    const value = body[name];
    switch (name) {
      case 'playerId':
      case 'refId':
      case 'reason':
        if (!isUsualText(value, 256)) return false;
        break;
      case 'status':
      case 'correlationId':
        if (!isUsualText(value, 64)) return false;
        break;
      case 'currency':
        if (!isUsualText(value, 16)) return false;
        break;
      case 'amount':
      case 'balance':
        if (!Number.isFinite(value)) return false;
        break;
      case 'event':
        if (value !== 'withdraw' && value !== 'deposit') return false;
        break;
      default:
        return false;
    }
  }
  return ['playerId', 'amount', 'currency', 'status', 'event', 'refId', 'correlationId'].every((name) => name in body);
}

@UsuallyLike(isUsualCallback)
export class OperatorCallback {
  @ApiProperty({ description: "The operator's id of the player (or the RGS's)", example: 'player-1' })
  @IsString()
  @Length(1, 256)
  @IsPlainText()
  playerId!: string;

  @ApiProperty({
    oneOf: [{ type: 'number' }, { type: 'string' }],
    description: 'Major units, exactly as the hub sent them',
    example: 5,
  })
  @IsDecimal()
  amount!: number | string;

  @ApiProperty({ example: 'USD' })
  @IsString()
  @Length(1, 16)
  @IsPlainText()
  currency!: string;

  @ApiProperty({ description: "One of the operator's declared words, without regard to case", example: 'OK' })
  @IsString()
  @Length(1, 64)
  @IsPlainText()
  status!: string;

  @ApiProperty({ enum: ['withdraw', 'deposit'] })
  @IsIn(['withdraw', 'deposit'])
  event!: 'withdraw' | 'deposit';

  @ApiProperty({ description: "`reference` of the hub's call", example: 'bet-1001' })
  @IsString()
  @Length(1, 256)
  @IsPlainText()
  refId!: string;

  @ApiProperty({ description: "`correlationId` of the hub's call", example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' })
  @IsString()
  @Length(1, 64)
  @IsPlainText()
  correlationId!: string;

  @ApiPropertyOptional({
    type: 'string',
    nullable: true,
    description: 'Why the movement was refused',
    example: 'insufficient_funds',
  })
  @IsOptional()
  @IsString()
  @Length(0, 256)
  @IsStorableText()
  reason?: string | null;

  @ApiPropertyOptional({
    oneOf: [{ type: 'number' }, { type: 'string' }],
    nullable: true,
    description: 'Balance after the movement, major units',
  })
  @IsOptional()
  @IsDecimal()
  balance?: number | string | null;
}

export class CallbackAnswer {
  @ApiProperty({ example: 'accepted' })
  status!: 'accepted';
}

export class OutboxQuery {
  @ApiPropertyOptional({ enum: ['rgs', 'operator'], description: 'Only messages to this side' })
  @IsOptional()
  @IsIn(['rgs', 'operator'])
  queue?: Queue;

  @ApiPropertyOptional({ enum: ['pending', 'failed', 'dead', 'sent'], description: 'failed: will be tried again' })
  @IsOptional()
  @IsIn(['pending', 'failed', 'dead', 'sent'])
  status?: RecordStatus;

  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: 500, default: 100, description: 'Length of a page' })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(500)
  limit: number = 100;

  @ApiPropertyOptional({ format: 'uuid', description: 'From the Link header of the page before' })
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
  @ApiProperty({ type: 'integer', description: 'Attempts that left', example: 1 }) attemptCount!: number;
  @ApiProperty({
    type: 'string',
    format: 'date-time',
    nullable: true,
    description: 'Null for a record that is not due any more',
    example: null,
  })
  nextAttemptAt!: Date | null;
  @ApiProperty({
    type: 'string',
    nullable: true,
    description:
      'What the last attempt met, also one that never left; without one, what keeps the destination from being called',
    example: null,
  })
  lastError!: string | null;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, description: 'When that was', example: null })
  lastErrorAt!: Date | null;
  @ApiProperty({ type: 'string', format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) createdAt!: Date;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'The body exactly as it is sent, down to the digits of its amounts',
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
  @ApiProperty({ description: 'What the hub calls you', example: 'rgs' }) code!: string;
  @ApiProperty({ enum: ['rgs'], example: 'rgs' }) role!: 'rgs';
  @ApiProperty({ description: "true: your webhook is not called until the hub's ops resume it", example: true })
  paused!: boolean;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, example: '2026-11-23T12:00:00.000Z' })
  pausedSince!: string | null;
  @ApiProperty({ type: 'string', nullable: true, example: 'the endpoint answered 410 Gone' }) pauseReason!:
    string | null;
  @ApiProperty({
    type: 'integer',
    description: 'Webhooks that are not delivered yet, in flight or waiting',
    example: 12,
  })
  waiting!: number;
  @ApiProperty({ type: 'string', nullable: true, description: "Whom to ask; null: the hub's ops", example: null })
  contact!: string | null;
}
