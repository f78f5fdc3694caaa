import { SetMetadata, UseInterceptors, applyDecorators } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import type { Request } from 'express';
import type { Partner } from '../partners/partner';
import { DurableResponses } from './durable-responses';
import { ApiProblems } from './openapi';

export type AccessName = 'rgs' | 'operator' | 'ops' | 'finance' | 'public';

export interface AccessRule {
  /** Who may call. Where several may and a token is known as more than one, the first counts. */
  readonly names: readonly AccessName[];
  /** Whether the request itself must be signed by the partner. */
  readonly signed: boolean;
}

export const ACCESS_RULE = 'hub:access';

/** Who calls, as the guards found out. */
export type Caller =
  | { readonly access: 'rgs'; readonly rgs: Partner; readonly operator: Partner }
  | { readonly access: 'operator'; readonly operator: Partner }
  | { readonly access: 'ops' | 'finance'; readonly actor: string; readonly isPerson: boolean };

export interface HubRequest extends Request {
  caller?: Caller;
  rawBody?: Buffer;
  /** X-Signature as it came and was verified. */
  verifiedSignature?: string;
}

/**
 * Says who may call a route, to the guards and to the OpenAPI document alike. A route without it answers 403:
 * forgetting it must shut a door, not open one. `ownCommit`: the response tells only of what its own commit wrote, or
 * the route sees to it by itself.
 */
export function Access(
  who: AccessName | readonly ('ops' | 'finance')[],
  options: { signed?: boolean; ownCommit?: boolean } = {},
): MethodDecorator & ClassDecorator {
  const signed = options.signed ?? false;
  const names = typeof who === 'string' ? [who] : who;
  const rule: AccessRule = { names, signed };
  const durable = options.ownCommit === true ? [] : [UseInterceptors(DurableResponses)];
  if (who === 'public') return applyDecorators(SetMetadata(ACCESS_RULE, rule), ...durable);
  return applyDecorators(
    SetMetadata(ACCESS_RULE, rule),
    ...durable,
    // The headers of a signature are credentials and no parameters: clients that are generated from the document sign
    // in one place.
    ...names.flatMap((name) =>
      signed
        ? [
            ApiSecurity({ [name]: [], [`${name}Signature`]: [], timestamp: [] }),
            ApiSecurity({ [name]: [], [`${name}SignatureV2`]: [] }),
          ]
        : [ApiSecurity(name)],
    ),
    ApiProblems('unauthorized', 'forbidden'),
    ...(signed ? [ApiProblems('invalid_signature', 'timestamp_skew')] : []),
  );
}
