import { createHmac } from 'node:crypto';
import net from 'node:net';

/**
 * A load generator of our own: every request needs a fresh id and a fresh signature, and whatever it costs is taken
 * from the hub, since both share two cores. Requests are signed and written out beforehand; while the clock runs it
 * only copies bytes.
 */
export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Milliseconds, sorted. */
  readonly latencies: Float64Array;
  readonly failures: number;
  /** Microseconds of this process's CPU per request: what the load generator takes from the hub. */
  readonly generatorMicros: number;
}

export const SECRET = 'change_secret';
export const TOKEN = 'change_token';

interface DebitOptions {
  readonly host: string;
  readonly players: number;
  readonly prefix: string;
  /** A whole header line with its line end. */
  readonly header?: string;
}

export function signedDebits(count: number, { host, players, prefix, header = '' }: DebitOptions): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const reference = `${prefix}-${index}`;
    const body = JSON.stringify({
      playerId: `player-${index % players}`,
      amountCents: 100 + (index % 900),
      currency: 'USD',
      refId: reference,
      roundId: `round-${index}`,
    });
    return signedPost('/wallet/debit', body, host, `Idempotency-Key: ${reference}\r\n${header}`);
  });
}

/** One signed request as bytes. `headers` are whole lines with their line ends. */
export function signedPost(
  path: string,
  body: string,
  host: string,
  headers = '',
  { token, secret }: { token: string; secret: string } = { token: TOKEN, secret: SECRET },
): Buffer {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const signature = createHmac('sha256', secret).update(`${timestamp}:${body}`).digest('hex');
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nX-Timestamp: ${timestamp}\r\nX-Signature: ${signature}\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/**
 * Sends requests once each over `connections` keep-alive connections, shared evenly by the ports, each waiting for its
 * answer before the next; ends after `seconds`, or with the last request.
 */
export async function blast(
  ports: readonly number[],
  requests: readonly Buffer[],
  connections: number,
  seconds = Infinity,
): Promise<LoadResult> {
  const latencies: number[] = [];
  let next = 0;
  let failures = 0;
  const open = await Promise.all(
    Array.from({ length: connections }, (_, index) => KeepAlive.open(ports[index % ports.length] as number)),
  );
  const cpu = process.cpuUsage();
  const started = performance.now();
  const deadline = started + seconds * 1000;
  await Promise.all(
    open.map(async (connection) => {
      for (let index = next++; index < requests.length && performance.now() < deadline; index = next++) {
        const at = performance.now();
        if ((await connection.send(requests[index] as Buffer)) !== 200) failures += 1;
        latencies.push(performance.now() - at);
      }
    }),
  );
  const took = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  for (const connection of open) connection.close();
  return {
    requests: latencies.length,
    seconds: took,
    perSecond: latencies.length / took,
    latencies: Float64Array.from(latencies).sort(),
    failures,
    generatorMicros: (user + system) / latencies.length,
  };
}

/** One HTTP/1.1 connection that reads no more of an answer than its status and its length. */
export class KeepAlive {
  private received: Buffer = Buffer.alloc(0);
  private waiting: { resolve: (status: number) => void; reject: (error: Error) => void } | undefined;

  private constructor(private readonly socket: net.Socket) {
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.read(chunk));
    socket.on('error', (error) => this.waiting?.reject(error));
    socket.on('close', () => this.waiting?.reject(new Error('the connection was closed under load')));
  }

  static open(port: number): Promise<KeepAlive> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => resolve(new KeepAlive(socket)));
    });
  }

  send(request: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.socket.write(request);
    });
  }

  close(): void {
    this.waiting = undefined;
    this.socket.destroy();
  }

  private read(chunk: Buffer): void {
    this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk]);
    const end = this.received.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.received.toString('latin1', 0, end);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (this.received.length < end + 4 + length) return;
    this.received = this.received.subarray(end + 4 + length);
    this.waiting?.resolve(Number(head.slice(9, 12)));
  }
}

/** Keep-alive connections to one port, handed out one caller at a time and opened as they are needed. */
export class ConnectionPool {
  private readonly idle: KeepAlive[] = [];

  constructor(private readonly port: number) {}

  async send(request: Buffer): Promise<number> {
    const connection = this.idle.pop() ?? (await KeepAlive.open(this.port));
    const status = await connection.send(request);
    this.idle.push(connection);
    return status;
  }

  close(): void {
    for (const connection of this.idle) connection.close();
  }
}

/** Value below which a share of sorted values lies. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
