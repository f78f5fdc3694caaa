import { ApiProperty } from '@nestjs/swagger';
import type { Transaction } from './wallet.store';

export type RoundState = 'open' | 'completed' | 'cancelled';

export class RoundMovement {
  @ApiProperty({ format: 'uuid', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' }) transactionId!: string;
  @ApiProperty({ example: 'bet-1001' }) refId!: string;
  @ApiProperty({ example: 'player-1' }) playerId!: string;
  @ApiProperty({ enum: ['debit', 'credit', 'rollback'], example: 'debit' }) event!: string;
  @ApiProperty({ type: 'integer', description: 'Minor units', example: 500 }) amountCents!: number;
  @ApiProperty({ example: 'USD' }) currency!: string;
  @ApiProperty({ description: 'As in the transaction', example: 'confirmed' }) state!: string;
  @ApiProperty({ enum: ['regular', 'free', 'promo', 'jackpot'], example: 'regular' }) kind!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) createdAt!: string;
}

export class RoundTotal {
  @ApiProperty({ example: 'USD' }) currency!: string;
  @ApiProperty({ type: 'integer', description: 'Applied stakes, without those undone; minor units', example: 500 }) debitedCents!: number;
  @ApiProperty({ type: 'integer', description: 'Applied wins; minor units', example: 1250 }) creditedCents!: number;
  @ApiProperty({ type: 'integer', description: 'Movements without a final outcome', example: 0 }) openMovements!: number;
}

export class RoundView {
  @ApiProperty({ example: 'round-77' }) roundId!: string;
  @ApiProperty({ enum: ['open', 'completed', 'cancelled'], description: 'cancelled: no bet of the round stands and nothing was won', example: 'completed' }) state!: RoundState;
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) openedAt!: string;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, example: '2026-11-23T12:00:09.000Z' }) closedAt!: string | null;
  @ApiProperty({ type: [RoundTotal] }) totals!: RoundTotal[];
  @ApiProperty({ type: [String], description: 'What is not as a round should be, in words; empty when all is well', example: [] }) violations!: string[];
  @ApiProperty({ type: [RoundMovement] }) movements!: RoundMovement[];
}

const UNDONE: ReadonlySet<string> = new Set(['rejected', 'rolled_back', 'compensated']);
const APPLIED: ReadonlySet<string> = new Set(['confirmed', 'rolling_back']);

/** What a round looks like from its movements. Pure. */
export function roundView(roundId: string, transactions: readonly Transaction[], players: readonly { openedAt: Date; closedAt: Date | null }[]): RoundView {
  const debits = transactions.filter(({ movement, tombstone }) => movement === 'debit' && !tombstone);
  const credits = transactions.filter(({ movement }) => movement === 'credit');
  const closed = players.length > 0 && players.every(({ closedAt }) => closedAt !== null);
  const cancelled = debits.length > 0 && debits.every(({ state }) => UNDONE.has(state)) && credits.every(({ state }) => UNDONE.has(state));
  const closedAt = closed ? (players.map(({ closedAt: at }) => at).sort((a, b) => Number(b) - Number(a))[0] ?? null) : null;
  const openedAt = players[0]?.openedAt ?? transactions[0]?.createdAt ?? new Date(0);
  return {
    roundId,
    state: cancelled ? 'cancelled' : closed ? 'completed' : 'open',
    openedAt: openedAt.toISOString(),
    closedAt: closedAt?.toISOString() ?? null,
    totals: [...new Set([...debits, ...credits].map(({ currency }) => currency))].map((currency) => totalOf(currency, debits, credits)),
    violations: violationsOf(debits, credits),
    movements: transactions.map((transaction) => ({
      transactionId: transaction.id,
      refId: transaction.refId,
      playerId: transaction.playerId,
      event: transaction.movement,
      amountCents: Number(transaction.amountMinor),
      currency: transaction.currency,
      state: transaction.state,
      kind: transaction.kind,
      createdAt: transaction.createdAt.toISOString(),
    })),
  };
}

function totalOf(currency: string, debits: readonly Transaction[], credits: readonly Transaction[]): RoundTotal {
  const sum = (transactions: readonly Transaction[]) =>
    Number(transactions.filter((transaction) => transaction.currency === currency && APPLIED.has(transaction.state)).reduce((total, { amountMinor }) => total + amountMinor, 0n));
  const open = [...debits, ...credits].filter((transaction) => transaction.currency === currency && !APPLIED.has(transaction.state) && !UNDONE.has(transaction.state));
  return { currency, debitedCents: sum(debits), creditedCents: sum(credits), openMovements: open.length };
}

/** A win is never gated, so what should not be in a round is taken and said. */
function violationsOf(debits: readonly Transaction[], credits: readonly Transaction[]): string[] {
  return credits
    .filter(({ kind, playerId }) => kind === 'regular' && !debits.some((debit) => debit.playerId === playerId && !UNDONE.has(debit.state)))
    .map(({ refId }) => `regular credit ${refId} has no standing bet of its player`);
}
