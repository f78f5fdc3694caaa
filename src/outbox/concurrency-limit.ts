/** A new destination, or one after trouble, starts with no more. */
const LIMIT_MIN = 4;
const LIMIT_FIRST = 32;
/**
 * Latency below this is the network and this process's own turn, however much it is of a fast partner's few
 * milliseconds.
 */
const SLACK_MS = 50;
const WINDOW_MS = 100;
const SAMPLES_MIN = 8;
/**
 * How long the best latency counts as what the destination can do; kept in two halves, so that it never starts from
 * nothing.
 */
const BASE_HALF_MS = 30_000;

/**
 * How many concurrent calls to one destination are worthwhile. By Little's law the calls that a partner works on are
 * its rate times its latency: a slow partner with room needs many at once, and for a full one more calls only make each
 * wait longer. So the limit grows while it is used up and the latency stays near the best one seen, and shrinks when
 * calls take twice as long as that or most of them get no response (AIMD). A fixed number would be too small for one
 * partner and too large for the next. Clocks are of `performance.now()`.
 */
export class ConcurrencyLimit {
  private limit: number;
  private windowStart = -Infinity;
  private took: number[] = [];
  private lost = 0;
  private usedUp = false;
  /** Until the first sign of a limit the number doubles: a fast partner must not wait seconds for its due. */
  private untroubled = true;
  private base = { since: -Infinity, best: Infinity, before: Infinity };

  constructor(private readonly max: number) {
    this.limit = Math.min(LIMIT_FIRST, max);
  }

  get current(): number {
    return Math.floor(this.limit);
  }

  /** There was more to send than the limit allows. */
  full(): void {
    this.usedUp = true;
  }

  /** A call ended: with a response after `ms`, or without one. */
  ended(now: number, ms: number, answered: boolean): void {
    if (answered) this.took.push(ms);
    else this.lost += 1;
    if (this.windowStart === -Infinity) this.windowStart = now;
    // A window must be long enough that its calls began under the limit that they are judged by.
    const typical = this.took[this.took.length >> 1] ?? 0;
    if (this.took.length + this.lost < SAMPLES_MIN || now - this.windowStart < Math.max(WINDOW_MS, 2 * typical)) return;
    this.adapt(now);
    this.windowStart = now;
    this.took = [];
    this.lost = 0;
    this.usedUp = false;
  }

  private adapt(now: number): void {
    this.took.sort((a, b) => a - b);
    const median = this.took[this.took.length >> 1];
    if (median !== undefined) this.learn(now, median);
    const best = Math.min(this.base.best, this.base.before);
    const slow = median !== undefined && median > Math.max(2 * best, best + SLACK_MS);
    // Scattered losses are cables and faults, which fewer calls do not heal: taking one in ten for a full partner left
    // most debits to their deadline. A partner that leaves most calls without a response is in trouble, and the breaker
    // thinks so too.
    const broken = this.lost > this.took.length;
    if (broken || slow) this.untroubled = false;
    if (broken) this.limit *= 0.5;
    else if (slow) this.limit *= 0.8;
    else if (this.usedUp) this.limit = this.untroubled ? this.limit * 2 : this.limit + Math.max(1, this.limit / 10);
    this.limit = Math.min(this.max, Math.max(Math.min(LIMIT_MIN, this.max), this.limit));
  }

  private learn(now: number, median: number): void {
    if (now - this.base.since > BASE_HALF_MS) this.base = { since: now, best: median, before: this.base.best };
    else this.base.best = Math.min(this.base.best, median);
  }
}
