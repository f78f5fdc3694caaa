import fc from 'fast-check';
import { stringify } from 'lossless-json';
import { createHash } from 'node:crypto';
import { toMajorUnits } from '../../src/kernel/money';
import type { Partner } from '../../src/partners/partner';
import { correlationKey } from '../../src/reconciliation/sources/correlation-key';
import { amountFromMajor, amountFromMinor } from '../../src/partners/lists/list-amounts';
import { ListJsonError, arrayBatches, objectAroundItems, parseListJson } from '../../src/json/list-json';
import { rowMapper } from '../../src/reconciliation/sources/list-rows';

const partner = (role: Partner['role'], change: Partial<Partner> = {}): Partner => ({
  id: 1,
  code: role,
  role,
  active: true,
  baseUrl: 'http://localhost/',
  currencies: new Set(['USD']),
  retiredCurrencies: new Set(),
  currencyExponents: {},
  amountEncoding: 'number',
  amountMinorMax: 1n,
  playerIdTemplate: '{playerId}',
  statusWords: { applied: ['OK', 'DONE'], pending: ['PENDING'], refused: ['REJECTED'] },
  idempotentByReference: true,
  statusQuery: true,
  rollbackRoute: false,
  timeoutMs: 1,
  refusalIsFinal: false,
  answersLater: false,
  signingKeys: [],
  keys: [],
  signatureVersionRequired: 1,
  ...change,
});
const operatorRow = rowMapper(partner('operator', { currencyExponents: { KWD: 2 } }));
const rgsRow = rowMapper(partner('rgs'));
const bytes = (text: string) => Buffer.from(text);
const json = (text: string) => parseListJson([bytes(text)]);

describe('the key of a correlation id', () => {
  it('is the UUID itself, in whichever case', () => {
    const id = '019A3C7E-1111-7222-8333-0123456789ab';
    expect(correlationKey(id)).toBe('019a3c7e-1111-7222-8333-0123456789ab');
    expect(correlationKey(id.toLowerCase())).toEqual(correlationKey(id));
  });

  it.each([
    '',
    'corr-1',
    ' 019a3c7e-1111-7222-8333-0123456789ab',
    '019a3c7e111172228333-0123456789ab',
    '019a3c7e-1111-7222-8333-0123456789ag',
    '\u00fc',
    'x'.repeat(1_000_000),
  ])('is a hash of anything else: %.40s', (id) => {
    const key = correlationKey(id);
    expect(key).toMatch(/^[0-9a-f]{32}$/);
    expect(key[12]).toBe('8');
    expect(key.slice(18)).toBe(createHash('sha256').update(id).digest('hex').slice(18, 32));
  });

  it('cannot be chosen to be that of another id', () => {
    const forged = correlationKey('corr-1').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    expect(correlationKey(forged)).not.toEqual(correlationKey('corr-1'));
  });

  it('differs for different ids and is the same for the same', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        (a, b) => (a.toWellFormed() === b.toWellFormed()) === (correlationKey(a) === correlationKey(b)),
      ),
    );
  });
});

describe('amounts of lists', () => {
  it.each<[string, number, bigint | null]>([
    ['10', 2, 1000n],
    ['10.0', 2, 1000n],
    ['19.99', 2, 1999n],
    ['-5', 2, -500n],
    ['500', 0, 500n],
    ['0.500', 3, 500n],
    ['1e3', 2, 100_000n],
    ['0', 2, 0n],
    ['0.30000000000000004', 2, 30n],
    ['1.1500000000000001', 2, 115n],
    ['2.6749999999999998', 3, 2675n],
    ['-0.30000000000000004', 2, -30n],
    ['0.301', 2, null],
    ['0.3001', 2, null],
    ['0.5', 0, null],
    ['90071992547409.91', 2, 9_007_199_254_740_991n],
    ['90071992547409.92', 2, null],
    ['', 2, null],
    ['ten', 2, null],
    ['1,5', 2, null],
    ['NaN', 2, null],
    ['1e99', 2, null],
    ['1e-99', 2, null],
  ])('%s with %i decimals is %s', (decimal, exponent, minor) => {
    expect(amountFromMajor(decimal, exponent)).toEqual({ minor, raw: decimal });
  });

  it.each<[string, number, bigint | null, string]>([
    ['1990', 2, 1990n, '19.90'],
    ['500', 0, 500n, '500'],
    ['1', 4, 1n, '0.0001'],
    ['0.5', 2, null, '0.5'],
    ['', 2, null, ''],
    ['9007199254740993', 2, null, '90071992547409.93'],
  ])('%s minor units with %i decimals', (digits, exponent, minor, raw) => {
    expect(amountFromMinor(digits, exponent)).toEqual({ minor, raw });
  });

  it('come back from major units for every exponent', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -9_007_199_254_740_991n, max: 9_007_199_254_740_991n }),
        fc.constantFrom(0, 2, 3, 4),
        (minor, exponent) => {
          expect(amountFromMajor(toMajorUnits(minor, exponent), exponent).minor).toBe(minor);
        },
      ),
    );
  });
});

describe('rows of lists', () => {
  const base = {
    correlationId: 'c',
    reference: 'r',
    direction: 'withdraw',
    amount: 12.5,
    currency: 'USD',
    status: 'OK',
    playerId: 'p',
    createdAt: '2026-11-22T10:00:00.123Z',
    id: 7,
  };

  it('of an operator', () => {
    expect(operatorRow(base)).toEqual({
      key: correlationKey('c'),
      correlationId: 'c',
      refId: 'r',
      direction: 'withdraw',
      movement: 'debit',
      amountMinor: 1250n,
      amountRaw: '12.5',
      currency: 'USD',
      status: 'settled',
      statusRaw: 'OK',
      playerId: 'p',
      at: new Date('2026-11-22T10:00:00.123Z'),
      rowId: '7',
    });
  });

  it('of an RGS', () => {
    expect(
      rgsRow({
        correlationId: 'c',
        refId: 'r',
        event: 'credit',
        amountCents: 1000,
        currency: 'JPY',
        status: 'ROLLED_BACK',
      }),
    ).toMatchObject({
      movement: 'credit',
      direction: 'credit',
      amountMinor: 1000n,
      amountRaw: '1000',
      status: 'settled',
      statusRaw: 'ROLLED_BACK',
      at: null,
      rowId: null,
      playerId: '',
    });
  });

  it('count decimals as the partner does', () => {
    expect(operatorRow({ ...base, amount: '1.25', currency: 'KWD' })).toMatchObject({ amountMinor: 125n });
    expect(rgsRow({ ...base, amountCents: 1250, currency: 'KWD' })).toMatchObject({ amountRaw: '1.250' });
  });

  it.each([
    ['OK', 'settled'],
    ['done', 'settled'],
    ['PENDING', 'pending'],
    ['REJECTED', 'refused'],
    ['MAYBE', 'unknown'],
    [undefined, 'settled'],
    [null, 'settled'],
    ['', 'settled'],
  ])('of an operator with the status %s are %s', (status, means) => {
    expect(operatorRow({ ...base, status })).toMatchObject({ status: means, statusRaw: status ?? '' });
  });

  it.each([
    ['OK', 'settled'],
    ['REJECTED', 'refused'],
    ['ROLLED_BACK', 'settled'],
    ['DONE', 'unknown'],
    [undefined, 'settled'],
  ])('of an RGS with the status %s are %s', (status, means) => {
    expect(rgsRow({ ...base, status })).toMatchObject({ status: means });
  });

  it.each([
    ['debit', 'debit'],
    ['withdraw', 'debit'],
    ['credit', 'credit'],
    ['deposit', 'credit'],
    ['rollback', 'credit'],
    ['Deposit', 'credit'],
    ['bet', null],
    [undefined, null],
  ])('with the word %s are %s', (direction, movement) => {
    expect(operatorRow({ ...base, direction })).toMatchObject({ movement, direction: direction ?? '' });
  });

  it.each(['2026-11-22T10:00:00', '2026-11-22', 'yesterday', '2026-13-01T00:00:00Z', 1_795_000_000])(
    'with the time %s have none',
    (createdAt) => {
      expect(operatorRow({ ...base, createdAt })).toMatchObject({ at: null });
    },
  );

  it('keep no NUL, no half characters and no endless words, and every digit', () => {
    expect(
      operatorRow({
        ...base,
        correlationId: 'a\u0000b',
        reference: '\ud800x',
        playerId: 'p'.repeat(300),
        amount: '1'.repeat(100),
      }),
    ).toMatchObject({
      correlationId: 'ab',
      refId: '\ufffdx',
      playerId: `${'p'.repeat(255)}\u2026`,
      amountMinor: null,
      amountRaw: `${'1'.repeat(63)}\u2026`,
    });
    const [row] = json(
      '[{"correlationId":"c","amount":12345678901234.56,"reference":12345678901234567890,"currency":"USD"}]',
    ) as unknown[];
    expect(operatorRow(row)).toMatchObject({ amountMinor: 1_234_567_890_123_456n, refId: '12345678901234567890' });
  });

  it.each([null, 1, 'text', true, []])('that are no objects are told: %j', (element) => {
    expect(operatorRow(element)).toEqual({ reason: 'not_an_object', raw: JSON.stringify(element) });
  });

  it.each([{}, { correlationId: null }, { correlationId: '' }, { correlationId: 5 }, { correlationId: '\u0000' }])(
    'without an id are told: %j',
    (row) => {
      expect(operatorRow(row)).toMatchObject({ reason: 'no_key' });
    },
  );
});

describe('JSON of lists', () => {
  it('is the same in whatever pieces its bytes come, also through the middle of a character, and bytes that are no UTF-8 are refused', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ text: fc.string({ unit: 'binary' }) })), fc.array(fc.nat(40)), (rows, cuts) => {
        const whole = bytes(JSON.stringify(rows));
        expect(parseListJson(piecesOf(whole, cuts))).toEqual(parseListJson([whole]));
        expect(parseListJson([whole])).toEqual(JSON.parse(whole.toString()));
        const broken = Buffer.concat([bytes('["'), Buffer.from([0xe2, 0x82]), bytes('"]')]);
        expect(() => parseListJson(piecesOf(broken, cuts))).toThrow(ListJsonError);
      }),
    );
    expect(() => parseListJson([bytes('["'), Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80]), bytes('"]')])).toThrow(
      ListJsonError,
    );
    expect(() => parseListJson([bytes('["a"]'), Buffer.from([0xe2])])).toThrow(ListJsonError);
  });

  it('keeps numbers that a double cannot hold, and takes the last of two keys, whatever else stands in the page', () => {
    for (const other of ['1', '12345678901234567890', '1e400'])
      expect(json(`[{"a":1,"a":2,"b":${other}}]`)).toMatchObject([{ a: 2 }]);
    expect(String((json('[{"a": 0.12345678901234567}]') as { a: unknown }[])[0]?.a)).toBe('0.12345678901234567');
  });

  const mutation = fc.record({
    at: fc.nat(),
    remove: fc.nat({ max: 2 }),
    put: fc.constantFrom('', ',', '[', ']', '{', '}', '"', '\\', ' ', '0'),
  });
  const mutated = (text: string, broken: { at: number; remove: number; put: string } | null): string => {
    if (broken === null) return text;
    const at = 1 + (broken.at % text.length);
    return (text.slice(0, at) + broken.put + text.slice(at + broken.remove)).toWellFormed();
  };
  const parsed = (text: string): { value: unknown } | null => {
    try {
      return { value: JSON.parse(text) };
    } catch {
      return null;
    }
  };
  /** Numbers that were kept exactly are compared as the parser's doubles. */
  const asDoubles = (value: unknown) => JSON.stringify(JSON.parse(stringify(value) ?? ''));
  async function* inPieces(all: Buffer, from: number, cut: number): AsyncGenerator<Buffer> {
    for (let at = from; at < all.length; at += cut) yield await Promise.resolve(all.subarray(at, at + cut));
  }

  it('is split as the parser reads it, wherever the bytes are cut, and nothing that is no JSON gets through', async () => {
    const collect = async (text: string, cut: number) => {
      const elements: unknown[] = [];
      for await (const batch of arrayBatches(inPieces(bytes(text), 1, cut), {
        rows: 3,
        batchBytes: 64,
        rowBytesMax: 10_000,
      }))
        elements.push(...batch.elements);
      return elements;
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 12 }),
        fc.option(mutation),
        fc.integer({ min: 1, max: 40 }),
        fc.boolean(),
        async (list, broken, cut, pretty) => {
          const text = mutated(JSON.stringify(list, null, pretty ? 2 : 0), broken);
          const expected = parsed(text);
          if (expected === null) await expect(collect(text, cut)).rejects.toBeInstanceOf(ListJsonError);
          else expect(asDoubles(await collect(text, cut))).toBe(JSON.stringify(expected.value));
        },
      ),
      { numRuns: 400 },
    );
  });

  const around = async (text: string, cut: number) => {
    const batches: unknown[][] = [];
    const frame = await objectAroundItems(
      inPieces(bytes(text), 0, cut),
      { rows: 3, batchBytes: 64, rowBytesMax: 10_000 },
      (elements) => batches.push(elements),
    );
    return { frame, batches };
  };

  it('whose rows stand in an object is read as the parser reads it, wherever the bytes are cut and whatever stands beside the rows', async () => {
    const name = fc
      .oneof(
        fc.constantFrom('nextCursor', 'total', 'item', 'items ', '"items":[', 'data'),
        fc.string({ unit: 'binary', maxLength: 8 }),
      )
      .filter((key) => key !== 'items' && key !== '__proto__' && key !== '\\');
    const member = fc.tuple(
      name,
      fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.record({ items: fc.array(fc.nat()) }),
        fc.array(fc.constant({ items: [1] })),
      ),
    );
    const members = fc.array(member, { maxLength: 3 });
    const list = fc.oneof(
      { weight: 5, arbitrary: fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 12 }) },
      fc.jsonValue({ maxDepth: 2 }),
    );
    await fc.assert(
      fc.asyncProperty(
        members,
        fc.option(list, { nil: undefined }),
        members,
        fc.option(mutation),
        fc.integer({ min: 1, max: 40 }),
        fc.boolean(),
        async (before, items, after, broken, cut, pretty) => {
          const text = mutated(
            JSON.stringify(Object.fromEntries([...before, ['items', items], ...after]), null, pretty ? 2 : 0),
            broken,
          );
          const expected = parsed(text);
          if (expected === null) return expect(around(text, cut)).rejects.toBeInstanceOf(ListJsonError);
          const { frame, batches } = await around(text, cut);
          const whole = batches.length > 0 ? { ...(frame as object), items: batches.flat() } : frame;
          expect(asDoubles(whole)).toBe(JSON.stringify(expected.value));
          expect(batches.every((batch) => batch.length <= 3)).toBe(true);
        },
      ),
      { numRuns: 600 },
    );
  });

  it('whose rows stand in an object is never taken for less than it holds', async () => {
    for (const cut of [1, 2, 7, 1_000]) {
      for (const twice of [
        '{"items":[1],"items":[2]}',
        '{"items":[],"items":[2]}',
        '{"items":[1],"items":null}',
        '{"items":[1],"\\u0069tems":[2]}',
      ])
        await expect(around(twice, cut)).rejects.toThrow('it has its items twice');
      // Written as nobody writes it, it comes with the object.
      for (const odd of ['{"\\u0069tems":[1,2]}', `{"items"${' '.repeat(300)}:[1,2]}`])
        expect(await around(odd, cut)).toEqual({ frame: { items: [1, 2] }, batches: [] });
      for (const broken of [
        '{"items":[1,2',
        '{"items":[1,2]',
        '{"items":[1,2}',
        '{"items":[1,,2]}',
        '{"items":[1,2]}]',
        '{"items":[1] "a":2}',
        '{"a","items":[1]}',
      ])
        await expect(around(broken, cut)).rejects.toBeInstanceOf(ListJsonError);
    }
  });
});

/** Cuts of so many bytes each; the rest is the last piece. */
function piecesOf(whole: Buffer, cuts: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const cut of cuts) {
    pieces.push(whole.subarray(at, at + cut));
    at += cut;
  }
  return [...pieces, whole.subarray(at)];
}
