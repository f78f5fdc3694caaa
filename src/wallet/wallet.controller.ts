import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiBody, ApiHeader, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { isUUID } from 'class-validator';
import { Access } from '../http/access';
import { CallingRgs, RawBody } from '../http/caller';
import { TakesJson } from '../http/json-body.guard';
import { ApiProblems } from '../http/openapi';
import { HubError } from '../kernel/errors';
import { currentContext } from '../observability/request-context';
import type { Movement } from '../partners/operator-wire';
import type { Partner } from '../partners/partner';
import { CreditRequest, DebitRequest, MovementAnswer, TransactionPage, TransactionQuery, TransactionView } from './wallet.dto';
import { WalletService } from './wallet.service';

const IDEMPOTENCY_KEY_LENGTH_MAX = 255;

const DEBIT_EXAMPLES = {
  stake: { summary: 'A stake', value: { playerId: 'player-1', amountCents: 500, currency: 'USD', refId: 'bet-1001' } },
  whole: { summary: 'With everything that a game server may say', value: { playerId: 'player-1', amountCents: 500, currency: 'USD', refId: 'bet-1002', roundId: 'round-77', roundClosed: false, kind: 'regular', gameId: 'book-of-tests', sessionId: 'session-5', meta: { table: 4 } } },
};
const CREDIT_EXAMPLES = {
  win: { summary: 'A win that ends its round', value: { playerId: 'player-1', amountCents: 1250, currency: 'USD', refId: 'win-1001', roundId: 'round-77', roundClosed: true } },
  lost: { summary: 'A lost round', value: { playerId: 'player-1', amountCents: 0, currency: 'USD', refId: 'end-1001', roundId: 'round-78', roundClosed: true } },
  promotion: { summary: 'Money without a bet', value: { playerId: 'player-1', amountCents: 2000, currency: 'USD', refId: 'promo-1001', kind: 'promo' } },
};

interface Pair {
  readonly rgs: Partner;
  readonly operator: Partner;
}

const idempotencyKeyHeader = ApiHeader({
  name: 'Idempotency-Key',
  required: false,
  description: 'Recommended. A repeat with the same key, route and body gets the first answer byte for byte; any other use of the key is 409.',
  schema: { type: 'string', minLength: 1, maxLength: IDEMPOTENCY_KEY_LENGTH_MAX },
  example: 'b1f7c1de-8f0e-4d3c-9b61-1c8f5f8d0a11',
});
const movementProblems = ApiProblems('malformed_request', 'idempotency_key_reused', 'reference_reused', 'payload_too_large', 'unsupported_media_type', 'unsupported_currency', 'validation_failed');
const replayedHeader = { 'Idempotent-Replayed': { description: '`true` when this is the stored answer to an earlier request', schema: { type: 'string' as const, enum: ['true'] } } };

@ApiTags('wallet')
@Controller('wallet')
@Access('rgs', { signed: true })
export class WalletController {
  constructor(private readonly wallet: WalletService) {}

  @Post('debit')
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({ summary: 'Take a stake from a player', description: 'Stores the movement and answers at once; it is then delivered to the operator in the player\'s order, and the outcome comes by webhook.' })
  @ApiBody({ type: DebitRequest, examples: DEBIT_EXAMPLES })
  @idempotencyKeyHeader
  @ApiOkResponse({ description: 'Stored and on its way', type: MovementAnswer, headers: replayedHeader })
  @movementProblems
  debit(@CallingRgs() pair: Pair, @Body() request: DebitRequest, @RawBody() rawBody: Buffer, @Headers('idempotency-key') key: string | undefined, @Res({ passthrough: true }) response: Response): Promise<MovementAnswer> {
    return this.accept('debit', pair, request, rawBody, key, response);
  }

  @Post('credit')
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({ summary: 'Pay a win to a player', description: 'As a debit. A credit never overtakes an earlier debit of the same player, and is never given up silently.' })
  @ApiBody({ type: CreditRequest, examples: CREDIT_EXAMPLES })
  @idempotencyKeyHeader
  @ApiOkResponse({ description: 'Stored and on its way', type: MovementAnswer, headers: replayedHeader })
  @movementProblems
  credit(@CallingRgs() pair: Pair, @Body() request: CreditRequest, @RawBody() rawBody: Buffer, @Headers('idempotency-key') key: string | undefined, @Res({ passthrough: true }) response: Response): Promise<MovementAnswer> {
    return this.accept('credit', pair, request, rawBody, key, response);
  }

  @Get('transactions/:transactionId')
  @ApiOperation({ summary: 'One transaction with its timeline' })
  @ApiParam({ name: 'transactionId', format: 'uuid', description: '`transactionId` of the answer to the movement', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' })
  @ApiOkResponse({ description: 'The transaction as it is now', type: TransactionView })
  @ApiProblems('not_found')
  transaction(@CallingRgs() { rgs }: Pair, @Param('transactionId') transactionId: string): Promise<TransactionView> {
    if (!isUUID(transactionId)) throw new HubError('not_found');
    return this.wallet.find(rgs, transactionId);
  }

  @Get('transactions')
  @ApiOperation({ summary: 'Transactions by any identifier, newest first', description: 'At least one of refId, correlationId, roundId and playerId.' })
  @ApiOkResponse({ description: 'A page of transactions', type: TransactionPage })
  @ApiProblems('validation_failed')
  transactions(@CallingRgs() { rgs }: Pair, @Query() query: TransactionQuery): Promise<TransactionPage> {
    const { limit, cursor, ...filter } = query;
    if (Object.values(filter).every((value) => value === undefined))
      throw new HubError('validation_failed', { errors: [{ field: 'refId', message: 'one of refId, correlationId, roundId and playerId is needed' }] });
    return this.wallet.list(rgs, { ...filter, limit, ...(cursor === undefined ? {} : { before: cursor }) });
  }

  private async accept(movement: Movement, pair: Pair, request: DebitRequest | CreditRequest, rawBody: Buffer, key: string | undefined, response: Response): Promise<MovementAnswer> {
    if (key !== undefined && (key.length < 1 || key.length > IDEMPOTENCY_KEY_LENGTH_MAX))
      throw new HubError('validation_failed', { errors: [{ field: 'Idempotency-Key', message: `Idempotency-Key must have 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters` }] });
    const { answer, replayed } = await this.wallet.accept({ ...pair, movement, idempotencyKey: key ?? null, route: `POST /wallet/${movement}`, rawBody }, request);
    const context = currentContext();
    if (context !== undefined) {
      context.correlationId = answer.correlationId;
      context.replayed = replayed;
    }
    if (replayed) response.setHeader('Idempotent-Replayed', 'true');
    return answer;
  }
}
