import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsOptional, IsString, IsUUID, Length, Max, Min, type ValidationOptions, registerDecorator } from 'class-validator';
import type { MovementKind } from './wallet.store';

const META_BYTES_MAX = 4096;
export const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;
const KINDS: readonly MovementKind[] = ['regular', 'free', 'promo', 'jackpot'];

/** Text that every store and every URL can carry: no control characters, no half of a surrogate pair. */
function IsPlainText(options?: ValidationOptions): PropertyDecorator {
  return check('isPlainText', '$property must not contain control characters or broken Unicode', isPlainText, options);
}

function IsMeta(options?: ValidationOptions): PropertyDecorator {
  return check('isMeta', `$property must be an object of at most ${META_BYTES_MAX} bytes as JSON, with numbers that a double can hold and without NUL`, isMeta, options);
}

function check(name: string, message: string, validate: (value: unknown) => boolean, options: ValidationOptions | undefined): PropertyDecorator {
  return (target, property) => registerDecorator({ name, target: target.constructor, propertyName: String(property), options: { message, ...options }, validator: { validate } });
}

function isPlainText(value: unknown): boolean {
  return typeof value === 'string' && value.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(value);
}

function isMeta(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  let exact = true;
  const text = JSON.stringify(value, (_key, entry: unknown) => {
    // The parser marks a number that a double cannot hold as NaN; Postgres cannot store NUL in JSON text.
    if ((typeof entry === 'number' && !Number.isFinite(entry)) || (typeof entry === 'string' && (entry.includes('\u0000') || !entry.isWellFormed()))) exact = false;
    if (_key.includes('\u0000') || !_key.isWellFormed()) exact = false;
    return entry;
  });
  return exact && Buffer.byteLength(text) <= META_BYTES_MAX;
}

class MovementRequest {
  @ApiProperty({ description: 'The RGS\'s own id of the player', minLength: 1, maxLength: 128, example: 'player-1' })
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  playerId!: string;

  @ApiProperty({ description: 'ISO 4217 code from the partner\'s list', example: 'USD' })
  @IsString()
  @Length(1, 16)
  @IsPlainText()
  currency!: string;

  @ApiProperty({ description: 'The RGS\'s own id of this movement; permanent, one per player and movement', minLength: 1, maxLength: 128, example: 'bet-1001' })
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  refId!: string;

  @ApiPropertyOptional({ description: 'Groups the movements of one game round', minLength: 1, maxLength: 128, example: 'round-77' })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  roundId?: string;

  @ApiPropertyOptional({ description: 'Whether this is the last movement of the round', default: false })
  @IsOptional()
  @IsBoolean()
  roundClosed?: boolean;

  @ApiPropertyOptional({ enum: KINDS, default: 'regular' })
  @IsOptional()
  @IsIn(KINDS)
  kind?: MovementKind;

  @ApiPropertyOptional({ minLength: 1, maxLength: 128, example: 'book-of-tests' })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  gameId?: string;

  @ApiPropertyOptional({ minLength: 1, maxLength: 128 })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  sessionId?: string;

  @ApiPropertyOptional({ type: 'object', additionalProperties: true, description: `Anything the RGS wants to find again; at most ${META_BYTES_MAX} bytes as JSON` })
  @IsOptional()
  @IsMeta()
  meta?: Record<string, unknown>;
}

export class DebitRequest extends MovementRequest {
  @ApiProperty({ description: 'Minor units of the currency, a whole number', minimum: 1, maximum: AMOUNT_MAX, example: 500 })
  @IsInt()
  @Min(1)
  @Max(AMOUNT_MAX)
  amountCents!: number;
}

export class CreditRequest extends MovementRequest {
  @ApiProperty({ description: 'Minor units of the currency, a whole number; 0 says that the round was lost', minimum: 0, maximum: AMOUNT_MAX, example: 1250 })
  @IsInt()
  @Min(0)
  @Max(AMOUNT_MAX)
  amountCents!: number;
}

/** The answer to a movement. Its bytes depend only on what never changes, so a repeat gets the very same. */
export class MovementAnswer {
  @ApiProperty({ description: 'Always "initiated": the movement is stored and on its way. The outcome comes by webhook', example: 'initiated' })
  status!: 'initiated';

  @ApiProperty({ example: 'bet-1001' })
  refId!: string;

  @ApiProperty({ format: 'uuid', description: 'UUIDv7; both partners see it', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' })
  correlationId!: string;

  @ApiProperty({ type: 'integer', nullable: true, description: 'Null: the balance is the operator\'s to say', example: null })
  balanceCents!: null;

  @ApiProperty({ type: 'string', nullable: true, example: null })
  reason!: null;

  @ApiProperty({ format: 'uuid', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' })
  transactionId!: string;
}

export class TransactionQuery {
  @ApiPropertyOptional({ maxLength: 128 })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  refId?: string;

  @ApiPropertyOptional({ format: 'uuid' })
  @IsOptional()
  @IsUUID()
  correlationId?: string;

  @ApiPropertyOptional({ maxLength: 128 })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  roundId?: string;

  @ApiPropertyOptional({ maxLength: 128 })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  playerId?: string;

  @ApiPropertyOptional({ minimum: 1, maximum: 200, default: 50 })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(200)
  limit: number = 50;

  @ApiPropertyOptional({ format: 'uuid', description: '`nextCursor` of the page before' })
  @IsOptional()
  @IsUUID()
  cursor?: string;
}

export class TimelineEntry {
  @ApiProperty({ format: 'date-time' })
  at!: string;

  @ApiProperty({ enum: ['accepted', 'transition', 'contradiction'] })
  event!: string;

  @ApiProperty({ enum: ['rgs', 'operator_response', 'operator_callback', 'hub', 'admin'] })
  source!: string;

  @ApiProperty({ type: 'string', nullable: true })
  from!: string | null;

  @ApiProperty({ type: 'string' })
  to!: string;

  @ApiProperty({ type: 'object', additionalProperties: true, description: 'What was said, for example status, class, reason, balance' })
  evidence!: unknown;
}

export class TransactionView {
  @ApiProperty({ format: 'uuid' }) transactionId!: string;
  @ApiProperty({ format: 'uuid' }) correlationId!: string;
  @ApiProperty() refId!: string;
  @ApiProperty() playerId!: string;
  @ApiProperty({ enum: ['debit', 'credit'] }) event!: string;
  @ApiProperty({ type: 'integer', description: 'Minor units' }) amountCents!: number;
  @ApiProperty() currency!: string;
  @ApiProperty({ enum: ['initiated', 'confirmed', 'rejected', 'unknown', 'compensating', 'compensated', 'parked', 'rolling_back', 'rolled_back'] }) state!: string;
  @ApiProperty({ enum: ['initiated', 'OK', 'REJECTED', 'ROLLED_BACK'], description: 'As the webhook says it; "initiated" while there is no outcome' }) status!: string;
  @ApiProperty({ type: 'integer', nullable: true, description: 'The operator\'s own balance after the movement, minor units' }) balanceCents!: number | null;
  @ApiProperty({ type: 'string', nullable: true }) reason!: string | null;
  @ApiProperty({ enum: KINDS }) kind!: string;
  @ApiProperty({ type: 'string', nullable: true }) roundId!: string | null;
  @ApiProperty() roundClosed!: boolean;
  @ApiProperty({ type: 'string', nullable: true }) gameId!: string | null;
  @ApiProperty({ type: 'string', nullable: true }) sessionId!: string | null;
  @ApiProperty({ type: 'object', additionalProperties: true, nullable: true }) meta!: unknown;
  @ApiProperty({ format: 'date-time' }) createdAt!: string;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true }) settledAt!: string | null;
  @ApiProperty({ type: [TimelineEntry] }) timeline!: TimelineEntry[];
}

export class TransactionPage {
  @ApiProperty({ type: [TransactionView] }) items!: TransactionView[];
  @ApiProperty({ type: 'string', nullable: true, format: 'uuid' }) nextCursor!: string | null;
}
