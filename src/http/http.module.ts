import { Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_PIPE } from '@nestjs/core';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { AccessGuard } from './access.guard';
import { HealthController } from './health.controller';
import { JsonBodyGuard } from './json-body.guard';
import { Pacer } from './pacer';
import { ProblemFilter } from './problem.filter';
import { Readiness } from './readiness';
import { SignatureGuard } from './signature.guard';
import { StrictValidationPipe } from './validation';

@Module({
  controllers: [HealthController],
  providers: [
    Readiness,
    { provide: Pacer, useFactory: (config: Config) => new Pacer(config.refusalsPerSecond), inject: [CONFIG] },
    { provide: APP_FILTER, useClass: ProblemFilter },
    // In this order: who calls, did they sign it, what do they say.
    { provide: APP_GUARD, useClass: AccessGuard },
    { provide: APP_GUARD, useClass: SignatureGuard },
    { provide: APP_GUARD, useClass: JsonBodyGuard },
    { provide: APP_PIPE, useClass: StrictValidationPipe },
  ],
  exports: [Readiness, Pacer],
})
export class HttpModule {}
