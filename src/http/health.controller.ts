import { Controller, Get, Header, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { Database } from '../database/database';
import { StoreWatch } from '../database/store-watch';
import { messageOf } from '../kernel/errors';
import { Heartbeats } from '../observability/heartbeats';
import { Metrics } from '../observability/metrics';
import { Access } from './access';
import { Readiness } from './readiness';
import { HealthResponse, ReadyResponse } from './health.dto';
import { ApiGetHealth, ApiGetLiveness, ApiGetMetrics, ApiGetReadiness } from './health.openapi';

/** A worker's loop beats at least once a second; a minute of silence is a hang. */
const WORKER_SILENCE_MS_MAX = 60_000;
const DATABASE_ANSWER_MS_MAX = 2_000;

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
  @ApiGetHealth()
  getHealth(): HealthResponse {
    return { status: 'ok' };
  }

  @Get('health/live')
  @Access('public', { ownCommit: true })
  @ApiTags('health')
  @ApiGetLiveness()
  getLiveness(): HealthResponse {
    return { status: 'ok' };
  }

  @Get('health/ready')
  @Access('public', { ownCommit: true })
  @ApiTags('health')
  @ApiGetReadiness()
  async getReadiness(@Res({ passthrough: true }) response: Response): Promise<ReadyResponse> {
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
  @ApiGetMetrics()
  @Header('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
  getMetrics(): Promise<string> {
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
