import { Controller, Get, Header, Res } from '@nestjs/common';
import {
  ApiOkResponse,
  ApiOperation,
  ApiProduces,
  ApiProperty,
  ApiServiceUnavailableResponse,
  ApiTags,
} from '@nestjs/swagger';
import type { Response } from 'express';
import { Database } from '../database/database';
import { StoreWatch } from '../database/store-watch';
import { messageOf } from '../kernel/errors';
import { Heartbeats } from '../observability/heartbeats';
import { Metrics } from '../observability/metrics';
import { Access } from './access';
import { Readiness } from './readiness';

/** A worker's loop beats at least once a second; a minute of silence is a hang. */
const WORKER_SILENCE_MS_MAX = 60_000;
const DATABASE_ANSWER_MS_MAX = 2_000;

class HealthAnswer {
  @ApiProperty({ enum: ['ok'], example: 'ok' })
  status!: 'ok';
}

class ReadyAnswer {
  @ApiProperty({ enum: ['ok', 'unavailable'], example: 'ok' })
  status!: 'ok' | 'unavailable';

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    description: '"ok" for each check, or the problem',
    example: { accepting: 'ok', database: 'ok', migrations: 'ok', workers: 'ok' },
  })
  checks!: Record<string, string>;
}

@Controller()
export class HealthController {
  constructor(
    private readonly database: Database,
    private readonly heartbeats: Heartbeats,
    private readonly metrics: Metrics,
    private readonly readiness: Readiness,
    private readonly store: StoreWatch,
  ) {}

  @Get('health')
  @Access('public', { ownCommit: true })
  @ApiTags('health')
  @ApiOperation({ summary: 'Whether the process responds' })
  @ApiOkResponse({ description: 'The process is alive', type: HealthAnswer })
  health(): HealthAnswer {
    return { status: 'ok' };
  }

  @Get('health/live')
  @Access('public', { ownCommit: true })
  @ApiTags('health')
  @ApiOperation({ summary: 'Liveness; restart the process when this fails' })
  @ApiOkResponse({ description: 'The process is alive', type: HealthAnswer })
  live(): HealthAnswer {
    return { status: 'ok' };
  }

  @Get('health/ready')
  @Access('public', { ownCommit: true })
  @ApiTags('health')
  @ApiOperation({
    summary: 'Readiness: database, migrations, worker heartbeat, not stopping',
    description: '200 when every check is ok, 503 with the same shape otherwise.',
  })
  @ApiOkResponse({ description: 'Every check is ok', type: ReadyAnswer })
  @ApiServiceUnavailableResponse({
    description: 'At least one check is not ok',
    type: ReadyAnswer,
    example: {
      status: 'unavailable',
      checks: { accepting: 'ok', database: 'no answer in time', migrations: 'not known', workers: 'ok' },
    },
  })
  async ready(@Res({ passthrough: true }) response: Response): Promise<ReadyAnswer> {
    const silent = this.heartbeats.silent(WORKER_SILENCE_MS_MAX);
    const checks = {
      accepting: this.readiness.stopping ? 'the process is stopping' : 'ok',
      ...(await this.databaseChecks()),
      workers: silent.length === 0 ? 'ok' : `silent: ${silent.join(', ')}`,
    };
    const ok = Object.values(checks).every((check) => check === 'ok');
    if (!ok) response.status(503);
    return { status: ok ? 'ok' : 'unavailable', checks };
  }

  @Get('metrics')
  @Access('ops', { ownCommit: true })
  @ApiTags('ops')
  @ApiOperation({ summary: 'Prometheus metrics' })
  @ApiProduces('text/plain')
  @ApiOkResponse({
    description: 'Text exposition format 0.0.4',
    schema: {
      type: 'string',
      example:
        '# HELP hub_outbox_dead Dead letters and blocked messages that need a person\n# TYPE hub_outbox_dead gauge\nhub_outbox_dead{destination="operator"} 0\n',
    },
  })
  @Header('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
  metricsText(): Promise<string> {
    return this.metrics.registry.metrics();
  }

  private async databaseChecks(): Promise<{ database: string; migrations: string }> {
    // A look may be answered while no commit is.
    const fault = this.store.fault();
    if (fault !== null) return { database: fault, migrations: 'not known' };
    const timeout = AbortSignal.timeout(DATABASE_ANSWER_MS_MAX);
    const late = new Promise<never>((_resolve, reject) =>
      timeout.addEventListener('abort', () => reject(new Error('no answer in time')), { once: true }),
    );
    try {
      const pending = await Promise.race([this.database.pendingMigrations(), late]);
      return { database: 'ok', migrations: pending === 0 ? 'ok' : `${pending} pending` };
    } catch (error) {
      return { database: messageOf(error), migrations: 'not known' };
    }
  }
}
