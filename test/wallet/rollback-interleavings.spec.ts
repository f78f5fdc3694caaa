import fc from 'fast-check';
import type { HttpAnswer } from '../support/hub/signed-request';
import { rollback } from '../support/money';
import { TestHub } from '../support/hub/test-hub';

type Step = 'bet' | 'undo' | 'undo again' | 'undo otherwise';

interface Game {
  readonly playerId: string;
  /** What the RGS sends, in this order; neighbours that are joined go out at the same moment. */
  readonly steps: readonly { readonly step: Step; readonly joined: boolean }[];
}

/** At least one rollback among bets and duplicates, in any order. */
const steps = fc
  .array(
    fc.record({
      step: fc.constantFrom<Step>('bet', 'bet', 'undo', 'undo again', 'undo otherwise'),
      joined: fc.boolean(),
    }),
    { minLength: 2, maxLength: 4 },
  )
  .filter((list) => list.some(({ step }) => step !== 'bet'));

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

const GAMES = 1000;
/**
 * Of games, on two hubs: more would wait for connections longer than a hub lets them wait, on a machine that is busy.
 */
const AT_ONCE = 100;

const TRIES_MAX = 5;

describe('bets, rollbacks and their duplicates in any order', () => {
  let hub: TestHub;
  let second: TestHub;
  const env = {
    DEBIT_DEADLINE_SECONDS: '0',
    RESOLVE_GRACE_SECONDS: '0.05',
    MAX_RETRIES: '1',
    BREAKER_FAILURES: '10000',
    OPERATOR_TIMEOUT_MS: '2000',
    OUTBOX_LEASE_SECONDS: '15',
    OUTBOX_CONCURRENCY: '64',
  };
  beforeAll(async () => {
    hub = await TestHub.start({ env });
    second = await TestHub.start({ env, database: hub.database, operator: hub.operator, rgs: hub.rgs });
  });
  afterAll(async () => {
    await second.stop();
    await hub.stop();
  });

  const send = ({ playerId }: Game, step: Step, through: TestHub): Promise<HttpAnswer> => {
    switch (step) {
      case 'bet':
        return through.debit(
          { playerId, refId: `bet-${playerId}`, amountCents: 700 },
          { idempotencyKey: `bet-${playerId}` },
        );
      case 'undo':
        return rollback(
          through,
          { playerId, refId: 'undo', originalRefId: `bet-${playerId}` },
          { idempotencyKey: `undo-${playerId}` },
        );
      case 'undo again':
        return rollback(through, { playerId, refId: 'undo', originalRefId: `bet-${playerId}` });
      case 'undo otherwise':
        return rollback(through, { playerId, refId: 'undo-2', originalRefId: `bet-${playerId}` });
    }
  };

  /**
   * A 503 says that nobody knows, and the same request again finds out: a busy machine runs out of connections for a
   * moment.
   */
  const untilAnswered = async (request: () => Promise<HttpAnswer>): Promise<HttpAnswer> => {
    for (let tries = 1; ; tries += 1) {
      const answer = await request();
      if (answer.status !== 503 || tries === TRIES_MAX) return answer;
    }
  };

  const play = async (game: Game): Promise<HttpAnswer[]> => {
    const answers: HttpAnswer[] = [];
    let together: Promise<HttpAnswer>[] = [];
    for (const [index, { step, joined }] of game.steps.entries()) {
      if (!joined) {
        answers.push(...(await Promise.all(together)));
        together = [];
      }
      together.push(untilAnswered(() => send(game, step, index % 2 === 0 ? hub : second)));
    }
    return [...answers, ...(await Promise.all(together))];
  };

  it(`keep the net at 0 in ${GAMES} random interleavings on two hubs, with an operator that loses answers`, async () => {
    await hub.operatorFault({ kind: 'reset', afterCommit: true, share: 0.05, seed: 1 });
    await hub.operatorFault({ kind: 'reset', share: 0.05, seed: 2 });
    await hub.operatorFault({ kind: 'status', status: 500, share: 0.05, seed: 3 });
    const seed = 20261123;
    const games: Game[] = fc
      .sample(steps, { numRuns: GAMES, seed })
      .map((list, index) => ({ playerId: `p${index}`, steps: list }));
    for (let first = 0; first < games.length; first += AT_ONCE) {
      const batch = games.slice(first, first + AT_ONCE);
      const answers = await Promise.all(batch.map(play));
      // A bet is taken, or kept out by a rollback that was first; a rollback is always taken.
      batch.forEach((game, index) => {
        const odd = (answers[index] ?? [])
          .filter(({ status, body }) => status !== 200 && body?.code !== 'transaction_rolled_back')
          .map(({ status, text }) => ({ game, status, text }));
        expect(odd).toEqual([]);
      });
    }
    await hub.drained(60_000);

    const rows = await hub.database.query<{
      player_id: string;
      movement: string;
      state: string;
      tombstone: boolean;
      applied: boolean | null;
      ref_id: string;
    }>('select player_id, movement, state, tombstone, applied, ref_id from wallet_transaction');
    const byPlayer = grouped(rows, ({ player_id }) => player_id);
    const books = grouped(await hub.operatorBooks(), ({ playerId }) => playerId);
    const toldOf = grouped(await hub.rgsReceived(), ({ playerId }) => playerId);
    const wrong = games.flatMap(({ playerId, steps: list }) => {
      const transactions = byPlayer.get(playerId) ?? [];
      const bet = transactions.find(({ movement }) => movement === 'debit');
      const undos = transactions.filter(({ movement }) => movement === 'rollback');
      const booking = (books.get(playerId) ?? []).map(({ direction, reference }) => `${direction} ${reference}`);
      const words = (toldOf.get(playerId) ?? []).map(({ status }) => status);
      const undone = bet !== undefined && ['rolled_back', 'compensated', 'rejected'].includes(bet.state);
      const moved = bet !== undefined && !bet.tombstone && bet.state !== 'rejected';
      const sound =
        undone &&
        undos.length ===
          new Set(list.filter(({ step }) => step !== 'bet').map(({ step }) => (step === 'undo otherwise' ? 2 : 1)))
            .size &&
        undos.every(({ state, applied }) => state === 'confirmed' && applied === moved) &&
        booking.join() === (moved ? `withdraw bet-${playerId},deposit rollback:bet-${playerId}` : '') &&
        words.join() ===
          (bet.tombstone
            ? ''
            : bet.state === 'rejected'
              ? 'REJECTED'
              : bet.state === 'compensated'
                ? 'ROLLED_BACK'
                : 'OK,ROLLED_BACK');
      return sound ? [] : [{ playerId, list, bet, undos, booking, words }];
    });
    expect(wrong.slice(0, 3)).toEqual([]);

    // The dice covered what they should: bets kept out, ended unsent or refused, undone after and before they were
    // told.
    const ends = new Set(
      rows
        .filter(({ movement }) => movement === 'debit')
        .map(({ state, tombstone }) => (tombstone ? 'kept out' : state)),
    );
    expect([...ends].sort()).toEqual(['compensated', 'kept out', 'rejected', 'rolled_back']);
    // The operator's own sums say the same; fifty of them will do, since the books were read in full.
    const nets = await Promise.all(
      games.slice(0, 50).map(async ({ playerId }) => (await hub.player(playerId)).net.USD ?? '0'),
    );
    expect(nets.filter((net) => net !== '0')).toEqual([]);
  }, 90_000);

  it('a bet and its rollback at the same moment, a hundred times: never a stake without its repayment', async () => {
    const players = Array.from({ length: 100 }, (_, index) => `q${index}`);
    await Promise.all(
      players.flatMap((playerId, index) => [
        (index % 2 === 0 ? hub : second).debit({ playerId, refId: `bet-${playerId}` }),
        rollback(index % 3 === 0 ? hub : second, { playerId, refId: 'undo', originalRefId: `bet-${playerId}` }),
      ]),
    );
    await hub.drained(30_000);
    const books = grouped(await hub.operatorBooks(), ({ playerId }) => playerId);
    for (const playerId of players)
      expect(['', `withdraw bet-${playerId},deposit rollback:bet-${playerId}`]).toContain(
        (books.get(playerId) ?? []).map(({ direction, reference }) => `${direction} ${reference}`).join(),
      );
  });
});
