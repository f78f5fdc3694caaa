import { Inject, Injectable } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Batcher } from '../database/batcher';
import { Database } from '../database/database';
import { newId } from '../database/new-id';
import { requestFingerprint } from '../http/idempotency-key';
import { untidy } from '../http/tidy-ids';
import { HubError } from '../kernel/errors';
import { readPage } from '../kernel/page';
import { currencyExponent } from '../kernel/money';
import { invariant } from '../kernel/invariant';
import { Metrics } from '../observability/metrics';
import { Outbox } from '../outbox/outbox';
import type { Partner } from '../partners/partner';
import { PartnerDirectory, isEnvironmentPair } from '../partners/partner-directory';
import {
  type Direction,
  externalReference,
  isAddressablePlayer,
  operatorMovementMessage,
} from '../partners/operator-wire';
import { type RgsNotification, rgsWebhookBody } from '../partners/rgs-wire';
import type {
  CreditRequest,
  DebitRequest,
  MovementResponse,
  OutcomeStatus,
  RollbackResult,
  TimelineEntry,
  TransactionPage,
  TransactionView,
} from './wallet.dto';
import { type RoundView, roundView } from './rounds.dto';
import { type ReasonCode, reasonCodeOfFormer } from './reason-code';
import { RoundsStore } from './rounds.store';
import { type MovementKind, type Transaction, type TransactionEvent, type WarningCode, isFreeBet } from './transaction';
import { ENDED } from './transaction-state';
import { type Accepted, type NewMovement, type TransactionFilter, WalletStore } from './wallet.store';

/** Movements written in one commit; more would only make the statement's latency everybody's. */
const BATCH_MAX = 100;
const FLIGHTS_MAX = 2;
/** At 4 000 movements a second this is one second of waiting; a caller that waits longer has given up. */
const QUEUE_MAX = 4_000;

export interface MovementContext {
  readonly rgs: Partner;
  readonly operator: Partner;
  readonly movement: Direction;
  readonly idempotencyKey: string | null;
  /** Method and path of the route, and the body as received: together they are what a repeat must repeat. */
  readonly route: string;
  readonly rawBody: Buffer;
  /** X-Signature that it came with; null without one. */
  readonly signature: string | null;
  /** Whether the caller waits for the outcome. */
  readonly waits: boolean;
}

export interface AcceptedRequest {
  readonly transactionId: string;
  readonly refId: string;
  readonly replayed: boolean;
  /** Whether its outcome may be known already, so that looking comes before waiting. */
  readonly mayBeSettled: boolean;
}

export interface AcceptedMovement extends AcceptedRequest {
  /** Of a new movement; a repeat's are in its row. */
  readonly warnings: readonly WarningCode[];
}

/** Takes movements in, and tells what became of them. */
@Injectable()
export class WalletService {
  private readonly batcher: Batcher<NewMovement, Accepted>;
  /** Movements that are being stored, by kind and signature. */
  private readonly signing = new Map<string, Promise<void>>();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly store: WalletStore,
    private readonly rounds: RoundsStore,
    private readonly database: Database,
    private readonly partners: PartnerDirectory,
    private readonly outbox: Outbox,
    private readonly metrics: Metrics,
  ) {
    this.batcher = new Batcher({
      run: (movements) => this.store.accept(movements),
      batchMax: BATCH_MAX,
      flightsMax: FLIGHTS_MAX,
      queueMax: QUEUE_MAX,
      sourceOf: ({ rgsId }) => rgsId,
    });
  }

  /**
   * Stores the movement and its operator message in one commit. A repeat (same key and request, or same refId and data)
   * stands for the first. Throws unsupported_currency, validation_failed, idempotency_key_reused, reference_reused,
   * transaction_rolled_back, round_closed, signature_reused, store_unavailable.
   */
  async accept(context: MovementContext, request: DebitRequest | CreditRequest): Promise<AcceptedMovement> {
    let movement = this.newMovement(
      context,
      request,
      await this.partners.externalPlayerId(context.operator, context.rgs, request.playerId),
    );
    const refusal = (await this.untidyIds(movement)) ?? policyRefusal(context, movement);
    // Currency lists and limits may change between a request and its repeat, and then the repeat must still get its
    // response.
    if (refusal !== null && !(await this.store.isKnown(movement))) throw refusal;
    const other = `${movement.movement === 'debit' ? 'credit' : 'debit'}:${context.signature}`;
    // The same signature in flight as the other kind of movement: the database sees it only once that one is stored.
    while (this.signing.has(other)) await this.signing.get(other);
    let accepted = await this.withSignature(context, this.batcher.add(movement));
    // Each round refuses at least the request that held the key, so there are as many rounds as such requests at most.
    // The player of a round is who he was when his debit was taken, whatever the links and the template say by now.
    while (accepted.verdict === 'try_again' || accepted.verdict === 'other_player') {
      if (accepted.verdict === 'other_player')
        movement = this.newMovement(context, request, await this.playerOf(accepted.transactionId));
      accepted = await this.batcher.add(movement);
    }
    const { verdict, transactionId } = accepted;
    const created = verdict === 'created' || verdict === 'created_unmatched';
    this.metrics.movements.inc({ movement: movement.movement, verdict: created ? 'created' : verdict });
    if (created) this.outbox.wake(movement.isFree ? movement.rgsId : movement.operatorId, movement.rgsId);
    if (created && movement.isFree) this.metrics.settled.inc({ movement: movement.movement, state: 'confirmed' });
    if (verdict === 'signature_reused') throw new HubError('signature_reused');
    if (verdict === 'key_reused') throw new HubError('idempotency_key_reused');
    if (verdict === 'reference_reused')
      throw new HubError('reference_reused', transactionId === null ? {} : { correlationId: transactionId });
    if (verdict === 'rolled_back')
      throw new HubError('transaction_rolled_back', transactionId === null ? {} : { correlationId: transactionId });
    if (verdict === 'round_closed')
      throw new HubError('round_closed', {
        detail: `round is closed: ${JSON.stringify(movement.roundId)} takes no more bets of this player`,
      });
    invariant(transactionId !== null, () => `an accepted movement has no transaction (${verdict})`);
    const replayed = verdict === 'replayed';
    return {
      transactionId,
      refId: movement.refId,
      replayed,
      mayBeSettled: replayed || movement.isFree,
      warnings: [
        ...(movement.warnings ?? []),
        ...(verdict === 'created_unmatched' ? (['no_bet_in_round'] as const) : []),
      ],
    };
  }

  private async playerOf(betId: string | null): Promise<string> {
    const bet = betId === null ? undefined : await this.store.find(this.database, betId);
    invariant(bet !== undefined, () => `the bet ${betId ?? ''} of a round vanished while its win was taken`);
    return bet.externalPlayerId;
  }

  private async withSignature<T>({ movement, signature }: MovementContext, storing: Promise<T>): Promise<T> {
    if (signature === null) return storing;
    const key = `${movement}:${signature}`;
    const stored = storing.then(
      () => undefined,
      () => undefined,
    );
    this.signing.set(key, stored);
    try {
      return await storing;
    } finally {
      if (this.signing.get(key) === stored) this.signing.delete(key);
    }
  }

  findAny(transactionId: string): Promise<Transaction | undefined> {
    return this.store.findBatched(transactionId);
  }

  async find(rgs: Partner, transactionId: string): Promise<TransactionView> {
    const transaction = await this.store.find(this.database, transactionId);
    // Another partner's transaction is as unknown as one that does not exist.
    if (transaction === undefined || transaction.rgsId !== rgs.id) throw new HubError('not_found');
    return transactionView(transaction, await this.store.events([transactionId]));
  }

  async list(rgs: Partner, filter: TransactionFilter): Promise<TransactionPage> {
    const page = await readPage(
      filter.limit,
      (limit) => this.store.list(rgs.id, { ...filter, limit }),
      ({ id }) => id,
    );
    const events = await this.store.events(page.items.map(({ id }) => id));
    const items = page.items.map((transaction) =>
      transactionView(
        transaction,
        events.filter(({ transactionId }) => transactionId === transaction.id),
      ),
    );
    return { items, nextCursor: page.nextCursor };
  }

  /** Throws not_found. */
  async round(rgs: Partner, roundId: string): Promise<RoundView> {
    const round = await this.rounds.round(rgs.id, roundId);
    if (round.movementCount === 0) throw new HubError('not_found');
    return roundView(roundId, round);
  }

  /** Throws not_found. */
  async closeRound(rgs: Partner, roundId: string): Promise<RoundView> {
    if (!(await this.rounds.close(rgs.id, roundId))) throw new HubError('not_found');
    return this.round(rgs, roundId);
  }

  /**
   * A win is owed to the player whose debit was taken, however he was written then; all else under such a name is a
   * slip.
   */
  private async untidyIds(movement: NewMovement): Promise<HubError | null> {
    const { playerId, refId, roundId, gameId, sessionId } = movement;
    const violations = untidy({ playerId, refId, roundId, gameId, sessionId });
    if (violations.length === 0) return null;
    const isSlip =
      movement.movement === 'debit' ||
      violations.some(({ field }) => field === 'refId') ||
      !(await this.store.hasMoved(movement));
    return isSlip ? new HubError('validation_failed', { errors: violations }) : null;
  }

  private newMovement(
    context: MovementContext,
    request: DebitRequest | CreditRequest,
    externalPlayerId: string,
  ): NewMovement {
    const { rgs, operator, movement } = context;
    if (!isAddressablePlayer(externalPlayerId))
      throw new HubError('validation_failed', {
        errors: [{ field: 'playerId', message: 'playerId must not be "." or ".."' }],
      });
    const id = newId();
    const exponent = currencyExponent(request.currency, operator.currencyExponents);
    const amountMinor = BigInt(request.amountCents);
    const kind = request.kind ?? 'regular';
    const isFree = isFreeBet(movement, kind);
    const externalRef = externalReference(this.partners.pair(operator, rgs).referenceScope, request.refId, id);
    return {
      id,
      operatorId: operator.id,
      rgsId: rgs.id,
      movement,
      playerId: request.playerId,
      externalPlayerId,
      refId: request.refId,
      externalRef,
      amountMinor,
      currency: request.currency,
      exponent,
      kind,
      roundId: request.roundId ?? null,
      roundClosed: request.roundClosed ?? false,
      gameId: request.gameId ?? null,
      sessionId: request.sessionId ?? null,
      meta: request.meta === undefined ? null : JSON.stringify(request.meta),
      idempotencyKey: context.idempotencyKey,
      fingerprint: requestFingerprint(
        context.route,
        isEnvironmentPair(operator, rgs) ? null : operator.code,
        context.rawBody,
      ),
      signature:
        context.signature === null ? null : BigInt.asIntN(64, BigInt(`0x${context.signature.slice(0, 16)}`)).toString(),
      messageId: newId(),
      deadlineSeconds: movement === 'debit' ? this.config.debitDeadlineSeconds : 0,
      waited: context.waits,
      isFree,
      warnings: warningsOf(movement, kind, amountMinor, request.roundId ?? null),
      wantsMatch: movement === 'credit' && kind === 'regular' && amountMinor > 0n,
      ...(isFree
        ? freeBetMessage({
            playerId: request.playerId,
            amountMinor,
            currency: request.currency,
            refId: request.refId,
            transactionId: id,
            roundId: request.roundId ?? null,
          })
        : operatorMovementMessage(operator, {
            movement,
            externalPlayerId,
            amountMinor,
            exponent,
            currency: request.currency,
            refId: externalRef ?? request.refId,
            correlationId: id,
          })),
    };
  }
}

/** What can be seen in the request itself; whether anybody debit in its round is for the store to say. */
function warningsOf(
  movement: Direction,
  kind: MovementKind,
  amountMinor: bigint,
  roundId: string | null,
): WarningCode[] | null {
  if (amountMinor === 0n) return null;
  if (isFreeBet(movement, kind)) return ['nothing_taken'];
  return movement === 'credit' && kind === 'regular' && roundId === null ? ['no_round'] : null;
}

const WARNINGS: Readonly<Record<WarningCode, string>> = {
  no_bet_in_round: 'no bet of this player came in this round before; the win is paid all the same',
  no_round: 'without roundId nobody can tell which bet this win belongs to; it is paid all the same',
  nothing_taken: 'a bet of kind free or promo takes no money; amountCents is kept as its face value',
};

function warned(codes: readonly WarningCode[] | null): { warnings?: { code: WarningCode; message: string }[] } {
  return codes === null || codes.length === 0
    ? {}
    : { warnings: codes.map((code) => ({ code, message: WARNINGS[code] })) };
}

/** The webhook of a free bet, which is known from the start. */
function freeBetMessage(
  bet: Omit<RgsNotification, 'movement' | 'status' | 'state' | 'balanceMinor' | 'reason' | 'reasonCode'>,
): { path: string; body: string } {
  return {
    path: '',
    body: rgsWebhookBody({
      ...bet,
      movement: 'debit',
      status: 'OK',
      state: 'confirmed',
      balanceMinor: null,
      reason: null,
      reasonCode: null,
    }),
  };
}

function policyRefusal(
  { rgs, operator, movement: kind }: MovementContext,
  { currency, amountMinor }: NewMovement,
): HubError | null {
  for (const partner of [rgs, operator]) {
    const taken = partner.currencies.has(currency) || (kind === 'credit' && partner.retiredCurrencies.has(currency));
    if (!taken)
      return new HubError('unsupported_currency', {
        errors: [{ field: 'currency', message: currencyViolation(currency, partner) }],
      });
    if (kind === 'debit' && amountMinor > partner.amountMinorMax)
      return new HubError('validation_failed', {
        errors: [
          {
            field: 'amountCents',
            message: `amountCents must not exceed ${partner.amountMinorMax}, the limit of ${partner.code}`,
          },
        ],
      });
  }
  return null;
}

/** Names what would be taken, and the slip that is made most often. */
function currencyViolation(currency: string, { currencies, role }: Partner): string {
  const slip = currency.trim().toUpperCase();
  const hint = slip !== currency && currencies.has(slip) ? `; codes are three upper-case letters: ${slip}` : '';
  return `${JSON.stringify(currency)} is not one of the currencies of ${role === 'operator' ? 'the operator' : 'your game server'}, ${[...currencies].sort().join(', ')}${hint}`;
}

/** A pure function of what never changes about a transaction, so storing the response would only cost space. */
export function initialResponse(
  refId: string,
  transactionId: string,
  warnings: readonly WarningCode[] | null,
): MovementResponse {
  return {
    status: 'initiated',
    refId,
    correlationId: transactionId,
    balanceCents: null,
    reason: null,
    reasonCode: null,
    transactionId,
    ...warned(warnings),
  };
}

export function transactionView(transaction: Transaction, events: readonly TransactionEvent[]): TransactionView {
  // What was never changed was accepted as it is: a rollback with nothing to undo, and the place that it holds.
  const accepted: TimelineEntry = {
    at: transaction.createdAt.toISOString(),
    event: 'accepted',
    source: 'rgs',
    from: null,
    to: events[0]?.from ?? transaction.state,
    evidence: {},
  };
  return {
    transactionId: transaction.id,
    correlationId: transaction.id,
    refId: transaction.refId,
    playerId: transaction.playerId,
    event: transaction.movement,
    amountCents: Number(transaction.amountMinor),
    currency: transaction.currency,
    state: transaction.state,
    status: statusOf(transaction),
    balanceCents: transaction.balanceMinor === null ? null : Number(transaction.balanceMinor),
    reason: transaction.reason,
    reasonCode: notifiedReasonCode(transaction),
    applied: transaction.applied,
    originalTransactionId: transaction.originalId,
    kind: transaction.kind,
    roundId: transaction.roundId,
    roundClosed: transaction.roundClosed,
    gameId: transaction.gameId,
    sessionId: transaction.sessionId,
    meta: transaction.meta,
    warnings: warned(transaction.warnings).warnings ?? [],
    createdAt: transaction.createdAt.toISOString(),
    // A process of the release before may have left a time on a debit that is being refunded.
    settledAt: ENDED.has(transaction.state) ? (transaction.settledAt?.toISOString() ?? null) : null,
    timeline: [
      accepted,
      ...events.map((event): TimelineEntry => ({
        at: event.at.toISOString(),
        event: event.kind,
        source: event.source,
        from: event.from,
        to: event.to,
        evidence: event.evidence,
      })),
    ],
  };
}

/** A rollback's reason is the RGS's own text, and no refusal. */
function notifiedReasonCode({ movement, state, reason, reasonCode }: Transaction): ReasonCode | null {
  if (reasonCode !== null || movement === 'rollback') return reasonCode;
  return ENDED.has(state) ? reasonCodeOfFormer(reason) : null;
}

/** The outcome with the operator's own balance; "initiated" while there is none. */
export function outcomeResponse(transaction: Transaction): MovementResponse {
  return {
    status: statusOf(transaction),
    refId: transaction.refId,
    correlationId: transaction.id,
    balanceCents: transaction.balanceMinor === null ? null : Number(transaction.balanceMinor),
    reason: transaction.reason,
    reasonCode: notifiedReasonCode(transaction),
    transactionId: transaction.id,
    ...warned(transaction.warnings),
  };
}

/**
 * What became of the debit that a rollback names. Only facts that are final are read, so that it says the same every
 * time.
 */
export function rollbackResult(rollback: Transaction, bet: Transaction): RollbackResult {
  if (rollback.applied === null) return 'in_progress';
  if (rollback.applied) return 'undone';
  if (bet.tombstone) return 'never_received';
  if (bet.state !== 'rejected') return 'bet_stands';
  const why = notifiedReasonCode(bet);
  return why === 'deadline' || why === 'rolled_back' ? 'never_sent' : 'refused';
}

export function statusOf({ state }: Transaction): OutcomeStatus {
  switch (state) {
    case 'confirmed':
    case 'rolling_back':
      return 'OK';
    case 'rejected':
      return 'REJECTED';
    case 'rolled_back':
    case 'compensated':
      return 'ROLLED_BACK';
    case 'initiated':
    case 'unknown':
    case 'parked':
    case 'compensating':
      return 'initiated';
  }
}
