/**
 * What a reconciliation must say, written from its specification and from docs/reconciliation.md and not from the
 * engine: loops over rows in memory, no SQL, nothing of src/. Slow and plain on purpose; it is what the engine is held
 * against.
 */

import { businessDate } from './business-clock';

export type ListSide = 'rgs' | 'operator';
export type Booked = 'settled' | 'pending' | 'rejected' | 'unknown';
export type Moves = 'debit' | 'credit';
export type Delivery = 'sent' | 'pending' | 'dead';

/** A row of a partner's list, and what it means. */
export interface ListedFact {
  readonly side: ListSide;
  readonly corr: string;
  readonly ref: string;
  readonly word: string;
  /** Null: a word that nobody knows. */
  readonly moves: Moves | null;
  /** Minor units; null: no amount. */
  readonly amount: bigint | null;
  readonly amountText: string;
  readonly currency: string;
  readonly status: Booked;
  readonly statusWord: string;
  /** Milliseconds since the epoch; null: the row has no time. */
  readonly at: number | null;
  readonly player: string;
}

/** A movement as the hub's wallet keeps it, with its messages. */
export interface HubFact {
  readonly id: string;
  readonly ref: string;
  readonly moves: Moves;
  readonly amount: bigint;
  readonly currency: string;
  readonly state:
    | 'initiated'
    | 'confirmed'
    | 'rejected'
    | 'unknown'
    | 'compensating'
    | 'compensated'
    | 'parked'
    | 'rolling_back'
    | 'rolled_back';
  readonly at: number;
  readonly player: string;
  /** Whether the movement is of the two partners whose lists are read. */
  readonly pair: 'ours' | 'other_rgs' | 'other_operator';
  /** The place of a bet that was rolled back before it came; it moves nothing. */
  readonly tombstone: boolean;
  readonly message: { readonly id: string; readonly delivery: Delivery };
  readonly undo: { readonly id: string; readonly at: number; readonly delivery: Delivery } | null;
  readonly outcomes: readonly {
    readonly outcome: 'OK' | 'REJECTED' | 'ROLLED_BACK';
    readonly id: string;
    readonly delivery: Delivery;
  }[];
}

export interface Facts {
  readonly listed: readonly ListedFact[];
  readonly hub: readonly HubFact[];
}

export interface Question {
  /** Milliseconds; null: all time. */
  readonly window: { readonly from: number; readonly to: number } | null;
  readonly zone: string;
  readonly cutoff: string;
  readonly asOf: number;
  readonly graceSeconds: number;
}

const PAD_MS = 2 * 3_600_000;
const HARD_LIMIT_SECONDS = 24 * 3_600;
const BIT = { rgs: 1, operator: 2, hub: 4 } as const;

/** One booking: a row of a list, or of the hub, as one leg of a movement. */
interface Booking extends Omit<ListedFact, 'side'> {
  readonly from: 'rgs' | 'operator' | 'hub';
  /** Not a row of the list, but what another row of it says by the way. */
  readonly implied: boolean;
  readonly key: string;
  readonly leg: 'movement' | 'undo';
  readonly movement: HubFact | null;
}

export interface Verdict {
  readonly corr: string;
  readonly leg: 'movement' | 'undo';
  readonly classes: readonly string[];
  readonly state: 'broken' | 'in_flight';
  readonly presence: number;
  readonly booked: number;
  readonly counts: readonly [number, number, number];
  readonly ref: string;
  readonly player: string;
  readonly currency: string;
  readonly direction: string;
  readonly amounts: readonly [bigint | null, bigint | null, bigint | null];
  readonly difference: bigint | null;
  readonly statuses: readonly [string | null, string | null, string | null];
  readonly anchor: number | null;
  readonly businessDate: string | null;
  readonly linkedCorr: string | null;
  readonly outboxId: string | null;
  readonly outboxState: Delivery | null;
  /** What the reason must hold: both values of everything that differs. */
  readonly reasonHolds: readonly string[];
  /** The line of the first hub's file; null: none. */
  readonly legacy: {
    readonly ref: string;
    readonly word: string;
    readonly amountText: string;
    readonly inRgs: boolean;
  } | null;
}

export interface Funnel {
  readonly seen: number;
  readonly matched: number;
  readonly refused: number;
  readonly inItems: number;
  readonly outside: number;
}

export interface Answer {
  /** In the order of the report, but for those of one instant. */
  readonly items: readonly Verdict[];
  /** Keys with a fault and without a time, where there is a window. */
  readonly unplaced: number;
  readonly funnel: Readonly<Record<'rgs' | 'operator' | 'hub', Funnel>>;
  /** `date currency direction class state side` to count and sum. */
  readonly summary: ReadonlyMap<string, { readonly n: number; readonly sum: bigint }>;
}

export function answerOf(facts: Facts, question: Question): Answer {
  const all = new Map(
    [...groupsOf(seen(facts, question))].map(([key, bookings]) => [key, judgedOf(bookings, question)]),
  );
  const links = linksOf([...all.values()].map(({ judged, others }) => [...judged, ...others]));
  const funnel = { rgs: emptyFunnel(), operator: emptyFunnel(), hub: emptyFunnel() };
  const summary = new Map<string, { n: number; sum: bigint }>();
  const items: Verdict[] = [];
  let unplaced = 0;
  for (const [key, { own, others: foreign, judged, here, isElsewhere }] of all) {
    const others = foreign.length > 0;
    const verdict = verdictOf(judged, links.get(key) ?? null, question, isElsewhere);
    const isInside =
      question.window === null ||
      (verdict.anchor !== null && verdict.anchor >= question.window.from && verdict.anchor < question.window.to);
    const isRefused = judged.every(({ status }) => status === 'rejected');
    let place: 'item' | 'matched' | 'refused' | 'outside' = 'outside';
    if (!others && isInside) place = isRefused ? 'refused' : verdict.classes.length > 0 ? 'item' : 'matched';
    else if (!others && !isRefused && verdict.anchor === null && verdict.classes.length > 0) unplaced += 1;
    if (place === 'item') items.push(verdict);
    for (const booking of own) {
      const { from, implied, movement, at } = booking;
      if (implied) continue;
      // A movement of the hub that is looked up from outside the padded window was not part of what this run read.
      if (movement !== null && !isFetched(at, question)) continue;
      funnel[from].seen += from === 'hub' ? 1 : 0;
      const rowPlace = here.has(booking) ? place : 'outside';
      funnel[from][rowPlace === 'item' ? 'inItems' : rowPlace] += 1;
    }
    if (place !== 'item' && place !== 'matched') continue;
    for (const booking of countedOf(own.filter((each) => here.has(each)))) {
      const cell = [
        verdict.businessDate ?? 'null',
        booking.currency,
        booking.moves ?? 'unknown',
        verdict.classes[0] ?? 'matched',
        verdict.classes.length > 0 ? verdict.state : 'matched',
        booking.from,
      ].join(' ');
      const { n, sum } = summary.get(cell) ?? { n: 0, sum: 0n };
      summary.set(cell, { n: n + 1, sum: sum + (booking.amount ?? 0n) });
    }
  }
  for (const side of ['rgs', 'operator'] as const)
    funnel[side].seen = facts.listed.filter((row) => row.side === side && isFetched(row.at, question)).length;
  items.sort((a, b) => (a.anchor ?? Infinity) - (b.anchor ?? Infinity));
  return { items, unplaced, funnel, summary };
}

/** What a run makes of the bookings of one key. */
interface Judged {
  readonly own: readonly Booking[];
  readonly others: readonly Booking[];
  /** What the verdict is about. */
  readonly judged: readonly Booking[];
  /** What counts in this run. */
  readonly here: ReadonlySet<Booking>;
  /** The key is of another window, and only rows far from it are of this one. */
  readonly isElsewhere: boolean;
}

/**
 * A row further than the padding from the time that owns its key belongs to the window in which it lies itself: that of
 * the key may not have read it.
 */
function judgedOf(bookings: readonly Booking[], { window }: Question): Judged {
  const others = bookings.filter(({ movement }) => movement !== null && movement.pair !== 'ours');
  const own = bookings.filter((booking) => !others.includes(booking));
  const anchor = anchorOf(own);
  const whole = { own, others, judged: own, here: new Set(own), isElsewhere: false };
  if (window === null || anchor === null) return whole;
  const isInside = (at: number) => at >= window.from && at < window.to;
  const here = own.filter(({ from, implied, at }) =>
    isInside(from !== 'hub' && !implied && at !== null && Math.abs(at - anchor) > PAD_MS ? at : anchor),
  );
  if (isInside(anchor)) return { ...whole, judged: here, here: new Set(here) };
  if (here.length === 0) return whole;
  return {
    own,
    others,
    judged: [...here, ...own.filter(({ from }) => from === 'hub')],
    here: new Set(here),
    isElsewhere: true,
  };
}

/** The time that decides whose key it is. */
function anchorOf(bookings: readonly Booking[]): number | null {
  const earliest = (side: Booking['from']) =>
    smallest(present(bookings.filter(({ from }) => from === side).map(({ at }) => at)));
  return earliest('hub') ?? earliest('operator') ?? earliest('rgs');
}

/**
 * What stands in the totals: every row that says more than "refused". What an RGS only implies stands once, for a row
 * that it does not list.
 */
function countedOf(group: readonly Booking[]): Booking[] {
  const booked = group.filter(({ status }) => status !== 'rejected');
  const listed = booked.filter(({ implied }) => !implied);
  const implications = booked.filter((booking) => booking.implied);
  const amount = smallest(present(implications.map((booking) => booking.amount)));
  const currency = smallest(
    implications.filter((booking) => booking.amount === amount).map((booking) => booking.currency),
  );
  const implied = implications.find((booking) => booking.amount === amount && booking.currency === currency);
  return implied === undefined || listed.some(({ from }) => from === 'rgs') ? listed : [...listed, implied];
}

interface WritableFunnel {
  seen: number;
  matched: number;
  refused: number;
  inItems: number;
  outside: number;
}

function emptyFunnel(): WritableFunnel {
  return { seen: 0, matched: 0, refused: 0, inItems: 0, outside: 0 };
}

/** Lists are read two hours wider than the window; what has no time is always listed. */
function isFetched(at: number | null, { window }: Question): boolean {
  return window === null || at === null || (at >= window.from - PAD_MS && at < window.to + PAD_MS);
}

/**
 * All bookings that a run gets to see. The hub owns a movement whenever it took it, so one that is listed is found at
 * any time.
 */
function seen({ listed, hub }: Facts, question: Question): Booking[] {
  const rows = listed.filter(({ at }) => isFetched(at, question)).flatMap(listedBookings);
  const listedKeys = new Set(rows.map(({ key }) => key));
  return [...rows, ...hub.flatMap(hubBookings).filter(({ at, key }) => isFetched(at, question) || listedKeys.has(key))];
}

const UNDO = 'rollback:';

function keyOf(corr: string, leg: 'movement' | 'undo'): string {
  const isUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(corr);
  return `${leg} ${isUuid ? corr.toLowerCase() : corr}`;
}

function listedBookings(row: ListedFact): Booking[] {
  const booking = (leg: 'movement' | 'undo', change: Partial<Booking> = {}): Booking => ({
    ...row,
    from: row.side,
    implied: false,
    key: keyOf(row.corr, leg),
    leg,
    movement: null,
    ...change,
  });
  // ROLLED_BACK under the name of a bet: the bet was paid back, and so there was one.
  if (row.side === 'rgs' && row.moves === 'debit' && row.statusWord === 'ROLLED_BACK')
    return [
      booking('undo', { moves: 'credit', ref: UNDO + row.ref }),
      booking('movement', { implied: true, at: null }),
    ];
  const isUndo = row.moves === 'credit' && (row.ref.startsWith(UNDO) || row.word.toLowerCase() === 'rollback');
  return [booking(isUndo ? 'undo' : 'movement')];
}

/** The wallet's states, as what they say of the booking at the operator and of its repayment. */
const BOOKED: Readonly<Record<HubFact['state'], (hub: HubFact) => Booked>> = {
  initiated: () => 'pending',
  unknown: () => 'unknown',
  rejected: () => 'rejected',
  parked: ({ undo }) => (undo === null ? 'unknown' : 'settled'),
  confirmed: () => 'settled',
  compensating: () => 'settled',
  compensated: () => 'settled',
  rolling_back: () => 'settled',
  rolled_back: () => 'settled',
};
const REPAID: Readonly<Partial<Record<HubFact['state'], Booked>>> = {
  compensating: 'pending',
  rolling_back: 'pending',
  compensated: 'settled',
  rolled_back: 'settled',
  parked: 'unknown',
};

function hubBookings(hub: HubFact): Booking[] {
  if (hub.tombstone) return [];
  const booking = (leg: 'movement' | 'undo', change: Partial<Booking>): Booking => ({
    from: 'hub',
    implied: false,
    key: keyOf(hub.id, leg),
    leg,
    corr: hub.id,
    ref: hub.ref,
    word: hub.moves,
    moves: hub.moves,
    amount: hub.amount,
    amountText: '',
    currency: hub.currency,
    status: 'settled',
    statusWord: hub.state,
    at: hub.at,
    player: hub.player,
    movement: hub,
    ...change,
  });
  // A credit with a repayment's reference is laid where the partners' rows of it are.
  const own = booking(hub.moves === 'credit' && hub.ref.startsWith(UNDO) ? 'undo' : 'movement', {
    status: BOOKED[hub.state](hub),
  });
  if (hub.undo === null) return [own];
  return [
    own,
    booking('undo', {
      moves: 'credit',
      word: 'credit',
      ref: UNDO + hub.ref,
      status: REPAID[hub.state] ?? 'rejected',
      at: hub.undo.at,
    }),
  ];
}

/** Whether the hub has what a row of a list is about: the movement, or its repayment. */
export function isKnownTo(hub: readonly HubFact[]): (row: ListedFact) => boolean {
  const keys = new Set(hub.flatMap(hubBookings).map(({ key }) => key));
  return (row) => listedBookings(row).every(({ key }) => keys.has(key));
}

function groupsOf(bookings: readonly Booking[]): Map<string, Booking[]> {
  const groups = new Map<string, Booking[]>();
  for (const booking of bookings) groups.set(booking.key, [...(groups.get(booking.key) ?? []), booking]);
  return groups;
}

const smallest = <T extends string | bigint | number>(values: readonly T[]): T | null =>
  values.length === 0 ? null : values.reduce((a, b) => (b < a ? b : a));
const largest = <T extends string | bigint | number>(values: readonly T[]): T | null =>
  values.length === 0 ? null : values.reduce((a, b) => (b > a ? b : a));
const present = <T>(values: readonly (T | null)[]): T[] =>
  values.filter((value): value is T & NonNullable<unknown> => value !== null);
const distinct = <T>(values: readonly T[]): T[] => [...new Set(values)];
const orNone = (word: string): string => (word === '' ? '(none)' : word);
const firstRef = (bookings: readonly Booking[]): string =>
  smallest(bookings.map(({ ref }) => ref).filter((ref) => ref !== '')) ?? '';

/**
 * The fallback identifier: reference, direction and currency, where each side has exactly one candidate that the other
 * side lacks.
 */
function linksOf(groups: readonly Booking[][]): Map<string, string> {
  const candidates = { rgs: new Map<string, Booking[][]>(), operator: new Map<string, Booking[][]>() };
  for (const group of groups) {
    const [inRgs, inOperator] = [
      group.some(({ from }) => from === 'rgs'),
      group.some(({ from }) => from === 'operator'),
    ];
    const [directions, currencies, ref] = [
      distinct(group.map(({ moves }) => moves)),
      distinct(group.map(({ currency }) => currency)),
      firstRef(group),
    ];
    if (
      inRgs === inOperator ||
      ref === '' ||
      directions.length !== 1 ||
      directions[0] === null ||
      currencies.length !== 1
    )
      continue;
    if (
      group.every(({ status }) => status === 'rejected') ||
      group.some(({ movement }) => movement !== null && movement.pair !== 'ours')
    )
      continue;
    const name = JSON.stringify([ref, directions[0], currencies[0]]);
    const side = candidates[inRgs ? 'rgs' : 'operator'];
    side.set(name, [...(side.get(name) ?? []), group]);
  }
  const links = new Map<string, string>();
  for (const [name, [one, ...more]] of candidates.rgs) {
    const [other, ...others] = candidates.operator.get(name) ?? [];
    if (one === undefined || other === undefined || more.length + others.length > 0) continue;
    links.set(one[0]?.key ?? '', smallest(other.map(({ corr }) => corr)) ?? '');
    links.set(other[0]?.key ?? '', smallest(one.map(({ corr }) => corr)) ?? '');
  }
  return links;
}

/** The table of presence: 1 RGS, 2 operator, 4 hub. */
const PRESENCE: readonly (string | null)[] = [
  null,
  'orphan_rgs',
  'orphan_operator',
  'missing_in_hub',
  'undelivered',
  'missing_in_operator',
  'missing_in_rgs',
  null,
];

function verdictOf(
  group: readonly Booking[],
  linkedCorr: string | null,
  question: Question,
  isElsewhere: boolean,
): Verdict {
  const of = (from: Booking['from']) => group.filter((booking) => booking.from === from);
  const [rgs, operator, hub] = [of('rgs'), of('operator'), of('hub')];
  const counts = [rgs.filter(({ implied }) => !implied).length, operator.length, hub.length] as const;
  const presence =
    (rgs.length > 0 ? BIT.rgs : 0) + (operator.length > 0 ? BIT.operator : 0) + (hub.length > 0 ? BIT.hub : 0);
  const [currencies, directions, statuses] = [
    distinct(group.map(({ currency }) => currency)),
    distinct(group.map(({ moves }) => moves)),
    distinct(group.map(({ status }) => status)),
  ];
  const amounts = present(group.map(({ amount }) => amount));
  const times = present(group.map(({ at }) => at));
  const is = {
    correlation_mismatch: linkedCorr !== null,
    duplicate: counts.some((count) => count > 1),
    currency: currencies.length > 1,
    direction: directions.length > 1 || directions[0] === null,
    amount: distinct(amounts).length > 1,
    bad_amount: amounts.length < group.length,
    status: statuses.length > 1 || statuses[0] === 'unknown',
    late: times.length > 0 && (largest(times) ?? 0) - (smallest(times) ?? 0) > PAD_MS,
  };
  const isLate = isElsewhere && hub.length > 0;
  const missing = isLate ? null : (PRESENCE[presence] ?? null);
  const classes = [
    ...(is.correlation_mismatch ? ['correlation_mismatch'] : []),
    ...(is.duplicate ? ['duplicate'] : []),
    ...(missing === null ? [] : [missing]),
    ...(['currency', 'direction', 'amount', 'bad_amount', 'status', 'late'] as const).filter((name) => is[name]),
  ];
  const anchor = anchorOf(isElsewhere ? [...operator, ...rgs] : group);
  const outbox = isLate ? NO_MESSAGE : outboxOf(group, presence);
  const amountOf = (rows: readonly Booking[]) => smallest(present(rows.map(({ amount }) => amount)));
  // What may come right by itself: something is missing, or waits for its outcome, and nothing that is there
  // contradicts.
  const contradicts =
    is.correlation_mismatch ||
    is.duplicate ||
    is.currency ||
    is.direction ||
    is.amount ||
    is.bad_amount ||
    is.late ||
    (statuses.includes('rejected') && statuses.length > 1);
  const ageSeconds = anchor === null ? Infinity : (question.asOf - anchor) / 1000;
  const inFlight =
    !contradicts &&
    (missing !== null || is.status) &&
    ageSeconds < HARD_LIMIT_SECONDS &&
    !outbox.isDead &&
    (ageSeconds < question.graceSeconds || outbox.isPending);
  const booked = (rows: readonly Booking[]) => rows.filter(({ status }) => status !== 'rejected');
  const sum = (rows: readonly Booking[]) => rows.reduce((total, { amount }) => total + (amount ?? 0n), 0n);
  const counted = (from: ListSide) => sum(countedOf(group).filter((booking) => booking.from === from));
  const inRgs = booked(rgs).length > 0;
  const inOperator = booked(operator).length > 0;
  const told = inRgs ? rgs : operator;
  return {
    corr: smallest(group.map(({ corr }) => corr)) ?? '',
    leg: group[0]?.leg ?? 'movement',
    classes,
    state: inFlight ? 'in_flight' : 'broken',
    presence,
    booked: (inRgs ? BIT.rgs : 0) + (inOperator ? BIT.operator : 0) + (booked(hub).length > 0 ? BIT.hub : 0),
    counts,
    ref: firstRef(group),
    player: smallest(group.map(({ player }) => player).filter((player) => player !== '')) ?? '',
    currency: ends(currencies),
    direction: distinct(
      ['unknown', 'debit', 'credit'].filter((word) => group.some(({ moves }) => (moves ?? 'unknown') === word)),
    )
      .filter((_, index, words) => index === 0 || index === words.length - 1)
      .join('/'),
    amounts: [amountOf(rgs), amountOf(operator), amountOf(hub)],
    difference: is.currency || directions.length > 1 || is.bad_amount ? null : counted('operator') - counted('rgs'),
    statuses: [rgs, operator, hub].map((rows) => smallest(rows.map(({ statusWord }) => statusWord))) as [
      string | null,
      string | null,
      string | null,
    ],
    anchor,
    businessDate: anchor === null ? null : businessDate(anchor, question.zone, question.cutoff),
    linkedCorr,
    outboxId: outbox.id,
    outboxState: outbox.state,
    reasonHolds: [
      ...(linkedCorr === null ? [] : [linkedCorr]),
      ...(is.duplicate ? [`RGS ${counts[0]}, operator ${counts[1]}, hub ${counts[2]}`] : []),
      ...(is.currency
        ? [rgs, operator, hub].flatMap((rows) => present([smallest(rows.map(({ currency }) => currency))]).map(orNone))
        : []),
      ...(is.direction
        ? [rgs, operator].flatMap((rows) => present([smallest(rows.map(({ word }) => word))]).map(orNone))
        : []),
      ...(is.amount
        ? [rgs, operator, hub].flatMap((rows) =>
            present([amountOf(rows)]).map((amount) =>
              major(amount, smallest(rows.map(({ currency }) => currency)) ?? ''),
            ),
          )
        : []),
      ...(is.bad_amount
        ? [rgs, operator].flatMap((rows) => present([smallest(rows.map(({ amountText }) => amountText))]).map(orNone))
        : []),
      ...(is.status
        ? [rgs, operator, hub].flatMap((rows) =>
            present([smallest(rows.map(({ statusWord }) => statusWord))]).map(orNone),
          )
        : []),
      ...(is.late ? [new Date(smallest(times) ?? 0).toISOString(), new Date(largest(times) ?? 0).toISOString()] : []),
    ],
    legacy:
      inRgs === inOperator
        ? null
        : {
            ref: smallest(told.map(({ ref }) => ref)) ?? '',
            word: smallest(told.map(({ word }) => word)) ?? '',
            amountText: smallest(told.map(({ amountText }) => amountText)) ?? '',
            inRgs,
          },
  };
}

/** The lowest and the highest, where there are two; what is empty has no place beside a slash. */
function ends(values: readonly string[]): string {
  const [lo, hi] = [smallest(values) ?? '', largest(values) ?? ''];
  return lo === hi || lo === '' ? hi : `${lo}/${hi}`;
}

const NO_MESSAGE = { id: null, state: null, isDead: false, isPending: false } as const;

/** The messages that would bring about what is missing, and whether the outbox still owns them or has given up. */
function outboxOf(
  group: readonly Booking[],
  presence: number,
): { id: string | null; state: Delivery | null; isDead: boolean; isPending: boolean } {
  const own = group.find(({ movement }) => movement !== null);
  const hub = own?.movement ?? null;
  if (own === undefined || hub === null) return NO_MESSAGE;
  const undecided = own.status === 'pending' || own.status === 'unknown';
  if (presence === 7 && !undecided) return NO_MESSAGE;
  const isRepayment = own.leg === 'undo' && hub.moves === 'debit';
  const toOperator = isRepayment ? hub.undo : hub.message;
  const toRgs =
    (isRepayment ? (['ROLLED_BACK'] as const) : (['OK', 'REJECTED', 'ROLLED_BACK'] as const))
      .map((outcome) => hub.outcomes.find((each) => each.outcome === outcome))
      .find((each) => each !== undefined) ?? null;
  const wanted = present([
    (presence & BIT.operator) === 0 || undecided ? toOperator : null,
    (presence & BIT.rgs) === 0 ? toRgs : null,
  ]);
  const isDead = wanted.some(({ delivery }) => delivery === 'dead');
  const isPending = wanted.some(({ delivery }) => delivery === 'pending');
  // In the queue of the side that lacks it, and never of the other; nothing is sent of what a person must look at
  // first.
  const atOperator = (presence & BIT.operator) === 0 || ((presence & BIT.rgs) !== 0 && undecided);
  const id = hub.state === 'parked' ? null : ((atOperator ? toOperator : toRgs)?.id ?? null);
  return { id, state: id === null ? null : isDead ? 'dead' : isPending ? 'pending' : 'sent', isDead, isPending };
}

const DECIMALS: Readonly<Record<string, number>> = { JPY: 0, KWD: 3 };

function major(minor: bigint, currency: string): string {
  const decimals = DECIMALS[currency] ?? 2;
  const digits = (minor < 0n ? -minor : minor).toString().padStart(decimals + 1, '0');
  return (
    (minor < 0n ? '-' : '') +
    (decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`) +
    (currency === '' ? '' : ` ${currency}`)
  );
}
