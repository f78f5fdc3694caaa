import path from 'node:path';
import { DataSource } from 'typeorm';
import type { DatabaseConfig } from '../config/config';
import { dataSourceOptions } from './data-source';
import { Database } from './database';
import { startEmbeddedPostgres } from './embedded/embedded-postgres';

type Place = Pick<DatabaseConfig, 'databaseUrl' | 'databaseOwnerUrl' | 'dataDir'>;

export interface DatabaseUrls {
  /** Of the role that the hub serves as. */
  readonly url: string;
  /** Of the role that owns the tables; undefined where one role does all, or where it is not known here. */
  readonly ownerUrl: string | undefined;
}

/**
 * The URLs of the hub's database for a command line tool; the embedded server is started when no other is configured.
 */
export async function withDatabaseUrls<T>(config: Place, work: (urls: DatabaseUrls) => Promise<T>): Promise<T> {
  if (config.databaseUrl !== undefined) return work({ url: config.databaseUrl, ownerUrl: config.databaseOwnerUrl });
  const embedded = await startEmbeddedPostgres({ dataDir: path.resolve(config.dataDir) });
  try {
    return await work(embedded);
  } finally {
    await embedded.stop();
  }
}

/** One connection to it, as the role that the hub serves as. */
export function withDatabase<T>(
  config: Place,
  applicationName: string,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  return withDatabaseUrls(config, async ({ url }) => {
    const dataSource = await new DataSource({
      ...dataSourceOptions(url, { applicationName, poolSize: 1 }),
      entities: [],
      migrations: [],
    }).initialize();
    try {
      return await work(new Database(dataSource));
    } finally {
      await dataSource.destroy();
    }
  });
}
