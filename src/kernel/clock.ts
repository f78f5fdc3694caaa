/**
 * Where the hub's own code reads the time. Schedules in the outbox use the database's clock instead, since replicas
 * share it.
 */
export abstract class Clock {
  /** Milliseconds since the epoch. */
  abstract now(): number;
}

export class SystemClock extends Clock {
  now(): number {
    return Date.now();
  }
}
