import type { AddressInfo } from 'node:net';
import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { raw } from 'express';

export interface ListenOptions {
  /** 0: any free port. */
  port: number;
  host: string;
}

export interface RunningServer {
  /** E.g. `http://127.0.0.1:8001`, without a trailing slash. */
  url: string;
  /** Stops listening and breaks every connection, those of hung calls as well. */
  close(): Promise<void>;
}

const KEEP_ALIVE_MS = 65_000;

/** Starts a mock's module on HTTP. Rejects when the port is taken. */
export async function listen(module: DynamicModule, options: ListenOptions): Promise<RunningServer> {
  const app = await NestFactory.create<NestExpressApplication>(module, {
    logger: ['error', 'warn'],
    // Signatures are over bytes, so no parser may touch them: every body arrives as a Buffer.
    bodyParser: false,
    // A hung call would otherwise hold the shutdown for as long as its client waits.
    forceCloseConnections: true,
  });
  app.use(raw({ type: () => true, limit: '1mb' }));
  app.disable('x-powered-by');
  const server = app.getHttpServer();
  // Longer than any client's idle time: a server that closes an idle socket first resets the request sent in that
  // moment.
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 1000;
  await app.listen(options.port, options.host);
  // A server that listens on TCP has an AddressInfo; the other two forms are those of pipes and closed servers.
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return { url: `http://${host}:${port}`, close: () => app.close() };
}
