import type { Database } from './database';

/** What the table `migrations` of a database says to this build. */
export interface MigrationHistory {
  /** Migrations of this build that the database lacks. */
  readonly pending: readonly string[];
  /** Migrations that the database has and this build does not know: the next release has run here. */
  readonly newer: readonly string[];
}

/**
 * Reads it, changes nothing, and throws where this build must keep off: on a database of release 0.1.0, and on one that
 * is more than one release newer. A release works on the schema of the next one, so that processes of both serve while
 * one replaces the other, and so that a deployment can be taken back; it works on no later one.
 */
export async function migrationHistory(database: Database): Promise<MigrationHistory> {
  const known = database.dataSource.migrations.map(({ name, constructor }) => name ?? constructor.name);
  const [table] = await database.rows<{ exists: boolean }>(`select to_regclass('migrations') is not null as exists`);
  if (table?.exists !== true) return { pending: known, newer: [] };
  const rows = await database.rows<{ name: string }>('select name from migrations order by timestamp, id');
  const done = rows.map(({ name }) => name);
  const pending = known.filter((name) => !done.includes(name));
  const unknown = done.filter((name) => !known.includes(name));
  const first = Math.min(...known.map(timestampOf));
  if (unknown.some((name) => timestampOf(name) < first)) throw new Error(MADE_BY_0_1_0);
  if (pending.length > 0 && unknown.length > 0)
    throw new Error(
      `The database was migrated by another build: it has ${unknown.join(', ')}, which this build does not know, ` +
        `and lacks ${pending.join(', ')}. Nothing was changed. Deploy a build that has them all.`,
    );
  if (unknown.filter(endsRelease).length > 1)
    throw new Error(
      `The database is more than one release newer than this build (it has ${unknown.join(', ')}), ` +
        'and nothing was changed. Start the release that migrated it, or the one before that.',
    );
  return { pending, newer: unknown };
}

const MADE_BY_0_1_0 =
  'The database has the tables of release 0.1.0, which no later release carries over, and nothing was changed: ' +
  'set DATABASE_URL to an empty database (of the embedded server: DATA_DIR to a new folder), ' +
  'and keep the old one with release 0.1.0 for as long as its records are needed.';

/** TypeORM wants the time at the end of a migration's name. */
function timestampOf(name: string): number {
  return Number(name.slice(-13));
}

/** Each release ends with one migration that writes the functions. */
function endsRelease(name: string): boolean {
  return /^Functions\d{13}$/.test(name);
}
