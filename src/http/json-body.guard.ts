import { type CanActivate, type ExecutionContext, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { HubError } from '../kernel/errors';
import { ExactJsonError, parseStrictJson } from '../json/exact-json';
import type { HubRequest } from './access';
import { checkBodySize, checkQuerySize } from './input-limits';

const TAKES_JSON = 'hub:takes-json';

/** Marks a route whose body is one JSON object. */
export const TakesJson = (): MethodDecorator => SetMetadata(TAKES_JSON, true);

/**
 * Measures the query and parses the body, after the caller has proved who it is: a stranger learns nothing about our
 * parser, and the bytes that were signed are the bytes that are read. It is a guard and not a middleware only because
 * guards are what runs in between.
 */
@Injectable()
export class JsonBodyGuard implements CanActivate {
  private readonly utf8 = new TextDecoder('utf-8', { fatal: true });

  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<HubRequest>();
    checkQuerySize(request.url);
    if (this.reflector.get<boolean | undefined>(TAKES_JSON, context.getHandler()) !== true) {
      request.body = undefined;
      return true;
    }
    const raw = request.rawBody ?? Buffer.alloc(0);
    const unread = mediaTypeViolation(request.headers['content-type']);
    if (unread !== null) throw new HubError('unsupported_media_type', { detail: unread });
    if (raw.length === 0)
      throw new HubError('malformed_request', {
        detail: 'malformed request: the body is empty; it must be one JSON object',
      });
    request.body = this.read(raw);
    return true;
  }

  private read(raw: Buffer): object {
    let value: unknown;
    try {
      checkBodySize(raw);
      value = parseStrictJson(this.utf8.decode(raw));
    } catch (error) {
      if (error instanceof HubError) throw error;
      if (error instanceof ExactJsonError)
        throw new HubError('malformed_request', { detail: `malformed request: ${error.message}` });
      throw new HubError('malformed_request', { detail: 'malformed request: the body is not UTF-8', cause: error });
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new HubError('malformed_request', { detail: 'malformed request: the body must be one JSON object' });
    return value;
  }
}

/** Why a body of this type cannot be read; null when it can. */
function mediaTypeViolation(contentType: string | undefined): string | null {
  const [type = '', ...parameters] = (contentType ?? '')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  if (type !== 'application/json')
    return `content type must be application/json, ${type === '' ? 'and there is none' : `not ${quoted(type)}`}`;
  const charset = parameters.find(
    (parameter) => parameter.startsWith('charset=') && !/^charset="?utf-8"?$/.test(parameter),
  );
  return charset === undefined
    ? null
    : `the charset must be utf-8, not ${quoted(charset.slice('charset='.length).replaceAll('"', ''))}`;
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
