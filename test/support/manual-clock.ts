import { Clock } from '../../src/kernel/clock';

/** Time moves when the test says so. */
export class ManualClock extends Clock {
  constructor(private at = Date.now()) {
    super();
  }

  now(): number {
    return this.at;
  }

  advance(ms: number): void {
    this.at += ms;
  }
}
