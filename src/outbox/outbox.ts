import { Injectable } from '@nestjs/common';
import type { Tx } from '../database/database';
import { HubError } from '../kernel/errors';
import { invariant } from '../kernel/invariant';
import type { DeliveryHandler } from './delivery-handler';
import { endingOf } from './lease-rules';
import type { NewMessage, Outcome, Queue } from './outbox-message';
import { OutboxRecordsStore, type OutboxRecord, type RecordFilter } from './outbox-records.store';
import { type DestinationHealth, type MessagePosition, OutboxStore, type Standing } from './outbox.store';
import { WakeUps } from './wake-ups';

export interface FinishedMessage {
  readonly id: string;
  readonly destinationId: number;
  readonly outcome: Extract<Outcome, 'sent' | 'dead'>;
}

/** What the rest of the hub may do with the outbox. */
@Injectable()
export class Outbox {
  private registered: DeliveryHandler | undefined;

  constructor(
    private readonly store: OutboxStore,
    private readonly wakeUps: WakeUps,
    private readonly records: OutboxRecordsStore,
  ) {}

  /** Registers who gives meaning to operators' responses; once, at start. */
  handle(handler: DeliveryHandler): void {
    this.registered = handler;
  }

  get handler(): DeliveryHandler {
    invariant(this.registered !== undefined, 'no handler for deliveries: a module must call Outbox.handle at start');
    return this.registered;
  }

  /** Stores messages with the caller's own rows: all of it is committed, or none. Delivery starts after the commit. */
  async enqueue(tx: Tx, messages: readonly NewMessage[]): Promise<void> {
    if (messages.length === 0) return;
    await this.store.enqueue(tx, messages);
    tx.afterCommit(() => {
      for (const id of new Set(messages.map(({ destinationId }) => destinationId))) this.wake(id);
    });
  }

  /** For writers that enqueue inside a statement of their own, after it committed. */
  wake(destinationId: number, rgsId?: number): void {
    this.wakeUps.wake(destinationId, rgsId);
  }

  /** Must come before locks on the caller's own rows: everyone locks lane first, row second. */
  async lockLane(tx: Tx, destinationId: number, laneKey: string): Promise<void> {
    await this.store.lockLane(tx, destinationId, laneKey);
  }

  /**
   * Locks those of the lanes that no other transaction holds; returns their list indexes. The rest may be retried
   * immediately.
   */
  lockFreeLanes(
    tx: Tx,
    lanes: readonly { readonly destinationId: number; readonly laneKey: string }[],
  ): Promise<Set<number>> {
    return this.store.lockFreeLanes(tx, lanes);
  }

  /**
   * Ends messages whose outcome became known by other means. The caller holds their lanes. A message that is being sent
   * right now is left alone but for repeats of what was refused: its own answer comes, and contradictions must be seen.
   * One behind its head keeps its place, and ends when its turn comes.
   */
  async finish(tx: Tx, messages: readonly FinishedMessage[], reason: string): Promise<void> {
    if (messages.length === 0) return;
    // Said twice of one message in a batch, the first word counts: after it the message is done.
    const first = new Map<string, FinishedMessage>();
    for (const message of messages) if (!first.has(message.id)) first.set(message.id, message);
    const ids = [...first.keys()];
    await this.store.closeDead(tx, ids);
    const positions = await this.store.positions(tx, ids);
    const endings = new Map(
      [...first.values()].map(({ id, outcome }) => [id, endingOf(positions.get(id)?.place ?? 'done', outcome)]),
    );
    const expiring = ids.filter((id) => endings.get(id) === 'expire');
    if (expiring.length > 0) await this.store.expire(tx, expiring);
    const idle = [...first.values()].filter(({ id }) => endings.get(id) === 'settle');
    if (idle.length === 0) return;
    await this.store.settle(
      tx,
      idle.map(({ id, outcome }) => ({
        id,
        outcome,
        class: reason,
        status: null,
        error: outcome === 'sent' ? null : reason,
        durationMs: null,
        delayMs: 0,
        open: false,
        landing: null,
      })),
      'hub',
    );
    tx.afterCommit(() => {
      for (const destinationId of new Set(idle.map((message) => message.destinationId))) this.wake(destinationId);
    });
  }

  /**
   * Void requested: from now on the message is looked up instead of sent, immediately if it waits for its next attempt.
   * The caller holds its lane.
   */
  async recall(tx: Tx, message: { readonly id: string; readonly destinationId: number }): Promise<void> {
    await this.store.expire(tx, [message.id]);
    await this.store.hurry(tx, message.id);
    tx.afterCommit(() => this.wake(message.destinationId));
  }

  /** Whether a message may have been sent, and whether it is in flight right now. The caller holds its lane. */
  async position(tx: Tx, messageId: string): Promise<MessagePosition> {
    const position = (await this.store.positions(tx, [messageId])).get(messageId);
    invariant(position !== undefined, 'a message has no position');
    return position;
  }

  /** As position, for many; locks their heads in the order that everyone keeps. */
  positions(tx: Tx, messageIds: readonly string[]): Promise<Map<string, MessagePosition>> {
    return this.store.positions(tx, messageIds);
  }

  /** Holds back messages that were just enqueued, since what they say may become more complete in a moment. */
  holdBack(tx: Tx, messageIds: readonly string[], ms: number): Promise<void> {
    return this.store.holdBack(tx, messageIds, ms);
  }

  /**
   * Completes what a message says, while it has not left; false when it may have. The last thing that a transaction
   * does with the outbox.
   */
  async rewrite(
    tx: Tx,
    message: { readonly id: string; readonly destinationId: number; readonly body: string },
  ): Promise<boolean> {
    const written = await this.store.rewrite(tx, message.id, message.body);
    if (written) tx.afterCommit(() => this.wake(message.destinationId));
    return written;
  }

  list(filter: RecordFilter): Promise<OutboxRecord[]> {
    return this.records.list(filter);
  }

  /** Makes a record due now, with the same bytes and id. Answers it before and after. */
  async replay(tx: Tx, queue: Queue, id: string): Promise<{ before: OutboxRecord; after: OutboxRecord }> {
    const message = await this.store.findForReplay(tx, queue, id);
    if (message === undefined) throw new HubError('outbox_record_not_found');
    if (message.laneKey !== null) await this.store.lockLane(tx, message.destinationId, message.laneKey);
    const before = await this.records.find(tx, queue, id);
    const position = await this.position(tx, id);
    if (message.transactionId !== null) {
      const refusal = await this.handler.refuseReplay(tx, {
        id,
        queue,
        transactionId: message.transactionId,
        position,
      });
      if (refusal !== null) throw refusal;
    }
    // What a player's game server hears keeps its order. A movement at the operator has none to keep: its lane went on
    // without it.
    if (queue === 'operator' || !(await this.store.requeue(tx, id))) await this.store.replay(tx, id);
    const after = await this.records.find(tx, queue, id);
    invariant(before !== undefined && after !== undefined, () => `outbox record ${id} vanished while it was replayed`);
    tx.afterCommit(() => this.wake(message.destinationId));
    return { before, after };
  }

  /** Sends again to a destination that was paused; false when it was not. */
  async resume(tx: Tx, destinationId: number): Promise<boolean> {
    const resumed = await this.store.resume(tx, destinationId);
    if (resumed) tx.afterCommit(() => this.wake(destinationId));
    return resumed;
  }

  /** Whether a destination is paused, and how much waits for it. */
  standing(destinationId: number): Promise<Standing> {
    return this.store.standing(destinationId);
  }

  destinations(): Promise<DestinationHealth[]> {
    return this.store.health();
  }

  clear(tx: Tx): Promise<void> {
    return this.store.clear(tx);
  }
}
