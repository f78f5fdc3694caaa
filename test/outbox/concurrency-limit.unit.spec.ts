import { ConcurrencyLimit } from '../../src/outbox/concurrency-limit';

interface Partner {
  /** Calls that it works on at once; more wait for their turn. */
  readonly capacity: number;
  readonly serviceMs: number;
}

/**
 * Simulated time: as many calls as the limit allows, each as slow as a partner of that capacity makes it. Answers the
 * limit after each round.
 */
function drive(limit: ConcurrencyLimit, seconds: number, partnerAt: (second: number) => Partner, from = 0): number[] {
  const seen: number[] = [];
  for (let now = from * 1000; now < (from + seconds) * 1000;) {
    const { capacity, serviceMs } = partnerAt(now / 1000);
    const calls = limit.current;
    limit.full();
    const ms = serviceMs * Math.max(1, calls / capacity);
    now += ms;
    for (let call = 0; call < calls; call += 1) limit.ended(now, ms, true);
    seen.push(limit.current);
  }
  return seen;
}

describe('the number of calls at once to a destination', () => {
  it('goes to its maximum for a partner that answers as fast as ever', () => {
    expect(drive(new ConcurrencyLimit(256), 5, () => ({ capacity: 10_000, serviceMs: 20 })).at(-1)).toBe(256);
  });

  it('gives a slow partner with room the many calls that its rate needs (rate = calls / latency)', () => {
    expect(drive(new ConcurrencyLimit(256), 30, () => ({ capacity: 10_000, serviceMs: 1_000 })).at(-1)).toBe(256);
  });

  it('stays near what a full partner works on, instead of queueing at it', () => {
    const settled = drive(new ConcurrencyLimit(256), 60, () => ({ capacity: 40, serviceMs: 200 })).slice(-40);
    expect(Math.min(...settled)).toBeGreaterThanOrEqual(40);
    expect(Math.max(...settled)).toBeLessThanOrEqual(100);
  });

  it('follows a partner that loses most of its capacity, and one that gets it back', () => {
    const limit = new ConcurrencyLimit(256);
    const before = drive(limit, 10, () => ({ capacity: 200, serviceMs: 100 })).at(-1) ?? NaN;
    const during = drive(limit, 15, () => ({ capacity: 20, serviceMs: 100 }), 10).slice(-10);
    expect(before).toBeGreaterThanOrEqual(200);
    expect(Math.max(...during)).toBeLessThanOrEqual(60);
    expect(drive(limit, 30, () => ({ capacity: 1_000, serviceMs: 100 }), 25).at(-1)).toBe(256);
  });

  it('shrinks to its minimum while calls get no answer, and never below', () => {
    const limit = new ConcurrencyLimit(256);
    for (let now = 0; now < 5_000; now += 10) limit.ended(now, 0, false);
    expect(limit.current).toBe(4);
  });

  it.each([0.1, 0.3, 0.45])('does not take scattered losses (%d of the calls) for a partner that is full', (share) => {
    const limit = new ConcurrencyLimit(256);
    for (let now = 0, call = 0; now < 5_000; now += 2, call += 1) {
      limit.full();
      limit.ended(now, 20, Math.floor((call + 1) * share) === Math.floor(call * share));
    }
    expect(limit.current).toBe(256);
  });

  it('does not grow when nobody needs more, and never above its maximum', () => {
    const idle = new ConcurrencyLimit(256);
    for (let now = 0; now < 5_000; now += 10) idle.ended(now, 20, true);
    expect(idle.current).toBe(32);
    expect(new ConcurrencyLimit(2).current).toBe(2);
    expect(drive(new ConcurrencyLimit(3), 2, () => ({ capacity: 100, serviceMs: 10 })).at(-1)).toBe(3);
  });

  it("takes a fast partner's few milliseconds more for what they are", () => {
    const limit = new ConcurrencyLimit(256);
    drive(limit, 2, () => ({ capacity: 10_000, serviceMs: 1 }));
    expect(drive(limit, 2, () => ({ capacity: 10_000, serviceMs: 30 }), 2).at(-1)).toBe(256);
  });
});
