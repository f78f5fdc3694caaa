import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseConfig } from '../src/config/config';
import { ERROR_CATALOGUE } from '../src/kernel/errors';
import { postmanRequests } from './support/postman';
import { TestHub } from './support/hub/test-hub';

const ROOT = path.join(__dirname, '..');
const textOf = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

describe('.env.example', () => {
  /** `NAME=value` is a default, `# NAME=` a variable without one. */
  const entries = [...textOf('.env.example').matchAll(/^(# )?([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(
    ([, hash, name, value]) => ({ name: name!, value: value!, active: hash === undefined }),
  );

  it('names exactly the variables that the hub reads, each once', () => {
    const read = new Set<string>();
    parseConfig(
      new Proxy({}, { get: (_target, name) => (read.add(String(name)), name === 'NODE_ENV' ? 'test' : undefined) }),
    );
    expect(entries.map(({ name }) => name).sort()).toEqual([...read].sort());
  });

  it('has the defaults of the hub: with it or without it the hub is the same', () => {
    expect(
      parseConfig(Object.fromEntries(entries.filter(({ active }) => active).map(({ name, value }) => [name, value]))),
    ).toEqual(parseConfig({ NODE_ENV: 'development' }));
    for (const { name, value, active } of entries)
      expect({ name, hasValue: value !== '' }).toEqual({ name, hasValue: active });
  });
});

describe('what a token opens', () => {
  const variables = {
    RGS_TOKEN: 'rgs',
    OPERATOR_TOKEN: 'operator',
    OPS_TOKEN: 'ops',
    FINANCE_TOKEN: 'finance',
  } as const;
  const comment = (name: string) => new RegExp(`^# ([^\\n]*)\\n# ${name}=`, 'm').exec(textOf('.env.example'))?.[1];
  const row = (name: string) =>
    new RegExp(`^\\| \`${name}\` .*\\| ([^|]*) \\|$`, 'm').exec(textOf('docs/integration.md'))?.[1];

  it.each([
    ['.env.example', comment],
    ['docs/integration.md', row],
  ] as const)('is what %s says, route by route', async (_file, find) => {
    const hub = await TestHub.start({ env: { ROLE: 'api' } });
    try {
      const { paths } = (await hub.call('GET', '/swagger-json')).body as {
        paths: Record<string, Record<string, { security?: Record<string, unknown>[] }>>;
      };
      for (const [name, access] of Object.entries(variables)) {
        const said = [...(find(name) ?? '').matchAll(/\/[\w/*-]+/g)].map(([pattern]) => pattern);
        const opens = (route: string) =>
          said.some((pattern) => (pattern.endsWith('/*') ? route.startsWith(pattern.slice(0, -1)) : route === pattern));
        const operations = Object.entries(paths).flatMap(([route, methods]) =>
          Object.values(methods).map((operation) => ({
            route,
            opens: (operation.security ?? []).some((scheme) => access in scheme),
          })),
        );
        // Whatever it opens is said, and whatever is said is opened by it somewhere.
        expect(operations.filter((each) => each.opens && !opens(each.route)).map((each) => [name, each.route])).toEqual(
          [],
        );
        expect(
          said.filter(
            (pattern) =>
              !operations.some(
                (each) =>
                  each.opens &&
                  (pattern.endsWith('/*') ? each.route.startsWith(pattern.slice(0, -1)) : each.route === pattern),
              ),
          ),
        ).toEqual([]);
      }
    } finally {
      await hub.stop();
    }
  });
});

it('the image starts the hub as `npm run start:hub` does', () => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
  // Without the variable and the exec of the shell: the image is production unless it is told otherwise, and needs no
  // shell.
  const command = scripts['start:hub']?.replace('NODE_ENV=${NODE_ENV:-development} exec ', '').split(' ');
  expect(/^CMD (.*)$/m.exec(textOf('Dockerfile'))?.[1]).toBe(JSON.stringify(command).replaceAll(',', ', '));
});

it('each page of docs/decisions has a heading of one form, and its row in the index', () => {
  const pages = readdirSync(path.join(ROOT, 'docs/decisions'))
    .filter((file) => file !== 'README.md')
    .sort();
  const rows = [
    ...textOf('docs/decisions/README.md').matchAll(/^\| \[(\d{4})\]\(([^)]+)\) \| ([^|]+) \| [a-z][^|]* \|$/gm),
  ].map(([, number, file, title]) => ({ file, heading: `# ${number}: ${title}` }));
  expect(rows).toEqual(pages.map((file) => ({ file, heading: textOf(`docs/decisions/${file}`).split('\n', 1)[0] })));
  expect(new Set(pages.map((file) => file.slice(0, 4))).size).toBe(pages.length);
});

it('the table of errors in README.md is the catalogue', () => {
  const table = /<!-- errors:start -->([\s\S]*?)<!-- errors:end -->/.exec(textOf('README.md'))?.[1] ?? '';
  const [header = [], , ...rows] = table
    .trim()
    .split('\n')
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('\\|', '|')),
    );
  const column = (name: string) => header.findIndex((title) => title.toLowerCase().startsWith(name));
  const plain = (text: string | undefined) => (text ?? '').replaceAll('`', '');
  const told = rows.map((row) => ({
    code: plain(row[column('code')]),
    status: Number(row[column('status')]),
    detail: plain(row[column('detail')]),
    retryable: /^(true|yes)$/i.test(plain(row[column('retry')])),
    meaning: plain(row[column('meaning')]),
  }));
  const catalogue = Object.entries(ERROR_CATALOGUE).map(([code, { status, detail, retryable, meaning }]) => ({
    code,
    status,
    detail,
    retryable,
    meaning: plain(meaning),
  }));
  const byCode = (a: { code: string }, b: { code: string }) => a.code.localeCompare(b.code);
  expect(told.sort(byCode)).toEqual(catalogue.sort(byCode));
});

describe('the Postman collection', () => {
  it('has a request for every route of the OpenAPI document, and none for a route that is not there', async () => {
    const hub = await TestHub.start({ env: { ROLE: 'api' } });
    try {
      const { paths } = (await hub.call('GET', '/swagger-json')).body as {
        paths: Record<string, Record<string, unknown>>;
      };
      const documented = Object.entries(paths).flatMap(([route, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${route}`),
      );
      expect([...new Set(postmanRequests().map(({ method, path: route }) => `${method} ${route}`))].sort()).toEqual(
        documented.sort(),
      );
    } finally {
      await hub.stop();
    }
  });

  it('has a name of its own and a test in every request', () => {
    const requests = postmanRequests();
    expect(new Set(requests.map(({ name }) => name)).size).toBe(requests.length);
    expect(requests.filter(({ tests }) => !tests.includes('pm.test(')).map(({ name }) => name)).toEqual([]);
  });
});

it('the tests that test/regressions.json names for each fault are there', () => {
  const { faults } = JSON.parse(textOf('test/regressions.json')) as {
    faults: Record<string, { tests: [string, string][] }>;
  };
  const named = Object.values(faults).flatMap(({ tests }) => tests.map(([file]) => file));
  expect(named.length).toBeGreaterThan(60);
  expect([...new Set(named)].filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
});

it('nothing is left to be done later: such notes belong in the issue tracker', () => {
  // Put together here, so that this file does not find itself.
  const note = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X'.repeat(3)].join('|')})\\b`);
  const found = sources(ROOT).flatMap((file) =>
    textOf(file)
      .split('\n')
      .flatMap((line, index) => (note.test(line) ? [`${file}:${index + 1}`] : [])),
  );
  expect(found).toEqual([]);
});

describe('the words', () => {
  /**
   * What a reader of the field has to translate, and what is said instead (docs/glossary.md). Names in capitals are
   * code.
   */
  const DENIED: readonly [RegExp, string][] = [
    [/\b[Mm]end(s|ed|ing)?\b/, 'fix'],
    [/\b[Ff]or ever\b/, 'forever'],
    [/\b[Aa]new\b/, 'again, start over'],
    [/\b([Nn]obody|[Ss]omebody|[Ww]hoever)\b/, 'the caller, the process, the partner, the person; no one'],
    [/\b[Tt]old\b/, 'notified, reported, logged'],
    [/\blaid beside\b/, 'matched, compared'],
    [/\b(on|in) (its|their) way\b/, 'in flight'],
    [/\bstands? in\b/, 'is in'],
    [/\bnot wanted\b|\bwants? it any more\b/, 'void requested'],
    [/\bof one mind\b/, 'agree'],
    [/\bfirst hub\b/, 'legacy hub (v0)'],
  ];
  /** In Markdown also these, of which the code still has some. */
  const DENIED_IN_DOCS: readonly [RegExp, string][] = [
    [/\b[Rr]epayments?\b/, 'reversal'],
    [/\b[Tt]ime-outs?\b/, 'timeout'],
    [/\b(paid|pays?|paying) back\b/, 'refund'],
    [/\brecognises? repeats\b/, 'idempotent'],
    [/\b(the|an|no|first|each) answers?\b/, 'response'],
  ];
  const ALLOWED: readonly { readonly file: RegExp; readonly text: RegExp; readonly why: string }[] = [
    { file: /^docs\/glossary\.md$/, text: /^\|/, why: 'names the words that are not used' },
    { file: /^src\/database\/embedded\//, text: /nobody/, why: 'a user of the operating system' },
    {
      file: /^src\/wallet\/wallet\.service\.ts$/,
      text: /no_round: 'without roundId nobody can tell/,
      why: 'sent to RGSs, and again, byte for byte, when they repeat a request of an earlier release',
    },
  ];
  const prose = () =>
    sources(ROOT).filter((file) => /^(src|mocks|scripts|deploy|docs|\.ci|\.github)\/|^[^/]+$/.test(file));
  const withoutPaths = (line: string) => line.replace(/[\w./-]+\.(ts|mjs|sql)\b/g, '');
  const isAllowed = (file: string, line: string) =>
    ALLOWED.find((each) => each.file.test(file) && each.text.test(line));

  it('of docs, comments, messages and API prose are those of the field', () => {
    const found = prose().flatMap((file) =>
      textOf(file)
        .split('\n')
        .flatMap((line, index) =>
          [...DENIED, ...(file.endsWith('.md') ? DENIED_IN_DOCS : [])]
            .filter(([word]) => word.test(withoutPaths(line)) && isAllowed(file, line) === undefined)
            .map(([word, instead]) => `${file}:${index + 1} ${word.exec(line)?.[0]}: ${instead}`),
        ),
    );
    expect(found).toEqual([]);
  });

  it('have no exception without a use', () => {
    const used = new Set(
      prose().flatMap((file) =>
        textOf(file)
          .split('\n')
          .filter((line) => DENIED.some(([word]) => word.test(line)))
          .map((line) => isAllowed(file, line)),
      ),
    );
    expect(ALLOWED.filter((each) => !used.has(each)).map(({ why }) => why)).toEqual([]);
  });
});

it('links in Markdown lead to a file and a heading', () => {
  const markdown = sources(ROOT).filter((file) => file.endsWith('.md'));
  const prose = (file: string) => textOf(file).replace(/^```[\s\S]*?^```/gm, '');
  const anchors = (file: string) =>
    [...prose(file).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      (title ?? '')
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
  const broken = markdown.flatMap((file) =>
    [
      ...prose(file)
        .replace(/`[^`\n]*`/g, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ]
      .map(([, target]) => target ?? '')
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [page = '', anchor] = target.split('#');
        const to = page === '' ? file : path.join(path.dirname(file), page);
        return !existsSync(path.join(ROOT, to)) || (anchor !== undefined && !anchors(to).includes(anchor));
      })
      .map((target) => `${file}: ${target}`),
  );
  expect(broken).toEqual([]);
});

it('paths in Markdown lead to a file or a folder', () => {
  // Not of the changelog: what a release contained may have moved since.
  const markdown = sources(ROOT).filter((file) => file.endsWith('.md') && file !== 'CHANGELOG.md');
  const found = markdown.flatMap((file) =>
    [...textOf(file).matchAll(/(?<![\w./-])(src|test|tools|mocks|scripts|deploy)\/[\w./-]*\w/g)]
      .map(([name]) => name)
      .filter((name) => !existsSync(path.join(ROOT, name)))
      .map((name) => `${file}: ${name}`),
  );
  expect(found).toEqual([]);
});

it('the changelog names its releases, what kind each change is, and for whom', () => {
  const lines = textOf('CHANGELOG.md').split('\n');
  const releases = lines.filter((line) => line.startsWith('## '));
  expect(releases[0]).toBe('## [Unreleased]');
  expect(releases.slice(1).filter((line) => !/^## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}$/.test(line))).toEqual([]);
  const { version } = JSON.parse(textOf('package.json')) as { version: string };
  expect(releases[1]).toContain(`[${version}]`);
  const kinds = /^### (Added|Changed|Deprecated|Removed|Fixed|Security)$/;
  expect(lines.filter((line) => line.startsWith('### ') && !kinds.test(line))).toEqual([]);
  const readers = /^- (RGS|Operators|Ops|Finance|Developers): /;
  expect(lines.filter((line) => line.startsWith('- ') && !readers.test(line))).toEqual([]);
});

/** What people write by hand; generated and installed files are not. */
function sources(folder: string): string[] {
  const skipped = new Set(['node_modules', 'dist', '.git', '.data', 'coverage', 'package-lock.json']);
  return readdirSync(folder).flatMap((name) => {
    const file = path.join(folder, name);
    if (skipped.has(name)) return [];
    if (statSync(file).isDirectory()) return sources(file);
    return /\.(ts|mjs|cjs|js|json|ya?ml|md|sql|sh)$|^(Dockerfile|run|\.env\.example)$/.test(name)
      ? [path.relative(ROOT, file)]
      : [];
  });
}
