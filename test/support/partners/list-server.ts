import http from 'node:http';
import type { AddressInfo } from 'node:net';

type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void;

/** A partner that only serves its list, well or as badly as a test wants. */
export class ListServer {
  private constructor(
    private readonly server: http.Server,
    readonly url: string,
    private answer: { handler: Handler },
  ) {}

  static async start(): Promise<ListServer> {
    const answer: { handler: Handler } = { handler: (_request, response) => void response.end('[]') };
    const server = http.createServer((request, response) => {
      // Whether the client is still there is what some tests are about; a broken connection is no fault of this server.
      response.on('error', () => undefined);
      answer.handler(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new ListServer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`, answer);
  }

  serve(handler: Handler): void {
    this.answer.handler = handler;
  }

  /** Rows as JSON, or the very text. */
  list(rows: readonly unknown[] | string): void {
    const body = typeof rows === 'string' ? rows : JSON.stringify(rows);
    this.serve((_request, response) => void response.setHeader('content-type', 'application/json').end(body));
  }

  /** A list that is made row by row, at the reader's pace. */
  stream(rows: () => Iterable<unknown>): void {
    this.serve((_request, response) => {
      response.setHeader('content-type', 'application/json');
      const texts = chunks(rows());
      const pump = () => {
        for (;;) {
          const next = texts.next();
          if (next.done === true) return void response.end();
          if (!response.write(next.value)) return void response.once('drain', pump);
        }
      };
      pump();
    });
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

function* chunks(rows: Iterable<unknown>): Generator<string> {
  let chunk = '[';
  let separator = '';
  for (const row of rows) {
    chunk += separator + JSON.stringify(row);
    separator = ',';
    if (chunk.length < 16_384) continue;
    yield chunk;
    chunk = '';
  }
  yield `${chunk}]`;
}

/** A byte every now and then: the page is far from whole when its time is over. */
export function drip(response: http.ServerResponse, body: string): void {
  let at = 0;
  const timer = setInterval(() => {
    if (response.destroyed || at >= body.length) return clearInterval(timer);
    response.write(body[at]);
    at += 1;
  }, 20);
  response.on('close', () => clearInterval(timer));
}
