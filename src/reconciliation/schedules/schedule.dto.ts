import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsInt, IsOptional, IsString, Length, Max, Min } from 'class-validator';
import { IsPlainText } from '../../http/validation';
import { CutoffField, GRACE_SECONDS, GraceSecondsField, IsZoneName } from '../runs/run-fields';

const CATCH_UP_DAYS = 7;

export class ScheduleRequest {
  @ApiProperty({
    description:
      'Five fields, local time of `zone`; at most every five minutes. A day is run at the first scheduled time after it has ended',
    example: '30 7 * * *',
  })
  @IsString()
  @Length(9, 100)
  @IsPlainText()
  cron!: string;

  @ApiProperty({ description: 'IANA name', example: 'Europe/Malta' })
  @IsZoneName()
  zone!: string;

  @CutoffField()
  cutoff: string = '00:00';

  @GraceSecondsField()
  graceSeconds: number = GRACE_SECONDS;

  @ApiPropertyOptional({
    default: true,
    description: 'false: paused; it catches up when it is enabled again',
    example: true,
  })
  @IsOptional()
  @IsBoolean()
  enabled: boolean = true;

  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: 366,
    default: CATCH_UP_DAYS,
    description: 'Missed days that are run after an outage',
    example: CATCH_UP_DAYS,
  })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(366)
  catchUpDays: number = CATCH_UP_DAYS;
}

export class ScheduleView {
  @ApiProperty({ example: 'daily' }) name!: string;
  @ApiProperty({ example: '30 7 * * *' }) cron!: string;
  @ApiProperty({ example: 'Europe/Malta' }) zone!: string;
  @ApiProperty({ example: '06:00' }) cutoff!: string;
  @ApiProperty({ type: 'integer', example: GRACE_SECONDS }) graceSeconds!: number;
  @ApiProperty({ example: true }) enabled!: boolean;
  @ApiProperty({ type: 'integer', example: CATCH_UP_DAYS }) catchUpDays!: number;
  @ApiProperty({
    type: 'string',
    nullable: true,
    description: 'Every business day up to this one is done',
    example: '2026-11-22',
  })
  lastBusinessDate!: string | null;
  @ApiProperty({
    type: 'string',
    format: 'uuid',
    nullable: true,
    description: 'The last run that was sealed',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
  })
  lastRun!: string | null;
  @ApiProperty({ type: 'string', nullable: true, description: 'Why days are missing', example: null }) lastError!:
    string | null;
  @ApiProperty({
    type: 'string',
    format: 'date-time',
    nullable: true,
    description: 'Next scheduled time; null while paused',
    example: '2026-11-23T06:30:00.000Z',
  })
  nextFireAt!: string | null;
  @ApiProperty({ example: 'finance:1f0c2a44' }) updatedBy!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-01T09:00:00.000Z' }) updatedAt!: string;
}
