import { ApiOkResponse, ApiOperation, ApiProduces, ApiServiceUnavailableResponse } from '@nestjs/swagger';
import { HealthResponse, ReadyResponse } from './health.dto';
import { described } from './openapi';

export const ApiGetHealth = () =>
  described(
    ApiOperation({ summary: 'Whether the process responds' }),
    ApiOkResponse({ description: 'The process is alive', type: HealthResponse }),
  );

export const ApiGetLiveness = () =>
  described(
    ApiOperation({ summary: 'Liveness; restart the process when this fails' }),
    ApiOkResponse({ description: 'The process is alive', type: HealthResponse }),
  );

export const ApiGetReadiness = () =>
  described(
    ApiOperation({
      summary: 'Readiness: database, migrations, worker heartbeat, not stopping',
      description: '200 when every check is ok, 503 with the same shape otherwise.',
    }),
    ApiOkResponse({ description: 'Every check is ok', type: ReadyResponse }),
    ApiServiceUnavailableResponse({
      description: 'At least one check is not ok',
      type: ReadyResponse,
      example: {
        status: 'unavailable',
        checks: { accepting: 'ok', database: 'no answer in time', migrations: 'not known', workers: 'ok' },
      },
    }),
  );

export const ApiGetMetrics = () =>
  described(
    ApiOperation({ summary: 'Prometheus metrics' }),
    ApiProduces('text/plain'),
    ApiOkResponse({
      description: 'Text exposition format 0.0.4',
      schema: {
        type: 'string',
        example:
          '# HELP hub_outbox_dead Dead letters and blocked messages that need a person\n# TYPE hub_outbox_dead gauge\nhub_outbox_dead{destination="operator"} 0\n',
      },
    }),
  );
