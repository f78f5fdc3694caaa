import { setTimeout as delay } from 'node:timers/promises';
import type { SignedManifest } from '../reports/manifest';
import type { RunView } from '../runs/recon.dto';

const CALL_MS_MAX = 60_000;
const POLL_MS_MIN = 150;
const POLL_MS_MAX = 2_000;
const AGAIN_MS_MIN = 250;
const AGAIN_MS_MAX = 5_000;
/** What a balancer or a hub that starts, stops or has no database answers: later it will be another answer. */
const LATER: ReadonlySet<number> = new Set([408, 425, 429, 502, 503, 504]);

/** Ends the command with a code and a message; codes as in the usage text. */
export class CliError extends Error {
  constructor(
    readonly exitCode: 2 | 3 | 4,
    message: string,
  ) {
    super(message);
  }
}

/** The hub does not answer, or not yet. */
class NotNow extends Error {
  constructor(
    message: string,
    readonly afterMs: number,
  ) {
    super(message);
  }
}

export interface HubAccess {
  readonly url: string;
  readonly token: string;
  /** The token's source, for the message when it opens nothing. */
  readonly tokenFrom: string;
  /** How long a hub that does not answer is asked again before it counts as out of reach. */
  readonly patienceMs: number;
}

/** The hub's API as a command line needs it. Each call is asked again while the hub restarts; so each must be safe to repeat. */
export class HubClient {
  constructor(
    private readonly hub: HubAccess,
    private readonly say: (line: string) => void,
  ) {}

  /** `key` makes a repeat get the same run: a response that was lost must not begin a second one. */
  start(body: Record<string, unknown>, key: string): Promise<RunView> {
    return this.json('POST', '/v1/recon/runs', { body, key });
  }

  /** Waits for the end; `look` sees every state on the way. */
  async ended(run: RunView, timeoutMs: number, look: (run: RunView) => void): Promise<RunView> {
    const deadline = performance.now() + timeoutMs;
    let pollMs = POLL_MS_MIN;
    for (let now = run; ; now = await this.json<RunView>('GET', `/v1/recon/runs/${run.id}`)) {
      look(now);
      if (now.state === 'sealed' || now.state === 'failed' || now.state === 'cancelled') return now;
      if (performance.now() > deadline)
        throw new CliError(3, `run ${run.id} has not ended in time; it is ${now.state} and goes on`);
      await delay(pollMs);
      pollMs = Math.min(pollMs * 1.3, POLL_MS_MAX);
    }
  }

  /** With the digest of the file that `query` names, if it names one. */
  manifest(runId: string, query: string): Promise<SignedManifest> {
    return this.json('GET', `/v1/recon/runs/${runId}/manifest${query === '' ? '' : `?${query}`}`);
  }

  /** The file's bytes as they come. A file that broke off goes on where it stopped: it is the same bytes whenever it is asked for. */
  async *file(path: string): AsyncGenerator<Uint8Array> {
    let given = 0;
    let etag: string | null | undefined;
    for (let outage: Outage | undefined; ;) {
      try {
        const response = await this.call('GET', path);
        if (etag !== undefined && response.headers.get('etag') !== etag)
          throw new CliError(4, 'the hub gave another file the second time');
        etag = response.headers.get('etag');
        let skipped = 0;
        for await (const chunk of chunksOf(response)) {
          const fresh = chunk.subarray(Math.min(chunk.length, given - skipped));
          skipped += chunk.length - fresh.length;
          if (fresh.length === 0) continue;
          given += fresh.length;
          skipped += fresh.length;
          outage = undefined;
          yield fresh;
        }
        return;
      } catch (error) {
        if (!(error instanceof NotNow)) throw error;
        outage = await this.wait(outage, error);
      }
    }
  }

  private async json<T>(
    method: string,
    path: string,
    request?: { body: Record<string, unknown>; key: string },
  ): Promise<T> {
    for (let outage: Outage | undefined; ;) {
      const response = await this.call(method, path, request);
      let text: string;
      try {
        text = await response.text();
      } catch (error) {
        outage = await this.wait(outage, new NotNow(reasonOf(error), AGAIN_MS_MIN));
        continue;
      }
      try {
        return JSON.parse(text) as T;
      } catch {
        throw new CliError(4, `what answers at ${this.hub.url} is no hub: its answer to ${path} is no JSON`);
      }
    }
  }

  private async call(
    method: string,
    path: string,
    request?: { body: Record<string, unknown>; key: string },
  ): Promise<Response> {
    for (let outage: Outage | undefined; ;) {
      try {
        return await this.once(method, path, request);
      } catch (error) {
        if (!(error instanceof NotNow)) throw error;
        outage = await this.wait(outage, error);
      }
    }
  }

  /** Waits before the next try. Throws when the hub's time is over. */
  private async wait(outage: Outage | undefined, { message, afterMs }: NotNow): Promise<Outage> {
    const now = performance.now();
    const { since, tries } = outage ?? { since: now, tries: 0 };
    const leftMs = this.hub.patienceMs - (now - since);
    if (leftMs <= 0)
      throw new CliError(
        3,
        `the hub at ${this.hub.url} cannot be reached: ${message}${this.hub.patienceMs === 0 ? '' : `, for ${Math.round(this.hub.patienceMs / 1000)} seconds`}`,
      );
    if (tries === 0)
      this.say(
        `The hub at ${this.hub.url} does not answer (${message}); it is asked again for ${Math.round(this.hub.patienceMs / 1000)} seconds.`,
      );
    await delay(Math.min(leftMs, Math.max(afterMs, Math.min(AGAIN_MS_MIN * 2 ** tries, AGAIN_MS_MAX))));
    return { since, tries: tries + 1 };
  }

  private async once(
    method: string,
    path: string,
    request?: { body: Record<string, unknown>; key: string },
  ): Promise<Response> {
    const headers = {
      authorization: `Bearer ${this.hub.token}`,
      accept: '*/*',
      'accept-encoding': 'identity',
      ...(request === undefined ? {} : { 'content-type': 'application/json', 'idempotency-key': request.key }),
    };
    const begun = new AbortController();
    const timer = setTimeout(() => begun.abort(new Error('no answer in time')), CALL_MS_MAX);
    let response: Response;
    try {
      // A redirect is reported and not followed: the token is for this host, and another would be called without it.
      response = await fetch(this.hub.url + path, {
        method,
        headers,
        redirect: 'manual',
        signal: begun.signal,
        ...(request === undefined ? {} : { body: JSON.stringify(request.body) }),
      });
    } catch (error) {
      throw new NotNow(reasonOf(error), 0);
    } finally {
      // Only the first byte is waited for; a long file may take its time.
      clearTimeout(timer);
    }
    if (response.ok) return response;
    throw await this.refusal(response);
  }

  private async refusal(response: Response): Promise<CliError | NotNow> {
    const { status } = response;
    const { url, tokenFrom } = this.hub;
    if (status >= 300 && status < 400)
      return new CliError(
        2,
        `the hub at ${url} answers with a redirect (${status}) to ${placeOf(response.headers.get('location'), url)}; give the address that it leads to as --url`,
      );
    const text = await response.text().catch(() => '');
    const says = problemOf(text) ?? `status ${status}`;
    if (LATER.has(status)) return new NotNow(says, retryAfterMs(response.headers.get('retry-after')));
    if (status === 401)
      return new CliError(2, `the hub says: ${says}. It does not know the token, which came from ${tokenFrom}`);
    if (status === 403)
      return new CliError(2, `the hub says: ${says}. The token, which came from ${tokenFrom}, is not one of finance`);
    return new CliError(status === 422 ? 2 : 4, `the hub says: ${says}`);
  }
}

interface Outage {
  readonly since: number;
  readonly tries: number;
}

/** The body, with a limit on each silence. Throws NotNow when it breaks off. */
async function* chunksOf(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) throw new CliError(4, 'the hub sent no file');
  try {
    for (;;) {
      const silence = new AbortController();
      const next = await Promise.race([
        reader.read(),
        delay(CALL_MS_MAX, 'silent' as const, { signal: silence.signal }).catch(() => 'silent' as const),
      ]).catch((error: unknown) => reasonOf(error));
      silence.abort();
      if (typeof next === 'string')
        throw new NotNow(next === 'silent' ? 'the report stopped' : `the report broke off: ${next}`, 0);
      if (next.done) return;
      yield next.value as Uint8Array;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Without user, password and query, which may be secrets. */
function placeOf(location: string | null, asked: string): string {
  if (location === null || !URL.canParse(location, asked)) return 'nowhere';
  const { origin, pathname } = new URL(location, asked);
  return origin + pathname;
}

function retryAfterMs(value: string | null): number {
  return value !== null && /^\d{1,4}$/.test(value) ? Number(value) * 1000 : 0;
}

function problemOf(text: string): string | undefined {
  try {
    const { detail, errors } = JSON.parse(text) as { detail?: string; errors?: { field: string; message: string }[] };
    return errors === undefined ? detail : errors.map(({ field, message }) => `${field}: ${message}`).join('; ');
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return error instanceof Error ? error.message : String(error);
}
