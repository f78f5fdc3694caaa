import type { NestExpressApplication } from '@nestjs/platform-express';
import { NestFactory } from '@nestjs/core';
import { type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import express, { type Express } from 'express';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { AppModule } from './app.module';
import { type Config } from './config/config';
import type { Clock } from './kernel/clock';
import { Logger } from './observability/logger';
import { Metrics } from './observability/metrics';
import { hasKnownToken } from './http/access.guard';
import { apiDocuments } from './http/api-documents';
import { HubAdapter, HubServer } from './http/http-server';
import { SWAGGER_UI_OPTIONS, openApiDocument } from './http/openapi';
import { Pacer } from './http/pacer';
import { Readiness } from './http/readiness';
import { toYaml } from './http/yaml';
import { PartnerDirectory } from './partners/partner-directory';
import { OUTCOME_WEBHOOK } from './wallet/webhook.dto';
import { rawBody, requestContext } from './http/request.middleware';

/**
 * Builds the hub without listening: main.ts, whose port is open already, and the tests use the same one.
 * `config.databaseUrl` must be set and migrated.
 */
export async function createHub(
  config: Config,
  clock?: Clock,
  server: HubServer = new HubServer(),
): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(
    AppModule.register(config, clock),
    new HubAdapter(server, exactRouter()),
    { bodyParser: false, bufferLogs: true, abortOnError: false },
  );
  const logger = app.get(Logger);
  app.useLogger(logger);
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(requestContext(logger, app.get(Metrics)), rawBody());
  app.use(
    apiDocuments({
      access: config.apiDocs,
      hasToken: (request) => hasKnownToken(request, config, app.get(PartnerDirectory)),
      pacer: app.get(Pacer),
    }),
  );
  app.get(Readiness).onStop(() => server.leave());
  serveApiDocuments(app);
  return app;
}

/**
 * Generated on request: the document and the garbage of its generation are megabytes that a working hub never needs.
 */
function serveApiDocuments(app: NestExpressApplication): void {
  let made: OpenAPIObject | undefined;
  const make = (): OpenAPIObject => (made ??= openApiDocument(app, packageVersion(), [OUTCOME_WEBHOOK]));
  SwaggerModule.setup('swagger', app, make, {
    jsonDocumentUrl: 'swagger-json',
    raw: ['json'],
    customSiteTitle: 'Integration Hub',
    swaggerOptions: SWAGGER_UI_OPTIONS,
  });
  const router: Express = app.getHttpAdapter().getInstance();
  router.get('/swagger-yaml', (_request, response) => {
    response.type('text/yaml').send(toYaml(JSON.parse(JSON.stringify(make()))));
  });
}

/**
 * A proxy that keeps /admin inside compares letters; so must the hub. Nest's own adapter has made its router, which
 * reads this once, before anybody can say it.
 */
function exactRouter(): Express {
  const router = express();
  router.enable('case sensitive routing');
  router.enable('strict routing');
  return router;
}

export function packageVersion(): string {
  // From dist/src as from src, the package stands two or one folders up.
  for (const folder of ['..', '../..']) {
    const file = path.join(__dirname, folder, 'package.json');
    try {
      return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new Error('package.json not found');
}
