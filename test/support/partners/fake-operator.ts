import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

type Direction = 'withdraw' | 'deposit' | 'rollback';

export interface OperatorCall {
  readonly playerId: string;
  /** `ask` is a look at the list of bookings. */
  readonly what: Direction | 'ask';
  readonly reference: string;
}

export interface Booking {
  readonly playerId: string;
  readonly direction: Direction;
  readonly reference: string;
  readonly originalReference: string | null;
  readonly amount: number;
}

/**
 * A wallet with the routes that the contract's operator may or may not have, and as forgetful as a test wants: one that
 * does not recognise references books every call that reaches it, so a movement that is sent twice moves twice.
 */
export class FakeOperator {
  recognisesReferences = true;
  /** Its list never ends: a byte every 20 ms. */
  endlessList = false;
  /** Answers a question in this way instead of as agreed; `bookings` are those of the reference. */
  listAs: ((response: http.ServerResponse, bookings: readonly Booking[], reference: string) => void) | undefined;
  /** Players whose answer to a call is lost on the way: `booked` says whether the call itself arrived. */
  readonly losing = new Map<
    string,
    {
      readonly what: Direction;
      readonly booked: boolean;
      times: number;
      /** It works on: the booking comes so long after the connection broke. */ readonly lateMs?: number;
    }
  >();
  calls: OperatorCall[] = [];
  books: Booking[] = [];

  private constructor(
    private readonly server: http.Server,
    readonly url: string,
  ) {}

  static async start(): Promise<FakeOperator> {
    const server = http.createServer((request, response) => void operator.receive(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const operator = new FakeOperator(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return operator;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** In cents; what it gave the player less what it took. */
  net(playerId: string): number {
    return this.books
      .filter((booking) => booking.playerId === playerId)
      .reduce((sum, { direction, amount }) => sum + (direction === 'withdraw' ? -amount : amount) * 100, 0);
  }

  callsOf(playerId: string): string[] {
    return this.calls.filter((call) => call.playerId === playerId).map(({ what, reference }) => `${what} ${reference}`);
  }

  private async receive(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', 'http://operator');
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.method === 'GET') {
      const reference = url.searchParams.get('reference') ?? '';
      const bet = reference.replace(/^rollback:/, '');
      this.calls.push({ playerId: bet.slice(bet.indexOf('@') + 1), what: 'ask', reference });
      if (this.endlessList) return drip(response);
      if (this.listAs !== undefined)
        return this.listAs(
          response,
          this.books.filter((booking) => booking.reference === reference),
          reference,
        );
      return void answer(
        200,
        this.books.filter((booking) => booking.reference === reference),
      );
    }
    const [, playerId = '', what = ''] =
      /^\/v2\/players\/([^/]+)\/(withdraw|deposit|rollback)$/.exec(url.pathname) ?? [];
    const { reference, amount, originalReference } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as {
      reference: string;
      amount: number;
      originalReference?: string;
    };
    const direction = what as Direction;
    this.calls.push({ playerId, what: direction, reference });
    const loss = this.losing.get(playerId);
    const lost = loss?.what === direction && loss.times > 0;
    if (lost) loss.times -= 1;
    const known =
      this.recognisesReferences &&
      this.books.some((booking) => booking.reference === reference && booking.direction === direction);
    const book = () =>
      void this.books.push({ playerId, direction, reference, originalReference: originalReference ?? null, amount });
    if (lost && loss.booked && loss.lateMs !== undefined) setTimeout(book, loss.lateMs);
    else if (!known && (!lost || loss.booked)) book();
    if (lost) return void response.socket?.resetAndDestroy();
    answer(200, { status: 'OK', balance: 1000 });
  }
}

function drip(response: http.ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).write('[');
  const timer = setInterval(() => response.write(' '), 20);
  response.once('close', () => clearInterval(timer));
}
