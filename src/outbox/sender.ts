import { Inject, Injectable } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import type { Partner } from '../partners/partner';
import { bodyKind, firstBytes, ownWords, describeResponse } from '../partners/response-words';
import { openList } from '../partners/lists/list-response';
import { LOOK_UP_LIMITS, type LookUp, lookUp } from '../partners/lists/look-up';
import { type OperatorOutcome, classOfStatusWord, classifyOperatorResponse } from '../partners/operator-wire';
import { type PartnerResponse, PartnerHttp, type PostRequest } from '../partners/partner-http';
import { classifyWebhookResponse } from '../partners/rgs-wire';
import { standardWebhookSignature } from '../partners/signature';
import { underBase } from '../kernel/base-url';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import type { Plan } from './delivery-handler';
import { classAfterTries, landsAfterMs } from './lease-rules';
import type { DeliveryResult, LeasedMessage, OperatorResult, Traces } from './outbox-message';
import { type RetryRules, propose } from './retry-policy';

export type SendLimits = Pick<PostRequest, 'deadline' | 'permitUntil' | 'permit' | 'mayLeave'>;

/** What became of a call, and what it says about the destination. */
export interface Sent {
  readonly result: DeliveryResult;
  /** Whether the destination itself is well: anything it said below 500. */
  readonly healthy: boolean;
  /** Of the time it took, what went by before it left. */
  readonly waitedMs: number;
}

/** One message, one signed request, one result. */
@Injectable()
export class Sender {
  private readonly rules: RetryRules;
  private readonly graceMs: number;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly http: PartnerHttp,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
  ) {
    this.rules = {
      scheduleSeconds: config.outboxRetryScheduleSeconds,
      callbackTimeoutSeconds: config.callbackTimeoutSeconds,
    };
    this.graceMs = config.resolveGraceSeconds * 1000;
  }

  async send(destination: Partner, message: LeasedMessage, limits: SendLimits): Promise<Sent> {
    const began = performance.now();
    const response = await this.http.post(destination, {
      url: targetUrl(destination, message.path),
      body: message.body,
      headers: this.headers(destination, message),
      repeatable: destination.role === 'rgs' || destination.idempotentByReference,
      ...limits,
    });
    const base = {
      message,
      destination,
      status: response.kind === 'answered' ? response.status : null,
      tries: response.tries,
      durationMs: response.durationMs,
      ...unexpectedContentOf(response),
    };
    const healthy = response.kind === 'answered' && response.status < 500;
    return {
      result:
        destination.role === 'operator'
          ? this.operatorResult(base, response, began)
          : this.webhookResult(base, response, began),
      healthy,
      waitedMs: response.waitedMs,
    };
  }

  /**
   * Looks a movement up in the operator's list instead of sending it: applied when it is there, absent when the whole
   * list lacks it, else unknown.
   */
  async ask(
    destination: Partner,
    message: LeasedMessage,
    question: Extract<Plan, { action: 'ask' }>,
    deadline: AbortSignal,
  ): Promise<{ result: DeliveryResult; healthy: boolean }> {
    const started = performance.now();
    const about = (verdict: OperatorOutcome, status: number | null = null): OperatorResult => ({
      queue: 'operator',
      message,
      destination,
      status,
      tries: 1,
      durationMs: Math.round(performance.now() - started),
      traces: { began: started, answered: false, landsMs: null },
      verdict,
      proposed: propose('operator', verdict.class, null, message, this.rules, Math.random()),
      ifUnknown: propose('operator', 'unknown', null, message, this.rules, Math.random()),
    });
    try {
      const url = targetUrl(destination, question.path);
      const isApplied = (word: string): boolean => classOfStatusWord(destination, word) === 'applied';
      // Once: the queue asks again by its own schedule, and each time with a permit.
      const response = await openList(
        this.http,
        destination,
        url,
        0,
        AbortSignal.any([deadline, AbortSignal.timeout(LOOK_UP_LIMITS.ms)]),
      );
      const said = await lookUp(response, question.movement, { url, isApplied, rowsWanted: 1 });
      if (said.verdict === 'no_answer' && said.field !== null)
        this.reportMismatch('list', said.field, message, destination);
      return { result: about(outcomeOf(said)), healthy: said.verdict !== 'no_answer' || !said.isBroken };
    } catch (error) {
      // Whatever went wrong, the question has no response yet.
      const { status, retryAfterMs } = this.http.refusal(error);
      const verdict = {
        class: 'unknown',
        reason: `the operator's list could not be read: ${messageOf(error)}`,
        balance: null,
        retryAfterMs,
      } as const;
      return { result: about(verdict, status), healthy: status !== null && status < 500 };
    }
  }

  /**
   * An operator's response about another movement changes nothing, and a person must check: its books may be mixed up.
   */
  private reportMismatch(source: 'answer' | 'list', field: string, message: LeasedMessage, destination: Partner): void {
    this.metrics.mismatches.inc({ source, field });
    this.logger.event('warn', 'operator.mismatch', {
      source,
      field,
      destination: destination.code,
      messageId: message.id,
      correlationId: message.transactionId,
      eventType: message.eventType,
    });
  }

  private operatorResult(base: ResultBase, response: PartnerResponse, began: number): DeliveryResult {
    const verdict = settledOutcome(
      explained(classifyOperatorResponse(base.destination, response, base.message), response),
      response.tries,
    );
    if (verdict.mismatch !== undefined) this.reportMismatch('answer', verdict.mismatch, base.message, base.destination);
    const traces = this.traces(base.destination, response, verdict, began);
    const proposed = propose('operator', verdict.class, verdict.retryAfterMs, base.message, this.rules, Math.random());
    const ifUnknown = propose('operator', 'unknown', null, base.message, this.rules, Math.random());
    return { ...base, traces, queue: 'operator', verdict, proposed, ifUnknown };
  }

  private traces(
    { timeoutMs, answersLater }: Partner,
    response: PartnerResponse,
    verdict: OperatorOutcome,
    began: number,
  ): Traces {
    return {
      began,
      answered: response.kind === 'answered',
      landsMs: landsAfterMs(verdict.class, response.tries, {
        timeoutMs,
        callbackTimeoutMs: this.rules.callbackTimeoutSeconds * 1000,
        graceMs: this.graceMs,
        answersLater,
      }),
    };
  }

  private webhookResult(base: ResultBase, response: PartnerResponse, began: number): DeliveryResult {
    const verdict = classifyWebhookResponse(response);
    const proposed = propose('rgs', verdict.class, verdict.retryAfterMs, base.message, this.rules, Math.random());
    return {
      ...base,
      traces: { began, answered: response.kind === 'answered', landsMs: null },
      queue: 'rgs',
      verdict,
      proposed,
    };
  }

  private headers(destination: Partner, message: LeasedMessage): Record<string, string> {
    const common = {
      'Idempotency-Key': message.id,
      'X-Attempt': String(message.attempts + 1),
      ...(message.transactionId === null ? {} : { 'X-Correlation-Id': message.transactionId }),
    };
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

function outcomeOf(said: LookUp): OperatorOutcome {
  const rest = { balance: null, retryAfterMs: null } as const;
  switch (said.verdict) {
    case 'found':
      return { class: 'applied', reason: "found in the operator's list", ...rest };
    case 'absent':
      return { class: 'absent', reason: "not in the operator's list", ...rest };
    case 'no_answer':
      return { class: 'unknown', reason: `the operator's list is no answer: ${said.reason}`, ...rest };
  }
}

/**
 * Sent to the RGS when the operator refuses the hub itself: the operator's text would point its developer to the wrong
 * signature.
 */
const MISCONFIGURED = 'operator_misconfigured';
/**
 * Refusals that may be about player or amount, if the operator says so; all others are about the hub's address,
 * credentials or form.
 */
const ABOUT_THE_MOVEMENT = new Set([400, 402, 404, 409, 422]);

/**
 * The operator's own words and what came with them, for our people; outwards, a refusal of the hub's credentials or of
 * its form is no word about the player.
 */
function explained(verdict: OperatorOutcome, response: PartnerResponse): OperatorOutcome {
  if (response.kind !== 'answered') return verdict;
  if (verdict.class === 'rejected_contract') {
    const isAboutUs =
      !ABOUT_THE_MOVEMENT.has(response.status) || (response.status !== 402 && ownWords(response.body) === null);
    return { ...verdict, detail: describeResponse(response), reason: isAboutUs ? MISCONFIGURED : verdict.reason };
  }
  const saysMore =
    verdict.class === 'throttled' ||
    (verdict.class === 'unknown' && (response.status >= 300 || bodyKind(response) !== null));
  return saysMore ? { ...verdict, detail: describeResponse(response) } : verdict;
}

function settledOutcome(verdict: OperatorOutcome, tries: number): OperatorOutcome {
  const settled = classAfterTries(verdict.class, tries);
  return settled === verdict.class ? verdict : { ...verdict, class: settled };
}

type ResultBase = Pick<DeliveryResult, 'message' | 'destination' | 'status' | 'tries' | 'durationMs' | 'seen'>;

/** Nothing of a response that is a JSON object with a status below 300, which is nearly every one. */
function unexpectedContentOf(response: PartnerResponse): Pick<DeliveryResult, 'seen'> {
  if (
    response.kind !== 'answered' ||
    response.head === undefined ||
    (response.status < 300 && response.body.startsWith('{'))
  )
    return {};
  const { contentType, contentEncoding } = response.head;
  return { seen: { contentType, contentEncoding, firstBytes: firstBytes(response) } };
}

/** The base URL of an operator is the root of its API; that of an RGS is the webhook itself. */
export function targetUrl(destination: Partner, path: string): string {
  return underBase(destination.baseUrl, path);
}
