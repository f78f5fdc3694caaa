import type { NestExpressApplication } from '@nestjs/platform-express';
import { NestFactory } from '@nestjs/core';
import { SwaggerModule } from '@nestjs/swagger';
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import path from 'node:path';
import type { Socket } from 'node:net';
import { AppModule } from './app.module';
import { type Config } from './config/config';
import { HubError } from './kernel/errors';
import type { Clock } from './kernel/clock';
import { Logger } from './observability/logger';
import { Metrics } from './observability/metrics';
import { openApiDocument } from './http/openapi';
import { rawBody, requestContext } from './http/request.middleware';

/** Longer than the idle time of usual load balancers, so that they close first and no request meets a closing socket. */
const KEEP_ALIVE_MS = 65_000;

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
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 1_000;
  server.requestTimeout = 30_000;
  server.on('clientError', refuseBrokenRequest);
  const document = openApiDocument(app, packageVersion());
  SwaggerModule.setup('swagger', app, document, { jsonDocumentUrl: 'swagger-json', customSiteTitle: 'Integration Hub' });
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

/** What Node itself cannot read as HTTP never reaches a route; it gets a problem document all the same. */
function refuseBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return;
  const problem = new HubError(error.code === 'HPE_HEADER_OVERFLOW' ? 'headers_too_large' : 'malformed_request');
  const body = JSON.stringify(problem.toProblem());
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.toProblem().title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
