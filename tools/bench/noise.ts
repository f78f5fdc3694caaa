import net from 'node:net';
import { TOKEN, signedPost } from './load';

/**
 * A process of its own that repeats expensive requests, so that what its answers cost to read delays nobody's clock. It
 * takes commands from its parent: begin with a kind, and end, to which it answers what it got.
 */
export type NoiseCommand = { readonly begin: NoiseKind; readonly port: number } | { readonly end: true };

export interface NoiseHeard {
  readonly answers: number;
  readonly megabytes: number;
  /** Of this process, which shares the cores with everything that is measured. */
  readonly cpuSeconds: number;
}

export const NOISE_KINDS = ['body', 'query', 'document'] as const;
export type NoiseKind = (typeof NOISE_KINDS)[number];

/** Each sends its next request when the answer to the one before is there. */
export const CALLERS = 8;

/** The most expensive requests that the hub was known to take. */
const REQUESTS: Readonly<Record<NoiseKind, (host: string) => readonly Buffer[]>> = {
  body: (host) =>
    [
      // 6 500 unknown fields; 15 000 objects in a list; escapes to the brim, which the thorough reader takes letter by
      // letter; lists of objects below escaped names.
      `{${Array.from({ length: 6_500 }, (_, n) => `"f${n}":1`).join(',')}}`.slice(0, 65_000),
      `{"playerId":[${Array(15_000).fill('{}').join(',')}]}`,
      `{"meta":{"a":"${'\\u0041'.repeat(10_500)}"}}`,
      `{"meta":{${Array.from({ length: 2_000 }, (_, n) => `"\\u0041${n}":[{}]`).join(',')}}}`,
    ].map((body) => signedPost('/wallet/debit', body, host)),
  query: (host) =>
    [
      Array.from({ length: 2_000 }, (_, n) => `p${n}=1`).join('&'),
      `refId=${'%00'.repeat(4_000)}`,
      `${'playerId=a&'.repeat(1_000)}limit=1`,
    ].map((query) =>
      Buffer.from(`GET /webhooks/outbox?${query} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`),
    ),
  document: (host) =>
    ['/swagger-yaml', '/swagger-json', '/swagger/swagger-ui-init.js', '/swagger/swagger-ui-bundle.js'].map((path) =>
      Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`),
    ),
};

/** Goes round the requests on one connection, and looks at no more of an answer than where it ends. */
class Caller {
  answers = 0;
  bytes = 0;
  private readonly socket: net.Socket;
  private head = '';
  private bodyLeft = 0;
  private next: number;

  constructor(
    port: number,
    private readonly requests: readonly Buffer[],
    place: number,
  ) {
    this.next = place;
    this.socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.once('connect', () => this.send());
    this.socket.on('data', (chunk) => this.read(chunk));
    this.socket.on('error', fail);
    this.socket.on('end', () => fail(new Error('the hub closed a connection of the noise')));
  }

  close(): void {
    this.socket.removeAllListeners('end').destroy();
  }

  private send(): void {
    this.socket.write(this.requests[this.next++ % this.requests.length] as Buffer);
  }

  private read(chunk: Buffer): void {
    this.bytes += chunk.length;
    let rest = chunk.length;
    if (this.bodyLeft === 0) {
      const before = this.head.length;
      this.head += chunk.toString('latin1', 0, 4_096);
      const end = this.head.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.bodyLeft = Number(/content-length: (\d+)/i.exec(this.head)?.[1] ?? 0);
      rest = chunk.length - (end + 4 - before);
      this.head = '';
    }
    this.bodyLeft -= rest;
    if (this.bodyLeft > 0) return;
    this.answers += 1;
    this.send();
  }
}

function fail(error: Error): void {
  process.stderr.write(`noise: ${error.message}\n`);
  process.exit(1);
}

let callers: Caller[] = [];
let cpu = process.cpuUsage();

process.on('message', (command: NoiseCommand) => {
  if ('begin' in command) {
    cpu = process.cpuUsage();
    const requests = REQUESTS[command.begin](`127.0.0.1:${command.port}`);
    callers = Array.from({ length: CALLERS }, (_, place) => new Caller(command.port, requests, place));
    return;
  }
  const { user, system } = process.cpuUsage(cpu);
  const sum = (of: (caller: Caller) => number): number => callers.reduce((total, caller) => total + of(caller), 0);
  for (const caller of callers) caller.close();
  const heard: NoiseHeard = {
    answers: sum(({ answers }) => answers),
    megabytes: sum(({ bytes }) => bytes) / 1e6,
    cpuSeconds: (user + system) / 1e6,
  };
  process.send?.(heard);
});
process.once('disconnect', () => process.exit(0));
