import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const CHECK_MS = 100;
const CHECK_TIMEOUT_MS = 2_000;
/** Of the hub: larger ones it refuses itself, so they are passed on up to a little more. */
const BODY_BYTES_MAX = 128 * 1024;

interface Backend {
  readonly port: number;
  readonly agent: http.Agent;
  up: boolean;
}

export interface BalancerCounts {
  requests: number;
  /** Sent to another process because the first refused the connection, so that nothing had left. */
  moved: number;
  /** Answered 502 or 503 by the balancer itself. */
  failed: number;
  /** The first few of those, for people. */
  readonly reasons: string[];
}

/**
 * What deploy/haproxy.cfg says, in the few lines that a machine without HAProxy needs: requests go in turn to the
 * processes whose
 * /health/ready says yes, over keep-alive connections. A request is tried at another process only when the connection
 * was refused: once a byte has left, only the caller may repeat it.
 */
export class Balancer {
  readonly counts: BalancerCounts = { requests: 0, moved: 0, failed: 0, reasons: [] };
  private next = 0;
  private stopped = false;
  private checking: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly server: http.Server,
    private readonly backends: readonly Backend[],
    readonly url: string,
  ) {}

  static async start(ports: readonly number[], port = 0): Promise<Balancer> {
    const backends = ports.map((each): Backend => ({
      port: each,
      agent: new http.Agent({ keepAlive: true, maxFreeSockets: 256 }),
      up: false,
    }));
    const server = http.createServer((request, response) => void balancer.receive(request, response));
    server.keepAliveTimeout = 65_000;
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const balancer = new Balancer(server, backends, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    balancer.checking = Promise.all(backends.map((backend) => balancer.check(backend)));
    return balancer;
  }

  get healthy(): number {
    return this.backends.filter(({ up }) => up).length;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.server.close();
    this.server.closeAllConnections();
    for (const { agent } of this.backends) agent.destroy();
    await this.checking;
  }

  private async check(backend: Backend): Promise<void> {
    while (!this.stopped) {
      const answer = await fetch(`http://127.0.0.1:${backend.port}/health/ready`, {
        headers: { connection: 'close' },
        signal: AbortSignal.timeout(CHECK_TIMEOUT_MS),
      }).catch(() => undefined);
      await answer?.arrayBuffer().catch(() => undefined);
      backend.up = answer?.ok === true;
      await delay(CHECK_MS);
    }
  }

  private async receive(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    this.counts.requests += 1;
    try {
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of request as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
      }
      await this.pass(request, Buffer.concat(chunks), response);
    } catch (error) {
      if (!response.destroyed) this.fail(response, 502, error instanceof Error ? error.message : String(error));
    }
  }

  private async pass(request: http.IncomingMessage, body: Buffer, response: http.ServerResponse): Promise<void> {
    for (let tries = 0; tries < this.backends.length; tries += 1) {
      const backend = this.pick();
      if (backend === undefined) break;
      try {
        const answer = await send(backend, request, body);
        // A process that says goodbye takes no more; the next check would find out anyway, a moment later.
        if (answer.headers.connection === 'close') backend.up = false;
        const { connection: _connection, 'keep-alive': _keepAlive, ...headers } = answer.headers;
        response.writeHead(answer.statusCode ?? 502, headers);
        await new Promise((resolve, reject) =>
          answer.once('error', reject).pipe(response).once('close', resolve).once('error', reject),
        );
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') throw error;
        backend.up = false;
        this.counts.moved += 1;
      }
    }
    this.fail(response, 503, 'no process is ready');
  }

  private pick(): Backend | undefined {
    const up = this.backends.filter((backend) => backend.up);
    this.next += 1;
    return up[this.next % up.length];
  }

  private fail(response: http.ServerResponse, status: number, reason: string): void {
    this.counts.failed += 1;
    if (this.counts.reasons.length < 5) this.counts.reasons.push(`${status} ${reason}`);
    if (response.headersSent) response.destroy();
    else response.writeHead(status, { 'content-type': 'text/plain', 'retry-after': '1' }).end(reason);
  }
}

function send(
  { port, agent }: Backend,
  { method, url, headers }: http.IncomingMessage,
  body: Buffer,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { connection: _connection, 'transfer-encoding': _encoding, ...passed } = headers;
    const request = http.request({
      host: '127.0.0.1',
      port,
      agent,
      method,
      path: url,
      headers: { ...passed, 'content-length': String(body.length) },
    });
    request.once('response', resolve).once('error', reject).end(body);
  });
}
