import fc from 'fast-check';
import { Readable } from 'node:stream';
import type { AskedMovement } from '../../src/partners/asked-movement';
import { lookedAt } from '../../src/partners/lists/list-response';
import { type LookUp, lookUp } from '../../src/partners/lists/look-up';

/**
 * Answers to "did you book this?", written as text by rules of this file alone. Each is told by one number, which a
 * failure prints: `answerOf(seed)` makes it again.
 */
const URL_ASKED = 'https://wallet.example/v2/transactions?reference=x';
const GENERATED = 20_000;
/** Globals are dear within jest. */
const { floor, imul } = Math;

class Dice {
  constructor(private state: number) {}
  /** mulberry32 */
  roll(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  below(n: number): number {
    return floor(this.roll() * n);
  }
  is(share: number): boolean {
    return this.roll() < share;
  }
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
  shuffle<T>(values: readonly T[]): T[] {
    return values
      .map((value) => [this.roll(), value] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, value]) => value);
  }
}

/** JSON with what no JavaScript object can hold: the exact digits of a number, members in any order and twice. */
type Json =
  | string
  | boolean
  | null
  | { readonly digits: string }
  | { readonly list: readonly Json[] }
  | { readonly members: readonly (readonly [string, Json])[] };
const num = (digits: number | string): Json => ({ digits: String(digits) });
const list = (...elements: Json[]): Json => ({ list: elements });
const object = (...members: (readonly [string, Json])[]): Json => ({ members });

function write(value: Json, dice: Dice, blanks: boolean): string {
  const gap = () => (blanks && dice.is(0.2) ? dice.pick([' ', '\n', '\t', '  ']) : '');
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return text(value, dice);
  if ('digits' in value) return value.digits;
  if ('list' in value)
    return `[${value.list.map((element) => gap() + write(element, dice, blanks) + gap()).join(',')}]`;
  return `{${value.members.map(([key, entry]) => `${gap()}${text(key, dice)}${gap()}:${gap()}${write(entry, dice, blanks)}`).join(',')}${gap()}}`;
}

function text(value: string, dice: Dice): string {
  if (dice.is(0.9)) return JSON.stringify(value);
  return `"${[...JSON.stringify(value).slice(1, -1)].map((char) => (/[a-z0-9]/i.test(char) && !value.includes('\\') && !value.includes('"') && value.split('').every((c) => c >= ' ' && c < '\u007f') && dice.is(0.3) ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : char)).join('')}"`;
}

const REFERENCES = [
  'bet-1001',
  'ref-3',
  '1001',
  '007',
  '1e3',
  '12345678901234567890',
  'Stra\u00dfe-9',
  'a b',
  'BET_x',
  '9007199254740993',
  '\u00e9t\u00e9-1',
  '0',
  '-5',
  'rollback:bet-7',
  'x'.repeat(128),
  'null',
  '\u{1F3B2}-1',
];
const asked = (reference: string, change: Partial<AskedMovement> = {}): AskedMovement => ({
  reference,
  directions: ['withdraw'],
  playerIds: ['player-1', 'p1'],
  amount: { minor: 500n, exponent: 2 },
  currency: 'USD',
  correlationId: '019a3c7e-1111-7222-8333-0123456789ab',
  ...change,
});

/** The reference as some partner may have kept it. */
function spelled(reference: string, dice: Dice): Json {
  const ways: (() => Json)[] = [
    () => reference,
    () => reference.toUpperCase(),
    () => reference.toLowerCase(),
    () => `  ${reference}\t`,
    () => reference.padEnd(140, ' '),
    () => reference.replace(/[!-~]/g, (char) => String.fromCharCode(char.charCodeAt(0) + 0xfee0)),
    () => reference.normalize('NFD'),
    () => `\u200b${reference}\u00a0`,
  ];
  if (/^-?(0|[1-9]\d*)$/.test(reference))
    ways.push(
      () => num(reference),
      () => num(reference),
      () => num(`${reference}.0`),
      () => num(`${reference}e0`),
      () => num(Number(reference)),
    );
  if (/^\d{1,15}$/.test(reference))
    ways.push(
      () => num(Number(reference)),
      () => String(Number(reference)),
      () => `000${reference}`,
      () => num(`${reference}.00`),
    );
  if (reference === '1e3')
    ways.push(
      () => num('1e3'),
      () => num('1000'),
      () => '1000',
    );
  return dice.pick(ways)();
}

/** A row of the movement, with whatever its partner makes of it. */
function movementRow(reference: string, dice: Dice): Json {
  const key = dice.is(0.6)
    ? dice.pick(['reference', 'refId'])
    : dice.pick([
        'Reference',
        'ref_id',
        'ref',
        'externalReference',
        'transactionId',
        'id',
        'betId',
        '',
        '__proto__',
        'constructor',
      ]);
  const unreadable = dice.is(0.15);
  let own: Json = unreadable
    ? dice.pick<Json>([null, '', '  ', true, list(), object(), list(null)])
    : spelled(reference, dice);
  if (!unreadable)
    for (let depth = dice.is(0.2) ? 1 + dice.below(4) : 0; depth > 0; depth -= 1)
      own = dice.is(0.5) ? object(['value', own]) : list(num(1), own);
  const junk = (): Json =>
    dice.pick<Json>([
      null,
      '',
      num(77),
      true,
      'player-1',
      'WITHDRAW',
      'withdraw',
      'bet',
      'debit',
      '5.00',
      num('5.00'),
      num(-5),
      list(),
      object(['x', num(1)]),
    ]);
  const members: (readonly [string, Json])[] = unreadable
    ? dice.is(0.5)
      ? [[dice.pick(['reference', 'refId']), own]]
      : []
    : [[key, own]];
  for (const name of [
    'direction',
    'event',
    'playerId',
    'amount',
    'currency',
    'correlationId',
    'status',
    'createdAt',
    'type',
  ])
    if (dice.is(0.5)) members.push([name, junk()]);
  // A row that says another readable reference as well, or the same member twice.
  if (!unreadable && dice.is(0.1))
    members.push([dice.pick(['reference', 'refId', key]), dice.pick<Json>(['other-1', num(4), null])]);
  return { members: dice.shuffle(members) };
}

const cleanRow = (n: number, dice: Dice): Json => {
  const members: [string, Json][] = [
    [dice.pick(['reference', 'refId']), `other-${n}`],
    ['direction', dice.pick(['withdraw', 'deposit'])],
    ['playerId', `player-${n}`],
    ['amount', num('5.00')],
    ['currency', 'USD'],
    ['correlationId', `019a3c7e-2222-7222-8333-${String(n).padStart(12, '0')}`],
    ['createdAt', '2026-11-23T12:00:00.000Z'],
  ];
  return object(...(dice.is(0.5) ? members : members.slice(0, 3)));
};

interface Answer {
  readonly reference: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly dice: Dice;
}

/** Holds the movement somewhere, in whatever form. */
function answerOf(seed: number): Answer {
  const dice = new Dice(seed);
  const reference = dice.pick(REFERENCES);
  const movement = movementRow(reference, dice);
  const rows = dice.shuffle([
    movement,
    ...Array.from({ length: dice.below(4) }, (_, n) =>
      dice.is(0.8)
        ? cleanRow(n, dice)
        : dice.pick<Json>([null, num(5), 'x', list(), object(), object(['reference', num('1.5e300')])]),
    ),
  ]);
  const items = list(...rows);
  const some = list(cleanRow(9, dice));
  const body = dice.pick<() => Json>([
    () => items,
    () => items,
    () => items,
    () => object(['items', items]),
    () => object(['items', items], ['nextCursor', null]),
    () => object(['nextCursor', null], ['total', num(rows.length)], ['items', items]),
    () => object(['data', items]),
    () => object(['items', list()], ['data', items]),
    () => object(['transactions', items], ['items', some]),
    () => object(['items', list()], ['pending', object(['rows', items])]),
    () => object(['items', object(['items', items])]),
    () => object(['result', object(['items', items])]),
    () => list(items),
    () => list(object(['items', items])),
    () => movement,
    () => object([reference, movement]),
    () => list(object([reference, num(5)])),
    () => object(['items', items], ['items', list()]),
    () => object(['items', list()], ['items', items]),
    () => object(['items', list()], ['item', movement]),
    () => object(['ITEMS', items]),
    () => object(['items', list()], ['booking', movementRow(reference, dice)]),
    () => object(['items', list()], ['reference', spelled(reference, dice)]),
    () => object(['items', list()], ['meta', object(['found', spelled(reference, dice)])]),
    () => list(reference),
    () => list(...rows, reference),
  ])();
  let raw = write(body, dice, dice.is(0.3));
  if (dice.is(0.03)) raw = raw.slice(0, dice.below(raw.length));
  // Not behind a cut: cut to nothing, "[]" would be a whole list without the movement.
  else if (dice.is(0.02)) raw += dice.pick(['[]', ',', ' null', '\n{"reference":"other"}']);
  if (dice.is(0.05)) raw = `\ufeff${raw}`;
  const headers: Record<string, string> = {};
  if (dice.is(0.1)) headers.link = dice.pick(MORE_LINKS);
  if (dice.is(0.1)) headers['x-total-count'] = dice.pick(['0', '1', String(rows.length), 'many']);
  return { reference, body: raw, headers, dice };
}

const MORE_LINKS = [
  '<https://wallet.example/v2/transactions?page=2>; rel="next"',
  "<?page=2>; rel='next'",
  '<?page=2>; rel=next',
  '<?page=2>; rel=NEXT',
  '<?page=2>; Rel="Next"',
  '<?page=2>; rel="prev next"',
  '<?page=2>; rel="prev\tnext"',
  '<?page=2>;rel = "next"',
  '<?page=2>; rel="n\\ext"',
  "<?page=2>; rel*=UTF-8''n%65xt",
  '<?page=2> rel=next',
  '?page=2; rel=next',
  '<?page=2>; rel="first", <?page=3>; rel="next"',
  '<http://elsewhere.example/>; rel="next"',
  '<https://wallet.example:444/>; rel=next',
];
const MORE_MEMBERS: readonly (readonly [string, Json])[] = [
  ['nextCursor', 'abc'],
  ['next_cursor', 'abc'],
  ['next', 'https://wallet.example/2'],
  ['nextPage', num(2)],
  ['next-page', num(2)],
  ['next_page_token', 'x'],
  ['cursor', 'abc'],
  ['hasMore', true],
  ['has_more', true],
  ['HasMore', true],
  ['hasmore', num(1)],
  ['more', true],
  ['more', 'true'],
  ['hasNextPage', true],
  ['isTruncated', true],
  ['truncated', true],
  ['continuationToken', 'x'],
  ['links', object(['next', '/2'])],
  ['_links', object(['next', object(['href', '/2'])])],
  ['meta', object(['has_more', true])],
  ['paging', object(['cursors', object(['after', 'x'])])],
  ['pageInfo', object(['hasNextPage', true], ['endCursor', 'x'])],
  ['complete', false],
  ['isLast', false],
  ['last', false],
  ['total', num(99)],
  ['totalCount', num(99)],
  ['total', '99'],
  ['total', 'many'],
  ['total_pages', num(3)],
  ['pages', num(2)],
  ['count', num(99)],
  ['meta', object(['total', num(99)])],
  ['partial', true],
  ['errors', list('shard 2 is away')],
  ['error', 'timeout'],
  ['success', false],
  ['status', 'ERROR'],
  ['offset', num(50)],
  ['page', num(2)],
];
const MORE_HEADERS: readonly (readonly [string, string])[] = [
  ...MORE_LINKS.map((link) => ['link', link] as const),
  ['x-next-page', '2'],
  ['x-has-more', 'true'],
  ['x-next-cursor', 'abc'],
  ['x-total-count', '99'],
  ['x-total', '99'],
  ['x-total-pages', '3'],
  ['content-range', 'items 0-9/99'],
];

async function read({ reference, body, headers, dice }: Answer, change: Partial<AskedMovement> = {}): Promise<LookUp> {
  const bytes = Buffer.from(body);
  const pieces: Buffer[] = [];
  for (let at = 0, whole = dice.is(0.8); at < bytes.length;) {
    const size = whole ? bytes.length : 1 + dice.below(60);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  const answer = { ...(await lookedAt(Readable.from(pieces))), header: (name: string) => headers[name] ?? null };
  return lookUp(answer, asked(reference, change), {
    url: URL_ASKED,
    isApplied: (word) => ['OK', 'success'].includes(word),
    rowsWanted: 1,
  });
}

const clean = (
  seed: number,
  extra: readonly (readonly [string, Json])[] = [],
  headers: Readonly<Record<string, string>> = {},
): Answer => {
  const dice = new Dice(seed);
  const rows = Array.from({ length: dice.below(6) }, (_, n) => cleanRow(n, dice));
  const items = list(...rows);
  const about: (readonly [string, Json])[] = [
    ['total', num(rows.length)],
    ['hasMore', false],
    ['next', null],
    ['meta', object(['count', num(rows.length)])],
    ['status', 'OK'],
    ['prev', null],
    ['limit', num(100)],
    ['page', num(1)],
    ['errors', list()],
  ];
  const body =
    extra.length > 0 || dice.is(0.5)
      ? object(
          ...dice.shuffle([
            ['items', items] as const,
            ...(extra.some(([key]) => key === 'nextCursor') ? [] : [['nextCursor', null] as const]),
            ...about.filter(([name]) => dice.is(0.3) && extra.every(([key]) => key !== name)),
            ...extra,
          ]),
        )
      : items;
  return {
    reference: dice.pick(REFERENCES),
    body: write(body, dice, dice.is(0.3)),
    headers: {
      'content-type': 'application/json',
      ...(dice.is(0.2) ? { 'x-total-count': String(rows.length) } : {}),
      ...(dice.is(0.2)
        ? { link: '</style.css>; rel=preload, <https://wallet.example/v2/transactions?next=1>; rel="first"' }
        : {}),
      ...headers,
    },
    dice,
  };
};

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 });

describe('a list that is asked for one movement', () => {
  it(`never proves it absent while it is in the answer, in any of ${GENERATED} answers`, async () => {
    const verdicts: Record<string, number> = {};
    await fc.assert(
      fc.asyncProperty(seeds, async (seed) => {
        const answer = answerOf(seed);
        const { verdict } = await read(answer);
        verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
        if (verdict === 'absent')
          throw new Error(
            `absent: ${JSON.stringify(answer.reference)} in ${answer.body} with ${JSON.stringify(answer.headers)}`,
          );
      }),
      { numRuns: GENERATED },
    );
    // The reader is no use if it never says anything.
    expect(Object.keys(verdicts).sort()).toEqual(['found', 'no_answer']);
  });

  it('proves it absent when it is whole and clean and has others only, in 99 of 100 answers', async () => {
    let absent = 0;
    const said = new Set<string>();
    await fc.assert(
      fc.asyncProperty(seeds, async (seed) => {
        const look = await read(clean(seed));
        if (look.verdict === 'absent') absent += 1;
        else said.add(`${seed}: ${JSON.stringify(look)}`);
      }),
      { numRuns: 3_000 },
    );
    expect({
      isEnough: absent / 3_000 >= 0.99,
      otherwise: absent / 3_000 >= 0.99 ? [] : [...said].slice(0, 5),
    }).toEqual({ isEnough: true, otherwise: [] });
  });

  it.each(MORE_MEMBERS.map(([name, value]) => ({ member: `${name}: ${JSON.stringify(value)}`, name, value })))(
    'proves nothing when it says that it is not all: $member',
    async ({ name, value }) => {
      for (let seed = 0; seed < 20; seed += 1)
        expect(await read(clean(seed, [[name, value]]))).toMatchObject({ verdict: 'no_answer' });
    },
  );

  it.each(MORE_HEADERS.map(([name, value]) => ({ name, value })))(
    'proves nothing when a header says that it is not all: $name: $value',
    async ({ name, value }) => {
      for (let seed = 0; seed < 20; seed += 1)
        expect(await read(clean(seed, [], { [name]: value }))).toMatchObject({ verdict: 'no_answer' });
    },
  );

  it('finds the movement, with or without others around it, when the row agrees in all that it gives', async () => {
    await fc.assert(
      fc.asyncProperty(seeds, async (seed) => {
        const dice = new Dice(seed);
        const reference = dice.pick(REFERENCES);
        const optional: [string, Json][] = [
          ['playerId', dice.pick(['player-1', 'p1'])],
          ['amount', dice.pick<Json>([num('5'), num('5.00'), '5.00', num('5.000000000000000001')])],
          ['currency', dice.pick(['USD', 'usd'])],
          ['correlationId', '019A3C7E-1111-7222-8333-0123456789ab'],
          ['status', dice.pick(['OK', 'success'])],
          ['id', num(dice.below(99))],
        ];
        const own = /^[1-9]\d*$/.test(reference) && dice.is(0.5) ? num(reference) : reference;
        const row = object(
          ...dice.shuffle<readonly [string, Json]>([
            [dice.pick(['reference', 'refId']), own],
            [dice.pick(['direction', 'event']), dice.pick(['withdraw', 'WITHDRAW', 'debit'])],
            ...optional.filter(() => dice.is(0.5)),
          ]),
        );
        const rows = list(
          ...dice.shuffle([row, ...Array.from({ length: dice.below(3) }, (_, n) => cleanRow(n, dice))]),
        );
        const answer = {
          reference,
          body: write(dice.is(0.5) ? rows : object(['items', rows], ['nextCursor', null]), dice, false),
          headers: {},
          dice,
        };
        expect({ answer: answer.body, ...(await read(answer)) }).toMatchObject({ verdict: 'found' });
      }),
      { numRuns: 2_000 },
    );
  });

  it.each<{ says: string; row: Record<string, unknown>; field: string | null }>([
    { says: 'another amount', row: { amount: 7 }, field: 'amount' },
    { says: 'another amount, by a cent', row: { amount: '5.01' }, field: 'amount' },
    { says: 'an amount that is none', row: { amount: {} }, field: 'amount' },
    { says: 'another currency', row: { currency: 'EUR' }, field: 'currency' },
    {
      says: 'another correlation id',
      row: { correlationId: '019a3c7e-9999-7222-8333-0123456789ab' },
      field: 'correlationId',
    },
    { says: 'another player', row: { playerId: 77 }, field: 'playerId' },
    { says: 'the other direction', row: { direction: 'deposit' }, field: 'direction' },
    { says: 'a direction that nobody knows', row: { direction: 'bet' }, field: 'direction' },
    { says: 'a direction of letters that only look like it', row: { direction: 'w\u0131thdraw' }, field: 'direction' },
    { says: 'two directions', row: { event: 'deposit' }, field: 'direction' },
    { says: 'two references', row: { refId: 'other' }, field: 'reference' },
    { says: 'a status of refusal', row: { status: 'REJECTED' }, field: null },
    { says: 'a status that nobody declared', row: { status: '\u017fUCCE\u017f\u017f' }, field: null },
    { says: 'no direction', row: { direction: null }, field: null },
  ])('is no answer when the row has the reference and $says', async ({ row, field }) => {
    const body = JSON.stringify([{ reference: 'bet-1001', direction: 'withdraw', ...row }]);
    expect(await read({ reference: 'bet-1001', body, headers: {}, dice: new Dice(1) })).toMatchObject({
      verdict: 'no_answer',
      field,
    });
  });

  it('is no answer when it is too long, too deep, too wide, or never ends, and holds little of it', async () => {
    const endless = (head: string, rest: string): Readable => {
      const chunk = Buffer.from(rest.repeat(Math.ceil(16_384 / rest.length)));
      return Readable.from(
        (function* () {
          yield Buffer.from(head);
          for (;;) yield chunk;
        })(),
      );
    };
    const before = process.memoryUsage();
    for (const [head, rest] of [
      ['["', 'x'],
      ['[{"a":"', 'x'],
      ['{"items":["', 'x'],
      ['{"a":"', 'x'],
      ['[', '['],
      ['[', '{"a":'],
      ['[{}', ',{"reference":"o"}'],
      ['{"items":[{}', ',{"reference":"o"}'],
      ['[', ' '],
      ['{"x":[', '1,'],
      ['[1', '1'],
      ['  ', '\n'],
      ['[', '\\'],
      ['[{"a":1', ',"a":1'],
    ] as const) {
      const answer = await lookedAt(endless(head, rest)).catch(() => null);
      if (answer === null) continue;
      expect({
        head,
        ...(await lookUp({ ...answer, header: () => null }, asked('bet-1001'), {
          url: URL_ASKED,
          isApplied: () => true,
          rowsWanted: 1,
        })),
      }).toMatchObject({ verdict: 'no_answer' });
    }
    expect(process.memoryUsage().rss - before.rss).toBeLessThan(200 * 1024 * 1024);
  });
});
