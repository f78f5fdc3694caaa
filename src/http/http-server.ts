import { ExpressAdapter } from '@nestjs/platform-express';
import type { Express } from 'express';
import http, { type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ErrorCode, HubError } from '../kernel/errors';

/**
 * Longer than the idle time of usual load balancers, so that they close first and no request meets a closing socket.
 */
const KEEP_ALIVE_MS = 65_000;
/** How long a client may take to read why it was refused before its connection is cut. */
const LINGER_MS = 2_000;
/** How long a request that has come in part may take to come whole once the port closes. */
export const HALF_REQUEST_GRACE_MS = 2_000;
/** A client that takes nothing of its response for this long while the port closes will not take the rest. */
const STALLED_READER_MS = 10_000;
const LOOK_MS = 250;
/**
 * Node's pipeline alone listens for the end of a response seven times, eight when it breaks off; from the eleventh
 * listener on Node would warn of a leak. All go with the response.
 */
const LISTENERS_MAX = 20;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** What is known of one connection. */
interface Connection {
  /** Requests that are not answered yet; more than one with pipelining. */
  readonly open: Set<Exchange>;
  /** While the port closes: how far its response has got, and when that was last seen to change. */
  progress: { mark: string; at: number };
}

/** Emitted on a pending response when its client closes its half of the connection. */
const HALF_CLOSED = Symbol('the client closed its half');

/**
 * Calls once the client has closed its half of the connection. It may have left or may still read; TCP does not say
 * which before it is written to. So the listener ends a wait, and still responds.
 */
export function whenHalfClosed(response: ServerResponse, act: () => void): void {
  if (response.req.socket.readableEnded) act();
  else response.once(HALF_CLOSED, act);
}

/**
 * The hub's port: timeouts, a problem document where Node by itself would answer with a bare status line, a response
 * while the process still starts, and an end that waits for answers in flight and for nothing else.
 */
export class HubServer {
  readonly http: Server;
  private readonly connections = new Map<Duplex, Connection>();
  private app: RequestListener | undefined;
  private isStarting = false;
  private isLeaving = false;

  constructor() {
    // RFC 9112 wants a Host; requestContext() in request.middleware.ts refuses without one, with a problem document.
    this.http = http.createServer({ requireHostHeader: false }, (request, response) => this.receive(request, response));
    this.http.keepAliveTimeout = KEEP_ALIVE_MS;
    this.http.headersTimeout = KEEP_ALIVE_MS + 1_000;
    this.http.requestTimeout = 30_000;
    // Who closes its half behind its last request gets the responses to what came whole. By itself Node ends the
    // connection at once and drops them, movements that were made included. The types leave this property out.
    Object.assign(this.http, { httpAllowHalfOpen: true });
    this.http.on('connection', (socket: Socket) => {
      const connection: Connection = { open: new Set(), progress: { mark: '', at: 0 } };
      this.connections.set(socket, connection);
      socket.once('end', () => {
        for (const { response } of connection.open) response.emit(HALF_CLOSED);
      });
      socket.once('close', () => this.connections.delete(socket));
    });
    this.http.on('checkExpectation', (_request, response) => {
      const { status, head, body } = responseTo('malformed_request');
      response.writeHead(status, head).end(body);
    });
    this.refuseWhatIsNotHttp();
  }

  /**
   * Opens the port before the hub is there, and says so to every caller, until `started`. Rejects in plain words when
   * the port is not available.
   */
  async listen(port: number, host: string): Promise<void> {
    this.isStarting = true;
    await new Promise<void>((resolve, reject) => {
      this.http.once('error', (error: NodeJS.ErrnoException) =>
        reject(new Error(whyNot(error, port, host), { cause: error })),
      );
      this.http.listen(port, host, () => resolve());
    });
  }

  get url(): string {
    const { address, port, family } = this.http.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  serve(app: RequestListener): void {
    this.app = app;
  }

  /** From here on the hub itself answers. */
  started(): void {
    this.isStarting = false;
  }

  /** From here on each response asks the client to connect elsewhere. */
  leave(): void {
    this.isLeaving = true;
    for (const { open } of this.connections.values()) for (const { response } of open) sayGoodbye(response);
  }

  /**
   * Resolves when every connection is closed: silent and idle ones at once, half requests after a grace, the others
   * with their answer.
   */
  async close(): Promise<void> {
    if (!this.http.listening) return;
    const closed = new Promise((resolve) => this.http.close(resolve));
    // Node takes a connection that never said anything for a busy one, to cut it by its timeout for headers.
    for (const socket of this.connections.keys()) if (socketOf(socket).bytesRead === 0) socket.destroy();
    const since = performance.now();
    const look = setInterval(() => this.closeHopeless(performance.now() - since), LOOK_MS);
    await closed;
    clearInterval(look);
  }

  private receive(request: IncomingMessage, response: ServerResponse): void {
    const exchange: Exchange = { request, response };
    const connection = this.connections.get(request.socket);
    connection?.open.add(exchange);
    response.setMaxListeners(LISTENERS_MAX);
    response.once('close', () => {
      connection?.open.delete(exchange);
      // A connection that was busy when the server began to close would otherwise stay open for its whole keep-alive
      // time.
      if (!this.http.listening) this.http.closeIdleConnections();
    });
    if (this.isLeaving) sayGoodbye(response);
    if (this.isStarting || this.app === undefined) respondWhileStarting(request, response);
    else this.app(request, response);
  }

  private closeHopeless(elapsedMs: number): void {
    for (const [socket, connection] of this.connections) {
      const answering = [...connection.open].filter(({ request }) => request.complete);
      if (answering.length === 0) {
        if (elapsedMs >= HALF_REQUEST_GRACE_MS) socket.destroy();
        continue;
      }
      const mark = `${answering.length}/${socketOf(socket).bytesWritten}/${socket.writableLength}`;
      if (socket.writableLength === 0 || mark !== connection.progress.mark)
        connection.progress = { mark, at: elapsedMs };
      else if (elapsedMs - connection.progress.at >= STALLED_READER_MS) socket.destroy();
    }
  }

  private refuseWhatIsNotHttp(): void {
    const refused = new WeakSet<Duplex>();
    this.http.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ECONNRESET' || refused.has(socket)) return;
      refused.add(socket);
      const open = [...(this.connections.get(socket)?.open ?? [])];
      const cut = open.find(({ request }) => !request.complete);
      const refuse = () => {
        // Answered before its body had come whole, for a missing token say: that was the response.
        if (cut?.response.writableEnded === true) endSoon(socket);
        else refuseConnection(socket, error.code === 'HPE_HEADER_OVERFLOW' ? 'headers_too_large' : 'malformed_request');
      };
      // Bytes behind whole requests do not make those wrong: their own answers go out first.
      const before = open.filter(({ request, response }) => request.complete && !response.writableFinished).at(-1);
      if (before === undefined) refuse();
      else before.response.once('close', refuse);
    });
  }
}

/** Nest on a server that is there before it. */
export class HubAdapter extends ExpressAdapter {
  constructor(
    private readonly server: HubServer,
    router: Express,
  ) {
    super(router);
  }

  override initHttpServer(): void {
    this.httpServer = this.server.http;
    this.server.serve(this.getInstance<RequestListener>());
  }

  override close(): Promise<void> {
    return this.server.close();
  }
}

/** The server makes nothing but TCP sockets; the types of its events are wider. */
function socketOf(socket: Duplex): Socket {
  return socket as Socket;
}

function whyNot(error: NodeJS.ErrnoException, port: number, host: string): string {
  if (error.code === 'EADDRINUSE')
    return `Port ${port} of ${host} is in use. End the program that uses it, or choose another PORT. Nothing was changed.`;
  if (error.code === 'EACCES')
    return `Port ${port} may not be used by this user. Choose another PORT. Nothing was changed.`;
  return `The hub cannot listen on port ${port} of ${host} (${error.message}). Check HOST and PORT. Nothing was changed.`;
}

/** A process that waits for its database, or migrates it, lives and is not ready. */
function respondWhileStarting(request: IncomingMessage, response: ServerResponse): void {
  const path = (request.url ?? '').split('?', 1)[0];
  request.resume();
  const send = (status: number, type: string, body: unknown): void => {
    response
      .writeHead(status, {
        'Content-Type': type,
        'Cache-Control': 'no-store',
        Connection: 'close',
        ...(status === 503 ? { 'Retry-After': '1' } : {}),
      })
      .end(request.method === 'HEAD' ? undefined : JSON.stringify(body));
  };
  const detail = 'the process is starting';
  if (path === '/health' || path === '/health/live') send(200, 'application/json; charset=utf-8', { status: 'ok' });
  else if (path === '/health/ready')
    send(503, 'application/json; charset=utf-8', { status: 'unavailable', checks: { accepting: detail } });
  else
    send(
      503,
      'application/problem+json',
      new HubError('store_unavailable', { detail, outcome: 'not_applied' }).toProblem(),
    );
}

/** A pooling client that reads this sends its next request over another connection, and so to another process. */
function sayGoodbye(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('Connection', 'close');
}

function refuseConnection(socket: Duplex, code: ErrorCode): void {
  if (!socket.writable) return;
  const { status, title, head, body } = responseTo(code);
  const lines = [`HTTP/1.1 ${status} ${title}`, ...Object.entries(head).map(([name, value]) => `${name}: ${value}`)];
  endSoon(socket, `${lines.join('\r\n')}\r\n\r\n${body}`);
}

/** What was written goes out, and the client gets a moment to read it. */
function endSoon(socket: Duplex, text = ''): void {
  socket.end(text);
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

function responseTo(code: ErrorCode): { status: number; title: string; head: Record<string, string>; body: string } {
  const problem = new HubError(code).toProblem();
  const body = JSON.stringify(problem);
  return {
    status: problem.status,
    title: problem.title,
    head: {
      'Content-Type': 'application/problem+json',
      'Content-Length': String(Buffer.byteLength(body)),
      Connection: 'close',
    },
    body,
  };
}
