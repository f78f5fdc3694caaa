import { Body, Controller, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { isUUID } from 'class-validator';
import { Access, type HubRequest } from '../http/access';
import { CallingRgs, type Pair, callingRgs, rawBodyOf } from '../http/caller';
import { checkedIdempotencyKey } from '../http/idempotency-key';
import { whenHalfClosed } from '../http/http-server';
import { TakesJson } from '../http/json-body.guard';
import { preferredWait } from '../http/prefer';
import { Durability } from '../database/durability';
import { HubError } from '../kernel/errors';
import { invariant } from '../kernel/invariant';
import { currentContext } from '../observability/request-context';
import type { Direction } from '../partners/operator-wire';
import { RollbackService } from './rollback.service';
import { ENDED } from './transaction-state';
import { OutcomeWaiters } from './outcome-waiters';
import {
  CreditRequest,
  DebitRequest,
  MovementResponse,
  RollbackResponse,
  RollbackRequest,
  TransactionPage,
  TransactionQuery,
  TransactionView,
} from './wallet.dto';
import {
  type AcceptedRequest,
  type MovementContext,
  WalletService,
  initialResponse,
  outcomeResponse,
  rollbackResult,
} from './wallet.service';
import type { Transaction } from './transaction';
import { ApiCredit, ApiDebit, ApiRollback, ApiGetTransaction, ApiListTransactions } from './wallet.openapi';

const BALANCE_GRACE_MS = 250;

@ApiTags('wallet')
@Controller('wallet')
export class WalletController {
  constructor(
    private readonly wallet: WalletService,
    private readonly rollbacks: RollbackService,
    private readonly outcomeWaiters: OutcomeWaiters,
    private readonly durability: Durability,
  ) {}

  @Post('debit')
  @Access('rgs', { signed: true, ownCommit: true })
  @HttpCode(200)
  @TakesJson()
  @ApiDebit()
  debit(
    @Req() request: HubRequest,
    @Body() body: DebitRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<MovementResponse> {
    return this.accept('debit', body, request, response);
  }

  @Post('credit')
  @Access('rgs', { signed: true, ownCommit: true })
  @HttpCode(200)
  @TakesJson()
  @ApiCredit()
  credit(
    @Req() request: HubRequest,
    @Body() body: CreditRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<MovementResponse> {
    return this.accept('credit', body, request, response);
  }

  @Post('rollback')
  @Access('rgs', { signed: true })
  @HttpCode(200)
  @TakesJson()
  @ApiRollback()
  async rollback(
    @Req() request: HubRequest,
    @Body() body: RollbackRequest,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RollbackResponse> {
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
    // Without a wait a repeat answers what the first request was answered: what was known when the rollback was
    // accepted.
    const answersOutcome =
      response.hasHeader('Preference-Applied') ||
      rollback.waited ||
      rollback.settledAt?.getTime() === rollback.createdAt.getTime();
    return answersOutcome
      ? { ...outcomeResponse(rollback), applied: rollback.applied, result: rollbackResult(rollback, bet) }
      : { ...initialResponse(rollback.refId, rollback.id, null), applied: null, result: 'in_progress' };
  }

  @Get('transactions/:transactionId')
  @Access('rgs', { signed: true })
  @ApiGetTransaction()
  getTransaction(@CallingRgs() { rgs }: Pair, @Param('transactionId') transactionId: string): Promise<TransactionView> {
    if (!isUUID(transactionId)) throw new HubError('not_found');
    return this.wallet.find(rgs, transactionId);
  }

  @Get('transactions')
  @Access('rgs', { signed: true })
  @ApiListTransactions()
  listTransactions(@CallingRgs() { rgs }: Pair, @Query() query: TransactionQuery): Promise<TransactionPage> {
    const { limit, cursor, ...filter } = query;
    if (Object.values(filter).every((value) => value === undefined))
      throw new HubError('validation_failed', {
        errors: [{ field: 'refId', message: 'one of refId, correlationId, roundId and playerId is needed' }],
      });
    return this.wallet.list(rgs, { ...filter, limit, ...(cursor === undefined ? {} : { before: cursor }) });
  }

  private async accept(
    movement: Direction,
    body: DebitRequest | CreditRequest,
    request: HubRequest,
    response: Response,
  ): Promise<MovementResponse> {
    const waitSeconds = preferredWait(request.get('prefer'));
    const accepted = await this.wallet.accept(
      { ...callOf(request), movement, route: `POST /wallet/${movement}`, waits: waitSeconds !== null },
      body,
    );
    const { transaction, isOutcome } = await this.outcome(accepted, waitSeconds, response);
    if (transaction !== undefined && isOutcome) return outcomeResponse(transaction);
    return initialResponse(
      accepted.refId,
      accepted.transactionId,
      transaction === undefined ? accepted.warnings : transaction.warnings,
    );
  }

  /**
   * The transaction, of a new one only if it had to be looked at, and whether its outcome is what the caller gets:
   * after a wait, or for a repeat of a request that asked for one. Else the response is the initial one, and for a wait
   * that was in vain it is a 202 that says where to look.
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
      const clientDisconnected = new AbortController();
      response.once('close', () => clientDisconnected.abort());
      whenHalfClosed(response, () => clientDisconnected.abort());
      isTold = await this.outcomeWaiters.wait(transactionId, waitSeconds * 1000, clientDisconnected.signal);
      transaction = await this.wallet.findAny(transactionId);
      if (transaction !== undefined && isFinal(transaction) && lacksBalance(transaction)) {
        // A callback was faster than the response that carries the balance; that response is in flight.
        await this.outcomeWaiters.wait(transactionId, BALANCE_GRACE_MS, clientDisconnected.signal);
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
