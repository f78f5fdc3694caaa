import fc from 'fast-check';
import type { LeasedMessage, Outcome } from '../../src/outbox/outbox-message';
import { NO_FAULTS, OutboxLanes, newMessage } from '../support/hub/outbox-lanes';

/** Longer runs: OUTBOX_MODEL_RUNS=2000 npm test -- outbox-model. */
const RUNS = Number(process.env.OUTBOX_MODEL_RUNS ?? '40');
const LANES = 3;
const WORKERS = ['ann', 'ben', 'cleo'] as const;
const HOUR_MS = 3_600_000;

/** A row of outbox_head as the model expects it. */
interface Head {
  /** Null for a replayed message, which goes beside its lane. */
  readonly lane: number | null;
  state: 'due' | 'in flight' | 'waiting' | 'blocked';
  /** Set by the last claim; a replay takes it away. */
  token: string | null;
  /**
   * Whether its last holder never said what came of it. A claim over its head then counts an attempt whose outcome was
   * lost.
   */
  leased: boolean;
  attempts: number;
}

interface Lane {
  readonly messages: string[];
  /** Messages that the lane has passed. */
  done: number;
  blockedBy: string | null;
}

interface Lease {
  readonly message: LeasedMessage;
  readonly worker: string;
}

/** What the outbox should look like, kept by rules that a reader can check against docs/architecture.md. */
class Model {
  readonly lanes: Lane[] = Array.from({ length: LANES }, () => ({ messages: [], done: 0, blockedBy: null }));
  readonly heads = new Map<string, Head>();
  readonly dead = new Set<string>();
  leases: Lease[] = [];
  /** Per lane, messages in the order in which the lane first offered them; a replay beside the lane does not count. */
  readonly firstClaims: string[][] = this.lanes.map(() => []);
  readonly endedByCallback = new Set<string>();
  staleResults = 0;

  all(): string[] {
    return this.lanes.flatMap(({ messages }) => messages);
  }

  laneOf(id: string): number {
    return this.lanes.findIndex(({ messages }) => messages.includes(id));
  }

  due(): string[] {
    return [...this.heads].filter(([, { state }]) => state === 'due').map(([id]) => id);
  }

  add(lane: number, id: string): void {
    const { messages, done } = this.laneAt(lane);
    messages.push(id);
    if (messages.length === done + 1)
      this.heads.set(id, { lane, state: 'due', token: null, leased: false, attempts: 0 });
  }

  isHeld({ message }: Lease): boolean {
    return this.heads.get(message.id)?.token === message.token;
  }

  settle(id: string, outcome: Outcome): void {
    const head = this.heads.get(id);
    if (head === undefined) throw new Error(`${id} has no head`);
    const lane = head.lane === null ? null : this.laneAt(head.lane);
    if (outcome === 'sent') this.dead.delete(id);
    if (outcome === 'dead' || outcome === 'blocked') this.dead.add(id);
    if (outcome === 'sent' || outcome === 'dead') {
      this.heads.delete(id);
      if (lane === null || head.lane === null) return;
      lane.done += 1;
      lane.blockedBy = null;
      const next = lane.messages[lane.done];
      if (next !== undefined)
        this.heads.set(next, { lane: head.lane, state: 'due', token: null, leased: false, attempts: 0 });
      return;
    }
    head.state = outcome === 'blocked' ? 'blocked' : 'waiting';
    head.leased = false;
    if (outcome !== 'released') head.attempts += 1;
    if (outcome === 'blocked' && lane !== null) lane.blockedBy = id;
  }

  replay(id: string): void {
    this.dead.delete(id);
    const head = this.heads.get(id);
    if (head !== undefined) {
      // On the wire already: it only gets its schedule back.
      head.attempts = 0;
      if (head.state === 'in flight') return;
      Object.assign(head, { state: 'due', token: null, leased: false, attempts: 0 });
      for (const lane of this.lanes) if (lane.blockedBy === id) lane.blockedBy = null;
      return;
    }
    const lane = this.laneAt(this.laneOf(id));
    if (lane.messages.indexOf(id) < lane.done)
      this.heads.set(id, { lane: null, state: 'due', token: null, leased: false, attempts: 0 });
  }

  laneAt(index: number): Lane {
    const lane = this.lanes[index];
    if (lane === undefined) throw new Error(`there is no lane ${index}`);
    return lane;
  }
}

class Real {
  constructor(
    readonly lanes: OutboxLanes,
    readonly destination: number,
  ) {}

  /** Everything the model speaks about, read from the tables. */
  async seen(): Promise<unknown> {
    const [state] = await this.lanes.query(
      `select
         (select jsonb_object_agg(message_id, jsonb_build_object('lane', lane_key, 'attempts', attempts,
            'state', case when visible_at = 'infinity' then 'blocked' when visible_at <= clock_timestamp() then 'due' when leased then 'in flight' else 'waiting' end))
            from outbox_head where destination_id = $1) as heads,
         (select jsonb_object_agg(lane_key, jsonb_build_object('last', last_seq, 'done', head_seq - 1, 'blockedBy', blocked_by)) from outbox_lane where destination_id = $1) as lanes,
         (select jsonb_agg(message_id order by message_id) from outbox_dead where destination_id = $1) as dead,
         (select count(*)::integer from outbox_attempt a join outbox_message m on m.id = a.message_id where m.destination_id = $1 and a.outcome = 'stale') as stale`,
      [this.destination],
    );
    return state;
  }
}

function expected(model: Model): unknown {
  const heads = Object.fromEntries(
    [...model.heads].map(([id, { lane, attempts, state }]) => [
      id,
      { lane: lane === null ? null : `lane-${lane}`, attempts, state },
    ]),
  );
  const lanes = Object.fromEntries(
    model.lanes.flatMap(({ messages, done, blockedBy }, index) =>
      messages.length === 0 ? [] : [[`lane-${index}`, { last: messages.length, done, blockedBy }]],
    ),
  );
  const dead = [...model.dead].sort();
  const orNull = (value: object): object | null => (Object.keys(value).length === 0 ? null : value);
  return { heads: orNull(heads), lanes: orNull(lanes), dead: orNull(dead), stale: model.staleResults };
}

/** One thing that may happen; afterwards the tables are what the model says, whatever came before. */
abstract class Step implements fc.AsyncCommand<Model, Real> {
  check(_model: Readonly<Model>): boolean {
    return true;
  }

  protected abstract act(model: Model, real: Real): Promise<void>;

  async run(model: Model, real: Real): Promise<void> {
    await this.act(model, real);
    expect(await real.seen()).toEqual(expected(model));
    expect(await real.lanes.faults(real.destination)).toEqual(NO_FAULTS);
  }

  abstract toString(): string;
}

class Enqueue extends Step {
  constructor(
    private readonly into: number[],
    private readonly commits: boolean,
  ) {
    super();
  }

  protected async act(model: Model, { lanes, destination }: Real): Promise<void> {
    const messages = this.into.map((lane) => newMessage(destination, `lane-${lane}`));
    const work = lanes.transaction(async (tx) => {
      await lanes.store.enqueue(tx, messages);
      if (!this.commits) throw new Error('rolled back');
    });
    if (!this.commits) return expect(work).rejects.toThrow('rolled back');
    await work;
    this.into.forEach((lane, index) => model.add(lane, messages[index]?.id ?? ''));
  }

  toString(): string {
    return `${this.commits ? 'enqueue' : 'enqueue and roll back'}(${this.into.join()})`;
  }
}

class Claim extends Step {
  constructor(
    private readonly worker: string,
    private readonly want: number,
  ) {
    super();
  }

  protected async act(model: Model, { lanes, destination }: Real): Promise<void> {
    const due = new Set(model.due());
    const claimed = await lanes.claim(destination, this.want, this.worker, HOUR_MS);
    expect(claimed).toHaveLength(Math.min(this.want, due.size));
    for (const message of claimed) {
      expect(due.delete(message.id)).toBe(true);
      const head = model.heads.get(message.id);
      if (head === undefined) throw new Error('due, so it has a head');
      Object.assign(head, {
        state: 'in flight',
        token: message.token,
        attempts: head.attempts + Number(head.leased),
        leased: true,
      });
      model.leases.push({ message, worker: this.worker });
      const firsts = model.firstClaims[model.laneOf(message.id)];
      if (head.lane !== null && firsts !== undefined && !firsts.includes(message.id)) firsts.push(message.id);
    }
  }

  toString(): string {
    return `${this.worker} claims ${this.want}`;
  }
}

/** Of any lease ever given and not forgotten: also one that ran out, was taken over or was replayed meanwhile. */
class Settle extends Step {
  constructor(
    private readonly pick: number,
    private readonly outcome: Outcome,
  ) {
    super();
  }

  override check(model: Readonly<Model>): boolean {
    return model.leases.length > 0;
  }

  protected async act(model: Model, { lanes }: Real): Promise<void> {
    const [lease] = model.leases.splice(this.pick % model.leases.length, 1);
    if (lease === undefined) throw new Error('checked above');
    const isHeld = model.isHeld(lease);
    expect(await lanes.settle([lease.message], this.outcome, HOUR_MS)).toEqual(
      new Map([[lease.message.id, isHeld ? 'ok' : 'stale']]),
    );
    if (isHeld) model.settle(lease.message.id, this.outcome);
    else model.staleResults += 1;
  }

  toString(): string {
    return `settle lease ${this.pick} as ${this.outcome}`;
  }
}

/** Time passes: every lease ends and every delay is over. Whoever held a lease does not know. */
class TimePasses extends Step {
  protected async act(model: Model, { lanes, destination }: Real): Promise<void> {
    await lanes.query(
      `update outbox_head set visible_at = clock_timestamp() where destination_id = $1 and visible_at < 'infinity'`,
      [destination],
    );
    for (const head of model.heads.values()) {
      if (head.state !== 'blocked') head.state = 'due';
    }
  }

  toString(): string {
    return 'time passes';
  }
}

class Replay extends Step {
  constructor(private readonly pick: number) {
    super();
  }

  override check(model: Readonly<Model>): boolean {
    return model.all().length > 0;
  }

  protected async act(model: Model, { lanes, destination }: Real): Promise<void> {
    const all = model.all();
    const id = all[this.pick % all.length] ?? '';
    await lanes.transaction(async (tx) => {
      const found = await lanes.store.findForReplay(tx, 'rgs', id);
      await lanes.store.lockLane(tx, destination, found?.laneKey ?? '');
      await lanes.store.replay(tx, id);
    });
    model.replay(id);
  }

  toString(): string {
    return `replay message ${this.pick}`;
  }
}

/** A callback ends the head of a lane while nobody is sending it. */
class Callback extends Step {
  constructor(
    private readonly lane: number,
    private readonly outcome: 'sent' | 'dead',
  ) {
    super();
  }

  protected async act(model: Model, { lanes, destination }: Real): Promise<void> {
    const { messages, done } = model.laneAt(this.lane);
    const id = messages[done];
    if (id === undefined) return;
    await lanes.transaction(async (tx) => {
      await lanes.store.lockLane(tx, destination, `lane-${this.lane}`);
      const isIdle = (await lanes.store.positions(tx, [id])).get(id)?.place === 'idle';
      expect(isIdle).toBe(model.heads.get(id)?.state !== 'in flight');
      if (!isIdle) return;
      await lanes.store.settle(
        tx,
        [
          {
            id,
            outcome: this.outcome,
            class: 'callback',
            status: null,
            error: null,
            durationMs: null,
            delayMs: 0,
            open: false,
            landing: null,
          },
        ],
        'callback',
      );
      model.settle(id, this.outcome);
      model.endedByCallback.add(id);
    });
  }

  toString(): string {
    return `a callback ends the head of lane ${this.lane} as ${this.outcome}`;
  }
}

class Kill extends Step {
  constructor(private readonly worker: string) {
    super();
  }

  protected act(model: Model): Promise<void> {
    model.leases = model.leases.filter(({ worker }) => worker !== this.worker);
    return Promise.resolve();
  }

  toString(): string {
    return `${this.worker} is killed`;
  }
}

/**
 * A worker is so slow that another takes over what it holds; then its answer comes. Left to chance, a whole run could
 * be without one.
 */
class Overtaken extends Step {
  constructor(private readonly outcome: Outcome) {
    super();
  }

  override check(model: Readonly<Model>): boolean {
    return model.due().length > 0;
  }

  protected async act(model: Model, real: Real): Promise<void> {
    const lost = model.leases.length;
    await new Claim(WORKERS[0], 1).run(model, real);
    await new TimePasses().run(model, real);
    await new Claim(WORKERS[1], 100).run(model, real);
    const before = model.staleResults;
    await new Settle(lost, this.outcome).run(model, real);
    expect(model.staleResults).toBe(before + 1);
  }

  toString(): string {
    return `overtaken, then ${this.outcome}`;
  }
}

class Repair extends Step {
  protected async act(_model: Model, { lanes }: Real): Promise<void> {
    expect(await lanes.store.repairLanes()).toBe(0);
  }

  toString(): string {
    return 'the rescue finds nothing';
  }
}

const lane = fc.integer({ min: 0, max: LANES - 1 });
const outcome = fc.constantFrom<Outcome>('sent', 'sent', 'dead', 'blocked', 'retry', 'released');
const steps = fc.commands(
  [
    fc
      .tuple(fc.array(lane, { minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 9 }))
      .map(([into, chance]) => new Enqueue(into, chance > 0)),
    fc
      .tuple(fc.constantFrom(...WORKERS), fc.integer({ min: 1, max: 4 }))
      .map(([worker, want]) => new Claim(worker, want)),
    fc.tuple(fc.nat(100), outcome).map(([pick, result]) => new Settle(pick, result)),
    fc.tuple(fc.nat(100), outcome).map(([pick, result]) => new Settle(pick, result)),
    fc.constant(new TimePasses()),
    outcome.map((result) => new Overtaken(result)),
    fc.nat(100).map((pick) => new Replay(pick)),
    fc
      .tuple(lane, fc.constantFrom<'sent' | 'dead'>('sent', 'dead'))
      .map(([index, result]) => new Callback(index, result)),
    fc.constantFrom(...WORKERS).map((worker) => new Kill(worker)),
    fc.constant(new Repair()),
  ],
  { maxCommands: 60, size: 'max' },
);

describe('the outbox, against a model of it', () => {
  let lanes: OutboxLanes;
  beforeAll(async () => {
    lanes = await OutboxLanes.open(3);
  });
  afterAll(() => lanes.close());

  it(
    'is what the model says after any sequence of steps, and in the end has offered every message in order',
    async () => {
      const seen = { stale: 0, messages: 0 };
      await fc.assert(
        fc.asyncProperty(steps, async (commands) => {
          const model = new Model();
          const real = new Real(lanes, await lanes.newDestination());
          await fc.asyncModelRun(() => ({ model, real }), commands);
          await drain(model, real);
          for (const [index, { messages }] of model.lanes.entries()) {
            const firsts = model.firstClaims[index] ?? [];
            // In order, and all of them but those that a callback ended before anybody sent them.
            expect(firsts).toEqual(messages.filter((id) => firsts.includes(id) || !model.endedByCallback.has(id)));
          }
          seen.stale += model.staleResults;
          seen.messages += model.all().length;
        }),
        { numRuns: RUNS },
      );
      // The sequences were worth something: leases were lost and results came too late.
      expect(seen.messages).toBeGreaterThan(RUNS);
      expect(seen.stale).toBeGreaterThan(0);
    },
    60_000 + RUNS * 1_000,
  );
});

/** A person replays what is blocked, and everything else goes out: no message may be left behind. */
async function drain(model: Model, real: Real): Promise<void> {
  await new TimePasses().run(model, real);
  while (model.heads.size > 0) {
    for (const { blockedBy } of model.lanes)
      if (blockedBy !== null) await new Replay(model.all().indexOf(blockedBy)).run(model, real);
    for (const [id, { state }] of model.heads)
      if (state === 'blocked') await new Replay(model.all().indexOf(id)).run(model, real);
    const before = model.leases.length;
    await new Claim('ann', 100).run(model, real);
    expect(model.leases.length).toBeGreaterThan(before);
    while (model.leases.length > before) await new Settle(before, 'sent').run(model, real);
  }
  for (const { messages, done } of model.lanes) expect(done).toBe(messages.length);
}
