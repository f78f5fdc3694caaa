import type { BookingLimits } from '../../src/outbox/lease-rules';
import type { NextStep, LeasedMessage } from '../../src/outbox/outbox-message';
import type { MessagePosition } from '../../src/outbox/outbox.store';
import type { OutcomeClass } from '../../src/partners/operator-wire';
import type { RgsOutcome } from '../../src/partners/rgs-wire';
import type { Facts, AttemptResult, OperatorReport } from '../../src/wallet/rules/operator-report';
import type { TransactionState } from '../../src/wallet/transaction-state';
import { isOutcomeKnown } from '../../src/wallet/transaction-state';
import * as at from './layout';
import { ACTION, type Action } from './actions';
import { FAULTS } from './invariants';
import { RULES, type Rules, STORE, type Store } from './rules';
import { GRACE_TICKS, MAX_RETRIES, type Scenario, TICK_MS, TIMEOUT_TICKS } from './scenario';

/** Ranks of a step in the two runs that show that nothing stands still; 0: no part of it. The lowest goes first. */
export interface Ranks {
  /** Everybody does what he should. */
  readonly willing: number;
  /** The hub does what it should, and the operator never answers. */
  readonly silent: number;
}

export type Sink = (action: Action, target: number, ranks: Ranks) => void;

const NO_RANK: Ranks = { willing: 0, silent: 0 };
const SETTLES: Ranks = { willing: 1, silent: 1 };
const ATTEMPTS_: Ranks = { willing: 2, silent: 2 };
const ANSWERS: Ranks = { willing: 3, silent: 0 };
const IS_SILENT: Ranks = { willing: 0, silent: 3 };
const CLAIMS_: Ranks = { willing: 5, silent: 5 };
const SWEEPS: Ranks = { willing: 6, silent: 6 };
const DECIDES: Ranks = { willing: 7, silent: 0 };
const TICKS: Ranks = { willing: 9, silent: 9 };

/** Shortly after a tick, as every real moment is shortly after another. */
const MOMENT_MS = 1;
const RANDOM = 0.5;
const LEFT_LONG_AGO = new Date(0);
const UNDO_WORDS = [null, 'deadline', 'rollback'] as const;
const NOTICES: Readonly<Record<RgsOutcome, number>> = {
  OK: at.TOLD_OK,
  REJECTED: at.TOLD_REJECTED,
  ROLLED_BACK: at.TOLD_ROLLED_BACK,
};

/** A target is a movement (place * 4), one of its messages (+ leg * 2) and one of that message's workers (+ slot). */
export const targetOf = (place: number, leg = 0, slot = 0): number => place * 4 + leg * 2 + slot;

/**
 * All that may happen next in a state. The rules are the hub's; what is written here is the store, the network, the
 * operator, the RGS and the people.
 */
export class Machine {
  readonly size: number;
  /** The state that a step leads to, while the sink is told of it. */
  readonly next: Uint8Array;
  private from: Uint8Array = new Uint8Array(0);
  private sink: Sink = () => undefined;
  private readonly rules: Rules;
  private readonly store: Store;
  private readonly operator: {
    readonly idempotentByReference: boolean;
    readonly statusQuery: boolean;
    readonly refusalIsFinal: boolean;
  };
  private readonly retry: { readonly scheduleSeconds: readonly number[]; readonly callbackTimeoutSeconds: number };
  private readonly limits: BookingLimits;
  private readonly leaseMs: number;
  private readonly is: (assumption: Scenario['beyond'][number]) => boolean;

  constructor(
    readonly scenario: Scenario,
    changes: { readonly rules?: Partial<Rules>; readonly store?: Partial<Store> } = {},
  ) {
    this.rules = { ...RULES, ...changes.rules };
    this.store = { ...STORE, ...changes.store };
    this.size = at.sizeOf(scenario.movements.length);
    this.next = new Uint8Array(new ArrayBuffer(this.size));
    this.operator = {
      idempotentByReference: scenario.idempotent,
      statusQuery: scenario.status,
      refusalIsFinal: scenario.finalRefusals,
    };
    this.retry = {
      scheduleSeconds: Array.from({ length: scenario.schedule }, () => 0.001),
      callbackTimeoutSeconds: (scenario.callbackTicks * TICK_MS) / 1000,
    };
    this.limits = {
      timeoutMs: TIMEOUT_TICKS * TICK_MS,
      callbackTimeoutMs: scenario.callbackTicks * TICK_MS,
      graceMs: GRACE_TICKS * TICK_MS,
      answersLater: scenario.later,
    };
    this.leaseMs = scenario.leaseTicks * TICK_MS;
    this.is = (assumption) => scenario.beyond.includes(assumption);
  }

  start(): Uint8Array {
    const state = new Uint8Array(new ArrayBuffer(this.size));
    this.scenario.movements.forEach((movement, place) => {
      const t = at.movementAt(place);
      state[t + at.STATE] = at.NOT_PLACED;
      state[t + at.DEADLINE] = movement === 'debit' && this.scenario.deadline ? this.scenario.deadlineTicks : at.NEVER;
    });
    return state;
  }

  /** Tells the sink of each step; `next` holds its state meanwhile. */
  expand(from: Uint8Array, sink: Sink): void {
    this.from = from;
    this.sink = sink;
    this.time();
    for (let place = 0; place < this.scenario.movements.length; place += 1) {
      this.rgs(place);
      if (this.get(at.movementAt(place) + at.STATE) === at.NOT_PLACED) continue;
      this.sweep(place);
      this.person(place);
      for (let leg = 0; leg < 2; leg += 1) {
        if (
          this.get(at.messageAt(place, leg) + at.PLACE) === at.NOWHERE &&
          this.get(at.messageAt(place, leg) + at.BOOKED) === 0
        )
          continue;
        this.claim(place, leg);
        this.network(place, leg);
        this.callback(place, leg);
        this.ops(place, leg);
        for (let slot = 0; slot < 2; slot += 1) this.worker(place, leg, slot);
      }
    }
  }

  private get(offset: number): number {
    return this.from[offset] as number;
  }

  private now(offset: number): number {
    return this.next[offset] as number;
  }

  private set(offset: number, value: number): void {
    this.next[offset] = value;
  }

  private add(offset: number, value: number): void {
    this.next[offset] = (this.next[offset] as number) + value;
  }

  /** Begins a step. */
  private step(): void {
    this.next.set(this.from);
  }

  private tell(action: Action, target: number, ranks: Ranks = NO_RANK): void {
    this.sink(action, target, ranks);
  }

  private has(budget: at.Budget): boolean {
    return this.get(at.SPENT + at.BUDGETS.indexOf(budget)) < this.scenario.budgets[budget];
  }

  private spend(budget: at.Budget): void {
    this.add(at.SPENT + at.BUDGETS.indexOf(budget), 1);
  }

  private fault(fault: keyof typeof FAULTS): void {
    if (this.now(at.FAULT) === 0 || fault === 'unseen') this.set(at.FAULT, FAULTS[fault].code);
  }

  private stateAt(t: number): TransactionState {
    return at.STATES[this.now(t + at.STATE)] as TransactionState;
  }

  private facts(place: number): Facts {
    const t = at.movementAt(place);
    const absent = this.now(t + at.ABSENT);
    return {
      state: this.stateAt(t),
      movement: this.scenario.movements[place] as Facts['movement'],
      reversal: UNDO_WORDS[this.now(t + at.UNDO)] ?? null,
      reversalMessageId: this.now(at.messageAt(place, 1) + at.PLACE) === at.NOWHERE ? null : 'undo',
      absentForMs: absent === 0 ? null : (absent - 1) * TICK_MS,
    };
  }

  private pastDeadline(t: number): boolean {
    return this.now(t + at.DEADLINE) === 0;
  }

  // ---------------------------------------------------------------- time

  private time(): void {
    const { movements, leaseTicks } = this.scenario;
    let lingers = false;
    for (let place = 0; place < movements.length; place += 1)
      for (let leg = 0; leg < 2; leg += 1)
        for (let slot = 0; slot < 2; slot += 1) {
          const w = at.workerAt(at.messageAt(place, leg), slot);
          const phase = this.get(w + at.PHASE);
          if (phase === at.NOBODY) continue;
          // A call ends at its time-out, and a question with its lease.
          if (phase === at.CALLING && this.get(w + at.TRY_AGE) >= TIMEOUT_TICKS) return;
          if (phase === at.ASKING && this.get(w + at.AGE) >= leaseTicks - 1) return;
          if (phase === at.CLAIMED || phase === at.DONE) lingers = true;
        }
    if (lingers && !this.has('stalls')) return;
    this.step();
    if (lingers) this.spend('stalls');
    for (let place = 0; place < movements.length; place += 1) this.ages(place);
    this.tell(ACTION.tick, 0, TICKS);
  }

  private ages(place: number): void {
    const t = at.movementAt(place);
    if (this.now(t + at.STATE) === at.NOT_PLACED) return;
    const deadline = this.now(t + at.DEADLINE);
    if (deadline !== at.NEVER && deadline > 0) this.set(t + at.DEADLINE, deadline - 1);
    const absent = this.now(t + at.ABSENT);
    if (absent > 0 && absent < 8) this.set(t + at.ABSENT, absent + 1);
    for (let leg = 0; leg < 2; leg += 1) {
      const m = at.messageAt(place, leg);
      if (this.now(m + at.DUE) > 0) this.add(m + at.DUE, -1);
      if (this.now(m + at.LANDS) > 1) this.add(m + at.LANDS, -1);
      // Undecided for that long, it is never booked.
      if (this.now(m + at.PENDING) > 2) this.add(m + at.PENDING, -1);
      else if (!this.is('slow')) this.set(m + at.PENDING, 0);
      this.set(m + at.LATE_1, this.now(m + at.LATE_2));
      this.set(m + at.LATE_2, 0);
      for (let slot = 0; slot < 2; slot += 1) {
        const w = at.workerAt(m, slot);
        const phase = this.now(w + at.PHASE);
        if (phase === at.NOBODY) continue;
        if (this.now(w + at.AGE) < 8) this.add(w + at.AGE, 1);
        if (phase !== at.CLAIMED && this.now(w + at.BEGAN) < 8) this.add(w + at.BEGAN, 1);
        if (phase === at.CALLING) this.add(w + at.TRY_AGE, 1);
      }
    }
  }

  // ---------------------------------------------------------------- the RGS

  private rgs(place: number): void {
    const t = at.movementAt(place);
    const { movements } = this.scenario;
    if (this.get(t + at.STATE) === at.NOT_PLACED) {
      const isNext = place === 0 || this.get(at.movementAt(place - 1) + at.STATE) !== at.NOT_PLACED;
      if (!isNext) return;
      this.step();
      const m = at.messageAt(place, 0);
      if (this.now(t + at.TOMBSTONE) === 1) {
        // Its place is held: 409, and nothing goes to the operator.
        this.set(t + at.STATE, at.STATE_OF.rolled_back);
        this.set(m + at.PLACE, at.DEAD);
        if (this.now(at.HEAD) === place) this.advance();
      } else {
        this.set(t + at.STATE, at.STATE_OF.initiated);
        this.set(m + at.IN_LANE, 1);
        this.set(m + at.PLACE, this.now(at.HEAD) === place || !this.store.lanesAreOrdered ? at.IDLE : at.WAITING);
      }
      this.tell(ACTION.place, targetOf(place));
      if (movements[place] === 'debit' && place === 0 && this.get(t + at.TOMBSTONE) === 0 && this.has('rollbacks')) {
        this.step();
        this.spend('rollbacks');
        this.set(t + at.TOMBSTONE, 1);
        this.set(t + at.ASKED, at.ASKED_NOTHING);
        this.tell(ACTION.rollback, targetOf(place));
      }
      return;
    }
    if (movements[place] !== 'debit' || !this.has('rollbacks') || this.get(t + at.ASKED) === at.ASKED_WAITS) return;
    this.rollback(place);
  }

  private rollback(place: number): void {
    const t = at.movementAt(place);
    const m = at.messageAt(place, 0);
    this.step();
    const state = this.stateAt(t);
    const isOpen = state === 'initiated' || state === 'unknown' || state === 'parked';
    const { answer, step, endsWithWin } = this.rules.reversalStepOf(
      { state, reversal: UNDO_WORDS[this.now(t + at.UNDO)] ?? null, tombstone: this.now(t + at.TOMBSTONE) === 1 },
      isOpen && this.position(m).possiblySent,
    );
    const hasWin = this.scenario.movements.some(
      (movement, other) =>
        movement === 'credit' &&
        ![at.NOT_PLACED, at.STATE_OF.rejected].includes(this.now(at.movementAt(other) + at.STATE)),
    );
    if (endsWithWin && hasWin) return;
    this.spend('rollbacks');
    if (hasWin && step !== 'none' && this.now(t + at.UNDO) === 0) this.fault('undoneAfterWin');
    this.set(t + at.ASKED, answer === null ? at.ASKED_WAITS : answer ? at.ASKED_UNDONE : at.ASKED_NOTHING);
    if (step === 'pay_back') {
      this.set(t + at.UNDO, 2);
      this.goTo(place, 'rolling_back', null);
    } else if (step === 'end') {
      this.set(t + at.UNDO, 2);
      this.goTo(place, 'rejected', 'REJECTED');
      this.finish(place, 0, 'dead');
    } else if (step === 'recall') {
      this.set(t + at.UNDO, 2);
      this.recall(m);
      if (this.now(m + at.PLACE) === at.IDLE) this.set(m + at.DUE, 0);
    }
    this.tell(ACTION.rollback, targetOf(place));
  }

  private recall(m: number): void {
    if (this.store.recallExpires) this.set(m + at.RECALLED, 1);
  }

  // ---------------------------------------------------------------- the store

  private position(m: number): MessagePosition {
    const place = this.now(m + at.PLACE);
    const landsInMs = Math.max(0, this.now(m + at.LANDS) - 1) * TICK_MS;
    if (place === at.LEASED && this.now(m + at.DUE) > 0) return { place: 'in_flight', possiblySent: true, landsInMs };
    if (place === at.IDLE || place === at.BLOCKED || place === at.LEASED)
      return { place: 'idle', possiblySent: place === at.LEASED || this.now(m + at.CLAIMS) > 0, landsInMs };
    if (place === at.WAITING) return { place: 'waiting', possiblySent: false, landsInMs: 0 };
    return { place: 'done', possiblySent: true, landsInMs };
  }

  private goTo(place: number, to: TransactionState, notification: RgsOutcome | null): void {
    const t = at.movementAt(place);
    const reversal = UNDO_WORDS[this.now(t + at.UNDO)] ?? null;
    this.set(t + at.STATE, at.STATE_OF[to]);
    if (this.rules.beginsReversal({ messageId: 'movement' }, to)) {
      const m = at.messageAt(place, 1);
      for (let offset = m; offset < m + at.BOOKED; offset += 1) this.set(offset, 0);
      // Of an earlier repayment, which a person found refused, nothing can leave any more: whoever holds it finds its
      // movement settled.
      this.next.fill(0, at.workerAt(m, 0), m + at.MESSAGE_SIZE);
      this.set(m + at.PLACE, at.IDLE);
      this.set(t + at.ABSENT, 0);
    }
    if (notification !== null) this.set(t + at.TOLD, this.now(t + at.TOLD) | NOTICES[notification]);
    const heard = this.rules.rollbacksHear(
      { movement: this.scenario.movements[place] as Facts['movement'], reversal },
      to,
    );
    if (heard !== null && this.now(t + at.ASKED) === at.ASKED_WAITS)
      this.set(
        t + at.ASKED,
        heard.state === 'rejected' ? at.ASKED_STANDS : heard.applied ? at.ASKED_UNDONE : at.ASKED_NOTHING,
      );
  }

  private finish(place: number, leg: number, outcome: 'sent' | 'dead'): void {
    const m = at.messageAt(place, leg);
    switch (this.rules.endingOf(this.position(m).place, outcome)) {
      case 'settle':
        this.ends(place, leg, outcome);
        return;
      case 'expire':
        this.recall(m);
        return;
      case 'leave':
        return;
    }
  }

  /** The message is done, and its lane goes on. */
  private ends(place: number, leg: number, outcome: 'sent' | 'dead'): void {
    const m = at.messageAt(place, leg);
    const advances = leg === 0 && this.now(m + at.IN_LANE) === 1;
    this.set(m + at.PLACE, outcome === 'sent' ? at.SENT : at.DEAD);
    for (const field of [at.DUE, at.CLAIMS, at.ATTEMPTS, at.LOST, at.IN_LANE]) this.set(m + field, 0);
    if (outcome === 'sent' || !this.store.deadKeepsLanding) this.set(m + at.LANDS, 0);
    // What it still brings counts for nothing.
    for (let slot = 0; slot < 2; slot += 1)
      if (this.now(at.workerAt(m, slot) + at.PHASE) !== at.NOBODY) this.set(at.workerAt(m, slot) + at.STALE, 1);
    if (advances && this.store.lanesAdvance) this.advance();
  }

  private advance(): void {
    this.add(at.HEAD, 1);
    const head = this.now(at.HEAD);
    if (head >= this.scenario.movements.length) return;
    const m = at.messageAt(head, 0);
    if (this.now(m + at.PLACE) === at.WAITING) this.set(m + at.PLACE, at.IDLE);
  }

  private settle(
    place: number,
    leg: number,
    disposition: NextStep,
    landing: ReturnType<Rules['landingOf']>,
    had: number,
  ): void {
    const m = at.messageAt(place, leg);
    if (landing !== null) {
      const kept = landing.hadMayLandUntil === null ? 0 : had;
      const lost = landing.lost ? 1 + Math.round(landing.landsMs / TICK_MS) : 0;
      this.set(m + at.LANDS, Math.max(kept, lost));
    }
    const { outcome } = disposition;
    if (outcome === 'sent' || outcome === 'dead') {
      this.ends(place, leg, outcome);
      return;
    }
    this.set(m + at.PLACE, outcome === 'blocked' ? at.BLOCKED : at.IDLE);
    this.set(m + at.DUE, outcome === 'blocked' ? 0 : Math.max(0, Math.round(disposition.delayMs / TICK_MS)));
    if (outcome === 'released') this.add(m + at.CLAIMS, -1);
    else this.add(m + at.ATTEMPTS, 1);
    if (outcome === 'blocked' && leg === 0 && !this.store.blockedHoldsLane && this.now(m + at.IN_LANE) === 1) {
      this.set(m + at.IN_LANE, 0);
      this.advance();
    }
  }

  private claim(place: number, leg: number): void {
    const m = at.messageAt(place, leg);
    const held = this.get(m + at.PLACE);
    if ((held !== at.IDLE && held !== at.LEASED) || this.get(m + at.DUE) > 0) return;
    this.step();
    const old = at.workerAt(m, 0);
    if (this.now(old + at.PHASE) !== at.NOBODY) {
      // Alive, and late: it works on beside the new one. One that is older still is forgotten, since nothing that it
      // brings counts.
      if (held === at.LEASED && this.store.leasesExclude) this.set(old + at.STALE, 1);
      this.next.copyWithin(at.workerAt(m, 1), old, old + at.WORKER_SIZE);
    }
    const had = this.now(m + at.LANDS);
    if (held === at.LEASED && this.store.countsLostLeases) {
      this.add(m + at.ATTEMPTS, 1);
      this.add(m + at.LOST, 1);
    }
    this.add(m + at.CLAIMS, 1);
    this.set(m + at.PLACE, at.LEASED);
    this.set(m + at.DUE, this.scenario.leaseTicks);
    if (this.store.landsAtClaim)
      this.set(
        m + at.LANDS,
        Math.max(had, 1 + Math.round(this.rules.landsAfterClaimMs(this.leaseMs, this.limits) / TICK_MS)),
      );
    this.next.fill(0, old, old + at.WORKER_SIZE);
    this.set(old + at.PHASE, at.CLAIMED);
    this.set(old + at.HAD_CLAIMS, this.now(m + at.CLAIMS));
    this.set(old + at.HAD_ATTEMPTS, this.now(m + at.ATTEMPTS));
    this.set(old + at.HAD_LANDS, had);
    this.set(old + at.EXPIRES, this.expiryOf(place, leg));
    this.tell(ACTION.claim, targetOf(place, leg), CLAIMS_);
  }

  private expiryOf(place: number, leg: number): number {
    if (this.now(at.messageAt(place, leg) + at.RECALLED) === 1) return 1;
    const deadline = this.now(at.movementAt(place) + at.DEADLINE);
    return leg === 1 || deadline === at.NEVER ? 0 : 1 + deadline;
  }

  // ---------------------------------------------------------------- workers

  private worker(place: number, leg: number, slot: number): void {
    const w = at.workerAt(at.messageAt(place, leg), slot);
    const phase = this.get(w + at.PHASE);
    if (phase === at.NOBODY) return;
    const target = targetOf(place, leg, slot);
    if (this.has('crashes') && slot === 0) {
      this.step();
      this.spend('crashes');
      if (phase === at.CALLING) this.orphan(place, leg, w);
      this.next.fill(0, w, w + at.WORKER_SIZE);
      this.tell(ACTION.crash, target);
    }
    if (phase === at.CLAIMED) {
      this.step();
      this.attempt(place, leg, w, false);
      this.tell(ACTION.attempt, target, ATTEMPTS_);
      if (this.is('frozen') && this.get(w + at.AGE) > 0 && this.has('breaches')) {
        this.step();
        this.spend('breaches');
        this.attempt(place, leg, w, true);
        this.tell(ACTION.leavesLate, target);
      }
    } else if (phase === at.DONE) {
      this.step();
      this.settles(place, leg, w);
      this.tell(ACTION.settle, target, SETTLES);
    } else if (phase === at.ASKING) {
      this.answersQuestion(place, leg, w, target);
    } else {
      this.callEnds(place, leg, w, target);
      if (this.get(w + at.REQUEST) === 1) this.operatorAnswers(place, leg, w, target);
    }
  }

  private leased(
    leg: number,
    w: number,
  ): Pick<
    LeasedMessage,
    'id' | 'eventType' | 'attempts' | 'claims' | 'releases' | 'mayLandUntil' | 'landsAt' | 'expiresInMs' | 'firstSentAt'
  > {
    const had = this.now(w + at.HAD_LANDS);
    const expires = this.now(w + at.EXPIRES);
    return {
      id: leg === 0 ? 'movement' : 'undo',
      eventType: 'debit',
      attempts: this.now(w + at.HAD_ATTEMPTS),
      claims: this.now(w + at.HAD_CLAIMS),
      releases: 0,
      firstSentAt: null,
      mayLandUntil: had === 0 ? null : LEFT_LONG_AGO,
      landsAt: had === 0 ? null : (had - 1 - this.now(w + at.AGE)) * TICK_MS,
      expiresInMs:
        expires === 0 ? null : expires === 1 ? -1 : (expires - 1) * TICK_MS - (this.scenario.punctual ? MOMENT_MS : 0),
    };
  }

  private sinceClaimMs(w: number): number {
    return this.now(w + at.AGE) * TICK_MS + (this.scenario.punctual ? 0 : MOMENT_MS);
  }

  private endBy(leg: number, w: number): number {
    return this.rules.endsWithinMs(this.leaseMs, this.limits.timeoutMs, this.leased(leg, w).expiresInMs);
  }

  private done(w: number, kind: number, said: OutcomeClass): void {
    this.set(w + at.PHASE, at.DONE);
    this.set(w + at.KIND, kind);
    this.set(w + at.CLASS, at.CLASS_OF[said]);
    this.set(w + at.REQUEST, 0);
    this.set(w + at.TRY_AGE, 0);
    if (kind >= at.CONCLUDED_SENT) this.set(w + at.BEGAN, this.now(w + at.AGE));
  }

  private attempt(place: number, leg: number, w: number, frozen: boolean): void {
    const t = at.movementAt(place);
    const m = at.messageAt(place, leg);
    if (this.now(w + at.STALE) === 0 && this.rules.handlingOf(this.now(m + at.LOST)) === 'set_aside') {
      this.done(w, at.CONCLUDED_BLOCKED, 'unknown');
      return;
    }
    const message = this.leased(leg, w);
    if (!this.rules.goesStraight(message, this.rules.isExpiredAfter(message, this.sinceClaimMs(w)))) {
      const planned = this.rules.planOf(
        {
          state: this.stateAt(t),
          movement: this.scenario.movements[place] as Facts['movement'],
          reversal: UNDO_WORDS[this.now(t + at.UNDO)] ?? null,
          isReversal: leg === 1,
          reversing: this.now(at.messageAt(place, 1) + at.PLACE) !== at.NOWHERE,
          isExpired: message.expiresInMs !== null && message.expiresInMs <= 0,
          mayBeBooked: message.mayLandUntil !== null,
        },
        this.operator,
      );
      switch (planned) {
        case 'send':
          break;
        case 'ask':
          this.asks(m, w);
          return;
        case 'give_up':
          this.concludes(w, { action: 'give_up' });
          return;
        case 'expire_deadline':
        case 'expire_rolled_back':
          this.concludes(w, { action: 'expire', reason: planned === 'expire_deadline' ? 'deadline' : 'rolled_back' });
          return;
        case 'finish_sent':
        case 'finish_dead':
          this.concludes(w, { action: 'finish', outcome: planned === 'finish_sent' ? 'sent' : 'dead' });
          return;
      }
    }
    if (
      !frozen &&
      (this.rules.outlastsLease(this.leaseMs, this.limits.timeoutMs, this.sinceClaimMs(w)) ||
        !this.rules.mayLeave(this.sinceClaimMs(w), this.limits.timeoutMs, this.endBy(leg, w)))
    ) {
      this.done(w, at.UNSENT, 'throttled');
      return;
    }
    this.leaves(place, leg, w);
  }

  private concludes(w: number, plan: Parameters<Rules['conclusionOf']>[0]): void {
    const { class: said, outcome } = this.rules.conclusionOf(plan);
    this.done(
      w,
      outcome === 'sent' ? at.CONCLUDED_SENT : outcome === 'dead' ? at.CONCLUDED_DEAD : at.CONCLUDED_BLOCKED,
      said,
    );
  }

  private asks(m: number, w: number): void {
    if (this.rules.outlastsLease(this.leaseMs, this.limits.timeoutMs, this.sinceClaimMs(w))) {
      this.done(w, at.UNSENT, 'throttled');
      return;
    }
    this.set(w + at.PHASE, at.ASKING);
    this.set(w + at.KIND, at.QUESTION);
    this.set(w + at.TRIES, 1);
    this.set(w + at.BEGAN, 0);
    this.set(w + at.SEEN, this.now(m + at.BOOKED) > 0 ? 1 : 0);
  }

  private leaves(place: number, leg: number, w: number): void {
    const t = at.movementAt(place);
    this.set(w + at.PHASE, at.CALLING);
    if (this.now(w + at.TRIES) === 0) this.set(w + at.BEGAN, 0);
    this.add(w + at.TRIES, 1);
    this.set(w + at.TRY_AGE, 0);
    this.set(w + at.REQUEST, 1);
    if (leg === 1) return;
    if (
      this.scenario.movements[place] === 'debit' &&
      this.pastDeadline(t) &&
      this.now(w + at.HAD_CLAIMS) <= 1 &&
      this.now(w + at.HAD_LANDS) === 0 &&
      this.now(w + at.TRIES) === 1
    )
      this.fault('sentAfterDeadline');
    if (this.stateAt(t) === 'rejected') this.fault('sentAfterRejected');
    for (let before = 0; before < place; before += 1) {
      const b = at.movementAt(before);
      if (
        this.scenario.movements[before] === 'debit' &&
        !isOutcomeKnown(this.stateAt(b)) &&
        this.stateAt(b) !== 'rejected' &&
        this.now(at.messageAt(before, 1) + at.PLACE) === at.NOWHERE
      )
        this.fault('overtaken');
    }
  }

  /** Nobody waits for it any more, and the operator may book it within what is left of time-out and grace. */
  private orphan(place: number, leg: number, w: number): void {
    if (this.now(w + at.REQUEST) === 0) return;
    const m = at.messageAt(place, leg);
    const left = TIMEOUT_TICKS + GRACE_TICKS - this.now(w + at.TRY_AGE);
    this.add(m + (this.is('late') ? at.LATE_EVER : left >= 2 ? at.LATE_2 : at.LATE_1), 1);
    this.set(w + at.REQUEST, 0);
  }

  private callEnds(place: number, leg: number, w: number, target: number): void {
    const timedOut = this.get(w + at.TRY_AGE) >= TIMEOUT_TICKS;
    if (!timedOut && !this.has('losses')) return;
    this.step();
    if (!timedOut) this.spend('losses');
    this.orphan(place, leg, w);
    const repeats =
      this.now(w + at.TRIES) <= MAX_RETRIES &&
      this.rules.isRepeated(
        { kind: 'lost' },
        this.operator.idempotentByReference,
        this.sinceClaimMs(w) + this.limits.timeoutMs,
        this.endBy(leg, w),
      );
    // The permit of a repeat is refused once the message expired, and so is a repeat that would come too late.
    const isExpired =
      this.now(at.messageAt(place, leg) + at.RECALLED) === 1 || (leg === 0 && this.pastDeadline(at.movementAt(place)));
    if (repeats && !isExpired && this.rules.mayLeave(this.sinceClaimMs(w), this.limits.timeoutMs, this.endBy(leg, w)))
      this.leaves(place, leg, w);
    else this.done(w, at.CALL, 'unknown');
    this.tell(
      timedOut ? ACTION.timeOut : ACTION.reset,
      target,
      timedOut ? (repeats ? { willing: 3, silent: 3 } : { willing: 4, silent: 4 }) : NO_RANK,
    );
  }

  private answersQuestion(place: number, leg: number, w: number, target: number): void {
    const m = at.messageAt(place, leg);
    const found = this.get(m + at.BOOKED) > 0 && (this.get(m + at.MEMORY) & at.FORGOT) === 0;
    // A list may be read before or after what was booked meanwhile.
    if (found) {
      this.step();
      this.done(w, at.QUESTION, 'applied');
      this.tell(ACTION.found, target, ANSWERS);
    }
    if (
      this.get(w + at.SEEN) === 0 ||
      (this.get(m + at.MEMORY) & at.FORGOT) !== 0 ||
      (this.is('lags') && this.has('breaches'))
    ) {
      this.step();
      if (this.get(w + at.SEEN) === 1) this.spend('breaches');
      this.done(w, at.QUESTION, 'absent');
      this.tell(ACTION.absent, target, found ? NO_RANK : ANSWERS);
    }
    this.step();
    this.done(w, at.QUESTION, 'unknown');
    this.tell(ACTION.unreadable, target, IS_SILENT);
  }

  // ---------------------------------------------------------------- the operator

  private knows(m: number): boolean {
    return (
      this.scenario.idempotent &&
      this.get(m + at.BOOKED) > 0 &&
      !this.is('doubles') &&
      (this.get(m + at.MEMORY) & at.FORGOT) === 0
    );
  }

  private isClosed(m: number): boolean {
    return (this.get(m + at.MEMORY) & at.CLOSED) !== 0 && !this.knows(m);
  }

  private books(m: number): void {
    if (this.knows(m)) return;
    if (this.now(m + at.BOOKED) < 3) this.add(m + at.BOOKED, 1);
    this.set(m + at.MEMORY, this.now(m + at.MEMORY) & ~at.FORGOT);
  }

  private answer(w: number, said: OutcomeClass): void {
    this.done(w, at.CALL, this.rules.classAfterTries(said, this.now(w + at.TRIES)));
  }

  private operatorAnswers(place: number, leg: number, w: number, target: number): void {
    const m = at.messageAt(place, leg);
    const isPending = this.get(m + at.PENDING) > 0 && this.scenario.idempotent;
    const closed = this.isClosed(m);
    if (!closed && !isPending) {
      this.step();
      this.books(m);
      this.answer(w, 'applied');
      this.tell(ACTION.ok, target, ANSWERS);
      if (this.get(w + at.TRY_AGE) < TIMEOUT_TICKS) {
        this.step();
        this.books(m);
        this.set(w + at.REQUEST, 0);
        this.tell(ACTION.bookedAnswerLost, target);
      }
    }
    if (isPending) {
      this.step();
      this.answer(w, 'accepted');
      this.tell(ACTION.acceptedAgain, target, ANSWERS);
    }
    if (closed || (!this.knows(m) && !isPending && this.has('refusals'))) {
      this.step();
      if (!closed) this.spend('refusals');
      if (this.scenario.finalRefusals && !this.is('unkept'))
        this.set(m + at.MEMORY, this.now(m + at.MEMORY) | at.CLOSED);
      this.answer(w, 'rejected_business');
      this.tell(ACTION.noFunds, target, closed ? ANSWERS : NO_RANK);
    }
    if (this.has('contracts')) {
      this.step();
      this.spend('contracts');
      this.answer(w, 'rejected_contract');
      this.tell(ACTION.unauthorized, target);
    }
    if (this.has('throttles')) {
      this.step();
      this.spend('throttles');
      this.answer(w, 'throttled');
      this.tell(ACTION.throttled, target);
    }
    if (this.has('accepts') && this.get(m + at.BOOKED) === 0 && this.get(m + at.PENDING) === 0 && !closed) {
      this.step();
      // Counted from when the call left, whatever of that went by before it was accepted.
      const left = Math.max(TIMEOUT_TICKS, this.scenario.callbackTicks) + GRACE_TICKS - this.get(w + at.TRY_AGE);
      this.spend('accepts');
      this.set(m + at.PENDING, 1 + left);
      this.answer(w, 'accepted');
      this.tell(ACTION.accepted, target);
      this.step();
      this.spend('accepts');
      this.set(m + at.PENDING, 1 + left);
      this.set(w + at.REQUEST, 0);
      this.tell(ACTION.acceptedAnswerLost, target);
    }
    if (this.is('misread') && this.has('breaches') && !closed) {
      this.step();
      this.spend('breaches');
      this.books(m);
      this.answer(w, 'rejected_business');
      this.tell(ACTION.booksAndRefuses, target);
    }
  }

  private network(place: number, leg: number): void {
    const m = at.messageAt(place, leg);
    const target = targetOf(place, leg);
    for (const late of [at.LATE_1, at.LATE_2, at.LATE_EVER]) {
      if (this.get(m + late) === 0) continue;
      this.step();
      this.add(m + late, -1);
      if (!this.isClosed(m) && !(this.get(m + at.PENDING) > 0 && this.scenario.idempotent)) this.books(m);
      this.tell(ACTION.bookedLate, target);
      if (
        this.has('accepts') &&
        this.get(m + at.BOOKED) === 0 &&
        this.get(m + at.PENDING) === 0 &&
        !this.isClosed(m) &&
        late !== at.LATE_EVER
      ) {
        this.step();
        this.spend('accepts');
        this.add(m + late, -1);
        this.set(
          m + at.PENDING,
          1 + (late === at.LATE_1 ? 1 : 2) + Math.max(0, this.scenario.callbackTicks - TIMEOUT_TICKS),
        );
        this.tell(ACTION.acceptedLate, target);
      }
      if (late === at.LATE_EVER) {
        this.step();
        this.add(m + late, -1);
        this.tell(ACTION.dropped, target);
      }
    }
    if (this.get(m + at.PENDING) > 0) {
      this.step();
      this.set(m + at.PENDING, 0);
      if (!this.isClosed(m)) this.books(m);
      this.tell(ACTION.decidesToBook, target, DECIDES);
      this.step();
      this.set(m + at.PENDING, 0);
      if (this.get(m + at.BOOKED) === 0 && !this.is('reopens'))
        this.set(m + at.MEMORY, this.now(m + at.MEMORY) | at.CLOSED);
      this.tell(ACTION.decidesToRefuse, target);
    }
    if (
      (this.is('forgets') || (this.scenario.forgetful && this.isSettled(place, leg))) &&
      this.get(m + at.BOOKED) > 0 &&
      (this.get(m + at.MEMORY) & at.FORGOT) === 0 &&
      this.has('breaches')
    ) {
      this.step();
      this.spend('breaches');
      this.set(m + at.MEMORY, this.now(m + at.MEMORY) | at.FORGOT);
      this.tell(ACTION.forgets, target);
    }
  }

  /** Whether the hub knows that it is booked and has no reason to send it again, and nothing of it is under way. */
  private isSettled(place: number, leg: number): boolean {
    const m = at.messageAt(place, leg);
    const isUnderWay =
      this.get(m + at.LATE_1) +
        this.get(m + at.LATE_2) +
        this.get(at.workerAt(m, 0) + at.REQUEST) +
        this.get(at.workerAt(m, 1) + at.REQUEST) >
      0;
    if (isUnderWay) return false;
    const state = at.STATES[this.get(at.movementAt(place) + at.STATE)] as TransactionState;
    return leg === 1
      ? state === 'compensated' || state === 'rolled_back'
      : isOutcomeKnown(state) || this.get(at.messageAt(place, 1) + at.PLACE) !== at.NOWHERE;
  }

  private callback(place: number, leg: number): void {
    if (!this.has('callbacks')) return;
    const m = at.messageAt(place, leg);
    if (leg === 1 && this.get(m + at.PLACE) === at.NOWHERE) return;
    const booked = this.get(m + at.BOOKED) > 0;
    if (booked) this.hearsCallback(place, leg, 'applied', ACTION.callbackOk);
    const refusesOnly = (this.get(m + at.MEMORY) & at.CLOSED) !== 0 && !booked;
    if (
      refusesOnly ||
      (this.is('reopens') &&
        this.scenario.budgets.accepts > 0 &&
        !booked &&
        this.get(m + at.CLAIMS) > 0 &&
        this.get(m + at.PENDING) === 0 &&
        this.has('breaches'))
    ) {
      this.hearsCallback(place, leg, 'rejected_business', ACTION.callbackRejected, !refusesOnly);
    }
    if (booked && this.is('misread') && this.has('breaches'))
      this.hearsCallback(place, leg, 'rejected_business', ACTION.callbackLies, true);
  }

  private hearsCallback(place: number, leg: number, said: OutcomeClass, action: Action, breach = false): void {
    const t = at.movementAt(place);
    this.step();
    this.spend('callbacks');
    if (breach) this.spend('breaches');
    const statement = this.rules.callbackStatement(
      {
        transactionId: '',
        messageId: leg === 1 ? 'undo' : null,
        class: said,
        reason: null,
        balance: null,
        evidence: {},
      },
      this.pastDeadline(t),
    );
    if (this.rules.saysNothingNew({ state: this.stateAt(t) }, leg === 1, said)) {
      if (this.contradicts(t, leg, statement)) this.fault('unseen');
    } else {
      const decision = this.hear(place, leg, statement);
      if (decision.message === 'sent' || decision.message === 'dead') this.finish(place, leg, decision.message);
    }
    this.tell(action, targetOf(place, leg));
  }

  // ---------------------------------------------------------------- what is heard

  private hear(place: number, leg: number, statement: OperatorReport): ReturnType<Rules['judge']> {
    const t = at.movementAt(place);
    const facts = this.facts(place);
    const decision = this.rules.judge(facts, statement, this.operator, this.limits.timeoutMs + this.limits.graceMs);
    const absence = this.rules.absenceAfter(facts, statement.class, decision.message);
    if (absence === 'begins') this.set(t + at.ABSENT, 1 + Math.round(statement.askedMsAgo / TICK_MS));
    else if (absence === 'ends') this.set(t + at.ABSENT, 0);
    if (decision.contradiction) this.set(t + at.INCIDENT, 1);
    else if (this.contradicts(t, leg, statement)) this.fault('unseen');
    if (decision.to === 'rejected' && facts.movement === 'credit') this.fault('winCalledOff');
    // A callback about a call that nobody has an answer to yet may speak of one that left in time.
    if (
      decision.to === 'confirmed' &&
      facts.movement === 'debit' &&
      facts.state !== 'initiated' &&
      statement.source === 'operator_callback' &&
      this.pastDeadline(t)
    )
      this.fault('confirmedLate');
    if (decision.to !== null) {
      const reversal = this.rules.reversalAfter(decision.to, facts.reversal);
      this.set(t + at.UNDO, UNDO_WORDS.indexOf(reversal));
      this.goTo(place, decision.to, decision.notification);
    }
    return decision;
  }

  /** Whether the operator says the opposite of what the RGS was told. */
  private contradicts(t: number, leg: number, { class: said, source, inFlight, repeated }: OperatorReport): boolean {
    const told = this.now(t + at.TOLD);
    if (source === 'operator_list' && said !== 'applied') return false;
    if (leg === 0)
      return said === 'applied'
        ? (told & at.TOLD_REJECTED) !== 0
        : said === 'rejected_business' &&
            (told & at.TOLD_OK) !== 0 &&
            (source === 'operator_callback' || (!inFlight && !repeated));
    return said === 'applied' && (this.stateAt(t) === 'confirmed' || this.stateAt(t) === 'rejected');
  }

  private contradictsAnswer(place: number, leg: number, w: number): boolean {
    const told = this.now(at.movementAt(place) + at.TOLD);
    const said = at.CLASSES[this.now(w + at.CLASS)] as OutcomeClass;
    return (
      leg === 0 &&
      this.now(w + at.TRIES) === 1 &&
      this.now(w + at.HAD_LANDS) === 0 &&
      (said === 'applied' ? (told & at.TOLD_REJECTED) !== 0 : said === 'rejected_business' && (told & at.TOLD_OK) !== 0)
    );
  }

  private settles(place: number, leg: number, w: number): void {
    if (this.now(w + at.STALE) === 1 && this.store.fencesResults) {
      // Where no lease is ever lost, the hub itself made it stale, and did not wait for what the operator says.
      if (
        this.scenario.judged === 'incidents' &&
        this.now(w + at.KIND) === at.CALL &&
        this.contradictsAnswer(place, leg, w)
      )
        this.fault('unseen');
      this.next.fill(0, w, w + at.WORKER_SIZE);
      return;
    }
    const kind = this.now(w + at.KIND);
    const said = at.CLASSES[this.now(w + at.CLASS)] as OutcomeClass;
    const message = this.leased(leg, w);
    const tries = kind === at.CALL || kind === at.QUESTION ? this.now(w + at.TRIES) : 0;
    const ended = (outcome: NextStep['outcome']): NextStep => ({ outcome, delayMs: 0 });
    const fixed =
      kind === at.CONCLUDED_SENT
        ? ended('sent')
        : kind === at.CONCLUDED_DEAD
          ? ended('dead')
          : kind === at.CONCLUDED_BLOCKED
            ? ended('blocked')
            : kind === at.UNSENT
              ? ended('released')
              : null;
    const propose = (about: OutcomeClass): NextStep =>
      fixed ?? this.rules.propose('operator', about, null, message, this.retry, RANDOM);
    const heard: AttemptResult & { proposed: NextStep; ifUnknown: NextStep } = {
      message,
      status: kind === at.CALL ? 200 : null,
      tries,
      traces: {
        began: -this.now(w + at.BEGAN) * TICK_MS,
        answered: kind === at.CALL && said !== 'unknown',
        landsMs: kind === at.CALL ? this.rules.landsAfterMs(said, tries, this.limits) : null,
      },
      verdict: { class: said, reason: null, balance: null },
      proposed: propose(said),
      ifUnknown: propose('unknown'),
    };
    const decision = this.hear(place, leg, this.rules.statementOf(heard, '', 0));
    const disposition = this.rules.dispositionOf(heard, decision, 0);
    const had =
      this.now(w + at.HAD_LANDS) === 0 ? 0 : 1 + Math.max(0, this.now(w + at.HAD_LANDS) - 1 - this.now(w + at.AGE));
    const landing = this.rules.landingOf({ message, traces: heard.traces }, disposition);
    this.next.fill(0, w, w + at.WORKER_SIZE);
    this.settle(place, leg, disposition, landing, had);
  }

  // ---------------------------------------------------------------- the deadline, ops and people

  private sweep(place: number): void {
    const t = at.movementAt(place);
    if (this.scenario.movements[place] !== 'debit') return;
    this.step();
    if (
      !this.rules.deadlineEnds(
        { state: this.stateAt(t), pastDeadline: this.pastDeadline(t) },
        this.position(at.messageAt(place, 0)).possiblySent,
      )
    )
      return;
    if (!this.pastDeadline(t)) this.fault('endedEarly');
    this.goTo(place, 'rejected', 'REJECTED');
    this.finish(place, 0, 'dead');
    this.tell(ACTION.sweep, targetOf(place), SWEEPS);
  }

  private ops(place: number, leg: number): void {
    if (
      !this.has('replays') ||
      this.get(at.messageAt(place, leg) + at.PLACE) === at.NOWHERE ||
      this.get(at.movementAt(place) + at.TOMBSTONE) === 1
    )
      return;
    this.step();
    if (!this.replays(place, leg)) return;
    this.spend('replays');
    this.tell(ACTION.replay, targetOf(place, leg));
  }

  private replays(place: number, leg: number): boolean {
    const t = at.movementAt(place);
    const m = at.messageAt(place, leg);
    const position = this.position(m);
    if (this.rules.replayRefusal({ state: this.stateAt(t) }, true, this.operator, position) !== null) return false;
    if (position.place === 'waiting') return false;
    const isDoubtful = position.place === 'in_flight' || position.landsInMs > 0;
    if (this.stateAt(t) === 'rejected' || (!this.scenario.idempotent && (!this.scenario.status || isDoubtful)))
      this.fault('replayedInVain');
    this.set(m + at.ATTEMPTS, 0);
    if (position.place === 'in_flight') return true;
    for (let slot = 0; slot < 2; slot += 1)
      if (this.now(at.workerAt(m, slot) + at.PHASE) !== at.NOBODY) this.set(at.workerAt(m, slot) + at.STALE, 1);
    this.set(m + at.PLACE, at.IDLE);
    this.set(m + at.DUE, 0);
    this.set(m + at.CLAIMS, 1);
    this.set(m + at.LOST, 0);
    if (!this.store.replayKeepsLanding) this.set(m + at.LANDS, 0);
    return true;
  }

  private person(place: number): void {
    const t = at.movementAt(place);
    if (this.get(t + at.STATE) !== at.STATE_OF.parked || !this.has('persons')) return;
    const leg = this.get(at.messageAt(place, 1) + at.PLACE) === at.NOWHERE ? 0 : 1;
    const m = at.messageAt(place, leg);
    const booked = this.get(m + at.BOOKED) > 0;
    for (const finding of ['applied', 'not_applied'] as const) {
      const errs = booked !== (finding === 'applied');
      if (errs && !(this.is('errs') && this.has('breaches'))) continue;
      this.step();
      if (this.rules.isInFlight(this.position(m))) continue;
      this.spend('persons');
      if (errs) this.spend('breaches');
      const { reversal, reversalMessageId } = this.facts(place);
      const resolved = this.rules.resolvedTo(
        { reversal, reversalMessageId, pastDeadline: this.pastDeadline(t) },
        finding,
      );
      this.set(t + at.UNDO, UNDO_WORDS.indexOf(resolved.reversal));
      this.goTo(place, resolved.to, this.rules.noticeOf(resolved.to));
      this.finish(place, leg, finding === 'applied' ? 'sent' : 'dead');
      this.tell(finding === 'applied' ? ACTION.personApplied : ACTION.personNotApplied, targetOf(place, leg));
    }
    this.step();
    if (!this.replays(place, leg)) return;
    this.spend('persons');
    this.tell(ACTION.personRetries, targetOf(place, leg));
  }
}
