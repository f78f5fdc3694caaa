import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  IsBoolean,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Max,
  Min,
  type ValidationArguments,
  type ValidationOptions,
  registerDecorator,
} from 'class-validator';
import { IsPlainText, FastPath, check, isPlainText } from '../http/validation';
import { REASON_CODES, type ReasonCode } from './reason-code';
import { type MovementKind, WARNING_CODES, type WarningCode, isFreeBet } from './transaction';

const ROLLBACK_RESULTS = ['undone', 'in_progress', 'never_received', 'refused', 'never_sent', 'bet_stands'] as const;
export type RollbackResult = (typeof ROLLBACK_RESULTS)[number];
export type OutcomeStatus = 'initiated' | 'OK' | 'REJECTED' | 'ROLLED_BACK';

const META_BYTES_MAX = 4096;
export const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;
const KINDS: readonly MovementKind[] = ['regular', 'free', 'promo', 'jackpot'];
/** A jackpot is won, never staked. */
const DEBIT_KINDS: readonly MovementKind[] = ['regular', 'free', 'promo'];

function IsMeta(options?: ValidationOptions): PropertyDecorator {
  return check(
    'isMeta',
    `$property must be an object of at most ${META_BYTES_MAX} bytes as JSON, with numbers that a double can hold and without NUL`,
    isMeta,
    options,
  );
}

function isMeta(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  let exact = true;
  const text = JSON.stringify(value, (_key, entry: unknown) => {
    // The parser marks a number that a double cannot hold as NaN; Postgres cannot store NUL in JSON text.
    if (
      (typeof entry === 'number' && !Number.isFinite(entry)) ||
      (typeof entry === 'string' && (entry.includes('\u0000') || !entry.isWellFormed()))
    )
      exact = false;
    if (_key.includes('\u0000') || !_key.isWellFormed()) exact = false;
    return entry;
  });
  return exact && Buffer.byteLength(text) <= META_BYTES_MAX;
}

/**
 * The hub refunds a debit under `rollback:<refId>`: a movement of that name would be taken for the reversal by the
 * operator, and one of the two would never be booked.
 */
const RESERVED_REFERENCE = /^rollback:/i;

function IsFreeReference(): PropertyDecorator {
  return check(
    'isFreeReference',
    '$property must not begin with "rollback:", which the hub uses for repayments',
    (value) => typeof value !== 'string' || !RESERVED_REFERENCE.test(value),
  );
}

/** A stake is more than nothing; only a debit that takes no money may be of 0. */
function IsStake(): PropertyDecorator {
  return (target, property) =>
    registerDecorator({
      name: 'isStake',
      target: target.constructor,
      propertyName: String(property),
      options: { message: '$property must not be less than 1; only a debit of kind free or promo may be of 0' },
      validator: {
        validate: (value: unknown, { object }: ValidationArguments) =>
          typeof value !== 'number' || value >= stakeMin((object as { kind?: unknown }).kind),
      },
    });
}

function stakeMin(kind: unknown): 0 | 1 {
  return KINDS.some((known) => known === kind && isFreeBet('debit', known)) ? 0 : 1;
}

/**
 * A movement as nearly every game server writes it: the fields of the class, in plain characters and without `meta`.
 */
function isPlainMovement(
  body: Readonly<Record<string, unknown>>,
  amountMin: number,
  kinds: readonly MovementKind[],
): boolean {
  for (const name of Object.keys(body)) {
    const value = body[name];
    switch (name) {
      case 'refId':
        if (!isPlainText(value, 128) || RESERVED_REFERENCE.test(value as string)) return false;
        break;
      case 'playerId':
      case 'roundId':
      case 'gameId':
      case 'sessionId':
        if (!isPlainText(value, 128)) return false;
        break;
      case 'currency':
        if (!isPlainText(value, 16)) return false;
        break;
      case 'amountCents':
        if (!Number.isSafeInteger(value) || (value as number) < amountMin) return false;
        break;
      case 'roundClosed':
        if (typeof value !== 'boolean') return false;
        break;
      case 'kind':
        if (!kinds.some((kind) => kind === value)) return false;
        break;
      default:
        return false;
    }
  }
  return 'playerId' in body && 'refId' in body && 'currency' in body && 'amountCents' in body;
}

class MovementRequest {
  @ApiProperty({ description: "The RGS's own id of the player", minLength: 1, maxLength: 128, example: 'player-1' })
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  playerId!: string;

  @ApiProperty({ description: "ISO 4217 code from the partner's list", example: 'USD' })
  @IsString()
  @Length(1, 16)
  @IsPlainText()
  currency!: string;

  @ApiProperty({
    description:
      'The RGS\'s own id of this movement; permanent, one per player and movement; must not begin with "rollback:"',
    minLength: 1,
    maxLength: 128,
    example: 'bet-1001',
  })
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  @IsFreeReference()
  refId!: string;

  @ApiPropertyOptional({
    type: 'string',
    nullable: true,
    description: 'Groups the movements of one game round',
    minLength: 1,
    maxLength: 128,
    example: 'round-77',
  })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  roundId?: string | null;

  @ApiPropertyOptional({
    type: 'boolean',
    nullable: true,
    description: 'Whether this is the last movement of the round; false by default',
  })
  @IsOptional()
  @IsBoolean()
  roundClosed?: boolean | null;

  @ApiPropertyOptional({ type: 'string', nullable: true, minLength: 1, maxLength: 128, example: 'book-of-tests' })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  gameId?: string | null;

  @ApiPropertyOptional({ type: 'string', nullable: true, minLength: 1, maxLength: 128, example: 'session-5' })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  sessionId?: string | null;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    nullable: true,
    description: `Anything the RGS wants to find again; at most ${META_BYTES_MAX} bytes as JSON`,
    example: { table: 4 },
  })
  @IsOptional()
  @IsMeta()
  meta?: Record<string, unknown> | null;
}

@FastPath((body) => isPlainMovement(body, stakeMin(body.kind), DEBIT_KINDS))
export class DebitRequest extends MovementRequest {
  @ApiProperty({
    type: 'integer',
    format: 'int64',
    description:
      'Minor units of the currency, a whole number, at least 1. Of kind `free` or `promo`: 0, or the face value, which is not taken',
    minimum: 0,
    maximum: AMOUNT_MAX,
    example: 500,
  })
  @IsInt()
  @IsStake()
  @Max(AMOUNT_MAX)
  amountCents!: number;

  @ApiPropertyOptional({
    type: 'string',
    enum: DEBIT_KINDS,
    nullable: true,
    description:
      '`regular` by default. `free` and `promo` move no money: the operator is not called, and the webhook says `OK`',
  })
  @IsOptional()
  @IsIn(DEBIT_KINDS, { message: 'kind of a debit must be one of regular, free, promo; a jackpot is paid by a credit' })
  kind?: MovementKind | null;
}

@FastPath((body) => isPlainMovement(body, 0, KINDS))
export class CreditRequest extends MovementRequest {
  @ApiProperty({
    type: 'integer',
    format: 'int64',
    description: 'Minor units of the currency, a whole number; 0 says that the round was lost',
    minimum: 0,
    maximum: AMOUNT_MAX,
    example: 1250,
  })
  @IsInt()
  @Min(0)
  @Max(AMOUNT_MAX)
  amountCents!: number;

  @ApiPropertyOptional({
    type: 'string',
    enum: KINDS,
    nullable: true,
    description: '`regular` by default. The others need no bet. Money of every kind is paid',
  })
  @IsOptional()
  @IsIn(KINDS)
  kind?: MovementKind | null;
}

export class RollbackRequest {
  @ApiProperty({ minLength: 1, maxLength: 128, example: 'player-1' })
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  playerId!: string;

  @ApiProperty({
    description: "The RGS's own id of this rollback",
    minLength: 1,
    maxLength: 128,
    example: 'rollback-1001',
  })
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  refId!: string;

  @ApiProperty({ description: '`refId` of the bet to undo', minLength: 1, maxLength: 128, example: 'bet-1001' })
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  originalRefId!: string;

  @ApiPropertyOptional({ type: 'string', nullable: true, minLength: 1, maxLength: 128, example: 'round-77' })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  roundId?: string | null;

  @ApiPropertyOptional({ type: 'string', nullable: true, minLength: 1, maxLength: 256, example: 'client timeout' })
  @IsOptional()
  @IsString()
  @Length(1, 256)
  @IsPlainText()
  reason?: string | null;
}

const REASON_CODE_TEXT =
  'Why it was refused or undone, in words that are the same for every operator. Codes may be added: take one that you do not know for `other`';

export class Warning {
  @ApiProperty({
    enum: WARNING_CODES,
    description: 'Stable; compare this, not the text. Codes may be added',
    example: 'no_bet_in_round',
  })
  code!: WarningCode;

  @ApiProperty({ example: 'no bet of this player came in this round before; the win is paid all the same' })
  message!: string;
}

/**
 * The response to a movement. Without a wait its bytes depend only on what never changes, so a repeat gets the very
 * same.
 */
export class MovementResponse {
  @ApiProperty({
    enum: ['initiated', 'OK', 'REJECTED', 'ROLLED_BACK'],
    description: '"initiated": stored, the outcome comes by webhook. The others only after a wait',
    example: 'initiated',
  })
  status!: OutcomeStatus;

  @ApiProperty({ example: 'bet-1001' })
  refId!: string;

  @ApiProperty({
    format: 'uuid',
    description: 'UUIDv7; both partners see it',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
  })
  correlationId!: string;

  @ApiProperty({
    type: 'integer',
    nullable: true,
    description: "The operator's own balance, after a wait; otherwise null: the hub never invents one",
    example: null,
  })
  balanceCents!: number | null;

  @ApiProperty({
    type: 'string',
    nullable: true,
    description: 'Why it was refused, in the words of the operator or of the hub',
    example: null,
  })
  reason!: string | null;

  @ApiProperty({ type: 'string', enum: REASON_CODES, nullable: true, description: REASON_CODE_TEXT, example: null })
  reasonCode!: ReasonCode | null;

  @ApiProperty({ format: 'uuid', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' })
  transactionId!: string;

  @ApiPropertyOptional({
    type: [Warning],
    description: 'Omitted without warnings. The movement was accepted nevertheless',
  })
  warnings?: Warning[];
}

export class RollbackResponse extends MovementResponse {
  @ApiProperty({
    type: 'boolean',
    nullable: true,
    description: 'Whether money was refunded; false: nothing to undo; null: not known yet',
    example: false,
  })
  applied!: boolean | null;

  @ApiProperty({
    enum: ROLLBACK_RESULTS,
    description:
      '`undone`: the money is refunded (or was never taken, for a free bet). `in_progress`: known later, by a webhook of the bet. `never_received`: the hub has no such bet, and refuses it if it arrives. ' +
      '`refused`: the operator refused the bet. `never_sent`: the operator does not have the bet; it was stopped before. `bet_stands`: rare; the operator refused the reversal',
    example: 'never_received',
  })
  result!: RollbackResult;
}

export class TransactionQuery {
  @ApiPropertyOptional({ minLength: 1, maxLength: 128, description: "The RGS's id of the movement" })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  refId?: string;

  @ApiPropertyOptional({ format: 'uuid', description: 'The id that both partners see' })
  @IsOptional()
  @IsUUID()
  correlationId?: string;

  @ApiPropertyOptional({ minLength: 1, maxLength: 128, description: 'All movements of one game round' })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  roundId?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 128,
    description: 'All movements of one player',
    example: 'player-1',
  })
  @IsOptional()
  @IsString()
  @Length(1, 128)
  @IsPlainText()
  playerId?: string;

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

export class TimelineEntry {
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.120Z' })
  at!: string;

  @ApiProperty({ enum: ['accepted', 'transition', 'contradiction'], example: 'transition' })
  event!: string;

  @ApiProperty({
    enum: ['rgs', 'operator_response', 'operator_callback', 'operator_list', 'hub', 'admin'],
    example: 'operator_response',
  })
  source!: string;

  @ApiProperty({ type: 'string', nullable: true, description: 'State before', example: 'initiated' })
  from!: string | null;

  @ApiProperty({ type: 'string', description: 'State after', example: 'confirmed' })
  to!: string;

  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'What was reported, for example status, class, reason, balance',
    example: { attempt: 1, status: 200, class: 'applied', reason: null, balance: '995.00' },
  })
  evidence!: unknown;
}

export class TransactionView {
  @ApiProperty({ format: 'uuid', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' }) transactionId!: string;
  @ApiProperty({
    format: 'uuid',
    description: 'The same as transactionId',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
  })
  correlationId!: string;
  @ApiProperty({ example: 'bet-1001' }) refId!: string;
  @ApiProperty({ example: 'player-1' }) playerId!: string;
  @ApiProperty({ enum: ['debit', 'credit', 'rollback'], example: 'debit' }) event!: string;
  @ApiProperty({ type: 'integer', description: 'Minor units', example: 500 }) amountCents!: number;
  @ApiProperty({ example: 'USD' }) currency!: string;
  @ApiProperty({
    enum: [
      'initiated',
      'confirmed',
      'rejected',
      'unknown',
      'compensating',
      'compensated',
      'parked',
      'rolling_back',
      'rolled_back',
    ],
    example: 'confirmed',
  })
  state!: string;
  @ApiProperty({
    enum: ['initiated', 'OK', 'REJECTED', 'ROLLED_BACK'],
    description: 'As in the webhook; "initiated" without an outcome',
    example: 'OK',
  })
  status!: OutcomeStatus;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    description: "The operator's own balance after the movement, minor units",
    example: 99500,
  })
  balanceCents!: number | null;
  @ApiProperty({
    type: 'string',
    nullable: true,
    description:
      'Why it was refused, or why its outcome is not known, in the words of the operator or of the hub; of a rollback: your own',
    example: null,
  })
  reason!: string | null;
  @ApiProperty({ type: 'string', enum: REASON_CODES, nullable: true, description: REASON_CODE_TEXT, example: null })
  reasonCode!: ReasonCode | null;
  @ApiProperty({
    type: 'boolean',
    nullable: true,
    description: 'Of a rollback: whether money was refunded',
    example: null,
  })
  applied!: boolean | null;
  @ApiProperty({
    type: 'string',
    format: 'uuid',
    nullable: true,
    description: 'Of a rollback: the bet that it undoes',
    example: null,
  })
  originalTransactionId!: string | null;
  @ApiProperty({ enum: KINDS, example: 'regular' }) kind!: string;
  @ApiProperty({ type: 'string', nullable: true, example: 'round-77' }) roundId!: string | null;
  @ApiProperty({ example: false }) roundClosed!: boolean;
  @ApiProperty({ type: 'string', nullable: true, example: 'book-of-tests' }) gameId!: string | null;
  @ApiProperty({ type: 'string', nullable: true, example: null }) sessionId!: string | null;
  @ApiProperty({ type: 'object', additionalProperties: true, nullable: true, example: { table: 4 } }) meta!: unknown;
  @ApiProperty({ type: [Warning], description: 'As in the first response', example: [] }) warnings!: Warning[];
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) createdAt!: string;
  @ApiProperty({
    type: 'string',
    format: 'date-time',
    nullable: true,
    description: 'When it became final; null before, and while a confirmed bet is being reversed',
    example: '2026-11-23T12:00:00.120Z',
  })
  settledAt!: string | null;
  @ApiProperty({ type: [TimelineEntry] }) timeline!: TimelineEntry[];
}

export class TransactionPage {
  @ApiProperty({ type: [TransactionView] }) items!: TransactionView[];
  @ApiProperty({ type: 'string', nullable: true, format: 'uuid', description: 'Null on the last page', example: null })
  nextCursor!: string | null;
}
