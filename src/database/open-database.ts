import path from 'node:path';
import { DataSource } from 'typeorm';
import type { Config } from '../config/config';
import { dataSourceOptions } from './data-source';
import { Database } from './database';
import { startEmbeddedPostgres } from './embedded-postgres';

/** One connection to the hub's database for a command line tool; the embedded server is started when no other is configured. */
export async function withDatabase<T>(config: Pick<Config, 'databaseUrl' | 'dataDir'>, applicationName: string, work: (database: Database) => Promise<T>): Promise<T> {
  const embedded = config.databaseUrl === undefined ? await startEmbeddedPostgres({ dataDir: path.resolve(config.dataDir) }) : undefined;
  try {
    const url = config.databaseUrl ?? embedded?.url ?? '';
    const dataSource = await new DataSource({ ...dataSourceOptions(url, { applicationName, poolSize: 1 }), entities: [], migrations: [] }).initialize();
    try {
      return await work(new Database(dataSource));
    } finally {
      await dataSource.destroy();
    }
  } finally {
    await embedded?.stop();
  }
}
