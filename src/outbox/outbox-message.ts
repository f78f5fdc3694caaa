import type { Partner } from '../partners/partner';
import type { OperatorOutcome } from '../partners/operator-wire';
import type { WebhookOutcome } from '../partners/rgs-wire';

export type Queue = 'operator' | 'rgs';

/** A message to be stored; its bytes are frozen from here on. */
export interface NewMessage {
  /** UUIDv7. Also the Idempotency-Key and webhook-id that the receiver sees, on every attempt the same. */
  readonly id: string;
  readonly destinationId: number;
  readonly operatorId: number;
  readonly rgsId: number;
  /** Messages of one lane are delivered one after the other; null = in no order. */
  readonly laneKey: string | null;
  readonly eventType: string;
  readonly transactionId: string | null;
  /** Appended to the destination's base URL; empty for a webhook. */
  readonly path: string;
  readonly body: string;
  /** Seconds from now after which it must not be sent any more; null = never. */
  readonly expiresInSeconds: number | null;
}

/** A message that this replica may send until its lease ends. */
export interface LeasedMessage {
  readonly id: string;
  /** Fence: a result counts only while the row still carries this token. */
  readonly token: string;
  /** Attempts that left and were not settled, so far. */
  readonly attempts: number;
  /** Leases under which it may have left, this one included. */
  readonly claims: number;
  /** When it may first have left under an earlier lease; null = it never did. */
  readonly firstSentAt: Date | null;
  /**
   * Until when a call of an earlier lease whose answer was lost may still be booked; null = no call was lost, or the
   * operator proved that it booked none.
   */
  readonly mayLandUntil: Date | null;
  /** The same moment by `performance.now()`. */
  readonly landsAt: number | null;
  /** Leases that were given back unsent. */
  readonly releases: number;
  readonly laneKey: string | null;
  readonly eventType: string;
  readonly transactionId: string | null;
  readonly path: string;
  readonly body: string;
  /**
   * Milliseconds until it must not be sent any more, as of the claim; negative: that moment has passed; null: it never
   * does.
   */
  readonly expiresInMs: number | null;
  /** Whether this is the one probe of a breaker that is not closed. */
  readonly probe: boolean;
}

/**
 * sent and dead finish the message, blocked stops its lane for a person, retry counts an attempt, released does not.
 */
export type Outcome = 'sent' | 'dead' | 'blocked' | 'retry' | 'released';

export interface NextStep {
  /** blocked, and dead for an unknown outcome, mean that the schedule is exhausted. */
  readonly outcome: Outcome;
  /** Until the next attempt, for retry and released. */
  readonly delayMs: number;
  /** The operator proved that nothing of what was lost before was booked, nor can be. */
  readonly proven?: boolean;
  /** For dead: whether it still needs a person; a refusal that settled its movement does not. Blocked always does. */
  readonly open?: boolean;
}

/** The record of one attempt. */
export interface Traces {
  /** `performance.now()` of its beginning; of a question: what is answered was true no earlier. */
  readonly began: number;
  /** Whether a movement left and was answered. */
  readonly answered: boolean;
  /** How long from the end of the attempt a call of it may still be booked, in ms; null when no response was lost. */
  readonly landsMs: number | null;
}

interface Delivery {
  readonly message: LeasedMessage;
  readonly destination: Partner;
  /** HTTP status, null when no response came. */
  readonly status: number | null;
  /** Requests that left in this attempt; `status` is the response to the last. */
  readonly tries: number;
  /** Null when nothing was sent because the outcome was known already. */
  readonly durationMs: number | null;
  /** What this attempt adds to what may still be booked. */
  readonly traces: Traces;
  /** Of a response that makes no sense: what helps to find out who wrote it. */
  readonly seen?: {
    readonly contentType: string | null;
    readonly contentEncoding: string | null;
    readonly firstBytes: string;
  };
  /** What the outbox would do with it. */
  readonly proposed: NextStep;
}

/** What became of one attempt. */
export type DeliveryResult = OperatorResult | WebhookResult;

export interface OperatorResult extends Delivery {
  readonly queue: 'operator';
  readonly verdict: OperatorOutcome;
  /**
   * What the outbox would do if the outcome were unknown: for a response that says nothing about an earlier, lost
   * attempt.
   */
  readonly ifUnknown: NextStep;
}

export interface WebhookResult extends Delivery {
  readonly queue: 'rgs';
  readonly verdict: WebhookOutcome;
}
