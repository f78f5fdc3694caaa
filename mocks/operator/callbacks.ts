import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { LosslessNumber } from 'lossless-json';
import { exactJson } from '../shared/bodies';
import { Fifo } from './fifo';
import { HubClient } from './hub-client';
import type { Direction } from './movement';
import { OperatorSettings } from './settings';

const CONCURRENCY = 32;
/** Waits before the second, third … attempt; after the last one the callback has failed. */
const RETRY_DELAYS_MS = [100, 500, 2000, 5000];

/** The outcome of a movement: the contract's body of `POST /webhooks/incoming`. */
export interface Callback {
  playerId: string;
  /** As the hub sent it. */
  amount: LosslessNumber | string;
  currency: string;
  status: string;
  event: Direction;
  refId: string;
  correlationId: string;
}

/** One callback in flight. */
interface Delivery {
  body: string;
  /** How many attempts have failed. */
  failures: number;
  /** Called once it is delivered, has failed for good, or was cleared away. */
  done: () => void;
}

/**
 * Calls the hub back, at most 32 at a time, and tries again when the hub cannot be reached or fails.
 * A definite refusal (4xx but 408 and 429) is final: the same bytes would be refused again.
 */
@Injectable()
export class Callbacks implements OnModuleDestroy {
  /** Each entry is sent in its order, one after the other; different entries run side by side. */
  private readonly queue = new Fifo<Delivery[]>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private held: Delivery[] = [];
  private flushTimer: NodeJS.Timeout | null = null;
  /** Those that are neither delivered nor failed; what was cleared is not in it, and no longer counts. */
  private readonly open = new Set<Delivery>();
  private active = 0;
  private delivered = 0;
  private failed = 0;
  private stopped = false;

  constructor(
    private readonly settings: OperatorSettings,
    private readonly hub: HubClient,
  ) {}

  /** Queues the callback after `delayMs`, or after the delay of the settings when that is longer. */
  send(callback: Callback, delayMs = 0): void {
    this.plan(callback, delayMs, () => undefined);
  }

  /** Sends the callback and resolves once the hub has taken it, or it has failed for good. */
  async sendAndWait(callback: Callback): Promise<void> {
    await new Promise<void>((resolve) => this.plan(callback, 0, resolve));
  }

  /**
   * Keeps the callback back until `window` of them are there, or `flushMs` after the first; then they go in reverse
   * order.
   */
  hold(callback: Callback, window: number, flushMs: number): void {
    if (this.isSilent()) return;
    this.held.push(this.delivery(callback, () => undefined));
    if (this.held.length >= window) this.flush();
    else this.flushTimer ??= this.later(flushMs, () => this.flush());
  }

  counts(): { delivered: number; failed: number; pending: number } {
    return { delivered: this.delivered, failed: this.failed, pending: this.open.size };
  }

  /** Forgets what waits, and what is in flight no longer counts: nothing of one test shows in the next. */
  clear(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.queue.clear();
    this.held = [];
    this.flushTimer = null;
    this.delivered = 0;
    this.failed = 0;
    const dropped = [...this.open];
    this.open.clear();
    for (const delivery of dropped) delivery.done();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    this.clear();
  }

  private isSilent(): boolean {
    return this.stopped || !this.settings.callbacks;
  }

  private plan(callback: Callback, delayMs: number, done: () => void): void {
    if (this.isSilent()) return done();
    const delivery = this.delivery(callback, done);
    const wait = Math.max(delayMs, this.settings.callbackDelayMs);
    if (wait > 0) this.later(wait, () => this.enqueue([delivery]));
    else this.enqueue([delivery]);
  }

  private delivery(callback: Callback, done: () => void): Delivery {
    const delivery = { body: exactJson({ ...callback }), failures: 0, done };
    this.open.add(delivery);
    return delivery;
  }

  private flush(): void {
    if (this.flushTimer !== null) {
      clearTimeout(this.flushTimer);
      this.timers.delete(this.flushTimer);
      this.flushTimer = null;
    }
    const reversed = this.held.reverse();
    this.held = [];
    if (reversed.length > 0) this.enqueue(reversed);
  }

  private enqueue(sequence: Delivery[]): void {
    this.queue.push(sequence);
    this.startNext();
  }

  private startNext(): void {
    while (this.active < CONCURRENCY) {
      const sequence = this.queue.shift();
      if (sequence === undefined) return;
      this.active++;
      // Neither attempt nor post rejects, so there is no rejection to lose here.
      void this.sendInOrder(sequence).finally(() => {
        this.active--;
        this.startNext();
      });
    }
  }

  private async sendInOrder(sequence: Delivery[]): Promise<void> {
    for (const delivery of sequence) await this.attempt(delivery);
  }

  /** One attempt; a failed one goes back into the queue later, so that it holds no place while it waits. */
  private async attempt(delivery: Delivery): Promise<void> {
    const status = this.open.has(delivery) ? await this.hub.post('/webhooks/incoming', delivery.body) : null;
    if (!this.open.has(delivery)) return;
    if (status !== null && status >= 200 && status < 300) {
      this.delivered++;
    } else {
      const delayMs = RETRY_DELAYS_MS[delivery.failures++];
      if (delayMs !== undefined && !isDefiniteRefusal(status)) {
        this.later(delayMs, () => this.enqueue([delivery]));
        return;
      }
      this.failed++;
    }
    this.open.delete(delivery);
    delivery.done();
  }

  private later(ms: number, act: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, ms);
    this.timers.add(timer);
    return timer;
  }
}

function isDefiniteRefusal(status: number | null): boolean {
  return status !== null && status >= 400 && status < 500 && status !== 408 && status !== 429;
}
