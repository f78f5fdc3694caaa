import path from 'node:path';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { Config } from '../config/config';
import { StoreClient } from './store-client';
import type { StoreWatch } from './store-watch';

const extension = path.extname(__filename);

/** For pools, whose statements may each go over another connection of a pooler. */
export function pooledUrlOf({ databaseUrl }: Pick<Config, 'databaseUrl'>): string {
  if (databaseUrl === undefined)
    throw new Error('databaseUrl must be known before anything connects; main.ts starts the embedded database first');
  return databaseUrl;
}

/** For what lives in a session: LISTEN, and the advisory lock of migrations. */
export function directUrlOf(config: Pick<Config, 'databaseUrl' | 'databaseDirectUrl'>): string {
  return config.databaseDirectUrl ?? pooledUrlOf(config);
}

/**
 * Of statements without a waiting caller: periodic tasks, reports, and reads of many rows. The server cancels them at
 * the same age.
 */
export const UNHURRIED_MS = 60_000;
const CONNECT_MS_MAX = 5_000;

interface PoolOptions {
  readonly applicationName: string;
  readonly poolSize: number;
  readonly onPoolError?: (error: Error) => void;
  /** After which a statement is given up together with its connection. */
  readonly statementLimitMs?: number;
  /** False for a replica that is only read. */
  readonly writes?: boolean;
  readonly watch?: StoreWatch | undefined;
}

/**
 * Connection settings of every pool. Entities and migrations are found by glob, so that this file imports no feature.
 * `synchronize` is never on: the schema changes by migrations only.
 */
export function dataSourceOptions(
  url: string,
  { applicationName, poolSize, onPoolError, statementLimitMs = UNHURRIED_MS, writes = true, watch }: PoolOptions,
): DataSourceOptions {
  return {
    type: 'postgres',
    url,
    synchronize: false,
    entities: [path.join(__dirname, '..', '*', `*.entity${extension}`)],
    migrations: [path.join(__dirname, 'migrations', `*${extension}`)],
    migrationsTransactionMode: 'all',
    applicationName,
    poolSize,
    connectTimeoutMS: Math.min(CONNECT_MS_MAX, statementLimitMs),
    ...(onPoolError === undefined ? {} : { poolErrorHandler: onPoolError }),
    extra: {
      keepAlive: true,
      // A statement or a forgotten transaction that hangs would hold locks that other replicas wait for.
      statement_timeout: Math.max(UNHURRIED_MS, statementLimitMs),
      idle_in_transaction_session_timeout: 30_000,
      Client: StoreClient,
      statementLimitMs,
      writes,
      watch,
      onConnect: (client: StoreClient) => client.prepare(),
    },
  };
}

/**
 * For the TypeORM command line, which undoes a migration: `DATABASE_URL=… npx typeorm migration:revert -d
 * dist/src/database/data-source.js`.
 */
export default new DataSource(
  dataSourceOptions(
    process.env.DATABASE_OWNER_URL ??
      process.env.DATABASE_DIRECT_URL ??
      process.env.DATABASE_URL ??
      'postgres://postgres@127.0.0.1:5432/postgres',
    { applicationName: 'hub-cli', poolSize: 1 },
  ),
);
