import 'reflect-metadata';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { AuditHeads } from '../audit/audit-chain';
import { Notes, type Witnesses, witnessesOf } from '../audit/audit-checkpoint';
import { AuditStore } from '../audit/audit.store';
import { HubKey } from '../audit/hub-key';
import { type Finding, placesOf, proof, verifyAuditLog } from '../audit/verify';
import { isProduction, parseDatabaseConfig } from '../config/config';
import type { Database, Tx } from '../database/database';
import { withDatabase } from '../database/open-database';
import { messageOf } from '../kernel/errors';
import { brokenAction } from '../reconciliation/reports/action-chain';
import { ExceptionsStore } from '../reconciliation/exceptions/exceptions.store';
import { type SignedManifest, manifestFaults } from '../reconciliation/reports/manifest';

/**
 * `npm run audit:verify [-- FILE…]`: exit code 0 when the audit log is whole and what the checkpoints prove, 1 when it
 * is not (the entry is named), 2 when it cannot be read. FILEs are files of checkpoints or manifests of reports, beside
 * AUDIT_CHECKPOINT_FILE.
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
  const key = env.RECON_PUBLIC_KEY?.trim() || (secret === '' ? '' : new HubKey(secret).publicKey);
  if (key === '') throw new Error('RECON_PUBLIC_KEY (or RECON_SIGNING_KEY) is needed to check what the hub has signed');
  const read = await Promise.all(
    named.map(async (file) => witnessesOf(file, await readFile(file, 'utf8'), key, manifestHeads)),
  );
  return { heads: read.flatMap(({ heads }) => heads), faults: read.flatMap(({ faults }) => faults) };
}

function look(database: Database, heads: Witnesses['heads']): Promise<Finding[]> {
  return database.transaction(async (tx) => {
    // One snapshot: an entry that is written meanwhile must not look like one that was cut in.
    await tx.rows('set transaction isolation level repeatable read read only');
    const log = await verifyAuditLog(tx, heads);
    const actions = await verifyActions(tx, new ExceptionsStore(database), heads);
    return actions === null ? [log] : [log, actions];
  });
}

/** The history of exceptions; null before the first action. */
async function verifyActions(tx: Tx, store: ExceptionsStore, heads: Witnesses['heads']): Promise<Finding | null> {
  const proven = heads.map(({ from, actions }) => ({ ...actions, from }));
  const notes = new Notes();
  const { count, last, broken } = await brokenAction(notes.of(store.chain(tx), placesOf(proven)));
  // Each action's hash is in the audit log, too: actions cut off the end of their own chain are missed there.
  const newest = await new AuditStore().lastActionHash(tx);
  const why =
    broken ??
    (newest !== null && newest !== last
      ? `it ends at action ${count}, but the audit log knows of later ones`
      : notes.contradiction(proven));
  if (why !== null) return { whole: false, says: `The history of exceptions is broken: ${why}.` };
  return count === 0
    ? null
    : { whole: true, says: `The history of exceptions is whole: ${count} actions. ${proof(count, proven)}` };
}

/** Heads that the manifest of a report proves; null for one of an earlier build. */
function manifestHeads(said: unknown, key: string): AuditHeads | string | null | undefined {
  const { manifest } = (typeof said === 'object' && said !== null ? said : {}) as Partial<SignedManifest>;
  if (manifest === undefined) return undefined;
  const faults = manifestFaults(said, null, key);
  return faults.length > 0 ? faults.join('; ') : (manifest.audit ?? null);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`The audit log cannot be read: ${messageOf(error)}\n`);
    process.exit(2);
  },
);
