import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsInt, IsISO8601, IsOptional, Matches, Max, Min } from 'class-validator';
import { Type } from 'class-transformer';
import { check } from '../../http/validation';
import { checkZone } from '../calendar/window';

const GRACE_SECONDS_MAX = 30 * 24 * 3600;

function IsZone(): PropertyDecorator {
  return check('isZone', '$property must be a time zone of the IANA database, such as Europe/Malta', (value) => {
    if (typeof value !== 'string') return false;
    try {
      checkZone(value);
      return true;
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
  });
}

/** What the legacy hub's file may be asked for beyond what the legacy hub gave. */
export class ReconciliationQuery {
  @ApiPropertyOptional({
    description: 'Downloads a sealed run again instead of making one: its id, or latest',
    example: 'latest',
  })
  @IsOptional()
  @Matches(/^(latest|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/, {
    message: '$property must be latest or the id of a run',
  })
  run?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'Start of the window, with an offset; requires to',
    example: '2026-11-22T00:00:00Z',
  })
  @IsOptional()
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(/(Z|[+-]\d\d:\d\d)$/, { message: '$property must have an offset' })
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'End of the window, exclusive; requires from',
    example: '2026-11-23T00:00:00Z',
  })
  @IsOptional()
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(/(Z|[+-]\d\d:\d\d)$/, { message: '$property must have an offset' })
  to?: string;

  @ApiPropertyOptional({
    description: 'Zone of the business dates of the run',
    default: 'UTC',
    example: 'Europe/Malta',
  })
  @IsOptional()
  @IsZone()
  tz?: string;

  @ApiPropertyOptional({ description: 'Local time at which a business day starts', default: '00:00', example: '06:00' })
  @IsOptional()
  @Matches(/^([01]\d|2[0-3]):[0-5]\d$/, { message: '$property must be HH:MM' })
  cutoff?: string;

  @ApiPropertyOptional({
    description: 'Seconds for which a missing movement counts as in flight. The file lists it anyway',
    default: 0,
    minimum: 0,
    maximum: GRACE_SECONDS_MAX,
  })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(GRACE_SECONDS_MAX)
  grace?: number;

  @ApiPropertyOptional({
    enum: ['0', '1'],
    default: '0',
    description: '1: without escaping of formulas, for programs',
  })
  @IsOptional()
  @IsIn(['0', '1'])
  raw?: string;
}
