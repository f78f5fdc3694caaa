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
  Max,
  Min,
} from 'class-validator';
import { TransactionView } from '../wallet.dto';

export type Resolution = 'applied' | 'not_applied' | 'retry';
const RESOLUTIONS: readonly Resolution[] = ['applied', 'not_applied', 'retry'];

export class ResolveRequest {
  @ApiProperty({
    enum: RESOLUTIONS,
    description: "A person's finding: the operator booked it, did not book it, or it is to be sent again",
    example: 'applied',
  })
  @IsIn(RESOLUTIONS)
  resolution!: Resolution;

  @ApiProperty({ minLength: 3, maxLength: 500, example: 'operator support confirmed booking 4711' })
  @IsString()
  @Length(3, 500)
  reason!: string;
}

export class BulkResolveRequest extends ResolveRequest {
  @ApiProperty({
    type: [String],
    format: 'uuid',
    minItems: 1,
    maxItems: 100,
    description: '`transactionId` of each',
    example: ['019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11'],
  })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(100)
  @IsUUID(undefined, { each: true })
  ids!: string[];

  @ApiProperty({ description: 'true: nothing is changed, the response is a preview', example: true })
  @IsBoolean()
  dryRun!: boolean;
}

export class ParkedQuery {
  @ApiPropertyOptional({ enum: ['debit', 'credit'], description: 'Only debits, or only credits' })
  @IsOptional()
  @IsIn(['debit', 'credit'])
  event?: 'debit' | 'credit';

  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: 200, default: 50, description: 'Items per page' })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(200)
  limit: number = 50;

  @ApiPropertyOptional({ format: 'uuid', description: '`nextCursor` of the previous page' })
  @IsOptional()
  @IsUUID()
  cursor?: string;
}

export class FailedTransactionView extends TransactionView {
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) parkedAt!: string;
  @ApiProperty({
    type: 'string',
    format: 'date-time',
    nullable: true,
    description:
      'Until then a call may still be booked, and `applied` and `not_applied` are 409 `money_in_flight`; null if no call can be',
    example: null,
  })
  inFlightUntil!: string | null;
}

export class FailedTransactionPage {
  @ApiProperty({ type: [FailedTransactionView] }) items!: FailedTransactionView[];
  @ApiProperty({ type: 'string', format: 'uuid', nullable: true, description: 'Null on the last page', example: null })
  nextCursor!: string | null;
}

export class BulkResolveItem {
  @ApiProperty({ format: 'uuid', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' }) id!: string;
  @ApiProperty({ enum: ['resolved', 'would_resolve', 'refused'], example: 'would_resolve' }) result!:
    'resolved' | 'would_resolve' | 'refused';
  @ApiProperty({ type: 'string', nullable: true, description: 'Code of the problem, when refused', example: null })
  code!: string | null;
}

export class BulkResolveResponse {
  @ApiProperty({ example: true }) dryRun!: boolean;
  @ApiProperty({ type: [BulkResolveItem] }) items!: BulkResolveItem[];
}
