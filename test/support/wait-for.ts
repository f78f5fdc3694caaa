import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

/**
 * Polls until `probe` answers something other than undefined, null or false, and answers that. Fails after `withinMs`
 * with `what` and the last thing seen, so that a late machine and a wrong program can be told apart.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  withinMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  for (;;) {
    try {
      const seen = await probe();
      if (seen !== undefined && seen !== null && seen !== false) return seen;
      last = seen;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline)
      throw new Error(
        `not within ${withinMs} ms: ${what}; last seen: ${last instanceof Error ? (last.stack ?? last.message) : JSON.stringify(last)}`,
      );
    await delay(POLL_MS);
  }
}
