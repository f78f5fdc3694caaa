import type { EventEmitter } from 'node:events';
import path from 'node:path';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { Config } from '../config/config';

const extension = path.extname(__filename);

/** For pools, whose statements may each go over another connection of a pooler. */
export function pooledUrlOf({ databaseUrl }: Pick<Config, 'databaseUrl'>): string {
  if (databaseUrl === undefined) throw new Error('databaseUrl must be known before anything connects; main.ts starts the embedded database first');
  return databaseUrl;
}

/** For what lives in a session: LISTEN, and the advisory lock of migrations. */
export function directUrlOf(config: Pick<Config, 'databaseUrl' | 'databaseDirectUrl'>): string {
  return config.databaseDirectUrl ?? pooledUrlOf(config);
}

interface PoolOptions {
  readonly applicationName: string;
  readonly poolSize: number;
  readonly onPoolError?: (error: Error) => void;
}

/**
 * Connection settings of every pool. Entities and migrations are found by glob, so that this file imports no feature.
 * `synchronize` is never on: the schema changes by migrations only.
 */
export function dataSourceOptions(url: string, { applicationName, poolSize, onPoolError }: PoolOptions): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    synchronize: false,
    entities: [path.join(__dirname, '..', '*', `*.entity${extension}`)],
    migrations: [path.join(__dirname, 'migrations', `*${extension}`)],
    migrationsTransactionMode: 'all',
    applicationName,
    poolSize,
    connectTimeoutMS: 5000,
    ...(onPoolError === undefined ? {} : { poolErrorHandler: onPoolError }),
    extra: {
      keepAlive: true,
      // A statement or a forgotten transaction that hangs would hold locks that other replicas wait for.
      statement_timeout: 60_000,
      idle_in_transaction_session_timeout: 30_000,
      onConnect: surviveErrors,
    },
  };
}

/**
 * A server that goes down may say so in the very packet that completes a connection. In that moment the pool listens no more and
 * TypeORM not yet, and an 'error' that nobody hears ends the process. The next query on the connection fails all the same.
 */
function surviveErrors(client: EventEmitter): void {
  client.on('error', () => undefined);
}

/** For the TypeORM command line: `DATABASE_URL=… npm run db:migrate`. */
export default new DataSource(dataSourceOptions(process.env.DATABASE_DIRECT_URL ?? process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres', { applicationName: 'hub-cli', poolSize: 1 }));
