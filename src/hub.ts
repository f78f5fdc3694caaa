import type { NestExpressApplication } from '@nestjs/platform-express';
import { NestFactory } from '@nestjs/core';
import { SwaggerModule } from '@nestjs/swagger';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import path from 'node:path';
import { AppModule } from './app.module';
import { type Config } from './config/config';
import type { Clock } from './kernel/clock';
import { Logger } from './observability/logger';
import { Metrics } from './observability/metrics';
import { prepareServer } from './http/http-server';
import { openApiDocument } from './http/openapi';
import { Readiness } from './http/readiness';
import { rawBody, requestContext } from './http/request.middleware';

/** Builds the hub without listening: main.ts and the tests use the same one. `config.databaseUrl` must be set and migrated. */
export async function createHub(config: Config, clock?: Clock): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule.register(config, clock), { bodyParser: false, bufferLogs: true, abortOnError: false });
  const logger = app.get(Logger);
  app.useLogger(logger);
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(requestContext(logger, app.get(Metrics)), rawBody());
  const server: Server = app.getHttpServer();
  prepareServer(server, app.get(Readiness));
  // Made when somebody asks for it: the document and what its making leaves behind are megabytes that a hub at work never needs.
  SwaggerModule.setup('swagger', app, () => openApiDocument(app, packageVersion()), { jsonDocumentUrl: 'swagger-json', customSiteTitle: 'Integration Hub' });
  return app;
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
