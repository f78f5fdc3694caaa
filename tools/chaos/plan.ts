import { Random } from './prng';

/** What a run is made of. The same options make the same plan, to the letter. */
/**
 * What the operator can do, as its row in the hub says: `idempotent` recognises a repeat by its reference; `asked`
 * would book it twice, but shows its list; `blind` offers neither, so whatever is not known there is left to a person.
 */
export type OperatorKind = 'idempotent' | 'asked' | 'blind';

export interface PlanOptions {
  readonly seed: number;
  /** Debits, credits and rollbacks with a business key of their own; repeats come on top. */
  readonly movements: number;
  /** SIGKILLs, of hub processes and of the database's main process together. */
  readonly kills: number;
  readonly hubs: number;
  /** Many players with few movements each make a short run short: a player's own are played one after the other. */
  readonly playersMin?: number;
}

export type Route = 'debit' | 'credit' | 'rollback';

export interface MovementBody {
  readonly playerId: string;
  readonly refId: string;
  readonly amountCents?: number;
  readonly currency?: string;
  readonly kind?: string;
  readonly roundId?: string;
  readonly roundClosed?: boolean;
  readonly originalRefId?: string;
  readonly reason?: string;
}

/** Codes of refusals that a request may meet; `ok` is 200 or 202. */
export type Expected =
  'ok' | 'transaction_rolled_back' | 'round_closed' | 'reference_reused' | 'idempotency_key_reused';

export interface PlannedRequest {
  readonly do: 'request';
  readonly id: string;
  readonly route: Route;
  readonly body: MovementBody;
  /** Null: none is sent. */
  readonly key: string | null;
  /** Seconds of `Prefer: wait=N`, or null. */
  readonly waitSeconds: number | null;
  readonly expected: readonly Expected[];
  /** A request that brings a new business key; the others are repeats of it, true or false ones. */
  readonly isFirst: boolean;
}

export interface PlannedPause {
  readonly do: 'pause';
  readonly ms: number;
}

/** Reads a movement of this player back; its states must follow the arrows from one look to the next. */
export interface PlannedLook {
  readonly do: 'look';
  readonly route: Route;
  readonly refId: string;
}

export interface PlannedClose {
  readonly do: 'close';
  readonly roundId: string;
}

export type Action = PlannedRequest | PlannedPause | PlannedLook | PlannedClose;

export interface PlayerScript {
  readonly playerId: string;
  /** Groups follow one another; the actions of a group run at once. */
  readonly groups: readonly (readonly Action[])[];
}

export type FaultSpec = Readonly<Record<string, unknown>> & { readonly kind: string };

/** Faults of both partners that hold from one share of the work to the next. */
export interface Weather {
  readonly from: number;
  readonly operator: readonly FaultSpec[];
  readonly rgs: readonly FaultSpec[];
}

export type Link = 'postgres' | 'operator' | 'rgs' | 'callbacks';

export type Disturbance =
  | { readonly kind: 'kill_hub' | 'stop_hub'; readonly hub: number; readonly downMs: number }
  | { readonly kind: 'kill_postgres'; readonly downMs: number }
  /**
   * cut: all connections at once; refuse: no new ones either; delay: every chunk that much later; swallow: open, but
   * nothing passes any more.
   */
  | {
      readonly kind: 'network';
      readonly link: Link;
      readonly hub: number;
      readonly effect: 'cut' | 'refuse' | 'delay' | 'swallow';
      readonly ms: number;
      readonly share: number;
    };

export interface PlannedDisturbance {
  /** Share of the requests that are done when it strikes. */
  readonly at: number;
  readonly what: Disturbance;
}

export interface Plan {
  readonly options: PlanOptions;
  readonly scripts: readonly PlayerScript[];
  /** Movements that the operator refuses whenever it is asked; armed before anything else, for the whole run. */
  readonly refusals: readonly FaultSpec[];
  /**
   * What single movements meet, one call after the other: mostly a call that is lost, and then an answer that speaks of
   * its repeat only.
   */
  readonly misfortunes: ReadonlyMap<string, readonly (readonly FaultSpec[])[]>;
  readonly weather: readonly Weather[];
  readonly disturbances: readonly PlannedDisturbance[];
  readonly movements: number;
  readonly requests: number;
}

const CURRENCIES = ['USD', 'EUR', 'JPY', 'KWD'] as const;
export const PLAN_CURRENCIES: readonly string[] = CURRENCIES;
/** More than any player can ever hold: a certain refusal for want of funds. */
const BEYOND_ALL_FUNDS = 9_000_000_000_000;
const MOVEMENTS_PER_PLAYER = 40;

/** Pure: no clock, no chance but the seed. */
export function makePlan(options: PlanOptions): Plan {
  const random = new Random(options.seed);
  const players = Math.max(options.playersMin ?? 6, Math.ceil(options.movements / MOVEMENTS_PER_PLAYER));
  const refusals: FaultSpec[] = [];
  const misfortunes = new Map<string, readonly (readonly FaultSpec[])[]>();
  const scripts: PlayerScript[] = [];
  let movements = 0;
  for (let index = 0; movements < options.movements || index < players; index++) {
    const wanted = Math.min(MOVEMENTS_PER_PLAYER, Math.max(4, Math.ceil(options.movements / players)));
    // The mock operator blocks players with this ending: each debit is refused, each win is owed and parked.
    const playerId = `s${options.seed}-p${index}${index % 40 === 39 ? '_bad' : ''}`;
    const writer = new ScriptWriter(playerId, random.fork(playerId), refusals);
    while (writer.movements < wanted) writer.round();
    scripts.push({ playerId, groups: writer.groups });
    misfortunes.set(playerId, writer.misfortunes);
    movements += writer.movements;
  }
  const requests = scripts.reduce(
    (sum, { groups }) => sum + groups.flat().filter((action) => action.do === 'request').length,
    0,
  );
  return {
    options,
    scripts,
    refusals,
    misfortunes,
    weather: makeWeather(random.fork('weather')),
    disturbances: makeDisturbances(options, random.fork('disturbances')),
    movements,
    requests,
  };
}

/** Writes the story of one player, round by round, and knows what each request must be answered. */
class ScriptWriter {
  readonly groups: Action[][] = [];
  readonly misfortunes: FaultSpec[][] = [];
  movements = 0;
  private rounds = 0;
  private requests = 0;
  /** Accepted earlier, in any case: what may be repeated. */
  private readonly accepted: PlannedRequest[] = [];

  constructor(
    private readonly playerId: string,
    private readonly random: Random,
    private readonly refusals: FaultSpec[],
  ) {}

  round(): void {
    const { random } = this;
    this.rounds += 1;
    const kind = random.weighted({
      won: 20,
      lost: 12,
      several: 12,
      closing_bet: 4,
      no_round: 8,
      gift: 5,
      rollback_after: 10,
      rollback_before: 6,
      rollback_meanwhile: 8,
      rollback_queued: 7,
      rollback_twice: 5,
      rollback_after_win: 5,
      no_funds: 3,
      refused: 3,
      closed_by_route: 3,
      same_at_once: 6,
      late_bet: 4,
      unlucky: 9,
    });
    const currency = random.pick(CURRENCIES);
    const roundId = kind === 'no_round' ? undefined : `${this.playerId}-r${this.rounds}`;
    const bet = (more: Partial<MovementBody> = {}) =>
      this.fresh('debit', {
        amountCents: random.integer(1, 5_000),
        currency,
        ...(roundId === undefined ? {} : { roundId }),
        ...more,
      });
    const win = (more: Partial<MovementBody> = {}) =>
      this.fresh('credit', {
        amountCents: random.chance(0.3) ? 0 : random.integer(1, 8_000),
        currency,
        ...(roundId === undefined ? {} : { roundId }),
        ...more,
      });
    const rollback = (originalRefId: string, expected: readonly Expected[] = ['ok']) =>
      this.fresh(
        'rollback',
        {
          originalRefId,
          ...(roundId === undefined || random.chance(0.3) ? {} : { roundId }),
          ...(random.chance(0.5) ? { reason: 'client timeout' } : {}),
        },
        expected,
      );
    const close = { roundClosed: true } as const;

    switch (kind) {
      case 'won':
        this.then(bet());
        this.maybeRepeat();
        this.then(win(close));
        break;
      case 'lost':
        this.then(bet());
        this.then(win({ ...close, amountCents: 0 }));
        this.maybeRepeat();
        break;
      case 'several': {
        for (let n = random.integer(2, 3); n > 0; n--) this.then(bet());
        this.then(win());
        this.maybeRepeat();
        this.then(win(close));
        if (random.chance(0.5)) this.then(this.unexpected(bet(), ['round_closed']));
        break;
      }
      case 'closing_bet':
        this.then(bet(close));
        this.then(this.unexpected(bet(), ['round_closed']));
        break;
      case 'no_round':
        this.then(bet());
        if (random.chance(0.5)) this.then(win());
        this.maybeRepeat();
        break;
      case 'gift':
        // No bet, and after the close as well.
        this.then(win({ ...close, kind: random.pick(['free', 'promo', 'jackpot']) }));
        this.then(win({ kind: random.pick(['free', 'promo', 'jackpot']) }));
        break;
      case 'rollback_after': {
        const original = bet();
        this.then(original);
        if (random.chance(0.5)) this.pause(random.integer(20, 1_500));
        const undo = rollback(original.body.refId);
        this.then(undo);
        if (random.chance(0.5)) this.then(this.repeat(undo));
        if (random.chance(0.3)) this.then(rollback(original.body.refId));
        if (random.chance(0.3)) this.then(this.repeat(original));
        break;
      }
      case 'rollback_before': {
        const original = this.unexpected(bet(), ['transaction_rolled_back']);
        const undo = rollback(original.body.refId);
        this.then(undo);
        if (random.chance(0.3)) this.then(this.repeat(undo));
        this.then(original);
        if (random.chance(0.5)) this.then({ ...original, id: this.nextId(), key: this.newKey(), isFirst: false });
        break;
      }
      case 'rollback_meanwhile': {
        const original = this.unexpected(bet(), ['ok', 'transaction_rolled_back']);
        this.groups.push([original, rollback(original.body.refId)]);
        break;
      }
      case 'rollback_queued': {
        // Behind other movements of the player, so that the bet still waits for its turn when it is undone.
        for (let n = random.integer(1, 3); n > 0; n--) this.then(bet());
        const original = bet();
        this.then(original);
        this.then(rollback(original.body.refId));
        break;
      }
      case 'rollback_twice': {
        const original = bet();
        this.then(original);
        if (random.chance(0.5)) this.pause(random.integer(20, 800));
        this.groups.push([rollback(original.body.refId), rollback(original.body.refId)]);
        break;
      }
      case 'rollback_after_win': {
        const original = bet();
        this.then(original);
        this.then(win(random.chance(0.5) ? close : {}));
        if (random.chance(0.7)) this.pause(random.integer(50, 1_500));
        // Refused once the bet stands; a bet whose own place is still open may be undone.
        const undo = this.unexpected(rollback(original.body.refId), ['ok', 'round_closed']);
        this.then(undo);
        break;
      }
      case 'no_funds': {
        const original = bet({ amountCents: BEYOND_ALL_FUNDS });
        this.then(original);
        this.then(rollback(original.body.refId));
        break;
      }
      case 'refused': {
        const movement = random.chance(0.7) ? bet() : win();
        const direction = movement.route === 'debit' ? 'withdraw' : 'deposit';
        const target = { reference: movement.body.refId, playerId: this.playerId, direction };
        this.refusals.push(
          random.pick<FaultSpec>([
            { kind: 'refuse', ...target },
            { kind: 'error_body', ...target },
            { kind: 'pending', reject: true, ...target },
            { kind: 'status', status: 422, ...target },
          ]),
        );
        this.then(movement);
        this.then(bet());
        break;
      }
      case 'closed_by_route':
        this.then(bet());
        if (roundId !== undefined) this.groups.push([{ do: 'close', roundId }]);
        this.then(this.unexpected(bet(), ['round_closed']));
        this.then(win());
        break;
      case 'same_at_once': {
        const movement = random.chance(0.6) ? bet() : win();
        const copies: Action[] = [movement];
        for (let n = random.integer(2, 5); n > 0; n--)
          copies.push({
            ...movement,
            id: this.nextId(),
            isFirst: false,
            key: random.chance(0.5) ? movement.key : this.newKey(),
          });
        this.groups.push(copies);
        this.accepted.push(movement);
        break;
      }
      case 'unlucky': {
        const movement = random.chance(0.7) ? bet() : win();
        const direction = movement.route === 'debit' ? 'withdraw' : 'deposit';
        const target = { next: 1, reference: movement.body.refId, playerId: this.playerId, direction };
        const lost = random.pick<FaultSpec>([
          { kind: 'reset', afterCommit: true },
          { kind: 'status_after_commit', status: 502 },
          { kind: 'unreadable', afterCommit: true },
          { kind: 'reset' },
          { kind: 'hang', afterCommit: true },
        ]);
        const answers = [
          { kind: 'status', status: random.pick([400, 401, 403, 404, 422]) },
          { kind: 'throttle', status: 429, retryAfter: 0 },
          { kind: 'throttle', status: 503, retryAfter: 0 },
          { kind: 'pending' },
          { kind: 'status', status: 500 },
        ];
        // Seldom, since it holds up everybody: long enough for a rollback to find the bet between two calls.
        const isHeldUp = movement.route === 'debit' && random.chance(0.12);
        // Booked when the hub has long given up waiting, while the operator's list is asked already.
        const isSlow = movement.route === 'debit' && !isHeldUp && random.chance(0.15);
        const then = isHeldUp
          ? [{ kind: 'throttle', status: 429, retryAfter: 1 }]
          : isSlow
            ? [{ kind: 'delay', ms: random.integer(1_850, 1_950) }]
            : Array.from({ length: random.integer(1, 3) }, () => random.pick<FaultSpec>(answers));
        this.misfortunes.push([isSlow ? { kind: 'reset' } : lost, ...then].map((fault) => ({ ...fault, ...target })));
        this.then(movement);
        if (isHeldUp || isSlow) this.pause(random.integer(150, 700));
        if (movement.route === 'debit' && (isHeldUp || isSlow || random.chance(0.4)))
          this.then(rollback(movement.body.refId));
        else this.then(bet());
        break;
      }
      case 'late_bet': {
        // The rollback overtakes the bet on the way: whoever comes first, no money stays taken.
        const original = this.unexpected(bet(), ['ok', 'transaction_rolled_back']);
        const undo = rollback(original.body.refId);
        this.groups.push(
          random.chance(0.5)
            ? [undo, original, this.repeat(undo)]
            : [original, this.repeatAs(original, ['ok', 'transaction_rolled_back']), undo],
        );
        break;
      }
    }
    if (random.chance(0.15)) this.pause(random.integer(5, 400));
  }

  private then(request: PlannedRequest): void {
    const group: Action[] = [request];
    if (this.random.chance(0.05)) group.push({ ...request, id: this.nextId(), isFirst: false });
    this.groups.push(group);
    if (request.isFirst && request.expected.length === 1 && request.expected[0] === 'ok') this.accepted.push(request);
    if (this.random.chance(0.08)) this.groups.push([{ do: 'look', route: request.route, refId: request.body.refId }]);
  }

  private pause(ms: number): void {
    this.groups.push([{ do: 'pause', ms }]);
  }

  private fresh(
    route: Route,
    fields: Omit<MovementBody, 'playerId' | 'refId'>,
    expected: readonly Expected[] = ['ok'],
  ): PlannedRequest {
    this.movements += 1;
    const refId = `${this.playerId}-${route[0]}${this.movements}`;
    const { random } = this;
    return {
      do: 'request',
      id: this.nextId(),
      route,
      body: { playerId: this.playerId, refId, ...fields },
      key: random.chance(0.9) ? this.newKey() : null,
      waitSeconds: random.chance(0.2) ? random.integer(1, 3) : null,
      expected,
      isFirst: true,
    };
  }

  private unexpected(request: PlannedRequest, expected: readonly Expected[]): PlannedRequest {
    return { ...request, expected };
  }

  private repeat(request: PlannedRequest): PlannedRequest {
    return { ...request, id: this.nextId(), isFirst: false };
  }

  private repeatAs(request: PlannedRequest, expected: readonly Expected[]): PlannedRequest {
    return { ...this.repeat(request), expected };
  }

  /** A repeat of something earlier: a true one, or one that only looks like it. */
  private maybeRepeat(): void {
    const { random } = this;
    if (this.accepted.length === 0 || !random.chance(0.5)) return;
    const earlier = random.pick(this.accepted.slice(-12));
    if (earlier.route === 'rollback') return this.then(this.repeat(earlier));
    const otherAmount = { ...earlier.body, amountCents: (earlier.body.amountCents ?? 0) + 1 };
    switch (
      random.weighted({ same: 40, new_key: 25, other_data: 15, key_with_other_body: 10, key_on_other_route: 10 })
    ) {
      case 'same':
        return this.then(this.repeat(earlier));
      case 'new_key':
        return this.then({ ...this.repeat(earlier), key: this.newKey() });
      case 'other_data':
        return this.then({
          ...this.repeat(earlier),
          key: random.chance(0.5) ? this.newKey() : null,
          body: otherAmount,
          expected: ['reference_reused'],
        });
      case 'key_with_other_body':
        if (earlier.key === null) return;
        return this.then({ ...this.repeat(earlier), body: otherAmount, expected: ['idempotency_key_reused'] });
      case 'key_on_other_route':
        if (earlier.key === null) return;
        return this.then({
          ...this.repeat(earlier),
          route: earlier.route === 'debit' ? 'credit' : 'debit',
          body: { ...earlier.body, amountCents: Math.max(1, earlier.body.amountCents ?? 1) },
          expected: ['idempotency_key_reused'],
        });
    }
  }

  private nextId(): string {
    this.requests += 1;
    return `${this.playerId}#${this.requests}`;
  }

  private newKey(): string {
    this.keys += 1;
    return `key-${this.playerId}-${this.keys}`;
  }

  private keys = 0;
}

/**
 * What goes wrong at the partners, in phases. The operator makes every mistake but one: it never says that it did not
 * book what it did book. And no call of the hub acts later than RESOLVE_GRACE_SECONDS after its time-out: that is what
 * the grace is for.
 */
function makeWeather(random: Random): Weather[] {
  const seed = (): number => random.integer(0, 0xffffffff);
  const phases = 8;
  return Array.from({ length: phases }, (_, index): Weather => {
    const rough = 0.5 + random.next() * 0.7;
    const fault = (kind: string, share: number, parameters: Record<string, unknown> = {}): FaultSpec => ({
      kind,
      share: Math.min(0.9, share * rough),
      seed: seed(),
      ...parameters,
    });
    const operator = [
      fault('status', 0.02, { status: 500 }),
      fault('status', 0.006, { status: random.pick([502, 503, 504]) }),
      fault('status_after_commit', 0.02, { status: random.pick([500, 502]), callback: random.chance(0.5) }),
      // A repeat that is refused for what it looks like says nothing about the call before it.
      fault('status', 0.004, { status: random.pick([400, 401, 403, 404, 408]) }),
      fault('reset', 0.015),
      fault('reset', 0.015, { afterCommit: true, callback: random.chance(0.3) }),
      fault('hang', 0.004),
      fault('hang', 0.006, { afterCommit: true }),
      fault('delay', 0.02, { ms: random.integer(50, 700), afterCommit: random.chance(0.5) }),
      fault('delay', 0.004, { ms: random.integer(1_600, 1_900) }),
      fault('callback_before_answer', 0.03, { delayMs: random.integer(0, 200) }),
      fault('duplicate_callbacks', 0.02, { count: random.integer(2, 5) }),
      fault('late_callback', 0.02, { delayMs: random.integer(200, 4_000) }),
      fault('out_of_order_callbacks', 0.03, { window: random.integer(2, 12), flushMs: 700 }),
      fault('contradicting_callback', 0.01, { status: 'MAYBE' }),
      fault('no_callback', 0.03),
      fault('pending', 0.03),
      fault('unknown_word', 0.006, { afterCommit: random.chance(0.5), callback: random.chance(0.5) }),
      fault('unreadable', 0.01, {
        afterCommit: true,
        form: random.pick(['html', 'truncated']),
        callback: random.chance(0.5),
      }),
      fault('unreadable', 0.005, { form: random.pick(['html', 'truncated']) }),
      fault('slow_drip', 0.004, { ms: random.pick([2, 60]) }),
      fault('huge_body', 0.004, { bytes: 100_000 }),
      // These hold up everybody, so there are few of them.
      { kind: 'throttle', share: 0.02, next: 4, seed: seed(), status: random.pick([429, 503]), retryAfter: 1 },
      fault('throttle', 0.006, { status: random.pick([429, 503]), retryAfter: 0 }),
    ];
    const rgs = [
      fault('status', 0.04, { status: random.pick([500, 502, 404]) }),
      fault('status', 0.02, { status: 500, afterCommit: true }),
      fault('reset', 0.02),
      fault('reset', 0.03, { afterCommit: true }),
      fault('hang', 0.002, { afterCommit: random.chance(0.5) }),
      fault('delay', 0.02, { ms: random.integer(20, 400) }),
      { kind: 'throttle', share: 0.02, next: 3, seed: seed(), status: 429, retryAfter: 1 },
    ];
    return { from: index / phases, operator, rgs };
  });
}

function makeDisturbances(options: PlanOptions, random: Random): PlannedDisturbance[] {
  const planned: PlannedDisturbance[] = [];
  const hub = (): number => random.integer(0, options.hubs - 1);
  // Spread over the run, with the first strike early and the last one before the load ends.
  const at = (index: number, count: number): number => 0.04 + (0.86 * (index + random.next() * 0.8)) / count;
  for (let n = 0; n < options.kills; n++) {
    const strikesDatabase = n % 4 === 1;
    planned.push({
      at: at(n, options.kills),
      what: strikesDatabase
        ? { kind: 'kill_postgres', downMs: random.integer(0, 1_200) }
        : { kind: 'kill_hub', hub: hub(), downMs: random.integer(100, 2_500) },
    });
  }
  const stops = Math.ceil(options.kills / 3);
  for (let n = 0; n < stops; n++)
    planned.push({ at: at(n, stops), what: { kind: 'stop_hub', hub: hub(), downMs: random.integer(50, 1_000) } });
  const troubles = options.kills * 3;
  for (let n = 0; n < troubles; n++) {
    const link = random.weighted<Link>({ postgres: 45, operator: 35, rgs: 10, callbacks: 10 });
    const effect = random.weighted({ cut: 35, delay: 25, swallow: 25, refuse: 15 });
    planned.push({
      at: at(n, troubles),
      what: {
        kind: 'network',
        link,
        hub: hub(),
        effect,
        ms: effect === 'delay' ? random.integer(5, 120) : random.integer(200, 2_000),
        share: random.pick([0.3, 0.6, 1]),
      },
    });
  }
  // A hub that loses the database for longer than its leases last, still gets answers from the operator, and comes back
  // with them too late.
  const zombies = Math.ceil(options.kills / 4);
  for (let n = 0; n < zombies; n++)
    planned.push({
      at: at(n, zombies),
      what: {
        kind: 'network',
        link: 'postgres',
        hub: hub(),
        effect: 'swallow',
        ms: random.integer(4_200, 6_500),
        share: 1,
      },
    });
  return planned.sort((a, b) => a.at - b.at);
}
