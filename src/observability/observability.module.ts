import { Global, Module } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { Clock } from '../kernel/clock';
import { Heartbeats } from './heartbeats';
import { IdleMemory } from './idle-memory';
import { Logger } from './logger';
import { Metrics } from './metrics';

@Global()
@Module({
  providers: [
    {
      provide: Logger,
      inject: [CONFIG],
      useFactory: (config: Config) => new Logger(config.logLevel, undefined, config.logFormat),
    },
    { provide: Heartbeats, inject: [Clock], useFactory: (clock: Clock) => new Heartbeats(clock) },
    IdleMemory,
    Metrics,
  ],
  exports: [Logger, Heartbeats, IdleMemory, Metrics],
})
export class ObservabilityModule {}
