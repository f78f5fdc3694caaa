import { Global, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Logger } from '../observability/logger';
import { ObservabilityModule } from '../observability/observability.module';
import { BULK_POOL_SIZE, BulkDatabase } from './bulk-database';
import { HOT_POOL_SIZE, REPORTS_POOL_SIZE } from './connections';
import { UNHURRIED_MS, dataSourceOptions, pooledUrlOf } from './data-source';
import { Database, HotDatabase, ReportsDatabase } from './database';
import { Durability } from './durability';
import { Notifications } from './notifications';
import { StoreWatch } from './store-watch';

function logPoolError(logger: Logger): (error: Error) => void {
  return (error) => logger.event('warn', 'database.connection_lost', { error: error.message });
}

/** A pool beside the one that Nest's TypeORM module owns. */
abstract class OwnPool implements OnApplicationShutdown {
  constructor(
    readonly dataSource: DataSource,
    private readonly isShared = false,
  ) {}

  async onApplicationShutdown(): Promise<void> {
    if (!this.isShared && this.dataSource.isInitialized) await this.dataSource.destroy();
  }
}

@Injectable()
class HotPool extends OwnPool {}

@Injectable()
class BulkPool extends OwnPool {}

@Injectable()
class ReportsPool extends OwnPool {}

interface OwnPoolOptions {
  readonly statementLimitMs: number;
  readonly writes?: boolean;
  readonly watch?: StoreWatch;
}

function newPool(
  url: string,
  applicationName: string,
  poolSize: number,
  logger: Logger,
  options: OwnPoolOptions,
): DataSource {
  return new DataSource({
    ...dataSourceOptions(url, { applicationName, poolSize, onPoolError: logPoolError(logger), ...options }),
    entities: [],
    migrations: [],
  });
}

/** Ends with the process's other parts: its look at the connections, and the probe of a store that is away. */
@Injectable()
class WatchEnd implements OnApplicationShutdown {
  constructor(private readonly watch: StoreWatch) {}

  onApplicationShutdown(): void {
    this.watch.stop();
  }
}

@Module({
  imports: [ObservabilityModule],
  providers: [
    {
      provide: StoreWatch,
      inject: [CONFIG, Logger],
      useFactory: (config: Config, logger: Logger) =>
        new StoreWatch({
          url: pooledUrlOf(config),
          limitMs: config.databaseStatementSeconds * 1000,
          onChange: ({ away, forMs }) =>
            away
              ? logger.event('error', 'database.silent', { limitSeconds: config.databaseStatementSeconds })
              : logger.event('warn', 'database.answers_again', { seconds: Math.round(forMs / 100) / 10 }),
        }),
    },
    WatchEnd,
  ],
  exports: [StoreWatch],
})
class StoreWatchModule {}

@Global()
@Module({
  imports: [
    StoreWatchModule,
    TypeOrmModule.forRootAsync({
      imports: [ObservabilityModule, StoreWatchModule],
      inject: [CONFIG, Logger, StoreWatch],
      useFactory: (config: Config, logger: Logger, watch: StoreWatch) => ({
        ...dataSourceOptions(pooledUrlOf(config), {
          applicationName: 'hub',
          poolSize: config.databasePoolSize,
          onPoolError: logPoolError(logger),
          statementLimitMs: watch.limitMs,
          watch,
        }),
        retryAttempts: 5,
        retryDelay: 1000,
      }),
    }),
  ],
  providers: [
    {
      provide: Database,
      inject: [DataSource, StoreWatch],
      useFactory: (dataSource: DataSource, watch: StoreWatch) => new Database(dataSource, watch),
    },
    {
      provide: HotPool,
      inject: [CONFIG, Logger, StoreWatch],
      useFactory: async (config: Config, logger: Logger, watch: StoreWatch) =>
        new HotPool(
          await newPool(pooledUrlOf(config), 'hub-hot', HOT_POOL_SIZE[config.role], logger, {
            statementLimitMs: watch.limitMs,
            watch,
          }).initialize(),
        ),
    },
    {
      provide: BulkPool,
      inject: [CONFIG, Logger, StoreWatch],
      useFactory: async (config: Config, logger: Logger, watch: StoreWatch) =>
        new BulkPool(
          await newPool(pooledUrlOf(config), 'hub-bulk', BULK_POOL_SIZE, logger, {
            statementLimitMs: UNHURRIED_MS,
            watch,
          }).initialize(),
        ),
    },
    {
      provide: ReportsPool,
      inject: [CONFIG, Logger, DataSource],
      useFactory: (config: Config, logger: Logger, primary: DataSource) =>
        config.reportsDatabaseUrl === undefined
          ? new ReportsPool(primary, true)
          : new ReportsPool(
              newPool(config.reportsDatabaseUrl, 'hub-reports', REPORTS_POOL_SIZE, logger, {
                statementLimitMs: UNHURRIED_MS,
                writes: false,
              }),
            ),
    },
    {
      provide: ReportsDatabase,
      inject: [ReportsPool],
      useFactory: (pool: ReportsPool) => new ReportsDatabase(pool.dataSource),
    },
    {
      provide: BulkDatabase,
      inject: [BulkPool, StoreWatch],
      useFactory: (pool: BulkPool, watch: StoreWatch) => new BulkDatabase(pool.dataSource, watch),
    },
    {
      provide: HotDatabase,
      inject: [HotPool, StoreWatch],
      useFactory: (pool: HotPool, watch: StoreWatch) => new HotDatabase(pool.dataSource, watch),
    },
    Durability,
    Notifications,
  ],
  exports: [Database, BulkDatabase, HotDatabase, ReportsDatabase, Durability, Notifications, StoreWatchModule],
})
export class DatabaseModule {}
