import 'reflect-metadata';
import { parseConfig } from '../config/config';
import { withDatabase } from '../database/open-database';
import { messageOf } from '../kernel/errors';
import { verifyChain } from './audit-chain';
import { AuditStore } from './audit.store';

/** `npm run audit:verify`: exit code 0 when the audit log is whole, 1 when an entry is broken (it is named), 2 when it cannot be read. */
async function main(): Promise<number> {
  const { entries, broken } = await withDatabase(parseConfig(process.env), 'hub-audit', (database) =>
    database.transaction(async (tx) => {
      // One snapshot: an entry that is written meanwhile must not look like one that was cut in.
      await tx.rows('set transaction isolation level repeatable read read only');
      const store = new AuditStore();
      return verifyChain(store.entries(tx), await store.head(tx));
    }),
  );
  process.stdout.write(broken === null ? `The audit log is whole: ${entries} entries.\n` : `The audit log is broken at entry ${broken.id}: ${broken.why}.\n`);
  return broken === null ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`The audit log cannot be read: ${messageOf(error)}\n`);
    process.exit(2);
  },
);
