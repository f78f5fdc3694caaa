import fc from 'fast-check';
import { LosslessNumber, isSafeNumber, parse } from 'lossless-json';
import { ExactJsonError, decimalText, parseExactJson, parseStrictJson, repeatedKey } from '../../src/json/exact-json';

const plainKey = fc.string({ maxLength: 8 }).filter((key) => !['__proto__', 'constructor', 'prototype'].includes(key));
const tree = fc.letrec((tie) => ({
  leaf: fc.oneof(fc.string(), fc.boolean(), fc.constant(null), fc.integer()),
  node: fc.oneof(
    { depthSize: 'small', maxDepth: 6 },
    tie('leaf'),
    fc.array(tie('node'), { maxLength: 4 }),
    fc.dictionary(plainKey, tie('node'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).node;

describe('parseExactJson', () => {
  it('reads what JSON.parse reads, where there is nothing to round or to refuse', () => {
    fc.assert(
      fc.property(tree, (value) =>
        expect(parseExactJson(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value))),
      ),
      { numRuns: 300 },
    );
  });

  it("never changes a number's digits", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }),
        fc.integer({ min: 0, max: 20 }),
        (digits, decimals) => {
          const text = decimals === 0 ? digits.toString() : `${digits}.${'1'.repeat(decimals)}`;
          const value = parseExactJson(text);
          expect(value instanceof LosslessNumber ? value.value : Number(text) === value).toBe(
            value instanceof LosslessNumber ? text : true,
          );
          if (typeof value === 'number' && decimals === 0) expect(BigInt(value)).toBe(digits);
        },
      ),
    );
  });

  it.each([
    ['9007199254740993', '9007199254740993'],
    ['0.1000000000000000055511151231257827', '0.1000000000000000055511151231257827'],
    ['1e400', '1e400'],
    ['19.99', '19.99'],
    ['500', '500'],
  ])('keeps the text of %s', (text, kept) => {
    expect(decimalText(parseExactJson(text))).toBe(kept);
  });

  it.each(['9007199254740993', '1e400', '499.99999999999999999'])(
    'gives NaN for %s to readers that ask for it, so that no check takes it for a number',
    (text) => {
      expect(parseExactJson(`{"a":${text}}`, 'nan')).toEqual({ a: Number.NaN });
    },
  );

  it.each([
    ['{"a":1,"a":2}', /"a" stands twice/],
    ['{"a":1,"\\u0061":2}', /"a" stands twice/],
    ['{"b":{"a":1,"a":2}}', /"a" stands twice/],
    ['{"__proto__":1}', /"__proto__" is not allowed/],
    ['{"a":[{"constructor":1}]}', /"constructor" is not allowed/],
    ['{"\\u0070rototype":1}', /"prototype" is not allowed/],
    ['{"a":', /./],
    ['', /./],
    ['{}{}', /./],
    [`${'['.repeat(33)}${']'.repeat(33)}`, /deeper than 32/],
    ['['.repeat(100_000), /deeper than 32/],
  ])('refuses %j', (text, message) => {
    expect(() => parseExactJson(text)).toThrow(ExactJsonError);
    expect(() => parseExactJson(text)).toThrow(message);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it('counts brackets in strings as text', () => {
    expect(parseExactJson(JSON.stringify({ a: `${'['.repeat(50)}"\\` }))).toEqual({ a: `${'['.repeat(50)}"\\` });
    expect(parseExactJson(`${'['.repeat(32)}${']'.repeat(32)}`)).toBeDefined();
  });
});

describe('flat objects', () => {
  const digits = (max: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: max });
  const number = fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.oneof(
        fc.constant('0'),
        digits(20).map((text) => text.replace(/^0+(?=.)/, '')),
      ),
      fc.option(digits(20)),
      fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'E-'), digits(3)).map((parts) => parts.join(''))),
    )
    .map(
      ([sign, whole, fraction, exponent]) =>
        `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${exponent ?? ''}`,
    );
  const space = fc.constantFrom('', ' ', '\n', '\t ', '\r\n');
  const text = fc
    .oneof(fc.string(), fc.constantFrom('":1', '12:30.5', ':1e5', '\\', '{', '[', ',"a":1', '\ufeff', '__proto__'))
    .map((value) => JSON.stringify(value));
  const key = fc.oneof(
    fc.constantFrom('"a"', '"b"', '"\\u0061"', '"__proto__"', '"constructor"', '"1"', '"toString"'),
    text,
  );
  const member = fc
    .tuple(
      key,
      space,
      fc.oneof(number, number, text, fc.constantFrom('true', 'null', '{}', '[1]', '{"a":1,"a":1}')),
      space,
    )
    .map(([name, before, value, after]) => `${before}${name}${after}:${before}${value}${after}`);
  const object = fc.array(member, { maxLength: 4 }).map((members) => `{${members.join(',')}}`);

  /** The same in the plainest words, without a short way. */
  function read(json: string): unknown {
    const refuse = (name: string, value: unknown): unknown => {
      if (['__proto__', 'constructor', 'prototype'].includes(name)) throw new Error(name);
      return value;
    };
    return parse(json, refuse, {
      parseNumber: (value) => (isSafeNumber(value) ? Number(value) : Number.NaN),
      onDuplicateKey: () => {
        throw new Error('twice');
      },
    });
  }

  function attempt(work: () => unknown): { value: unknown } | 'refused' {
    try {
      return { value: work() };
    } catch {
      return 'refused';
    }
  }

  it('are read as the thorough reader reads them, whatever stands in them', () => {
    fc.assert(
      fc.property(object, (json) => {
        const thorough = attempt(() => read(json));
        expect(attempt(() => parseExactJson(json, 'nan'))).toStrictEqual(thorough);
        expect(attempt(() => parseStrictJson(json))).toStrictEqual(
          thorough !== 'refused' && repeatedKey(json) !== null ? 'refused' : thorough,
        );
      }),
      { numRuns: 3_000 },
    );
  });

  it('are not read by a parser that has learned a wrong key', () => {
    parseExactJson('{"a":"x","\\\\":true}');
    expect(() => parseExactJson('{"a":"x","\\u0061":true}')).toThrow('stands twice');
  });

  it.each(['{"amount":1,"amount":1}', '{"a":"x","a":"x"}', '{"a":{"k":1,"k":1}}'])(
    'with the key of %s twice are refused to callers',
    (json) => {
      expect(() => parseStrictJson(json)).toThrow(/stands twice/);
    },
  );
});

describe('repeatedKey', () => {
  it('finds nothing in what a JSON writer wrote', () => {
    fc.assert(
      fc.property(tree, fc.integer({ min: 0, max: 3 }), (value, indent) =>
        expect(repeatedKey(JSON.stringify(value, null, indent))).toBeNull(),
      ),
      { numRuns: 300 },
    );
  });

  it.each<[string, string | null]>([
    ['{"a":1,"a":1}', 'a'],
    ['{"a":1,"b":2,"\\u0061" \n\t  : 1}', 'a'],
    [`{"a":1,"a"${' '.repeat(500)}:1}`, 'a'],
    ['[{"x":{"k":[],"k":[]}}]', 'k'],
    ['{"":1,"":1}', ''],
    ['{"\\"":1,"\\"":1}', '"'],
    ['{"a":"a","b":"a"}', null],
    ['{"a":{"a":{"a":1}}}', null],
    ['[{"a":1},{"a":1}]', null],
    ['["a","a"]', null],
    ['{"a":"b:","b":":"}', null],
    ['"a"', null],
    ['1', null],
  ])('in %s finds %j', (text, key) => {
    expect(() => JSON.parse(text)).not.toThrow();
    expect(repeatedKey(text)).toBe(key);
  });
});
