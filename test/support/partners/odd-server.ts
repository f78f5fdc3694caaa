import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { generate } from 'selfsigned';

/** A server below HTTP: it sees connections and whole requests, and what it says is exactly what a test wants. */
export class OddServer {
  readonly requests: string[] = [];
  readonly at: number[] = [];
  connections = 0;
  private readonly sockets = new Set<net.Socket>();

  private constructor(
    readonly server: net.Server,
    readonly port: number,
    readonly scheme: 'http' | 'https',
  ) {}

  /** `answer` is given the socket and the text of each whole request. With `secure` the port speaks TLS. */
  static async start(
    answer: (socket: net.Socket, request: string) => void,
    secure?: tls.TlsOptions,
    holdBackMs = 0,
  ): Promise<OddServer> {
    const server = secure === undefined ? net.createServer() : tls.createServer(secure);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const odd = new OddServer(
      server,
      (server.address() as net.AddressInfo).port,
      secure === undefined ? 'http' : 'https',
    );
    server.on(secure === undefined ? 'connection' : 'secureConnection', (socket: net.Socket) =>
      odd.accept(socket, answer, holdBackMs),
    );
    server.on('tlsClientError', () => undefined);
    return odd;
  }

  /** Under a name, so that certificates and several addresses have something to be about. */
  url(host = '127.0.0.1'): string {
    return `${this.scheme}://${host}:${this.port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(socket: net.Socket, answer: (socket: net.Socket, request: string) => void, holdBackMs: number): void {
    this.connections += 1;
    this.sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let head = text.indexOf('\r\n\r\n'); head >= 0; head = text.indexOf('\r\n\r\n')) {
        const length = Number(/^content-length: (\d+)/im.exec(text.slice(0, head))?.[1] ?? 0);
        if (text.length < head + 4 + length) return;
        const request = text.slice(0, head + 4 + length);
        text = text.slice(request.length);
        this.requests.push(request);
        this.at.push(performance.timeOrigin + performance.now());
        if (holdBackMs === 0) answer(socket, request);
        else setTimeout(() => answer(socket, request), holdBackMs);
      }
    });
  }
}

export function httpAnswer(
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
  status = '200 OK',
): Buffer {
  const bytes = Buffer.from(body);
  const lines = [
    `HTTP/1.1 ${status}`,
    ...Object.entries({ 'Content-Type': 'application/json', 'Content-Length': String(bytes.length), ...headers }).map(
      ([name, value]) => `${name}: ${value}`,
    ),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), bytes]);
}

/** A key and a certificate that it signed itself, for the name; negative days: it ended so long ago. */
export async function selfSigned(name: string, days = 1): Promise<{ readonly key: string; readonly cert: string }> {
  const now = Date.now();
  const { private: key, cert } = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    notBeforeDate: new Date(now - 30 * 86_400_000),
    notAfterDate: new Date(now + days * 86_400_000),
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
  });
  return { key, cert };
}

/**
 * A port whose SYNs are dropped: its owner is stopped with a full queue of connections that nobody accepts.
 * The kernel then says nothing at all, as a firewall that drops.
 */
export class SilentPort {
  private constructor(
    private readonly child: ChildProcess,
    private readonly fillers: readonly net.Socket[],
    readonly host: string,
    readonly port: number,
  ) {}

  static async open(host = '127.0.0.1', port = 0): Promise<SilentPort> {
    const script = `const s = require('net').createServer().listen({ host: ${JSON.stringify(host)}, port: ${port}, backlog: 1 }, () => { console.log(s.address().port); });`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const bound = Number(line.toString());
    child.kill('SIGSTOP');
    const fillers: net.Socket[] = [];
    // Two fit into a queue of one; the next is not answered any more.
    for (let open = true; open && fillers.length < 16;) {
      const socket = net.connect({ host, port: bound });
      socket.on('error', () => undefined);
      fillers.push(socket);
      open = await Promise.race([
        once(socket, 'connect').then(() => true),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 300)),
      ]);
    }
    return new SilentPort(child, fillers, host, bound);
  }

  get url(): string {
    return `http://${this.host}:${this.port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.fillers) socket.destroy();
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
  }
}
