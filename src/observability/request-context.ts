import { AsyncLocalStorage } from 'node:async_hooks';

/** What is known about the unit of work in hand; the access log writes it out as one line. */
export interface RequestContext {
  readonly requestId: string;
  partner?: string;
  correlationId?: string;
  /** Code of the problem document, when the request was refused. */
  problem?: string;
  /** Whether the response is a stored one. */
  replayed?: boolean;
}

const storage = new AsyncLocalStorage<RequestContext>();

/**
 * Where the context is the present one already, as it is wherever nothing lost it, entering it once more would only
 * copy it.
 */
export function runInContext<T>(context: RequestContext, work: () => T): T {
  return storage.getStore() === context ? work() : storage.run(context, work);
}

/** Undefined outside a request, for example in the outbox worker. */
export function currentContext(): RequestContext | undefined {
  return storage.getStore();
}
