import { Injectable, type OnModuleInit } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { Tx } from '../database/database';
import { MINOR_UNITS_MAX, toMinorUnits } from '../kernel/money';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import type { DeliveryHandler } from '../outbox/delivery-handler';
import { Outbox } from '../outbox/outbox';
import type { Disposition, NewMessage, OperatorResult, Outcome } from '../outbox/outbox-message';
import type { OutcomeClass } from '../partners/operator-wire';
import { PartnerDirectory } from '../partners/partner-directory';
import { type RgsOutcome, rgsWebhookBody } from '../partners/rgs-wire';
import { type Decision, type Evidence, SETTLED, decide, endOf } from './transaction-state';
import { type Transaction, type TransactionChange, WalletStore } from './wallet.store';

/** What an operator said about one transaction. */
export interface Statement {
  readonly transactionId: string;
  readonly class: OutcomeClass;
  readonly source: Evidence['source'];
  readonly reason: string | null;
  /** Major units as the operator wrote them. */
  readonly balance: string | null;
  readonly lastAttempt: boolean;
  readonly repeated: boolean;
  /** Kept in the transaction's history. */
  readonly evidence: Record<string, unknown>;
}

/** Applies what operators say to transactions: state, history and the one webhook to the RGS, in the caller's transaction. */
@Injectable()
export class Settlement implements DeliveryHandler, OnModuleInit {
  constructor(
    private readonly store: WalletStore,
    private readonly outbox: Outbox,
    private readonly partners: PartnerDirectory,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(this);
  }

  async settle(tx: Tx, results: readonly OperatorResult[]): Promise<Disposition[]> {
    const decisions = await this.apply(
      tx,
      results.map((result) => statementOf(result)),
    );
    return results.map((result, index) => dispositionOf(result, decisions[index]?.message ?? 'proposed'));
  }

  async alreadySettled(transactionIds: readonly string[]): Promise<ReadonlyMap<string, Outcome>> {
    const states = await this.store.states(transactionIds);
    return new Map([...states].filter(([, state]) => SETTLED.has(state)).map(([id, state]) => [id, endOf(state)]));
  }

  async refuseReplay(tx: Tx, transactionId: string): Promise<string | null> {
    const transaction = (await this.store.lock(tx, [transactionId])).get(transactionId);
    if (transaction === undefined) return null;
    if (transaction.state === 'rejected') return 'the transaction was rejected and the RGS was told so; sending it again could take the money after all';
    const operator = this.partners.byId(transaction.operatorId);
    return operator.idempotentByReference ? null : 'the operator does not recognise a repeated reference; sending it again could move the money twice';
  }

  /** One decision per statement, in order. The caller holds the lanes of all transactions. */
  async apply(tx: Tx, statements: readonly Statement[]): Promise<Decision[]> {
    const transactions = await this.store.lock(tx, [...new Set(statements.map(({ transactionId }) => transactionId))]);
    const decisions: Decision[] = [];
    // Two statements about one transaction in a batch (its message was replayed while it was in flight) are told apart by waves.
    const seen = new Set<string>();
    let changes: TransactionChange[] = [];
    const notices: { transaction: Transaction; outcome: RgsOutcome }[] = [];
    for (const statement of statements) {
      const transaction = transactions.get(statement.transactionId);
      if (transaction === undefined) throw new Error(`message of transaction ${statement.transactionId}, which does not exist`);
      if (seen.has(transaction.id)) {
        await this.store.change(tx, changes);
        changes = [];
        seen.clear();
      }
      const decision = decide({ ...statement, state: transaction.state, movement: transaction.movement, idempotentByReference: this.partners.byId(transaction.operatorId).idempotentByReference });
      decisions.push(decision);
      const change = changeOf(transaction, statement, decision);
      if (change === null) continue;
      seen.add(transaction.id);
      changes.push(change);
      if (change.kind === 'contradiction') {
        tx.afterCommit(() => this.reportContradiction(transaction, statement));
        continue;
      }
      const moved = { ...transaction, state: change.to, balanceMinor: change.balanceMinor ?? transaction.balanceMinor, reason: change.reason };
      transactions.set(transaction.id, moved);
      if (decision.notice !== null) notices.push({ transaction: moved, outcome: decision.notice });
      tx.afterCommit(() => this.reportTransition(moved, change));
    }
    await this.store.change(tx, changes);
    await this.tell(tx, notices);
    return decisions;
  }

  private async tell(tx: Tx, notices: readonly { transaction: Transaction; outcome: RgsOutcome }[]): Promise<void> {
    const planned = notices.map(({ transaction, outcome }) => ({ transactionId: transaction.id, outcome, messageId: uuidv7(), transaction }));
    const claimed = await this.store.claimOutcomes(tx, planned);
    await this.outbox.enqueue(
      tx,
      planned.filter(({ transactionId }) => claimed.has(transactionId)).map(({ transaction, outcome, messageId }) => webhookMessage(transaction, outcome, messageId)),
    );
  }

  private reportTransition(transaction: Transaction, change: TransactionChange): void {
    this.metrics.settled.inc({ movement: transaction.movement, state: change.to });
    if (change.to === 'parked') this.metrics.parked.inc({ movement: transaction.movement });
    this.logger.event(change.to === 'parked' ? 'error' : 'info', 'wallet.state_changed', {
      correlationId: transaction.id,
      movement: transaction.movement,
      from: change.from,
      to: change.to,
      source: change.source,
      reason: change.reason,
    });
  }

  private reportContradiction(transaction: Transaction, statement: Statement): void {
    this.metrics.contradictions.inc();
    this.logger.event('error', 'wallet.contradiction', { correlationId: transaction.id, state: transaction.state, said: statement.class, source: statement.source, reason: statement.reason });
  }
}

function statementOf(result: OperatorResult): Statement {
  const { message, verdict } = result;
  if (message.transactionId === null) throw new Error(`operator message ${message.id} carries no transaction`);
  return {
    transactionId: message.transactionId,
    class: verdict.class,
    source: 'operator_response',
    reason: verdict.reason,
    balance: verdict.balance,
    lastAttempt: result.ifUnknown.outcome === 'blocked' || result.ifUnknown.outcome === 'dead',
    repeated: message.attempts > 0 || result.tries > 1,
    evidence: { attempt: message.attempts + 1, status: result.status, class: verdict.class, reason: verdict.reason, balance: verdict.balance },
  };
}

function dispositionOf(result: OperatorResult, message: Decision['message']): Disposition {
  switch (message) {
    case 'proposed':
      return result.proposed;
    case 'if_unknown':
      return result.ifUnknown;
    case 'sent':
    case 'dead':
    case 'blocked':
      return { outcome: message, delayMs: 0 };
  }
}

function changeOf(transaction: Transaction, statement: Statement, decision: Decision): TransactionChange | null {
  if (decision.to === null && !decision.contradiction) return null;
  const to = decision.to ?? transaction.state;
  return {
    transactionId: transaction.id,
    kind: decision.contradiction ? 'contradiction' : 'transition',
    source: statement.source,
    from: transaction.state,
    to,
    balanceMinor: balanceOf(statement, transaction.exponent),
    reason: to === 'confirmed' ? null : statement.reason,
    evidence: statement.evidence,
  };
}

/** Null for a balance that is no amount or that no JSON client would read exactly: told wrong it would be worse than not told. */
function balanceOf({ balance }: Statement, exponent: number): bigint | null {
  const minor = balance === null ? null : toMinorUnits(balance, exponent);
  return minor !== null && minor <= MINOR_UNITS_MAX && minor >= -MINOR_UNITS_MAX ? minor : null;
}

function webhookMessage(transaction: Transaction, outcome: RgsOutcome, messageId: string): NewMessage {
  return {
    id: messageId,
    destinationId: transaction.rgsId,
    operatorId: transaction.operatorId,
    rgsId: transaction.rgsId,
    laneKey: transaction.playerId,
    eventType: transaction.movement,
    transactionId: transaction.id,
    path: '',
    body: rgsWebhookBody({
      playerId: transaction.playerId,
      amountMinor: transaction.amountMinor,
      currency: transaction.currency,
      status: outcome,
      movement: transaction.movement,
      refId: transaction.refId,
      transactionId: transaction.id,
      state: transaction.state,
      roundId: transaction.roundId,
      balanceMinor: transaction.balanceMinor,
      reason: transaction.reason,
    }),
  };
}
