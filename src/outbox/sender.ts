import { Inject, Injectable } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import type { Partner } from '../partners/partner';
import { type Answer, PartnerHttp } from '../partners/partner-http';
import { openList } from '../partners/lists/list-answer';
import { LOOK_UP_LIMITS, type LookUp, lookUp } from '../partners/lists/look-up';
import { type OperatorVerdict, classOfStatusWord, classifyOperatorAnswer } from '../partners/operator-wire';
import { classifyWebhookAnswer } from '../partners/rgs-wire';
import { standardWebhookSignature } from '../partners/signature';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import type { Plan } from './delivery-handler';
import type { DeliveryResult, LeasedMessage, OperatorResult } from './outbox-message';
import { type RetryRules, propose } from './retry-policy';

export interface SendLimits {
  /** `performance.now()` after which the call must not leave any more. */
  readonly leaveBy: number;
  /** `performance.now()` that no try may outlast. */
  readonly deadline: number;
  /** Asked before each try after the first. */
  readonly permit: () => Promise<boolean>;
}

/** One message, one signed request, one result. */
@Injectable()
export class Sender {
  private readonly rules: RetryRules;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly http: PartnerHttp,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {
    this.rules = { scheduleSeconds: config.outboxRetryScheduleSeconds, callbackTimeoutSeconds: config.callbackTimeoutSeconds };
  }

  /** `answered` tells whether the destination itself is well: anything it said below 500. */
  async send(destination: Partner, message: LeasedMessage, limits: SendLimits): Promise<{ result: DeliveryResult; healthy: boolean }> {
    const answer = await this.http.post(destination, {
      url: targetUrl(destination, message.path),
      body: message.body,
      headers: this.headers(destination, message),
      repeatable: destination.role === 'rgs' || destination.idempotentByReference,
      ...limits,
    });
    const base = { message, destination, status: answer.kind === 'answered' ? answer.status : null, tries: answer.tries, durationMs: answer.durationMs };
    const healthy = answer.kind === 'answered' && answer.status < 500;
    return { result: destination.role === 'operator' ? this.operatorResult(base, answer) : this.webhookResult(base, answer), healthy };
  }

  /** Looks a movement up in the operator's list instead of sending it: applied when it is there, absent when the whole list lacks it, else unknown. */
  async ask(destination: Partner, message: LeasedMessage, question: Extract<Plan, { action: 'ask' }>, deadline: AbortSignal): Promise<{ result: DeliveryResult; healthy: boolean }> {
    const started = performance.now();
    const about = (verdict: OperatorVerdict, status: number | null = null): OperatorResult => ({
      queue: 'operator',
      message,
      destination,
      status,
      tries: 1,
      durationMs: Math.round(performance.now() - started),
      verdict,
      proposed: propose('operator', verdict.class, null, message, this.rules, Math.random()),
      ifUnknown: propose('operator', 'unknown', null, message, this.rules, Math.random()),
    });
    try {
      const url = targetUrl(destination, question.path);
      const isApplied = (word: string): boolean => classOfStatusWord(destination, word) === 'applied';
      // Once: the queue asks again by its own schedule, and each time with a permit.
      const answer = await openList(this.http, destination, url, 0, AbortSignal.any([deadline, AbortSignal.timeout(LOOK_UP_LIMITS.ms)]));
      const said = await lookUp(answer, question.movement, { url, isApplied, rowsWanted: 1 });
      if (said.verdict === 'no_answer' && said.field !== null) this.reportMismatch('list', said.field, message, destination);
      return { result: about(verdictOf(said)), healthy: said.verdict !== 'no_answer' || !said.isBroken };
    } catch (error) {
      // Whatever went wrong, the question has no answer yet.
      const { status, retryAfterMs } = this.http.refusal(error);
      const verdict = { class: 'unknown', reason: `the operator's list could not be read: ${messageOf(error)}`, balance: null, retryAfterMs } as const;
      return { result: about(verdict, status), healthy: status !== null && status < 500 };
    }
  }

  /** What an operator says of another movement than it was asked about changes nothing, and somebody must look: its books may be mixed up. */
  private reportMismatch(source: 'answer' | 'list', field: string, message: LeasedMessage, destination: Partner): void {
    this.metrics.mismatches.inc({ source, field });
    this.logger.event('warn', 'operator.mismatch', { source, field, destination: destination.code, messageId: message.id, correlationId: message.transactionId, eventType: message.eventType });
  }

  private operatorResult(base: ResultBase, answer: Answer): DeliveryResult {
    const verdict = settledVerdict(classifyOperatorAnswer(base.destination, answer, base.message), answer.tries);
    if (verdict.mismatch !== undefined) this.reportMismatch('answer', verdict.mismatch, base.message, base.destination);
    const proposed = propose('operator', verdict.class, verdict.retryAfterMs, base.message, this.rules, Math.random());
    const ifUnknown = propose('operator', 'unknown', null, base.message, this.rules, Math.random());
    return { ...base, queue: 'operator', verdict, proposed, ifUnknown };
  }

  private webhookResult(base: ResultBase, answer: Answer): DeliveryResult {
    const verdict = classifyWebhookAnswer(answer);
    const proposed = propose('rgs', verdict.class, verdict.retryAfterMs, base.message, this.rules, Math.random());
    return { ...base, queue: 'rgs', verdict, proposed };
  }

  private headers(destination: Partner, message: LeasedMessage): Record<string, string> {
    const common = { 'Idempotency-Key': message.id, 'X-Attempt': String(message.attempts + 1), ...(message.transactionId === null ? {} : { 'X-Correlation-Id': message.transactionId }) };
    if (destination.role === 'operator') return common;
    const timestamp = this.http.timestamp();
    return {
      ...common,
      'webhook-id': message.id,
      'webhook-timestamp': timestamp,
      'webhook-signature': standardWebhookSignature(destination.signingKeys, message.id, timestamp, message.body),
    };
  }
}

function verdictOf(said: LookUp): OperatorVerdict {
  const rest = { balance: null, retryAfterMs: null } as const;
  switch (said.verdict) {
    case 'found':
      return { class: 'applied', reason: 'found in the operator\'s list', ...rest };
    case 'absent':
      return { class: 'absent', reason: 'not in the operator\'s list', ...rest };
    case 'no_answer':
      return { class: 'unknown', reason: `the operator's list is no answer: ${said.reason}`, ...rest };
  }
}

/** "Try later" as the answer to a repeat within one attempt says nothing about the lost request before it. */
function settledVerdict(verdict: OperatorVerdict, tries: number): OperatorVerdict {
  return verdict.class === 'throttled' && tries > 1 ? { ...verdict, class: 'unknown' } : verdict;
}

type ResultBase = Pick<DeliveryResult, 'message' | 'destination' | 'status' | 'tries' | 'durationMs'>;

/** The base URL of an operator is a root, with or without a slash at its end; that of an RGS is the webhook itself. */
export function targetUrl(destination: Partner, path: string): string {
  return path === '' ? destination.baseUrl : destination.baseUrl.replace(/\/+$/, '') + path;
}
