import { setTimeout as delay } from 'node:timers/promises';
import type { SignedManifest } from '../manifest';
import type { RunView } from '../recon.dto';

const CALL_MS_MAX = 60_000;
const POLL_MS_MIN = 150;
const POLL_MS_MAX = 2_000;

/** Ends the command with a code and a message; codes as in the usage text. */
export class CliError extends Error {
  constructor(
    readonly exitCode: 2 | 3 | 4,
    message: string,
  ) {
    super(message);
  }
}

/** The hub's API as a command line needs it. */
export class HubClient {
  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  start(body: Record<string, unknown>): Promise<RunView> {
    return this.json('POST', '/v1/recon/runs', body);
  }

  /** Waits for the end; `look` sees every state on the way. */
  async ended(run: RunView, timeoutMs: number, look: (run: RunView) => void): Promise<RunView> {
    const deadline = performance.now() + timeoutMs;
    let pollMs = POLL_MS_MIN;
    for (let now = run; ; now = await this.json<RunView>('GET', `/v1/recon/runs/${run.id}`)) {
      look(now);
      if (now.state === 'sealed' || now.state === 'failed' || now.state === 'cancelled') return now;
      if (performance.now() > deadline) throw new CliError(3, `run ${run.id} has not ended in time; it is ${now.state} and goes on`);
      await delay(pollMs);
      pollMs = Math.min(pollMs * 1.3, POLL_MS_MAX);
    }
  }

  manifest(runId: string): Promise<SignedManifest> {
    return this.json('GET', `/v1/recon/runs/${runId}/manifest`);
  }

  /** The file's bytes as they come. */
  async file(path: string): Promise<ReadableStream<Uint8Array>> {
    const response = await this.call('GET', path);
    if (response.body === null) throw new CliError(4, 'the hub sent no file');
    return response.body;
  }

  private async json<T>(method: string, path: string, body?: Record<string, unknown>): Promise<T> {
    return (await (await this.call(method, path, body)).json()) as T;
  }

  private async call(method: string, path: string, body?: Record<string, unknown>): Promise<Response> {
    const headers = { authorization: `Bearer ${this.token}`, accept: '*/*', 'accept-encoding': 'identity', ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const begun = new AbortController();
    const timer = setTimeout(() => begun.abort(new Error('no answer in time')), CALL_MS_MAX);
    let response: Response;
    try {
      response = await fetch(this.url + path, { method, headers, signal: begun.signal, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    } catch (error) {
      throw new CliError(3, `the hub at ${this.url} cannot be reached: ${reasonOf(error)}`);
    } finally {
      // Only the first byte is waited for; a long file may take its time.
      clearTimeout(timer);
    }
    if (response.ok) return response;
    throw await refusal(response);
  }
}

async function refusal(response: Response): Promise<CliError> {
  const text = await response.text();
  const { status } = response;
  const says = problemOf(text) ?? `status ${status}`;
  return new CliError(status === 401 || status === 403 || status === 422 ? 2 : status === 502 || status === 503 ? 3 : 4, `the hub says: ${says}`);
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
