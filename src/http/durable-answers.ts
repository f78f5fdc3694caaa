import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Response } from 'express';
import { type Observable, from, map, mergeMap, of } from 'rxjs';
import { Durability } from '../database/durability';

const OWN_COMMIT = 'hub:answers-its-own-commit';

/** Of a route whose answer tells only of what its own commit wrote, or that sees to it by itself: hot paths. */
export const AnswersItsOwnCommit = (): MethodDecorator & ClassDecorator => SetMetadata(OWN_COMMIT, true);

/**
 * No answer tells of what one machine alone knows. A row may be seen whose commit never reached a standby; "confirmed" read from it and lost with
 * the machine would be a lie. So whatever a route has read is made durable before its answer leaves. Without synchronous replication this costs
 * a look at a setting, and with it one small commit that all answers of the moment share.
 */
@Injectable()
export class DurableAnswers implements NestInterceptor {
  constructor(
    private readonly reflector: Reflector,
    private readonly durability: Durability,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (this.reflector.getAllAndOverride<boolean | undefined>(OWN_COMMIT, [context.getHandler(), context.getClass()]) === true) return next.handle();
    const response = context.switchToHttp().getResponse<Response>();
    // A file that is written as it is read has left by now.
    return next.handle().pipe(mergeMap((answer: unknown) => (response.headersSent ? of(answer) : from(this.durability.ensure()).pipe(map(() => answer)))));
  }
}
