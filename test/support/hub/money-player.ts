import type { ServerResponse } from 'node:http';
import { Logger } from '../../../src/observability/logger';
import { Heartbeats } from '../../../src/observability/heartbeats';
import { Metrics } from '../../../src/observability/metrics';
import { DeliveryLoop } from '../../../src/outbox/delivery-loop';
import { LostLeases } from '../../../src/outbox/lost-leases';
import { Outbox } from '../../../src/outbox/outbox';
import type { DeliveryResult, LeasedMessage } from '../../../src/outbox/outbox-message';
import { OutboxStore } from '../../../src/outbox/outbox.store';
import { Sender } from '../../../src/outbox/sender';
import { ResultCommitter } from '../../../src/outbox/result-committer';
import { PartnerDirectory } from '../../../src/partners/partner-directory';
import { DeadlineWorker } from '../../../src/wallet/deadline.worker';
import { ACTIONS, type Action, type ActionName, wordsOf } from '../../../tools/model/actions';
import * as at from '../../../tools/model/layout';
import { Machine } from '../../../tools/model/machine';
import { type Scenario, TICK_MS } from '../../../tools/model/scenario';
import { configureOperator, rollback, timePasses } from '../money';
import { type Reply, type ScriptedCall, ScriptedOperator } from '../partners/scripted-operator';
import { TestHub } from './test-hub';
import { waitFor } from '../wait-for';

const TICK_SECONDS = TICK_MS / 1000;
/**
 * What is due within this time is due now: the queue's own pauses, of up to 15 s after some "try later", are no ticks.
 */
const SLACK_MS = 20_000;
/**
 * On the embedded server a statement takes milliseconds; a step that takes longer has gone another way than the model.
 */
const STEP_MS = 10_000;

export interface Step {
  readonly action: Action;
  readonly target: number;
}

const STEPS_MIN = 10;
/** Ages beyond this make no difference, and the model does not count them. */
const OLDEST = 7;

/**
 * Steps that the world takes, sampled by these random numbers, and the state after each; at least ten, so that
 * something happens.
 */
export function sample(
  machine: Machine,
  steps: number,
  random: () => number,
): { readonly step: Step; readonly state: Uint8Array }[] {
  for (;;) {
    const way = sampleOnce(machine, steps, random);
    if (way.length >= STEPS_MIN) return way;
  }
}

function sampleOnce(
  machine: Machine,
  steps: number,
  random: () => number,
): { readonly step: Step; readonly state: Uint8Array }[] {
  const way: { step: Step; state: Uint8Array }[] = [];
  let state = machine.start();
  while (way.length < steps) {
    const open: { step: Step; state: Uint8Array }[] = [];
    machine.expand(state, (action, target) => {
      if (Buffer.compare(machine.next, state) !== 0)
        open.push({ step: { action, target }, state: machine.next.slice() });
    });
    const chosen = open[Math.floor(random() * open.length)];
    if (chosen === undefined) return way;
    way.push(chosen);
    state = chosen.state;
  }
  return way;
}

class Gate {
  open: () => void = () => undefined;
  readonly passed = new Promise<void>((resolve) => (this.open = resolve));
}

/** One process that leased one message, and does each of its steps when the play says so. */
class Hand {
  readonly mayAttempt = new Gate();
  readonly maySettle = new Gate();
  message: LeasedMessage | undefined;
  result: DeliveryResult | undefined;
  isSettled = false;
  call: { readonly call: ScriptedCall; readonly reply: Reply; processed: boolean } | undefined;
  question: ServerResponse | undefined;
}

interface Requests {
  /** Calls that nobody waits for any more. */
  late: number;
  pending: boolean;
  closed: boolean;
  booked: number;
}

/** Plays the model's steps on a hub: real HTTP, real Postgres, and a clock that goes in ticks. */
export class MoneyPlayer {
  private readonly hands = new Map<string, Hand>();
  private readonly ids: string[] = [];
  private readonly operatorSide = new Map<string, Requests>();
  private rollbacks = 0;
  private readonly dead: Hand[] = [];
  private arrivals: { readonly message: 'call' | 'question'; readonly take: (hand: Hand) => void }[] = [];

  private constructor(
    private readonly stage: MoneyStage,
    private readonly scenario: Scenario,
    private readonly player: string,
  ) {}

  /** Plays the way; answers what differs after the first step at which the two worlds disagree, else null. */
  static async play(
    stage: MoneyStage,
    scenario: Scenario,
    player: string,
    way: ReturnType<typeof sample>,
  ): Promise<string | null> {
    await configureOperator(
      {
        idempotent_by_reference: scenario.idempotent,
        status_query: scenario.status,
        refusal_is_final: scenario.finalRefusals,
        answers_later: scenario.later,
        timeout_ms: TICK_MS,
      },
      stage.hub,
    );
    const play = new MoneyPlayer(stage, scenario, player);
    stage.operator.script(
      player,
      (call, reply) =>
        void play.arrivals.push({
          message: 'call',
          take: (hand) => void (hand.call = { call, reply, processed: false }),
        }),
    );
    stage.operator.onQuestion = (_reference, _rows, response) =>
      void play.arrivals.push({ message: 'question', take: (hand) => void (hand.question = response) });
    const told: string[] = [];
    try {
      for (const { step, state } of way) {
        const words = wordsOf(step.action, step.target, scenario.movements);
        told.push(words);
        try {
          await play.take(ACTIONS[step.action] as ActionName, step.target);
        } catch (error) {
          return `${told.join('\n')}\n=> ${error instanceof Error ? error.message : String(error)}`;
        }
        const [expected, seen] = [play.modelled(state), await play.seen()];
        if (JSON.stringify(expected) !== JSON.stringify(seen))
          return `${told.join('\n')}\nthe model: ${JSON.stringify(expected)}\nthe hub:   ${JSON.stringify(seen)}`;
      }
      return null;
    } finally {
      await play.forget();
    }
  }

  private ref(place: number): string {
    return `move-${place}@${this.player}`;
  }

  private key(target: number): string {
    return `${target >> 2}.${(target >> 1) & 1}`;
  }

  private requests(target: number): Requests {
    const key = this.key(target);
    const found = this.operatorSide.get(key) ?? { late: 0, pending: false, closed: false, booked: 0 };
    this.operatorSide.set(key, found);
    return found;
  }

  private handAt(target: number): Hand {
    const hand = this.hands.get(`${this.key(target)}.${target & 1}`);
    if (hand === undefined) throw new Error('nobody has it');
    return hand;
  }

  private async take(action: ActionName, target: number): Promise<void> {
    const place = target >> 2;
    const leg = (target >> 1) & 1;
    const known = this.operatorSide.get(this.key(target));
    switch (action) {
      case 'tick':
        return this.stage.tick([...this.hands.values()]);
      case 'place': {
        const movement = this.scenario.movements[place] as 'debit' | 'credit';
        const { status, body } = await this.stage.hub[movement]({
          playerId: this.player,
          refId: this.ref(place),
          roundId: `round@${this.player}`,
        });
        if (status === 409 && body.code === 'transaction_rolled_back') return;
        if (status >= 300) throw new Error(`placing answered ${status} ${JSON.stringify(body)}`);
        this.ids[place] = body.transactionId as string;
        return;
      }
      case 'rollback': {
        this.rollbacks += 1;
        const answer = await rollback(this.stage.hub, {
          playerId: this.player,
          refId: `undo-${this.rollbacks}@${this.player}`,
          originalRefId: this.ref(place),
          roundId: `round@${this.player}`,
        });
        if (answer.status !== 200 && answer.status !== 202)
          throw new Error(`the rollback answered ${answer.status} ${JSON.stringify(answer.body)}`);
        return;
      }
      case 'claim':
        return this.claim(place, leg);
      case 'attempt': {
        const hand = this.handAt(target);
        hand.mayAttempt.open();
        return this.moves(hand);
      }
      case 'settle': {
        const hand = this.handAt(target);
        hand.maySettle.open();
        await waitFor('it is settled', () => hand.isSettled, STEP_MS);
        this.hands.delete(`${this.key(target)}.${target & 1}`);
        return;
      }
      case 'crash': {
        const hand = this.handAt(target);
        if (hand.call !== undefined && !hand.call.processed) this.requests(target).late += 1;
        this.dead.push(hand);
        this.hands.delete(`${this.key(target)}.${target & 1}`);
        return;
      }
      case 'reset':
      case 'timeOut': {
        const hand = this.handAt(target);
        if (hand.call === undefined) throw new Error('no call is out');
        if (!hand.call.processed) this.requests(target).late += 1;
        const { reply } = hand.call;
        hand.call = undefined;
        reply.reset();
        return this.moves(hand);
      }
      case 'found':
      case 'absent':
      case 'unreadable': {
        const hand = this.handAt(target);
        if (hand.question === undefined) throw new Error('no question is out');
        hand.question.setHeader('content-type', 'application/json');
        hand.question.end(
          action === 'unreadable' ? 'no list' : JSON.stringify(action === 'absent' ? [] : [this.row(place, leg)]),
        );
        return this.hasResult(hand);
      }
      case 'ok':
        this.book(target);
        return this.answer(target, 200, { status: 'OK' });
      case 'bookedAnswerLost':
        this.book(target);
        this.processed(target);
        return;
      case 'acceptedAnswerLost':
        this.requests(target).pending = true;
        this.processed(target);
        return;
      case 'accepted':
        this.requests(target).pending = true;
        return this.answer(target, 202, { status: 'PENDING' });
      case 'acceptedAgain':
        return this.answer(target, 202, { status: 'PENDING' });
      case 'noFunds':
        if (this.scenario.finalRefusals) this.requests(target).closed = true;
        return this.answer(target, 402, { status: 'REJECTED', reason: 'insufficient_funds' });
      case 'unauthorized':
        return this.answer(target, 401, { error: 'unauthorized' });
      case 'throttled':
        return this.answer(target, 429, {});
      case 'acceptedLate':
        this.requests(target).late -= 1;
        this.requests(target).pending = true;
        return;
      case 'bookedLate':
        this.requests(target).late -= 1;
        if (!(known?.closed ?? false) && !((known?.pending ?? false) && this.scenario.idempotent)) this.book(target);
        return;
      case 'decidesToBook':
        this.requests(target).pending = false;
        if (!(known?.closed ?? false)) this.book(target);
        return;
      case 'decidesToRefuse':
        this.requests(target).pending = false;
        if (this.requests(target).booked === 0) this.requests(target).closed = true;
        return;
      case 'callbackOk':
      case 'callbackRejected': {
        const undo = leg === 1;
        const { status } = await this.stage.hub.callback({
          playerId: this.player,
          amount: 5,
          currency: 'USD',
          status: action === 'callbackOk' ? 'OK' : 'REJECTED',
          event: undo ? 'deposit' : this.scenario.movements[place] === 'debit' ? 'withdraw' : 'deposit',
          refId: undo ? `rollback:${this.ref(place)}` : this.ref(place),
          correlationId: this.ids[place],
        });
        if (status !== 200) throw new Error(`the callback answered ${status}`);
        return;
      }
      case 'sweep':
        await this.stage.sweep();
        return;
      case 'replay': {
        const { status, body } = await this.stage.hub.replay('operator', await this.messageId(place, leg));
        if (status !== 200) throw new Error(`the replay answered ${status} ${JSON.stringify(body)}`);
        return;
      }
      case 'personApplied':
      case 'personNotApplied':
      case 'personRetries': {
        const resolution =
          action === 'personApplied' ? 'applied' : action === 'personNotApplied' ? 'not_applied' : 'retry';
        const { status, body } = await this.stage.hub.call('PATCH', `/admin/failed-transactions/${this.ids[place]}`, {
          resolution,
          reason: 'looked it up',
        });
        if (status !== 200) throw new Error(`resolving answered ${status} ${JSON.stringify(body)}`);
        return;
      }
      case 'leavesLate':
      case 'dropped':
      case 'booksAndRefuses':
      case 'forgets':
      case 'callbackLies':
        throw new Error(`${action} breaks a promise and is not played`);
    }
  }

  private row(place: number, leg: number): object {
    return {
      reference: leg === 1 ? `rollback:${this.ref(place)}` : this.ref(place),
      playerId: this.player,
      direction: leg === 1 || this.scenario.movements[place] === 'credit' ? 'deposit' : 'withdraw',
      correlationId: this.ids[place],
      amount: 5,
      currency: 'USD',
      status: 'OK',
    };
  }

  private book(target: number): void {
    const requests = this.requests(target);
    if (requests.booked === 0 || !this.scenario.idempotent) requests.booked += 1;
  }

  private processed(target: number): void {
    const { call } = this.handAt(target);
    if (call === undefined) throw new Error('no call is out');
    call.processed = true;
  }

  private answer(target: number, status: number, body: object): Promise<void> {
    const hand = this.handAt(target);
    if (hand.call === undefined) throw new Error('no call is out');
    hand.call.reply.status(status, {
      ...body,
      ...(status < 300 ? { correlationId: hand.call.call.correlationId } : {}),
    });
    hand.call = undefined;
    return this.hasResult(hand);
  }

  private hasResult(hand: Hand): Promise<void> {
    return waitFor('the attempt has a result', () => hand.result !== undefined, STEP_MS).then(() => undefined);
  }

  /** A call or a question of it comes to the operator, or it has its result without one. */
  private async moves(hand: Hand): Promise<void> {
    await waitFor(
      'a call, a question or a result',
      () => {
        const arrival = this.arrivals.shift();
        arrival?.take(hand);
        return arrival !== undefined || hand.result !== undefined;
      },
      STEP_MS,
    );
  }

  private async messageId(place: number, leg: number): Promise<string> {
    const [row] = await this.stage.hub.database.query<{ id: string | null }>(
      `select ${leg === 0 ? 'message_id' : 'undo_message_id'} as id from wallet_transaction where id = $1`,
      [this.ids[place]],
    );
    if (row?.id === undefined || row.id === null) throw new Error('it has no message');
    return row.id;
  }

  private async claim(place: number, leg: number): Promise<void> {
    const id = await this.messageId(place, leg);
    const key = `${place}.${leg}`;
    const old = this.hands.get(`${key}.0`);
    if (old !== undefined) this.hands.set(`${key}.1`, old);
    const hand = new Hand();
    this.hands.set(`${key}.0`, hand);
    const { query } = this.stage.hub.database;
    // The others of this destination stand aside, and small pauses are over.
    await query(`update outbox_head set visible_at = visible_at + interval '1 day' where message_id <> $1`, [id]);
    await query(
      `update outbox_head set visible_at = least(visible_at, clock_timestamp()) where message_id = $1 and visible_at < clock_timestamp() + $2::float8 * interval '1 millisecond'`,
      [id, SLACK_MS],
    );
    const claimed = (hand.message = await this.stage.lease(hand));
    await query(`update outbox_head set visible_at = visible_at - interval '1 day' where message_id <> $1`, [id]);
    if (claimed?.id !== id) throw new Error('it could not be leased');
  }

  /** What the model says, of what can be seen of a hub. */
  private modelled(state: Uint8Array): unknown[] {
    return this.scenario.movements.flatMap((_movement, place) => {
      const t = at.movementAt(place);
      if (state[t + at.STATE] === at.NOT_PLACED || state[t + at.TOMBSTONE] === 1) return [];
      const message = (leg: number): unknown => {
        const m = at.messageAt(place, leg);
        const where = state[m + at.PLACE] as number;
        if (where === at.NOWHERE) return null;
        const isHead = where === at.IDLE || where === at.LEASED || where === at.BLOCKED;
        return {
          place: ['', 'waiting', 'idle', 'leased', 'blocked', 'sent', 'dead'][where],
          ...(isHead
            ? {
                due: where === at.BLOCKED ? null : state[m + at.DUE],
                claims: state[m + at.CLAIMS],
                attempts: state[m + at.ATTEMPTS],
                lost: state[m + at.LOST],
              }
            : {}),
          ...(isHead || where === at.DEAD
            ? { lands: state[m + at.LANDS] === 0 ? null : (state[m + at.LANDS] as number) - 1 }
            : {}),
          booked: state[m + at.BOOKED],
        };
      };
      const told = state[t + at.TOLD] as number;
      const absent = state[t + at.ABSENT] as number;
      return [
        {
          state: at.STATES[state[t + at.STATE] as number],
          undo: [null, 'deadline', 'rollback'][state[t + at.UNDO] as number],
          told: [
            told & at.TOLD_OK ? 'OK' : '',
            told & at.TOLD_REJECTED ? 'REJECTED' : '',
            told & at.TOLD_ROLLED_BACK ? 'ROLLED_BACK' : '',
          ].filter((word) => word !== ''),
          rollback: [null, 'waits', 'undone', 'nothing', 'stands'][state[t + at.ASKED] as number],
          incident: state[t + at.INCIDENT] === 1,
          absent: absent === 0 ? null : absent - 1,
          movement: message(0),
          reversing: message(1),
        },
      ];
    });
  }

  private async seen(): Promise<unknown[]> {
    const { query } = this.stage.hub.database;
    const found: unknown[] = [];
    for (const [place] of this.scenario.movements.entries()) {
      const id = this.ids[place];
      if (id === undefined) continue;
      const [row] = await query<{
        state: string;
        undo: string | null;
        message_id: string;
        undo_message_id: string | null;
        absent_ms: number | null;
        told: string[];
        incident: boolean;
        rollback: string | null;
      }>(
        `select state, undo, message_id, undo_message_id, extract(epoch from clock_timestamp() - absent_at)::float8 * 1000 as absent_ms,
           array(select outcome from wallet_outcome o where o.transaction_id = t.id order by array_position(array['OK','REJECTED','ROLLED_BACK'], outcome)) as told,
           exists (select 1 from wallet_event e where e.transaction_id = t.id and e.kind = 'contradiction') as incident,
           (select case when r.state = 'initiated' then 'waits' when r.state = 'rejected' then 'stands' when r.applied then 'undone' else 'nothing' end from wallet_transaction r where r.original_id = t.id order by r.id desc limit 1) as rollback
         from wallet_transaction t where id = $1`,
        [id],
      );
      if (row === undefined) throw new Error('a movement vanished');
      found.push({
        state: row.state,
        undo: row.undo,
        told: row.told,
        rollback: row.rollback,
        incident: row.incident,
        absent: row.absent_ms === null ? null : Math.min(OLDEST, Math.floor(row.absent_ms / TICK_MS)),
        movement: await this.messageSeen(row.message_id, place, 0),
        reversing: row.undo_message_id === null ? null : await this.messageSeen(row.undo_message_id, place, 1),
      });
    }
    return found;
  }

  private async messageSeen(id: string, place: number, leg: number): Promise<unknown> {
    const { query } = this.stage.hub.database;
    const ticks = (ms: number): number => Math.max(0, Math.ceil((ms - SLACK_MS) / TICK_MS));
    const booked = this.operatorSide.get(`${place}.${leg}`)?.booked ?? 0;
    const lands = (ms: number | null): number | null => (ms === null ? null : ticks(ms));
    const [head] = await query<{
      leased: boolean;
      blocked: boolean;
      due_ms: number;
      claims: number;
      attempts: number;
      lost: number;
      lands_ms: number | null;
    }>(
      `select leased, visible_at = 'infinity' as blocked, case when visible_at = 'infinity' then 0 else extract(epoch from visible_at - clock_timestamp()) * 1000 end::float8 as due_ms, claims, attempts, lost_leases as lost,
         (extract(epoch from may_land_until - clock_timestamp()) * 1000)::float8 as lands_ms from outbox_head where message_id = $1`,
      [id],
    );
    if (head !== undefined)
      return {
        place: head.blocked ? 'blocked' : head.leased ? 'leased' : 'idle',
        due: head.blocked ? null : ticks(head.due_ms),
        claims: head.claims,
        attempts: head.attempts,
        lost: head.lost,
        lands: lands(head.lands_ms),
        booked,
      };
    const [dead] = await query<{ lands_ms: number | null }>(
      'select (extract(epoch from may_land_until - clock_timestamp()) * 1000)::float8 as lands_ms from outbox_dead where message_id = $1',
      [id],
    );
    if (dead !== undefined) return { place: 'dead', lands: lands(dead.lands_ms), booked };
    const [queued] = await query(
      'select 1 from outbox_message m join outbox_lane l on l.destination_id = m.destination_id and l.lane_key = m.lane_key where m.id = $1 and m.lane_seq > l.head_seq',
      [id],
    );
    return queued === undefined ? { place: 'sent', booked } : { place: 'waiting', booked };
  }

  /** The next play meets none of this one's messages. */
  private async forget(): Promise<void> {
    for (const hand of [...this.hands.values(), ...this.dead]) {
      hand.call?.reply.reset();
      hand.question?.destroy();
    }
    for (const { take } of this.arrivals) {
      const hand = new Hand();
      take(hand);
      hand.call?.reply.reset();
      hand.question?.destroy();
    }
    await this.stage.hub.database.query(
      `update wallet_transaction set state = 'rejected', settled_at = clock_timestamp() where player_id = $1 and state = 'initiated'`,
      [this.player],
    );
    await this.stage.hub.database.query(
      `delete from outbox_head h using outbox_message m where m.id = h.message_id and m.destination_id = (select id from partner where code = 'operator')`,
    );
  }
}

/** One hub, whose operator messages nobody delivers but the hands of a play. */
export class MoneyStage {
  private offsetMs = 0;
  private readonly realNow: () => number;

  private constructor(
    readonly hub: TestHub,
    readonly operator: ScriptedOperator,
  ) {
    this.realNow = performance.now.bind(performance);
    performance.now = () => this.realNow() + this.offsetMs;
  }

  static async start(): Promise<MoneyStage> {
    const operator = await ScriptedOperator.start();
    const hub = await TestHub.start({
      env: {
        ROLE: 'api',
        OPERATOR_BASE_URL: operator.url,
        MAX_RETRIES: '1',
        RETRY_BACKOFF_SECONDS: '0.001',
        OPERATOR_TIMEOUT_MS: String(TICK_MS),
        RESOLVE_GRACE_SECONDS: String(TICK_SECONDS),
        OUTBOX_LEASE_SECONDS: String(2 * TICK_SECONDS),
        CALLBACK_TIMEOUT_SECONDS: String(2 * TICK_SECONDS),
        DEBIT_DEADLINE_SECONDS: String(2 * TICK_SECONDS),
        OUTBOX_RETRY_SCHEDULE_SECONDS: '0.001',
        BREAKER_FAILURES: '10000',
      },
    });
    // Ids are as young as they are; a cursor that looks at the young ones sees every bet that is overdue.
    await hub.database.query(
      `insert into wallet_cursor (name, at) values ('deadline:1', 'epoch') on conflict do nothing`,
    );
    return new MoneyStage(hub, operator);
  }

  async stop(): Promise<void> {
    performance.now = this.realNow;
    await this.hub.stop();
    await this.operator.stop();
  }

  /** All that was written down is a tick older, in the store and in the hands of processes. */
  async tick(hands: readonly Hand[]): Promise<void> {
    for (const { message } of hands)
      for (const moment of [message?.firstSentAt, message?.mayLandUntil]) moment?.setTime(moment.getTime() - TICK_MS);
    await timePasses(this.hub.database, TICK_SECONDS);
    this.offsetMs += TICK_MS;
  }

  async sweep(): Promise<void> {
    await this.hub.app.get(DeadlineWorker).sweep();
  }

  /** The hub's own delivery loop, held back where a process could die or stand still. */
  async lease(hand: Hand): Promise<LeasedMessage | undefined> {
    const get = <T>(type: abstract new (...parts: never[]) => T): T => this.hub.app.get<T>(type);
    const store = get(OutboxStore);
    const committer = get(ResultCommitter);
    const partners = get(PartnerDirectory);
    const operator = partners.byCode('operator');
    if (operator === undefined) throw new Error('there is no operator');
    let claimed: LeasedMessage | undefined;
    let isDone = false;
    const never = new Promise<never>(() => undefined);
    const heldStore = Object.create(store) as OutboxStore;
    heldStore.claim = async (destinationId, _want, leaseMs, landMs, owner, floor) => {
      if (isDone) return never;
      const claim = await store.claim(destinationId, 1, leaseMs, landMs, owner, floor);
      claimed = claim.messages[0];
      isDone = true;
      return claim;
    };
    const lostLeases = new LostLeases(store, get(Logger));
    const judge = lostLeases.judge.bind(lostLeases);
    lostLeases.judge = async (message) => {
      await hand.mayAttempt.passed;
      return judge(message);
    };
    const heldSettler = Object.create(committer) as ResultCommitter;
    heldSettler.add = async (result, giveUp) => {
      hand.result = result;
      await hand.maySettle.passed;
      await committer.add(result, giveUp);
      hand.isSettled = true;
    };
    const settings = {
      replica: 'play',
      slotsMax: 1,
      leaseMs: 2 * TICK_MS,
      ratePerSecond: 0,
      graceMs: TICK_MS,
      callbackTimeoutMs: 2 * TICK_MS,
    };
    new DeliveryLoop(operator.id, settings, {
      partners,
      store: heldStore,
      outbox: get(Outbox),
      sender: get(Sender),
      committer: heldSettler,
      lostLeases,
      logger: get(Logger),
      metrics: get(Metrics),
      heartbeats: get(Heartbeats),
    }).start();
    await waitFor('the claim came back', () => isDone, STEP_MS);
    return claimed;
  }
}
