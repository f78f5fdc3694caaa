import { Inject, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import axios, { AxiosError, type AxiosInstance, type AxiosResponse } from 'axios';
import axiosRetry, { type IAxiosRetryConfig } from 'axios-retry';
import { Readable } from 'node:stream';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Clock } from '../kernel/clock';
import { splitCredentials } from '../kernel/base-url';
import { messageOf } from '../kernel/errors';
import { PartnerHttpAgent, PartnerHttpsAgent } from './connector';
import { type ResponseHead, Departure, LeanAdapter, type LeanConfig, NeverLeft } from './lean-adapter';
import type { Partner } from './partner';
import { retryAfterMs } from './retry-after';
import { sign, signBound } from './signature';
import { isRepeated, mayLeave } from './tries';

/** A response longer than this is not read to the end: no wallet says more in one status. */
const ANSWER_BYTES_MAX = 16 * 1024;

export interface ResponseBody {
  readonly status: number;
  readonly retryAfterMs: number | null;
  readonly body: string;
  /** What else the response said; for people. */
  readonly head?: ResponseHead;
}

/** What came of one delivery attempt; classifying it is the business of operator-wire.ts and rgs-wire.ts. */
export type PartnerResponse = {
  readonly tries: number;
  readonly durationMs: number;
  /** Of `durationMs`, what went by before the first try left: for a connection, or a permit. */
  readonly waitedMs: number;
} & (
  | ({ readonly kind: 'answered' } & ResponseBody)
  /** Nothing left this machine. */
  | { readonly kind: 'not_sent'; readonly error: string }
  /** The request left, or may have; no whole response came. */
  | { readonly kind: 'lost'; readonly error: string }
);

export interface PostRequest {
  readonly url: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the partner recognises a repeat, so that a lost response may be asked for again within this attempt. */
  readonly repeatable: boolean;
  /** `performance.now()` that no try may outlast, the first included. */
  readonly deadline: number;
  /** `performance.now()` until which the permit of the first try is good; Infinity where no rate is limited. */
  readonly permitUntil: number;
  /**
   * Takes a permit for a repeat, or in the place of one that grew old: until when it is good; null when there is none.
   */
  readonly permit: (why: 'repeat' | 'late') => Promise<number | null>;
  /** Asked at the last moment before a try leaves. */
  readonly mayLeave: () => boolean;
}

/** The response to a signed GET; its body is still on the way. */
export interface OpenStream {
  readonly body: Readable;
  /** A header by its name in lower case; null when there is none. */
  readonly header: (name: string) => string | null;
}

/** What the tries of one attempt share; each of them asks it whether it may leave. */
class Attempt extends Departure {
  tries = 0;
  last: PartnerResponse | undefined;
  permitUntil: number;

  constructor(
    readonly partner: Partner,
    readonly request: PostRequest,
  ) {
    super();
    this.permitUntil = request.permitUntil;
  }

  get latest(): number {
    return this.request.deadline - this.partner.timeoutMs;
  }

  refusal(): string | null {
    return this.request.mayLeave() ? null : 'the hub is stopping';
  }

  async renew(): Promise<boolean> {
    return this.take('late');
  }

  async take(why: 'repeat' | 'late'): Promise<boolean> {
    const until = await this.request.permit(why);
    if (until !== null) this.permitUntil = until;
    return until !== null;
  }
}

interface TryConfig extends LeanConfig {
  departure?: Attempt;
}

/**
 * Signed calls to partners: keep-alive, one hard timeout per try, no redirects, retries within an attempt by
 * axios-retry.
 */
@Injectable()
export class PartnerHttp implements OnApplicationShutdown {
  private readonly agents: { readonly httpAgent: PartnerHttpAgent; readonly httpsAgent: PartnerHttpsAgent };
  private readonly lean: LeanAdapter;
  private readonly client: AxiosInstance;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly clock: Clock,
  ) {
    this.agents = {
      httpAgent: new PartnerHttpAgent(config.connectTimeoutMs),
      httpsAgent: new PartnerHttpsAgent(config.connectTimeoutMs),
    };
    this.lean = new LeanAdapter(config.connectTimeoutMs);
    this.client = axios.create({
      ...this.agents,
      proxy: false,
      maxRedirects: 0,
      headers: { common: { 'User-Agent': 'integration-hub' } },
      maxContentLength: ANSWER_BYTES_MAX,
      responseType: 'text',
      transformRequest: [(data: unknown) => data],
      transformResponse: [(data: unknown) => data],
      // Statuses below 500 are answers; 5xx go through the retry policy first.
      validateStatus: (status) => status < 500,
    });
    axiosRetry(this.client, this.retryPolicy());
    this.client.interceptors.request.use((config) => this.beforeTry(config));
  }

  async onApplicationShutdown(): Promise<void> {
    await this.lean.destroy();
    this.agents.httpAgent.destroy();
    this.agents.httpsAgent.destroy();
  }

  /** One delivery attempt of at most 1 + MAX_RETRIES tries. Never throws for what a partner or the network does. */
  async post(partner: Partner, request: PostRequest): Promise<PartnerResponse> {
    const started = performance.now();
    const attempt = new Attempt(partner, request);
    const config: Partial<TryConfig> = {
      departure: attempt,
      adapter: this.lean.send,
      headers: axios.AxiosHeaders.from({ 'Content-Type': 'application/json', ...request.headers }),
    };
    const about = () => {
      const now = performance.now();
      return {
        tries: attempt.tries,
        durationMs: Math.round(now - started),
        waitedMs: Math.round((attempt.leftAt ?? now) - started),
      };
    };
    try {
      const response = await this.client.post<string>(request.url, request.body, config);
      return { kind: 'answered', ...this.answered(response), ...about() };
    } catch (error) {
      const failure =
        error instanceof PermitRefused
          ? ({ kind: 'not_sent', error: 'no permit, or no time' } as const)
          : this.failure(error);
      // This try was not sent, but an earlier one was, and its outcome is unknown.
      if (failure.kind === 'not_sent' && attempt.last !== undefined) return { ...attempt.last, ...about() };
      return { ...failure, ...about() };
    }
  }

  /**
   * A signed GET whose body is read as it comes. Rejects on any status but 200, and when `signal` fires; later the
   * signal breaks the body off.
   */
  async stream(
    partner: Partner,
    url: string,
    accept: string,
    retries = this.config.maxRetries,
    signal?: AbortSignal,
  ): Promise<OpenStream> {
    const target = splitCredentials(url);
    const request = this.client.get<Readable>(target.url.href, {
      headers: {
        Accept: accept,
        ...(target.authorization === null ? {} : { Authorization: target.authorization }),
        ...this.signatureHeaders(partner, { method: 'GET', url, idempotencyKey: '', body: '' }),
      },
      responseType: 'stream',
      // Any limit, also an infinite one, makes axios wrap the body in a stream that cannot be destroyed while the
      // partner is silent.
      maxContentLength: -1,
      // A lost connection before the first byte may be tried again; nothing of the list was used yet.
      'axios-retry': {
        retries,
        retryCondition: (error) => this.letGo(error) && (error.response === undefined || error.response.status >= 500),
        retryDelay: (count) => this.backoffMs(count),
        shouldResetTimeout: true,
      },
      timeout: partner.timeoutMs,
      validateStatus: (status) => status === 200,
      ...(signal === undefined ? {} : { signal }),
    });
    const response = await request.catch((error: unknown) => {
      if (error instanceof AxiosError) this.letGo(error);
      throw error;
    });
    const header = (name: string): string | null => {
      const value: unknown = response.headers[name];
      return typeof value === 'string' ? value : null;
    };
    return { body: response.data, header };
  }

  /** The body of a refused stream is not read; unread, it would hold its connection. Always true. */
  private letGo(error: AxiosError): true {
    const body: unknown = error.response?.data;
    if (body instanceof Readable) body.destroy();
    return true;
  }

  /** Status and pause of the response that a failed stream got; nulls when there was none. */
  refusal(error: unknown): { status: number | null; retryAfterMs: number | null } {
    const response = error instanceof AxiosError ? error.response : undefined;
    return {
      status: response?.status ?? null,
      retryAfterMs: retryAfterMs(response?.headers['retry-after'], this.clock.now()),
    };
  }

  /** Both versions: the first covers time and body, the second also where the call goes and as what. */
  private signatureHeaders(
    partner: Partner,
    call: {
      readonly method: 'GET' | 'POST';
      readonly url: string;
      readonly idempotencyKey: string;
      readonly body: string;
    },
  ): Record<string, string> {
    const timestamp = this.timestamp();
    const [key] = partner.keys;
    if (key === undefined) throw new NotSent(`partner ${partner.code} has no live signing key`);
    const { method, url, idempotencyKey, body } = call;
    // The adapter reports a URL that cannot be called.
    const target = URL.canParse(url) ? new URL(url) : undefined;
    const bound =
      target &&
      signBound(key, {
        timestamp,
        method,
        host: target.host,
        target: target.pathname + target.search,
        idempotencyKey,
        operator: '',
        body,
      });
    return {
      'X-Timestamp': timestamp,
      'X-Signature': sign(key.secret, timestamp, body),
      ...(bound === undefined ? {} : { 'X-Signature-V2': bound }),
    };
  }

  /** Unix seconds, as signatures carry them. */
  timestamp(): string {
    return Math.floor(this.clock.now() / 1000).toString();
  }

  private retryPolicy(): IAxiosRetryConfig {
    return {
      retries: this.config.maxRetries,
      shouldResetTimeout: true,
      retryDelay: (count) => this.backoffMs(count),
      retryCondition: (error) => {
        const attempt = (error.config as TryConfig | undefined)?.departure;
        if (attempt === undefined) return false;
        const answer = this.failure(error);
        if (answer.kind !== 'not_sent') attempt.last = { ...answer, tries: attempt.tries, durationMs: 0, waitedMs: 0 };
        return isRepeated(
          answer,
          attempt.request.repeatable,
          performance.now() + this.backoffMs(attempt.tries) + attempt.partner.timeoutMs,
          attempt.request.deadline,
        );
      },
    };
  }

  private async beforeTry(config: TryConfig): Promise<TryConfig> {
    const attempt = config.departure;
    if (attempt === undefined) return config;
    if (attempt.tries > 0 && !(await attempt.take('repeat'))) throw new PermitRefused();
    // Checked after the permit: a slow database may have delayed it until another process has the lease, or has settled
    // the movement.
    if (!mayLeave(performance.now(), attempt.partner.timeoutMs, attempt.request.deadline)) throw new PermitRefused();
    attempt.tries += 1;
    for (const [name, value] of Object.entries(
      this.signatureHeaders(attempt.partner, {
        method: 'POST',
        url: attempt.request.url,
        idempotencyKey: attempt.request.headers['Idempotency-Key'] ?? '',
        body: attempt.request.body,
      }),
    ))
      config.headers.set(name, value);
    // From the first byte of this try to the last one of its response: a partner that drips a byte a second must not
    // hold the slot forever.
    config.timeout = attempt.partner.timeoutMs;
    return config;
  }

  private backoffMs(retry: number): number {
    return this.config.retryBackoffSeconds * 1000 * 2 ** (retry - 1);
  }

  private failure(
    error: unknown,
  ): ({ kind: 'answered' } & ResponseBody) | { kind: 'not_sent' | 'lost'; error: string } {
    if (error instanceof NotSent) return { kind: 'not_sent', error: error.message };
    if (!(error instanceof AxiosError)) return { kind: 'lost', error: messageOf(error) };
    if (error.response !== undefined && typeof error.response.data === 'string')
      return { kind: 'answered', ...this.answered(error.response as AxiosResponse<string>) };
    return {
      kind: error instanceof NeverLeft ? 'not_sent' : 'lost',
      error:
        error.code === undefined || error.message.includes(error.code)
          ? error.message
          : `${error.code}: ${error.message}`,
    };
  }

  private answered(response: AxiosResponse<string> & { readonly head?: ResponseHead }): ResponseBody {
    const { status, data: body, headers, head } = response;
    return {
      status,
      body,
      retryAfterMs: retryAfterMs(headers['retry-after'], this.clock.now()),
      ...(head === undefined ? {} : { head }),
    };
  }
}

class PermitRefused extends Error {}

/** Something of ours is missing, so the call was not made. */
class NotSent extends Error {}
