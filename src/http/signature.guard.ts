import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Clock } from '../kernel/clock';
import { HubError } from '../kernel/errors';
import { verify } from '../partners/signature';
import { ACCESS_RULE, type AccessRule, type HubRequest } from './access';

const NO_BODY = Buffer.alloc(0);

/** Checks X-Timestamp and X-Signature over the bytes as received, on routes whose @Access says `signed`. */
@Injectable()
export class SignatureGuard implements CanActivate {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly clock: Clock,
    private readonly reflector: Reflector,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const rule = this.reflector.getAllAndOverride<AccessRule | undefined>(ACCESS_RULE, [context.getHandler(), context.getClass()]);
    if (rule?.signed !== true) return true;
    const request = context.switchToHttp().getRequest<HubRequest>();
    const timestamp = request.headers['x-timestamp'];
    const signature = request.headers['x-signature'];
    // Headers that are present are verified even where they are not required: a wrong signature is never a good sign.
    if (timestamp === undefined && signature === undefined && !this.config.signatureRequired) return true;
    if (typeof timestamp !== 'string' || typeof signature !== 'string') throw new HubError('invalid_signature');
    if (!/^\d{1,12}$/.test(timestamp)) throw new HubError('timestamp_skew');
    if (Math.abs(this.clock.now() / 1000 - Number(timestamp)) > this.config.timestampSkewSeconds) throw new HubError('timestamp_skew');
    const { caller } = request;
    const signer = caller?.access === 'rgs' ? caller.rgs : caller?.access === 'operator' ? caller.operator : undefined;
    if (signer === undefined || !verify(signer.signingKeys, timestamp, request.rawBody ?? NO_BODY, signature)) throw new HubError('invalid_signature');
    return true;
  }
}
