import { Injectable } from '@nestjs/common';
import { type Span, Timeline } from '../shared/timeline';
import type { Direction, Movement } from './movement';
import { OperatorSettings } from './settings';

/** A movement that is on the books: the money has moved. */
export interface Booking extends Movement {
  /** Counts up in the order of booking. */
  id: number;
  amountMinor: bigint;
  /** ms epoch. */
  createdAt: number;
}

/** What became of a movement that was to be booked; `balanceMinor` is the player's balance after it. */
export interface Verdict {
  kind: 'applied' | 'repeat' | 'reference_reused' | 'insufficient_funds';
  balanceMinor: bigint;
}

/** Which bookings of a reference are meant; null: whatever it is. */
export interface BookingFilter {
  playerId: string | null;
  direction: Direction | null;
}

interface Account {
  balanceMinor: bigint;
  /** Deposits less withdrawals, without the starting balance. */
  netMinor: bigint;
}

interface Player {
  accounts: Map<string, Account>;
  /** By reference; the first booking of a reference is the one that repeats are compared with. */
  booked: Record<Direction, Map<string, Booking>>;
  movements: number;
}

/**
 * The wallet's books, in memory: balances, and each movement once by (player, direction, reference), or by (direction,
 * reference) where the settings say so. Every method runs to its end without a pause, so that no two calls can book
 * between each other's steps.
 */
@Injectable()
export class PlayerAccounts {
  private readonly players = new Map<string, Player>();
  private readonly bookings = new Timeline<Booking>((booking) => booking.reference);
  private nextId = 1;

  constructor(private readonly settings: OperatorSettings) {}

  /**
   * Moves the money, or says why not. A repeat of the same data moves nothing; its first correlation id stays on the
   * books.
   */
  book(movement: Movement, amountMinor: bigint): Verdict {
    const { playerId, direction, currency, reference } = movement;
    const player = this.player(playerId);
    const account = this.account(player, currency);
    const known =
      this.settings.referenceScope === 'player'
        ? player.booked[direction].get(reference)
        : this.bookings.with(reference).find((booking) => booking.direction === direction);
    if (known !== undefined) {
      const same = known.amountMinor === amountMinor && known.currency === currency;
      return { kind: same ? 'repeat' : 'reference_reused', balanceMinor: account.balanceMinor };
    }
    if (direction === 'withdraw' && account.balanceMinor < amountMinor)
      return { kind: 'insufficient_funds', balanceMinor: account.balanceMinor };
    this.enter({ ...movement, amountMinor, createdAt: Date.now() });
    return { kind: 'applied', balanceMinor: account.balanceMinor };
  }

  /**
   * Puts a movement on the books that no hub sent. Neither funds nor repeats are looked at: a test may want
   * the same reference twice. A time in the past sorts it in, as the list is oldest first.
   */
  plant(movement: Movement, amountMinor: bigint, createdAt: number): void {
    this.enter({ ...movement, amountMinor, createdAt });
  }

  /**
   * Takes the reference's bookings off the books, and their effect on the balance with them; says how many there were.
   */
  lose(reference: string, filter: BookingFilter): number {
    const lost = this.bookings.remove(
      reference,
      ({ playerId, direction }) =>
        (filter.playerId === null || filter.playerId === playerId) &&
        (filter.direction === null || filter.direction === direction),
    );
    for (const booking of lost) {
      const player = this.player(booking.playerId);
      this.move(player, booking, -1n);
      const booked = player.booked[booking.direction];
      if (booked.get(reference) === booking) booked.delete(reference);
    }
    return lost.length;
  }

  /** The player's balance, which is the starting balance for a player not seen before. */
  balanceMinor(playerId: string, currency: string): bigint {
    return this.account(this.player(playerId), currency).balanceMinor;
  }

  /** Everything booked, oldest first, as it stands now: what is booked later does not show. */
  list(): readonly Booking[] {
    return this.bookings.all();
  }

  /** A page of what is booked; see Timeline. */
  page(span: Span, limit: number): { rows: readonly Booking[]; total: number; more: boolean } {
    return this.bookings.page(span, limit);
  }

  withReference(reference: string): readonly Booking[] {
    return this.bookings.with(reference);
  }

  /**
   * Balances and net amounts by currency as digits of minor units, and the number of bookings; empty for an unknown
   * player.
   */
  describe(playerId: string): { balances: Record<string, string>; net: Record<string, string>; movements: number } {
    const player = this.players.get(playerId);
    const accounts = [...(player?.accounts ?? [])];
    return {
      balances: Object.fromEntries(accounts.map(([currency, account]) => [currency, account.balanceMinor.toString()])),
      net: Object.fromEntries(accounts.map(([currency, account]) => [currency, account.netMinor.toString()])),
      movements: player?.movements ?? 0,
    };
  }

  clear(): void {
    this.players.clear();
    this.bookings.clear();
  }

  private enter(entry: Omit<Booking, 'id'>): void {
    const booking = { ...entry, id: this.nextId++ };
    const player = this.player(booking.playerId);
    this.move(player, booking, 1n);
    const booked = player.booked[booking.direction];
    if (!booked.has(booking.reference)) booked.set(booking.reference, booking);
    this.bookings.add(booking);
  }

  /** @param factor 1n to apply the booking, -1n to take it back */
  private move(player: Player, booking: Booking, factor: 1n | -1n): void {
    const account = this.account(player, booking.currency);
    const signed = booking.direction === 'deposit' ? booking.amountMinor : -booking.amountMinor;
    account.balanceMinor += factor * signed;
    account.netMinor += factor * signed;
    player.movements += Number(factor);
  }

  private player(playerId: string): Player {
    let player = this.players.get(playerId);
    if (player === undefined) {
      player = { accounts: new Map(), booked: { withdraw: new Map(), deposit: new Map() }, movements: 0 };
      this.players.set(playerId, player);
    }
    return player;
  }

  private account(player: Player, currency: string): Account {
    let account = player.accounts.get(currency);
    if (account === undefined) {
      account = { balanceMinor: this.settings.startingBalanceMinor, netMinor: 0n };
      player.accounts.set(currency, account);
    }
    return account;
  }
}
