import { badRequest, Fields, type JsonObject } from './fields';

/** The kinds of fault an app knows: for each the reader of its own parameters. The table is the only list of kinds. */
export type FaultKinds = Record<string, (fields: Fields) => object>;

/** One fault with its parameters, as a union over the kinds of the table. */
export type Fault<Kinds extends FaultKinds> = {
  [Kind in keyof Kinds & string]: { kind: Kind } & ReturnType<Kinds[Kind]>;
}[keyof Kinds & string];

/** A fault as armed, and as `GET /admin/faults` shows it. */
export interface ArmedFault {
  id: number;
  kind: string;
  params: object;
  /** Only calls with these values are hit, e.g. `{"playerId": "p1"}`; empty: every call. */
  match: Record<string, string>;
  /** How many more calls it hits; null: until it is deleted. */
  remaining: number | null;
  /** The chance of a matching call to be hit, 0..1; null: each one. */
  share: number | null;
  /** Repeats the draws of `share`. */
  seed: number;
  /** How many calls it has hit. */
  hits: number;
}

interface Entry<Kinds extends FaultKinds> {
  armed: ArmedFault;
  fault: Fault<Kinds>;
  draw: () => number;
}

/** The faults that are armed; the first one that matches a call wins. */
export class FaultBoard<Kinds extends FaultKinds> {
  private entries: Entry<Kinds>[] = [];
  private readonly injectedByKind = new Map<string, number>();
  private nextId = 1;

  /**
   * @param filters what a call can be matched by, e.g. `playerId`, each with the words it may be, or null for any text
   */
  constructor(
    private readonly kinds: Kinds,
    private readonly filters: Record<string, readonly string[] | null>,
  ) {}

  /** Arms `{kind, next?, share?, seed?, …filters, …parameters of the kind}`. Throws 400 naming all that is wrong. */
  arm(input: JsonObject): ArmedFault {
    const kind = input.kind;
    const readParams = typeof kind === 'string' && Object.hasOwn(this.kinds, kind) ? this.kinds[kind] : undefined;
    // Alone and first: without a kind the other fields cannot be checked.
    if (typeof kind !== 'string' || readParams === undefined)
      throw badRequest(`kind must be one of ${Object.keys(this.kinds).join(', ')}`);
    const fields = new Fields(input);
    fields.text('kind');
    const next = fields.optionalInteger('next', 1, 1_000_000_000);
    const share = fields.optionalShare('share');
    const seed = fields.integer('seed', 0, 0xffffffff, Math.floor(Math.random() * 0x100000000));
    const match: Record<string, string> = {};
    for (const [filter, words] of Object.entries(this.filters)) {
      const value = fields.optionalText(filter);
      if (value === null) continue;
      if (words !== null && !words.includes(value)) fields.complain(filter, `must be one of ${words.join(', ')}`);
      match[filter] = value;
    }
    const params = readParams(fields);
    fields.finish();

    const armed: ArmedFault = { id: this.nextId++, kind, params, match, remaining: next, share, seed, hits: 0 };
    // The parameters were read by the reader of this very kind, which is what the union says.
    this.entries.push({ armed, fault: { kind, ...params } as Fault<Kinds>, draw: seededDraw(seed) });
    return armed;
  }

  /** The fault that this call meets, or null. Counts the hit. */
  pick(call: Record<string, string | null>): Fault<Kinds> | null {
    for (const { armed, fault, draw } of this.entries) {
      if (!isMatch(armed.match, call)) continue;
      if (armed.share !== null && draw() >= armed.share) continue;
      armed.hits++;
      this.injectedByKind.set(armed.kind, (this.injectedByKind.get(armed.kind) ?? 0) + 1);
      if (armed.remaining !== null && --armed.remaining === 0)
        this.entries = this.entries.filter((entry) => entry.armed !== armed);
      return fault;
    }
    return null;
  }

  /** Those still armed, in the order in which they are tried. */
  list(): ArmedFault[] {
    return this.entries.map(({ armed }) => armed);
  }

  /** Disarms all and says how many there were; what they have hit so far stays counted. */
  disarm(): number {
    const count = this.entries.length;
    this.entries = [];
    return count;
  }

  /** Hits by kind since the start or the last clear. */
  injected(): Record<string, number> {
    return Object.fromEntries(this.injectedByKind);
  }

  clear(): void {
    this.disarm();
    this.injectedByKind.clear();
  }
}

function isMatch(match: Record<string, string>, call: Record<string, string | null>): boolean {
  for (const filter in match) if (match[filter] !== call[filter]) return false;
  return true;
}

/** Numbers from 0 to below 1 (the mulberry32 generator): equal seeds give equal runs, which Math.random cannot. */
function seededDraw(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x100000000;
  };
}
