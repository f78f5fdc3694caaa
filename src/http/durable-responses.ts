import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Response } from 'express';
import { type Observable, from, map, mergeMap, of } from 'rxjs';
import { Durability } from '../database/durability';

/**
 * No response tells of what one machine alone knows. A row may be seen whose commit never reached a standby;
 * "confirmed" read from it and lost with the machine would be a lie. So whatever a route has read is made durable
 * before its response leaves. Without synchronous replication this costs a look at a setting, and with it one small
 * commit that all responses of the moment share. @Access puts it on every route but those that say `ownCommit`: Nest
 * takes the response of a route with an interceptor through observables, some percent of what the process spends on a
 * debit.
 */
@Injectable()
export class DurableResponses implements NestInterceptor {
  constructor(private readonly durability: Durability) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const response = context.switchToHttp().getResponse<Response>();
    // A file that is written as it is read has left by now.
    return next
      .handle()
      .pipe(
        mergeMap((answer: unknown) =>
          response.headersSent ? of(answer) : from(this.durability.ensure()).pipe(map(() => answer)),
        ),
      );
  }
}
