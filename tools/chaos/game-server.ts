import { createHmac } from 'node:crypto';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Action, PlannedLook, PlannedRequest, PlayerScript } from './plan';
import { Random } from './prng';

/** One time that a request was sent. */
export interface Sending {
  readonly hub: number;
  /** ms since the start of the load. */
  readonly at: number;
  readonly endedAt: number;
  /** Null: no whole answer came. */
  readonly status: number | null;
  readonly replayed: boolean;
  readonly location: string | null;
  /** The answer's body as it came, or what went wrong. */
  readonly text: string;
}

export interface Sent {
  readonly request: PlannedRequest;
  readonly sendings: Sending[];
  /** Place in its player's script: groups of a smaller number were all answered before this was sent. */
  readonly group: number;
}

export interface Looked {
  readonly look: PlannedLook;
  readonly playerId: string;
  readonly group: number;
  readonly at: number;
  readonly endedAt: number;
  readonly transactionId: string;
  readonly state: string;
}

export interface GameServerLog {
  readonly sent: readonly Sent[];
  readonly looked: readonly Looked[];
  /** Requests that got no answer in time, in words. */
  readonly unanswered: readonly string[];
  /** Answers that no request of a sane caller should get (5xx with a body), by code. */
  readonly faults: Readonly<Record<string, number>>;
}

const ANSWER_MS_MAX = 4_000;
const GIVE_UP_MS = 120_000;
const BACKOFF_MS = [10, 30, 80, 150, 300] as const;
const SECRET = 'change_secret';
const TOKEN = 'change_token';

/**
 * The players' games: each script in its order, many scripts at once, and every request again and again until it has an
 * answer.
 */
export class GameServer {
  private readonly agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
  private readonly sent: Sent[] = [];
  private readonly looked: Looked[] = [];
  private readonly unanswered: string[] = [];
  private readonly faults = new Map<string, number>();
  private readonly started = performance.now();
  private turn = 0;
  answered = 0;
  /** Scripts from the first on that are played to their end; some of the later ones may be as well. */
  finished = 0;
  givenUp = 0;

  constructor(private readonly hubs: () => readonly { readonly index: number; readonly port: number }[]) {}

  async play(scripts: readonly PlayerScript[], atOnce: number, seed: number): Promise<GameServerLog> {
    let next = 0;
    const over = new Set<number>();
    await Promise.all(
      Array.from({ length: Math.min(atOnce, scripts.length) }, async () => {
        for (let index = next++; index < scripts.length; index = next++) {
          const script = scripts[index] as PlayerScript;
          await this.playOne(script, new Random(seed).fork(script.playerId));
          over.add(index);
          while (over.has(this.finished)) this.finished += 1;
        }
      }),
    );
    this.agent.destroy();
    return {
      sent: this.sent,
      looked: this.looked,
      unanswered: this.unanswered,
      faults: Object.fromEntries(this.faults),
    };
  }

  private async playOne({ playerId, groups }: PlayerScript, random: Random): Promise<void> {
    for (const [index, group] of groups.entries()) {
      const done = await Promise.all(group.map((action) => this.act(playerId, action, index, random)));
      // What follows would rest on an answer that nobody has.
      if (done.includes(false)) return;
    }
  }

  private async act(playerId: string, action: Action, group: number, random: Random): Promise<boolean> {
    switch (action.do) {
      case 'pause':
        await delay(action.ms);
        return true;
      case 'look':
        await this.look(playerId, action, group);
        return true;
      case 'close':
        return (await this.insist(() => this.post(`/rounds/${action.roundId}/close`, '', {}), 0)) !== undefined;
      case 'request':
        return this.request(action, group, random);
    }
  }

  private async request(request: PlannedRequest, group: number, random: Random): Promise<boolean> {
    const sent: Sent = { request, sendings: [], group };
    this.sent.push(sent);
    const body = JSON.stringify(request.body);
    const headers = {
      ...(request.key === null ? {} : { 'Idempotency-Key': request.key }),
      ...(request.waitSeconds === null ? {} : { Prefer: `wait=${request.waitSeconds}` }),
    };
    // Now and then an answer is lost on its way back, and the game server asks again although it was answered.
    const forgets = random.chance(0.04);
    const answer = await this.insist(
      async () => {
        const sending = await this.post(`/wallet/${request.route}`, body, headers, request.waitSeconds ?? 0);
        sent.sendings.push(sending);
        return sending;
      },
      random.integer(0, 20),
    );
    if (answer !== undefined && forgets)
      sent.sendings.push(await this.post(`/wallet/${request.route}`, body, headers, request.waitSeconds ?? 0));
    if (answer === undefined) {
      this.givenUp += 1;
      this.unanswered.push(
        `${request.route} ${request.body.refId} (${request.id}): ${sent.sendings
          .slice(-3)
          .map(({ status, text }) => `${status}: ${text.slice(0, 200)}`)
          .join(' | ')}`,
      );
    }
    this.answered += 1;
    return answer !== undefined;
  }

  /** Sends until somebody has answered for good: any hub will do. */
  private async insist(send: () => Promise<Sending>, jitterMs: number): Promise<Sending | undefined> {
    const deadline = performance.now() + GIVE_UP_MS;
    for (let attempt = 0; performance.now() < deadline; attempt++) {
      const sending = await send();
      if (sending.status !== null && sending.status < 500 && sending.status !== 429) return sending;
      if (sending.status !== null) this.count(sending);
      await delay((BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)] ?? 300) + jitterMs);
    }
    return undefined;
  }

  private async look(playerId: string, look: PlannedLook, group: number): Promise<void> {
    const query = new URLSearchParams({ playerId, refId: look.refId });
    const at = this.now();
    const answer = await this.call('GET', `/wallet/transactions?${query.toString()}`, '', {}, 0);
    if (answer.status !== 200) return;
    const { items } = JSON.parse(answer.text) as { items: { transactionId: string; event: string; state: string }[] };
    for (const item of items)
      if (item.event === look.route)
        this.looked.push({
          look,
          playerId,
          group,
          at,
          endedAt: this.now(),
          transactionId: item.transactionId,
          state: item.state,
        });
  }

  private post(path: string, body: string, headers: Record<string, string>, waitSeconds = 0): Promise<Sending> {
    return this.call('POST', path, body, headers, waitSeconds);
  }

  private call(
    method: string,
    path: string,
    body: string,
    headers: Record<string, string>,
    waitSeconds: number,
  ): Promise<Sending> {
    const hubs = this.hubs();
    const hub = hubs[this.turn++ % hubs.length];
    if (hub === undefined) throw new Error('there are no hubs');
    const at = this.now();
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const signature = createHmac('sha256', SECRET).update(`${timestamp}:${body}`).digest('hex');
    return new Promise((resolve) => {
      let over = false;
      const end = (status: number | null, text: string, answer?: http.IncomingMessage): void => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        resolve({
          hub: hub.index,
          at,
          endedAt: this.now(),
          status,
          replayed: answer?.headers['idempotent-replayed'] === 'true',
          location: answer?.headers.location ?? null,
          text,
        });
      };
      const request = http.request({
        host: '127.0.0.1',
        port: hub.port,
        method,
        path,
        agent: this.agent,
        headers: {
          Authorization: `Bearer ${TOKEN}`,
          'X-Timestamp': timestamp,
          'X-Signature': signature,
          ...(method === 'POST' && body !== '' ? { 'Content-Type': 'application/json' } : {}),
          'Content-Length': Buffer.byteLength(body),
          ...headers,
        },
      });
      const timer = setTimeout(
        () => {
          end(null, 'no answer in time');
          request.destroy();
        },
        ANSWER_MS_MAX + waitSeconds * 1000,
      );
      request.once('error', (error) => end(null, error.message));
      request.once('response', (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.once('error', (error) => end(null, error.message));
        answer.once('close', () =>
          end(answer.complete ? (answer.statusCode ?? null) : null, Buffer.concat(chunks).toString('utf8'), answer),
        );
      });
      request.end(body);
    });
  }

  private count({ text }: Sending): void {
    const code = /"code":"(\w+)"/.exec(text)?.[1] ?? 'unreadable';
    this.faults.set(code, (this.faults.get(code) ?? 0) + 1);
  }

  private now(): number {
    return performance.now() - this.started;
  }
}
