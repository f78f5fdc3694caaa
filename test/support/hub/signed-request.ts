import { createHmac, randomUUID } from 'node:crypto';

/**
 * Written from docs/integration.md, on purpose not imported from src: a fault in the hub's signing must not cancel
 * itself out here.
 */
export function signatureOf(secret: string, timestamp: string, body: string | Buffer): string {
  return createHmac('sha256', secret)
    .update(Buffer.concat([Buffer.from(`${timestamp}:`), Buffer.from(body)]))
    .digest('hex');
}

export interface RequestOptions {
  readonly token?: string | null;
  readonly secret?: string;
  /** Unix seconds as text; null leaves the header out. */
  readonly timestamp?: string | null;
  /** Overrides the right signature; null leaves the header out. */
  readonly signature?: string | null;
  /** null sends none; default: a fresh one. */
  readonly idempotencyKey?: string | null;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Parsed, or undefined when the answer is not JSON. */
  readonly body: any;
}

/** A partner's request, well or badly signed. `body` is sent exactly as given when it is text or bytes. */
export async function signedRequest(
  method: string,
  url: string,
  body: unknown,
  options: RequestOptions = {},
): Promise<HttpAnswer> {
  const raw = body === undefined ? '' : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  const timestamp = options.timestamp === undefined ? Math.floor(Date.now() / 1000).toString() : options.timestamp;
  const signature =
    options.signature === undefined
      ? signatureOf(options.secret ?? 'change_secret', timestamp ?? '', raw)
      : options.signature;
  const headers: Record<string, string> = {
    ...(body === undefined ? {} : { 'content-type': options.contentType ?? 'application/json' }),
    ...(options.token === null ? {} : { authorization: `Bearer ${options.token ?? 'change_token'}` }),
    ...(timestamp === null ? {} : { 'x-timestamp': timestamp }),
    ...(signature === null ? {} : { 'x-signature': signature }),
    ...(options.idempotencyKey === null || method === 'GET'
      ? {}
      : { 'idempotency-key': options.idempotencyKey ?? randomUUID() }),
    ...options.headers,
  };
  const response = await fetch(url, {
    method,
    headers,
    ...(body === undefined ? {} : { body: typeof raw === 'string' ? raw : new Uint8Array(raw) }),
    redirect: 'manual',
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
