import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface ScriptedCall {
  readonly playerId: string;
  readonly direction: string;
  readonly reference: string;
  readonly correlationId: string;
  readonly amount: number;
  /** 1 for the first call of this player and direction. */
  readonly nth: number;
}

export interface Reply {
  status(code: number, body?: unknown, headers?: Readonly<Record<string, string>>): void;
  /** OK, booked, with the balance given. */
  ok(balance?: number): void;
  /** The connection breaks without an answer. */
  reset(): void;
  /** Books the call now or later, whatever the hub was told. */
  book(afterMs?: number): Promise<void>;
}

/** A wallet whose every answer a test writes down, player by player. Without a script it books once and says OK. */
export class ScriptedOperator {
  readonly calls: ScriptedCall[] = [];
  readonly questions: string[] = [];
  readonly books: ScriptedCall[] = [];
  private readonly scripts = new Map<string, (call: ScriptedCall, reply: Reply) => void | Promise<void>>();
  /** Answers a look-up by reference in its own time; `rows` are the bookings when it was asked. */
  onQuestion: (
    reference: string,
    rows: readonly object[],
    response: http.ServerResponse,
    nth: number,
  ) => void | Promise<void> = (_reference, rows, response) =>
    void response.setHeader('content-type', 'application/json').end(JSON.stringify(rows));

  private constructor(
    private readonly server: http.Server,
    readonly url: string,
  ) {}

  static async start(): Promise<ScriptedOperator> {
    const server = http.createServer((request, response) => void operator.receive(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const operator = new ScriptedOperator(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return operator;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  script(playerId: string, script: (call: ScriptedCall, reply: Reply) => void | Promise<void>): void {
    this.scripts.set(playerId, script);
  }

  callsOf(playerId: string): string[] {
    return this.calls.filter((call) => call.playerId === playerId).map(({ direction }) => direction);
  }

  booked(playerId: string): string[] {
    return this.books.filter((call) => call.playerId === playerId).map(({ direction }) => direction);
  }

  private async receive(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', 'http://operator');
    if (request.method === 'GET') {
      const reference = url.searchParams.get('reference') ?? '';
      this.questions.push(reference);
      const rows = this.books
        .filter((booking) => booking.reference === reference)
        .map(({ playerId, direction, correlationId, amount }) => ({
          reference,
          playerId,
          direction,
          correlationId,
          amount,
          currency: 'USD',
          status: 'OK',
        }));
      return void (await this.onQuestion(
        reference,
        rows,
        response,
        this.questions.filter((each) => each === reference).length,
      ));
    }
    const [, playerId = '', direction = ''] = /^\/v2\/players\/([^/]+)\/(\w+)$/.exec(url.pathname) ?? [];
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as {
      reference: string;
      correlationId: string;
      amount: number;
    };
    const nth = 1 + this.calls.filter((call) => call.playerId === playerId && call.direction === direction).length;
    const call: ScriptedCall = { playerId, direction, nth, ...body };
    this.calls.push(call);
    const known = () =>
      this.books.some((booking) => booking.reference === call.reference && booking.direction === direction);
    const status = (code: number, answer: unknown = {}, headers = {}): void =>
      void response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(answer));
    const reply: Reply = {
      status,
      ok: (balance) => {
        if (!known()) this.books.push(call);
        status(200, { status: 'OK', correlationId: call.correlationId, ...(balance === undefined ? {} : { balance }) });
      },
      reset: () => void request.socket.resetAndDestroy(),
      book: async (afterMs = 0) => {
        if (afterMs > 0) await delay(afterMs);
        this.books.push(call);
      },
    };
    await (this.scripts.get(playerId) ?? ((_call, { ok }) => ok()))(call, reply);
  }
}
