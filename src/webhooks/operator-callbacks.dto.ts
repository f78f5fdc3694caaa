import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, Length } from 'class-validator';
import { IsPlainText, IsStorableText, FastPath, check, isPlainText } from '../http/validation';

/**
 * A JSON number or decimal text; whether it is exact money is decided with the currency's exponent at hand. NaN stands
 * for a number whose digits no double holds; they are read from the body then.
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
function isPlainCallback(body: Readonly<Record<string, unknown>>): boolean {
  for (const name of Object.keys(body)) {
    const value = body[name];
    switch (name) {
      case 'playerId':
      case 'refId':
      case 'reason':
        if (!isPlainText(value, 256)) return false;
        break;
      case 'status':
      case 'correlationId':
        if (!isPlainText(value, 64)) return false;
        break;
      case 'currency':
        if (!isPlainText(value, 16)) return false;
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

@FastPath(isPlainCallback)
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

  @ApiProperty({ description: "One of the operator's configured words, case-insensitive", example: 'OK' })
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

export class CallbackResponse {
  @ApiProperty({ example: 'accepted' })
  status!: 'accepted';
}
