import { createHmac } from 'node:crypto';
import net from 'node:net';

/**
 * A load generator of our own: every request needs a fresh id and a fresh signature, and whatever it costs is taken from the hub, since
 * both share two cores. Requests are signed and written out beforehand; while the clock runs it only copies bytes.
 */
export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds, sorted. */
  readonly latencies: Float64Array;
  readonly failures: number;
}

export interface SignedDebits {
  readonly requests: readonly Buffer[];
}

export function signedDebits(count: number, options: { readonly host: string; readonly secret: string; readonly token: string; readonly players: number; readonly prefix: string }): Buffer[] {
  const timestamp = Math.floor(Date.now() / 1000).toString();
  return Array.from({ length: count }, (_, index) => {
    const reference = `${options.prefix}-${index}`;
    const body = JSON.stringify({ playerId: `player-${index % options.players}`, amountCents: 100 + (index % 900), currency: 'USD', refId: reference, roundId: `round-${index}` });
    const signature = createHmac('sha256', options.secret).update(`${timestamp}:${body}`).digest('hex');
    return Buffer.from(
      `POST /wallet/debit HTTP/1.1\r\nHost: ${options.host}\r\nAuthorization: Bearer ${options.token}\r\nContent-Type: application/json\r\nX-Timestamp: ${timestamp}\r\nX-Signature: ${signature}\r\nIdempotency-Key: ${reference}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  });
}

/** Sends every request once over `connections` keep-alive connections, each waiting for its answer before the next. */
export async function blast(port: number, requests: readonly Buffer[], connections: number): Promise<LoadResult> {
  const latencies = new Float64Array(requests.length);
  let next = 0;
  let failures = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const connection = await KeepAlive.open(port);
      for (let index = next++; index < requests.length; index = next++) {
        const at = performance.now();
        if ((await connection.send(requests[index] as Buffer)) !== 200) failures += 1;
        latencies[index] = performance.now() - at;
      }
      connection.close();
    }),
  );
  return { requests: requests.length, seconds: (performance.now() - started) / 1000, latencies: latencies.sort(), failures };
}

/** One HTTP/1.1 connection that reads no more of an answer than its status and its length. */
export class KeepAlive {
  private received: Buffer = Buffer.alloc(0);
  private waiting: { resolve: (status: number) => void; reject: (error: Error) => void } | undefined;

  private constructor(private readonly socket: net.Socket) {
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.read(chunk));
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

/** Value below which a share of sorted values lies. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
