import { Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { Database, type Sql, type Tx } from '../database/database';
import type { CallbackVerdict } from './inbound-callback.entity';

export interface CallbackRecord {
  readonly operatorId: number;
  readonly body: string;
  readonly refId: string;
  readonly correlationId: string;
  readonly verdict: CallbackVerdict;
  readonly transactionId: string | null;
}

/** All SQL of what operators tell us. */
@Injectable()
export class WebhooksStore {
  constructor(private readonly database: Database) {}

  /** Keeps a callback; an equal body is counted. The first verdict that settled something stays. */
  async record(sql: Sql, callback: CallbackRecord): Promise<void> {
    await sql.rows(
      `insert into inbound_callback as c (operator_id, body_sha256, body, ref_id, correlation_id, verdict, transaction_id) values ($1, $2, $3, $4, $5, $6, $7)
       on conflict on constraint inbound_callback_body_key do update
       set seen = c.seen + 1, last_at = now(), transaction_id = coalesce(c.transaction_id, excluded.transaction_id),
           verdict = case when c.verdict in ('unmatched', 'undecided') then excluded.verdict else c.verdict end`,
      [callback.operatorId, createHash('sha256').update(callback.body).digest(), callback.body, callback.refId, callback.correlationId, callback.verdict, callback.transactionId],
    );
  }

  /** Callbacks kept as unmatched whose transaction is known by now. */
  async matchable(limit: number): Promise<{ operatorId: number; body: string }[]> {
    const rows = await this.database.rows<{ operator_id: number; body: string }>(
      `select c.operator_id, c.body from inbound_callback c
       join wallet_transaction t on t.id = case when c.correlation_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then c.correlation_id::uuid end and t.ref_id = c.ref_id and t.operator_id = c.operator_id
       where c.verdict = 'unmatched' and c.last_at > now() - interval '7 days' order by c.id limit $1`,
      [limit],
    );
    return rows.map((row) => ({ operatorId: row.operator_id, body: row.body }));
  }

  /** For development and tests only; the admin service guards it. */
  async clear(tx: Tx): Promise<void> {
    await tx.rows('truncate inbound_callback');
  }
}
