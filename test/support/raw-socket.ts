import net from 'node:net';
import type { HttpAnswer } from './hub/signed-request';

export type RawAnswer = Pick<HttpAnswer, 'status' | 'text' | 'body'> & {
  readonly headers: ReadonlyMap<string, string> & { get(name: string): string | null };
};

class HeaderMap extends Map<string, string> {
  override get(name: string): string {
    return super.get(name.toLowerCase()) ?? '';
  }
}

/**
 * Writes bytes that no HTTP client would write, and answers everything that came back until the hub closed the
 * connection. `end` closes our half after the last byte: the way a client looks that goes away in the middle of a body.
 */
export async function rawExchange(
  baseUrl: string,
  bytes: string | Buffer,
  options: { end?: boolean; withinMs?: number } = {},
): Promise<RawAnswer[]> {
  const { hostname, port } = new URL(baseUrl);
  const received: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    const socket = net.connect(Number(port), hostname, () =>
      options.end === true ? socket.end(bytes) : socket.write(bytes),
    );
    socket.setTimeout(options.withinMs ?? 5_000, () =>
      socket.destroy(
        new Error(`the hub kept the connection open; so far it said: ${Buffer.concat(received).toString()}`),
      ),
    );
    socket.on('data', (chunk) => received.push(chunk));
    socket.once('error', reject);
    socket.once('close', () => resolve());
  });
  return answersIn(Buffer.concat(received));
}

function answersIn(bytes: Buffer): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = bytes; rest.length > 0;) {
    const split = rest.indexOf('\r\n\r\n');
    const [statusLine = '', ...lines] = rest.subarray(0, split).toString('latin1').split('\r\n');
    const headers = new HeaderMap(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const length = Number(headers.get('content-length'));
    if (split < 0 || !/^HTTP\/1\.1 \d{3} /.test(statusLine) || !Number.isInteger(length))
      throw new Error(`not an HTTP answer: ${rest.toString()}`);
    const text = rest.subarray(split + 4, split + 4 + length).toString('utf8');
    if (Buffer.byteLength(text) < length) throw new Error(`an answer that breaks off: ${rest.toString()}`);
    answers.push({
      status: Number(statusLine.slice(9, 12)),
      headers,
      text,
      body: text.startsWith('{') ? JSON.parse(text) : undefined,
    });
    rest = rest.subarray(split + 4 + length);
  }
  return answers;
}

/** A whole HTTP/1.1 request as text; headers may stand twice. */
export function httpText(
  method: string,
  path: string,
  headers: readonly (readonly [string, string])[],
  body: string | Buffer = '',
): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: hub', ...headers.map(([name, value]) => `${name}: ${value}`)];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body)]);
}
