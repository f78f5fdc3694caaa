import { type INestApplication, applyDecorators } from '@nestjs/common';
import { ApiExtension, ApiResponse, DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { ERROR_CATALOGUE, type ErrorCode, HubError } from '../kernel/errors';

const PROBLEM_CODES = 'x-problem-codes';

/** Documents the problems a route may answer; texts, statuses and examples come from the error catalogue. */
export function ApiProblems(...codes: ErrorCode[]): MethodDecorator & ClassDecorator {
  return applyDecorators(...codes.map((code) => ApiExtension(`${PROBLEM_CODES}-${code}`, true)), ...codes.map((code) => ApiResponse({ status: ERROR_CATALOGUE[code].status })));
}

const HTTP_METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;
/** What any route may answer, whatever it does. */
const EVERYWHERE: ErrorCode[] = ['internal_error', 'store_unavailable'];

/** The OpenAPI document of the running hub. */
export function openApiDocument(app: INestApplication, version: string): OpenAPIObject {
  const builder = new DocumentBuilder()
    .setTitle('Integration Hub')
    .setDescription(
      'Moves money between an operator\'s wallet and a remote game server: signed debits and credits in, ordered delivery out, signed webhooks back, ' +
        'and a reconciliation of all three sides. Amounts are integers in minor units of the currency. Errors are RFC 9457 problem documents.',
    )
    .setVersion(version)
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0');
  for (const [name, description] of [
    ['rgs', 'Token of a game server (RGS_TOKEN)'],
    ['operator', 'Token of an operator (OPERATOR_TOKEN)'],
    ['ops', 'Token of operations (OPS_TOKEN)'],
    ['finance', 'Token of finance (FINANCE_TOKEN)'],
  ] as const)
    builder.addBearerAuth({ type: 'http', scheme: 'bearer', description }, name);
  const document = SwaggerModule.createDocument(app, builder.build(), { operationIdFactory: (_controller, method) => method });
  document.components = { ...document.components, schemas: { ...document.components?.schemas, Problem: PROBLEM_SCHEMA } };
  for (const path of Object.values(document.paths)) for (const method of HTTP_METHODS) if (path[method] !== undefined) describeProblems(path[method] as unknown as Operation);
  return document;
}

interface Operation extends Record<string, unknown> {
  responses: Record<string, unknown>;
}

/** Several codes may share a status; the document lists each as a named example of that status. */
function describeProblems(operation: Operation): void {
  const codes = [...EVERYWHERE];
  for (const key of Object.keys(operation)) {
    if (!key.startsWith(`${PROBLEM_CODES}-`)) continue;
    codes.push(key.slice(PROBLEM_CODES.length + 1) as ErrorCode);
    delete operation[key];
  }
  for (const status of new Set(codes.map((code) => ERROR_CATALOGUE[code].status))) {
    const group = [...new Set(codes)].filter((code) => ERROR_CATALOGUE[code].status === status);
    operation.responses[status] = {
      description: group.map((code) => `\`${code}\`: ${ERROR_CATALOGUE[code].meaning}`).join('\n\n'),
      ...(status === 503 ? { headers: { 'Retry-After': { description: 'Seconds to wait', schema: { type: 'integer' } } } } : {}),
      content: {
        'application/problem+json': {
          schema: { $ref: '#/components/schemas/Problem' },
          examples: Object.fromEntries(group.map((code) => [code, { value: new HubError(code).toProblem() }])),
        },
      },
    };
  }
}

const PROBLEM_SCHEMA = {
  type: 'object',
  description: 'RFC 9457 problem document',
  required: ['type', 'title', 'status', 'detail', 'code', 'retryable', 'outcome'],
  properties: {
    type: { type: 'string', example: 'urn:integration-hub:problem:invalid_signature' },
    title: { type: 'string' },
    status: { type: 'integer', example: 401 },
    detail: { type: 'string' },
    code: { type: 'string', enum: Object.keys(ERROR_CATALOGUE), description: 'Stable; compare this, not the texts' },
    retryable: { type: 'boolean', description: 'Whether the same request may succeed later' },
    outcome: { type: 'string', enum: ['applied', 'not_applied', 'unknown'], description: 'What became of the movement that was asked for' },
    correlationId: { type: 'string', format: 'uuid' },
    errors: { type: 'array', items: { type: 'object', required: ['field', 'message'], properties: { field: { type: 'string' }, message: { type: 'string' } } } },
  },
};
