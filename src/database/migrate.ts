import { DataSource } from 'typeorm';
import { dataSourceOptions } from './data-source';
import { Database } from './database';
import { type MigrationHistory, migrationHistory } from './migration-history';
import { isPermissionDenied } from './pg-errors';
import { type Application, grantToApplication, ownerFault, surplusPowers } from './roles';

/** A migration may rewrite a table; an hour says that it hangs. */
const MIGRATION_LIMIT_MS = 3_600_000;
/** Any fixed number: replicas that start together take turns on it. */
const MIGRATION_LOCK = 7_361_905;
const SEE_RUNBOOK = 'docs/runbook.md, "The hub\'s two roles", has the statements.';

/** As many as outbox maintenance makes; a message must never find only the default partition. */
const WEEKS_AHEAD = 4;

/**
 * Brings the schema up to date and answers the names of the migrations it ran. Safe when several replicas start at
 * once. `url` is the owner's; `application` is then granted its rights, every time, since it may be another role than
 * at the last start. Undefined: one role does all. A database that the next release has migrated is left as it is,
 * rights included: this build does not know what its tables need.
 */
export async function migrate(url: string, application?: Application): Promise<string[]> {
  const dataSource = await new DataSource(
    dataSourceOptions(url, { applicationName: 'hub-migrate', poolSize: 2, statementLimitMs: MIGRATION_LIMIT_MS }),
  ).initialize();
  const lock = dataSource.createQueryRunner();
  const database = new Database(dataSource);
  try {
    await lock.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const fault = application === undefined ? null : await ownerFault(database, application);
    if (fault !== null) throw new Error(`The database cannot be migrated: ${fault}. ${SEE_RUNBOOK}`);
    if ((await migrationHistory(database)).newer.length > 0) return [];
    const done = await dataSource.runMigrations();
    // Not in a migration: an older one must not depend on what the function does in a later release.
    await database.rows('select outbox_create_partitions($1)', [WEEKS_AHEAD]);
    if (application !== undefined) await grantToApplication(database, application);
    return done.map(({ name }) => name);
  } catch (error) {
    if (!isPermissionDenied(error)) throw error;
    const fix =
      application === undefined
        ? 'Set DATABASE_OWNER_URL to the role that owns the tables, or run "npm run db:migrate" with it'
        : 'DATABASE_OWNER_URL must name the role that owns the tables';
    throw new Error(`The database cannot be migrated (${error.message}). ${fix}; ${SEE_RUNBOOK}`, { cause: error });
  } finally {
    await lock.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined);
    await lock.release();
    await dataSource.destroy();
  }
}

/** Names of the migrations that this build has and the database has not. */
export async function pendingMigrations(url: string): Promise<readonly string[]> {
  return (await historyOf(url)).pending;
}

/** What the database says about the builds that migrated it; throws where this build must keep off. */
export function historyOf(url: string): Promise<MigrationHistory> {
  return looking(url, migrationHistory);
}

/** What the role of this URL could do that serving needs not. */
export function powersOf(url: string): ReturnType<typeof surplusPowers> {
  return looking(url, surplusPowers);
}

async function looking<T>(url: string, work: (database: Database) => Promise<T>): Promise<T> {
  const dataSource = await new DataSource(
    dataSourceOptions(url, { applicationName: 'hub-migrate', poolSize: 1 }),
  ).initialize();
  try {
    return await work(new Database(dataSource));
  } finally {
    await dataSource.destroy();
  }
}
