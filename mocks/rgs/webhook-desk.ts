import { Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import {
  type Answer,
  errorAnswer,
  injectedAnswer,
  jsonAnswer,
  pause,
  reset,
  send,
  throttleAnswer,
} from '../shared/answers';
import { rawBytes } from '../shared/bodies';
import { isJsonObject } from '../shared/fields';
import { signatureFault } from '../shared/signing';
import { ReceivedWebhooks, type WebhookToStore } from './received-webhooks';
import { type RgsFault, RgsFaults } from './rgs-faults';
import { RgsSettings } from './settings';
import { type WebhookCall, WebhookCalls, type WebhookHeaders } from './webhook-calls';

/** One call, from its arrival to its answer. */
interface Exchange {
  webhook: WebhookToStore;
  call: WebhookCall;
  response: Response;
}

const RECEIVED = jsonAnswer(200, JSON.stringify({ status: 'received' }));

/** Takes webhooks: proves who sent them, logs them, stores them, and answers well or, where a fault is armed, badly. */
@Injectable()
export class WebhookDesk {
  constructor(
    private readonly settings: RgsSettings,
    private readonly faults: RgsFaults,
    private readonly calls: WebhookCalls,
    private readonly received: ReceivedWebhooks,
  ) {}

  /** Answers 401 without a good signature, 400 to what is no JSON object, otherwise 200 or what a fault says. */
  async receive(request: Request, response: Response): Promise<void> {
    const rawBody = rawBytes(request.body);
    const body = rawBody.toString('utf8');
    const headers = keptHeaders(request);
    const call = this.calls.add({
      playerId: null,
      refId: null,
      event: null,
      headers,
      body,
      stored: false,
      repeat: false,
      fault: null,
      status: null,
    });
    const { hmacSecret, signatureRequired, latencyMs } = this.settings;
    const proof = {
      timestamp: headers['x-timestamp'] ?? undefined,
      signature: headers['x-signature'] ?? undefined,
      rawBody,
    };
    const unproven = signatureFault(proof, hmacSecret, signatureRequired);
    if (unproven !== null) return reply({ call, response }, errorAnswer(401, { reason: unproven }));

    const webhook = readWebhook(body, headers['idempotency-key']);
    if (webhook === null)
      return reply({ call, response }, errorAnswer(400, { reason: 'the body must be a JSON object' }));
    call.playerId = webhook.playerId;
    call.refId = webhook.refId;
    call.event = webhook.event;
    await pause(latencyMs);

    const exchange = { webhook, call, response };
    const { playerId, refId, event } = webhook;
    const fault = this.faults.pick({ playerId, refId, event });
    if (fault === null) {
      this.store(exchange);
      return reply(exchange, RECEIVED);
    }
    call.fault = fault.kind;
    await this.answerBadly(fault, exchange);
  }

  private async answerBadly(fault: RgsFault, exchange: Exchange): Promise<void> {
    if (fault.afterCommit) this.store(exchange);
    switch (fault.kind) {
      case 'status':
        return reply(exchange, injectedAnswer(fault));
      case 'throttle':
        return reply(exchange, throttleAnswer(fault));
      case 'hang':
        // Nothing more: the connection stays open until the client leaves or the app stops.
        return;
      case 'reset':
        return reset(exchange.response);
      case 'delay':
        await pause(fault.ms);
        if (!fault.afterCommit) this.store(exchange);
        return reply(exchange, RECEIVED);
    }
  }

  private store({ webhook, call }: Exchange): void {
    const outcome = this.received.receive(webhook);
    call.stored = outcome === 'stored';
    call.repeat = outcome === 'repeat';
  }
}

/** The webhook in a body's text; null when that is no JSON object. Fields that are no strings count as absent. */
export function readWebhook(body: string, idempotencyKey: string | null): WebhookToStore | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  if (!isJsonObject(parsed)) return null;
  return {
    body,
    playerId: textOrNull(parsed.playerId),
    refId: textOrNull(parsed.refId),
    event: textOrNull(parsed.event),
    idempotencyKey,
  };
}

function keptHeaders(request: Request): WebhookHeaders {
  const header = (name: keyof WebhookHeaders): string | null => request.get(name) ?? null;
  return {
    'webhook-id': header('webhook-id'),
    'webhook-timestamp': header('webhook-timestamp'),
    'webhook-signature': header('webhook-signature'),
    'idempotency-key': header('idempotency-key'),
    'x-timestamp': header('x-timestamp'),
    'x-signature': header('x-signature'),
    'content-type': header('content-type'),
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function reply({ call, response }: Pick<Exchange, 'call' | 'response'>, answer: Answer): void {
  if (send(response, answer)) call.status = answer.status;
}
