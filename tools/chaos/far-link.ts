import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import zlib from 'node:zlib';
import { Random } from './prng';

export interface Distance {
  /**
   * From the first SYN to the moment when the caller may write: for TLS the handshake, for a plain port the first bytes
   * are held back as long.
   */
  readonly connectMs: number;
  /** One way, for each piece of an answer. */
  readonly delayMs: number;
  /** Pieces into which each answer is cut. */
  readonly pieces: number;
  /** Interim answers (100, 102, 103) before each answer. */
  readonly interim: boolean;
  /** Answers packed although nobody asked. */
  readonly packed: boolean;
  /** Of the calls: the connection ends when the other side has worked on the call, before or within its answer. */
  readonly cutShare: number;
}

export const FAR: Distance = { connectMs: 300, delayMs: 0, pieces: 3, interim: true, packed: true, cutShare: 0 };

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length']);

/**
 * The network of the real world between a caller and a server: far away, through middle boxes that announce, pack and
 * cut. With a key and a certificate its own end speaks TLS; a delay before the handshake is then a connection that
 * takes long, as TCP on the loopback never does.
 */
export class FarLink {
  /** When each call was there as a whole, in ms since the epoch. */
  readonly calls: { readonly at: number; readonly path: string }[] = [];
  connections = 0;
  private readonly sockets = new Set<net.Socket>();
  private readonly agent = new http.Agent({ keepAlive: true });

  private constructor(
    private readonly door: net.Server,
    private readonly target: () => string,
    readonly distance: Distance,
    private readonly random: Random,
    private readonly secure: boolean,
  ) {}

  static async start(
    target: () => string,
    distance: Distance,
    tls?: { readonly key: string; readonly cert: string },
    seed = 1,
  ): Promise<FarLink> {
    const door = net.createServer({ pauseOnConnect: true, noDelay: true });
    const link = new FarLink(door, target, distance, new Random(seed), tls !== undefined);
    const answer: http.RequestListener = (request, response) =>
      void link.forward(request, response).catch(() => request.socket.destroy());
    const server = tls === undefined ? http.createServer(answer) : https.createServer(tls, answer);
    server.keepAliveTimeout = 65_000;
    server.on('tlsClientError', () => undefined);
    door.on('connection', (socket) => {
      link.connections += 1;
      link.sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => link.sockets.delete(socket));
      setTimeout(() => {
        if (socket.destroyed) return;
        server.emit('connection', socket);
        socket.resume();
      }, distance.connectMs);
    });
    door.listen(0, '127.0.0.1');
    await once(door, 'listening');
    return link;
  }

  /** Its name is that of the certificate. */
  get url(): string {
    return `${this.secure ? 'https' : 'http'}://localhost:${(this.door.address() as net.AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.door.close(resolve));
  }

  private async forward(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    this.calls.push({ at: performance.timeOrigin + performance.now(), path: request.url ?? '/' });
    const { distance } = this;
    if (distance.interim) {
      response.writeContinue();
      response.writeProcessing();
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    }
    const onward = http.request(new URL(request.url ?? '/', this.target()), {
      method: request.method,
      headers: { ...request.headers, 'accept-encoding': 'identity' },
      agent: this.agent,
    });
    onward.end(Buffer.concat(chunks));
    const [answer] = (await once(onward, 'response')) as [http.IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of answer) parts.push(part as Buffer);
    const cut = this.random.chance(distance.cutShare);
    if (cut && this.random.chance(0.5)) return void request.socket.resetAndDestroy();
    const plain = Buffer.concat(parts);
    const body = distance.packed && plain.length > 0 ? zlib.gzipSync(plain) : plain;
    const headers = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
    if (body !== plain) headers['content-encoding'] = 'gzip';
    response.writeHead(answer.statusCode ?? 502, { ...headers, 'content-length': String(body.length) });
    const size = Math.max(1, Math.ceil(body.length / distance.pieces));
    for (let from = 0; from < body.length; from += size) {
      await delay(distance.delayMs);
      response.write(body.subarray(from, from + size));
      if (cut) return void request.socket.resetAndDestroy();
    }
    response.end();
  }
}
