import { Body, Controller, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBody,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiTags,
} from '@nestjs/swagger';
import type { Response } from 'express';
import { isUUID } from 'class-validator';
import { Access, type HubRequest } from '../http/access';
import { CallingRgs, type Pair, callingRgs, rawBodyOf } from '../http/caller';
import { IDEMPOTENCY_KEY_LENGTH_MAX, checkedIdempotencyKey } from '../http/idempotency-key';
import { whenHalfClosed } from '../http/http-server';
import { TakesJson } from '../http/json-body.guard';
import { WAIT_SECONDS_MAX, preferredWait } from '../http/prefer';
import { ApiProblems } from '../http/openapi';
import { Durability } from '../database/durability';
import { HubError } from '../kernel/errors';
import { invariant } from '../kernel/invariant';
import { currentContext } from '../observability/request-context';
import type { Movement } from '../partners/operator-wire';
import { RollbackService } from './rollback.service';
import { ENDED } from './transaction-state';
import { Waiters } from './waiters';
import {
  CreditRequest,
  DebitRequest,
  MovementAnswer,
  RollbackAnswer,
  RollbackRequest,
  TransactionPage,
  TransactionQuery,
  TransactionView,
} from './wallet.dto';
import {
  type AcceptedRequest,
  type MovementContext,
  WalletService,
  initialAnswer,
  outcomeAnswer,
  rollbackResult,
} from './wallet.service';
import type { Transaction } from './transaction';

const BALANCE_GRACE_MS = 250;

const DEBIT_EXAMPLES = {
  stake: { summary: 'A bet', value: { playerId: 'player-1', amountCents: 500, currency: 'USD', refId: 'bet-1001' } },
  whole: {
    summary: 'With every optional field',
    value: {
      playerId: 'player-1',
      amountCents: 500,
      currency: 'USD',
      refId: 'bet-1002',
      roundId: 'round-77',
      roundClosed: false,
      kind: 'regular',
      gameId: 'book-of-tests',
      sessionId: 'session-5',
      meta: { table: 4 },
    },
  },
};
const CREDIT_EXAMPLES = {
  win: {
    summary: 'A win that ends its round',
    value: {
      playerId: 'player-1',
      amountCents: 1250,
      currency: 'USD',
      refId: 'win-1001',
      roundId: 'round-77',
      roundClosed: true,
    },
  },
  lost: {
    summary: 'A lost round',
    value: {
      playerId: 'player-1',
      amountCents: 0,
      currency: 'USD',
      refId: 'end-1001',
      roundId: 'round-78',
      roundClosed: true,
    },
  },
  promotion: {
    summary: 'Money without a bet',
    value: { playerId: 'player-1', amountCents: 2000, currency: 'USD', refId: 'promo-1001', kind: 'promo' },
  },
};

const idempotencyKeyHeader = ApiHeader({
  name: 'Idempotency-Key',
  required: false,
  // No example: Swagger UI would send it with every request, and each needs one of its own.
  description:
    'Recommended; a UUID for example. A repeat with the same key, route and body gets the first response byte for byte; any other use of the key is 409. Left empty, this page makes one for each request.',
  schema: { type: 'string', minLength: 1, maxLength: IDEMPOTENCY_KEY_LENGTH_MAX },
});
const movementProblems = ApiProblems(
  'malformed_request',
  'signature_reused',
  'idempotency_key_reused',
  'reference_reused',
  'transaction_rolled_back',
  'round_closed',
  'payload_too_large',
  'unsupported_media_type',
  'unsupported_currency',
  'validation_failed',
);
const preferHeader = ApiHeader({
  name: 'Prefer',
  required: false,
  description: `RFC 7240: \`wait=N\` holds the response for up to N seconds (1 to ${WAIT_SECONDS_MAX}) until the outcome is known, for example \`wait=5\`.`,
});
const acceptedResponse = ApiAcceptedResponse({
  description:
    'The wait ended before the outcome was known; a repeat with the same Idempotency-Key, or Location, returns it later',
  type: MovementAnswer,
  headers: {
    Location: {
      description: 'Where the outcome will be',
      schema: { type: 'string', example: '/wallet/transactions/019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' },
    },
    'Preference-Applied': { description: 'The wait that was granted', schema: { type: 'string', example: 'wait=5' } },
  },
});
const answerHeaders = {
  'Preference-Applied': {
    description: 'Present when the response waited',
    schema: { type: 'string' as const, example: 'wait=5' },
  },
  'Idempotent-Replayed': {
    description: '`true` for the stored response to an earlier request',
    schema: { type: 'string' as const, enum: ['true'] },
  },
};

@ApiTags('wallet')
@Controller('wallet')
export class WalletController {
  constructor(
    private readonly wallet: WalletService,
    private readonly rollbacks: RollbackService,
    private readonly waiters: Waiters,
    private readonly durability: Durability,
  ) {}

  @Post('debit')
  @Access('rgs', { signed: true, ownCommit: true })
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({
    summary: "Debit a player's bet",
    description:
      "Stores the movement and responds immediately; it is then delivered to the operator in the player's order, and the outcome comes by webhook.",
  })
  @ApiBody({ type: DebitRequest, examples: DEBIT_EXAMPLES })
  @idempotencyKeyHeader
  @preferHeader
  @ApiOkResponse({
    description: 'Stored, to be delivered; after a wait, the outcome',
    type: MovementAnswer,
    headers: answerHeaders,
  })
  @acceptedResponse
  @movementProblems
  debit(
    @Req() request: HubRequest,
    @Body() body: DebitRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<MovementAnswer> {
    return this.accept('debit', body, request, response);
  }

  @Post('credit')
  @Access('rgs', { signed: true, ownCommit: true })
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({
    summary: "Credit a player's win",
    description:
      'As a debit. A credit never overtakes an earlier debit of the same player, and is never given up silently.',
  })
  @ApiBody({ type: CreditRequest, examples: CREDIT_EXAMPLES })
  @idempotencyKeyHeader
  @preferHeader
  @ApiOkResponse({
    description: 'Stored, to be delivered; after a wait, the outcome',
    type: MovementAnswer,
    headers: answerHeaders,
  })
  @acceptedResponse
  @movementProblems
  credit(
    @Req() request: HubRequest,
    @Body() body: CreditRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<MovementAnswer> {
    return this.accept('credit', body, request, response);
  }

  @Post('rollback')
  @Access('rgs', { signed: true })
  @HttpCode(200)
  @TakesJson()
  @ApiOperation({
    summary: 'Undo a bet',
    description:
      'A known bet is refunded once. An unknown bet gets `applied: false`, and is refused if it arrives later. After a credit in its round a bet stays.',
  })
  @ApiBody({ type: RollbackRequest })
  @idempotencyKeyHeader
  @preferHeader
  @ApiOkResponse({
    description: 'Accepted; `applied` says whether money was refunded',
    type: RollbackAnswer,
    headers: answerHeaders,
  })
  @acceptedResponse
  @ApiProblems(
    'malformed_request',
    'idempotency_key_reused',
    'reference_reused',
    'wrong_operator',
    'round_closed',
    'payload_too_large',
    'unsupported_media_type',
    'validation_failed',
  )
  async rollback(
    @Req() request: HubRequest,
    @Body() body: RollbackRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RollbackAnswer> {
    const waitSeconds = preferredWait(request.get('prefer'));
    const accepted = await this.rollbacks.accept(
      { ...callOf(request), route: 'POST /wallet/rollback', waits: waitSeconds !== null },
      body,
    );
    const rollback =
      (await this.outcome(accepted, waitSeconds, response)).transaction ??
      (await this.wallet.findAny(accepted.transactionId));
    const bet = rollback?.originalId == null ? undefined : await this.wallet.findAny(rollback.originalId);
    invariant(
      rollback !== undefined && bet !== undefined,
      () => `rollback ${accepted.transactionId} or its bet vanished`,
    );
    // Without a wait a repeat answers what the first request was answered: what was known when the rollback was accepted.
    const answersOutcome =
      response.hasHeader('Preference-Applied') ||
      rollback.waited ||
      rollback.settledAt?.getTime() === rollback.createdAt.getTime();
    return answersOutcome
      ? { ...outcomeAnswer(rollback), applied: rollback.applied, result: rollbackResult(rollback, bet) }
      : { ...initialAnswer(rollback.refId, rollback.id, null), applied: null, result: 'in_progress' };
  }

  @Get('transactions/:transactionId')
  @Access('rgs', { signed: true })
  @ApiOperation({ summary: 'One transaction with its timeline' })
  @ApiParam({
    name: 'transactionId',
    format: 'uuid',
    description: '`transactionId` of the response to the movement',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
  })
  @ApiOkResponse({ description: 'The current transaction', type: TransactionView })
  @ApiProblems('not_found')
  transaction(@CallingRgs() { rgs }: Pair, @Param('transactionId') transactionId: string): Promise<TransactionView> {
    if (!isUUID(transactionId)) throw new HubError('not_found');
    return this.wallet.find(rgs, transactionId);
  }

  @Get('transactions')
  @Access('rgs', { signed: true })
  @ApiOperation({
    summary: 'Transactions by any identifier, newest first',
    description: 'At least one of refId, correlationId, roundId and playerId.',
  })
  @ApiOkResponse({ description: 'A page of transactions', type: TransactionPage })
  @ApiProblems('validation_failed')
  transactions(@CallingRgs() { rgs }: Pair, @Query() query: TransactionQuery): Promise<TransactionPage> {
    const { limit, cursor, ...filter } = query;
    if (Object.values(filter).every((value) => value === undefined))
      throw new HubError('validation_failed', {
        errors: [{ field: 'refId', message: 'one of refId, correlationId, roundId and playerId is needed' }],
      });
    return this.wallet.list(rgs, { ...filter, limit, ...(cursor === undefined ? {} : { before: cursor }) });
  }

  private async accept(
    movement: Movement,
    body: DebitRequest | CreditRequest,
    request: HubRequest,
    response: Response,
  ): Promise<MovementAnswer> {
    const waitSeconds = preferredWait(request.get('prefer'));
    const accepted = await this.wallet.accept(
      { ...callOf(request), movement, route: `POST /wallet/${movement}`, waits: waitSeconds !== null },
      body,
    );
    const { transaction, isOutcome } = await this.outcome(accepted, waitSeconds, response);
    if (transaction !== undefined && isOutcome) return outcomeAnswer(transaction);
    return initialAnswer(
      accepted.refId,
      accepted.transactionId,
      transaction === undefined ? accepted.warnings : transaction.warnings,
    );
  }

  /**
   * The transaction, of a new one only if it had to be looked at, and whether its outcome is what the caller gets: after a wait, or for a
   * repeat of a request that asked for one. Else the response is the initial one, and for a wait that was in vain it is a 202 that says where to look.
   */
  private async outcome(
    { transactionId, replayed, mayBeSettled }: AcceptedRequest,
    waitSeconds: number | null,
    response: Response,
  ): Promise<{ readonly transaction: Transaction | undefined; readonly isOutcome: boolean }> {
    const context = currentContext();
    if (context !== undefined) Object.assign(context, { correlationId: transactionId, replayed });
    if (replayed) response.setHeader('Idempotent-Replayed', 'true');
    if (waitSeconds === null && !replayed) return { transaction: undefined, isOutcome: false };
    // An outcome announced by a hub's commit is durable; one that was merely found may not be.
    let isTold = false;
    let transaction = mayBeSettled ? await this.wallet.findAny(transactionId) : undefined;
    if (waitSeconds === null && transaction?.waited !== true) return { transaction, isOutcome: false };
    if (waitSeconds !== null && (transaction === undefined || !isFinal(transaction))) {
      const hungUp = new AbortController();
      response.once('close', () => hungUp.abort());
      whenHalfClosed(response, () => hungUp.abort());
      isTold = await this.waiters.wait(transactionId, waitSeconds * 1000, hungUp.signal);
      transaction = await this.wallet.findAny(transactionId);
      if (transaction !== undefined && isFinal(transaction) && lacksBalance(transaction)) {
        // A callback was faster than the response that carries the balance; that response is in flight.
        await this.waiters.wait(transactionId, BALANCE_GRACE_MS, hungUp.signal);
        transaction = await this.wallet.findAny(transactionId);
      }
    }
    if (!isTold && transaction !== undefined && isFinal(transaction)) await this.durability.ensure();
    if (waitSeconds !== null) response.setHeader('Preference-Applied', `wait=${waitSeconds}`);
    if (transaction !== undefined && isFinal(transaction)) return { transaction, isOutcome: true };
    response.status(202).setHeader('Location', `/wallet/transactions/${transactionId}`);
    return { transaction, isOutcome: false };
  }
}

/** What every movement's route takes from its request beside the body. Throws validation_failed for the key. */
function callOf(
  request: HubRequest,
): Pick<MovementContext, 'rgs' | 'operator' | 'idempotencyKey' | 'rawBody' | 'signature'> {
  const { rgs, operator } = callingRgs(request);
  return {
    rgs,
    operator,
    idempotencyKey: checkedIdempotencyKey(request.get('idempotency-key')) ?? null,
    rawBody: rawBodyOf(request),
    signature: request.verifiedSignature ?? null,
  };
}

/** Whether its outcome is final for the RGS. A debit that is being reversed is not. */
function isFinal({ state }: Transaction): boolean {
  return ENDED.has(state);
}

function lacksBalance({ movement, balanceMinor }: Transaction): boolean {
  return movement !== 'rollback' && balanceMinor === null;
}
