import { execFile } from 'node:child_process';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { ERROR_CATALOGUE, type ErrorCode, HubError } from '../../src/kernel/errors';
import { type Route, callablePath, openApiPath, routesOf } from '../support/hub/routes';
import type { RequestOptions } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';

type Json = Record<string, any>;

interface Operation extends Route {
  readonly spec: Json;
}

const LINTER = path.resolve(__dirname, '../../scripts/lint-openapi.mjs');

let hub: TestHub;
let document: Json;
let operations: Operation[];
beforeAll(async () => {
  hub = await TestHub.start();
  document = (await hub.call('GET', '/swagger-json', undefined, { token: null })).body;
  operations = Object.entries(document.paths as Json).flatMap(([path, methods]) =>
    Object.entries(methods as Json).map(([method, spec]) => ({
      method: method.toUpperCase(),
      path,
      spec: spec as Json,
    })),
  );
});
afterAll(() => hub.stop());

const nameOf = ({ method, path }: Route) => `${method} ${path}`;
const documented = () => routesOf(hub.app).filter(({ path }) => !path.startsWith('/swagger'));

describe('the OpenAPI document', () => {
  it('has every route of the router, and no route that is not there', () => {
    expect(operations.map(nameOf).sort()).toEqual(
      documented()
        .map((route) => nameOf({ ...route, path: openApiPath(route.path) }))
        .sort(),
    );
    expect(operations.length).toBeGreaterThan(10);
  });

  it('is one in which a linter finds nothing', async () => {
    const file = path.join(await mkdtemp(path.join(tmpdir(), 'openapi-')), 'openapi.json');
    await writeFile(file, JSON.stringify(document));
    const { stdout } = await promisify(execFile)(process.execPath, [LINTER, file]).catch(
      (error: { stdout: string }) => error,
    );
    expect(stdout).toBe('');
  });

  it('is OpenAPI 3 whose references all lead somewhere', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({
      title: 'Integration Hub',
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      license: { name: 'Apache-2.0' },
    });
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference!);
    expect(references.length).toBeGreaterThan(0);
    for (const reference of references)
      expect({ reference, found: resolve({ $ref: reference }) !== undefined }).toEqual({ reference, found: true });
    const ids = operations.map(({ spec }) => spec.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('holds no trace of how the hub collects it', () => {
    expect(JSON.stringify(document)).not.toMatch(/x-problem-codes|JWT|\[object|undefined/);
  });

  it('has a summary and one declared tag for every operation', () => {
    const tags = (document.tags as Json[]).map(({ name, description }) => {
      expect(description).toBeTruthy();
      return name;
    });
    for (const operation of operations) {
      expect({ operation: nameOf(operation), summary: operation.spec.summary ?? '' }).toEqual({
        operation: nameOf(operation),
        summary: expect.stringMatching(/\w+/),
      });
      expect({ operation: nameOf(operation), tags: operation.spec.tags }).toEqual({
        operation: nameOf(operation),
        tags: [expect.stringMatching(new RegExp(`^(${tags.join('|')})$`))],
      });
    }
  });

  it('says of every operation who may call it, as the hub itself does', async () => {
    for (const operation of operations) {
      const open = await hub.call(operation.method, callable(operation), undefined, { token: null });
      const names = schemesOf(operation);
      expect({ operation: nameOf(operation), open: open.status !== 401 }).toEqual({
        operation: nameOf(operation),
        open: names.length === 0,
      });
      for (const name of names.filter((each) => !/Signature|timestamp/.test(each)))
        expect(document.components.securitySchemes[name]).toMatchObject({
          type: 'http',
          scheme: 'bearer',
          description: expect.stringMatching(/\w+/),
        });
    }
  });

  it("names the signature's headers exactly where the hub asks for them", async () => {
    for (const operation of operations) {
      const answer = await hub.call(
        operation.method,
        callable(operation),
        operation.method === 'GET' ? undefined : '{}',
        { timestamp: null, signature: null },
      );
      const headers = schemesOf(operation).map((name) => document.components.securitySchemes[name].name);
      expect({
        operation: nameOf(operation),
        signed: headers.includes('X-Signature') && headers.includes('X-Timestamp'),
      }).toEqual({ operation: nameOf(operation), signed: answer.body?.code === 'invalid_signature' });
    }
  });

  it('describes every parameter, and every part of a path is one', () => {
    for (const operation of operations) {
      const parameters = parametersOf(operation);
      expect(
        parameters
          .filter((parameter) => parameter.in === 'path')
          .map(({ name }) => `{${name}}`)
          .sort(),
      ).toEqual((operation.path.match(/\{\w+\}/g) ?? []).sort());
      for (const parameter of parameters) {
        const where = `${nameOf(operation)} ${parameter.name}`;
        expect({
          where,
          described: Boolean(parameter.description),
          typed: Boolean(resolve(parameter.schema).type),
        }).toEqual({ where, described: true, typed: true });
      }
    }
  });

  it('has for every answer a description, a schema, an example and the headers that all answers have', () => {
    for (const operation of operations) {
      for (const [status, answer] of Object.entries(operation.spec.responses as Json)) {
        const where = `${nameOf(operation)} ${status}`;
        expect({ where, description: answer.description }).toEqual({
          where,
          description: expect.stringMatching(/\w+/),
        });
        expect({ where, headers: Object.keys(answer.headers ?? {}) }).toEqual({
          where,
          headers: expect.arrayContaining(['X-Request-Id']),
        });
        for (const header of Object.values(answer.headers as Json))
          expect({ where, description: resolve(header).description }).toEqual({
            where,
            description: expect.stringMatching(/\w+/),
          });
        const media = Object.values((answer.content ?? {}) as Json);
        expect({ where, media: media.length }).toEqual({ where, media: 1 });
        const missing =
          media[0].examples === undefined && media[0].example === undefined
            ? withoutExample(media[0].schema, 'body')
            : [];
        expect({ where, missing }).toEqual({ where, missing: [] });
      }
    }
  });

  it('lists under every error status the codes with whole problem documents, word for word those of the catalogue', () => {
    const listed = new Set<string>();
    for (const operation of operations) {
      for (const [status, answer] of Object.entries(operation.spec.responses as Json)) {
        const media = answer.content['application/problem+json'];
        if (media === undefined) continue;
        expect(media.schema).toEqual({ $ref: '#/components/schemas/Problem' });
        for (const [code, { value }] of Object.entries(media.examples as Json)) {
          listed.add(code);
          expect(ERROR_CATALOGUE[code as ErrorCode].status).toBe(Number(status));
          expect(value).toMatchObject({ ...new HubError(code as ErrorCode).toProblem() });
          expect(faultsAgainst(media.schema, value, code)).toEqual([]);
        }
      }
    }
    // A code that no route lists is either not documented or not used.
    // Of a method that no operation has no operation can tell.
    expect([...listed].sort()).toEqual(
      Object.keys(ERROR_CATALOGUE)
        .filter((code) => code !== 'method_not_allowed')
        .sort(),
    );
  });

  it('lists every refusal that a careless or hostile request really gets', async () => {
    const squeezed = gzipSync('{}');
    const attempts: [unknown, RequestOptions][] = [
      [undefined, { token: null }],
      [undefined, { token: 'unknown' }],
      ['{}', { signature: '0'.repeat(64) }],
      ['{}', { timestamp: '1' }],
      ['{}', {}],
      ['{', {}],
      ['[]', {}],
      ['{}', { contentType: 'text/plain' }],
      [squeezed, { headers: { 'content-encoding': 'gzip' } }],
      ['x'.repeat(70_000), {}],
      ['{}', { headers: { 'x-long': 'x'.repeat(17_000) } }],
    ];
    const seen = new Set<string>();
    for (const operation of operations) {
      for (const [body, options] of attempts) {
        // fetch sends no body with GET.
        const answer = await hub.call(
          operation.method,
          callable(operation),
          operation.method === 'GET' ? undefined : (body ?? '{}'),
          options,
        );
        if (answer.status < 400) continue;
        const { code } = answer.body;
        seen.add(code);
        expect({
          operation: nameOf(operation),
          code,
          listed: problemCodes(operation, answer.status).includes(code),
        }).toEqual({ operation: nameOf(operation), code, listed: true });
      }
      const broken = await hub.call(
        operation.method,
        operation.path.includes('{') ? operation.path.replace(/\{\w+\}/g, '%zz') : operation.path,
        operation.method === 'GET' ? undefined : '',
      );
      if (broken.status >= 400) expect(problemCodes(operation, broken.status)).toContain(broken.body.code);
    }
    expect([...seen].sort()).toEqual(
      expect.arrayContaining([
        'headers_too_large',
        'invalid_signature',
        'malformed_request',
        'outbox_record_not_found',
        'payload_too_large',
        'timestamp_skew',
        'unauthorized',
        'unsupported_media_type',
        'validation_failed',
      ]),
    );
  });
});

describe('what the document promises', () => {
  it('every example of a request body is taken by the hub, and fits its own schema', async () => {
    let tried = 0;
    for (const operation of operations) {
      const media = operation.spec.requestBody?.content['application/json'];
      if (media === undefined) continue;
      const examples = Object.values((media.examples ?? {}) as Json).map(({ value }) => value);
      for (const body of [...examples, exampleFrom(media.schema)]) {
        tried += 1;
        expect({ operation: nameOf(operation), faults: faultsAgainst(media.schema, body, 'body') }).toEqual({
          operation: nameOf(operation),
          faults: [],
        });
        const answer = await hub.call(operation.method, operation.path.replace('{name}', 'example'), body);
        // What an example names need not exist; a body that is not understood would be 400 or 422.
        expect({
          operation: nameOf(operation),
          understood: [200, 202, 404].includes(answer.status) || answer.body,
        }).toEqual({ operation: nameOf(operation), understood: true });
      }
    }
    expect(tried).toBeGreaterThanOrEqual(5);
  });

  it('every answer fits its schema, to the last field', async () => {
    const { body: movement } = await hub.debit({ playerId: 'reader', refId: 'read-1', roundId: 'r', meta: { a: 1 } });
    await hub.reaches(movement.transactionId, 'confirmed');
    await hub.drained();
    const [record] = await hub.outbox({ queue: 'rgs' });
    const [known] = await hub.operatorBooks();
    const callback = {
      playerId: known.playerId,
      amount: known.amount,
      currency: known.currency,
      status: 'OK',
      event: 'withdraw',
      refId: known.reference,
      correlationId: known.correlationId,
    };
    const calls: [string, string, string, unknown?][] = [
      ['GET', '/health', '/health'],
      ['GET', '/health/live', '/health/live'],
      ['GET', '/health/ready', '/health/ready'],
      [
        'POST',
        '/wallet/debit',
        '/wallet/debit',
        { playerId: 'reader', amountCents: 5, currency: 'USD', refId: 'read-2' },
      ],
      [
        'POST',
        '/wallet/credit',
        '/wallet/credit',
        { playerId: 'reader', amountCents: 0, currency: 'USD', refId: 'read-3' },
      ],
      ['GET', '/wallet/transactions/{transactionId}', `/wallet/transactions/${movement.transactionId}`],
      ['GET', '/wallet/transactions', '/wallet/transactions?playerId=reader'],
      ['POST', '/webhooks/incoming', '/webhooks/incoming', callback],
      ['GET', '/webhooks/outbox', '/webhooks/outbox'],
      ['POST', '/admin/replay/{queue}/{recordId}', `/admin/replay/rgs/${record?.id}`],
      ['POST', '/admin/destinations/{code}/resume', '/admin/destinations/rgs/resume'],
      ['POST', '/admin/clear-db', '/admin/clear-db'],
    ];
    for (const [method, path, called, body] of calls) {
      const answer = await hub.call(method, called, body);
      const media = document.paths[path][method.toLowerCase()].responses[answer.status]?.content['application/json'];
      expect({
        path,
        status: answer.status,
        faults: media && faultsAgainst(media.schema, answer.body, 'body'),
      }).toEqual({ path, status: 200, faults: [] });
    }
  });

  it('headers that an answer may carry are the documented ones', async () => {
    const headersOf = (method: string, path: string) =>
      Object.keys(document.paths[path][method].responses[200].headers);
    expect(headersOf('post', '/wallet/debit')).toContain('Idempotent-Replayed');
    expect(headersOf('get', '/webhooks/outbox')).toContain('Link');
    const file = await hub.call('GET', '/reconciliation_data');
    for (const name of headersOf('get', '/reconciliation_data'))
      expect({ name, sent: file.headers.has(name) }).toEqual({ name, sent: true });
    expect(file.headers.get('content-type')).toMatch(/^text\/csv/);
  });
});

describe('the webhook of the document', () => {
  it('is the one that is really sent, to the last field and header', async () => {
    await hub.clear();
    await hub.debit({ playerId: 'told', refId: 'ok', roundId: 'r' });
    await hub.debit({ playerId: 'told', refId: 'poor', amountCents: 200_000_000 });
    await hub.debit({ playerId: 'told', refId: 'free', kind: 'free', amountCents: 0 });
    await hub.drained();
    const calls = (await hub.rgsCalls()) as { body: string; headers: Json }[];
    const operation = document.webhooks.outcome.post as Json;
    const schema = operation.requestBody.content['application/json'].schema as Json;
    expect(calls).toHaveLength(3);
    for (const { body } of calls) expect(faultsAgainst(schema, JSON.parse(body), 'body')).toEqual([]);
    const described = (operation.parameters as Json[]).map(({ name }) => String(name).toLowerCase());
    expect(described).toEqual(
      expect.arrayContaining(Object.keys(calls[0]!.headers).filter((name) => name !== 'content-type')),
    );
    expect(Object.keys(resolve(schema).properties as Json).sort()).toEqual(
      Object.keys(JSON.parse(calls[0]!.body) as Json).sort(),
    );
  });
});

it('GET /swagger is a page that reads this document', async () => {
  const page = await hub.call('GET', '/swagger', undefined, { token: null });
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
  expect(page.text).toContain('<title>Integration Hub</title>');
  for (const [, file] of page.text.matchAll(/(?:src|href)="(\.\/swagger\/[^"]+)"/g))
    expect({ file, status: (await hub.call('GET', new URL(file!, 'http://x/').pathname)).status }).toEqual({
      file,
      status: 200,
    });
  const script = await hub.call('GET', '/swagger/swagger-ui-init.js', undefined, { token: null });
  expect(script.text).toContain('/wallet/debit');
});

/** The credentials that an operation asks for. */
function schemesOf({ spec }: Operation): string[] {
  return (spec.security as Json[]).flatMap((requirement) => Object.keys(requirement));
}

function resolve(node: Json): Json {
  if (typeof node?.$ref !== 'string') return node;
  return node.$ref
    .slice(2)
    .split('/')
    .reduce((at: Json, key: string) => at?.[key], document);
}

function parametersOf({ spec }: Operation): Json[] {
  return (spec.parameters ?? []).map(resolve);
}

function problemCodes({ spec }: Operation, status: number): string[] {
  return Object.keys(spec.responses[status]?.content?.['application/problem+json']?.examples ?? {});
}

function callable(operation: Route): string {
  return callablePath({ ...operation, path: operation.path.replace(/\{(\w+)\}/g, ':$1') });
}

/** Paths of the fields for which a reader sees no example. */
function withoutExample(schemaOrReference: Json, where: string): string[] {
  const schema = resolve(schemaOrReference);
  if (schema.example !== undefined || schema.default !== undefined) return [];
  if ([schema.type].flat().includes('array')) return withoutExample(schema.items, `${where}[]`);
  if (schema.properties === undefined) return [where];
  return Object.entries(schema.properties as Json).flatMap(([name, property]) =>
    withoutExample(property, `${where}.${name}`),
  );
}

/** The example that Swagger UI would build for a schema, required fields only. */
function exampleFrom(schemaOrReference: Json): unknown {
  const schema = resolve(schemaOrReference);
  if (schema.example !== undefined) return schema.example;
  return Object.fromEntries(
    ((schema.required ?? []) as string[]).map((name) => [
      name,
      schema.properties[name].example ?? schema.properties[name].enum?.[0],
    ]),
  );
}

/**
 * A small validator: types, required and unknown fields, enums, null. Unknown fields count, since a document that
 * leaves one out is not complete.
 */
function faultsAgainst(schemaOrReference: Json, value: any, where: string): string[] {
  const schema = resolve(schemaOrReference);
  const types: string[] = [schema.type ?? []].flat();
  if (value === null)
    return types.includes('null') || schema.oneOf?.some((option: Json) => option.type === 'null')
      ? []
      : [`${where} is null`];
  if (schema.oneOf !== undefined)
    return (schema.oneOf as Json[]).some((option) => faultsAgainst(option, value, where).length === 0)
      ? []
      : [`${where} fits none`];
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${where} is ${JSON.stringify(value)}`];
  switch (types.find((type) => type !== 'null')) {
    case 'string':
      return typeof value === 'string' ? [] : [`${where} is no string`];
    case 'boolean':
      return typeof value === 'boolean' ? [] : [`${where} is no boolean`];
    case 'integer':
      return Number.isSafeInteger(value) ? [] : [`${where} is no integer`];
    case 'number':
      return typeof value === 'number' ? [] : [`${where} is no number`];
    case 'array':
      return Array.isArray(value)
        ? value.flatMap((item, n) => faultsAgainst(schema.items, item, `${where}[${n}]`))
        : [`${where} is no list`];
    case 'object':
      if (typeof value !== 'object') return [`${where} is no object`];
      if (schema.properties === undefined) return [];
      return [
        ...((schema.required ?? []) as string[])
          .filter((name) => !(name in value))
          .map((name) => `${where}.${name} is missing`),
        ...Object.entries(value as Json).flatMap(([name, field]) =>
          name in schema.properties
            ? faultsAgainst(schema.properties[name], field, `${where}.${name}`)
            : [`${where}.${name} is not documented`],
        ),
      ];
    default:
      return [`${where} has the unknown type ${String(schema.type)}`];
  }
}
