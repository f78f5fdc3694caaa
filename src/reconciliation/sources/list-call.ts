import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../kernel/errors';
import type { Partner } from '../../partners/partner';
import type { OpenStream, PartnerHttp } from '../../partners/partner-http';
import { ListJsonError } from './list-json';
import type { ReadLimits } from './read-limits';
import { type Side, SourceError, type SourceFault } from './source';

/** Declared types that are no lists; a list without a type is looked at. */
const JSON_TYPE = /^(?:application|text)\/(?:[\w.+-]+\+)?json$/;
/** Blanks before the first word of a list, at most. */
const LEADING_BYTES_MAX = 64 * 1024;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/** How often and how long one call is tried again. */
export interface Patience {
  /** Tries after the first, when the connection breaks or the answer is a 5xx. */
  readonly retries: number;
  /** Before the first repeat; doubled for each further one. */
  readonly backoffMs: number;
}

/** An answer whose body is still to be read; `first` is its first byte that is no blank, and still in `chunks`. */
export interface OpenAnswer {
  readonly first: number | undefined;
  readonly chunks: AsyncGenerator<Buffer, void, void>;
  readonly header: OpenStream['header'];
}

/** Something about the partner's answer that no repeat would mend. */
export class ListFault extends Error {
  constructor(
    readonly reason: SourceFault,
    detail: string,
  ) {
    super(detail);
    this.name = 'ListFault';
  }
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
  async fetch<T>(url: string, use: (answer: OpenAnswer) => Promise<T>): Promise<T> {
    for (let failures = 0, throttled = 0; ; ) {
      try {
        return await use(await this.open(url));
      } catch (error) {
        const wait = this.pauseBefore(error, failures, throttled);
        if (wait.throttled) throttled += 1;
        else failures += 1;
        this.pause();
        // An abort is told by the next try, which does not start.
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
    if (this.readingMs > this.limits.listMs) throw this.fault('never_ends', `it was read for ${Math.round(this.limits.listMs / 1000)} s and has no end`);
  }

  /** Ends the call that is under way, if any. */
  close(): void {
    clearTimeout(this.timer);
    this.current?.abort();
  }

  /** What an error that came up while the list was read means. */
  translate(error: unknown): SourceError {
    if (error instanceof SourceError) return error;
    if (this.gone.aborted) return this.fault('aborted', 'nobody waits for it any more', error);
    if (this.tooSlow) return this.fault('too_slow', `no whole page within ${this.limits.pageMs / 1000} s`, error);
    if (error instanceof ListFault) return this.fault(error.reason, error.message, error);
    if (error instanceof ListJsonError) return this.fault(error.fault, error.message, error);
    const { status, retryAfterMs } = this.http.refusal(error);
    if (status === null) return this.fault('unreachable', messageOf(error), error);
    if (isThrottle(status, retryAfterMs)) return this.fault('throttled', `HTTP ${status}${retryAfterMs === null ? '' : ` with a pause of ${Math.ceil(retryAfterMs / 1000)} s`}`, error);
    return this.fault(status >= 300 && status < 400 ? 'redirected' : 'bad_status', `HTTP ${status}`, error);
  }

  fault(reason: SourceFault, detail: string, cause?: unknown): SourceError {
    return new SourceError(this.side, reason, detail, { cause });
  }

  private async open(url: string): Promise<OpenAnswer> {
    if (this.gone.aborted) throw this.fault('aborted', 'nobody waits for it any more');
    this.current?.abort();
    const controller = new AbortController();
    this.current = controller;
    this.resume();
    const signal = AbortSignal.any([this.gone, controller.signal]);
    const { body, header } = await this.http.stream(this.partner, url, 'application/json', 0, signal);
    const stop = () => body.destroy(new Error('the reader left'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    // A body that breaks while nobody reads it has no other listener, and that would end the process; its reader meets the failure itself.
    body.on('error', () => undefined);
    const type = header('content-type')?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
    if (type !== '' && !JSON_TYPE.test(type)) {
      stop();
      throw new ListFault('wrong_content_type', `its content type is ${/^[\w.+/-]{1,60}$/.test(type) ? type : 'not JSON'}`);
    }
    return { ...(await lookedAt(body)), header };
  }

  /** How long to wait before the next try; throws the error, translated, when there is to be none. */
  private pauseBefore(error: unknown, failures: number, throttled: number): { ms: number; throttled: boolean } {
    const fault = this.translate(error);
    if (fault.reason === 'throttled') {
      const { retryAfterMs } = this.http.refusal(error);
      if (throttled + 1 >= this.limits.throttledTriesMax || (retryAfterMs ?? 0) > this.limits.retryAfterMsMax) throw fault;
      return { ms: Math.max(retryAfterMs ?? 0, this.backoffMs(throttled)), throttled: true };
    }
    const { status } = this.http.refusal(error);
    if (fault.reason !== 'unreachable' && !(fault.reason === 'bad_status' && status !== null && status >= 500)) throw fault;
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

/** Reads up to the first byte that is no blank, which tells what kind of list it is. Takes a byte order mark away. */
async function lookedAt(body: AsyncIterable<Buffer>): Promise<Pick<OpenAnswer, 'first' | 'chunks'>> {
  const source = body[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  for (;;) {
    const next = await source.next();
    if (next.done === true) return { first: undefined, chunks: joined(Buffer.alloc(0), source) };
    head = Buffer.concat([head, next.value]);
    if (head.length < BYTE_ORDER_MARK.length && BYTE_ORDER_MARK.subarray(0, head.length).equals(head)) continue;
    const text = head.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK) ? head.subarray(BYTE_ORDER_MARK.length) : head;
    const at = text.findIndex((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09);
    if (at >= 0) return { first: text[at], chunks: joined(text.subarray(at), source) };
    if (head.length > LEADING_BYTES_MAX) throw new ListFault('not_json', 'it begins with nothing but blanks');
  }
}

async function* joined(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void, void> {
  if (head.length > 0) yield head;
  try {
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
