import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Clock } from '../kernel/clock';
import { type FieldViolation, HubError } from '../kernel/errors';
import type { Partner } from '../partners/partner';
import { type BoundRequest, parseBound, verify, verifyBound } from '../partners/signature';
import { ACCESS_RULE, type AccessRule, type HubRequest } from './access';
import { bodyFact, signatureHint, timestampHint } from './signature-hints';

const NO_BODY = Buffer.alloc(0);

/**
 * Checks the signature over the bytes as received, on routes whose @Access says `signed`: X-Signature with X-Timestamp,
 * or X-Signature-V2, which is bound to method, host, path and Idempotency-Key as well, or both. Whatever is there must
 * be right.
 */
@Injectable()
export class SignatureGuard implements CanActivate {
  /** Undefined: whatever host the caller names. */
  private readonly publicUrl: { readonly host: string; readonly path: string } | undefined;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly clock: Clock,
    private readonly reflector: Reflector,
  ) {
    const url = config.publicBaseUrl === undefined ? undefined : new URL(config.publicBaseUrl);
    this.publicUrl = url && { host: url.host, path: url.pathname.replace(/\/+$/, '') };
  }

  canActivate(context: ExecutionContext): boolean {
    const rule = this.reflector.getAllAndOverride<AccessRule | undefined>(ACCESS_RULE, [
      context.getHandler(),
      context.getClass(),
    ]);
    if (rule?.signed !== true) return true;
    const request = context.switchToHttp().getRequest<HubRequest>();
    const { caller, headers } = request;
    const signer = caller?.access === 'rgs' ? caller.rgs : caller?.access === 'operator' ? caller.operator : undefined;
    if (signer === undefined) throw new HubError('invalid_signature');
    const bound = headers['x-signature-v2'];
    const unbound = headers['x-timestamp'] !== undefined || headers['x-signature'] !== undefined;
    if (bound !== undefined) this.checkBound(String(bound), request, signer);
    else if (signer.signatureVersionRequired === 2)
      throw this.refusal(request, {
        field: 'X-Signature-V2',
        message: 'X-Signature-V2 is missing; this partner must send version 2 of the signature',
      });
    // Headers that are present are verified even where they are not required: a wrong signature is never a good sign.
    if (unbound || (bound === undefined && this.config.signatureRequired)) this.checkUnbound(request, signer);
    return true;
  }

  private checkUnbound(request: HubRequest, signer: Partner): void {
    const timestamp = request.headers['x-timestamp'];
    const signature = request.headers['x-signature'];
    if (typeof timestamp !== 'string' || typeof signature !== 'string')
      throw this.refusal(
        request,
        ...[
          ['X-Timestamp', timestamp],
          ['X-Signature', signature],
        ].flatMap(([field, value]) =>
          value === undefined ? [{ field: String(field), message: `${String(field)} is missing` }] : [],
        ),
      );
    this.checkTime('X-Timestamp', timestamp, request);
    if (!verify(signer.signingKeys, timestamp, request.rawBody ?? NO_BODY, signature))
      throw this.refusal(request, { field: 'X-Signature', message: signatureHint(signature) });
    request.verifiedSignature = signature;
  }

  private checkBound(header: string, request: HubRequest, signer: Partner): void {
    const parts = parseBound(header);
    if (parts === null)
      throw this.refusal(request, {
        field: 'X-Signature-V2',
        message: 'X-Signature-V2 must be "t=<unix seconds>,kid=<name of the key>,v2=<64 lower-case hex digits>"',
      });
    this.checkTime('X-Signature-V2', parts.timestamp, request);
    const key = signer.keys.find(({ kid }) => kid === parts.kid);
    if (key === undefined)
      throw this.refusal(request, {
        field: 'X-Signature-V2',
        message: 'X-Signature-V2 names a key (kid) that is not live; the key of the environment is "env"',
      });
    const signed = this.boundRequest(parts.timestamp, request);
    if (verifyBound(key.secret, signed, parts.signature)) return;
    const lines = [signed.method, signed.host, signed.target, signed.idempotencyKey, signed.operator]
      .map((line) => JSON.stringify(line.slice(0, 200)))
      .join(', ');
    throw this.refusal(request, {
      field: 'X-Signature-V2',
      message: `v2 is not the HMAC of what came. Method, host, target, Idempotency-Key and operator as they came: ${lines}`,
    });
  }

  private boundRequest(timestamp: string, { method, headers, originalUrl, rawBody }: HubRequest): BoundRequest {
    const header = (name: string): string => String(headers[name] ?? '');
    const { host, path } = this.publicUrl ?? { host: header('host').toLowerCase(), path: '' };
    return {
      timestamp,
      method,
      host,
      target: path + originalUrl,
      idempotencyKey: header('idempotency-key'),
      operator: header('x-operator'),
      body: rawBody ?? NO_BODY,
    };
  }

  private checkTime(field: string, timestamp: string, request: HubRequest): void {
    const nowSeconds = Math.floor(this.clock.now() / 1000);
    const allowed = this.config.timestampSkewSeconds;
    if (/^\d{1,12}$/.test(timestamp) && Math.abs(this.clock.now() / 1000 - Number(timestamp)) <= allowed) return;
    throw new HubError('timestamp_skew', {
      errors: [
        { field, message: timestampHint(field, timestamp, nowSeconds, allowed) },
        bodyFact(request.rawBody ?? NO_BODY),
      ],
    });
  }

  private refusal(request: HubRequest, ...errors: FieldViolation[]): HubError {
    return new HubError('invalid_signature', { errors: [...errors, bodyFact(request.rawBody ?? NO_BODY)] });
  }
}
