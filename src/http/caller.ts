import { type ExecutionContext, createParamDecorator } from '@nestjs/common';
import { invariant } from '../kernel/invariant';
import type { Partner } from '../partners/partner';
import type { Caller, HubRequest } from './access';

const NO_BODY = Buffer.alloc(0);

function requestOf(context: ExecutionContext): HubRequest {
  return context.switchToHttp().getRequest<HubRequest>();
}

function callerOf({ caller }: HubRequest): Caller {
  invariant(caller !== undefined, 'the route has no @Access, so every caller is refused');
  return caller;
}

/** An RGS with the operator whose wallet it moves. */
export interface Pair {
  readonly rgs: Partner;
  readonly operator: Partner;
}

/**
 * The RGS that calls, on a route with @Access('rgs'). For the busy routes, which take the whole request by @Req(): what
 * a parameter decorator of our own gives goes through the pipes, at five promises each.
 */
export function callingRgs(request: HubRequest): Pair {
  const caller = callerOf(request);
  invariant(caller.access === 'rgs', () => `the caller of a route for an RGS is ${caller.access}`);
  return caller;
}

/** The operator that calls, on a route with @Access('operator'). */
export function callingOperator(request: HubRequest): Partner {
  const caller = callerOf(request);
  invariant(caller.access === 'operator', () => `the caller of a route for an operator is ${caller.access}`);
  return caller.operator;
}

/** The body's bytes as received. */
export function rawBodyOf({ rawBody }: HubRequest): Buffer {
  return rawBody ?? NO_BODY;
}

/** The RGS that calls, with the operator whose wallet it moves. Only on routes with @Access('rgs'). */
export const CallingRgs = createParamDecorator((_data: unknown, context: ExecutionContext): Pair =>
  callingRgs(requestOf(context)),
);

/** Name of the member of staff that calls, for the audit log. Only on routes for ops and finance. */
export const Actor = createParamDecorator((_data: unknown, context: ExecutionContext): string => {
  const caller = callerOf(requestOf(context));
  invariant(caller.access === 'ops' || caller.access === 'finance', () => `@Actor on a route for ${caller.access}`);
  return caller.actor;
});

/** The member of staff that calls, with what the token opens. Only on routes for ops and finance. */
export interface Staff {
  readonly access: 'ops' | 'finance';
  readonly actor: string;
  /** False for a token that a partner has as well, such as BEARER_TOKEN: it names no person. */
  readonly isPerson: boolean;
}

export const CallingStaff = createParamDecorator((_data: unknown, context: ExecutionContext): Staff => {
  const caller = callerOf(requestOf(context));
  invariant(
    caller.access === 'ops' || caller.access === 'finance',
    () => `@CallingStaff on a route for ${caller.access}`,
  );
  return caller;
});
