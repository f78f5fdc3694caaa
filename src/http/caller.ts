import { type ExecutionContext, createParamDecorator } from '@nestjs/common';
import type { Partner } from '../partners/partner';
import type { Caller, HubRequest } from './access';

function callerOf(context: ExecutionContext): Caller {
  const { caller } = context.switchToHttp().getRequest<HubRequest>();
  if (caller === undefined) throw new Error('the route has no @Access, so nobody was let in');
  return caller;
}

/** The RGS that calls, with the operator whose wallet it moves. Only on routes with @Access('rgs'). */
export const CallingRgs = createParamDecorator((_data: unknown, context: ExecutionContext): { rgs: Partner; operator: Partner } => {
  const caller = callerOf(context);
  if (caller.access !== 'rgs') throw new Error(`@CallingRgs on a route for ${caller.access}`);
  return caller;
});

/** The operator that calls. Only on routes with @Access('operator'). */
export const CallingOperator = createParamDecorator((_data: unknown, context: ExecutionContext): Partner => {
  const caller = callerOf(context);
  if (caller.access !== 'operator') throw new Error(`@CallingOperator on a route for ${caller.access}`);
  return caller.operator;
});

/** Name of the member of staff that calls, for the audit log. Only on routes for ops and finance. */
export const Actor = createParamDecorator((_data: unknown, context: ExecutionContext): string => {
  const caller = callerOf(context);
  if (caller.access !== 'ops' && caller.access !== 'finance') throw new Error(`@Actor on a route for ${caller.access}`);
  return caller.actor;
});

/** The member of staff that calls, with what the token opens. Only on routes for ops and finance. */
export interface Staff {
  readonly access: 'ops' | 'finance';
  readonly actor: string;
}

export const CallingStaff = createParamDecorator((_data: unknown, context: ExecutionContext): Staff => {
  const caller = callerOf(context);
  if (caller.access !== 'ops' && caller.access !== 'finance') throw new Error(`@CallingStaff on a route for ${caller.access}`);
  return caller;
});

/** The body's bytes as received. */
export const RawBody = createParamDecorator((_data: unknown, context: ExecutionContext): Buffer => context.switchToHttp().getRequest<HubRequest>().rawBody ?? Buffer.alloc(0));
