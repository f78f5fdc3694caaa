import { AxiosError, AxiosHeaders, type AxiosResponse, type InternalAxiosRequestConfig } from 'axios';
import type { Dispatcher } from 'undici';
import Agent from 'undici/lib/dispatcher/agent';

/** Code of the error when a call could not leave in time; nothing was sent. */
export const TOO_LATE = 'ERR_TOO_LATE';

export interface LeanConfig extends InternalAxiosRequestConfig {
  /** `performance.now()` after which the call must not leave any more. */
  leaveBy?: number;
}

/**
 * axios' way to the wire for one short text out and one short text back. Its own adapter serves uploads, streams, proxies, redirects and
 * compression, and with node:http below it takes twice the CPU of the whole rest of a delivery; this one serves what partners get: keep-alive
 * connections per origin without pipelining, a time limit over the whole call, a limit on the answer, no redirect, no compression.
 */
export class LeanAdapter {
  /** A partner's own Keep-Alive header shortens how long a connection idles; it must end before the partner closes it under a call. */
  private readonly agent = new Agent({ pipelining: 1, keepAliveTimeout: 4_000 });

  destroy(): Promise<void> {
    return this.agent.destroy();
  }

  /** `config.timeout` bounds the call from now to the last byte of the answer. Rejects with AxiosError, as every adapter. */
  readonly send = (config: LeanConfig): Promise<AxiosResponse<string>> =>
    new Promise((resolve, reject) => {
      const url = new URL(config.url ?? '');
      const headers = config.headers.toJSON() as Record<string, string>;
      headers['Accept-Encoding'] = 'identity';
      if (url.username !== '' || url.password !== '') headers.Authorization = `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString('base64')}`;
      const exchange = new Exchange(config, resolve, reject);
      this.agent.dispatch({ origin: url.origin, path: url.pathname + url.search, method: 'POST', headers, body: config.data as string }, exchange);
    });
}

class Exchange implements Dispatcher.DispatchHandler {
  private readonly chunks: Buffer[] = [];
  private readonly timer: NodeJS.Timeout;
  private controller: Dispatcher.DispatchController | undefined;
  private size = 0;
  private status = 0;
  private retryAfter: string | undefined;
  private over = false;

  constructor(
    private readonly config: LeanConfig,
    private readonly resolve: (response: AxiosResponse<string>) => void,
    private readonly reject: (error: AxiosError) => void,
  ) {
    this.timer = setTimeout(() => this.fail(new AxiosError(`no whole answer within ${config.timeout} ms`, AxiosError.ETIMEDOUT, config)), config.timeout);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    if (this.over) controller.abort(new Error('the call is over'));
    // The last moment before the bytes: waiting for a connection, or for this process's turn, may have taken long.
    else if (performance.now() > (this.config.leaveBy ?? Infinity)) this.fail(new AxiosError('there was no connection in time', TOO_LATE, this.config));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void {
    this.status = status;
    const retryAfter = headers['retry-after'];
    this.retryAfter = Array.isArray(retryAfter) ? retryAfter[0] : retryAfter;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.size += chunk.length;
    if (this.size > (this.config.maxContentLength ?? Infinity)) this.fail(new AxiosError(`an answer of more than ${this.config.maxContentLength} bytes`, AxiosError.ERR_BAD_RESPONSE, this.config));
    else this.chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (this.over) return;
    this.finish();
    const { config, status } = this;
    const response: AxiosResponse<string> = { data: Buffer.concat(this.chunks).toString('utf8'), status, statusText: '', headers: new AxiosHeaders(this.retryAfter === undefined ? {} : { 'retry-after': this.retryAfter }), config };
    if (config.validateStatus?.(status) !== false) this.resolve(response);
    else this.reject(new AxiosError(`Request failed with status code ${status}`, status >= 500 ? AxiosError.ERR_BAD_RESPONSE : AxiosError.ERR_BAD_REQUEST, config, undefined, response));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(AxiosError.from(error, (error as NodeJS.ErrnoException).code, this.config));
  }

  private fail(error: AxiosError): void {
    if (this.over) return;
    this.finish();
    this.controller?.abort(error);
    this.reject(error);
  }

  private finish(): void {
    this.over = true;
    clearTimeout(this.timer);
  }
}
