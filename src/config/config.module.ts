import { type DynamicModule, Module } from '@nestjs/common';
import { Clock, SystemClock } from '../kernel/clock';
import { type Config } from './config';

/** Token of the checked configuration; interfaces leave no trace at run time, so Nest needs a symbol. */
export const CONFIG = Symbol('CONFIG');

@Module({})
export class ConfigModule {
  static register(config: Config, clock: Clock = new SystemClock()): DynamicModule {
    return {
      module: ConfigModule,
      global: true,
      providers: [
        { provide: CONFIG, useValue: config },
        { provide: Clock, useValue: clock },
      ],
      exports: [CONFIG, Clock],
    };
  }
}
