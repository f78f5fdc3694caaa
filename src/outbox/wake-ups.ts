import { Injectable } from '@nestjs/common';
import { Notifications } from '../database/notifications';

/** Wakes the loops that deliver to a destination: in this process immediately, in others through the database when this one cannot do it all. */
@Injectable()
export class WakeUps {
  private readonly local = new Map<number, { wake: () => void; hasRoom: () => boolean }>();

  constructor(private readonly notifications: Notifications) {
    notifications.onMessage((payload) => this.local.get(Number(payload))?.wake());
  }

  register(destinationId: number, loop: { wake: () => void; hasRoom: () => boolean }): void {
    this.local.set(destinationId, loop);
  }

  unregister(destinationId: number): void {
    this.local.delete(destinationId);
  }

  wake(destinationId: number): void {
    const loop = this.local.get(destinationId);
    loop?.wake();
    if (loop === undefined || !loop.hasRoom()) this.notifications.publish(String(destinationId));
  }
}
