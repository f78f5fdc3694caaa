import 'reflect-metadata';
import { parseDatabaseConfig } from '../config/config';
import type { Database } from '../database/database';
import { withDatabase } from '../database/open-database';
import { messageOf } from '../kernel/errors';
import { brokenAction } from '../reconciliation/action-chain';
import { ExceptionsStore } from '../reconciliation/exceptions.store';
import { verifyChain } from './audit-chain';
import { AuditStore } from './audit.store';

interface Finding {
  readonly whole: boolean;
  readonly says: string;
}

/** `npm run audit:verify`: exit code 0 when the audit log is whole, 1 when an entry is broken (it is named), 2 when it cannot be read. */
async function main(): Promise<number> {
  const findings = await withDatabase(parseDatabaseConfig(process.env), 'hub-audit', look);
  for (const { says } of findings) process.stdout.write(`${says}\n`);
  return findings.every(({ whole }) => whole) ? 0 : 1;
}

function look(database: Database): Promise<Finding[]> {
  return database.transaction(async (tx) => {
    // One snapshot: an entry that is written meanwhile must not look like one that was cut in.
    await tx.rows('set transaction isolation level repeatable read read only');
    const store = new AuditStore();
    const { entries, broken } = await verifyChain(store.entries(tx), await store.head(tx));
    const log: Finding = { whole: broken === null, says: broken === null ? `The audit log is whole: ${entries} entries.` : `The audit log is broken at entry ${broken.id}: ${broken.why}.` };
    const acts = await brokenAction(new ExceptionsStore(database).chain(tx));
    // Each act's hash stands in the audit log, too: acts that were cut off the end of their own chain are missed there.
    const newest = await store.lastActionHash(tx);
    const why = acts.broken ?? (newest !== null && newest !== acts.last ? `it ends at action ${acts.count}, but the audit log knows of later ones` : null);
    if (why !== null) return [log, { whole: false, says: `The history of exceptions is broken: ${why}.` }];
    return acts.count === 0 ? [log] : [log, { whole: true, says: `The history of exceptions is whole: ${acts.count} actions.` }];
  });
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`The audit log cannot be read: ${messageOf(error)}\n`);
    process.exit(2);
  },
);
