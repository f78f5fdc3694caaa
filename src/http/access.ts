import { SetMetadata, applyDecorators } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader } from '@nestjs/swagger';
import type { Request } from 'express';
import type { Partner } from '../partners/partner';
import { ApiProblems } from './openapi';

export type AccessName = 'rgs' | 'operator' | 'ops' | 'finance' | 'public';

export interface AccessRule {
  /** Who may call. Where several may and a token is known as more than one, the first counts. */
  readonly names: readonly AccessName[];
  /** Whether the request itself must be signed by the partner. */
  readonly signed: boolean;
}

/** That of an empty body with the secret change_secret at 1795000000. */
const SIGNATURE_EXAMPLE = 'db86153bbf99b1430b5312c2abbe257e49a9524177b0d925941141437eac82eb';

/** That of GET /rounds/round-77 at hub.example, else the same. */
const BOUND_SIGNATURE_EXAMPLE = 'eb1ba4322b5eb3921f25e9526b1fd76830b0bdf3a772ab52019c235b5309e909';

export const ACCESS_RULE = 'hub:access';

/** Who calls, as the guards found out. */
export type Caller = { readonly access: 'rgs'; readonly rgs: Partner; readonly operator: Partner } | { readonly access: 'operator'; readonly operator: Partner } | { readonly access: 'ops' | 'finance'; readonly actor: string; readonly isPerson: boolean };

export interface HubRequest extends Request {
  caller?: Caller;
  rawBody?: Buffer;
  /** X-Signature as it came and was verified. */
  verifiedSignature?: string;
}

/**
 * Says who may call a route, to the guards and to the OpenAPI document alike. A route without it answers 403:
 * forgetting it must shut a door, not open one.
 */
export function Access(who: AccessName | readonly ('ops' | 'finance')[], options: { signed?: boolean } = {}): MethodDecorator & ClassDecorator {
  const signed = options.signed ?? false;
  const names = typeof who === 'string' ? [who] : who;
  const rule: AccessRule = { names, signed };
  if (who === 'public') return applyDecorators(SetMetadata(ACCESS_RULE, rule));
  return applyDecorators(
    SetMetadata(ACCESS_RULE, rule),
    ...names.map((name) => ApiBearerAuth(name)),
    ApiProblems('unauthorized', 'forbidden'),
    ...(signed
      ? [
          ApiHeader({ name: 'X-Timestamp', required: true, description: 'Unix seconds at which the request was signed.', example: '1795000000' }),
          ApiHeader({ name: 'X-Signature', required: true, description: 'Lower-case hex of HMAC_SHA256(secret, X-Timestamp + ":" + raw body bytes).', example: SIGNATURE_EXAMPLE }),
          ApiHeader({ name: 'X-Signature-V2', required: false, description: 'Recommended, in place of X-Timestamp and X-Signature or beside them: bound to method, host, path and Idempotency-Key too. `t=<unix seconds>,kid=<name of the key>,v2=<hex>`; docs/integration.md has the text that is signed.', example: `t=1795000000,kid=env,v2=${BOUND_SIGNATURE_EXAMPLE}` }),
          ApiProblems('invalid_signature', 'timestamp_skew'),
        ]
      : []),
  );
}

