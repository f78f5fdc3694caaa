import { Injectable } from '@nestjs/common';
import { type Span, Timeline } from '../shared/timeline';

/** A webhook as stored: the first delivery of its Idempotency-Key. */
export interface ReceivedWebhook {
  /** Counts up in the order of arrival. */
  id: number;
  /** The JSON object as it came in. */
  body: string;
  playerId: string | null;
  refId: string | null;
  event: string | null;
  /** Null: it came without one, so each delivery stands for itself. */
  idempotencyKey: string | null;
  /** ms epoch. */
  createdAt: number;
  /** How often it was delivered, the first time included. */
  deliveries: number;
}

export type WebhookToStore = Omit<ReceivedWebhook, 'id' | 'createdAt' | 'deliveries'>;

/** Which webhooks of a refId are meant; null: whatever it is. */
export interface WebhookFilter {
  playerId: string | null;
  event: string | null;
}

/** The webhooks that the game server received, in memory: each webhook once by its Idempotency-Key. */
@Injectable()
export class ReceivedWebhooks {
  private readonly byKey = new Map<string, ReceivedWebhook>();
  private readonly webhooks = new Timeline<ReceivedWebhook>((webhook) => webhook.refId);
  private nextId = 1;
  private repeats = 0;
  private keyConflicts = 0;

  /** Stores a webhook, or counts it when its key is known; says which. */
  receive(webhook: WebhookToStore): 'stored' | 'repeat' {
    const known = webhook.idempotencyKey === null ? undefined : this.byKey.get(webhook.idempotencyKey);
    if (known !== undefined) {
      known.deliveries++;
      this.repeats++;
      if (known.body !== webhook.body) this.keyConflicts++;
      return 'repeat';
    }
    this.enter({ ...webhook, createdAt: Date.now(), deliveries: 1 });
    return 'stored';
  }

  /** Stores a webhook that no hub sent; a time in the past sorts it in. False when its key is taken. */
  plant(webhook: WebhookToStore, createdAt: number): boolean {
    if (webhook.idempotencyKey !== null && this.byKey.has(webhook.idempotencyKey)) return false;
    this.enter({ ...webhook, createdAt, deliveries: 1 });
    return true;
  }

  /** Forgets the webhooks of a refId and their keys; says how many there were. */
  lose(refId: string, filter: WebhookFilter): number {
    const lost = this.webhooks.remove(
      refId,
      ({ playerId, event }) =>
        (filter.playerId === null || filter.playerId === playerId) && (filter.event === null || filter.event === event),
    );
    for (const { idempotencyKey } of lost) if (idempotencyKey !== null) this.byKey.delete(idempotencyKey);
    return lost.length;
  }

  /** Everything stored, in order of arrival, as it stands now. */
  list(): readonly ReceivedWebhook[] {
    return this.webhooks.all();
  }

  /** A page of what is stored; see Timeline. */
  page(span: Span, limit: number): { rows: readonly ReceivedWebhook[]; total: number; more: boolean } {
    return this.webhooks.page(span, limit);
  }

  withRefId(refId: string): readonly ReceivedWebhook[] {
    return this.webhooks.with(refId);
  }

  /** `keyConflicts` counts repeats whose body differs from the first one under their key: a fault of the sender. */
  totals(): { stored: number; repeats: number; keyConflicts: number } {
    return { stored: this.webhooks.size, repeats: this.repeats, keyConflicts: this.keyConflicts };
  }

  clear(): void {
    this.byKey.clear();
    this.webhooks.clear();
    this.repeats = 0;
    this.keyConflicts = 0;
  }

  private enter(entry: Omit<ReceivedWebhook, 'id'>): void {
    const webhook = { ...entry, id: this.nextId++ };
    if (webhook.idempotencyKey !== null) this.byKey.set(webhook.idempotencyKey, webhook);
    this.webhooks.add(webhook);
  }
}
