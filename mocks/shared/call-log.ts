import { performance } from 'node:perf_hooks';
import { badRequest, queryText } from './fields';

/** What every logged call has: its place in the order of arrival, and when it came (ms epoch, fractional). */
export interface LoggedCall {
  /** 1 for the first call since the start or the last clear. */
  n: number;
  at: number;
}

/** Every call that arrived, in order. Grows without bound until it is cleared: a test wants to see all of them. */
export class CallLog<Call extends LoggedCall> {
  private calls: Call[] = [];

  /** Numbers the call and keeps it; the caller completes the row as the call goes on. */
  add(call: Omit<Call, keyof LoggedCall>): Call {
    const row = { n: this.calls.length + 1, at: performance.timeOrigin + performance.now(), ...call } as Call;
    this.calls.push(row);
    return row;
  }

  /** The calls with a number above `since`; those that arrive while the caller is still reading are left out. */
  *since(since: number): Generator<Call> {
    const calls = this.calls;
    const end = calls.length;
    for (let index = since; index < end; index++) {
      const call = calls[index];
      if (call !== undefined) yield call;
    }
  }

  get size(): number {
    return this.calls.length;
  }

  clear(): void {
    this.calls = [];
  }
}

/** Reads `?since=n`: 0 when absent. Throws 400 on anything that is not a whole number. */
export function readSince(query: unknown): number {
  const since = queryText('since', query);
  if (since === null) return 0;
  if (!/^\d{1,15}$/.test(since)) throw badRequest('since must be a whole number');
  return Number(since);
}
