import type { Random } from '../chaos/prng';

const TEXTS = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\udfb0\ud83c',
  '\u202e',
  '\ufeff',
  '\r\nX-Injected: yes',
  '\u0007',
  '😀'.repeat(200),
  'x'.repeat(127),
  'x'.repeat(129),
  'x'.repeat(5_000),
  '.',
  '..',
  '../../etc/passwd',
  '%00',
  '%2e%2e%2f',
  '%',
  '%zz',
  "'; drop table partner; --",
  '{"$ne":null}',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'null',
  'undefined',
  'NaN',
  'true',
  '-1',
  '0',
  '1e400',
  '9'.repeat(40),
  '0x10',
  '1_000',
  'rollback:bet-1',
  'hub~1',
  'USD',
  'usd',
  'ΩΩΩ',
  '\u017fUCCE\u017f\u017f',
  '2026-13-45',
  '2026-02-30',
  '0000-00-00',
  '+275760-09-13T00:00:00Z',
  '-271821-04-20T00:00:00Z',
  '2026-11-22T00:00:00Z',
  '2026-11-22T24:00:00+99:99',
  '24:60',
  '* * * * *',
  '0 0 31 2 *',
  '*/0 * * * *',
  'Europe/Nowhere',
  'Etc/GMT+99',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a1',
  'wait=1, wait=99',
  '<script>',
  '${7*7}',
  '{{7*7}}',
  'é'.normalize('NFD'),
];
const NUMBERS = [
  0,
  -0,
  1,
  -1,
  0.5,
  1e-9,
  127,
  128,
  255,
  256,
  2 ** 31 - 1,
  2 ** 31,
  -(2 ** 31) - 1,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 53),
  1e300,
];
/** As a caller's own JSON writer would write them; no double holds them. */
const NUMBER_TEXTS = [
  '1e400',
  '-1e400',
  '123456789012345678901234567890',
  '0.1234567890123456789',
  '1E5',
  '500.0',
  '5e2',
];

export function hostileText(random: Random): string {
  if (random.chance(0.7)) return random.pick(TEXTS);
  const length = random.integer(0, random.chance(0.05) ? 3_000 : 40);
  return String.fromCharCode(
    ...Array.from({ length }, () => (random.chance(0.8) ? random.integer(0x20, 0x7e) : random.integer(0, 0xffff))),
  );
}

/** Any JSON value, as JSON text. */
export function hostileJson(random: Random, depth = 0): string {
  switch (
    random.weighted({
      text: 5,
      number: 4,
      numberText: 1,
      word: 2,
      list: depth > 3 ? 0.1 : 1,
      object: depth > 3 ? 0.1 : 1,
      deep: 0.2,
      wide: 0.1,
    })
  ) {
    case 'text':
      return JSON.stringify(hostileText(random));
    case 'number':
      return String(random.pick(NUMBERS));
    case 'numberText':
      return random.pick(NUMBER_TEXTS);
    case 'word':
      return random.pick(['null', 'true', 'false']);
    case 'list':
      return `[${Array.from({ length: random.integer(0, 4) }, () => hostileJson(random, depth + 1)).join(',')}]`;
    case 'object':
      return `{${Array.from({ length: random.integer(0, 4) }, (_, n) => `${JSON.stringify(random.chance(0.5) ? `k${n}` : hostileText(random))}:${hostileJson(random, depth + 1)}`).join(',')}}`;
    case 'deep': {
      const levels = random.pick([10, 31, 32, 33, 2_000]);
      return `${'['.repeat(levels)}1${']'.repeat(levels)}`;
    }
    case 'wide': {
      const count = random.pick([60, 70, 2_400, 2_600, 9_000]);
      return random.chance(0.5)
        ? `[${'1,'.repeat(count)}1]`
        : `{${Array.from({ length: count }, (_, n) => `"f${n}":1`).join(',')}}`;
    }
  }
}

/** The bytes of a text with some of them changed, cut off, doubled or put in. */
export function damaged(random: Random, text: string): Buffer {
  const bytes = Buffer.from(text);
  for (let n = random.integer(1, 3); n > 0; n -= 1) {
    const at = random.integer(0, Math.max(bytes.length - 1, 0));
    switch (random.weighted({ change: 4, cut: 2, insert: 2, double: 1 })) {
      case 'change':
        if (bytes.length > 0) bytes[at] = random.integer(0, 255);
        break;
      case 'cut':
        return bytes.subarray(0, at);
      case 'insert':
        return Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from([random.integer(0, 255), random.integer(0, 255)]),
          bytes.subarray(at),
        ]);
      case 'double':
        return Buffer.concat([bytes, bytes]);
    }
  }
  return bytes;
}
