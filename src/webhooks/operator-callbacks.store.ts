import { Injectable } from '@nestjs/common';
import { hash } from 'node:crypto';
import { Batcher } from '../database/batcher';
import { Database, HotDatabase, type Tx } from '../database/database';
import type { CallbackResult } from './inbound-callback.entity';

export interface CallbackRecord {
  readonly operatorId: number;
  readonly body: string;
  readonly refId: string;
  readonly correlationId: string;
  readonly verdict: CallbackResult;
  readonly transactionId: string | null;
}

/** Verdicts that a later look may better. */
const OPEN: ReadonlySet<CallbackResult> = new Set(['unmatched', 'undecided']);

/** All SQL of what operators tell us. */
@Injectable()
export class OperatorCallbacksStore {
  private readonly kept: Batcher<CallbackRecord, undefined> = new Batcher({
    run: async (callbacks) => {
      await this.hot.transaction((tx) => this.record(tx, callbacks));
      return callbacks.map(() => undefined);
    },
    batchMax: 100,
    flightsMax: 1,
    queueMax: 4_000,
  });

  constructor(
    private readonly database: Database,
    private readonly hot: HotDatabase,
  ) {}

  /** As record, in a commit that it shares with whatever else is kept in the same moment. */
  async keep(callback: CallbackRecord): Promise<void> {
    await this.kept.add(callback);
  }

  /** Keeps callbacks; equal bodies are counted. The first verdict that settled something stays. */
  async record(tx: Tx, callbacks: readonly CallbackRecord[]): Promise<void> {
    const bodies = new Map<
      string,
      Record<string, unknown> & { verdict: CallbackResult; transaction_id: string | null; seen: number }
    >();
    for (const { operatorId, body, refId, correlationId, verdict, transactionId } of callbacks) {
      const sha256 = hash('sha256', body, 'hex');
      const same = bodies.get(`${operatorId}:${sha256}`);
      if (same === undefined) {
        bodies.set(`${operatorId}:${sha256}`, {
          operator_id: operatorId,
          body_sha256: sha256,
          body,
          ref_id: refId,
          correlation_id: correlationId,
          verdict,
          transaction_id: transactionId,
          seen: 1,
        });
        continue;
      }
      same.seen += 1;
      same.transaction_id ??= transactionId;
      if (OPEN.has(same.verdict)) same.verdict = verdict;
    }
    // In the order of the key, so that two batches wait for each other at most one way.
    await tx.rows(
      `insert into inbound_callback as c (operator_id, body_sha256, body, ref_id, correlation_id, verdict, transaction_id, seen)
       select operator_id, decode(body_sha256, 'hex'), body, ref_id, correlation_id, verdict, transaction_id, seen
       from json_to_recordset($1) as r (operator_id integer, body_sha256 text, body text, ref_id text, correlation_id text, verdict text, transaction_id uuid, seen integer)
       order by operator_id, body_sha256
       on conflict on constraint inbound_callback_body_key do update
       set seen = least(c.seen::bigint + excluded.seen, 2147483647)::integer, last_at = now(), transaction_id = coalesce(c.transaction_id, excluded.transaction_id),
           verdict = case when c.verdict in ('unmatched', 'undecided') then excluded.verdict else c.verdict end`,
      [JSON.stringify([...bodies.values()])],
    );
  }

  /** Callbacks kept as unmatched whose transaction is known by now. */
  async matchable(limit: number): Promise<{ operatorId: number; body: string }[]> {
    const rows = await this.database.rows<{ operator_id: number; body: string }>(
      `select c.operator_id, c.body from inbound_callback c
       join wallet_transaction t on t.id = case when c.correlation_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then c.correlation_id::uuid end and c.ref_id in (coalesce(t.external_ref, t.ref_id), 'rollback:' || coalesce(t.external_ref, t.ref_id)) and t.operator_id = c.operator_id
       where c.verdict = 'unmatched' and c.last_at > now() - interval '7 days' order by c.id limit $1`,
      [limit],
    );
    return rows.map((row) => ({ operatorId: row.operator_id, body: row.body }));
  }

  /** Unmatched callbacks of an operator, counted no further than `limit`. */
  async countUnmatched(operatorId: number, limit: number): Promise<number> {
    const [row] = await this.database.rows<{ n: string }>(
      `select count(*) as n from (select 1 from inbound_callback where verdict = 'unmatched' and operator_id = $1 limit $2) u`,
      [operatorId, limit],
    );
    return Number(row?.n ?? 0);
  }

  /**
   * Deletes the oldest that are not needed any more, at most `limit` of each kind; returns how many of the larger kind.
   */
  async purge(retentionDays: number, limit: number): Promise<number> {
    const [row] = await this.database.rows<{ n: number }>(
      `with unmatched as (
         delete from inbound_callback where id in (
           select id from (select id, last_at from inbound_callback where verdict = 'unmatched' order by id limit $2) oldest where last_at < now() - interval '7 days') returning 1
       ), others as (
         -- By the order of the ids, which is that of their first coming: no index names the time.
         delete from inbound_callback where id in (
           select id from (select id, last_at, verdict from inbound_callback order by id limit $2) oldest where verdict <> 'unmatched' and last_at < now() - $1 * interval '1 day') returning 1
       )
       select greatest((select count(*) from unmatched), (select count(*) from others))::integer as n`,
      [retentionDays, limit],
    );
    return row?.n ?? 0;
  }

  /** For development and tests only; the admin service guards it. */
  async clear(tx: Tx): Promise<void> {
    await tx.rows('truncate inbound_callback');
  }
}
