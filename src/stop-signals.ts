import os from 'node:os';

/**
 * All that mean "stop" to a process without a terminal of its own. SIGHUP comes when its terminal closes, SIGQUIT from
 * some supervisors.
 */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const;

export type StopSignal = (typeof SIGNALS)[number];

/** Thrown by `unlessStopped`: the process was stopped before it was ready. */
export class StoppedWhileStarting extends Error {
  constructor(readonly signal: StopSignal) {
    super(`${signal} came while the hub was starting`);
    this.name = 'StoppedWhileStarting';
  }

  /** As a shell tells an end by a signal: this process never served anybody. */
  get exitCode(): number {
    return 128 + os.constants.signals[this.signal];
  }
}

/**
 * Listens from the first moment of the process to its last, so that no signal ever ends it half-way. The first counts;
 * the others are only logged.
 */
export class StopSignals {
  readonly first: Promise<StopSignal>;
  private received: StopSignal | undefined;
  private onRepeat: (signal: StopSignal) => void = () => undefined;

  constructor() {
    this.first = new Promise((resolve) => {
      for (const signal of SIGNALS)
        process.on(signal, () => {
          if (this.received !== undefined) return this.onRepeat(signal);
          this.received = signal;
          resolve(signal);
        });
    });
  }

  onRepeated(listener: (signal: StopSignal) => void): void {
    this.onRepeat = listener;
  }

  /** For work that may be left as it is; what comes of it later is not heard. */
  async unlessStopped<T>(work: Promise<T>): Promise<T> {
    const stopped = this.first.then((signal) => {
      throw new StoppedWhileStarting(signal);
    });
    return Promise.race([work, stopped]);
  }

  /** Between two steps of a start. */
  throwIfStopped(): void {
    if (this.received !== undefined) throw new StoppedWhileStarting(this.received);
  }
}
