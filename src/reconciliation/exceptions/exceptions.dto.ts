import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, IsUUID, Length } from 'class-validator';
import type { AgeBucket, ExceptionState } from './exceptions.store';
import { ITEM_CLASSES } from '../runs/recon.dto';
import { PAGE_ITEMS_DEFAULT, PageLimitField } from '../runs/run-fields';

export const EXCEPTION_ID = '5f1b2c3d-4e5f-8a6b-9c7d-8e9f0a1b2c3d';
export const EXCEPTION_STATES: readonly ExceptionState[] = ['open', 'auto_cleared', 'resolved', 'accepted', 'ignored'];
export const AGE_BUCKETS: readonly AgeBucket[] = ['<15m', '<24h', '1-3d', '3-7d', '>7d'];
const RUN = '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11';
const nullable = { nullable: true } as const;
const instant = { type: 'string', format: 'date-time' } as const;

export class ExceptionSelection {
  @ApiPropertyOptional({ enum: EXCEPTION_STATES, description: 'Only those in this state' })
  @IsOptional()
  @IsIn(EXCEPTION_STATES)
  state?: ExceptionState;

  @ApiPropertyOptional({ enum: [...ITEM_CLASSES], description: 'Only those of this class' })
  @IsOptional()
  @IsString()
  @Length(1, 40)
  class?: string;

  @ApiPropertyOptional({ description: 'Only this currency', example: 'EUR' })
  @IsOptional()
  @IsString()
  @Length(1, 20)
  currency?: string;

  @ApiPropertyOptional({ enum: AGE_BUCKETS, description: 'Only those of this age, counted from the booking' })
  @IsOptional()
  @IsIn(AGE_BUCKETS)
  age?: AgeBucket;

  @ApiPropertyOptional({ description: 'Only those owned by this person', example: 'anna' })
  @IsOptional()
  @IsString()
  @Length(1, 100)
  owner?: string;
}

export class ExceptionQuery extends ExceptionSelection {
  @PageLimitField()
  limit: number = PAGE_ITEMS_DEFAULT;

  @ApiPropertyOptional({ format: 'uuid', description: '`nextCursor` of the previous page' })
  @IsOptional()
  @IsUUID('all')
  cursor?: string;
}

export class ExceptionView {
  @ApiProperty({ format: 'uuid', example: EXCEPTION_ID }) id!: string;
  @ApiProperty({ example: 'missing_in_operator' }) class!: string;
  @ApiProperty({ enum: EXCEPTION_STATES, example: 'open' }) state!: ExceptionState;
  @ApiProperty({ description: '`critical`, `high`, `medium` or `low`', example: 'critical' }) severity!: string;
  @ApiProperty({ format: 'uuid', description: 'The first run that saw it', example: RUN }) firstRun!: string;
  @ApiProperty({ format: 'uuid', description: 'The last run that examined it', example: RUN }) lastRun!: string;
  @ApiProperty({ ...instant, example: '2026-11-23T05:20:00.000Z' }) firstSeen!: string;
  @ApiProperty({ ...instant, example: '2026-11-23T05:20:00.000Z' }) lastSeen!: string;
  @ApiProperty({
    ...instant,
    ...nullable,
    description: 'When the money moved; null when no side says',
    example: '2026-11-22T12:00:00.000Z',
  })
  anchorAt!: string | null;
  @ApiProperty({ type: 'integer', description: 'Since the money moved, or since it was first seen', example: 62_400 })
  ageSeconds!: number;
  @ApiProperty({ enum: AGE_BUCKETS, example: '<24h' }) age!: AgeBucket;
  @ApiProperty({ type: 'string', ...nullable, example: 'EUR' }) currency!: string | null;
  @ApiProperty({ type: 'string', ...nullable, description: 'Major units', example: '10.00' }) amount!: string | null;
  @ApiProperty({ type: 'string', ...nullable, example: 'bet-1001' }) refId!: string | null;
  @ApiProperty({ type: 'string', ...nullable, example: RUN }) correlationId!: string | null;
  @ApiProperty({ type: 'string', ...nullable, description: 'The message whose replay would fix it', example: RUN })
  outboxId!: string | null;
  @ApiProperty({ type: 'string', enum: ['rgs', 'operator'], ...nullable, example: 'operator' }) outboxQueue!:
    string | null;
  @ApiProperty({ type: 'string', ...nullable, description: 'The owner', example: 'anna' }) owner!: string | null;
  @ApiProperty({
    ...instant,
    ...nullable,
    description: 'By when it should be',
    example: '2026-11-23T09:20:00.000Z',
  })
  dueAt!: string | null;
  @ApiProperty({ ...instant, ...nullable, example: null }) resolvedAt!: string | null;
  @ApiProperty({
    type: 'string',
    ...nullable,
    description: 'Reason code of the last action that closed it',
    example: null,
  })
  resolution!: string | null;
  @ApiProperty({ type: 'string', ...nullable, example: null }) note!: string | null;
}

export class AgeingView {
  @ApiProperty({ enum: AGE_BUCKETS, example: '<24h' }) age!: AgeBucket;
  @ApiProperty({ type: 'string', ...nullable, example: 'EUR' }) currency!: string | null;
  @ApiProperty({ type: 'integer', example: 3 }) count!: number;
  @ApiProperty({ description: 'Major units', example: '30.00' }) amount!: string;
}

export class ExceptionPage {
  @ApiProperty({ type: [ExceptionView] }) items!: ExceptionView[];
  @ApiProperty({ type: [AgeingView], description: 'Of all that the filter selects, not only of this page' })
  ageing!: AgeingView[];
  @ApiProperty({ type: 'string', format: 'uuid', ...nullable, description: 'Null on the last page', example: null })
  nextCursor!: string | null;
}

export class ActionView {
  @ApiProperty({ description: 'Position in the chain of all actions', example: '1' }) id!: string;
  @ApiProperty({ format: 'uuid', example: EXCEPTION_ID }) exceptionId!: string;
  @ApiProperty({ ...instant, example: '2026-11-23T08:00:00.000000Z' }) at!: string;
  @ApiProperty({ example: 'finance:1f0c2a44' }) actor!: string;
  @ApiProperty({ example: 'accept' }) action!: string;
  @ApiProperty({ example: 'partner_confirmed' }) reasonCode!: string;
  @ApiProperty({ type: 'string', ...nullable, example: 'operator support, ticket 4711' }) note!: string | null;
  @ApiProperty({ type: 'object', additionalProperties: true, ...nullable, example: { state: 'open' } })
  before!: unknown;
  @ApiProperty({ type: 'object', additionalProperties: true, ...nullable, example: { state: 'accepted' } })
  after!: unknown;
  @ApiProperty({
    description: 'Hex SHA-256 over this action and the one before; it is in the audit log, too',
    example: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  })
  hash!: string;
}

export class ExceptionDetail extends ExceptionView {
  @ApiProperty({ type: [ActionView], description: 'Oldest first' }) actions!: ActionView[];
}
