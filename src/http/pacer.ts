import { setTimeout as delay } from 'node:timers/promises';
import type { ServerResponse } from 'node:http';

/** Refusals without delay after a quiet time, so that a typo costs no wait. */
const BURST = 50;
/** Waiting longer would only hold connections: beyond it, a caller with so many requests delays only itself. */
const WAIT_MS_MAX = 5_000;

/**
 * Lets cheap work that anybody can ask for through at an even rate, whatever the number of callers. A refused request
 * and a document cost little, but eight callers that repeat them at once would keep the event loop busy and make
 * everybody's money wait. Rejected: 429, which costs as much to answer as the refusal itself and tells a caller with a
 * fault less than the fault.
 */
export class Pacer {
  private level = 0;

  /** `perSecond` 0 lets everything through at once. */
  constructor(private readonly perSecond: number) {}

  /**
   * Answers when the turn comes, and not at all if the client has left by then. A heavy answer takes several shares.
   */
  run(response: ServerResponse, shares: number, answer: () => void): void {
    const ms = this.delayMs(performance.now(), shares);
    if (ms <= 1) return answer();
    void delay(ms).then(() => {
      if (!response.destroyed) answer();
    });
  }

  /** Milliseconds until the turn that is taken by asking. */
  delayMs(now: number, shares = 1): number {
    if (this.perSecond === 0) return 0;
    const each = 1000 / this.perSecond;
    this.level = Math.min(Math.max(this.level, now - BURST * each) + shares * each, now + WAIT_MS_MAX);
    return Math.max(this.level - now, 0);
  }
}
