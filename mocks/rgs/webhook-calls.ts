import { Injectable } from '@nestjs/common';
import { CallLog, type LoggedCall } from '../shared/call-log';

/** The headers worth keeping of a webhook call, each null when absent. */
export interface WebhookHeaders {
  'webhook-id': string | null;
  'webhook-timestamp': string | null;
  'webhook-signature': string | null;
  'idempotency-key': string | null;
  'x-timestamp': string | null;
  'x-signature': string | null;
  'content-type': string | null;
}

/** A webhook call, as `GET /admin/calls` shows it. */
export interface WebhookCall extends LoggedCall {
  /**
   * The three are null when the call was refused unread (a bad signature or a malformed body) or the body has no such
   * string.
   */
  playerId: string | null;
  refId: string | null;
  event: string | null;
  headers: WebhookHeaders;
  /** The body's text as it came in. */
  body: string;
  /** This call was the first of its Idempotency-Key to be stored. */
  stored: boolean;
  /** A webhook of the same Idempotency-Key was stored already. */
  repeat: boolean;
  /** The kind of fault that it met. */
  fault: string | null;
  /**
   * The HTTP status of the answer; null while there is none, and forever when the call hung, was reset or its client
   * left.
   */
  status: number | null;
}

/** The log of webhook calls. */
@Injectable()
export class WebhookCalls extends CallLog<WebhookCall> {}
