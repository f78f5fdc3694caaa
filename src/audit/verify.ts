import type { Tx } from '../database/database';
import { verifyChain } from './audit-chain';
import { Notes, type Witnesses } from './audit-checkpoint';
import { AuditStore } from './audit.store';

/** What a person reads about one chain. */
export interface Finding {
  readonly whole: boolean;
  readonly says: string;
}

/** Walks the audit log and holds it against what the hub signed. */
export async function verifyAuditLog(tx: Tx, heads: Witnesses['heads']): Promise<Finding> {
  const proven = heads.map(({ from, audit }) => ({ ...audit, from }));
  const notes = new Notes();
  const store = new AuditStore();
  const { entries, broken } = await verifyChain(notes.of(store.entries(tx), placesOf(proven)), await store.head(tx));
  if (broken !== null) return { whole: false, says: `The audit log is broken at entry ${broken.id}: ${broken.why}.` };
  const unlike = notes.contradiction(proven);
  return unlike === null
    ? { whole: true, says: `The audit log is whole: ${entries} entries. ${proof(entries, proven)}` }
    : { whole: false, says: `The audit log was replaced: ${unlike}.` };
}

export function placesOf(proven: readonly { readonly entries: number }[]): ReadonlySet<number> {
  return new Set(proven.map(({ entries }) => entries));
}

/** What of a whole chain is proven by what the hub signed, and what only by the database itself. */
export function proof(count: number, proven: readonly { readonly entries: number }[]): string {
  const upTo = Math.max(0, ...proven.map(({ entries }) => entries));
  return proven.length === 0
    ? 'By the database only: no checkpoint was given.'
    : `Proven up to ${upTo}; the last ${count - upTo} by the database only.`;
}
