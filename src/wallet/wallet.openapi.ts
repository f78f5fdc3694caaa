import { ApiAcceptedResponse, ApiBody, ApiHeader, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { IDEMPOTENCY_KEY_LENGTH_MAX } from '../http/idempotency-key';
import { ApiProblems, described } from '../http/openapi';
import { WAIT_SECONDS_MAX } from '../http/prefer';
import {
  CreditRequest,
  DebitRequest,
  MovementResponse,
  RollbackResponse,
  RollbackRequest,
  TransactionPage,
  TransactionView,
} from './wallet.dto';

const DEBIT_EXAMPLES = {
  stake: { summary: 'A bet', value: { playerId: 'player-1', amountCents: 500, currency: 'USD', refId: 'bet-1001' } },
  whole: {
    summary: 'With every optional field',
    value: {
      playerId: 'player-1',
      amountCents: 500,
      currency: 'USD',
      refId: 'bet-1002',
      roundId: 'round-77',
      roundClosed: false,
      kind: 'regular',
      gameId: 'book-of-tests',
      sessionId: 'session-5',
      meta: { table: 4 },
    },
  },
};

const CREDIT_EXAMPLES = {
  win: {
    summary: 'A win that ends its round',
    value: {
      playerId: 'player-1',
      amountCents: 1250,
      currency: 'USD',
      refId: 'win-1001',
      roundId: 'round-77',
      roundClosed: true,
    },
  },
  lost: {
    summary: 'A lost round',
    value: {
      playerId: 'player-1',
      amountCents: 0,
      currency: 'USD',
      refId: 'end-1001',
      roundId: 'round-78',
      roundClosed: true,
    },
  },
  promotion: {
    summary: 'Money without a bet',
    value: { playerId: 'player-1', amountCents: 2000, currency: 'USD', refId: 'promo-1001', kind: 'promo' },
  },
};

const idempotencyKeyHeader = ApiHeader({
  name: 'Idempotency-Key',
  required: false,
  // No example: Swagger UI would send it with every request, and each needs one of its own.
  description:
    'Recommended; a UUID for example. A repeat with the same key, route and body gets the first response byte for byte; any other use of the key is 409. Left empty, this page makes one for each request.',
  schema: { type: 'string', minLength: 1, maxLength: IDEMPOTENCY_KEY_LENGTH_MAX },
});

const movementProblems = ApiProblems(
  'malformed_request',
  'signature_reused',
  'idempotency_key_reused',
  'reference_reused',
  'transaction_rolled_back',
  'round_closed',
  'payload_too_large',
  'unsupported_media_type',
  'unsupported_currency',
  'validation_failed',
);

const preferHeader = ApiHeader({
  name: 'Prefer',
  required: false,
  description: `RFC 7240: \`wait=N\` holds the response for up to N seconds (1 to ${WAIT_SECONDS_MAX}) until the outcome is known, for example \`wait=5\`.`,
});

const acceptedResponse = ApiAcceptedResponse({
  description:
    'The wait ended before the outcome was known; a repeat with the same Idempotency-Key, or Location, returns it later',
  type: MovementResponse,
  headers: {
    Location: {
      description: 'Where the outcome will be',
      schema: { type: 'string', example: '/wallet/transactions/019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11' },
    },
    'Preference-Applied': { description: 'The wait that was granted', schema: { type: 'string', example: 'wait=5' } },
  },
});

const responseHeaders = {
  'Preference-Applied': {
    description: 'Present when the response waited',
    schema: { type: 'string' as const, example: 'wait=5' },
  },
  'Idempotent-Replayed': {
    description: '`true` for the stored response to an earlier request',
    schema: { type: 'string' as const, enum: ['true'] },
  },
};

export const ApiDebit = () =>
  described(
    ApiOperation({
      summary: "Debit a player's bet",
      description:
        "Stores the movement and responds immediately; it is then delivered to the operator in the player's order, and the outcome comes by webhook.",
    }),
    ApiBody({ type: DebitRequest, examples: DEBIT_EXAMPLES }),
    idempotencyKeyHeader,
    preferHeader,
    ApiOkResponse({
      description: 'Stored, to be delivered; after a wait, the outcome',
      type: MovementResponse,
      headers: responseHeaders,
    }),
    acceptedResponse,
    movementProblems,
  );

export const ApiCredit = () =>
  described(
    ApiOperation({
      summary: "Credit a player's win",
      description:
        'As a debit. A credit never overtakes an earlier debit of the same player, and is never given up silently.',
    }),
    ApiBody({ type: CreditRequest, examples: CREDIT_EXAMPLES }),
    idempotencyKeyHeader,
    preferHeader,
    ApiOkResponse({
      description: 'Stored, to be delivered; after a wait, the outcome',
      type: MovementResponse,
      headers: responseHeaders,
    }),
    acceptedResponse,
    movementProblems,
  );

export const ApiRollback = () =>
  described(
    ApiOperation({
      summary: 'Undo a bet',
      description:
        'A known bet is refunded once. An unknown bet gets `applied: false`, and is refused if it arrives later. After a credit in its round a bet stays.',
    }),
    ApiBody({ type: RollbackRequest }),
    idempotencyKeyHeader,
    preferHeader,
    ApiOkResponse({
      description: 'Accepted; `applied` says whether money was refunded',
      type: RollbackResponse,
      headers: responseHeaders,
    }),
    acceptedResponse,
    ApiProblems(
      'malformed_request',
      'idempotency_key_reused',
      'reference_reused',
      'wrong_operator',
      'round_closed',
      'payload_too_large',
      'unsupported_media_type',
      'validation_failed',
    ),
  );

export const ApiGetTransaction = () =>
  described(
    ApiOperation({ summary: 'One transaction with its timeline' }),
    ApiParam({
      name: 'transactionId',
      format: 'uuid',
      description: '`transactionId` of the response to the movement',
      example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
    }),
    ApiOkResponse({ description: 'The current transaction', type: TransactionView }),
    ApiProblems('not_found'),
  );

export const ApiListTransactions = () =>
  described(
    ApiOperation({
      summary: 'Transactions by any identifier, newest first',
      description: 'At least one of refId, correlationId, roundId and playerId.',
    }),
    ApiOkResponse({ description: 'A page of transactions', type: TransactionPage }),
    ApiProblems('validation_failed'),
  );
