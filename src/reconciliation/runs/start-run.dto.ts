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
    description: 'Not itself part of the window. Without businessDate, from and to: all time',
    example: '2026-11-23T05:00:00Z',
  })
  @IsOptional()
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(/(Z|[+-]\d{2}:\d{2})$/)
  to?: string;

  @ApiPropertyOptional({
    default: 'UTC',
    description: 'IANA name; business days and times of the report are of this zone',
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
    description: 'Take a list as it is that holds less than half of what the hub has',
    example: false,
  })
  @IsOptional()
  @IsBoolean()
  allowPartial: boolean = false;

  @ApiPropertyOptional({ default: false, description: 'true: exceptions stay as they are', example: false })
  @IsOptional()
  @IsBoolean()
  dryRun: boolean = false;

  @ApiPropertyOptional({
    default: false,
    description:
      'true: take a window that has not ended, as far as it is. Its files are named so, its manifest says so, exceptions stay as they are. Without it such a window is refused',
    example: false,
  })
  @IsOptional()
  @IsBoolean()
  provisional: boolean = false;

  @ApiPropertyOptional({ enum: ['adhoc', 'cli'], default: 'adhoc', description: 'How it was started, for the history' })
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
