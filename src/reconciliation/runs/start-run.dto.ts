import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsISO8601, IsOptional, IsString, Length, Matches } from 'class-validator';
import { CutoffField, GRACE_SECONDS, GraceSecondsField, IsZoneName } from './run-fields';

/** What finance asks for: a business day, a window of its own, or all time. */
export class StartRunRequest {
  @ApiPropertyOptional({
    format: 'date',
    description: 'A business day of `zone` and `cutoff`; not together with from and to',
    example: '2026-11-22',
  })
  @IsOptional()
  @IsString()
  @Length(10, 10)
  businessDate?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'With a zone, for example Z',
    example: '2026-11-22T05:00:00Z',
  })
  @IsOptional()
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(/(Z|[+-]\d{2}:\d{2})$/)
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Exclusive. Without businessDate, from and to: all time',
    example: '2026-11-23T05:00:00Z',
  })
  @IsOptional()
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(/(Z|[+-]\d{2}:\d{2})$/)
  to?: string;

  @ApiPropertyOptional({
    default: 'UTC',
    description: 'IANA name; zone of the business days and of the times in the report',
    example: 'Europe/Malta',
  })
  @IsOptional()
  @IsZoneName()
  zone: string = 'UTC';

  @CutoffField()
  cutoff: string = '00:00';

  @GraceSecondsField()
  graceSeconds: number = GRACE_SECONDS;

  @ApiPropertyOptional({
    default: false,
    description: 'Accept a list with less than half of the movements that the hub has',
    example: false,
  })
  @IsOptional()
  @IsBoolean()
  allowPartial: boolean = false;

  @ApiPropertyOptional({ default: false, description: 'true: exceptions do not change', example: false })
  @IsOptional()
  @IsBoolean()
  dryRun: boolean = false;

  @ApiPropertyOptional({
    default: false,
    description:
      'true: accept a window that has not ended. File names and manifest say provisional, and exceptions do not change. Without it such a window is refused',
    example: false,
  })
  @IsOptional()
  @IsBoolean()
  provisional: boolean = false;

  @ApiPropertyOptional({ enum: ['adhoc', 'cli'], default: 'adhoc', description: 'The trigger, for the history' })
  @IsOptional()
  @IsIn(['adhoc', 'cli'])
  kind: 'adhoc' | 'cli' = 'adhoc';
}

export class SigningKeyView {
  @ApiProperty({ enum: ['Ed25519'], example: 'Ed25519' }) algorithm!: 'Ed25519';
  @ApiProperty({ description: "First 16 hex digits of the key's SHA-256", example: '3f1c9d2a7b604e55' }) keyId!: string;
  @ApiProperty({ description: 'Base64 of 32 bytes', example: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=' })
  publicKey!: string;
}
