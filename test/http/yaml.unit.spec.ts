import { execFileSync } from 'node:child_process';
import { toYaml } from '../../src/http/yaml';

/** What a reader of YAML that is not ours makes of the texts. In a process of its own: it is an ES module. */
function readBack(texts: readonly string[]): unknown[] {
  const reader = `import { parseYaml } from '@redocly/openapi-core'; process.stdout.write(JSON.stringify(JSON.parse(await new Response(process.stdin).text()).map((text) => parseYaml(text))));`;
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', reader], {
      input: JSON.stringify(texts),
      encoding: 'utf8',
    }),
  ) as unknown[];
}

const VALUES: readonly unknown[] = [
  { a: 1, b: [1, [2, [3, { c: [] }]], { x: { y: [{ z: null }] } }], e: {}, f: true },
  {
    texts: [
      'yes',
      '1e3',
      '',
      ' a: b # c',
      '- d',
      '"\\',
      'line\nline\n',
      '\u2028\u0085\u007f\u0000',
      '😀',
      '{}',
      '~',
      '2026-11-29',
    ],
  },
  {
    no: 1,
    y: 2,
    NULL: 3,
    200: 4,
    '': 5,
    '/a/{b}': 6,
    '- x': 7,
    $ref: '#/x',
    'x-y.z': 8,
    ['k'.repeat(900)]: 9,
    '<<': 10,
    __proto: 11,
  },
  [[[]], [{}], [[[1, 2], 3], 4]],
  [{ a: { b: 1 }, c: [[{ d: 2 }]] }],
  [],
  {},
  null,
  -0.5,
  'text',
];

describe('YAML', () => {
  it('says to a reader of YAML what the JSON says', () => {
    expect(readBack(VALUES.map(toYaml))).toEqual(VALUES);
  });

  it('is in block style, with keys as they are where no reader could take them for anything else', () => {
    expect(
      toYaml({
        openapi: '3.1.0',
        paths: { '/health': { get: { tags: ['health'], security: [] } } },
        on: [1, [2, { a: 3, b: 4 }]],
      }),
    ).toBe(
      [
        'openapi: "3.1.0"',
        'paths:',
        '  "/health":',
        '    get:',
        '      tags:',
        '        - "health"',
        '      security: []',
        '"on":',
        '  - 1',
        '  - - 2',
        '    - a: 3',
        '      b: 4',
        '',
      ].join('\n'),
    );
  });
});
