import { Global, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Logger } from '../observability/logger';
import { ObservabilityModule } from '../observability/observability.module';
import { BULK_POOL_SIZE, BulkDatabase } from './bulk-database';
import { HOT_POOL_SIZE, REPORTS_POOL_SIZE } from './connections';
import { dataSourceOptions, pooledUrlOf } from './data-source';
import { Database, HotDatabase, ReportsDatabase } from './database';
import { Notifications } from './notifications';

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

function newPool(url: string, applicationName: string, poolSize: number, logger: Logger): DataSource {
  return new DataSource({ ...dataSourceOptions(url, { applicationName, poolSize, onPoolError: logPoolError(logger) }), entities: [], migrations: [] });
}

@Global()
@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      imports: [ObservabilityModule],
      inject: [CONFIG, Logger],
      useFactory: (config: Config, logger: Logger) => ({
        ...dataSourceOptions(pooledUrlOf(config), { applicationName: 'hub', poolSize: config.databasePoolSize, onPoolError: logPoolError(logger) }),
        retryAttempts: 5,
        retryDelay: 1000,
      }),
    }),
  ],
  providers: [
    { provide: Database, inject: [DataSource], useFactory: (dataSource: DataSource) => new Database(dataSource) },
    {
      provide: HotPool,
      inject: [CONFIG, Logger],
      useFactory: async (config: Config, logger: Logger) => new HotPool(await newPool(pooledUrlOf(config), 'hub-hot', HOT_POOL_SIZE[config.role], logger).initialize()),
    },
    {
      provide: BulkPool,
      inject: [CONFIG, Logger],
      useFactory: async (config: Config, logger: Logger) => new BulkPool(await newPool(pooledUrlOf(config), 'hub-bulk', BULK_POOL_SIZE, logger).initialize()),
    },
    {
      provide: ReportsPool,
      inject: [CONFIG, Logger, DataSource],
      useFactory: (config: Config, logger: Logger, primary: DataSource) =>
        config.reportsDatabaseUrl === undefined ? new ReportsPool(primary, true) : new ReportsPool(newPool(config.reportsDatabaseUrl, 'hub-reports', REPORTS_POOL_SIZE, logger)),
    },
    { provide: ReportsDatabase, inject: [ReportsPool], useFactory: (pool: ReportsPool) => new ReportsDatabase(pool.dataSource) },
    { provide: BulkDatabase, inject: [BulkPool], useFactory: (pool: BulkPool) => new BulkDatabase(pool.dataSource) },
    { provide: HotDatabase, inject: [HotPool], useFactory: (pool: HotPool) => new HotDatabase(pool.dataSource) },
    Notifications,
  ],
  exports: [Database, BulkDatabase, HotDatabase, ReportsDatabase, Notifications],
})
export class DatabaseModule {}
