import { Injectable } from '@nestjs/common';
import { Notifications } from '../database/notifications';

interface Loop {
  readonly wake: (rgsId?: number) => void;
  readonly hasRoom: () => boolean;
}

/**
 * Wakes the loops that deliver to a destination: in this process immediately, in others through the database when this
 * one cannot do it all.
 */
@Injectable()
export class WakeUps {
  private readonly local = new Map<number, Loop>();

  constructor(private readonly notifications: Notifications) {
    notifications.onMessage((payload) => this.local.get(Number(payload))?.wake());
  }

  register(destinationId: number, loop: Loop): void {
    this.local.set(destinationId, loop);
  }

  unregister(destinationId: number): void {
    this.local.delete(destinationId);
  }

  /** `rgsId`: whose message it is, where that is known: of an RGS that waits for permits no message is news. */
  wake(destinationId: number, rgsId?: number): void {
    const loop = this.local.get(destinationId);
    loop?.wake(rgsId);
    if (loop === undefined || !loop.hasRoom()) this.notifications.publish(String(destinationId));
  }
}
