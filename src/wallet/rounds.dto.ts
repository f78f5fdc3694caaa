import { ApiProperty } from '@nestjs/swagger';
import type { Round, RoundTally } from './rounds.store';

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
  @ApiProperty({ type: 'integer', description: 'Applied debits, without those undone; minor units', example: 500 })
  debitedCents!: number;
  @ApiProperty({ type: 'integer', description: 'Applied credits; minor units', example: 1250 }) creditedCents!: number;
  @ApiProperty({ type: 'integer', description: 'Movements without a final outcome', example: 0 })
  openMovements!: number;
}

export class RoundView {
  @ApiProperty({ example: 'round-77' }) roundId!: string;
  @ApiProperty({
    enum: ['open', 'completed', 'cancelled'],
    description: 'cancelled: no bet of the round is in effect, or can still arrive, and nothing was won',
    example: 'completed',
  })
  state!: RoundState;
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) openedAt!: string;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, example: '2026-11-23T12:00:09.000Z' }) closedAt!:
    string | null;
  @ApiProperty({ type: [RoundTotal] }) totals!: RoundTotal[];
  @ApiProperty({
    type: [String],
    description: 'Inconsistencies of the round, in words, at most 100',
    example: [],
  })
  violations!: string[];
  @ApiProperty({
    type: 'integer',
    description: 'All movements of the round, also those that are not listed here',
    example: 2,
  })
  movementCount!: number;
  @ApiProperty({
    type: [RoundMovement],
    description: 'The first 1000, oldest first; `GET /wallet/transactions?roundId=` pages through all of them',
  })
  movements!: RoundMovement[];
}

const UNDONE: ReadonlySet<string> = new Set(['rejected', 'rolled_back', 'compensated']);
const APPLIED: ReadonlySet<string> = new Set(['confirmed', 'rolling_back']);

/** What a round looks like. Pure. */
export function roundView(
  roundId: string,
  { players, tallies, strayCredits, transactions, movementCount }: Round,
): RoundView {
  const closed = players.length > 0 && players.every(({ closedAt }) => closedAt !== null);
  // A place that a rollback holds is a debit that will never stand.
  const cancelled =
    tallies.some(({ movement }) => movement === 'debit') && tallies.every(({ state }) => UNDONE.has(state));
  const closedAt = closed
    ? (players.map(({ closedAt: at }) => at).sort((a, b) => Number(b) - Number(a))[0] ?? null)
    : null;
  const openedAt = players[0]?.openedAt ?? transactions[0]?.createdAt ?? new Date(0);
  const counted = tallies.filter(({ tombstone }) => !tombstone);
  return {
    roundId,
    state: cancelled ? 'cancelled' : closed ? 'completed' : 'open',
    openedAt: openedAt.toISOString(),
    closedAt: closedAt?.toISOString() ?? null,
    totals: [...new Set(counted.map(({ currency }) => currency))].map((currency) =>
      totalOf(
        currency,
        counted.filter((tally) => tally.currency === currency),
      ),
    ),
    // A win is never gated, so what should not be in a round is taken and said.
    violations: strayCredits.map((refId) => `regular credit ${refId} has no standing bet of its player`),
    movementCount,
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

function totalOf(currency: string, tallies: readonly RoundTally[]): RoundTotal {
  const sum = (movement: RoundTally['movement']) =>
    Number(
      tallies
        .filter((tally) => tally.movement === movement && APPLIED.has(tally.state))
        .reduce((total, { amountMinor }) => total + amountMinor, 0n),
    );
  const openMovements = tallies
    .filter(({ state }) => !APPLIED.has(state) && !UNDONE.has(state))
    .reduce((total, { movements }) => total + movements, 0);
  return { currency, debitedCents: sum('debit'), creditedCents: sum('credit'), openMovements };
}
