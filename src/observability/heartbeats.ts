import { Clock } from '../kernel/clock';

/**
 * Workers report that they live; readiness reads it. A loop that hangs is worse than one that crashes, since no
 * supervisor restarts it.
 */
export class Heartbeats {
  private readonly beats = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  beat(worker: string): void {
    this.beats.set(worker, this.clock.now());
  }

  stopped(worker: string): void {
    this.beats.delete(worker);
  }

  /** Names of workers that have been silent for longer than `maxSilenceMs`. */
  silent(maxSilenceMs: number): string[] {
    const now = this.clock.now();
    return [...this.beats].filter(([, at]) => now - at > maxSilenceMs).map(([worker]) => worker);
  }
}
