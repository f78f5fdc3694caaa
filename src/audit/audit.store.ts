import { Injectable } from '@nestjs/common';
import { invariant } from '../kernel/invariant';
import type { Sql, Tx } from '../database/database';
import { currentContext } from '../observability/request-context';
import type { AuditRecord, ChainHead } from './audit-chain';

export interface AuditEntry {
  readonly actor: string;
  readonly action: 'outbox.replay' | 'destination.resume' | 'database.clear' | 'transaction.resolve' | 'exception.act';
  readonly target: string;
  readonly before: unknown;
  readonly after: unknown;
}

interface AuditRow extends Record<string, unknown> {
  id: string;
  at: string;
  actor: string;
  action: string;
  target: string;
  before: string | null;
  after: string | null;
  request_id: string | null;
  previous_hash: string;
  hash: string;
}

/** Microseconds and all, in one fixed form: what is hashed must read the same forever. */
const instant = (sql: string): string => `to_char(${sql} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
/** Documents as the text they were stored as; a json column keeps it to the letter. */
const COLUMNS = `id, ${instant('at')} as at, actor, action, target, before::text as before, after::text as after, request_id, previous_hash, hash`;

/** Writes down what people do, in the transaction in which they do it, each entry chained to the one before. */
@Injectable()
export class AuditStore {
  async add(tx: Tx, entry: AuditEntry): Promise<void> {
    // One statement of the database's own, since the hub's role may write neither the entries nor their head.
    await tx.rows('select audit_append($1, $2, $3, $4, $5, $6)', [
      entry.actor,
      entry.action,
      entry.target,
      JSON.stringify(entry.before),
      JSON.stringify(entry.after),
      currentContext()?.requestId ?? null,
    ]);
  }

  async head(sql: Sql): Promise<ChainHead> {
    const [head] = await sql.rows<{ entries: string; hash: string }>('select entries, hash from audit_head');
    invariant(head !== undefined, 'the audit chain has no head');
    return { entries: Number(head.entries), hash: head.hash };
  }

  /** Hash of the newest act on an exception that the log knows of; null when there was none. */
  async lastActionHash(sql: Sql): Promise<string | null> {
    const [row] = await sql.rows<{ hash: string }>(
      `select after ->> 'actionHash' as hash from audit_entry where action = 'exception.act' order by id desc limit 1`,
    );
    return row?.hash ?? null;
  }

  /** All entries, oldest first, a page at a time. */
  async *entries(sql: Sql): AsyncGenerator<AuditRecord> {
    let after = '0';
    for (;;) {
      const rows = await sql.rows<AuditRow>(`select ${COLUMNS} from audit_entry where id > $1 order by id limit 1000`, [
        after,
      ]);
      for (const row of rows) yield recordOf(row);
      const last = rows.at(-1);
      if (last === undefined) return;
      after = last.id;
    }
  }
}

function recordOf(row: AuditRow): AuditRecord {
  return {
    id: row.id,
    at: row.at,
    actor: row.actor,
    action: row.action,
    target: row.target,
    before: row.before,
    after: row.after,
    requestId: row.request_id,
    previousHash: row.previous_hash,
    hash: row.hash,
  };
}
