import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, NotFoundException } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Request, Response } from 'express';
import { ERROR_CATALOGUE, type ErrorCode, HubError, messageOf } from '../kernel/errors';
import { QueueFullError } from '../database/batcher';
import { asStoreUnavailable } from '../database/pg-errors';
import { Logger } from '../observability/logger';
import { currentContext } from '../observability/request-context';
import type { HubRequest } from './access';
import { Pacer } from './pacer';
import { methodsOf } from './route-methods';

const REFUSED_BYTES_PER_SHARE = 2_048;

/**
 * Turns whatever was thrown into one problem document. A caller never sees a stack; ops find it in the log under the
 * request id.
 */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(
    private readonly logger: Logger,
    private readonly adapter: HttpAdapterHost,
    private readonly pacer: Pacer,
  ) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const response = http.getResponse<Response>();
    const error = this.withMethods(toHubError(thrown), thrown, http.getRequest<Request>());
    const context = currentContext();
    if (context !== undefined) context.problem = error.code;
    if (error.status >= 500)
      this.logger.event('error', 'http.failed', {
        code: error.code,
        error: messageOf(error.options.cause ?? thrown),
        stack: thrown instanceof Error ? thrown.stack : undefined,
      });
    if (response.headersSent) {
      // A file that broke off half-way must not look whole.
      response.destroy(error);
      return;
    }
    // A response about money is never held up; that the request itself was no good can wait.
    if (error.status >= 500 || error.status === 409) return sendProblem(response, error);
    const request = http.getRequest<HubRequest>();
    const shares = sharesOf(request);
    // A caller that waits for its turn keeps no body in memory meanwhile.
    delete request.rawBody;
    this.pacer.run(response, shares, () => sendProblem(response, error));
  }

  /**
   * A request without a route may still have a known path. No token is needed first: the methods are in the public
   * document.
   */
  private withMethods(error: HubError, thrown: unknown, request: Request): HubError {
    if (!(thrown instanceof NotFoundException)) return error;
    const allow = methodsOf(this.adapter.httpAdapter.getInstance(), request.path);
    return allow.length === 0 ? error : new HubError('method_not_allowed', { allow });
  }
}

/**
 * What reading a request cost grows with its size: one of 64 KiB has kept the event loop as busy as thirty ordinary
 * ones, which have some 300 bytes.
 */
function sharesOf({ rawBody, originalUrl }: HubRequest): number {
  return 1 + Math.floor(((rawBody?.length ?? 0) + originalUrl.length) / REFUSED_BYTES_PER_SHARE);
}

export function sendProblem(response: Response, error: HubError): void {
  if (error.options.retryAfterSeconds !== undefined)
    response.setHeader('Retry-After', String(error.options.retryAfterSeconds));
  if (error.options.allow !== undefined) response.setHeader('Allow', error.options.allow.join(', '));
  // RFC 9110, 15.5.2: a 401 must name the scheme that would help.
  if (error.status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="integration-hub"');
  response.status(error.status).type('application/problem+json').send(JSON.stringify(error.toProblem()));
}

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'malformed_request',
  404: 'not_found',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
};

function toHubError(thrown: unknown): HubError {
  const error = asStoreUnavailable(thrown);
  if (error instanceof HubError) return error;
  if (error instanceof QueueFullError)
    return new HubError('store_unavailable', { outcome: 'not_applied', retryAfterSeconds: 1, cause: error });
  const status = statusOf(error);
  const code = status === undefined ? undefined : BY_STATUS[status];
  if (code !== undefined) return new HubError(code, { cause: error });
  // Other refusals of the framework or of a body reader (a body that broke off, a malformed path) are the caller's
  // fault too.
  if (status !== undefined && status >= 400 && status < 500) return new HubError('malformed_request', { cause: error });
  return new HubError('internal_error', { cause: error });
}

/** Status that Nest, Express or a body reader attached to its error. */
function statusOf(error: unknown): number | undefined {
  if (error instanceof HttpException) return error.getStatus();
  if (error instanceof Error && 'status' in error && typeof error.status === 'number' && 'expose' in error)
    return error.status;
  return error instanceof URIError ? ERROR_CATALOGUE.malformed_request.status : undefined;
}
