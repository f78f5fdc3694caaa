import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ErrorCode, HubError } from '../kernel/errors';
import type { Readiness } from './readiness';

/** Longer than the idle time of usual load balancers, so that they close first and no request meets a closing socket. */
const KEEP_ALIVE_MS = 65_000;
/** How long a client may take to read why it was refused before its connection is cut. */
const LINGER_MS = 2_000;

/** Time-outs of the HTTP server, a problem document where Node by itself would answer with a bare status line, and goodbyes when it stops. */
export function prepareServer(server: Server, readiness: Readiness): void {
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 1_000;
  server.requestTimeout = 30_000;
  // Nest makes the server and passes no options on; requestContext() in request.middleware.ts does the refusing.
  Object.assign(server, { requireHostHeader: false });

  const latest = new WeakMap<Duplex, { request: IncomingMessage; response: ServerResponse }>();
  const open = new Set<ServerResponse>();
  server.prependListener('request', (request, response) => {
    latest.set(request.socket, { request, response });
    open.add(response);
    if (readiness.stopping) sayGoodbye(response);
    response.once('close', () => {
      open.delete(response);
      // A connection that was busy when the server began to close would otherwise stay open for its whole keep-alive time.
      if (!server.listening) server.closeIdleConnections();
    });
  });
  readiness.onStop(() => open.forEach(sayGoodbye));

  server.on('checkExpectation', (_request, response) => {
    const { status, head, body } = answerTo('malformed_request');
    response.writeHead(status, head).end(body);
  });

  const refused = new WeakSet<Duplex>();
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || refused.has(socket)) return;
    refused.add(socket);
    const refuse = () => refuseConnection(socket, error.code === 'HPE_HEADER_OVERFLOW' ? 'headers_too_large' : 'malformed_request');
    // Bytes behind a whole request do not make that request wrong: its own answer goes out first.
    const before = latest.get(socket);
    if (before?.request.complete === true && !before.response.writableFinished) before.response.once('close', refuse);
    else refuse();
  });
}

/** A pooling client that reads this sends its next request over another connection, and so to another process. */
function sayGoodbye(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('Connection', 'close');
}

function refuseConnection(socket: Duplex, code: ErrorCode): void {
  if (!socket.writable) return;
  const { status, title, head, body } = answerTo(code);
  const lines = [`HTTP/1.1 ${status} ${title}`, ...Object.entries(head).map(([name, value]) => `${name}: ${value}`)];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

function answerTo(code: ErrorCode): { status: number; title: string; head: Record<string, string>; body: string } {
  const problem = new HubError(code).toProblem();
  const body = JSON.stringify(problem);
  return { status: problem.status, title: problem.title, head: { 'Content-Type': 'application/problem+json', 'Content-Length': String(Buffer.byteLength(body)), Connection: 'close' }, body };
}
