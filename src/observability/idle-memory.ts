import { Injectable } from '@nestjs/common';
import { Logger } from './logger';

/** Of its looks, which the scheduler calls. */
export const IDLE_LOOK_MS = 5_000;
/** Looks in a row that must find nothing going on. */
const QUIET_LOOKS = 2;
/** Milliseconds of CPU per second; the periodic duties of a hub take less, five debits a second take more. */
const QUIET_CPU_MS_MAX = 15;
/** A collection of less is not worth its pause. */
const WORTH_BYTES = 16 * 1024 * 1024;

/**
 * Gives memory back that a start or a busy hour has left behind. The engine collects when something allocates, and an
 * idle hub allocates nothing, so it would keep its largest size forever. Such a collection stops the process for a
 * tenth of a second, which is why it waits until nothing is going on.
 */
@Injectable()
export class IdleMemory {
  private since = { at: performance.now(), cpuMs: cpuMs() };
  private quietLooks = 0;
  private collectedBytes = 0;

  constructor(private readonly logger: Logger) {}

  look(): void {
    // The function is there with --expose-gc, as `npm run start:hub` has it.
    const { gc } = globalThis;
    // Not the event loop's utilization, which counts the time in which other processes had the processor.
    const now = { at: performance.now(), cpuMs: cpuMs() };
    const isQuiet = (now.cpuMs - this.since.cpuMs) * 1000 <= QUIET_CPU_MS_MAX * (now.at - this.since.at);
    this.since = now;
    this.quietLooks = isQuiet ? this.quietLooks + 1 : 0;
    const before = process.memoryUsage().heapTotal;
    if (gc === undefined || this.quietLooks < QUIET_LOOKS || before < this.collectedBytes + WORTH_BYTES) return;
    // Any other flavour keeps the pages that it frees for later use, and they stay resident.
    gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    this.collectedBytes = process.memoryUsage().heapTotal;
    this.logger.event('debug', 'memory.collected', { beforeBytes: before, afterBytes: this.collectedBytes });
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
