import fc from 'fast-check';
import type { Delivery, Facts, HubFact, ListSide, ListedFact, Moves, Question } from './oracle';

/**
 * Random three-sided books. A story is what happened to one movement: what the hub has of it, what each list says, and
 * how what they say differs. Most rows are as they should be, since a fault is only seen where something next to it is
 * right.
 */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** How a row differs from its movement. */
export interface Twist {
  readonly amount: 'same' | 'more' | 'none' | 'fine' | 'huge';
  readonly currency: 'same' | 'other' | 'empty';
  readonly direction: 'same' | 'opposite' | 'unknown';
  readonly status: number;
  readonly lateBy: number | null;
  readonly ref: 'same' | 'empty' | 'other';
  readonly repays: 'no' | 'by_reference' | 'by_word';
  readonly corr: 'same' | 'upper';
}

export interface Story {
  readonly hub: {
    readonly state: HubFact['state'];
    readonly pair: HubFact['pair'];
    readonly tombstone: boolean;
    readonly undoAfter: number | null;
    readonly message: Delivery;
    readonly undoMessage: Delivery;
    readonly outcomes: readonly { readonly outcome: 'OK' | 'REJECTED' | 'ROLLED_BACK'; readonly delivery: Delivery }[];
  } | null;
  readonly moves: Moves;
  readonly amount: number;
  readonly currency: string;
  /** From the beginning of the window. */
  readonly after: number;
  readonly rgs: readonly Twist[];
  readonly operator: readonly Twist[];
  /** References are shared where two stories have the same. */
  readonly ref: number | null;
  readonly isUndoLike: boolean;
}

const DAY = 24 * HOUR;
const delivery = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Delivery>('sent') },
  { weight: 1, arbitrary: fc.constantFrom<Delivery>('pending', 'dead') },
);
const mostly = <T>(usual: T, ...others: T[]) =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

const twist: fc.Arbitrary<Twist> = fc.record({
  amount: mostly<Twist['amount']>('same', 'more', 'none', 'fine', 'huge'),
  currency: mostly<Twist['currency']>('same', 'other', 'empty'),
  direction: mostly<Twist['direction']>('same', 'opposite', 'unknown'),
  status: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 3, arbitrary: fc.nat(4) }),
  lateBy: mostly<number | null>(1_000, 0, null, -500, 119 * MINUTE, 2 * HOUR, 2 * HOUR + 1, -3 * HOUR, 30 * HOUR),
  ref: mostly<Twist['ref']>('same', 'empty', 'other'),
  repays: mostly<Twist['repays']>('no', 'by_reference', 'by_word'),
  corr: mostly<Twist['corr']>('same', 'upper'),
});
const rows = fc.oneof(
  { weight: 6, arbitrary: fc.array(twist, { minLength: 1, maxLength: 1 }) },
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(twist, { minLength: 2, maxLength: 3 }) },
);

const story: fc.Arbitrary<Story> = fc.record({
  hub: fc.option(
    fc.record({
      state: mostly<HubFact['state']>(
        'confirmed',
        'initiated',
        'rejected',
        'unknown',
        'compensating',
        'compensated',
        'parked',
        'rolling_back',
        'rolled_back',
      ),
      pair: mostly<HubFact['pair']>('ours', 'other_rgs', 'other_operator'),
      tombstone: mostly(false, true),
      undoAfter: fc.option(fc.constantFrom(0, 5_000, 30 * MINUTE, 3 * HOUR), { freq: 3 }),
      message: delivery,
      undoMessage: delivery,
      outcomes: fc.uniqueArray(
        fc.record({ outcome: fc.constantFrom('OK' as const, 'REJECTED' as const, 'ROLLED_BACK' as const), delivery }),
        { selector: ({ outcome }) => outcome, maxLength: 2 },
      ),
    }),
    { freq: 6 },
  ),
  moves: fc.constantFrom<Moves>('debit', 'credit'),
  amount: fc.integer({ min: 1, max: 4 }),
  currency: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom('EUR', 'USD', 'JPY', 'KWD') },
    { weight: 1, arbitrary: fc.constant('X9') },
  ),
  after: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: DAY }) },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        -5 * HOUR,
        -2 * HOUR,
        -2 * HOUR - 1,
        -1,
        0,
        1,
        DAY - HOUR - 1,
        DAY - HOUR,
        DAY - 1,
        DAY,
        DAY + HOUR - 1,
        DAY + HOUR,
        DAY + 2 * HOUR - 1,
        DAY + 2 * HOUR,
        30 * HOUR,
      ),
    },
  ),
  rgs: rows,
  operator: rows,
  ref: fc.option(fc.nat(1), { freq: 2 }),
  isUndoLike: mostly(false, true),
});

const STRAIGHT: Twist = {
  amount: 'same',
  currency: 'same',
  direction: 'same',
  status: 0,
  lateBy: 1_000,
  ref: 'same',
  repays: 'no',
  corr: 'same',
};
const REFUSAL: Twist = { ...STRAIGHT, status: 3 };
const PLAIN: Story = {
  hub: {
    state: 'confirmed',
    pair: 'ours',
    tombstone: false,
    undoAfter: null,
    message: 'sent',
    undoMessage: 'sent',
    outcomes: [{ outcome: 'OK', delivery: 'sent' }],
  },
  moves: 'debit',
  amount: 3,
  currency: 'EUR',
  after: 12 * HOUR,
  rgs: [STRAIGHT],
  operator: [STRAIGHT],
  ref: null,
  isUndoLike: false,
};

/** One story for each line of the truth table and for each fault of values. */
export const PLANTED: readonly Story[] = [
  PLAIN,
  { ...PLAIN, rgs: [] },
  { ...PLAIN, operator: [] },
  { ...PLAIN, rgs: [], operator: [] },
  { ...PLAIN, hub: null },
  { ...PLAIN, hub: null, rgs: [] },
  { ...PLAIN, hub: null, operator: [] },
  { ...PLAIN, operator: [STRAIGHT, STRAIGHT] },
  { ...PLAIN, rgs: [STRAIGHT, STRAIGHT] },
  { ...PLAIN, operator: [{ ...STRAIGHT, currency: 'other' }] },
  { ...PLAIN, operator: [{ ...STRAIGHT, direction: 'opposite' }] },
  { ...PLAIN, rgs: [{ ...STRAIGHT, direction: 'unknown' }] },
  { ...PLAIN, operator: [{ ...STRAIGHT, amount: 'more' }] },
  { ...PLAIN, operator: [{ ...STRAIGHT, amount: 'fine' }] },
  { ...PLAIN, operator: [{ ...STRAIGHT, status: 2 }] },
  { ...PLAIN, operator: [{ ...STRAIGHT, status: 4 }] },
  { ...PLAIN, operator: [{ ...STRAIGHT, lateBy: 2 * HOUR + 1 }] },
  { ...PLAIN, operator: [], ref: 0, amount: 2 },
  { ...PLAIN, hub: null, rgs: [], ref: 0, amount: 2 },
  {
    ...PLAIN,
    hub: PLAIN.hub && {
      ...PLAIN.hub,
      state: 'compensated',
      undoAfter: 5_000,
      outcomes: [{ outcome: 'ROLLED_BACK', delivery: 'sent' }],
    },
    rgs: [{ ...STRAIGHT, status: 2 }],
    operator: [STRAIGHT, { ...STRAIGHT, direction: 'opposite', repays: 'by_reference' }],
  },
  { ...PLAIN, hub: PLAIN.hub && { ...PLAIN.hub, state: 'compensating', undoAfter: 5_000, undoMessage: 'pending' } },
  { ...PLAIN, operator: [], hub: PLAIN.hub && { ...PLAIN.hub, state: 'initiated', message: 'pending' }, rgs: [] },
  { ...PLAIN, operator: [], hub: PLAIN.hub && { ...PLAIN.hub, message: 'dead' }, after: DAY - MINUTE },
  { ...PLAIN, hub: PLAIN.hub && { ...PLAIN.hub, state: 'rejected' }, operator: [], rgs: [{ ...STRAIGHT, status: 3 }] },
  // Refused by all that list it, once more than once, with other amounts, without one, in a currency that packs to
  // nothing.
  ...[[REFUSAL, REFUSAL], [{ ...REFUSAL, amount: 'more' as const }], [{ ...REFUSAL, amount: 'none' as const }]].map(
    (rgs) => ({ ...PLAIN, hub: PLAIN.hub && { ...PLAIN.hub, state: 'rejected' as const }, operator: [], rgs }),
  ),
  {
    ...PLAIN,
    hub: PLAIN.hub && { ...PLAIN.hub, state: 'rejected' },
    currency: 'X9',
    operator: [],
    rgs: [{ ...REFUSAL, currency: 'other' }],
  },
  { ...PLAIN, hub: PLAIN.hub && { ...PLAIN.hub, state: 'rejected' }, rgs: [REFUSAL], operator: [REFUSAL] },
  // Paid back before the window's padding; the operator lists it hours later.
  {
    ...PLAIN,
    after: -5 * HOUR,
    hub: PLAIN.hub && { ...PLAIN.hub, state: 'compensated', undoAfter: 5_000 },
    rgs: [],
    operator: [{ ...STRAIGHT, direction: 'opposite', repays: 'by_reference', lateBy: 6 * HOUR }],
  },
  // Booked once more, hours later and in the next window; and once, hours later; by either side.
  { ...PLAIN, after: -5 * HOUR, operator: [STRAIGHT, { ...STRAIGHT, lateBy: 7 * HOUR }] },
  {
    ...PLAIN,
    after: -5 * HOUR,
    rgs: [{ ...STRAIGHT, lateBy: 7 * HOUR }],
    operator: [{ ...STRAIGHT, amount: 'more', lateBy: 8 * HOUR }],
  },
  { ...PLAIN, after: DAY - MINUTE, rgs: [STRAIGHT, { ...STRAIGHT, lateBy: 2 * HOUR + 1 }] },
  // Of an unmatched movement one side leaves out the reference.
  { ...PLAIN, operator: [], rgs: [{ ...STRAIGHT, ref: 'empty' }] },
  // Two that would be linked by nothing; by a direction on which their own sides do not agree; by one that nobody
  // knows.
  { ...PLAIN, hub: null, currency: 'KWD', operator: [], rgs: [{ ...STRAIGHT, ref: 'empty' }] },
  { ...PLAIN, hub: null, currency: 'KWD', rgs: [], operator: [{ ...STRAIGHT, ref: 'empty' }] },
  { ...PLAIN, ref: 2, operator: [], rgs: [{ ...STRAIGHT, direction: 'opposite' }] },
  { ...PLAIN, ref: 2, hub: null, rgs: [] },
  { ...PLAIN, ref: 3, hub: null, after: DAY - MINUTE, operator: [], rgs: [{ ...STRAIGHT, direction: 'unknown' }] },
  { ...PLAIN, ref: 3, hub: null, after: DAY - MINUTE, rgs: [], operator: [{ ...STRAIGHT, direction: 'unknown' }] },
  // Nor by a refusal, nor by what the operator has of another game server.
  { ...PLAIN, ref: 4, hub: null, operator: [], rgs: [REFUSAL] },
  { ...PLAIN, ref: 4, hub: null, rgs: [] },
  { ...PLAIN, ref: 5, hub: PLAIN.hub && { ...PLAIN.hub, pair: 'other_rgs' }, rgs: [] },
  { ...PLAIN, ref: 5, hub: null, operator: [] },
  // All have it, and its outcome is still open.
  { ...PLAIN, hub: PLAIN.hub && { ...PLAIN.hub, state: 'initiated', message: 'pending' } },
  {
    ...PLAIN,
    after: DAY - MINUTE,
    hub: PLAIN.hub && { ...PLAIN.hub, state: 'unknown' },
    rgs: [{ ...STRAIGHT, status: 4 }],
    operator: [{ ...STRAIGHT, status: 4 }],
  },
  // A refusal of which the hub knows nothing.
  { ...PLAIN, hub: null, operator: [], rgs: [{ ...STRAIGHT, status: 3 }] },
  // ROLLED_BACK listed twice implies one bet; once more, after the RGS was told that the bet was refused.
  {
    ...PLAIN,
    rgs: [
      { ...STRAIGHT, status: 2 },
      { ...STRAIGHT, status: 2 },
    ],
  },
  {
    ...PLAIN,
    operator: [],
    rgs: [
      { ...STRAIGHT, status: 3 },
      { ...STRAIGHT, status: 2 },
    ],
  },
];

export const world: fc.Arbitrary<readonly Story[]> = fc.array(story, { maxLength: 10 });

/** Beginnings of windows: an ordinary day, and one on which the clocks change. */
const DAYS = [
  { zone: 'UTC', cutoff: '00:00', from: '2026-11-22T00:00:00Z', to: '2026-11-23T00:00:00Z' },
  { zone: 'Europe/Malta', cutoff: '00:00', from: '2026-03-28T23:00:00Z', to: '2026-03-29T22:00:00Z' },
  { zone: 'Europe/Malta', cutoff: '02:30', from: '2026-10-25T00:30:00Z', to: '2026-10-26T01:30:00Z' },
  { zone: 'America/New_York', cutoff: '06:00', from: '2026-10-31T10:00:00Z', to: '2026-11-01T11:00:00Z' },
  { zone: 'Australia/Lord_Howe', cutoff: '01:45', from: '2026-04-04T14:45:00Z', to: '2026-04-05T15:15:00Z' },
  { zone: 'Asia/Kathmandu', cutoff: '23:59', from: '2026-11-21T18:14:00Z', to: '2026-11-22T18:14:00Z' },
].map(({ from, to, ...day }) => ({ ...day, from: Date.parse(from), to: Date.parse(to) }));

/** What is asked of a world; `begin` is what its stories are timed from. */
export const question: fc.Arbitrary<{ readonly begin: number; readonly question: Question }> = fc
  .record({
    day: fc.constantFrom(...DAYS),
    isWindow: fc.boolean(),
    asOfAfter: fc.constantFrom(0, 10 * MINUTE, 3 * HOUR, 11 * HOUR),
    graceSeconds: fc.constantFrom(0, 900, 7_200, 43_200),
  })
  .map(({ day: { from, to, zone, cutoff }, isWindow, asOfAfter, graceSeconds }) => ({
    begin: from,
    question: { window: isWindow ? { from, to } : null, zone, cutoff, asOf: to + asOfAfter, graceSeconds },
  }));

const RGS_STATUS = [
  ['OK', 'settled'],
  ['', 'settled'],
  ['ROLLED_BACK', 'settled'],
  ['REJECTED', 'rejected'],
  ['HUH', 'unknown'],
] as const;
const OPERATOR_STATUS = [
  ['OK', 'settled'],
  ['', 'settled'],
  ['PENDING', 'pending'],
  ['REJECTED', 'rejected'],
  ['HUH', 'unknown'],
] as const;
const WORDS = {
  rgs: { debit: 'debit', credit: 'credit' },
  operator: { debit: 'withdraw', credit: 'deposit' },
} as const;
const DECIMALS: Readonly<Record<string, number>> = { JPY: 0, KWD: 3 };
const OTHER_CURRENCY: Readonly<Record<string, string>> = { EUR: 'USD', USD: 'EUR', JPY: 'KWD', KWD: 'JPY', X9: 'Y9' };

/** Facts of several worlds that have nothing to do with each other: their references and identifiers differ. */
export function factsOf(worlds: readonly (readonly Story[])[], begin: number): Facts {
  const listed: ListedFact[] = [];
  const hub: HubFact[] = [];
  let n = 0;
  for (const [index, stories] of worlds.entries()) {
    for (const each of stories) {
      n += 1;
      const name = n;
      const isUndoLike = each.isUndoLike && each.moves === 'credit';
      const ref = (isUndoLike ? 'rollback:' : '') + (each.ref === null ? `ref-${name}` : `w${index}-ref-${each.ref}`);
      if (each.hub !== null) hub.push(hubFact(each, each.hub, name, ref, begin + each.after));
      const corr = each.hub !== null || name % 3 === 0 ? uuid('5b0a', name) : `corr-${name}`;
      for (const side of ['rgs', 'operator'] as const)
        for (const change of each[side])
          listed.push(listedFact(each, side, change, { corr, ref, name, at: begin + each.after }));
    }
  }
  return { listed, hub };
}

function hubFact(
  story: Story,
  { state, pair, tombstone, undoAfter, message, undoMessage, outcomes }: NonNullable<Story['hub']>,
  n: number,
  ref: string,
  at: number,
): HubFact {
  const isBet = story.moves === 'debit';
  // Whatever repays a bet has a message that does.
  const isRepaid =
    isBet && (undoAfter !== null || ['compensating', 'compensated', 'rolling_back', 'rolled_back'].includes(state));
  const undoAt = at + (undoAfter ?? 0);
  return {
    id: uuid('5b0a', n),
    ref,
    moves: story.moves,
    amount: BigInt(story.amount * 1000),
    currency: story.currency,
    state: isBet && tombstone ? 'rolled_back' : state,
    at,
    player: `player-${n}`,
    pair,
    tombstone: isBet && tombstone,
    message: { id: uuid('5b0b', n), delivery: message },
    undo: isRepaid && !tombstone ? { id: timedUuid(undoAt, n), at: undoAt, delivery: undoMessage } : null,
    outcomes: outcomes.map(({ outcome, delivery: how }, index) => ({
      outcome,
      id: uuid(`5b1${index}`, n),
      delivery: how,
    })),
  };
}

function listedFact(
  story: Story,
  side: ListSide,
  change: Twist,
  { corr, ref, name, at }: { corr: string; ref: string; name: number; at: number },
): ListedFact {
  const right =
    change.direction === 'opposite' ? ({ debit: 'credit', credit: 'debit' } as const)[story.moves] : story.moves;
  const moves =
    change.direction === 'unknown' ? null : change.repays === 'by_word' && right === 'credit' ? 'credit' : right;
  const word =
    moves === null ? 'refund' : change.repays === 'by_word' && moves === 'credit' ? 'rollback' : WORDS[side][moves];
  const currency =
    change.currency === 'same'
      ? story.currency
      : change.currency === 'empty'
        ? ''
        : (OTHER_CURRENCY[story.currency] ?? '');
  const [statusWord, status] = (side === 'rgs' ? RGS_STATUS : OPERATOR_STATUS)[change.status] ?? RGS_STATUS[0];
  const named = change.ref === 'empty' ? '' : change.ref === 'other' ? `else-${name}` : ref;
  return {
    side,
    corr: change.corr === 'upper' ? corr.toUpperCase() : corr,
    ref: change.repays === 'by_reference' ? `rollback:${named}` : named,
    word,
    moves,
    currency,
    status,
    statusWord,
    player: `player-${name}`,
    at: change.lateBy === null ? null : at + change.lateBy,
    ...amountOf(BigInt(story.amount * 1000), change.amount, side, currency),
  };
}

/**
 * In minor units, and in the words of the side: an RGS lists minor units, an operator major ones. The text is of major
 * units in any case.
 */
function amountOf(
  minor: bigint,
  change: Twist['amount'],
  side: ListSide,
  currency: string,
): Pick<ListedFact, 'amount' | 'amountText'> {
  const decimals = DECIMALS[currency] ?? 2;
  if (change === 'none') return { amount: null, amountText: '' };
  if (change === 'fine')
    return {
      amount: null,
      amountText: side === 'rgs' ? '1000.5' : `${decimal(minor, decimals)}${decimals === 0 ? '.' : ''}5`,
    };
  if (change === 'huge')
    return {
      amount: null,
      amountText: side === 'rgs' ? decimal(9_007_199_254_740_993n, decimals) : '9007199254740993',
    };
  const amount = minor + (change === 'more' ? 1n : 0n);
  return { amount, amountText: decimal(amount, decimals) };
}

function decimal(minor: bigint, decimals: number): string {
  const digits = minor.toString().padStart(decimals + 1, '0');
  return decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}

function uuid(kind: string, n: number): string {
  return `019a3c7e-${kind}-7cc2-9d55-${n.toString(16).padStart(12, '0')}`;
}

/** A UUIDv7 of this instant: the repayment of a bet is dated by the identifier of its message. */
function timedUuid(at: number, n: number): string {
  const time = at.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7cc2-9d55-${n.toString(16).padStart(12, '0')}`;
}

/** Both lists, as JSON has their elements. */
export function listsOf({ listed }: Facts): Record<ListSide, Record<string, unknown>[]> {
  const of = (side: ListSide) => listed.filter((row) => row.side === side).map(elementOf);
  return { rgs: of('rgs'), operator: of('operator') };
}

/** The element of the side's list that says so. */
function elementOf(row: ListedFact): Record<string, unknown> {
  const cents =
    row.amount ?? (row.amountText === '' ? undefined : row.amountText === '1000.5' ? 1000.5 : '9007199254740993');
  return {
    correlationId: row.corr,
    currency: row.currency,
    playerId: row.player,
    ...(row.statusWord === '' ? {} : { status: row.statusWord }),
    ...(row.at === null ? {} : { createdAt: new Date(row.at).toISOString() }),
    ...(row.side === 'rgs'
      ? { refId: row.ref, event: row.word, amountCents: typeof cents === 'bigint' ? Number(cents) : cents }
      : { reference: row.ref, direction: row.word, ...(row.amountText === '' ? {} : { amount: row.amountText }) }),
  };
}
