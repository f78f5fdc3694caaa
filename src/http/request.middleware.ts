import type { NextFunction, Response } from 'express';
import { randomUUID } from 'node:crypto';
import { HubError } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { Metrics } from '../observability/metrics';
import { type RequestContext, currentContext, runInContext } from '../observability/request-context';
import type { HubRequest } from './access';

export const BODY_BYTES_MAX = 64 * 1024;
/** How long a client may go on sending a body that was refused. */
const LINGER_MS = 2_000;
/**
 * Probes come every second and say nothing new; a callback that was taken has a line of its own, `webhook.received`.
 */
const QUIET = /^\/(health|metrics)/;
const isQuiet = (route: string, status: number): boolean =>
  QUIET.test(route) || (route === '/webhooks/incoming' && status < 400);

/** Opens the request's context, writes one wide line when its response is out, and lets nothing pass without a Host. */
export function requestContext(
  logger: Logger,
  metrics: Metrics,
): (request: HubRequest, response: Response, next: NextFunction) => void {
  return (request, response, next) => {
    const started = performance.now();
    const given = request.headers['x-request-id'];
    const context: RequestContext = {
      requestId: typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID(),
    };
    response.setHeader('X-Request-Id', context.requestId);
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Cache-Control', 'no-store');
    response.once('close', () => {
      const ms = performance.now() - started;
      const route = (request.route as { path?: string } | undefined)?.path ?? 'none';
      metrics.httpSeconds.observe({ method: request.method, route, status: response.statusCode }, ms / 1000);
      const level = response.statusCode >= 500 ? 'error' : isQuiet(route, response.statusCode) ? 'debug' : 'info';
      runInContext(context, () =>
        logger.event(level, 'http.answered', {
          method: request.method,
          route,
          status: response.statusCode,
          durationMs: Math.round(ms * 10) / 10,
          completed: response.writableFinished,
          partner: context.partner,
          correlationId: context.correlationId,
          problem: context.problem,
          replayed: context.replayed,
        }),
      );
    });
    runInContext(context, () => next(missingHost(request) ?? strangeTarget(request)));
  };
}

/** RFC 9112, 3.2: a request of HTTP/1.1 without Host is refused; two servers could each take it for the other's. */
function missingHost({ headers, httpVersion }: HubRequest): HubError | undefined {
  return headers.host === undefined && httpVersion !== '1.0'
    ? new HubError('malformed_request', { detail: 'malformed request: the Host header is missing' })
    : undefined;
}

/**
 * A target of other characters, or with "#", would be read by Node's old URL parser, which takes a backslash for a
 * slash: the hub would see another path than the proxy before it. The absolute form, which RFC 9112 wants to be taken,
 * is cut down to its path.
 */
function strangeTarget(request: HubRequest): HubError | undefined {
  const absolute = /^https?:\/\/[^/?#\\]*/i.exec(request.url)?.[0];
  if (absolute !== undefined)
    request.url =
      request.originalUrl = `${request.url.startsWith('/', absolute.length) ? '' : '/'}${request.url.slice(absolute.length)}`;
  return request.url === '*' || /^\/[\x21\x22\x24-\x7e]*$/.test(request.url)
    ? undefined
    : new HubError('malformed_request', {
        detail: 'malformed request: the target must be a path of visible ASCII characters without "#"',
      });
}

/**
 * Keeps the exact bytes: they are what was signed. Nothing is parsed here, and compressed bodies are refused. Express's
 * own reader answers a body that is too long only when the last of it has come, which may be never.
 */
export function rawBody(): (request: HubRequest, response: Response, next: NextFunction) => void {
  return (request, _response, next) => {
    const { 'content-encoding': encoding, 'content-length': length, 'transfer-encoding': chunked } = request.headers;
    if (length === undefined && chunked === undefined) return next();
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') return next(compressed(encoding));
    if (Number(length) > BODY_BYTES_MAX) return next(tooLong(request));
    const context = currentContext();
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = (error?: unknown): void => {
      request.off('data', take).off('end', whole).off('error', broken);
      // The stream's callbacks may run outside the context in which they were set up.
      if (context === undefined) next(error);
      else runInContext(context, () => next(error));
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > BODY_BYTES_MAX) finish(tooLong(request));
      else chunks.push(chunk);
    };
    const whole = (): void => {
      const [only] = chunks;
      request.rawBody = only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks);
      finish();
    };
    // The client disconnected half-way: no response is possible, but the request must end.
    const broken = (cause: Error): void =>
      finish(new HubError('malformed_request', { detail: 'malformed request: the body broke off', cause }));
    request.on('data', take).once('end', whole).once('error', broken);
  };
}

/**
 * The rest is read and forgotten for a moment, so that a client that writes all of its body first gets the response and
 * not a reset.
 */
function tooLong(request: HubRequest): HubError {
  const timer = setTimeout(() => request.socket.destroy(), LINGER_MS);
  timer.unref();
  request
    .once('end', () => clearTimeout(timer))
    .once('close', () => clearTimeout(timer))
    .on('error', () => undefined);
  request.resume();
  return new HubError('payload_too_large');
}

/** A compressed body is refused with the name of what it came in. */
function compressed(encoding: string): HubError {
  return new HubError('unsupported_media_type', {
    detail: `the body must not be compressed: send it without Content-Encoding, which is ${JSON.stringify(encoding.slice(0, 80))}`,
  });
}
