import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { TestHub } from '../support/hub/test-hub';

const ROOT = path.resolve(__dirname, '../..');
const MODULES = path.join(ROOT, 'node_modules');
const run = promisify(execFile);

type Json = Record<string, any>;

/**
 * Makes a client from the document, and the module that sends with it. `send` is what a developer writes: one call for
 * each operation, typed.
 */
const GENERATORS = [
  {
    name: 'openapi-typescript',
    make: ['openapi-typescript/bin/cli.js', 'openapi.json', '-o', 'generated/schema.d.ts'],
    prelude: `import createClient from 'openapi-fetch';
import type { paths, components } from './generated/schema';
type DebitRequest = components['schemas']['DebitRequest']; type CreditRequest = components['schemas']['CreditRequest']; type RollbackRequest = components['schemas']['RollbackRequest'];
const client = createClient<paths>({ baseUrl: HUB, fetch: (request) => signed(request) });
const debit = async (body: DebitRequest) => (await client.POST('/wallet/debit', { body })).response.status;
const credit = async (body: CreditRequest) => (await client.POST('/wallet/credit', { body })).response.status;
const rollback = async (body: RollbackRequest) => (await client.POST('/wallet/rollback', { body })).response.status;
const look = async (refId: string) => { const { data } = await client.GET('/wallet/transactions', { params: { query: { refId } } }); const amount: number | undefined = data?.items[0]?.amountCents; return amount; };`,
  },
  {
    name: '@hey-api/openapi-ts',
    make: ['@hey-api/openapi-ts/bin/run.js', '-i', 'openapi.json', '-o', 'generated', '--no-log-file'],
    prelude: `import { client } from './generated/client.gen';
import * as sdk from './generated/sdk.gen';
import type { DebitRequest, CreditRequest, RollbackRequest } from './generated/types.gen';
client.setConfig({ baseUrl: HUB, fetch: (...given: Parameters<typeof fetch>) => signed(new Request(...given)) });
const debit = async (body: DebitRequest) => (await sdk.debit({ body })).response?.status;
const credit = async (body: CreditRequest) => (await sdk.credit({ body })).response?.status;
const rollback = async (body: RollbackRequest) => (await sdk.rollback({ body })).response?.status;
const look = async (refId: string) => { const { data } = await sdk.listTransactions({ query: { refId } }); const amount: number | bigint | undefined = data?.items[0]?.amountCents; return Number(amount); };`,
  },
  {
    name: 'swagger-typescript-api',
    make: ['swagger-typescript-api/dist/cli.mjs', 'generate', '-p', 'openapi.json', '-o', 'generated', '-n', 'api.ts'],
    prelude: `import { Api, type DebitRequest, type CreditRequest, type RollbackRequest } from './generated/api';
const api = new Api({ baseUrl: HUB, customFetch: (...given: Parameters<typeof fetch>) => signed(new Request(...given)) });
const debit = async (body: DebitRequest) => (await api.wallet.debit(body)).status;
const credit = async (body: CreditRequest) => (await api.wallet.credit(body)).status;
const rollback = async (body: RollbackRequest) => (await api.wallet.rollback(body)).status;
const look = async (refId: string) => { const { data } = await api.wallet.listTransactions({ refId }); const amount: number | undefined = data.items[0]?.amountCents; return amount; };`,
  },
];

/** One place that signs, which is what signatures as security schemes are for. */
const SIGNING = `import { createHmac } from 'node:crypto';
const HUB = process.env.HUB ?? '';
async function signed(request: Request): Promise<Response> {
  const body = await request.clone().text();
  const timestamp = Math.floor(Date.now() / 1000).toString();
  request.headers.set('Authorization', 'Bearer change_token');
  request.headers.set('X-Timestamp', timestamp);
  request.headers.set('X-Signature', createHmac('sha256', 'change_secret').update(timestamp + ':' + body).digest('hex'));
  return fetch(request);
}
`;

const COMPILER = {
  strict: true,
  target: 'es2023',
  lib: ['es2023', 'dom', 'dom.iterable'],
  module: 'nodenext',
  types: ['node'],
  skipLibCheck: true,
  outDir: 'out',
  rootDir: '.',
};

describe('a client that is generated from the document', () => {
  let hub: TestHub;
  let document: string;
  let bodies: { debit: Json[]; credit: Json[]; rollback: Json[] };
  beforeAll(async () => {
    hub = await TestHub.start();
    document = (await hub.call('GET', '/swagger-json')).text;
    const { paths, components } = JSON.parse(document) as Json;
    const examples = (route: string): Json[] =>
      Object.values((paths[route].post.requestBody.content['application/json'].examples ?? {}) as Json).map(
        ({ value }) => value as Json,
      );
    const required = (schema: Json): Json =>
      Object.fromEntries((schema.required as string[]).map((name) => [name, schema.properties[name].example]));
    const texts = [
      await readFile(path.join(ROOT, 'README.md'), 'utf8'),
      await readFile(path.join(ROOT, 'docs/integration.md'), 'utf8'),
    ];
    // What the pages send with curl; the shell puts a time into some ids.
    const pasted = texts.flatMap((text) =>
      [...text.matchAll(/^B='(\{.*\})'$/gm)].map(
        ([, body]) => JSON.parse((body ?? '').replaceAll("'$T'", '1')) as Json,
      ),
    );
    expect(pasted.length).toBeGreaterThanOrEqual(2);
    const everything = {
      playerId: 'p',
      amountCents: 1,
      currency: 'USD',
      refId: 'nothing',
      roundId: null,
      roundClosed: null,
      gameId: null,
      sessionId: null,
      meta: null,
    };
    bodies = {
      debit: [
        ...examples('/wallet/debit'),
        ...pasted,
        everything,
        { ...everything, refId: 'free', kind: 'free', amountCents: 0 },
      ],
      credit: [...examples('/wallet/credit'), everything],
      rollback: [required(components.schemas.RollbackRequest as Json)],
    };
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  it.each(GENERATORS)(
    'by $name compiles, and sends every example of the docs',
    async ({ make: [bin = '', ...args], prelude }) => {
      const folder = await mkdtemp(path.join(tmpdir(), 'client-'));
      await symlink(MODULES, path.join(folder, 'node_modules'));
      try {
        const calls = Object.entries(bodies).flatMap(([movement, all]) =>
          all.map(
            (body, n) =>
              `  answers.push(await ${movement}(${JSON.stringify({ ...body, refId: `${movement}-${n}` })}));`,
          ),
        );
        const program = `${SIGNING}${prelude}\nasync function main() {\n  const answers: (number | undefined)[] = [];\n${calls.join('\n')}\n  console.log(JSON.stringify({ answers, amount: await look('debit-0') }));\n}\nvoid main();\n`;
        await writeFile(path.join(folder, 'openapi.json'), document);
        await writeFile(path.join(folder, 'package.json'), '{"type":"commonjs"}');
        await writeFile(path.join(folder, 'main.ts'), program);
        await writeFile(
          path.join(folder, 'tsconfig.json'),
          JSON.stringify({ compilerOptions: COMPILER, files: ['main.ts'] }),
        );
        await run(process.execPath, [path.join(MODULES, bin), ...args], { cwd: folder });
        const { stdout: faults } = await run(process.execPath, [
          path.join(MODULES, 'typescript/bin/tsc'),
          '-p',
          folder,
        ]).catch((error: { stdout: string }) => error);
        expect(faults).toBe('');
        const { stdout } = await run(process.execPath, ['out/main.js'], {
          cwd: folder,
          env: { ...process.env, HUB: hub.url },
        });
        const { answers, amount } = JSON.parse(stdout) as { answers: number[]; amount: number };
        expect(answers).toEqual(calls.map(() => 200));
        expect(amount).toBe(500);
      } finally {
        await rm(folder, { recursive: true });
      }
    },
    180_000,
  );
});
