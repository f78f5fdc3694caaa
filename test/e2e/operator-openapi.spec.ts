import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import addFormats from 'ajv-formats';
import Ajv2020 from 'ajv/dist/2020';
import { startMockOperator } from '../../mocks/operator/start';
import { configureOperator, rollback, wait } from '../support/money';
import { type RecordedRequest, RecordingProxy } from '../support/partners/recording-proxy';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const ROOT = path.resolve(__dirname, '../..');
const FILE = path.join(ROOT, 'docs/operator.openapi.json');

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: boolean;
  readonly schema: object;
}
interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}
interface Operation {
  readonly operationId: string;
  readonly parameters: readonly (Parameter | { readonly $ref: string })[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content | { readonly $ref: string }>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly securitySchemes: Readonly<Record<string, { readonly name: string }>> };
}

const document = JSON.parse(readFileSync(FILE, 'utf8')) as Document;
// Words of OpenAPI stand beside the schemas; numbers come out of a query as text.
const ajv = addFormats(new Ajv2020({ strict: false, allErrors: true, coerceTypes: false })).addSchema(
  document,
  'operator',
);

function resolved<Thing extends object>(thing: Thing | { readonly $ref: string }): Thing {
  if (!('$ref' in thing)) return thing;
  return thing.$ref
    .slice(2)
    .split('/')
    .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], document) as Thing;
}

/**
 * What is wrong with a value, by a schema of the document. `closed`: a member that the schema does not name is wrong,
 * too.
 */
function faults(schema: object, value: unknown, closed = false): string[] {
  const within = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"operator#/')) as object;
  const validate = ajv.compile(closed ? { allOf: [within], unevaluatedProperties: false } : within);
  return validate(value) ? [] : [ajv.errorsText(validate.errors)];
}

function operationOf({
  method,
  path: target,
}: RecordedRequest): { operation: Operation; parts: Record<string, string> } | undefined {
  const { pathname } = new URL(target, 'http://wallet');
  for (const [template, methods] of Object.entries(document.paths)) {
    const operation = methods[method.toLowerCase()];
    const match = new RegExp(`^${template.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`).exec(pathname);
    if (operation !== undefined && match !== null) return { operation, parts: match.groups ?? {} };
  }
  return undefined;
}

function faultsOfCall(request: RecordedRequest): string[] {
  const found = operationOf(request);
  if (found === undefined) return ['is not in the document'];
  const query = Object.fromEntries(new URL(request.path, 'http://wallet').searchParams);
  const parameters = found.operation.parameters.map((parameter) => resolved<Parameter>(parameter));
  const given = (parameter: Parameter) =>
    ({
      path: found.parts[parameter.name],
      query: query[parameter.name],
      header: request.headers[parameter.name.toLowerCase()],
    })[parameter.in];
  const ofParameters = parameters.flatMap((parameter) => {
    const value = given(parameter);
    if (value === undefined) return parameter.required === true ? [`${parameter.name} is missing`] : [];
    return faults(
      parameter.schema,
      'type' in parameter.schema && parameter.schema.type === 'integer' ? Number(value) : value,
    );
  });
  const unknown = Object.keys(query).filter(
    (name) => !parameters.some((parameter) => parameter.in === 'query' && parameter.name === name),
  );
  const unsigned = Object.values(document.components.securitySchemes).filter(
    ({ name }) => request.headers[name.toLowerCase()] === undefined,
  );
  const body = found.operation.requestBody?.content?.['application/json'];
  const ofBody =
    body === undefined
      ? request.body === ''
        ? []
        : ['has a body']
      : faults(body.schema, JSON.parse(request.body), true);
  return [
    ...ofParameters,
    ...unknown.map((name) => `${name} is not in the document`),
    ...unsigned.map(({ name }) => `${name} is missing`),
    ...ofBody,
  ];
}

function faultsOfAnswer(request: RecordedRequest): string[] {
  const { operation } = operationOf(request) ?? {};
  const status = String(request.status);
  const response = operation?.responses[status] ?? operation?.responses[`${status[0]}XX`];
  if (response === undefined) return [`${status} is not in the document`];
  const schema = resolved<Content>(response).content?.['application/json']?.schema;
  return schema === undefined
    ? []
    : faults(schema, JSON.parse(request.answer), status.startsWith('2') && request.method === 'POST');
}

describe('docs/operator.openapi.json', () => {
  let hub: TestHub;
  let line: RecordingProxy;
  beforeAll(async () => {
    const operator = await startMockOperator();
    operator.settings.callbacks = false;
    line = await RecordingProxy.start(operator.url);
    hub = await TestHub.start({
      operator,
      env: { OPERATOR_BASE_URL: line.url, RESOLVE_GRACE_SECONDS: '0.1', OPERATOR_TIMEOUT_MS: '1000', MAX_RETRIES: '0' },
    });
  });
  afterAll(async () => {
    await hub.stop();
    await line.switchOff();
    await hub.operator.close();
  });

  const answered = (target: string) =>
    waitFor(`${target} is answered`, () =>
      Promise.resolve(line.requests.some((request) => request.path === target && request.endedAt !== null)),
    );

  it('is one in which a linter finds nothing', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      path.join(ROOT, 'scripts/lint-openapi.mjs'),
      FILE,
    ]).catch((error: { stdout: string }) => error);
    expect(stdout).toBe('');
  });

  it('describes every call that the hub makes at an operator, and the answers of the mock', async () => {
    await hub.debit({ playerId: 'a/ö', refId: 'bet' }, wait(5));
    await hub.credit({ playerId: 'a/ö', refId: 'win', amountCents: 0 }, wait(5));
    await hub.debit({ playerId: 'rich', refId: 'too-much', amountCents: 2 ** 53 - 1 }, wait(5));
    await hub.debit({ playerId: 'undone', refId: 'deposited' }, wait(5));
    await rollback(hub, { playerId: 'undone', refId: 'undo', originalRefId: 'deposited' }, wait(5));
    await hub.operatorFault({ kind: 'pending', next: 1 });
    await hub.debit({ playerId: 'pending', refId: 'pending' });
    await answered('/v2/players/pending/withdraw');
    // A wallet that does not recognise repeats is asked for the reference, and has a route of its own for repayments.
    await configureOperator({ idempotent_by_reference: false, rollback_route: true, amount_encoding: 'string' }, hub);
    await hub.operatorFault({ kind: 'reset', afterCommit: true, next: 1 });
    const lost = await hub.debit({ playerId: 'lost', refId: 'lost' });
    await hub.reaches(lost.body.transactionId, 'confirmed');
    await rollback(hub, { playerId: 'lost', refId: 'undo-lost', originalRefId: 'lost' });
    await answered('/v2/players/lost/rollback');
    // A window is read by pages; the fault names a next one.
    await hub.operatorFault({ kind: 'list_same_cursor', next: 1 });
    await hub.call('GET', '/reconciliation_data');
    await hub.call('GET', '/reconciliation_data?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z');

    const told = line.requests.map((request) => ({
      call: `${request.method} ${request.path}`,
      faults: faultsOfCall(request),
      answer: request.status === null ? [] : faultsOfAnswer(request),
    }));
    expect(told.filter((each) => each.faults.length > 0 || each.answer.length > 0)).toEqual([]);
    // Every operation and every parameter of the document was met: what nobody sends does not stand in it.
    expect([...new Set(line.requests.map((request) => operationOf(request)?.operation.operationId))].sort()).toEqual(
      Object.values(document.paths)
        .flatMap((methods) => Object.values(methods))
        .map(({ operationId }) => operationId)
        .sort(),
    );
    const asked = line.requests.flatMap(({ path: target }) => [
      ...new URL(target, 'http://wallet').searchParams.keys(),
    ]);
    expect([...new Set(asked)].sort()).toEqual(['cursor', 'from', 'limit', 'reference', 'to']);
  });
});
