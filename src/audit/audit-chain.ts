import { createHash } from 'node:crypto';
import type { Sql } from '../database/database';

/** An entry as text, column by column. */
export interface AuditRecord {
  /** 1, 2, 3, … */
  readonly id: string;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly before: string | null;
  readonly after: string | null;
  readonly requestId: string | null;
  readonly previousHash: string;
  readonly hash: string;
}

export interface ChainHead {
  readonly entries: number;
  readonly hash: string;
}

/** Length and last hash of the audit log, and of the history of exceptions. */
export interface AuditHeads {
  readonly audit: ChainHead;
  readonly actions: ChainHead;
}

/** Reads both heads at one moment. The history of exceptions is not ours to read, so its owner answers. */
export abstract class AuditHeadsSource {
  abstract auditHeads(sql: Sql): Promise<AuditHeads>;
}

export interface Verification {
  readonly entries: number;
  /** Null: the chain is whole. */
  readonly broken: { readonly id: string; readonly why: string } | null;
}

const GENESIS = '0'.repeat(64);

/**
 * Hex SHA-256 over every column, as `audit_append` writes it. JSON keeps the borders between columns, so no text can be
 * moved from one to the next.
 */
export function hashOf(entry: Omit<AuditRecord, 'hash'>): string {
  const { previousHash, id, at, actor, action, target, before, after, requestId } = entry;
  return createHash('sha256')
    .update(JSON.stringify([previousHash, id, at, actor, action, target, before, after, requestId]))
    .digest('hex');
}

/** Walks the chain from its beginning and names the first entry that is changed, missing or out of place. */
export async function verifyChain(entries: AsyncIterable<AuditRecord>, head: ChainHead): Promise<Verification> {
  let previousHash = GENESIS;
  let count = 0;
  for await (const entry of entries) {
    count += 1;
    const broken = (why: string): Verification => ({ entries: count, broken: { id: String(count), why } });
    if (entry.id !== String(count)) return broken(`entry ${count} is missing; entry ${entry.id} is in its place`);
    if (entry.previousHash !== previousHash) return broken(`entry ${count} does not follow entry ${count - 1}`);
    if (hashOf(entry) !== entry.hash) return broken(`entry ${count} was changed`);
    previousHash = entry.hash;
  }
  if (count !== head.entries || previousHash !== head.hash)
    return {
      entries: count,
      broken: { id: String(count + 1), why: `the chain ends at entry ${count}, but ${head.entries} were written` },
    };
  return { entries: count, broken: null };
}
