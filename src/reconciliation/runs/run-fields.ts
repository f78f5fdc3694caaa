import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsString, Length, Max, Min } from 'class-validator';

/** Fields that several requests have. The checks stand as decorators are applied, the last one first. */

const DAY_SECONDS = 86_400;
export const GRACE_SECONDS = 900;
export const PAGE_ITEMS_DEFAULT = 100;
const PAGE_ITEMS_MAX = 500;

/** An IANA name; whether it is one is checked where it is used, with the cut-off and the dates. */
export function IsZoneName(): PropertyDecorator {
  return applyDecorators(Length(1, 64), IsString());
}

/** HH:MM; which it must be is checked with the zone. */
export function CutoffField(): PropertyDecorator {
  return applyDecorators(
    Length(5, 5),
    IsString(),
    IsOptional(),
    ApiPropertyOptional({
      default: '00:00',
      description: 'Local time at which a business day starts',
      example: '06:00',
    }),
  );
}

export function GraceSecondsField(): PropertyDecorator {
  return applyDecorators(
    Max(DAY_SECONDS),
    Min(0),
    IsInt(),
    IsOptional(),
    ApiPropertyOptional({
      type: 'integer',
      minimum: 0,
      maximum: DAY_SECONDS,
      default: GRACE_SECONDS,
      description: 'Age up to which a missing movement counts as in flight',
      example: GRACE_SECONDS,
    }),
  );
}

/** `limit` of a list. */
export function PageLimitField(): PropertyDecorator {
  return applyDecorators(
    Max(PAGE_ITEMS_MAX),
    Min(1),
    IsInt(),
    Type(() => Number),
    IsOptional(),
    ApiPropertyOptional({
      type: 'integer',
      minimum: 1,
      maximum: PAGE_ITEMS_MAX,
      default: PAGE_ITEMS_DEFAULT,
      description: 'Items per page',
    }),
  );
}
