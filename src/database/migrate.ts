import { DataSource } from 'typeorm';
import { dataSourceOptions } from './data-source';

/** A migration may rewrite a table; an hour says that it hangs. */
const MIGRATION_LIMIT_MS = 3_600_000;
/** Any fixed number: replicas that start together take turns on it. */
const MIGRATION_LOCK = 7_361_905;

/** Brings the schema up to date and answers the names of the migrations it ran. Safe when several replicas start at once. */
export async function migrate(url: string): Promise<string[]> {
  const dataSource = await new DataSource(dataSourceOptions(url, { applicationName: 'hub-migrate', poolSize: 2, statementLimitMs: MIGRATION_LIMIT_MS })).initialize();
  const lock = dataSource.createQueryRunner();
  try {
    await lock.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const done = await dataSource.runMigrations();
    return done.map(({ name }) => name);
  } finally {
    await lock.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined);
    await lock.release();
    await dataSource.destroy();
  }
}

/** Names of the migrations that this build has and the database has not. */
export async function pendingMigrations(url: string): Promise<string[]> {
  const dataSource = await new DataSource(dataSourceOptions(url, { applicationName: 'hub-migrate', poolSize: 1 })).initialize();
  try {
    const [found] = await dataSource.query<{ exists: boolean }[]>(`select to_regclass('migrations') is not null as exists`);
    const done = found?.exists === true ? await dataSource.query<{ name: string }[]>('select name from migrations') : [];
    return dataSource.migrations.map(({ name, constructor }) => name ?? constructor.name).filter((name) => !done.some((row) => row.name === name));
  } finally {
    await dataSource.destroy();
  }
}
