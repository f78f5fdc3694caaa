import { Global, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Logger } from '../observability/logger';
import { ObservabilityModule } from '../observability/observability.module';
import { dataSourceOptions } from './data-source';
import { Database, HotDatabase } from './database';
import { Notifications } from './notifications';

/** Accepting uses two connections, settling two, claiming one per destination at a time; the rest is headroom. */
const HOT_POOL_SIZE = 8;

function logPoolError(logger: Logger): (error: Error) => void {
  return (error) => logger.event('warn', 'database.connection_lost', { error: error.message });
}

function urlOf(config: Config): string {
  if (config.databaseUrl === undefined) throw new Error('databaseUrl must be known before the modules are made; main.ts starts the embedded database first');
  return config.databaseUrl;
}

@Injectable()
class HotPool implements OnApplicationShutdown {
  constructor(readonly dataSource: DataSource) {}

  async onApplicationShutdown(): Promise<void> {
    if (this.dataSource.isInitialized) await this.dataSource.destroy();
  }
}

@Global()
@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      imports: [ObservabilityModule],
      inject: [CONFIG, Logger],
      useFactory: (config: Config, logger: Logger) => ({
        ...dataSourceOptions(urlOf(config), { applicationName: 'hub', poolSize: config.databasePoolSize, onPoolError: logPoolError(logger) }),
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
      useFactory: async (config: Config, logger: Logger) =>
        new HotPool(
          await new DataSource({
            ...dataSourceOptions(urlOf(config), { applicationName: 'hub-hot', poolSize: HOT_POOL_SIZE, onPoolError: logPoolError(logger) }),
            entities: [],
            migrations: [],
          }).initialize(),
        ),
    },
    { provide: HotDatabase, inject: [HotPool], useFactory: (pool: HotPool) => new HotDatabase(pool.dataSource) },
    Notifications,
  ],
  exports: [Database, HotDatabase, Notifications],
})
export class DatabaseModule {}
