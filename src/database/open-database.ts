import path from 'node:path';
import { DataSource } from 'typeorm';
import type { Config } from '../config/config';
import { dataSourceOptions } from './data-source';
import { Database } from './database';
import { startEmbeddedPostgres } from './embedded-postgres';

type DatabaseConfig = Pick<Config, 'databaseUrl' | 'dataDir'>;

/** The URL of the hub's database for a command line tool; the embedded server is started when no other is configured. */
export async function withDatabaseUrl<T>(config: DatabaseConfig, work: (url: string) => Promise<T>): Promise<T> {
  if (config.databaseUrl !== undefined) return work(config.databaseUrl);
  const embedded = await startEmbeddedPostgres({ dataDir: path.resolve(config.dataDir) });
  try {
    return await work(embedded.url);
  } finally {
    await embedded.stop();
  }
}

/** One connection to it. */
export function withDatabase<T>(config: DatabaseConfig, applicationName: string, work: (database: Database) => Promise<T>): Promise<T> {
  return withDatabaseUrl(config, async (url) => {
    const dataSource = await new DataSource({ ...dataSourceOptions(url, { applicationName, poolSize: 1 }), entities: [], migrations: [] }).initialize();
    try {
      return await work(new Database(dataSource));
    } finally {
      await dataSource.destroy();
    }
  });
}
