import { roundView } from '../../src/wallet/rounds.dto';
import type { Round } from '../../src/wallet/rounds.store';
import type { Transaction } from '../../src/wallet/transaction';
import { TRANSITIONS, type TransactionState } from '../../src/wallet/transaction-state';

const AT = new Date('2026-11-23T12:00:00Z');
let number = 0;
const transaction = (
  movement: Transaction['movement'],
  state: TransactionState,
  change: Partial<Transaction> = {},
): Transaction => ({
  id: `id-${(number += 1)}`,
  operatorId: 1,
  rgsId: 2,
  movement,
  playerId: 'ann',
  externalPlayerId: 'ann',
  operatorReference: 'ref',
  refId: `ref-${number}`,
  amountMinor: 500n,
  currency: 'USD',
  exponent: 2,
  kind: 'regular',
  roundId: 'r',
  roundClosed: false,
  gameId: null,
  sessionId: null,
  meta: null,
  state,
  balanceMinor: null,
  reason: null,
  reasonCode: null,
  warnings: null,
  messageId: 'm',
  originalId: null,
  tombstone: false,
  reversal: null,
  reversalMessageId: null,
  absentForMs: null,
  pastDeadline: false,
  applied: null,
  waited: false,
  createdAt: AT,
  settledAt: null,
  ...change,
});
const open = [{ openedAt: AT, closedAt: null }];
const closed = [{ openedAt: AT, closedAt: new Date('2026-11-23T12:01:00Z') }];

/** A tally per transaction: how the store groups them is its own affair. */
const roundOf = (transactions: readonly Transaction[], players: Round['players']): Round => ({
  players,
  transactions,
  strayCredits: [],
  movementCount: transactions.length,
  tallies: transactions.flatMap(({ movement, currency, state, tombstone, amountMinor }) =>
    movement === 'rollback' ? [] : [{ movement, currency, state, tombstone, amountMinor, movements: 1 }],
  ),
});
const view = (transactions: readonly Transaction[], players: Round['players']) =>
  roundView('r', roundOf(transactions, players));

const UNDONE: readonly TransactionState[] = ['rejected', 'rolled_back', 'compensated'];
const COUNTED: readonly TransactionState[] = ['confirmed', 'rolling_back'];

describe('a round', () => {
  it.each(
    (Object.keys(TRANSITIONS) as TransactionState[]).map((state) => ({
      state,
      cancelled: UNDONE.includes(state),
      counted: COUNTED.includes(state),
    })),
  )('with one bet that is $state: cancelled $cancelled, counted $counted', ({ state, cancelled, counted }) => {
    const bet = transaction('debit', state);
    expect(view([bet], open)).toMatchObject({
      state: cancelled ? 'cancelled' : 'open',
      totals: [
        {
          currency: 'USD',
          debitedCents: counted ? 500 : 0,
          creditedCents: 0,
          openMovements: cancelled || counted ? 0 : 1,
        },
      ],
    });
    expect(view([bet], closed).state).toBe(cancelled ? 'cancelled' : 'completed');
  });

  it('is cancelled only when no bet of it stands and nothing was won', () => {
    const gone = transaction('debit', 'rolled_back');
    expect(view([gone, transaction('debit', 'confirmed')], open).state).toBe('open');
    expect(view([gone, transaction('credit', 'confirmed')], open).state).toBe('open');
    expect(view([gone, transaction('credit', 'rejected')], open).state).toBe('cancelled');
    expect(view([transaction('credit', 'confirmed', { kind: 'free' })], open).state).toBe('open');
  });

  it('is completed when it is closed for every player, at the time of the last', () => {
    const bets = [transaction('debit', 'confirmed'), transaction('debit', 'confirmed', { playerId: 'bob' })];
    const later = { openedAt: AT, closedAt: new Date('2026-11-23T12:05:00Z') };
    expect(view(bets, [...closed, ...open])).toMatchObject({ state: 'open', closedAt: null });
    expect(view(bets, [...closed, later])).toMatchObject({
      state: 'completed',
      openedAt: '2026-11-23T12:00:00.000Z',
      closedAt: '2026-11-23T12:05:00.000Z',
    });
  });

  it('sums up by currency what counts, exactly', () => {
    const sums = view(
      [
        transaction('debit', 'confirmed', { amountMinor: 9_007_199_254_740_990n }),
        transaction('debit', 'compensated', { amountMinor: 77n }),
        transaction('credit', 'confirmed', { amountMinor: 900n }),
        transaction('credit', 'parked', { amountMinor: 33n }),
        transaction('credit', 'confirmed', { amountMinor: 1n, currency: 'EUR', kind: 'promo' }),
      ],
      open,
    );
    expect(sums.totals).toEqual([
      { currency: 'USD', debitedCents: 9_007_199_254_740_990, creditedCents: 900, openMovements: 1 },
      { currency: 'EUR', debitedCents: 0, creditedCents: 1, openMovements: 0 },
    ]);
    expect(sums.movements).toHaveLength(5);
  });

  it('of a bet that was rolled back before it came is cancelled and has no totals', () => {
    const place = transaction('debit', 'rolled_back', { tombstone: true, currency: '', amountMinor: 0n });
    const undo = transaction('rollback', 'confirmed', { originalId: place.id, currency: '', amountMinor: 0n });
    expect(view([place, undo], [])).toMatchObject({ state: 'cancelled', totals: [], violations: [] });
    expect(view([place, undo, transaction('debit', 'confirmed')], open).state).toBe('open');
    expect(view([place, undo, transaction('credit', 'confirmed', { kind: 'free' })], open).state).toBe('open');
  });

  it('says what is not as it should be', () => {
    expect(roundView('r', { ...roundOf([], open), strayCredits: ['win'] }).violations).toEqual([
      'regular credit win has no standing bet of its player',
    ]);
  });
});
