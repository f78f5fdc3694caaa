import { Injectable } from '@nestjs/common';
import type { Tx } from '../database/database';
import { currentContext } from '../observability/request-context';

export interface AuditEntry {
  readonly actor: string;
  readonly action: 'outbox.replay' | 'destination.resume' | 'database.clear';
  readonly target: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** Writes down what people do, in the transaction in which they do it. */
@Injectable()
export class AuditStore {
  async add(tx: Tx, entry: AuditEntry): Promise<void> {
    await tx.rows('insert into audit_entry (actor, action, target, before, after, request_id) values ($1, $2, $3, $4, $5, $6)', [
      entry.actor,
      entry.action,
      entry.target,
      JSON.stringify(entry.before),
      JSON.stringify(entry.after),
      currentContext()?.requestId ?? null,
    ]);
  }
}
