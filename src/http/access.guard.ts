import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { HubError } from '../kernel/errors';
import { currentContext } from '../observability/request-context';
import type { TokenOwner } from '../partners/partner';
import { PartnerDirectory, tokenHash } from '../partners/partner-directory';
import { ACCESS_RULE, type AccessName, type AccessRule, type Caller, type HubRequest } from './access';

/** Opens a route to the tokens that its @Access names, and to no others. */
@Injectable()
export class AccessGuard implements CanActivate {
  private readonly staff: ReadonlyMap<'ops' | 'finance', ReadonlySet<string>>;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly reflector: Reflector,
    private readonly partners: PartnerDirectory,
  ) {
    // Tokens are compared by their hash: a set look-up of hashes tells a guesser nothing about how close the guess was.
    const hashes = (tokens: readonly string[]) => new Set(tokens.map(tokenHash));
    this.staff = new Map([
      ['ops', hashes(config.tokens.ops)],
      ['finance', hashes(config.tokens.finance)],
    ]);
  }

  canActivate(context: ExecutionContext): boolean {
    const rule = this.reflector.getAllAndOverride<AccessRule | undefined>(ACCESS_RULE, [
      context.getHandler(),
      context.getClass(),
    ]);
    if (rule?.names.includes('public') === true) return true;
    const request = context.switchToHttp().getRequest<HubRequest>();
    const hash = bearerHash(request);
    if (hash === undefined) throw new HubError('unauthorized');
    const owners = this.partners.ownersOf(hash);
    if (owners.length === 0 && !this.isStaff(hash)) throw new HubError('unauthorized');
    if (rule === undefined) throw new HubError('forbidden');
    const caller = rule.names.map((name) => this.callerFor(name, hash, owners)).find((found) => found !== undefined);
    if (caller === undefined) throw new HubError('forbidden');
    request.caller = caller;
    const log = currentContext();
    if (log !== undefined)
      log.partner =
        caller.access === 'rgs' ? caller.rgs.code : caller.access === 'operator' ? caller.operator.code : caller.actor;
    return true;
  }

  private isStaff(hash: string): boolean {
    for (const hashes of this.staff.values()) if (hashes.has(hash)) return true;
    return false;
  }

  private callerFor(name: AccessName, hash: string, owners: readonly TokenOwner[]): Caller | undefined {
    switch (name) {
      case 'rgs': {
        const owner = owners.find(({ partner, operator }) => partner.role === 'rgs' && operator !== undefined);
        return owner?.operator === undefined
          ? undefined
          : { access: 'rgs', rgs: owner.partner, operator: owner.operator };
      }
      case 'operator': {
        const owner = owners.find(({ partner }) => partner.role === 'operator');
        return owner === undefined ? undefined : { access: 'operator', operator: owner.partner };
      }
      case 'ops':
      case 'finance':
        // The token's own fingerprint names the actor in the audit log until ops have accounts of their own.
        return this.staff.get(name)?.has(hash) === true
          ? { access: name, actor: `${name}:${hash.slice(0, 8)}`, isPerson: owners.length === 0 }
          : undefined;
      case 'public':
        return undefined;
    }
  }
}

/** Hash of the request's bearer token; undefined when there is none. */
function bearerHash({ headers }: HubRequest): string | undefined {
  const token = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(headers.authorization ?? '')?.[1];
  return token === undefined ? undefined : tokenHash(token);
}

/**
 * Whether the request carries any token that the hub knows. For what stands before the routes, where no guard is asked.
 */
export function hasKnownToken(request: HubRequest, config: Config, partners: PartnerDirectory): boolean {
  const hash = bearerHash(request);
  return (
    hash !== undefined &&
    (partners.ownersOf(hash).length > 0 ||
      [...config.tokens.ops, ...config.tokens.finance].some((token) => tokenHash(token) === hash))
  );
}
