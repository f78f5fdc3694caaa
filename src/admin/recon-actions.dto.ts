import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import { IsStorableText } from '../http/validation';
import {
  ActionView,
  EXCEPTION_ID,
  ExceptionSelection,
  ExceptionView,
} from '../reconciliation/exceptions/exceptions.dto';

export type ExceptionAction =
  'replay_outbox' | 'requery_operator' | 'accept' | 'ignore' | 'reopen' | 'comment' | 'assign';
export const EXCEPTION_ACTIONS: readonly ExceptionAction[] = [
  'replay_outbox',
  'requery_operator',
  'accept',
  'ignore',
  'reopen',
  'comment',
  'assign',
];
/** What may be done to many at once: nothing that calls a partner. */
export type BulkAction = 'accept' | 'ignore' | 'reopen' | 'comment' | 'assign';
const BULK_ACTIONS: readonly BulkAction[] = ['accept', 'ignore', 'reopen', 'comment', 'assign'];
export const BULK_IDS_MAX = 100;
/** More than this is not a clean-up but a rule that should be written down. */
export const BULK_FILTERED_MAX = 1_000;

class Reasoned {
  @ApiProperty({
    pattern: '^[a-z][a-z0-9_]{2,39}$',
    description:
      "A word of finance's own list, for example `partner_confirmed`, `timing`, `goodwill`, `test_data`, `other`",
    example: 'partner_confirmed',
  })
  @IsString()
  @Matches(/^[a-z][a-z0-9_]{2,39}$/)
  reasonCode!: string;

  @ApiPropertyOptional({
    minLength: 3,
    maxLength: 1000,
    description: 'The reason in words. Required for `comment`, and for reason `other`',
    example: 'operator support, ticket 4711',
  })
  @IsOptional()
  @IsString()
  @Length(3, 1000)
  @IsStorableText()
  note?: string;

  @ApiPropertyOptional({
    maxLength: 100,
    description: '`assign`: the owner from now on; empty: no owner',
    example: 'anna',
  })
  @IsOptional()
  @IsString()
  @Length(0, 100)
  @IsStorableText()
  owner?: string;
}

export class ActionRequest extends Reasoned {
  @ApiProperty({ enum: EXCEPTION_ACTIONS, description: '`replay_outbox` is for ops only', example: 'accept' })
  @IsIn(EXCEPTION_ACTIONS)
  action!: ExceptionAction;
}

export class ActionResponse {
  @ApiProperty({ type: ExceptionView }) exception!: ExceptionView;
  @ApiProperty({ type: ActionView }) action!: ActionView;
  @ApiProperty({
    enum: ['not_needed', 'requested', 'given'],
    description: '`requested`: nothing changes until another person confirms',
    example: 'not_needed',
  })
  approval!: 'not_needed' | 'requested' | 'given';
}

export class BulkRequest extends Reasoned {
  @ApiProperty({ enum: BULK_ACTIONS, example: 'ignore' })
  @IsIn(BULK_ACTIONS)
  action!: BulkAction;

  @ApiPropertyOptional({
    type: [String],
    format: 'uuid',
    minItems: 1,
    maxItems: BULK_IDS_MAX,
    description: 'Ids of exceptions; or `filter`. With neither, none',
    example: [EXCEPTION_ID],
  })
  @IsOptional()
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(BULK_IDS_MAX)
  @IsUUID('all', { each: true })
  ids?: string[];

  @ApiPropertyOptional({
    type: ExceptionSelection,
    description: `A filter as in the list, at most ${BULK_FILTERED_MAX}. Needs a note, and \`expectedCount\` from a dry run`,
  })
  @IsOptional()
  @ValidateNested()
  @Type(() => ExceptionSelection)
  filter?: ExceptionSelection;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 0,
    description: '`count` of the dry run; a different number is refused',
    example: 1,
  })
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(BULK_FILTERED_MAX)
  expectedCount?: number;

  @ApiProperty({ description: 'true: nothing is changed, the response is a preview', example: true })
  @IsBoolean()
  dryRun!: boolean;
}

export class BulkItem {
  @ApiProperty({ format: 'uuid', example: EXCEPTION_ID }) id!: string;
  @ApiProperty({ enum: ['done', 'would_do', 'approval_requested', 'refused'], example: 'would_do' }) result!:
    'done' | 'would_do' | 'approval_requested' | 'refused';
  @ApiProperty({ type: 'string', nullable: true, description: 'Code of the problem, when refused', example: null })
  code!: string | null;
}

export class BulkResponse {
  @ApiProperty({ example: true }) dryRun!: boolean;
  @ApiProperty({ type: 'integer', description: 'Exceptions that were selected', example: 1 }) count!: number;
  @ApiProperty({ type: [BulkItem] }) items!: BulkItem[];
}
