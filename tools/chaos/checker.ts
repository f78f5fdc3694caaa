import type { Booking, EventRow, Facts, TransactionRow } from './facts';
import type { GameServerLog, Sending, Sent } from './game-server';
import type { OperatorKind, Plan, PlannedRequest } from './plan';

export interface Violation {
  readonly invariant: string;
  readonly what: string;
  readonly playerId: string | null;
  readonly transactionId: string | null;
}

/**
 * The arrows of money-flow.md, written down a second time on purpose; the last line is what a person may do to parked
 * money.
 */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  initiated: ['confirmed', 'rejected', 'unknown', 'compensating', 'parked'],
  unknown: ['confirmed', 'rejected', 'compensating', 'parked'],
  compensating: ['compensated', 'parked'],
  confirmed: ['rolling_back'],
  rolling_back: ['rolled_back', 'parked'],
  parked: ['confirmed', 'rejected', 'compensating', 'compensated'],
};
/** What the network and busy processes may add to a call that left in time. */
const LATE_MS_MAX = 2_500;
/** Two processes round their clocks. */
const CLOCK_MS = 5;
const FINAL: ReadonlySet<string> = new Set(['confirmed', 'rejected', 'compensated', 'rolled_back']);
/** What the RGS is told when a state is reached. */
const NOTICE: Readonly<Record<string, string>> = {
  confirmed: 'OK',
  rejected: 'REJECTED',
  compensated: 'ROLLED_BACK',
  rolled_back: 'ROLLED_BACK',
};

/** Holds what happened against what must be true. Pure: the same facts give the same verdict. */
export function check(plan: Plan, operator: OperatorKind, log: GameServerLog, facts: Facts): Violation[] {
  return new Checker(plan, operator, log, facts).run();
}

class Checker {
  private readonly violations: Violation[] = [];
  private readonly byId: ReadonlyMap<string, TransactionRow>;
  private readonly byBusinessKey = new Map<string, TransactionRow>();
  private readonly chains = new Map<string, string[]>();
  private readonly eventsOf: ReadonlyMap<string, EventRow[]>;
  private readonly booksOf = new Map<string, Booking[]>();
  private readonly everParked = new Set<string>();
  private readonly parkedNow: ReadonlyMap<string, string | null>;

  constructor(
    private readonly plan: Plan,
    private readonly operator: OperatorKind,
    private readonly log: GameServerLog,
    private readonly facts: Facts,
  ) {
    this.byId = new Map(facts.transactions.map((row) => [row.id, row]));
    for (const row of facts.transactions)
      this.byBusinessKey.set(businessKey(row.movement, row.player_id, row.ref_id), row);
    this.eventsOf = grouped(facts.events, ({ transaction_id }) => transaction_id);
    for (const booking of facts.books) {
      const key = bookKey(booking.playerId, booking.direction, booking.reference);
      this.booksOf.set(key, [...(this.booksOf.get(key) ?? []), booking]);
    }
    for (const { transaction_id, to_state } of facts.events)
      if (to_state === 'parked') this.everParked.add(transaction_id);
    this.parkedNow = new Map(facts.parked.map(({ transaction_id, reason }) => [transaction_id, reason]));
    for (const row of facts.transactions) this.chains.set(row.id, this.chainOf(row));
  }

  run(): Violation[] {
    this.answered();
    this.nothingLostNothingInvented();
    this.statesFollowTheArrows();
    this.nothingIsOpen();
    this.booksHoldEachOnce();
    this.netAgrees();
    this.rollbacks();
    this.neverLeft();
    this.neverLate();
    this.neverTwice();
    this.oneAtATime();
    this.toldOnce();
    this.orderAtTheOperator();
    this.orderAtTheRgs();
    this.orderOfAcceptance();
    this.answersPerKey();
    this.answersAgainstTheEnd();
    this.looks();
    this.lanesAndLogs();
    return this.violations;
  }

  private fault(
    invariant: string,
    what: string,
    transaction?: { readonly id: string; readonly player_id: string },
    playerId?: string,
  ): void {
    this.violations.push({
      invariant,
      what,
      transactionId: transaction?.id ?? null,
      playerId: transaction?.player_id ?? playerId ?? null,
    });
  }

  /** From its first state to the present one. */
  private chainOf(row: TransactionRow): string[] {
    const moves = (this.eventsOf.get(row.id) ?? []).filter(({ kind }) => kind === 'transition');
    return moves.length === 0 ? [row.state] : ['initiated', ...moves.map(({ to_state }) => to_state)];
  }

  private reached(row: TransactionRow, state: string): boolean {
    return this.chains.get(row.id)?.includes(state) ?? false;
  }

  private books(row: TransactionRow, undo = false): readonly Booking[] {
    const direction = row.movement === 'debit' && !undo ? 'withdraw' : 'deposit';
    return (
      this.booksOf.get(bookKey(row.external_player_id, direction, undo ? `rollback:${row.ref_id}` : row.ref_id)) ?? []
    );
  }

  // ---- what the game server was answered
  // ----------------------------------------------------------------------------------

  private answered(): void {
    for (const text of this.log.unanswered) this.fault('every request is answered', text);
    for (const { request, sendings } of this.log.sent) {
      for (const sending of sendings.filter(isAnswer)) {
        const meaning = meaningOf(sending);
        if (!(request.expected as readonly string[]).includes(meaning))
          this.fault(
            'every answer is the right one',
            `${request.route} ${request.body.refId} (${request.id}) was answered ${sending.status} ${meaning}, not ${request.expected.join(' or ')}: ${sending.text.slice(0, 300)}`,
            this.transactionOf(request),
            request.body.playerId,
          );
      }
      const meanings = new Set(sendings.filter(isAnswer).map(meaningOf));
      if (meanings.size > 1)
        this.fault(
          'every answer is the right one',
          `${request.route} ${request.body.refId} (${request.id}) was answered ${[...meanings].join(', then ')}`,
          this.transactionOf(request),
          request.body.playerId,
        );
    }
  }

  private transactionOf({ route, body }: PlannedRequest): TransactionRow | undefined {
    return this.byBusinessKey.get(businessKey(route, body.playerId, body.refId));
  }

  // ---- the hub's own tables
  // ---------------------------------------------------------------------------------------------------

  private nothingLostNothingInvented(): void {
    const asked = new Map<string, PlannedRequest>();
    const acceptedKeys = new Set<string>();
    for (const { request, sendings } of this.log.sent) {
      // A body that was sent with a used key, or with other data, must not be the one that is stored.
      if (request.isFirst) asked.set(businessKey(request.route, request.body.playerId, request.body.refId), request);
      for (const sending of sendings.filter(isAccepted)) {
        const row = this.byId.get(transactionIdOf(sending));
        acceptedKeys.add(businessKey(request.route, request.body.playerId, request.body.refId));
        if (row === undefined)
          this.fault(
            'nothing accepted is lost',
            `${request.route} ${request.body.refId} was answered ${sending.status} with ${transactionIdOf(sending)}, which is not stored`,
            undefined,
            request.body.playerId,
          );
        else if (
          row.movement !== request.route ||
          row.ref_id !== request.body.refId ||
          row.player_id !== request.body.playerId
        )
          this.fault(
            'nothing accepted is lost',
            `${request.route} ${request.body.refId} of ${request.body.playerId} was answered with the id of ${row.movement} ${row.ref_id} of ${row.player_id}`,
            row,
          );
      }
    }
    for (const row of this.facts.transactions) {
      const request = asked.get(businessKey(row.movement, row.player_id, row.ref_id));
      if (row.tombstone) {
        if (request === undefined)
          this.fault('nothing is invented', `a place is held for ${row.ref_id}, which nobody named`, row);
        continue;
      }
      if (request === undefined) {
        this.fault('nothing is invented', `nobody asked for ${row.movement} ${row.ref_id}`, row);
        continue;
      }
      if (
        row.movement !== 'rollback' &&
        (BigInt(row.amount_minor) !== BigInt(request.body.amountCents ?? -1) ||
          row.currency !== request.body.currency ||
          row.round_id !== (request.body.roundId ?? null) ||
          row.kind !== (request.body.kind ?? 'regular') ||
          row.round_closed !== (request.body.roundClosed ?? false))
      )
        this.fault(
          'nothing is invented',
          `${row.movement} ${row.ref_id} is stored as ${row.amount_minor} ${row.currency} ${row.kind} in ${row.round_id}, asked for as ${JSON.stringify(request.body)}`,
          row,
        );
      if (!acceptedKeys.has(businessKey(row.movement, row.player_id, row.ref_id)) && this.log.unanswered.length === 0)
        this.fault(
          'nothing is invented',
          `${row.movement} ${row.ref_id} is stored although no request for it was accepted`,
          row,
        );
    }
    const keys = new Map(this.facts.keys.map(({ key, transaction_id }) => [key, transaction_id]));
    for (const { request, sendings } of this.log.sent)
      for (const sending of sendings.filter(isAccepted))
        if (request.key !== null && keys.get(request.key) !== transactionIdOf(sending))
          this.fault(
            'one answer per idempotency key',
            `key ${request.key} was answered with ${transactionIdOf(sending)} and stands for ${keys.get(request.key) ?? 'nothing'}`,
            this.byId.get(transactionIdOf(sending)),
            request.body.playerId,
          );
  }

  private statesFollowTheArrows(): void {
    for (const row of this.facts.transactions) {
      const events = this.eventsOf.get(row.id) ?? [];
      let state = 'initiated';
      for (const event of events) {
        if (event.kind === 'contradiction') {
          // This operator contradicts nobody, so whoever is contradicted was wrong.
          this.fault(
            'states follow the arrows',
            `${row.movement} ${row.ref_id} is ${event.from_state}, and ${event.source} says otherwise: ${JSON.stringify(event.evidence)}`,
            row,
          );
          continue;
        }
        if (event.from_state !== state || ARROWS[state]?.includes(event.to_state) !== true)
          this.fault(
            'states follow the arrows',
            `${row.movement} ${row.ref_id} went from ${event.from_state} to ${event.to_state} when it was ${state}`,
            row,
          );
        state = event.to_state;
      }
      const settledAtOnce = events.length === 0 && (row.movement === 'rollback' || row.tombstone);
      if (!settledAtOnce && state !== row.state)
        this.fault(
          'states follow the arrows',
          `${row.movement} ${row.ref_id} is ${row.state}, but its history ends at ${state}`,
          row,
        );
    }
  }

  private nothingIsOpen(): void {
    // What stands behind a parked bet waits for the same person.
    const blocked = new Set(this.facts.heads.filter((head) => head.blocked).map(({ lane_key }) => lane_key));
    for (const row of this.facts.transactions) {
      if (
        FINAL.has(row.state) ||
        (row.movement === 'rollback' && this.byId.get(row.original_id ?? '')?.state === 'parked')
      )
        continue;
      if (row.state === 'initiated' && row.movement !== 'rollback' && blocked.has(row.external_player_id)) continue;
      if (row.state !== 'parked')
        this.fault('nothing stays open', `${row.movement} ${row.ref_id} is ${row.state}`, row);
      else if ((this.parkedNow.get(row.id) ?? '') === '')
        this.fault('nothing stays open', `${row.movement} ${row.ref_id} is parked without a reason`, row);
    }
    for (const id of this.parkedNow.keys())
      if (this.byId.get(id)?.state !== 'parked')
        this.fault(
          'nothing stays open',
          `${id} is on the list of parked money and is ${this.byId.get(id)?.state}`,
          this.byId.get(id),
        );
    const transactionByMessage = new Map(
      this.facts.messages.map(({ id, transaction_id }) => [
        id,
        transaction_id === null ? undefined : this.byId.get(transaction_id),
      ]),
    );
    for (const head of this.facts.heads) {
      const row = transactionByMessage.get(head.message_id);
      if (!(head.blocked && row?.state === 'parked'))
        this.fault('nothing stays open', `message ${head.message_id} is still to be sent`, row);
    }
    const queueOf = new Map(this.facts.messages.map(({ id, queue }) => [id, queue]));
    for (const dead of this.facts.dead) {
      const row = transactionByMessage.get(dead.message_id);
      if (queueOf.get(dead.message_id) === 'rgs')
        this.fault('every outcome is told', `webhook ${dead.message_id} was given up: ${dead.error}`, row);
      else if (dead.open && row?.state !== 'parked')
        this.fault(
          'nothing stays open',
          `message ${dead.message_id} waits for somebody to deal with it, and its movement is ${row?.state}`,
          row,
        );
    }
  }

  // ---- the operator's books
  // ----------------------------------------------------------------------------------------------------

  private booksHoldEachOnce(): void {
    const explained = new Set<Booking>();
    for (const row of this.facts.transactions) {
      if (row.movement === 'rollback') continue;
      const [own, undone] = [this.books(row), this.books(row, true)];
      for (const booking of [...own, ...(row.movement === 'debit' ? undone : [])]) {
        explained.add(booking);
        if (booking.amountMinor !== BigInt(row.amount_minor) || booking.currency !== row.currency)
          this.fault(
            'the books hold each movement exactly once',
            `${row.movement} ${row.ref_id} of ${row.amount_minor} ${row.currency} is booked as ${booking.amountMinor} ${booking.currency} (${booking.reference})`,
            row,
          );
        if (booking.correlationId !== row.id)
          this.fault(
            'the books hold each movement exactly once',
            `${booking.reference} is booked under ${booking.correlationId}`,
            row,
          );
      }
      const is = (ownCount: number, undoCount: number): boolean =>
        own.length === ownCount && (row.movement === 'credit' || undone.length === undoCount);
      const right =
        row.tombstone || row.state === 'rejected'
          ? is(0, 0)
          : row.state === 'confirmed'
            ? is(1, 0)
            : row.state === 'compensated' || row.state === 'rolled_back'
              ? is(1, 1)
              : own.length <= 1 && undone.length <= own.length;
      if (!right)
        this.fault(
          'the books hold each movement exactly once',
          `${row.tombstone ? 'tombstoned' : row.state} ${row.movement} ${row.ref_id} of ${row.amount_minor} ${row.currency} stands ${own.length} times on the books, its repayment ${undone.length} times`,
          row,
        );
    }
    for (const booking of this.facts.books)
      if (!explained.has(booking))
        this.fault(
          'the books hold each movement exactly once',
          `nothing explains ${booking.direction} ${booking.reference} of ${booking.amountMinor} ${booking.currency}`,
          undefined,
          booking.playerId,
        );
  }

  private netAgrees(): void {
    const difference = new Map<string, bigint>();
    const add = (playerId: string, currency: string, amount: bigint): void =>
      void difference.set(`${playerId} ${currency}`, (difference.get(`${playerId} ${currency}`) ?? 0n) + amount);
    for (const { playerId, currency, direction, amountMinor } of this.facts.books)
      add(playerId, currency, direction === 'deposit' ? amountMinor : -amountMinor);
    for (const row of this.facts.transactions) {
      const amount = BigInt(row.amount_minor);
      if (row.state === 'confirmed' && row.movement !== 'rollback')
        add(row.external_player_id, row.currency, row.movement === 'debit' ? amount : -amount);
      // What is parked may be booked or not: nobody claims to know.
      if (row.state === 'parked')
        for (const booking of [...this.books(row), ...this.books(row, true)])
          add(
            row.external_player_id,
            row.currency,
            booking.direction === 'deposit' ? -booking.amountMinor : booking.amountMinor,
          );
    }
    for (const [key, amount] of difference)
      if (amount !== 0n)
        this.fault(
          'operator net = sum of settled states',
          `${key}: the operator's books differ by ${amount}`,
          undefined,
          key.split(' ')[0],
        );
  }

  private rollbacks(): void {
    for (const row of this.facts.transactions) {
      if (row.movement !== 'rollback') continue;
      const bet = row.original_id === null ? undefined : this.byId.get(row.original_id);
      if (bet === undefined) {
        this.fault('a rollback undoes its bet once', `rollback ${row.ref_id} has no bet`, row);
        continue;
      }
      if (bet.state === 'parked') continue;
      // A person found that the money cannot be paid back, and the bet stands.
      if (row.state === 'rejected' && bet.state === 'confirmed' && this.everParked.has(bet.id)) continue;
      const undone = bet.state === 'compensated' || (bet.state === 'rolled_back' && !bet.tombstone);
      const neverTaken = bet.state === 'rejected' || bet.tombstone;
      if (!undone && !neverTaken)
        this.fault(
          'a rollback undoes its bet once',
          `rollback ${row.ref_id} was taken, and its bet ${bet.ref_id} is ${bet.state}`,
          bet,
        );
      if (row.applied !== undone)
        this.fault(
          'a rollback undoes its bet once',
          `rollback ${row.ref_id} says applied: ${String(row.applied)}, and its bet ${bet.ref_id} is ${bet.tombstone ? 'tombstoned' : bet.state}`,
          bet,
        );
    }
  }

  /** A tombstone, and a bet that ended because it never left, have no call that could have moved money. */
  private neverLeft(): void {
    const calls = grouped(
      this.facts.operatorCalls.filter(({ direction }) => direction === 'withdraw'),
      ({ playerId, reference }) => `${playerId} ${reference}`,
    );
    for (const row of this.facts.transactions) {
      const [last] = (this.eventsOf.get(row.id) ?? []).slice(-1);
      const neverLeft =
        row.state === 'rejected' &&
        (row.reason === 'rolled_back' || row.reason === 'deadline') &&
        (last?.source === 'rgs' || last?.source === 'hub');
      if (row.movement !== 'debit' || (!row.tombstone && !neverLeft)) continue;
      // A throttled call says itself that it did nothing.
      const moving = (calls.get(`${row.external_player_id} ${row.ref_id}`) ?? []).filter(
        ({ fault }) => row.tombstone || fault !== 'throttle',
      );
      if (moving.length > 0)
        this.fault(
          row.tombstone ? 'no call for a tombstoned bet' : 'no call for a bet that never left',
          `${row.ref_id} (${row.tombstone ? 'tombstone' : row.reason}) was sent ${moving.length} times: ${JSON.stringify(moving[0])}`,
          row,
        );
    }
  }

  /** What is over by the clock is asked about, not sent. A call that left in time may arrive a little later. */
  private neverLate(): void {
    const messages = new Map(this.facts.messages.map((message) => [message.id, message]));
    for (const call of this.facts.operatorCalls) {
      const message = messages.get(call.idempotencyKey ?? '');
      if (message === undefined || message.expires_at === null || call.at <= message.expires_at.getTime() + LATE_MS_MAX)
        continue;
      this.fault(
        'no bet is sent after its deadline',
        `${call.direction} ${call.reference} was sent ${Math.round(call.at - message.expires_at.getTime())} ms after its time`,
        message.transaction_id === null ? undefined : this.byId.get(message.transaction_id),
      );
    }
  }

  /** This operator forgives a repeat; one that does not would have booked it twice. */
  private neverTwice(): void {
    if (this.operator === 'idempotent') return;
    for (const { repeat, direction, reference, playerId } of this.facts.operatorCalls) {
      if (!repeat || reference === null) continue;
      const refId = reference.replace(/^rollback:/, '');
      const movement = direction === 'withdraw' || reference !== refId ? 'debit' : 'credit';
      this.fault(
        'nothing is sent twice to an operator that would book it twice',
        `${direction} ${reference} came again after it was booked`,
        this.byBusinessKey.get(businessKey(movement, playerId, refId)),
        playerId,
      );
    }
  }

  /** A result counts only under the lease that it came from, so two that count never lie over each other in time. */
  private oneAtATime(): void {
    const transactionOf = new Map(this.facts.messages.map(({ id, transaction_id }) => [id, transaction_id]));
    for (const [messageId, attempts] of grouped(this.facts.attempts, ({ message_id }) => message_id)) {
      let before: (typeof attempts)[number] | undefined;
      for (const attempt of attempts.sort((a, b) => a.at.getTime() - b.at.getTime())) {
        if (attempt.outcome === 'stale' || attempt.duration_ms === null) continue;
        const overlap = before === undefined ? 0 : before.at.getTime() - (attempt.at.getTime() - attempt.duration_ms);
        if (overlap > CLOCK_MS)
          this.fault(
            'one replica at a time sends a message',
            `message ${messageId}: ${attempt.replica} began attempt ${attempt.n} ${overlap} ms before ${before?.replica} was done with ${before?.n}`,
            this.byId.get(transactionOf.get(messageId) ?? ''),
          );
        before = attempt;
      }
    }
  }

  // ---- what the RGS was told
  // ------------------------------------------------------------------------------------------------------

  private toldOnce(): void {
    const planned = new Map(
      this.facts.outcomes.map(({ transaction_id, outcome, message_id }) => [
        `${transaction_id} ${outcome}`,
        message_id,
      ]),
    );
    const told = grouped(this.facts.told, ({ transactionId, status }) => `${transactionId} ${status}`);
    for (const row of this.facts.transactions) {
      const expected = new Set(
        row.movement === 'rollback' || row.tombstone
          ? []
          : (this.chains.get(row.id) ?? []).flatMap((state) => NOTICE[state] ?? []),
      );
      for (const outcome of ['OK', 'REJECTED', 'ROLLED_BACK']) {
        const heard = told.get(`${row.id} ${outcome}`) ?? [];
        const messageId = planned.get(`${row.id} ${outcome}`);
        if (!expected.has(outcome)) {
          if (heard.length > 0 || messageId !== undefined)
            this.fault(
              'every outcome is told exactly once',
              `${row.movement} ${row.ref_id} is ${row.state}, and the RGS was told ${outcome}`,
              row,
            );
          continue;
        }
        if (messageId === undefined || heard.length !== 1)
          this.fault(
            'every outcome is told exactly once',
            `${outcome} of ${row.movement} ${row.ref_id} was told ${heard.length} times as different webhooks`,
            row,
          );
        for (const webhook of heard) {
          if (webhook.idempotencyKey !== messageId)
            this.fault(
              'every outcome is told exactly once',
              `${outcome} of ${row.ref_id} came as ${webhook.idempotencyKey}, not as ${messageId}`,
              row,
            );
          if (webhook.deliveries < 1)
            this.fault('every outcome is told exactly once', `${outcome} of ${row.ref_id} was not delivered`, row);
          if (
            webhook.playerId !== row.player_id ||
            webhook.refId !== row.ref_id ||
            webhook.event !== row.movement ||
            webhook.currency !== row.currency ||
            webhook.amountCents !== row.amount_minor ||
            webhook.correlationId !== row.id ||
            NOTICE[webhook.state] !== outcome
          )
            this.fault(
              'every outcome is told exactly once',
              `${outcome} of ${row.movement} ${row.ref_id} says ${JSON.stringify(webhook)}`,
              row,
            );
        }
      }
    }
    for (const { transactionId, refId, playerId } of this.facts.told)
      if (!this.byId.has(transactionId))
        this.fault(
          'every outcome is told exactly once',
          `a webhook tells of ${refId} (${transactionId}), which is not stored`,
          undefined,
          playerId,
        );
    if (this.facts.keyConflicts > 0)
      this.fault(
        'every outcome is told exactly once',
        `${this.facts.keyConflicts} webhooks were repeated with other bytes`,
      );
  }

  // ---- order
  // ------------------------------------------------------------------------------------------------------------------------

  private orderAtTheOperator(): void {
    const seqs = new Map(
      this.facts.messages.filter(({ queue }) => queue === 'operator').map(({ id, lane_seq }) => [id, lane_seq]),
    );
    // What was answered before the next was asked for comes first, whatever the hub's own numbers say; they decide
    // among those asked at once.
    const groups = new Map(
      this.log.sent
        .filter(({ request }) => request.isFirst)
        .map(({ request, group }) => [businessKey(request.route, request.body.playerId, request.body.refId), group]),
    );
    const last = new Map<string, { group: number; seq: bigint; refId: string }>();
    for (const call of this.facts.operatorCalls) {
      if (!call.applied || call.reference === null || call.reference.startsWith('rollback:')) continue;
      const key = businessKey(call.direction === 'withdraw' ? 'debit' : 'credit', call.playerId, call.reference);
      const row = this.byBusinessKey.get(key);
      const group = groups.get(key);
      // What a person sent again has lost its place.
      if (row === undefined || group === undefined || this.everParked.has(row.id)) continue;
      const seq = seqs.get(row.message_id ?? '') ?? null;
      if (seq === null) {
        this.fault(
          'movements are applied in the order in which they were accepted',
          `${row.movement} ${row.ref_id} has no place in its player's lane`,
          row,
        );
        continue;
      }
      const place = { group, seq: BigInt(seq), refId: row.ref_id };
      const before = last.get(call.playerId);
      if (before !== undefined && (group < before.group || (group === before.group && place.seq < before.seq)))
        this.fault(
          'movements are applied in the order in which they were accepted',
          `${row.movement} ${row.ref_id} (step ${group}, place ${seq}) was applied after ${before.refId} (step ${before.group}, place ${before.seq})`,
          row,
        );
      last.set(call.playerId, place);
    }
  }

  private orderAtTheRgs(): void {
    const messages = new Map(this.facts.messages.map((message) => [message.id, message]));
    const last = new Map<string, bigint>();
    for (const call of this.facts.rgsCalls) {
      const message = call.stored ? messages.get(call.headers['idempotency-key'] ?? '') : undefined;
      if (message === undefined || message.lane_key === null || message.lane_seq === null) continue;
      const seq = BigInt(message.lane_seq);
      if (seq < (last.get(message.lane_key) ?? 0n))
        this.fault(
          'outcomes are told in their order',
          `webhook ${message.id} (place ${seq}) of ${message.lane_key} came after place ${last.get(message.lane_key)}`,
          message.transaction_id === null ? undefined : this.byId.get(message.transaction_id),
          message.lane_key,
        );
      last.set(message.lane_key, seq);
    }
  }

  /** A request that was answered before the next was sent stands before it in the player's lane. */
  private orderOfAcceptance(): void {
    const seqs = new Map(
      this.facts.messages
        .filter(({ queue }) => queue === 'operator')
        .map(({ transaction_id, lane_seq, event_type }) => [`${transaction_id} ${event_type}`, lane_seq]),
    );
    const last = new Map<string, { group: number; highest: bigint; before: bigint }>();
    for (const { request, group, sendings } of [...this.log.sent].sort((a, b) => a.group - b.group)) {
      if (!request.isFirst || request.route === 'rollback' || !sendings.some(isAccepted)) continue;
      const row = this.transactionOf(request);
      const seq = seqs.get(`${row?.id} ${request.route}`);
      if (row === undefined || seq === undefined || seq === null) continue;
      const place = BigInt(seq);
      const known = last.get(row.player_id) ?? { group, highest: 0n, before: 0n };
      const before = known.group === group ? known.before : known.highest;
      if (place < before)
        this.fault(
          'movements are applied in the order in which they were accepted',
          `${request.route} ${row.ref_id} has place ${place}, although place ${before} was accepted and answered before it was asked for`,
          row,
        );
      last.set(row.player_id, { group, before, highest: place > known.highest ? place : known.highest });
    }
  }

  // ---- answers over time
  // --------------------------------------------------------------------------------------------------------------

  private answersPerKey(): void {
    const byKey = grouped(
      this.log.sent.filter(({ request }) => request.expected.includes('ok')),
      ({ request }) => `${request.route} ${request.key ?? `${request.body.playerId} ${request.body.refId}`}`,
    );
    for (const [key, sent] of byKey) {
      const answers = sent.flatMap(({ sendings }) => sendings.filter(isAccepted));
      const ids = new Set(answers.map(transactionIdOf));
      const row = this.byId.get([...ids][0] ?? '');
      if (ids.size > 1)
        this.fault(
          'one answer per idempotency key',
          `${key} was answered with the transactions ${[...ids].join(', ')}`,
          row,
        );
      // Without a wait the answer is the same to the byte, for ever.
      const texts = new Set(answers.map(({ text }) => text));
      if (
        sent.every(({ request }) => request.waitSeconds === null) &&
        (texts.size > 1 || answers.some(({ status }) => status !== 200))
      )
        this.fault(
          'one answer per idempotency key',
          `${key} was answered ${texts.size} different bodies: ${[...texts].join(' | ')}`,
          row,
        );
    }
    // A key or a business key is new once.
    for (const [key, sent] of grouped(this.log.sent, ({ request }) =>
      businessKey(request.route, request.body.playerId, request.body.refId),
    )) {
      const fresh = sent.flatMap(({ sendings }) =>
        sendings.filter((sending) => isAccepted(sending) && !sending.replayed),
      );
      if (fresh.length > 1)
        this.fault(
          'one answer per idempotency key',
          `${key} was new ${fresh.length} times`,
          this.byId.get(transactionIdOf(fresh[0] as Sending)),
        );
    }
  }

  /** What was answered as an outcome is the outcome, or was followed along the arrows only. */
  private answersAgainstTheEnd(): void {
    const answered = grouped(
      this.log.sent.flatMap(({ request, sendings }) =>
        sendings.filter(isAccepted).map((sending) => ({ request, sending })),
      ),
      ({ sending }) => transactionIdOf(sending),
    );
    for (const [id, answers] of answered) {
      const row = this.byId.get(id);
      if (row === undefined) continue;
      let latest: { status: string; endedAt: number } | undefined;
      for (const { request, sending } of answers.sort((a, b) => a.sending.endedAt - b.sending.endedAt)) {
        const { status, applied } = JSON.parse(sending.text) as { status: string; applied?: boolean | null };
        if (request.route === 'rollback') {
          if (applied !== null && applied !== undefined && row.state === 'confirmed' && applied !== row.applied)
            this.fault(
              'answers never contradict the end',
              `rollback ${row.ref_id} was answered applied: ${applied} and ended with ${String(row.applied)}`,
              row,
            );
          continue;
        }
        if (sending.status === 202 && status !== 'initiated')
          this.fault('answers never contradict the end', `${row.ref_id} was answered 202 with ${status}`, row);
        if (status === 'initiated') continue;
        const needed =
          status === 'OK' ? ['confirmed'] : status === 'REJECTED' ? ['rejected'] : ['compensated', 'rolled_back'];
        if (!needed.some((state) => this.reached(row, state)))
          this.fault(
            'answers never contradict the end',
            `${row.movement} ${row.ref_id} was answered ${status} and never was ${needed.join(' or ')}; it is ${row.state}`,
            row,
          );
        if (
          latest !== undefined &&
          latest.endedAt < sending.at &&
          latest.status !== status &&
          !(latest.status === 'OK' && status === 'ROLLED_BACK')
        )
          this.fault(
            'answers never contradict the end',
            `${row.movement} ${row.ref_id} was answered ${latest.status}, and later ${status}`,
            row,
          );
        latest = { status, endedAt: sending.endedAt };
      }
    }
  }

  private looks(): void {
    for (const [id, looks] of grouped(this.log.looked, ({ transactionId }) => transactionId)) {
      const row = this.byId.get(id);
      const chain = this.chains.get(id);
      if (row === undefined || chain === undefined) {
        this.fault(
          'answers never contradict the end',
          `${looks[0]?.look.route} ${looks[0]?.look.refId} was shown as ${id}, which is not stored`,
        );
        continue;
      }
      let from = 0;
      for (const look of [...looks].sort((a, b) => a.at - b.at)) {
        const place = chain.indexOf(look.state, from);
        // A tombstone's or a rollback's history does not show how it began.
        if (place < 0 && !(look.state === 'initiated' && chain.length === 1))
          this.fault(
            'answers never contradict the end',
            `${row.movement} ${row.ref_id} was shown as ${look.state}; its history is ${chain.join(' -> ')}`,
            row,
          );
        from = Math.max(from, place);
      }
    }
  }

  // ---- the machinery
  // --------------------------------------------------------------------------------------------------------------------

  private lanesAndLogs(): void {
    const { lanes, metrics, audit, logged, callbacks, parked } = this.facts;
    if (lanes.withoutHead !== 0)
      this.fault('every lane has a head', `${lanes.withoutHead} lanes hold messages but no head`);
    if (lanes.waiting !== 0) this.fault('nothing stays open', `${lanes.waiting} lanes still hold messages`);
    if (lanes.repaired !== 0 || metrics.repairedLanes !== 0 || (logged['outbox.lanes_repaired'] ?? 0) !== 0)
      this.fault('every lane has a head', 'a lane had to be given its head back');
    if (metrics.contradictions !== 0)
      this.fault('states follow the arrows', `${metrics.contradictions} contradictions were counted`);
    if (audit !== null) this.fault('the audit chain is whole', audit);
    for (const name of ['outbox.delivery_crashed', 'wallet.contradiction', 'http.failed internal_error'])
      if ((logged[name] ?? 0) > 0)
        this.fault('the hubs found no fault of their own', `${name} was logged ${logged[name]} times`);
    for (const { verdict, ref_id, body } of callbacks) {
      // Callbacks about repayments name a reference that no movement of the RGS has.
      const known =
        verdict === 'applied' ||
        verdict === 'repeated' ||
        (verdict === 'undecided' && body.includes('MAYBE')) ||
        (verdict === 'unmatched' && ref_id.startsWith('rollback:'));
      if (!known) this.fault('callbacks are understood', `a callback about ${ref_id} was ${verdict}: ${body}`);
    }
    if (this.log.unanswered.length === 0 && this.log.sent.length < this.plan.requests)
      this.fault(
        'every request is answered',
        `${this.plan.requests} requests were planned, ${this.log.sent.length} were sent`,
      );
    if (parked.length > 0 && this.facts.transactions.filter(({ state }) => state === 'parked').length !== parked.length)
      this.fault('nothing stays open', 'the list of parked money does not agree with the states');
  }
}

function isAnswer({ status }: Sending): boolean {
  return status !== null && status < 500 && status !== 429;
}

function isAccepted({ status }: Sending): boolean {
  return status === 200 || status === 202;
}

function meaningOf({ status, text }: Sending): string {
  return status === 200 || status === 202 ? 'ok' : (/"code":"(\w+)"/.exec(text)?.[1] ?? String(status));
}

export function transactionIdOf({ text }: Sending): string {
  return /"transactionId":"([0-9a-f-]{36})"/.exec(text)?.[1] ?? 'nothing';
}

function businessKey(movement: string, playerId: string, refId: string): string {
  return `${movement} ${playerId} ${refId}`;
}

function bookKey(playerId: string, direction: string, reference: string): string {
  return `${playerId} ${direction} ${reference}`;
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** All that happened to one transaction, from every side, in its order of time. */
export function timelineOf(id: string, log: GameServerLog, facts: Facts, loadStartedAt: number): string[] {
  const row = facts.transactions.find((transaction) => transaction.id === id);
  if (row === undefined) return [`${id} is not stored`];
  const lines: { at: number; text: string }[] = [];
  const say = (at: number, text: string): void => void lines.push({ at, text });
  say(
    row.created_at.getTime(),
    `hub: ${row.movement} ${row.ref_id} of ${row.player_id}, ${row.amount_minor} ${row.currency}, round ${row.round_id ?? '-'}; now ${row.state} (${row.reason ?? '-'})`,
  );
  for (const event of facts.events)
    if (event.transaction_id === id)
      say(
        event.at.getTime(),
        `hub: ${event.kind} ${event.from_state} -> ${event.to_state} by ${event.source} ${JSON.stringify(event.evidence)}`,
      );
  const messages = new Map(
    facts.messages.filter(({ transaction_id }) => transaction_id === id).map((message) => [message.id, message]),
  );
  for (const attempt of facts.attempts) {
    const message = messages.get(attempt.message_id);
    if (message !== undefined)
      say(
        attempt.at.getTime(),
        `outbox: ${message.queue} ${message.event_type} place ${message.lane_seq ?? '-'} attempt ${attempt.n}: ${attempt.class} (${attempt.status ?? '-'}) ${attempt.error ?? ''} -> ${attempt.outcome}, ${attempt.duration_ms ?? '-'} ms, ${attempt.replica}`,
      );
  }
  for (const call of facts.operatorCalls)
    if (
      call.playerId === row.external_player_id &&
      (call.reference === row.ref_id || call.reference === `rollback:${row.ref_id}`)
    )
      say(
        call.at,
        `operator: ${call.direction} ${call.reference} ${call.fault === null ? '' : `fault ${call.fault} `}applied ${call.applied} repeat ${call.repeat} -> ${call.status ?? 'no answer'}`,
      );
  for (const callback of facts.callbacks)
    if (callback.correlation_id === id)
      say(callback.first_at.getTime(), `callback: ${callback.verdict}, seen ${callback.seen} times: ${callback.body}`);
  for (const { request, sendings } of log.sent)
    if (
      request.body.playerId === row.player_id &&
      (request.body.refId === row.ref_id || request.body.originalRefId === row.ref_id)
    )
      for (const sending of sendings) {
        say(
          loadStartedAt + sending.at,
          `rgs: ${request.route} ${request.body.refId} key ${request.key ?? '-'} to hub ${sending.hub}`,
        );
        say(
          loadStartedAt + sending.endedAt,
          `rgs: ${request.route} ${request.body.refId} answered ${sending.status ?? 'nothing'} ${sending.text.slice(0, 200)}`,
        );
      }
  for (const call of facts.rgsCalls) {
    const message = messages.get(call.headers['idempotency-key'] ?? '');
    if (message !== undefined)
      say(call.at, `webhook: ${message.id} ${call.stored ? 'stored' : 'not stored'} -> ${call.status ?? 'no answer'}`);
  }
  const first = Math.min(...lines.map(({ at }) => at));
  return lines
    .sort((a, b) => a.at - b.at)
    .map(({ at, text }) => `${((at - first) / 1000).toFixed(3).padStart(9)} s  ${text}`);
}

/** The transactions that the violations name and the bets of rollbacks among them, each once. */
export function offendersOf(violations: readonly Violation[], facts: Facts): string[] {
  const bets = new Map(facts.transactions.map(({ id, original_id }) => [id, original_id]));
  return [
    ...new Set(
      violations.flatMap(({ transactionId }) =>
        transactionId === null ? [] : [transactionId, bets.get(transactionId) ?? transactionId],
      ),
    ),
  ];
}

export type { Sent };
