import { stringify } from 'lossless-json';
import { invariant } from '../kernel/invariant';
import { describeResponse } from './response-words';
import type { Direction } from './operator-wire';
import type { PartnerResponse } from './partner-http';

export type RgsOutcome = 'OK' | 'REJECTED' | 'ROLLED_BACK';

export interface RgsNotification {
  readonly playerId: string;
  readonly amountMinor: bigint;
  readonly currency: string;
  readonly status: RgsOutcome;
  readonly movement: Direction;
  readonly refId: string;
  readonly transactionId: string;
  readonly state: string;
  readonly roundId: string | null;
  readonly balanceMinor: bigint | null;
  readonly reason: string | null;
  /** The hub's own word for the reason, from a short list. */
  readonly reasonCode: string | null;
}

/** Exact body of the webhook that tells an RGS what became of its movement. bigints are written as JSON integers. */
export function rgsWebhookBody(notification: RgsNotification): string {
  const body = stringify({
    playerId: notification.playerId,
    amountCents: notification.amountMinor,
    currency: notification.currency,
    status: notification.status,
    event: notification.movement,
    refId: notification.refId,
    correlationId: notification.transactionId,
    transactionId: notification.transactionId,
    state: notification.state,
    roundId: notification.roundId,
    balanceCents: notification.balanceMinor,
    reason: notification.reason,
    reasonCode: notification.reasonCode,
  });
  invariant(body !== undefined, 'a webhook body cannot be written as JSON');
  return body;
}

export type WebhookClass = 'delivered' | 'gone' | 'throttled' | 'failed';

export interface WebhookOutcome {
  readonly class: WebhookClass;
  readonly reason: string | null;
  readonly retryAfterMs: number | null;
  /** The same for our own people, with all that helps to find the cause. */
  readonly detail?: string;
}

/** 2xx is delivered, 410 stops the endpoint, everything else is tried again. */
export function classifyWebhookResponse(response: PartnerResponse): WebhookOutcome {
  if (response.kind === 'not_sent') return { class: 'throttled', reason: response.error, retryAfterMs: null };
  if (response.kind === 'lost') return { class: 'failed', reason: response.error, retryAfterMs: null };
  const { status, retryAfterMs } = response;
  if (status >= 200 && status < 300) return { class: 'delivered', reason: null, retryAfterMs: null };
  const said = { reason: `HTTP ${status}`, detail: describeResponse(response) };
  if (status === 410) return { class: 'gone', ...said, retryAfterMs: null };
  if (status === 429 || (status === 503 && retryAfterMs !== null)) return { class: 'throttled', ...said, retryAfterMs };
  return { class: 'failed', ...said, retryAfterMs: null };
}
