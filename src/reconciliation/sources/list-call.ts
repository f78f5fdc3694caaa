import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../kernel/errors';
import type { Partner } from '../../partners/partner';
import { type OpenResponse, openList } from '../../partners/lists/list-response';
import { ListFailure } from '../../partners/lists/list-failure';
import { ListJsonError } from '../../json/list-json';
import type { PartnerHttp } from '../../partners/partner-http';
import type { ReadLimits } from './read-limits';
import { type Side, SourceError, type SourceFault } from './source';

/** How often and how long one call is tried again. */
export interface Patience {
  /** Tries after the first, when the connection breaks or the response is a 5xx. */
  readonly retries: number;
  /** Before the first repeat; doubled for each further one. */
  readonly backoffMs: number;
}

/** The calls of one reading of one side's list: signed, checked, timed and repeated. Throws SourceError only. */
export class ListCall {
  private timer: NodeJS.Timeout | undefined;
  private current: AbortController | undefined;
  private tooSlow = false;
  private readingMs = 0;
  private resumedAt = 0;

  constructor(
    private readonly http: PartnerHttp,
    private readonly side: Side,
    private readonly partner: Partner,
    private readonly limits: ReadLimits,
    private readonly patience: Patience,
    private readonly gone: AbortSignal,
  ) {}

  /**
   * Opens the list and has it used. Broken connections, 5xx and requests to wait are tried again, also while `use` reads: what it has made
   * until then is dropped. The clock of the page runs on after `use`, until `pause`.
   */
  async fetch<T>(url: string, use: (answer: OpenResponse) => Promise<T>): Promise<T> {
    for (let failures = 0, throttled = 0; ;) {
      try {
        return await use(await this.open(url));
      } catch (error) {
        const wait = this.pauseBefore(error, failures, throttled);
        if (wait.throttled) throttled += 1;
        else failures += 1;
        this.pause();
        // The next try reports an abort: it does not start.
        await delay(wait.ms, undefined, { signal: this.gone }).catch(() => undefined);
      }
    }
  }

  /** Starts the time of the next page. */
  resume(): void {
    this.pause();
    this.tooSlow = false;
    this.resumedAt = performance.now();
    this.timer = setTimeout(() => {
      this.tooSlow = true;
      this.current?.abort();
    }, this.limits.pageMs);
  }

  /** The consumer has the page and takes its own time. Throws when the whole list has taken longer than any honest one. */
  pause(): void {
    clearTimeout(this.timer);
    if (this.resumedAt > 0) this.readingMs += performance.now() - this.resumedAt;
    this.resumedAt = 0;
    if (this.readingMs > this.limits.listMs)
      throw this.fault('never_ends', `it was read for ${Math.round(this.limits.listMs / 1000)} s and has no end`);
  }

  /** Ends the call that is under way, if any. */
  close(): void {
    clearTimeout(this.timer);
    this.current?.abort();
  }

  /** What an error that came up while the list was read means. */
  translate(error: unknown): SourceError {
    if (error instanceof SourceError) return error;
    if (this.gone.aborted) return this.fault('aborted', 'no caller waits for it any more', error);
    if (this.tooSlow) return this.fault('too_slow', `no whole page within ${this.limits.pageMs / 1000} s`, error);
    if (error instanceof ListFailure) return this.fault(error.reason, error.message, error);
    if (error instanceof ListJsonError) return this.fault(error.fault, error.message, error);
    const { status, retryAfterMs } = this.http.refusal(error);
    if (status === null) return this.fault('unreachable', messageOf(error), error);
    if (isThrottle(status, retryAfterMs))
      return this.fault(
        'throttled',
        `HTTP ${status}${retryAfterMs === null ? '' : ` with a pause of ${Math.ceil(retryAfterMs / 1000)} s`}`,
        error,
      );
    return this.fault(status >= 300 && status < 400 ? 'redirected' : 'bad_status', `HTTP ${status}`, error);
  }

  fault(reason: SourceFault, detail: string, cause?: unknown): SourceError {
    return new SourceError(this.side, reason, detail, { cause });
  }

  private async open(url: string): Promise<OpenResponse> {
    if (this.gone.aborted) throw this.fault('aborted', 'no caller waits for it any more');
    this.current?.abort();
    const controller = new AbortController();
    this.current = controller;
    this.resume();
    return openList(this.http, this.partner, url, 0, AbortSignal.any([this.gone, controller.signal]));
  }

  /** How long to wait before the next try; throws the error, translated, when there is to be none. */
  private pauseBefore(error: unknown, failures: number, throttled: number): { ms: number; throttled: boolean } {
    const fault = this.translate(error);
    if (fault.reason === 'throttled') {
      const { retryAfterMs } = this.http.refusal(error);
      if (throttled + 1 >= this.limits.throttledTriesMax || (retryAfterMs ?? 0) > this.limits.retryAfterMsMax)
        throw fault;
      return { ms: Math.max(retryAfterMs ?? 0, this.backoffMs(throttled)), throttled: true };
    }
    const { status } = this.http.refusal(error);
    if (fault.reason !== 'unreachable' && !(fault.reason === 'bad_status' && status !== null && status >= 500))
      throw fault;
    if (failures >= this.patience.retries) throw fault;
    return { ms: this.backoffMs(failures), throttled: false };
  }

  /** Half of it by chance, so that readers who failed together do not come back together. */
  private backoffMs(tries: number): number {
    const full = Math.min(this.patience.backoffMs * 2 ** tries, this.limits.backoffMsMax);
    return full / 2 + (Math.random() * full) / 2;
  }
}

function isThrottle(status: number, retryAfterMs: number | null): boolean {
  return status === 429 || (status === 503 && retryAfterMs !== null);
}
