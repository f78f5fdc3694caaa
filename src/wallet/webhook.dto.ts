import { ApiProperty } from '@nestjs/swagger';
import type { WebhookDocument } from '../http/openapi';
import { REASON_CODES, type ReasonCode } from './reason-code';

/** What the hub posts to a game server: the description of rgsWebhookBody. */
export class RgsWebhook {
  @ApiProperty({ description: "The RGS's own id of the player", example: 'player-1' }) playerId!: string;
  @ApiProperty({ type: 'integer', format: 'int64', description: 'Minor units', example: 500 }) amountCents!: number;
  @ApiProperty({ example: 'USD' }) currency!: string;
  @ApiProperty({
    enum: ['OK', 'REJECTED', 'ROLLED_BACK'],
    description: '`OK`: applied. `REJECTED`: not applied. `ROLLED_BACK`: a debit was applied and is refunded',
    example: 'OK',
  })
  status!: string;
  @ApiProperty({ enum: ['debit', 'credit'], description: 'The movement that the outcome belongs to', example: 'debit' })
  event!: string;
  @ApiProperty({ description: '`refId` of the movement', example: 'bet-1001' }) refId!: string;
  @ApiProperty({
    format: 'uuid',
    description: '`correlationId` of the movement',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
  })
  correlationId!: string;
  @ApiProperty({
    format: 'uuid',
    description: 'The same as correlationId',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
  })
  transactionId!: string;
  @ApiProperty({
    description:
      '`confirmed`, `rejected`, `rolled_back` or `compensated` (refunded without ever being confirmed). States may be added',
    example: 'confirmed',
  })
  state!: string;
  @ApiProperty({ type: 'string', nullable: true, example: 'round-77' }) roundId!: string | null;
  @ApiProperty({
    type: 'integer',
    format: 'int64',
    nullable: true,
    description: "The operator's own balance after the movement, minor units; null when it gave none",
    example: 99500,
  })
  balanceCents!: number | null;
  @ApiProperty({
    type: 'string',
    nullable: true,
    description: 'Why it was refused or undone, in the words of the operator or of the hub',
    example: null,
  })
  reason!: string | null;
  @ApiProperty({
    type: 'string',
    enum: REASON_CODES,
    nullable: true,
    description: 'The reason as a code that is the same for every operator. Codes may be added',
    example: null,
  })
  reasonCode!: ReasonCode | null;
}

const ID = '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a12';

export const OUTCOME_WEBHOOK: WebhookDocument = {
  name: 'outcome',
  body: RgsWebhook,
  tag: 'rgs webhooks',
  summary: 'Notifies a game server of an outcome',
  description:
    "Posted to the webhook URL of the game server, once for each outcome: a bet can have `OK` and later `ROLLED_BACK`. Sent again with the same bytes and the same `webhook-id` until it is acknowledged, and in the order of the player's movements. " +
    'Verify X-Signature or webhook-signature over the raw body before you parse it. Fields and headers may be added.',
  headers: [
    { name: 'Idempotency-Key', description: 'Id of the message, the same on every attempt', example: ID },
    { name: 'X-Attempt', description: '1 for the first attempt', example: '1' },
    {
      name: 'X-Correlation-Id',
      description: '`correlationId` of the body',
      example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11',
    },
    { name: 'X-Timestamp', description: 'Unix seconds', example: '1795000000' },
    {
      name: 'X-Signature',
      description: 'Lower-case hex of HMAC_SHA256(key, X-Timestamp + ":" + raw body bytes), with the newest key',
      example: 'a'.repeat(64),
    },
    {
      name: 'X-Signature-V2',
      description: 'Version 2 of the signature, bound to your URL and Idempotency-Key',
      example: `t=1795000000,kid=env,v2=${'b'.repeat(64)}`,
    },
    { name: 'webhook-id', description: 'Standard Webhooks: the same as Idempotency-Key', example: ID },
    { name: 'webhook-timestamp', description: 'Standard Webhooks: unix seconds', example: '1795000000' },
    {
      name: 'webhook-signature',
      description: 'Standard Webhooks: one `v1,<base64>` for each live key, separated by spaces',
      example: 'v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=',
    },
  ],
  answers: {
    '2XX': 'Delivered; the body of the answer is not read',
    '410': 'The endpoint is gone: the hub stops calling it until its ops resume it, and webhooks wait in order',
    '429': 'Come back later, with `Retry-After`. So is 503 with `Retry-After`; neither counts as an attempt',
    default: 'Not delivered: it is tried again, for three days or so',
  },
};
