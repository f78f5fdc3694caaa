import fc from 'fast-check';
import { type RetryRules, jitteredDelayMs, propose } from '../../src/outbox/retry-policy';

const rules: RetryRules = { scheduleSeconds: [1, 5, 15], callbackTimeoutSeconds: 60 };

describe('the retry policy', () => {
  const first = { attempts: 0, releases: 0, expiresInMs: null };
  const half = 0.5;

  it.each([
    // queue, class, Retry-After in ms, attempts so far, releases so far -> what becomes of the message
    ['operator', 'applied', null, 0, 0, 'sent', 0],
    ['operator', 'rejected_business', null, 0, 0, 'dead', 0],
    ['operator', 'rejected_contract', null, 0, 0, 'dead', 0],
    ['operator', 'accepted', null, 0, 0, 'retry', 60_000],
    ['operator', 'accepted', null, 1, 1, 'retry', 2_500],
    ['operator', 'unknown', null, 0, 0, 'retry', 500],
    ['operator', 'unknown', null, 1, 1, 'retry', 2_500],
    ['operator', 'unknown', null, 2, 2, 'retry', 7_500],
    ['operator', 'unknown', null, 3, 3, 'blocked', 0],
    ['operator', 'throttled', null, 0, 0, 'released', 500],
    ['operator', 'throttled', null, 3, 3, 'released', 4_000],
    ['operator', 'throttled', null, 0, 98, 'released', 7_500],
    ['operator', 'throttled', 30_000, 3, 3, 'released', 30_000],
    ['operator', 'throttled', 0, 0, 0, 'released', 500],
    ['rgs', 'delivered', null, 0, 0, 'sent', 0],
    ['rgs', 'failed', null, 0, 0, 'retry', 500],
    ['rgs', 'failed', null, 3, 3, 'dead', 0],
    ['rgs', 'throttled', 1_000, 0, 0, 'released', 1_000],
    ['rgs', 'gone', null, 0, 0, 'released', 0],
  ] as const)(
    '%s: %s (Retry-After %s) after %i attempts and %i releases -> %s in %i ms',
    (queue, outcomeClass, retryAfterMs, attempts, releases, outcome, delayMs) => {
      expect(
        propose(queue, outcomeClass, retryAfterMs, { attempts, releases, expiresInMs: null }, rules, half),
      ).toMatchObject({ outcome, delayMs });
    },
  );

  it('draws every delay between nearly nothing and the bound of its place in the schedule', () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.nat(2), random, (attempts, draw) => {
        const { delayMs } = propose('rgs', 'failed', null, { attempts, releases: 0, expiresInMs: null }, rules, draw);
        const boundMs = (rules.scheduleSeconds[attempts] ?? NaN) * 1000;
        expect(delayMs).toBeGreaterThanOrEqual(200);
        expect(delayMs).toBeLessThanOrEqual(boundMs);
        expect(delayMs).toBeCloseTo(Math.max(200, boundMs * draw), 6);
      }),
    );
  });

  it('never asks again at once while it is throttled, and never waits longer than fifteen seconds unasked', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (releases, draw) => {
        const { outcome, delayMs } = propose(
          'operator',
          'throttled',
          null,
          { attempts: 0, releases, expiresInMs: null },
          rules,
          draw,
        );
        expect(outcome).toBe('released');
        expect(delayMs).toBeGreaterThanOrEqual(200);
        expect(delayMs).toBeLessThanOrEqual(15_000);
      }),
    );
  });

  it('takes a bound below the least delay at its word', () => {
    expect(jitteredDelayMs(0.05, 0)).toBe(50);
    expect(jitteredDelayMs(0, 0.9)).toBe(0);
  });

  it('stops money whose place is unknown, and only gives up on a webhook, when the schedule is empty', () => {
    const none: RetryRules = { ...rules, scheduleSeconds: [] };
    expect(propose('operator', 'unknown', null, first, none, half).outcome).toBe('blocked');
    expect(propose('rgs', 'failed', null, first, none, half).outcome).toBe('dead');
  });
});
