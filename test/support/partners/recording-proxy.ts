import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';

export interface RecordedRequest {
  /** ms epoch, fractional: when the whole request was there. */
  readonly at: number;
  readonly method: string;
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  /** The bytes as they came, as text. */
  readonly body: string;
  /** ms epoch: when the answer was complete or the client had left; null while neither is true. */
  endedAt: number | null;
  /** Null when the client left before an answer began. */
  status: number | null;
  /** The answer's body as it came, as text. */
  answer: string;
}

/**
 * Stands between the hub and a partner, writes every request down to the byte, and can vanish like a machine that is
 * switched off.
 */
export class RecordingProxy {
  requests: RecordedRequest[] = [];
  private server: http.Server | undefined;
  private port = 0;
  private vanishes = false;

  private constructor(private readonly target: URL) {}

  static async start(target: string): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(new URL(target));
    await proxy.switchOn();
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Listens again, on the same port. */
  async switchOn(): Promise<void> {
    const server = http.createServer((request, response) => void this.forward(request, response));
    server.keepAliveTimeout = 65_000;
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.port = (server.address() as net.AddressInfo).port;
    this.server = server;
  }

  /** From now on connections are refused. */
  async switchOff(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  /** Answers the next request, and is gone before another connection can be made. */
  vanishAfterNextAnswer(): void {
    this.vanishes = true;
  }

  private async forward(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const recorded: RecordedRequest = {
      at: performance.timeOrigin + performance.now(),
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: body.toString('utf8'),
      endedAt: null,
      status: null,
      answer: '',
    };
    this.requests.push(recorded);
    const onward = http.request({
      host: this.target.hostname,
      port: this.target.port,
      path: request.url,
      method: request.method,
      headers: request.headers,
    });
    response.once('close', () => {
      recorded.endedAt = performance.timeOrigin + performance.now();
      onward.destroy();
    });
    response.once('finish', () => {
      if (!this.vanishes) return;
      this.vanishes = false;
      void this.switchOff();
    });
    onward.once('error', () => response.destroy());
    onward.once('response', (answer) => {
      recorded.status = answer.statusCode ?? null;
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('data', (chunk: Buffer) => (recorded.answer += chunk.toString('utf8')));
      answer.pipe(response);
    });
    onward.end(body);
  }
}
