import 'reflect-metadata';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isProduction, parseDatabaseConfig } from '../config/config';
import type { Database } from '../database/database';
import { withDatabase } from '../database/open-database';
import { messageOf } from '../kernel/errors';
import { brokenAction } from '../reconciliation/reports/action-chain';
import { ManifestKey } from '../reconciliation/reports/manifest';
import { ExceptionsStore } from '../reconciliation/exceptions/exceptions.store';
import { verifyChain } from '../audit/audit-chain';
import { Notes, type Witnesses, witnessesOf } from '../audit/audit-checkpoint';
import { AuditStore } from '../audit/audit.store';

interface Finding {
  readonly whole: boolean;
  readonly says: string;
}

/**
 * `npm run audit:verify [-- FILE…]`: exit code 0 when the audit log is whole and what the checkpoints prove, 1 when it is not (the entry is named),
 * 2 when it cannot be read. FILEs are files of checkpoints or manifests of reports, beside AUDIT_CHECKPOINT_FILE.
 */
async function main(): Promise<number> {
  const config = parseDatabaseConfig(process.env);
  // A server that was made for the occasion has an empty log, which is whole: a check that cannot fail.
  if (config.databaseUrl === undefined && !existsSync(path.resolve(config.dataDir, 'postgres', 'PG_VERSION')))
    throw new Error(
      `DATABASE_URL is not set, and ${path.resolve(config.dataDir)} (DATA_DIR) holds no embedded database`,
    );
  const witnesses = await readWitnesses(process.argv.slice(2), process.env);
  const findings = [
    ...witnesses.faults.map((says) => ({ whole: false, says })),
    ...(await withDatabase(config, 'hub-audit', (database) => look(database, witnesses.heads))),
  ];
  for (const { says } of findings) process.stdout.write(`${says}\n`);
  return findings.every(({ whole }) => whole) ? 0 : 1;
}

/** Throws when a file is missing that was named, or the key that signed. */
async function readWitnesses(files: readonly string[], env: NodeJS.ProcessEnv): Promise<Witnesses> {
  const named = [env.AUDIT_CHECKPOINT_FILE?.trim() ?? '', ...files].filter((file) => file !== '');
  if (named.length === 0) return { heads: [], faults: [] };
  const secret = env.RECON_SIGNING_KEY?.trim() || (isProduction(env) ? '' : 'change_recon_signing_key');
  const key = env.RECON_PUBLIC_KEY?.trim() || (secret === '' ? '' : new ManifestKey(secret).publicKey);
  if (key === '') throw new Error('RECON_PUBLIC_KEY (or RECON_SIGNING_KEY) is needed to check what the hub has signed');
  const read = await Promise.all(named.map(async (file) => witnessesOf(file, await readFile(file, 'utf8'), key)));
  return { heads: read.flatMap(({ heads }) => heads), faults: read.flatMap(({ faults }) => faults) };
}

/** What of a whole chain is proven by what the hub signed, and what only by the database itself. */
function proof(count: number, proven: readonly { readonly entries: number }[]): string {
  const upTo = Math.max(0, ...proven.map(({ entries }) => entries));
  return proven.length === 0
    ? 'By the database only: no checkpoint was given.'
    : `Proven up to ${upTo}; the last ${count - upTo} by the database only.`;
}

function look(database: Database, heads: Witnesses['heads']): Promise<Finding[]> {
  return database.transaction(async (tx) => {
    // One snapshot: an entry that is written meanwhile must not look like one that was cut in.
    await tx.rows('set transaction isolation level repeatable read read only');
    const store = new AuditStore();
    const [audit, actions] = [
      heads.map(({ from, audit: head }) => ({ ...head, from })),
      heads.map(({ from, actions: head }) => ({ ...head, from })),
    ];
    const [auditNotes, actNotes] = [new Notes(), new Notes()];
    const places = (proven: readonly { readonly entries: number }[]) =>
      new Set(proven.map(({ entries: place }) => place));
    const { entries, broken } = await verifyChain(
      auditNotes.of(store.entries(tx), places(audit)),
      await store.head(tx),
    );
    const unlike = broken === null ? auditNotes.contradiction(audit) : null;
    const log: Finding = {
      whole: broken === null && unlike === null,
      says:
        broken !== null
          ? `The audit log is broken at entry ${broken.id}: ${broken.why}.`
          : unlike !== null
            ? `The audit log was replaced: ${unlike}.`
            : `The audit log is whole: ${entries} entries. ${proof(entries, audit)}`,
    };
    const acts = await brokenAction(actNotes.of(new ExceptionsStore(database).chain(tx), places(actions)));
    // Each act's hash stands in the audit log, too: acts that were cut off the end of their own chain are missed there.
    const newest = await store.lastActionHash(tx);
    const why =
      acts.broken ??
      (newest !== null && newest !== acts.last
        ? `it ends at action ${acts.count}, but the audit log knows of later ones`
        : actNotes.contradiction(actions));
    if (why !== null) return [log, { whole: false, says: `The history of exceptions is broken: ${why}.` }];
    return acts.count === 0
      ? [log]
      : [
          log,
          {
            whole: true,
            says: `The history of exceptions is whole: ${acts.count} actions. ${proof(acts.count, actions)}`,
          },
        ];
  });
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`The audit log cannot be read: ${messageOf(error)}\n`);
    process.exit(2);
  },
);
