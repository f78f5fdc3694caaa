import type { OperatorOutcome } from '../partners/operator-wire';
import type { WebhookOutcome } from '../partners/rgs-wire';
import type { NextStep } from './outbox-message';

export interface RetryRules {
  /** Upper bounds of the delay before attempt 2, 3, …; the message is given up after the last. */
  readonly scheduleSeconds: readonly number[];
  /** How long a movement that the operator only accepted may wait for its callback. */
  readonly callbackTimeoutSeconds: number;
}

/** Never a busy loop, however lucky the draw. */
const DELAY_SECONDS_MIN = 0.2;
/** While nothing can be sent at all, looking again this often costs little and notices recovery soon. */
const THROTTLED_SECONDS_MAX = 15;
const EXPIRY_SLACK_MS = 20;

/**
 * Full jitter (random between nothing and the bound): after an outage the retries of thousands of messages must not
 * come in step.
 */
export function jitteredDelayMs(boundSeconds: number, random: number): number {
  return Math.max(Math.min(DELAY_SECONDS_MIN, boundSeconds), boundSeconds * random) * 1000;
}

/**
 * What to do with a message after a response of this class. `attempts` counts earlier attempts that left, `releases`
 * those given back; `mayLandUntil` is null when none of those that left may still be booked; `random` is uniform in [0,
 * 1).
 */
export function propose(
  queue: 'operator' | 'rgs',
  verdictClass: OperatorOutcome['class'] | WebhookOutcome['class'],
  retryAfterMs: number | null,
  counts: {
    readonly attempts: number;
    readonly releases: number;
    readonly expiresInMs: number | null;
    readonly mayLandUntil?: Date | null;
  },
  rules: RetryRules,
  random: number,
): NextStep {
  switch (verdictClass) {
    case 'applied':
    case 'delivered':
      return final('sent');
    case 'rejected_business':
    case 'rejected_contract':
      return final('dead');
    case 'throttled': {
      const bound = Math.min(2 ** Math.min(counts.releases, 10), THROTTLED_SECONDS_MAX);
      // Retry-After: 0, or a date that has passed by the time we read it, names no pause; without one of ours the
      // response would loop.
      const pauseMs = retryAfterMs === null || retryAfterMs === 0 ? jitteredDelayMs(bound, random) : retryAfterMs;
      return later('released', untilExpiry(pauseMs, counts.expiresInMs));
    }
    case 'gone':
      // The destination is paused as a whole; the message waits for it.
      return later('released', 0);
    case 'accepted':
      // The first response "accepted" buys time for the callback, also when all calls before it are proven unbooked.
      // After it, silence is an unknown outcome like any other.
      if (counts.attempts === 0 || counts.mayLandUntil === null)
        return later('retry', untilExpiry(rules.callbackTimeoutSeconds * 1000, counts.expiresInMs));
      return again(queue, counts, rules, random);
    case 'unknown':
    case 'failed':
      return again(queue, counts, rules, random);
    case 'expired':
      return final('dead');
    case 'absent':
      return later('released', 0);
  }
}

function again(
  queue: 'operator' | 'rgs',
  { attempts, expiresInMs }: { attempts: number; expiresInMs: number | null },
  rules: RetryRules,
  random: number,
): NextStep {
  const bound = rules.scheduleSeconds[attempts];
  if (bound !== undefined) return later('retry', untilExpiry(jitteredDelayMs(bound, random), expiresInMs));
  // A movement of unknown outcome blocks its lane: later ones may depend on it. An undelivered webhook does not.
  return { outcome: queue === 'operator' ? 'blocked' : 'dead', delayMs: 0, open: true };
}

/** A message that expires is looked at again when it does: from then on its outcome is resolved, not tried for. */
function untilExpiry(delayMs: number, expiresInMs: number | null): number {
  return expiresInMs !== null && expiresInMs > 0 ? Math.min(delayMs, expiresInMs + EXPIRY_SLACK_MS) : delayMs;
}

function final(outcome: 'sent' | 'dead'): NextStep {
  return { outcome, delayMs: 0 };
}

function later(outcome: 'retry' | 'released', delayMs: number): NextStep {
  return { outcome, delayMs };
}
