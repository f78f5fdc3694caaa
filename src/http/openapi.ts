import { type INestApplication, type Type, applyDecorators } from '@nestjs/common';
import { ApiExtension, ApiResponse, DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { toOpenApi31 } from './openapi-31';
import { rememberResponse, signRequest } from './swagger-signing';
import { ERROR_CATALOGUE, type ErrorCode, type FieldViolation, HubError } from '../kernel/errors';

const PROBLEM_CODES = 'x-problem-codes';

/**
 * The OpenAPI document's words about a route, under one name: they are in a file beside the controller. In the order in
 * which they would be above the route, since the document lists some of them in it.
 */
export function described(...decorators: Parameters<typeof applyDecorators>): ReturnType<typeof applyDecorators> {
  return applyDecorators(...decorators.toReversed());
}

/** Documents the problems a route may answer; texts, statuses and examples come from the error catalogue. */
export function ApiProblems(...codes: ErrorCode[]): MethodDecorator & ClassDecorator {
  return applyDecorators(
    ...codes.map((code) => ApiExtension(`${PROBLEM_CODES}-${code}`, true)),
    ...codes.map((code) => ApiResponse({ status: ERROR_CATALOGUE[code].status })),
  );
}

const HTTP_METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;
/** What any route may answer, whatever it does. */
const EVERYWHERE: readonly ErrorCode[] = ['malformed_request', 'headers_too_large', 'internal_error'];
/** Bodies are measured before a route is chosen, so also where a route takes none. */
const WITH_BODY: readonly ErrorCode[] = ['payload_too_large', 'unsupported_media_type'];

/** Some problems say nothing without the fault that they are about. */
const EXAMPLE_VIOLATIONS: Partial<Record<ErrorCode, readonly FieldViolation[]>> = {
  validation_failed: [{ field: 'currency', message: 'currency must be a string' }],
  unsupported_currency: [
    { field: 'currency', message: '"TRY" is not one of the currencies of your game server, EUR, USD' },
  ],
  unknown_status_word: [
    {
      field: 'status',
      message: 'status must be one of OK, SUCCESS, PENDING, ACCEPTED, REJECTED, DECLINED, FAILED, ERROR',
    },
  ],
  callback_mismatch: [{ field: 'amount', message: 'amount is not what the hub sent' }],
};

/** A call that the hub makes at a partner. */
export interface WebhookDocument {
  readonly name: string;
  /** The class that describes its body. */
  readonly body: Type;
  readonly tag: string;
  readonly summary: string;
  readonly description: string;
  readonly headers: readonly { readonly name: string; readonly description: string; readonly example: string }[];
  /** By status, what the hub makes of the response. */
  readonly answers: Readonly<Record<string, string>>;
}

type OperationObject = NonNullable<OpenAPIObject['paths'][string]['post']>;

function webhookOperation({
  name,
  body,
  tag,
  summary,
  description,
  headers,
  answers,
}: WebhookDocument): OperationObject {
  return {
    operationId: `${name}Webhook`,
    tags: [tag],
    summary,
    description,
    security: [],
    parameters: headers.map((header) => ({
      ...header,
      in: 'header' as const,
      required: true,
      schema: { type: 'string' },
    })),
    requestBody: {
      required: true,
      content: { 'application/json': { schema: { $ref: `#/components/schemas/${body.name}` } } },
    },
    responses: Object.fromEntries(
      Object.entries(answers).map(([status, meaning]) => [status, { description: meaning }]),
    ),
  };
}

/** The OpenAPI document of the running hub. */
export function openApiDocument(
  app: INestApplication,
  version: string,
  webhooks: readonly WebhookDocument[],
): OpenAPIObject {
  const builder = new DocumentBuilder()
    .setTitle('Integration Hub')
    .setDescription(
      "Moves money between an operator's wallet and a remote game server: signed debits and credits in, ordered delivery out, signed webhooks back, " +
        'and a reconciliation of all three sides. Amounts are integers in minor units of the currency. Errors are RFC 9457 problem documents.',
    )
    .setVersion(version)
    .setOpenAPIVersion('3.1.0')
    .addServer('/', 'The hub that gave this document')
    .setLicense('Apache-2.0', 'https://www.apache.org/licenses/LICENSE-2.0')
    .addTag('wallet', 'For game servers: movements and what became of them. Every request is signed.')
    .addTag('webhooks', 'For operators: outcomes of movements. Every request is signed.')
    .addTag('rgs webhooks', 'What the hub calls at a game server. Every request is signed.')
    .addTag('ops', 'For operations: the outbox, replays, metrics.')
    .addTag('finance', 'For finance: reconciliation.')
    .addTag('health', 'For orchestrators and balancers; no token.');
  for (const [name, description] of Object.entries(TOKENS))
    // Nest would add that the tokens are JWTs, which they are not.
    builder.addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'opaque', description }, name);
  for (const [name, { header, description }] of Object.entries(SIGNATURES))
    builder.addApiKey({ type: 'apiKey', in: 'header', name: header, description }, name);
  const document = SwaggerModule.createDocument(app, builder.build(), {
    operationIdFactory: (_controller, method) => method,
    autoTagControllers: false,
    extraModels: webhooks.map(({ body }) => body),
  });
  document.components = {
    ...document.components,
    schemas: { ...document.components?.schemas, Problem: PROBLEM_SCHEMA },
    headers: { RequestId: REQUEST_ID_HEADER },
    parameters: { RequestId: REQUEST_ID_PARAMETER },
  };
  for (const path of Object.values(document.paths)) {
    for (const method of HTTP_METHODS) {
      const operation = path[method] as Operation | undefined;
      if (operation === undefined) continue;
      describeProblems(operation, method);
      describeRequestId(operation);
      // Explicitly none; omitted, it would look forgotten.
      operation.security ??= [];
    }
  }
  document.webhooks = Object.fromEntries(
    webhooks.map((webhook) => [webhook.name, { post: webhookOperation(webhook) }]),
  );
  toOpenApi31(document);
  return document;
}

const TOKENS = {
  rgs: 'Token of a game server (RGS_TOKEN; `change_token` after `npm start`)',
  operator: 'Token of an operator (OPERATOR_TOKEN; `change_token` after `npm start`)',
  ops: 'Token of operations (OPS_TOKEN; `change_token` after `npm start`)',
  finance: 'Token of finance (FINANCE_TOKEN; `change_token` after `npm start`)',
};

/** In a client the value is the signature; in Swagger UI it is the key, see swagger-signing.ts. */
const signature = (whose: string, variable: string): { header: string; description: string } => ({
  header: 'X-Signature',
  description: `Lower-case hex of HMAC_SHA256(key, X-Timestamp + ":" + raw body bytes), with the key of ${whose} (${variable}). **On this page type the key itself** (\`change_secret\` after \`npm start\`): each request is signed when it is sent, and the key stays in the memory of the page.`,
});

const boundSignature = (whose: string, variable: string): { header: string; description: string } => ({
  header: 'X-Signature-V2',
  description: `Recommended, in place of X-Signature or beside it: \`t=<unix seconds>,kid=<name of the key>,v2=<hex>\`, bound to method, host, path and Idempotency-Key too, with the key of ${whose} (${variable}). **On this page type the key itself**, or \`kid=<name>;<key>\` for one that is not named \`env\`.`,
});

const SIGNATURES = {
  rgsSignature: signature('the game server', 'HMAC_SECRET'),
  operatorSignature: signature('the operator', 'OPERATOR_HMAC_SECRET'),
  rgsSignatureV2: boundSignature('the game server', 'HMAC_SECRET'),
  operatorSignatureV2: boundSignature('the operator', 'OPERATOR_HMAC_SECRET'),
  timestamp: {
    header: 'X-Timestamp',
    description: 'Unix seconds at which the request was signed. Leave it empty on this page, which fills it in.',
  },
};

/**
 * How the page of Swagger UI differs from the usual one: it signs, and it keeps what was typed for as long as it is
 * open. Without colours, since those of all the examples take seconds.
 */
export const SWAGGER_UI_OPTIONS = {
  requestInterceptor: signRequest,
  responseInterceptor: rememberResponse,
  persistAuthorization: false,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
  syntaxHighlight: false,
};

interface OperationResponse {
  description?: string;
  headers?: Record<string, unknown>;
  content?: unknown;
}

interface Operation {
  [extension: string]: unknown;
  parameters?: unknown[];
  security?: unknown[];
  responses: Record<string, OperationResponse>;
}

const REQUEST_ID_PARAMETER = {
  name: 'X-Request-Id',
  in: 'header',
  required: false,
  description:
    'The caller\'s own id for this request; it is in the hub\'s log. Anything but 1 to 128 letters, digits, "_", ".", ":" and "-" is replaced.',
  schema: { type: 'string' as const, maxLength: 128 },
} as const;

const REQUEST_ID_HEADER = {
  description: "Id of this request in the hub's log",
  schema: { type: 'string' as const, example: '5b0a7cc2-9d55-4f6f-8b0f-7a110f6f3b0f' },
};

function describeRequestId(operation: Operation): void {
  operation.parameters = [...(operation.parameters ?? []), { $ref: '#/components/parameters/RequestId' }];
  for (const answer of Object.values(operation.responses))
    answer.headers = { ...answer.headers, 'X-Request-Id': { $ref: '#/components/headers/RequestId' } };
}

/** Several codes may share a status; the document lists each as a named example of that status. */
function describeProblems(operation: Operation, method: (typeof HTTP_METHODS)[number]): void {
  const codes = [
    ...EVERYWHERE,
    ...(method === 'get' ? [] : WITH_BODY),
    ...((operation.security ?? []).length > 0 ? ['store_unavailable' as const] : []),
  ];
  for (const key of Object.keys(operation)) {
    if (!key.startsWith(`${PROBLEM_CODES}-`)) continue;
    codes.push(key.slice(PROBLEM_CODES.length + 1) as ErrorCode);
    delete operation[key];
  }
  for (const status of new Set(codes.map((code) => ERROR_CATALOGUE[code].status))) {
    const group = [...new Set(codes)].filter((code) => ERROR_CATALOGUE[code].status === status);
    operation.responses[status] = {
      description: group.map((code) => `\`${code}\`: ${ERROR_CATALOGUE[code].meaning}`).join('\n\n'),
      ...(status in HEADERS_OF_STATUS ? { headers: { ...HEADERS_OF_STATUS[status] } } : {}),
      content: {
        'application/problem+json': {
          schema: { $ref: '#/components/schemas/Problem' },
          examples: Object.fromEntries(group.map((code) => [code, { value: exampleOf(code, method) }])),
        },
      },
    };
  }
}

const HEADERS_OF_STATUS: Readonly<Record<number, Record<string, unknown>>> = {
  401: {
    'WWW-Authenticate': {
      description: 'The scheme of the token',
      schema: { type: 'string', example: 'Bearer realm="integration-hub"' },
    },
  },
  503: { 'Retry-After': { description: 'Seconds to wait', schema: { type: 'integer', example: 1 } } },
};

function exampleOf(code: ErrorCode, method: string): unknown {
  // A route that only reads has no body that could be wrong.
  const errors =
    code === 'validation_failed' && method === 'get'
      ? [{ field: 'limit', message: 'limit must be an integer number' }]
      : EXAMPLE_VIOLATIONS[code];
  return new HubError(code, errors === undefined ? {} : { errors }).toProblem();
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
    outcome: {
      type: 'string',
      enum: ['applied', 'not_applied', 'unknown'],
      description: 'The outcome of the requested movement',
    },
    correlationId: { type: 'string', format: 'uuid' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['field', 'message'],
        properties: { field: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
};
