import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench';
import { ConnectionPool, blast, percentile, signedDebits, signedPost } from './load';
import { withReceiver } from './receiver';
import { median } from './report';
import { freshDatabase, query, withHub } from './stage';

/** What the operator takes; of it the quiet game server uses a fifth, less than its half. */
const OPERATOR_PER_SECOND = 50;
const QUIET_PER_SECOND = 10;
const LOUD = { token: 'token-of-the-loud-rgs', secret: 'secret-of-the-loud-rgs' };
/**
 * More requests of the loud one than this are never open at once: beyond it the hub, not the operator, would be the
 * limit.
 */
const LOUD_OPEN_MAX = 256;

/**
 * From sending a bet to its arrival at the operator, for a game server that sends little, beside one that offers half
 * of what the hub can accept: on an idle machine more than ten times what the operator takes. Alone and beside
 * alternate, each at a hub of its own: the loud one's queue outlasts its window.
 */
export const noisyNeighbour: Bench = {
  name: 'noisy_neighbour',
  figures: ['noisy_neighbour_p50_ms', 'noisy_neighbour_p99_ms', 'noisy_neighbour_bets_lost'],
  run: async ({ serverUrl, quick, rounds, report, note }) => {
    const seconds = quick ? 4 : 40;
    const arrivedAt = new Map<string, number>();
    const arrival = (_path: string, body: string): string => {
      const at = performance.now();
      const reference = /"reference":"([^"]+)"/.exec(body)?.[1];
      if (reference !== undefined && !arrivedAt.has(reference)) arrivedAt.set(reference, at);
      return '{"status":"OK","balance":1.00}';
    };
    await withReceiver(arrival, async (url) => {
      const databases = [
        await freshDatabase(serverUrl, 'bench_noisy_alone'),
        await freshDatabase(serverUrl, 'bench_noisy_beside'),
      ] as const;
      const env = {
        OPERATOR_BASE_URL: url,
        RGS_WEBHOOK_URL: `${url}/webhooks`,
        RATE_LIMIT_PER_MINUTE: String(OPERATOR_PER_SECOND * 60),
        DEBIT_DEADLINE_SECONDS: '10',
      };
      await withHub({ ...env, DATABASE_URL: databases[0] }, async (alone) =>
        withHub({ ...env, DATABASE_URL: databases[1] }, async (beside) => {
          await addLoud(databases[1], url, beside.port);
          const capacity = await acceptedPerSecond(serverUrl);
          const loudPerSecond = Math.round(capacity / 2);
          const figures = { alone: [] as Times[], beside: [] as Times[] };
          const loudPaces: number[] = [];
          for (const { port } of [alone, beside]) await quiet(port, 2, `warm-${port}`, arrivedAt);
          for (let round = 0; round < rounds; round += 1) {
            figures.alone.push(await quiet(alone.port, seconds, `alone-${round}`, arrivedAt));
            const loud = new Loud(beside.port, loudPerSecond, seconds, `loud-${round}`);
            figures.beside.push(await quiet(beside.port, seconds, `beside-${round}`, arrivedAt));
            loudPaces.push(await loud.stop());
          }
          const sorted = (windows: readonly Times[], what: keyof Times): Float64Array =>
            Float64Array.from(windows.flatMap((times) => times[what])).sort();
          for (const [name, share] of [
            ['p50', 0.5],
            ['p99', 0.99],
          ] as const)
            report({
              name: `noisy_neighbour_${name}_ms`,
              value: percentile(sorted(figures.beside, 'arrived'), share),
              unit: 'ms',
              yardstick: 'the same game server alone',
              yardstickValue: percentile(sorted(figures.alone, 'arrived'), share),
              rounds,
            });
          const [lost, ofAll] = await betsLost(databases[1], 'beside-');
          report({
            name: 'noisy_neighbour_bets_lost',
            value: lost,
            unit: 'bets',
            yardstick: 'bets of the quiet game server',
            yardstickValue: ofAll,
            rounds,
          });
          const toAnswer = (windows: readonly Times[]): string =>
            [0.5, 0.99].map((share) => percentile(sorted(windows, 'answered'), share).toFixed(1)).join(' / ');
          note(
            `  ${ofAll} bets beside ${Math.round(median(loudPaces))} credits/s of another (half of ${Math.round(capacity)}/s, what the hub accepts; the operator takes ${OPERATOR_PER_SECOND} calls/s)`,
          );
          note(
            `  to the hub's own answer: ${toAnswer(figures.beside)} ms beside, ${toAnswer(figures.alone)} ms alone (p50 / p99)`,
          );
        }),
      );
    });
  },
};

/** What a hub of its own accepts on this machine right now. */
async function acceptedPerSecond(serverUrl: string): Promise<number> {
  return withHub(
    { DATABASE_URL: await freshDatabase(serverUrl, 'bench_noisy_capacity'), ROLE: 'api' },
    async ({ port }) => {
      const requests = signedDebits(20_000, { host: `127.0.0.1:${port}`, players: 5_000, prefix: 'capacity' });
      await blast([port], requests.splice(0, 2_000), 64);
      return (await blast([port], requests, 64, 2)).perSecond;
    },
  );
}

async function addLoud(database: string, url: string, port: number): Promise<void> {
  await query(
    database,
    `with loud as (insert into partner (code, role, base_url, currencies) values ('loud', 'rgs', $1, '{USD}') returning id), token as (
       insert into partner_credential (partner_id, operator_id, kind, label, token_sha256) select loud.id, operator.id, 'bearer', 'bench', $2 from loud, partner operator where operator.code = 'operator'
     ) insert into partner_credential (partner_id, kind, label, secret) select id, 'signing', 'bench', $3 from loud`,
    [`${url}/webhooks`, createHash('sha256').update(LOUD.token).digest(), LOUD.secret],
  );
  const connections = new ConnectionPool(port);
  const until = performance.now() + 20_000;
  while ((await connections.send(loudCredit(port, 'hello'))) !== 200) {
    if (performance.now() > until) throw new Error('the hub does not know the second game server');
    await delay(200);
  }
  connections.close();
}

function loudCredit(port: number, reference: string): Buffer {
  return signedPost(
    '/wallet/credit',
    JSON.stringify({ playerId: `crowd-${reference}`, amountCents: 100, currency: 'USD', refId: reference }),
    `127.0.0.1:${port}`,
    '',
    LOUD,
  );
}

interface Times {
  /**
   * Milliseconds from sending a bet to its answer, and to its arrival at the operator; infinite for one that never
   * arrived.
   */
  readonly answered: readonly number[];
  readonly arrived: readonly number[];
}

/** Open loop at an even pace. */
async function quiet(
  port: number,
  seconds: number,
  prefix: string,
  arrivedAt: ReadonlyMap<string, number>,
): Promise<Times> {
  const requests = signedDebits(seconds * QUIET_PER_SECOND, { host: `127.0.0.1:${port}`, players: 5_000, prefix });
  const connections = new ConnectionPool(port);
  const started = performance.now();
  const sentAt: number[] = [];
  const answered: number[] = [];
  const sends: Promise<void>[] = [];
  for (const [index, request] of requests.entries()) {
    const wait = started + (index * 1000) / QUIET_PER_SECOND - performance.now();
    if (wait > 0) await delay(wait);
    const at = performance.now();
    sentAt.push(at);
    sends.push(
      connections.send(request).then((status) => {
        if (status !== 200) throw new Error(`a bet was answered ${status}`);
        answered.push(performance.now() - at);
      }),
    );
  }
  await Promise.all(sends);
  // A bet that did not arrive by its deadline never will.
  const until = performance.now() + 15_000;
  while (performance.now() < until && !requests.every((_, index) => arrivedAt.has(`${prefix}-${index}`)))
    await delay(20);
  connections.close();
  return { answered, arrived: sentAt.map((at, index) => (arrivedAt.get(`${prefix}-${index}`) ?? Infinity) - at) };
}

/** How many of these bets did not go through, and how many there were. */
async function betsLost(database: string, prefix: string): Promise<[number, number]> {
  const until = performance.now() + 15_000;
  for (;;) {
    const [row] = await query<{ lost: number; all: number }>(
      database,
      `select count(*) filter (where state <> 'confirmed')::integer as lost, count(*)::integer as all from wallet_transaction where ref_id like $1 || '%'`,
      [prefix],
    );
    if (row === undefined) throw new Error('an aggregate answers one row');
    if (row.lost === 0 || performance.now() > until) return [row.lost, row.all];
    await delay(100);
  }
}

/** A game server that goes on at its pace, whatever becomes of it. */
class Loud {
  private readonly connections: ConnectionPool;
  private readonly requests: Buffer[];
  private readonly sends = new Set<Promise<void>>();
  private readonly timer: NodeJS.Timeout;
  private readonly started: number;
  private next = 0;
  private accepted = 0;
  private endedAt = 0;

  constructor(port: number, perSecond: number, seconds: number, prefix: string) {
    this.connections = new ConnectionPool(port);
    this.requests = Array.from({ length: perSecond * seconds }, (_, index) => loudCredit(port, `${prefix}-${index}`));
    this.started = performance.now();
    this.timer = setInterval(() => this.catchUp(perSecond), 5);
  }

  /** How many a second were accepted while it went on. */
  async stop(): Promise<number> {
    clearInterval(this.timer);
    await Promise.all(this.sends);
    this.connections.close();
    return this.accepted / ((this.endedAt - this.started) / 1000);
  }

  private catchUp(perSecond: number): void {
    const due = Math.min(this.requests.length, Math.floor(((performance.now() - this.started) / 1000) * perSecond));
    while (this.next < due && this.sends.size < LOUD_OPEN_MAX) {
      const send = this.connections.send(this.requests[this.next] as Buffer).then((status) => {
        this.sends.delete(send);
        if (status !== 200) throw new Error(`a credit was answered ${status}`);
        this.accepted += 1;
        this.endedAt = performance.now();
      });
      this.sends.add(send);
      this.next += 1;
    }
  }
}
