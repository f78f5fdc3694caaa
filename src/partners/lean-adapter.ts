import { AxiosError, AxiosHeaders, type AxiosResponse, type InternalAxiosRequestConfig } from 'axios';
import { type Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { kParser, kSocket } from 'undici/lib/core/symbols';
import Agent from 'undici/lib/dispatcher/agent';
import { messageOf } from '../kernel/errors';
import { splitCredentials } from '../kernel/base-url';
import { type BodyText, bodyText } from './response-body';
import { partnerConnector } from './connector';

/**
 * The call did not begin to be written to a connection, so the partner cannot have acted on it. Decided by that alone,
 * never by an error's code.
 */
export class NeverLeft extends AxiosError {}

/**
 * What decides whether a try may leave, asked at the last moment before its first byte: waiting for a connection, or
 * for this process's turn, may have taken long. A class on purpose: axios copies plain objects in its config.
 */
export abstract class Departure {
  /** `performance.now()` of the first byte; undefined while nothing left. */
  leftAt: number | undefined;

  /** `performance.now()` after which the call could outlast its lease. */
  abstract readonly latest: number;
  /** Why nothing may leave any more; null when it may. */
  abstract refusal(): string | null;
  /** `performance.now()` until which the permit of the rate limit is good. */
  abstract readonly permitUntil: number;
  /** Takes another permit in the place of one that grew old while the connection was made; false when there is none. */
  abstract renew(): Promise<boolean>;
}

export interface LeanConfig extends InternalAxiosRequestConfig {
  departure?: Departure;
}

/** What a response says besides its status and text; for people who look for the cause of trouble. */
export interface ResponseHead {
  readonly contentType: string | null;
  readonly contentEncoding: string | null;
  readonly location: string | null;
  readonly unreadable: string | null;
  readonly bytes: Buffer;
}

export interface LeanResponse extends AxiosResponse<string> {
  head: ResponseHead;
}

type Settle = (outcome: LeanResponse | AxiosError | typeof PERMIT_TOO_OLD) => void;

const PERMIT_TOO_OLD = Symbol('the connection is there, and the permit grew old meanwhile');

/**
 * axios' way to the wire for one short text out and one short text back. Its own adapter serves uploads, streams,
 * proxies and redirects, and with node:http below it takes twice the CPU of the whole rest of a delivery; this one
 * serves what partners get: keep-alive connections per origin without pipelining, a time limit over the call and
 * another one over its connection, a limit on the response, no redirect. It asks for no compression, and unpacks what
 * comes packed all the same.
 */
export class LeanAdapter {
  /**
   * A partner's own Keep-Alive header shortens how long a connection idles; it must end before the partner closes it
   * under a call.
   */
  private readonly agent: Agent;

  constructor(connectTimeoutMs: number) {
    this.agent = new Agent({ pipelining: 1, keepAliveTimeout: 4_000, connect: partnerConnector(connectTimeoutMs) });
    this.agent.on('connect', (_origin, targets) => skipContinue(targets.at(-1)));
  }

  destroy(): Promise<void> {
    return this.agent.destroy();
  }

  /**
   * `config.timeout` bounds the call from its first byte to the last one of the response. Rejects with AxiosError, as
   * every adapter.
   */
  readonly send = async (config: LeanConfig): Promise<LeanResponse> => {
    let call: Dispatcher.DispatchOptions;
    try {
      call = dispatchOptions(config);
    } catch (error) {
      throw new NeverLeft(`the partner's URL cannot be called: ${messageOf(error)}`, 'ERR_INVALID_URL', config);
    }
    for (;;) {
      const outcome = await new Promise<Parameters<Settle>[0]>((settle) =>
        this.agent.dispatch(call, new Exchange(config, settle)),
      );
      if (outcome === PERMIT_TOO_OLD) {
        // The connection was not used and waits for this very call.
        if ((await config.departure?.renew()) === true) continue;
        throw new NeverLeft(
          'its connection took so long that its permit grew old, and there is no other yet',
          'ERR_NO_PERMIT',
          config,
        );
      }
      if (outcome instanceof AxiosError) throw outcome;
      return outcome;
    }
  };
}

function dispatchOptions(config: LeanConfig): Dispatcher.DispatchOptions {
  const { url, authorization } = splitCredentials(config.url ?? '');
  const headers = config.headers.toJSON() as Record<string, string>;
  headers['Accept-Encoding'] = 'identity';
  if (authorization !== null) headers.Authorization = authorization;
  return { origin: url.origin, path: url.pathname + url.search, method: 'POST', headers, body: config.data as string };
}

interface Parser {
  onHeadersComplete(status: number, upgrade: boolean, keepAlive: boolean): number;
}

/**
 * undici takes an interim answer of 102 or 103 for what it is, and breaks the connection off at a 100, since none was
 * expected. RFC 9110 (15.2) has a client skip every interim answer, and balancers send this one unasked; so a 100 is
 * shown to undici as a 102.
 */
function skipContinue(client: unknown): void {
  const parser = (client as { [kSocket]?: (Socket & { [kParser]?: Parser }) | null })[kSocket]?.[kParser];
  if (parser === undefined) throw new Error('undici keeps its parser elsewhere now');
  const headersComplete = parser.onHeadersComplete.bind(parser);
  parser.onHeadersComplete = (status, upgrade, keepAlive) =>
    headersComplete(status === 100 ? 102 : status, upgrade, keepAlive);
}

class Exchange implements Dispatcher.DispatchHandler {
  private readonly chunks: Buffer[] = [];
  private readonly departure: Departure | undefined;
  private timer: NodeJS.Timeout;
  private controller: Dispatcher.DispatchController | undefined;
  private size = 0;
  private status = 0;
  private headers: Readonly<Record<string, string | string[] | undefined>> = {};
  private leftAt: number | undefined;
  private over = false;

  constructor(
    private readonly config: LeanConfig,
    private readonly settle: Settle,
  ) {
    this.departure = config.departure;
    // Armed for a connection that is there already; one that has to be made gets what is left from the moment when the
    // call leaves.
    this.timer = setTimeout(this.timeUp, Math.max(0, Math.min(config.timeout ?? 0, this.latest - performance.now())));
  }

  /** The last moment before the bytes. What is thrown here ends the call and leaves the connection to the next. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.over) throw new Error('the call is over');
    const now = performance.now();
    const refusal = this.departure?.refusal() ?? (now > this.latest ? 'there was no connection in time' : null);
    if (refusal !== null) throw this.end(new NeverLeft(refusal, 'ERR_TOO_LATE', this.config));
    if (this.departure !== undefined && now > this.departure.permitUntil) throw this.end(PERMIT_TOO_OLD);
    this.controller = controller;
    this.leftAt = now;
    if (this.departure !== undefined) this.departure.leftAt = now;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    if (status < 200) return;
    this.status = status;
    this.headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.size += chunk.length;
    if (this.size > this.bytesMax)
      this.fail(`an answer of more than ${this.bytesMax} bytes`, AxiosError.ERR_BAD_RESPONSE);
    else this.chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (this.over) return;
    const { config, status } = this;
    const bytes = this.chunks.length === 1 ? (this.chunks[0] as Buffer) : Buffer.concat(this.chunks);
    const [contentType, contentEncoding, retryAfter] = [
      this.header('content-type'),
      this.header('content-encoding'),
      this.header('retry-after'),
    ];
    const { text, unreadable }: BodyText = bodyText(bytes, contentEncoding, contentType, this.bytesMax);
    const response: LeanResponse = {
      data: text,
      status,
      statusText: '',
      headers: new AxiosHeaders(retryAfter === null ? {} : { 'retry-after': retryAfter }),
      config,
      head: { contentType, contentEncoding, location: this.header('location'), unreadable, bytes },
    };
    if (config.validateStatus?.(status) !== false) this.end(response);
    else
      this.end(
        new AxiosError(
          `Request failed with status code ${status}`,
          status >= 500 ? AxiosError.ERR_BAD_RESPONSE : AxiosError.ERR_BAD_REQUEST,
          config,
          undefined,
          response,
        ),
      );
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(error.message, (error as NodeJS.ErrnoException).code);
  }

  private get latest(): number {
    return this.departure?.latest ?? Infinity;
  }

  private get bytesMax(): number {
    return this.config.maxContentLength ?? Infinity;
  }

  private header(name: string): string | null {
    const value = this.headers[name];
    return (Array.isArray(value) ? value[0] : value) ?? null;
  }

  private readonly timeUp = (): void => {
    const now = performance.now();
    const timeoutMs = this.config.timeout ?? 0;
    const end = this.leftAt === undefined ? this.latest : this.leftAt + timeoutMs;
    // A timer may fire a moment early by this clock.
    if (end - now > 1) this.timer = setTimeout(this.timeUp, Math.min(end - now, 2 ** 31 - 1));
    else
      this.fail(
        this.leftAt === undefined ? 'there was no connection in time' : `no whole answer within ${timeoutMs} ms`,
        AxiosError.ETIMEDOUT,
      );
  };

  private fail(message: string, code: string | undefined): void {
    if (this.over) return;
    const error =
      this.leftAt === undefined
        ? new NeverLeft(message, code, this.config)
        : new AxiosError(message, code, this.config);
    this.end(error);
    this.controller?.abort(error);
  }

  private end(outcome: Parameters<Settle>[0]): Error {
    this.over = true;
    clearTimeout(this.timer);
    this.settle(outcome);
    return outcome instanceof Error ? outcome : new Error('the call is over');
  }
}
