import { type Action, keyOf, wordsOf } from './actions';
import { brokenIn, isAtRest } from './invariants';
import { Machine, type Ranks } from './machine';
import type { Rules, Store } from './rules';
import type { Scenario } from './scenario';

export const STANDS_STILL = 'from every state money reaches an end or a person';

export interface Violation {
  readonly rule: string;
  /** A shortest way to it. */
  readonly steps: readonly { readonly key: string; readonly words: string }[];
}

export interface Walk {
  readonly states: number;
  readonly steps: number;
  readonly depth: number;
  /** False when it ended at the bound or at its first violation. */
  readonly complete: boolean;
  readonly atRest: number;
  readonly violations: readonly Violation[];
  readonly broken: number;
}

export interface WalkOptions {
  readonly rules?: Partial<Rules>;
  readonly store?: Partial<Store>;
  readonly statesMax?: number;
  /** End at the first violation: enough to know that there is one. */
  readonly first?: boolean;
  /** Whether to prove that nothing stands still; needs a complete walk. */
  readonly liveness?: boolean;
}

/**
 * Ids of states by 64 bits of hash, in open addressing. Two states with one hash would be taken for one: with 10^7
 * states the chance is 3 in a million.
 */
class Seen {
  private capacity = 1 << 16;
  private low = new Uint32Array(this.capacity);
  private high = new Uint32Array(this.capacity);
  private ids = new Int32Array(this.capacity).fill(-1);
  count = 0;

  /** The id of the state with this hash, or the negative of a new one, minus 1. */
  add(low: number, high: number): number {
    if (this.count * 10 > this.capacity * 6) this.grow();
    const mask = this.capacity - 1;
    let slot = (low ^ Math.imul(high, 0x9e3779b1)) & mask;
    for (;;) {
      const id = this.ids[slot] as number;
      if (id === -1) break;
      if (this.low[slot] === low && this.high[slot] === high) return id;
      slot = (slot + 1) & mask;
    }
    this.low[slot] = low;
    this.high[slot] = high;
    this.ids[slot] = this.count;
    this.count += 1;
    return -this.count;
  }

  private grow(): void {
    const { low, high, ids } = this;
    this.capacity *= 2;
    const mask = this.capacity - 1;
    this.low = new Uint32Array(this.capacity);
    this.high = new Uint32Array(this.capacity);
    this.ids = new Int32Array(this.capacity).fill(-1);
    for (let old = 0; old < ids.length; old += 1) {
      const id = ids[old] as number;
      if (id === -1) continue;
      let slot = ((low[old] as number) ^ Math.imul(high[old] as number, 0x9e3779b1)) & mask;
      while (this.ids[slot] !== -1) slot = (slot + 1) & mask;
      this.low[slot] = low[old] as number;
      this.high[slot] = high[old] as number;
      this.ids[slot] = id;
    }
  }
}

/** A growing row of numbers. */
class Row {
  values = new Int32Array(1 << 16);

  set(index: number, value: number): void {
    if (index >= this.values.length) {
      const grown = new Int32Array(this.values.length * 2);
      grown.set(this.values);
      this.values = grown;
    }
    this.values[index] = value;
  }

  get(index: number): number {
    return this.values[index] as number;
  }
}

/** States of one depth, one after the other. */
class Layer {
  bytes: Uint8Array;
  ids = new Row();
  count = 0;

  constructor(private readonly size: number) {
    this.bytes = new Uint8Array(size * 1024);
  }

  push(state: Uint8Array, id: number): void {
    if ((this.count + 1) * this.size > this.bytes.length) {
      const grown = new Uint8Array(this.bytes.length * 2);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(state, this.count * this.size);
    this.ids.set(this.count, id);
    this.count += 1;
  }

  at(index: number): Uint8Array {
    return this.bytes.subarray(index * this.size, (index + 1) * this.size);
  }
}

/** Breadth first over all that may happen, so that each violation comes with a shortest way to it. */
export function walk(scenario: Scenario, options: WalkOptions = {}): Walk {
  const { statesMax = Infinity, first = false, liveness = true } = options;
  const machine = new Machine(scenario, options);
  const words = new Uint32Array(machine.next.buffer);
  const seen = new Seen();
  const parents = new Row();
  const willing = new Row();
  const silent = new Row();
  const ordinals = new Row();
  const rests = new Row();
  const found = new Map<string, number>();
  let broken = 0;
  let steps = 0;
  let atRest = 0;
  let depth = 0;
  let layer = new Layer(machine.size);
  let later = new Layer(machine.size);

  let from = 0;
  let bestWilling: number;
  let bestSilent: number;
  let nth = 0;
  const meet = (state: Uint8Array): number => {
    let low = 0x811c9dc5;
    let high = 0x1b873593;
    for (let index = 0; index < words.length; index += 1) {
      const word = words[index] as number;
      low = Math.imul(low ^ word, 0x01000193) ^ (low >>> 15);
      high = Math.imul(high ^ word ^ (high >>> 13), 0x5bd1e995);
    }
    low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) >>> 0;
    high = Math.imul(high ^ (high >>> 16), 0xc2b2ae35) >>> 0;
    const id = seen.add(low, high);
    if (id >= 0) return id;
    const fresh = -id - 1;
    parents.set(fresh, from);
    ordinals.set(fresh, nth);
    rests.set(fresh, 0);
    willing.set(fresh, -1);
    silent.set(fresh, -1);
    const rule = brokenIn(state, scenario);
    if (isAtRest(state, scenario)) atRest += 1;
    if (rule === null) later.push(state, fresh);
    else {
      // What follows from a broken state is broken as well and tells nothing more.
      broken += 1;
      if (!found.has(rule)) found.set(rule, fresh);
      willing.set(fresh, -2);
      silent.set(fresh, -2);
    }
    return fresh;
  };
  const sink = (_action: Action, _target: number, ranks: Ranks): void => {
    steps += 1;
    const id = meet(machine.next);
    nth += 1;
    if (id === from) return;
    if (ranks.willing !== 0 && ranks.willing < bestWilling) {
      bestWilling = ranks.willing;
      willing.set(from, id);
    }
    if (ranks.silent !== 0 && ranks.silent < bestSilent) {
      bestSilent = ranks.silent;
      silent.set(from, id);
    }
  };

  machine.next.set(machine.start());
  from = -1;
  meet(machine.next);
  [layer, later] = [later, layer];
  while (layer.count > 0 && seen.count < statesMax && !(first && broken > 0)) {
    for (let index = 0; index < layer.count; index += 1) {
      from = layer.ids.get(index);
      bestWilling = bestSilent = 99;
      nth = 0;
      const state = layer.at(index);
      machine.expand(state, sink);
      // Where nobody has anything to do but to watch the clock, money must rest.
      if (isAtRest(state, scenario)) rests.set(from, 1);
      if (seen.count >= statesMax || (first && broken > 0)) break;
    }
    layer.count = 0;
    [layer, later] = [later, layer];
    depth += 1;
  }
  const complete = layer.count === 0 && !(first && broken > 0) && seen.count < statesMax;
  if (complete && liveness)
    for (const row of [willing, silent]) {
      const stuck = standsStill(row, seen.count, rests);
      if (stuck === null) continue;
      broken += 1;
      if (!found.has(STANDS_STILL)) found.set(STANDS_STILL, stuck);
    }
  const violations = [...found].map(([rule, id]) => ({ rule, steps: wayTo(id, parents, ordinals, machine) }));
  return { states: seen.count, steps, depth, complete, atRest, violations, broken };
}

/** A state from which the run goes round in circles, or ends where money does not rest; null when there is none. */
function standsStill(next: Row, count: number, rests: Row): number | null {
  // 0: not looked at, 1: on the way, 2: comes to rest.
  const marks = new Uint8Array(count);
  const way: number[] = [];
  for (let start = 0; start < count; start += 1) {
    let id = start;
    while (marks[id] === 0) {
      marks[id] = 1;
      way.push(id);
      const to = next.get(id);
      if (to === -2) break;
      if (to === -1) {
        if (rests.get(id) === 0) return start;
        break;
      }
      id = to;
      if (marks[id] === 1) return start;
    }
    for (const each of way) marks[each] = 2;
    way.length = 0;
  }
  return null;
}

/** Walks the same steps again, this time to say them. */
function wayTo(id: number, parents: Row, ordinals: Row, machine: Machine): Violation['steps'] {
  const ids: number[] = [];
  for (let each = id; each > 0; each = parents.get(each)) ids.unshift(each);
  const steps: { key: string; words: string }[] = [];
  let state = machine.start();
  for (const each of ids) {
    const wanted = ordinals.get(each);
    let nth = 0;
    let next = state;
    machine.expand(state, (action, target) => {
      if (nth === wanted) {
        next = machine.next.slice();
        steps.push({ key: keyOf(action, target), words: wordsOf(action, target, machine.scenario.movements) });
      }
      nth += 1;
    });
    state = next;
  }
  return steps;
}

/**
 * The first rule that these steps break, each written as in a violation; null when they break none. Throws when a step
 * cannot be taken.
 */
export function brokenBy(
  scenario: Scenario,
  keys: readonly string[],
  changes: Pick<WalkOptions, 'rules' | 'store'> = {},
): string | null {
  const machine = new Machine(scenario, changes);
  let state = machine.start();
  for (const key of keys) {
    let next: Uint8Array | undefined;
    machine.expand(state, (action, target) => {
      if (next === undefined && keyOf(action, target) === key) next = machine.next.slice();
    });
    if (next === undefined) throw new Error(`"${key}" is no step that can be taken here`);
    state = next;
    const rule = brokenIn(state, scenario);
    if (rule !== null) return rule;
  }
  return null;
}
