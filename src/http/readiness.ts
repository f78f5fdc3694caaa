import { Injectable } from '@nestjs/common';

/**
 * Whether this process wants requests. Turned off first when it stops, so that a balancer looks elsewhere before the
 * port closes.
 */
@Injectable()
export class Readiness {
  private readonly listeners: (() => void)[] = [];
  private off = false;

  get stopping(): boolean {
    return this.off;
  }

  /** From here on: not ready, and each response asks the client to connect elsewhere. */
  stop(): void {
    if (this.off) return;
    this.off = true;
    for (const listener of this.listeners) listener();
  }

  onStop(listener: () => void): void {
    this.listeners.push(listener);
  }
}
