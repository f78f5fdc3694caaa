import net from 'node:net';
import type { Random } from '../chaos/prng';

/** Bytes that no client would write. */
export interface RawCase {
  readonly name: string;
  readonly bytes: Buffer;
  /** Whether HTTP obliges the hub to say something: the head is whole, or can never become one. */
  readonly mustAnswer: boolean;
  /** How the client goes: waits for the end, closes its half, or cuts the line after the bytes. */
  readonly leave: 'wait' | 'half' | 'cut';
}

const PATHS = [
  '/health',
  '/wallet/debit',
  '/wallet/transactions?playerId=a',
  '/webhooks/incoming',
  '/admin/failed-transactions',
  '/swagger-json',
  '/nowhere',
  '/rounds/%00',
];

/** One malformed exchange. */
export function rawCase(random: Random, token: string): RawCase {
  const path = random.pick(PATHS);
  const method = random.pick(['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS']);
  const common = `Host: hub\r\nAuthorization: Bearer ${token}\r\n`;
  const head = `${method} ${path} HTTP/1.1\r\n${common}`;
  const post = `POST /wallet/debit HTTP/1.1\r\n${common}Content-Type: application/json\r\n`;
  const name = random.pick(Object.keys(KINDS) as (keyof typeof KINDS)[]);
  const made = KINDS[name]({ random, head, post, method, path, common });
  return {
    name,
    mustAnswer: true,
    leave: 'wait',
    ...made,
    bytes: typeof made.bytes === 'string' ? Buffer.from(made.bytes, 'latin1') : made.bytes,
  };
}

interface Material {
  readonly random: Random;
  readonly head: string;
  readonly post: string;
  readonly method: string;
  readonly path: string;
  readonly common: string;
}

interface Made {
  readonly bytes: string | Buffer;
  readonly mustAnswer?: boolean;
  readonly leave?: RawCase['leave'];
}

const close = 'Connection: close\r\n\r\n';

const KINDS = {
  halfHead: ({ random, head }: Material): Made => ({
    bytes: head.slice(0, random.integer(1, head.length)),
    mustAnswer: false,
    leave: random.pick(['half', 'cut']),
  }),
  noHost: ({ method, path }: Material): Made => ({ bytes: `${method} ${path} HTTP/1.1\r\n${close}` }),
  oldVersion: ({ path }: Material): Made => ({ bytes: `GET ${path} HTTP/1.0\r\n\r\n` }),
  version09: ({ path }: Material): Made => ({ bytes: `GET ${path}\r\n\r\n` }),
  futureVersion: ({ path }: Material): Made => ({ bytes: `GET ${path} HTTP/9.9\r\nHost: hub\r\n\r\n` }),
  http2: (): Made => ({ bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', leave: 'half' }),
  tls: (): Made => ({ bytes: Buffer.from('16030100a5010000a1030354', 'hex'), leave: 'half' }),
  noise: ({ random }: Material): Made => ({
    bytes: Buffer.from(Array.from({ length: random.integer(1, 400) }, () => random.integer(0, 255))),
    mustAnswer: false,
    leave: 'half',
  }),
  strangeMethod: ({ random, path }: Material): Made => ({
    bytes: `${random.pick(['STEAL', 'get', 'PROPFIND', 'TRACE', 'M-SEARCH', 'QUERY', 'PURGE', 'G\u0000T'])} ${path} HTTP/1.1\r\nHost: hub\r\n${close}`,
    leave: 'half',
  }),
  connect: (): Made => ({ bytes: `CONNECT hub:443 HTTP/1.1\r\nHost: hub\r\n\r\n`, mustAnswer: false, leave: 'half' }),
  upgrade: ({ random, path }: Material): Made => ({
    bytes: `GET ${path} HTTP/1.1\r\nHost: hub\r\nUpgrade: ${random.pick(['websocket', 'h2c', 'TLS/1.2'])}\r\nConnection: Upgrade, close\r\n\r\n`,
  }),
  strangeTarget: ({ random, common }: Material): Made => ({
    bytes: `GET ${random.pick(['*', 'health', 'http://', 'http:///health', '//', '/\\health', '/health#x', '/h\u00e9alth', '/%', '/%00', '/a\tb', '/?', '/health?%', '/../../etc/passwd', `/${'a/'.repeat(5_000)}`, `/health?${'a=1&'.repeat(2_000)}`, `/wallet/transactions?${'%00&'.repeat(3_000)}`])} HTTP/1.1\r\n${common}${close}`,
    leave: 'half',
  }),
  bigHeader: ({ random, head }: Material): Made => ({
    bytes: `${head}X-Big: ${'a'.repeat(random.pick([8_000, 15_000, 17_000, 100_000]))}\r\n${close}`,
  }),
  manyHeaders: ({ random, head }: Material): Made => ({
    bytes: `${head}${Array.from({ length: random.pick([50, 500, 3_000]) }, (_, n) => `X-${n}: a\r\n`).join('')}${close}`,
  }),
  badHeader: ({ random, head }: Material): Made => ({
    bytes: `${head}${random.pick(['No colon', 'X Y: 1', ': 1', 'X\u0000: 1', 'X: \u0000', 'X: \u0001', ' folded', 'X: a\rY: b', 'X : 1', 'Content-Length : 5', '\u00e9: 1', 'Host: other', 'Transfer-Encoding : chunked'])}\r\n${close}`,
  }),
  badLength: ({ random, post }: Material): Made => ({
    bytes: `${post}Content-Length: ${random.pick(['-1', '+5', '1e3', '0x10', '5, 5', '5, 6', '', ' ', '9'.repeat(30), '5\r\nContent-Length: 6'])}\r\n${close}{"a":`,
    leave: 'half',
  }),
  lengthAndChunks: ({ post }: Material): Made => ({
    bytes: `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  }),
  strangeEncoding: ({ random, post }: Material): Made => ({
    bytes: `${post}Transfer-Encoding: ${random.pick(['identity', 'chunked, identity', 'xchunked', 'gzip, chunked', 'chunked\r\nTransfer-Encoding: chunked', '\u000bchunked'])}\r\n${close}0\r\n\r\n`,
    leave: 'half',
  }),
  badChunk: ({ random, post }: Material): Made => ({
    bytes: `${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n${random.pick(['zz\r\n', '-1\r\n', 'ffffffffffffffff\r\n', '5\r\nhel', '5 \r\nhello\r\n0\r\n\r\n', '5\nhello\n', '0\r\nX-Trailer: \u0000\r\n\r\n', '3\r\nabcd\r\n', `5;${'a'.repeat(20_000)}\r\n`, `0\r\n${'X: y\r\n'.repeat(3_000)}\r\n`])}`,
    mustAnswer: false,
    leave: 'half',
  }),
  endlessChunks: ({ post }: Material): Made => ({
    bytes: `${post}Transfer-Encoding: chunked\r\n${close}${`4000\r\n${'x'.repeat(0x4000)}\r\n`.repeat(8)}`,
  }),
  shortBody: ({ random, post }: Material): Made => ({
    bytes: `${post}Content-Length: 500\r\n\r\n{"playerId":"a"`,
    mustAnswer: false,
    leave: random.pick(['half', 'cut']),
  }),
  longBody: ({ post }: Material): Made => ({ bytes: `${post}Content-Length: 2\r\n${close}{}{"playerId":"smuggled"}` }),
  hugeLength: ({ post }: Material): Made => ({ bytes: `${post}Content-Length: 10000000\r\n${close}`, leave: 'half' }),
  bodyNotUtf8: ({ random, post }: Material): Made => {
    const body = Buffer.from(
      random.pick(['7b22ff223a317d', 'fffe7b007d00', 'c0af', '7b22eda080223a317d', '00', 'efbbbf7b7d']),
      'hex',
    );
    return { bytes: Buffer.concat([Buffer.from(`${post}Content-Length: ${body.length}\r\n${close}`), body]) };
  },
  packed: ({ random, post }: Material): Made => ({
    bytes: `${post}Content-Encoding: ${random.pick(['gzip', 'br', 'deflate', 'zstd', 'nonsense'])}\r\nContent-Length: 4\r\n${close}\u001f\u008b\u0008\u0000`,
  }),
  expectation: ({ random, post }: Material): Made => ({
    bytes: `${post}Expect: ${random.pick(['100-continue', 'a-miracle', '100-continue, 100-continue'])}\r\nContent-Length: 2\r\n${close}{}`,
  }),
  pipelined: ({ random, common }: Material): Made => ({
    bytes: `${Array.from({ length: random.integer(2, 40) }, () => `GET ${random.pick(PATHS)} HTTP/1.1\r\n${common}\r\n`).join('')}${random.pick(['', 'garbage\r\n\r\n', `GET /health HTTP/1.1\r\nHost: hub\r\n${close}`])}`,
    leave: 'half',
  }),
  pipelinedCut: ({ random, common }: Material): Made => ({
    bytes: `GET /metrics HTTP/1.1\r\n${common}\r\n`.repeat(random.integer(2, 10)),
    mustAnswer: false,
    leave: 'cut',
  }),
  blankLines: ({ head }: Material): Made => ({ bytes: `\r\n\r\n\r\n${head}${close}` }),
  bareLineFeeds: ({ method, path }: Material): Made => ({
    bytes: `${method} ${path} HTTP/1.1\nHost: hub\nConnection: close\n\n`,
    leave: 'half',
  }),
  cutAtOnce: ({ head }: Material): Made => ({ bytes: `${head}\r\n`, mustAnswer: false, leave: 'cut' }),
} satisfies Record<string, (material: Material) => Made>;

export interface RawResult {
  readonly statuses: readonly number[];
  readonly text: string;
  /** Why it is not as it should be; null when it is. */
  readonly fault: string | null;
}

/** Sends the bytes, and reads what comes back until the hub closes, or nothing more is owed. */
export async function exchange(
  { bytes, mustAnswer, leave }: RawCase,
  port: number,
  deadlineMs: number,
): Promise<RawResult> {
  const received: Buffer[] = [];
  const ended = await new Promise<'closed' | 'late' | 'left'>((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      if (leave === 'cut') socket.write(bytes, () => setImmediate(() => socket.destroy()));
      else if (leave === 'half') socket.end(bytes);
      else socket.write(bytes);
    });
    const timer = setTimeout(() => {
      resolve('late');
      socket.destroy();
    }, deadlineMs);
    socket.on('data', (chunk) => received.push(chunk));
    // The hub may close while we still write; what it said before that counts.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(leave === 'cut' ? 'left' : 'closed');
    });
  });
  const text = Buffer.concat(received).toString('latin1');
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  if (ended === 'late') return { statuses, text, fault: 'the connection was neither answered to its end nor closed' };
  if (text !== '' && !text.startsWith('HTTP/1.1 '))
    return { statuses, text, fault: 'something that is not HTTP came back' };
  if (ended === 'closed' && mustAnswer && statuses.length === 0)
    return { statuses, text, fault: 'closed without an answer' };
  return { statuses, text, fault: null };
}
