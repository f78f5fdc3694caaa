import { Injectable } from '@nestjs/common';
import { Database, ReportsDatabase } from '../database/database';
import type { Direction } from '../partners/operator-wire';
import { COLUMNS, type Transaction, type TransactionRow, transactionOf } from './transaction';
import type { TransactionState } from './transaction-state';

/** A round's debits or credits of one currency that are in one state. */
export interface RoundTally {
  readonly movement: Direction;
  readonly currency: string;
  readonly state: TransactionState;
  /** Places of debits that were rolled back before they came; their currency is empty. */
  readonly tombstone: boolean;
  readonly movements: number;
  readonly amountMinor: bigint;
}

export interface Round {
  readonly players: readonly { readonly openedAt: Date; readonly closedAt: Date | null }[];
  /** Over all movements of the round, however many it has. */
  readonly tallies: readonly RoundTally[];
  /** refIds of regular credits whose player has no standing debit in the round, the first hundred. */
  readonly strayCredits: readonly string[];
  /** Its first movements, oldest first. */
  readonly transactions: readonly Transaction[];
  /** Of all its movements, rollbacks and held places included. */
  readonly movementCount: number;
}

const MOVEMENTS_MAX = 1000;

/** Of a transaction: it is of the round $2 of RGS $1. */
const IN_ROUND = 'rgs_id = $1 and round_hash = wallet_hash($2) and round_id = $2';
/** wallet_round is in the order of players, so its rows of a round are found by the players that moved money in it. */
const PLAYERS = `with player as materialized (select distinct player_id, operator_id from wallet_transaction where ${IN_ROUND})`;
const OF_PLAYER = `w.rgs_id = $1 and w.player_hash = wallet_hash(p.player_id) and w.player_round_hash = wallet_player_round_hash($2, p.player_id, p.operator_id)
  and w.round_id = $2 and w.player_id = p.player_id and w.operator_id = p.operator_id`;

/** SQL of rounds: the movements of one `roundId`, and the row per player that says whether the round is closed. */
@Injectable()
export class RoundsStore {
  constructor(
    private readonly database: Database,
    private readonly reports: ReportsDatabase,
  ) {}

  /**
   * Totals are summed up here and not over the listed movements: a tournament's round can have more of them than one
   * answer should carry, and a partial total would be a wrong one.
   */
  async round(rgsId: number, roundId: string): Promise<Round> {
    const tallies = await this.database.rows<{
      movement: Direction | 'rollback';
      currency: string;
      state: TransactionState;
      tombstone: boolean;
      n: string;
      amount_minor: string;
    }>(
      // What no message goes with, such as a free bet, moves no money.
      `select movement, currency, state, tombstone, count(*) as n, sum(case when message_id is null then 0 else amount_minor end) as amount_minor from wallet_transaction where ${IN_ROUND}
       group by movement, currency, state, tombstone order by min(created_at), movement desc`,
      [rgsId, roundId],
    );
    const players = await this.database.rows<{ opened_at: Date; closed_at: Date | null }>(
      `${PLAYERS} select w.opened_at, w.closed_at from player p join wallet_round w on ${OF_PLAYER} order by w.opened_at`,
      [rgsId, roundId],
    );
    const strays = await this.database.rows<{ ref_id: string }>(
      `select c.ref_id from wallet_transaction c
       where c.rgs_id = $1 and c.round_hash = wallet_hash($2) and c.round_id = $2 and c.movement = 'credit' and c.kind = 'regular' and not exists (
         select 1 from wallet_transaction d where d.rgs_id = c.rgs_id and d.round_hash = c.round_hash and d.round_id = c.round_id and d.player_id = c.player_id
           and d.movement = 'debit' and not d.tombstone and d.state not in ('rejected', 'rolled_back', 'compensated'))
       order by c.id limit 100`,
      [rgsId, roundId],
    );
    const rows = await this.database.rows<TransactionRow>(
      `select ${COLUMNS} from wallet_transaction where ${IN_ROUND} order by id limit ${MOVEMENTS_MAX}`,
      [rgsId, roundId],
    );
    return {
      players: players.map((row) => ({ openedAt: row.opened_at, closedAt: row.closed_at })),
      tallies: tallies.flatMap(({ movement, currency, state, tombstone, n, amount_minor }) =>
        movement === 'rollback'
          ? []
          : [{ movement, currency, state, tombstone, movements: Number(n), amountMinor: BigInt(amount_minor) }],
      ),
      strayCredits: strays.map((row) => row.ref_id),
      transactions: rows.map(transactionOf),
      movementCount: tallies.reduce((total, { n }) => total + Number(n), 0),
    };
  }

  /** Closes the round for every player in it; false when there is no such round. */
  async close(rgsId: number, roundId: string): Promise<boolean> {
    const rows = await this.database.rows(
      `${PLAYERS}, mine as materialized (
         -- In the order in which accepting closes them.
         select w.rgs_id, w.player_hash, w.player_round_hash from player p join wallet_round w on ${OF_PLAYER} order by w.player_hash, w.player_round_hash for update of w
       )
       update wallet_round w set closed_at = coalesce(w.closed_at, now()) from mine m
       where w.rgs_id = m.rgs_id and w.player_hash = m.player_hash and w.player_round_hash = m.player_round_hash returning 1 as closed`,
      [rgsId, roundId],
    );
    return rows.length > 0;
  }

  /** Rounds that have been open for longer than `minutes`, oldest first. */
  async overdue(
    minutes: number,
    limit: number,
  ): Promise<{ rgsId: number; roundId: string; playerId: string; openedAt: Date }[]> {
    const rows = await this.reports.rows<{ rgs_id: number; round_id: string; player_id: string; opened_at: Date }>(
      `select rgs_id, round_id, player_id, opened_at from wallet_round where closed_at is null and opened_at < now() - $1::float8 * interval '1 minute' order by opened_at limit $2`,
      [minutes, limit],
    );
    return rows.map((row) => ({
      rgsId: row.rgs_id,
      roundId: row.round_id,
      playerId: row.player_id,
      openedAt: row.opened_at,
    }));
  }
}
