import { randomUUID } from 'node:crypto';
import { type WalkedOperation, walkOperations } from '../support/openapi-walk';
import { expectNoLeak, expectProblem } from '../support/hub/problem';
import type { HttpAnswer, RequestOptions } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';

let hub: TestHub;
let operations: WalkedOperation[];
beforeAll(async () => {
  hub = await TestHub.start({ env: { ROLE: 'api' } });
  operations = walkOperations((await hub.call('GET', '/swagger-json')).body);
});
afterAll(() => hub.stop());

const good = () => ({ playerId: 'player-1', amountCents: 500, currency: 'USD', refId: `limit-${randomUUID()}` });
const debit = (body: unknown, options?: RequestOptions) => hub.call('POST', '/wallet/debit', body, options);
const faultsOf = (answer: HttpAnswer): { field: string; message: string }[] => {
  expectProblem(answer, 'validation_failed');
  return answer.body.errors;
};

describe('a field that is wrong', () => {
  it.each<[string, Record<string, unknown>, string, RegExp]>([
    ['a text for an amount', { amountCents: '500' }, 'amountCents', /must be an integer number$/],
    ['a fraction', { amountCents: 0.5 }, 'amountCents', /must be an integer number$/],
    ['nothing for an amount', { amountCents: null }, 'amountCents', /must be an integer number$/],
    ['an amount below the least', { amountCents: 0 }, 'amountCents', /must not be less than 1;/],
    [
      'an amount above the largest',
      { amountCents: 2 ** 53 },
      'amountCents',
      /must be a whole number of at most 9007199254740991$/,
    ],
    ['a number for a name', { playerId: 7 }, 'playerId', /must be a string$/],
    ['a list for a name', { playerId: [] }, 'playerId', /must be a string$/],
    ['an empty name', { playerId: '' }, 'playerId', /must be longer than or equal to 1 characters$/],
    ['a long name', { playerId: 'x'.repeat(129) }, 'playerId', /must be shorter than or equal to 128 characters$/],
    ['NUL in a name', { playerId: 'a\u0000' }, 'playerId', /must not contain/],
    ['a word for a flag', { roundClosed: 'true' }, 'roundClosed', /must be a boolean value$/],
    ['a word that no list has', { kind: 'bonus' }, 'kind', /must be one of/],
  ])('is told once, by the rule that explains the others: %s', async (_what, fields, field, message) => {
    const faults = faultsOf(await debit({ ...good(), ...fields }));
    expect(faults).toEqual([{ field, message: expect.stringMatching(message) }]);
  });

  it('is told once in every body of the API, whatever stands in all of its fields', async () => {
    for (const operation of operations.filter(({ body }) => body !== undefined)) {
      for (const value of ['x', 7, true, null, [], {}, '\u0000', -1]) {
        const answer = await hub.call(
          operation.method,
          pathOf(operation),
          Object.fromEntries(Object.keys(operation.body?.properties ?? {}).map((name) => [name, value])),
        );
        if (answer.status !== 422) continue;
        const fields = (answer.body.errors as { field: string }[]).map(({ field }) => field);
        expect({ operation: operation.id, value, fields }).toEqual({
          operation: operation.id,
          value,
          fields: [...new Set(fields)],
        });
      }
    }
  });

  it('that is optional may be null, which is as if it were not there', async () => {
    const nulls = { roundId: null, roundClosed: null, kind: null, gameId: null, sessionId: null, meta: null };
    expect((await debit({ ...good(), ...nulls })).status).toBe(200);
    const schedule = await hub.call('PUT', '/v1/recon/schedules/nulls', {
      cron: '30 7 * * *',
      zone: 'Europe/Malta',
      cutoff: null,
      graceSeconds: null,
      enabled: null,
      catchUpDays: null,
    });
    expect([schedule.status, schedule.body]).toEqual([
      200,
      expect.objectContaining({ cutoff: '00:00', graceSeconds: 900, enabled: true, catchUpDays: 7 }),
    ]);
  });
});

describe('what is looked at of a request', () => {
  const members = (count: number, value = '1') => Array.from({ length: count }, (_, n) => `"f${n}":${value}`).join(',');

  it.each<[string, string]>([
    ['6 500 unknown fields', `{${members(6_500)}}`],
    ['65 unknown fields', `{${members(65)}}`],
    ['15 000 objects in a list', `{"playerId":[${Array(15_000).fill('{}').join(',')}]}`],
    ['2 502 numbers in meta', `{"meta":[${Array(2_502).fill('1').join(',')}]}`],
    ['4 000 fields in meta', `{"meta":{${members(4_000)}}}`],
    ['65 fields in an object of a bulk request', `{"filter":{${members(65)}}}`],
  ])('is bounded: %s are one fault', async (_what, body) => {
    for (const path of ['/wallet/debit', '/webhooks/incoming', '/v1/recon/exceptions/bulk']) {
      const answer = await hub.call('POST', path, body);
      const faults = faultsOf(answer);
      if (!body.startsWith('{"filter"') || path.endsWith('bulk'))
        expect(faults).toEqual([
          {
            field: expect.stringMatching(/^(body|filter)$/),
            message: expect.stringMatching(/must not (have|hold) more than \d+/),
          },
        ]);
      expect(answer.text.length).toBeLessThan(1_000);
    }
  });

  it('is told in no more than twenty faults, each with a short name', async () => {
    const answer = await debit(`{${Array.from({ length: 60 }, (_, n) => `"${'x'.repeat(900)}${n}":1`).join(',')}}`);
    const faults = faultsOf(answer);
    expect(faults).toHaveLength(20);
    expect(faults.at(-1)).toEqual({ field: '…', message: '45 more fields are wrong' });
    for (const { field, message } of faults) expect([field.length <= 65, message.length <= 165]).toEqual([true, true]);
    expect(answer.text.length).toBeLessThan(8_000);
  });

  it('has room for everything that the contract allows: meta of 4 KiB with 2 000 numbers, and each field at its longest', async () => {
    const longest = Object.fromEntries(
      ['playerId', 'refId', 'roundId', 'gameId', 'sessionId'].map((name) => [
        name,
        `${name}-${randomUUID()}`.padEnd(128, '😀'.repeat(64)).slice(0, 128).toWellFormed(),
      ]),
    );
    expect((await debit({ ...good(), ...longest, meta: { n: Array(2_000).fill(1) } })).status).toBe(200);
  });

  it('of a query is 32 parameters', async () => {
    for (const path of ['/wallet/transactions', '/webhooks/outbox', '/v1/recon/runs', '/rounds/none', '/metrics']) {
      const faults = faultsOf(
        await hub.call('GET', `${path}?${Array.from({ length: 33 }, (_, n) => `p${n}=1`).join('&')}`),
      );
      expect(faults).toEqual([{ field: 'query', message: 'query must not have more than 32 parameters' }]);
    }
  });

  it('costs a quiet hub no more than answering it does', async () => {
    // Before the bound each of these took half a second of CPU and answered 393 KiB.
    const started = process.cpuUsage();
    for (let n = 0; n < 20; n += 1) await debit(`{${members(6_500)}}`);
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1000 / 20).toBeLessThan(60);
  });
});

describe('a value that nothing can store', () => {
  const hostile: [string, string][] = [
    ['NUL', '\u0000'],
    ['NUL inside', 'a\u0000b'],
    ['half a surrogate pair', '\ud800'],
    ['two halves in the wrong order', '\udfb0\ud83c'],
    ['a control character', 'a\u0007b'],
    ['5 000 characters', 'x'.repeat(5_000)],
    ['5 000 pairs', '😀'.repeat(1_300)],
    ['the words of another store', "' or 1=1 --"],
    ['a number beyond bigint', '9'.repeat(40)],
    ['a date that is none', '2026-13-45'],
    ['the 30th of February', '2026-02-30'],
    ['a year that no store has', '+999999-01-01T00:00:00Z'],
    ['a name that every object has', '__proto__'],
    ['another one', 'constructor'],
    ['a method of every object', 'toString'],
  ];
  /** As a URL carries it; half a pair has no form there but its three bytes. */
  const escaped = (value: string) => (value.isWellFormed() ? encodeURIComponent(value) : '%ed%a0%80');

  it.each(hostile)('is a 4xx, or finds nothing, wherever it stands in a path or a query: %s', async (_what, value) => {
    for (const operation of operations) {
      await Promise.all(
        operation.parameters
          .filter((candidate) => candidate.in !== 'header')
          .map(async (parameter) => {
            const answer = await hub.call(
              operation.method,
              pathOf(operation, { [parameter.name]: escaped(value) }),
              operation.bodySamples[0],
            );
            expect({
              operation: operation.id,
              parameter: parameter.name,
              status: answer.status < 500 || answer.body,
            }).toEqual({ operation: operation.id, parameter: parameter.name, status: true });
            expectNoLeak(answer.text.slice(0, 2_000));
          }),
      );
    }
  });

  it.each(hostile)('is a 4xx, or is taken as text, wherever it stands in a body: %s', async (_what, value) => {
    await inEveryField((sample, name) => ({ ...sample, [name]: value }));
    await inEveryField((sample, name) => ({ ...sample, [name]: [value] }));
    await inEveryField((sample, name) => ({ ...sample, [name]: { [value]: value } }));
    await inEveryField((sample) => ({ ...sample, [value]: 1 }));
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['true', true],
    ['a negative number', -1],
    ['a fraction', 0.1],
    ['more than 32 bits', 2 ** 40],
    ['more than 53 bits', 1e300],
    ['an empty object', {}],
    ['an empty list', []],
    ['a list of lists', [[[]]]],
  ])('is a 4xx, or is taken, also where it is %s', async (_what, value) => {
    await inEveryField((sample, name) => ({ ...sample, [name]: value }));
    for (const operation of operations.filter(({ body }) => body !== undefined)) {
      const answer = await hub.call(
        operation.method,
        pathOf(operation),
        Object.fromEntries(Object.keys(operation.body?.properties ?? {}).map((name) => [name, value])),
      );
      expect({ operation: operation.id, status: answer.status < 500 || answer.body }).toEqual({
        operation: operation.id,
        status: true,
      });
    }
  });

  async function inEveryField(
    change: (sample: Record<string, unknown>, name: string) => Record<string, unknown>,
  ): Promise<void> {
    for (const operation of operations.filter(({ body }) => body !== undefined)) {
      await Promise.all(
        Object.keys(operation.body?.properties ?? {}).map(async (name) => {
          const answer = await hub.call(
            operation.method,
            pathOf(operation),
            change(operation.bodySamples[0] ?? {}, name),
          );
          expect({ operation: operation.id, name, status: answer.status < 500 || answer.body }).toEqual({
            operation: operation.id,
            name,
            status: true,
          });
          expectNoLeak(answer.text.slice(0, 2_000));
        }),
      );
    }
  }
});

const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? 'x'));

/** With the samples of the document in place. */
function pathOf({ path, parameters }: WalkedOperation, values: Readonly<Record<string, string>> = {}): string {
  const filled = path.replace(
    /\{(\w+)\}/g,
    (_all, name: string) =>
      values[name] ?? encodeURIComponent(textOf(parameters.find((parameter) => parameter.name === name)?.sample)),
  );
  const query = parameters
    .filter((parameter) => parameter.in === 'query' && values[parameter.name] !== undefined)
    .map(({ name }) => `${name}=${values[name]}`);
  return query.length === 0 ? filled : `${filled}?${query.join('&')}`;
}

describe('the API documents', () => {
  const documents = [
    '/swagger-json',
    '/swagger-yaml',
    '/swagger',
    '/swagger/swagger-ui-init.js',
    '/swagger/swagger-ui.css',
    '/swagger/swagger-ui-bundle.js',
  ];
  const get = (path: string, headers: Record<string, string> = {}, base = hub) =>
    base.call('GET', path, undefined, { token: null, timestamp: null, signature: null, headers });

  it.each(documents)('%s has an ETag from the first answer on, and the same bytes in every coding', async (path) => {
    const plain = await get(path, { 'accept-encoding': 'identity' });
    expect([plain.status, plain.headers.get('content-encoding')]).toEqual([200, null]);
    const tag = plain.headers.get('etag')!;
    expect(tag).toMatch(/^"[\w-]{27}"$/);
    expect(plain.headers.get('cache-control')).toBe('no-cache');
    for (const coding of ['gzip', 'br']) {
      const packed = await get(path, { 'accept-encoding': coding });
      expect([
        packed.headers.get('content-encoding'),
        packed.headers.get('vary'),
        packed.headers.get('content-type'),
      ]).toEqual([coding, 'Accept-Encoding', plain.headers.get('content-type')]);
      expect(Number(packed.headers.get('content-length'))).toBeLessThan(plain.text.length / 2 + 1_000);
      expect(packed.text).toBe(plain.text);
      expect(
        (await get(path, { 'accept-encoding': coding, 'if-none-match': packed.headers.get('etag')! })).status,
      ).toBe(304);
    }
    const unchanged = await get(path, { 'if-none-match': `"other", W/${tag}` });
    expect([unchanged.status, unchanged.text, unchanged.headers.get('etag')?.startsWith(tag.slice(0, -1))]).toEqual([
      304,
      '',
      true,
    ]);
    expect((await get(path, { 'if-none-match': '"other"' })).status).toBe(200);
    const head = await hub.call('HEAD', path, undefined, { token: null });
    expect([head.status, head.text]).toEqual([200, '']);
  });

  it('are made once: a hundred more cost less than the first', async () => {
    const [first] = await Promise.all([get('/swagger-yaml')]);
    const started = performance.now();
    for (let n = 0; n < 100; n += 1)
      expect((await get('/swagger-yaml', { 'accept-encoding': 'gzip' })).text.length).toBe(first.text.length);
    expect((performance.now() - started) / 100).toBeLessThan(40);
  });

  it('do not keep what nobody has: a path that names nothing is 404 each time', async () => {
    for (let n = 0; n < 50; n += 1) expectProblem(await get(`/swagger/none-${n}.js`), 'not_found');
    expect((await get('/swagger-json')).status).toBe(200);
  });

  it('can be kept for those who have a token, or switched off', async () => {
    const guarded = await TestHub.start({ database: hub.database, env: { ROLE: 'api', API_DOCS: 'token' } });
    try {
      for (const path of documents) {
        expectProblem(await get(path, {}, guarded), 'unauthorized');
        expectProblem(await guarded.call('GET', path, undefined, { token: 'of-nobody' }), 'unauthorized');
        expect((await guarded.call('GET', path)).status).toBe(200);
      }
    } finally {
      await guarded.stop();
    }
    const without = await TestHub.start({ database: hub.database, env: { ROLE: 'api', API_DOCS: 'off' } });
    try {
      for (const path of [...documents, '/swagger/']) expectProblem(await without.call('GET', path), 'not_found');
    } finally {
      await without.stop();
    }
  });
});

describe('refusals', () => {
  it('count by their size: a few large ones are as many as a hundred small ones', async () => {
    const paced = await TestHub.start({ database: hub.database, env: { ROLE: 'api', REFUSALS_PER_SECOND: '100' } });
    try {
      const took = async (count: number, field: string): Promise<number> => {
        const started = performance.now();
        await Promise.all(
          Array.from({ length: count }, async () =>
            expectProblem(await paced.debit({ [field]: 1 }), 'validation_failed'),
          ),
        );
        return performance.now() - started;
      };
      expect(await took(2, 'x'.repeat(60_000))).toBeLessThan(1_000);
      // 2 of 30 shares are above the burst of 50 by now, and six more are 180 shares: 1.8 s.
      expect(await took(6, 'x'.repeat(60_000))).toBeGreaterThan(1_500);
    } finally {
      await paced.stop();
    }
  });

  it('of one caller do not hold up the money of another', async () => {
    const paced = await TestHub.start({ database: hub.database, env: { ROLE: 'api', REFUSALS_PER_SECOND: '10' } });
    try {
      const answered: number[] = [];
      const noise = Array.from({ length: 80 }, async () => {
        expectProblem(await paced.debit({ amountCents: '1' }), 'validation_failed');
        answered.push(performance.now());
      });
      const accepted = await paced.debit();
      expect(accepted.status).toBe(200);
      const at = performance.now();
      await Promise.all(noise);
      // Fifty at once, and thirty more in three seconds: the last comes long after the debit, also on a busy machine.
      expect(answered.at(-1)! - at).toBeGreaterThan(300);
    } finally {
      await paced.stop();
    }
  });
});
