/** A request as Swagger UI is about to send it, and a response as it came. */
interface PageRequest {
  url: string;
  method?: string;
  headers: Record<string, string>;
  body?: unknown;
  loadSpec?: boolean;
}

interface PageResponse {
  readonly url: string;
  readonly ok: boolean;
  readonly text?: unknown;
}

/**
 * Runs in the page of Swagger UI before each request, written out as text: it may use nothing from outside itself. What
 * was typed under Authorize as the key of a signature arrives as the header X-Signature or X-Signature-V2; it leaves as
 * the signature, with the time and, where none was typed, a fresh Idempotency-Key. The key stays in the page's memory
 * and goes into no URL and no storage.
 */
export async function signRequest(request: PageRequest): Promise<PageRequest> {
  if (request.loadSpec === true) return request;
  const find = (wanted: string): string | undefined =>
    Object.keys(request.headers).find((name) => name.toLowerCase() === wanted);
  const [slot, boundSlot] = [find('x-signature'), find('x-signature-v2')];
  if (slot === undefined && boundSlot === undefined) return request;
  const { headers } = request;
  const method = (request.method ?? 'GET').toUpperCase();
  const typed = find('idempotency-key');
  const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (method === 'POST' && request.url.includes('/wallet/') && typed === undefined)
    headers['Idempotency-Key'] = hex(crypto.getRandomValues(new Uint8Array(16)));
  if (typeof request.body === 'string' && request.url.endsWith('/webhooks/incoming')) {
    // The example names no call of this hub; the debit that was tried last on this page is one.
    const answered = (globalThis as { hubCorrelationIds?: Record<string, string> }).hubCorrelationIds ?? {};
    const refId = /"refId"\s*:\s*"([^"]+)"/.exec(request.body)?.[1] ?? '';
    const known = answered[refId];
    if (known !== undefined) request.body = request.body.replace('019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11', known);
  }
  // Undefined where the page came over plain http from another machine: browsers have no cryptography there.
  const subtle = crypto.subtle as typeof crypto.subtle | undefined;
  if (subtle === undefined) throw new Error('This page can sign only on localhost or over https.');
  const utf8 = new TextEncoder();
  const mac = async (secret: string, text: string): Promise<string> => {
    const key = await subtle.importKey('raw', utf8.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    return hex(new Uint8Array(await subtle.sign('HMAC', key, utf8.encode(text))));
  };
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const body = typeof request.body === 'string' ? request.body : '';
  const [secret, boundSecret] = [
    slot === undefined ? undefined : headers[slot],
    boundSlot === undefined ? undefined : headers[boundSlot],
  ];
  for (const stale of [slot, boundSlot, find('x-timestamp')]) if (stale !== undefined) delete headers[stale];
  if (secret !== undefined) {
    headers['X-Timestamp'] = timestamp;
    headers['X-Signature'] = await mac(secret, `${timestamp}:${body}`);
  }
  if (boundSecret !== undefined) {
    const { host, pathname, search } = new URL(
      request.url,
      (globalThis as { location?: { href: string } }).location?.href,
    );
    const [, kid = 'env', key = boundSecret] = /^kid=([^;]+);(.*)$/.exec(boundSecret) ?? [];
    const digest = hex(new Uint8Array(await subtle.digest('SHA-256', utf8.encode(body))));
    const text = [
      'hub-v2',
      timestamp,
      method,
      host,
      pathname + search,
      headers[typed ?? 'Idempotency-Key'] ?? '',
      headers[find('x-operator') ?? ''] ?? '',
      digest,
    ].join('\n');
    headers['X-Signature-V2'] = `t=${timestamp},kid=${kid},v2=${await mac(key, text)}`;
  }
  return request;
}

/** Runs in the page likewise: remembers what a debit was answered with, for the callback that may be tried next. */
export function rememberResponse(answer: PageResponse): PageResponse {
  if (!answer.ok || typeof answer.text !== 'string' || !/\/wallet\/(?:debit|credit)$/.test(answer.url)) return answer;
  const refId = /"refId":"([^"]+)"/.exec(answer.text)?.[1];
  const correlationId = /"correlationId":"([^"]+)"/.exec(answer.text)?.[1];
  const page = globalThis as { hubCorrelationIds?: Record<string, string> };
  if (refId !== undefined && correlationId !== undefined)
    page.hubCorrelationIds = { ...page.hubCorrelationIds, [refId]: correlationId };
  return answer;
}
