import { Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import {
  type Answer,
  drip,
  errorAnswer,
  injectedAnswer,
  jsonAnswer,
  pause,
  reset,
  send,
  sendStream,
  throttleAnswer,
} from '../shared/answers';
import { parseExactObject, rawBytes } from '../shared/bodies';
import { signatureFault } from '../shared/signing';
import { type Callback, Callbacks } from './callbacks';
import { Cashier, type Decision } from './cashier';
import { type Direction, type Movement, readMovement } from './movement';
import { type MovementCall, MovementCalls } from './movement-calls';
import { type OperatorFault, OperatorFaults } from './operator-faults';
import { OperatorSettings } from './settings';

/** One call, from its arrival to its answer. */
interface Exchange {
  movement: Movement;
  call: MovementCall;
  response: Response;
}

/**
 * Takes movement calls: proves who sent them, logs them, has them decided, and answers well or, where a fault is armed,
 * badly.
 */
@Injectable()
export class MovementDesk {
  constructor(
    private readonly settings: OperatorSettings,
    private readonly faults: OperatorFaults,
    private readonly calls: MovementCalls,
    private readonly cashier: Cashier,
    private readonly callbacks: Callbacks,
  ) {}

  /** Answers 401 without a good signature, 400 to a malformed body, otherwise what the wallet or a fault says. */
  async receive(playerId: string, direction: Direction, request: Request, response: Response): Promise<void> {
    const rawBody = rawBytes(request.body);
    const call = this.calls.add({
      playerId,
      direction,
      reference: null,
      correlationId: null,
      idempotencyKey: request.get('idempotency-key') ?? null,
      applied: false,
      repeat: false,
      fault: null,
      status: null,
    });
    const { hmacSecret, signatureRequired, latencyMs } = this.settings;
    const proof = { timestamp: request.get('x-timestamp'), signature: request.get('x-signature'), rawBody };
    const unproven = signatureFault(proof, hmacSecret, signatureRequired);
    if (unproven !== null) return reply({ call, response }, errorAnswer(401, { reason: unproven }));

    const body = parseExactObject(rawBody);
    const movement = body === null ? 'the body must be a JSON object' : readMovement(playerId, direction, body);
    if (typeof movement === 'string') return reply({ call, response }, errorAnswer(400, { reason: movement }));
    call.reference = movement.reference;
    call.correlationId = movement.correlationId;
    await pause(latencyMs);

    const exchange = { movement, call, response };
    const fault = this.faults.pick({ playerId, reference: movement.reference, direction });
    if (fault === null) return this.answerWell(exchange);
    call.fault = fault.kind;
    await this.answerBadly(fault, exchange);
  }

  private answerWell(exchange: Exchange): void {
    const { answer, callback } = this.commit(exchange);
    reply(exchange, answer);
    this.callBack(callback);
  }

  private async answerBadly(fault: OperatorFault, exchange: Exchange): Promise<void> {
    const { movement, call, response } = exchange;
    switch (fault.kind) {
      case 'status':
        return reply(exchange, injectedAnswer(fault));
      case 'status_after_commit':
        this.commitQuietly(exchange, fault);
        return reply(exchange, injectedAnswer(fault));
      case 'throttle':
        return reply(exchange, throttleAnswer(fault));
      case 'hang':
        // Nothing more: the connection stays open until the client leaves or the app stops.
        if (fault.afterCommit) this.commitQuietly(exchange, fault);
        return;
      case 'reset':
        if (fault.afterCommit) this.commitQuietly(exchange, fault);
        return reset(response);
      case 'delay': {
        if (!fault.afterCommit) await pause(fault.ms);
        const { answer, callback } = this.commit(exchange);
        if (fault.afterCommit) await pause(fault.ms);
        reply(exchange, answer);
        return this.callBack(callback);
      }
      case 'callback_before_answer': {
        const { answer, callback } = this.commit(exchange);
        if (callback !== null) await this.callbacks.sendAndWait(callback);
        await pause(fault.delayMs);
        return reply(exchange, answer);
      }
      case 'duplicate_callbacks': {
        const { answer, callback } = this.commit(exchange);
        reply(exchange, answer);
        for (let sent = 0; sent < fault.count; sent++) this.callBack(callback);
        return;
      }
      case 'late_callback': {
        const { answer, callback } = this.commit(exchange);
        reply(exchange, answer);
        return this.callBack(callback, fault.delayMs);
      }
      case 'out_of_order_callbacks': {
        const { answer, callback } = this.commit(exchange);
        reply(exchange, answer);
        if (callback !== null) this.callbacks.hold(callback, fault.window, fault.flushMs);
        return;
      }
      case 'contradicting_callback': {
        const { answer, callback } = this.commit(exchange);
        reply(exchange, answer);
        return this.callBack(callback === null ? null : { ...callback, status: fault.status });
      }
      case 'no_callback':
        return reply(exchange, this.commit(exchange).answer);
      case 'error_body':
        return reply(
          exchange,
          injectedAnswer({
            status: 200,
            body: fault.body ?? { status: 'ERROR', reason: 'internal error' },
            contentType: null,
            headers: {},
          }),
        );
      case 'pending': {
        const decision = fault.reject ? this.cashier.refuse(movement, 'rejected_later') : this.commit(exchange);
        // A request that is wrong in itself is refused at once, by this wallet as by any other.
        if (decision.callback === null) return reply(exchange, decision.answer);
        reply(exchange, jsonAnswer(202, JSON.stringify({ status: 'PENDING', correlationId: movement.correlationId })));
        return this.callBack(decision.callback);
      }
      case 'unknown_word':
        if (fault.afterCommit) this.commitQuietly(exchange, fault);
        return reply(exchange, jsonAnswer(200, JSON.stringify({ status: fault.word })));
      case 'unreadable':
        if (fault.afterCommit) this.commitQuietly(exchange, fault);
        return reply(exchange, unreadableAnswer(fault.form));
      case 'refuse': {
        const { answer, callback } = this.cashier.refuse(movement, fault.reason);
        reply(exchange, answer);
        return this.callBack(callback);
      }
      case 'slow_drip': {
        const { answer, callback } = this.commit(exchange);
        if (await drip(response, answer, fault.ms)) call.status = answer.status;
        return this.callBack(callback);
      }
      case 'huge_body': {
        const { answer, callback } = this.commit(exchange);
        if (await sendStream(response, answer.status, padded(answer.body, fault.bytes))) call.status = answer.status;
        return this.callBack(callback);
      }
    }
  }

  private commit(exchange: Exchange): Decision {
    const decision = this.cashier.decide(exchange.movement);
    if (decision.effect === 'applied') this.calls.markApplied(exchange.call);
    if (decision.effect === 'repeat') this.calls.markRepeat(exchange.call);
    return decision;
  }

  /** Books although the hub will not learn of it from the answer, and from a callback only if the fault says so. */
  private commitQuietly(exchange: Exchange, fault: { callback: boolean }): void {
    const { callback } = this.commit(exchange);
    if (fault.callback) this.callBack(callback);
  }

  private callBack(callback: Callback | null, delayMs = 0): void {
    if (callback !== null) this.callbacks.send(callback, delayMs);
  }
}

function reply({ call, response }: Pick<Exchange, 'call' | 'response'>, answer: Answer): void {
  if (send(response, answer)) call.status = answer.status;
}

function unreadableAnswer(form: 'html' | 'truncated'): Answer {
  if (form === 'truncated') return jsonAnswer(200, '{"status":"OK","correlationId":"0');
  return {
    status: 200,
    headers: { 'Content-Type': 'text/html; charset=utf-8' },
    body: '<html><body><h1>Welcome</h1></body></html>',
  };
}

const PADDING = 'x'.repeat(64 * 1024);

/** The JSON object with one more field, `padding`, of so many bytes. */
function* padded(json: string, bytes: number): Generator<string> {
  yield `${json.slice(0, -1)},"padding":"`;
  for (let left = bytes; left > 0; left -= PADDING.length)
    yield left >= PADDING.length ? PADDING : PADDING.slice(0, left);
  yield '"}';
}
