import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench';
import { ConnectionPool, KeepAlive, TOKEN, percentile, signedDebits, signedPost } from './load';
import { freshDatabase, withHub } from './stage';

const RATE_PER_SECOND = 200;
/** Each sends its next request when the answer to the one before is there. */
const CALLERS = 8;

/** The most expensive requests that the hub was known to take, each from somebody who repeats it as fast as he is answered. */
const NOISES: Readonly<Record<'body' | 'query' | 'document', (host: string) => readonly Buffer[]>> = {
  body: (host) => [
    // 6 500 unknown fields; 15 000 objects in a list; escapes to the brim, which the thorough reader takes letter by letter.
    `{${Array.from({ length: 6_500 }, (_, n) => `"f${n}":1`).join(',')}}`.slice(0, 65_000),
    `{"playerId":[${Array(15_000).fill('{}').join(',')}]}`,
    `{"meta":{"a":"${'\\u0041'.repeat(10_500)}"}}`,
    `{"meta":{${Array.from({ length: 2_000 }, (_, n) => `"\\u0041${n}":[{}]`).join(',')}}}`,
  ].map((body) => signedPost('/wallet/debit', body, host)),
  query: (host) => [Array.from({ length: 2_000 }, (_, n) => `p${n}=1`).join('&'), `refId=${'%00'.repeat(4_000)}`, `${'playerId=a&'.repeat(1_000)}limit=1`].map((query) => Buffer.from(`GET /webhooks/outbox?${query} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`)),
  document: (host) => ['/swagger-yaml', '/swagger-json', '/swagger/swagger-ui-init.js', '/swagger/swagger-ui-bundle.js'].map((path) => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)),
};

/** p99 of a quiet caller's debits beside eight who send the worst of one kind. The yardstick is the same caller alone, in windows that alternate with the noisy ones. */
export const hostile: Bench = {
  name: 'hostile',
  figures: Object.keys(NOISES).map((kind) => `hostile_${kind}_p99_ms`),
  run: async ({ serverUrl, quick, rounds, report, note }) => {
    const seconds = quick ? 2 : 12;
    const database = await freshDatabase(serverUrl, 'bench_hostile');
    await withHub({ DATABASE_URL: database, ROLE: 'api', NODE_ENV: 'development' }, async ({ port }) => {
      const host = `127.0.0.1:${port}`;
      await quiet(port, 400, 'warm');
      for (const [kind, requests] of Object.entries(NOISES)) {
        const alone: number[] = [];
        const beside: number[] = [];
        let answered = 0;
        for (let round = 0; round < rounds; round += 1) {
          alone.push(...(await quiet(port, seconds * RATE_PER_SECOND, `${kind}-alone-${round}`)));
          const noise = await Noise.start(port, requests(host));
          beside.push(...(await quiet(port, seconds * RATE_PER_SECOND, `${kind}-beside-${round}`)));
          answered += await noise.stop();
        }
        const p99 = (latencies: readonly number[]): number => percentile(Float64Array.from(latencies).sort(), 0.99);
        report({ name: `hostile_${kind}_p99_ms`, value: p99(beside), unit: 'ms', yardstick: 'the same caller alone', yardstickValue: p99(alone), rounds });
        note(`  ${kind}: ${alone.length} quiet samples, ${beside.length} beside ${CALLERS} callers who got ${Math.round(answered / (seconds * rounds))} answers a second`);
      }
    });
  },
};

/** Open loop, so that a stall is seen by all who came during it. Milliseconds from sending a debit to its answer. */
async function quiet(port: number, count: number, prefix: string): Promise<number[]> {
  const requests = signedDebits(count, { host: `127.0.0.1:${port}`, players: 5_000, prefix });
  const connections = new ConnectionPool(port);
  const latencies: number[] = [];
  const sends: Promise<void>[] = [];
  const started = performance.now();
  for (const [index, request] of requests.entries()) {
    const due = started + (index * 1000) / RATE_PER_SECOND;
    const wait = due - performance.now();
    if (wait > 0) await delay(wait);
    const at = performance.now();
    sends.push(
      connections.send(request).then((status) => {
        if (status !== 200) throw new Error(`a debit was answered ${status}`);
        latencies.push(performance.now() - at);
      }),
    );
  }
  await Promise.all(sends);
  connections.close();
  return latencies;
}

/** Eight callers that go on until they are stopped. */
class Noise {
  private running = true;
  private answered = 0;
  private callers: Promise<void>[] = [];

  static async start(port: number, requests: readonly Buffer[]): Promise<Noise> {
    const noise = new Noise();
    const connections = await Promise.all(Array.from({ length: CALLERS }, () => KeepAlive.open(port)));
    noise.callers = connections.map(async (connection, caller) => {
      for (let n = caller; noise.running; n += 1) {
        await connection.send(requests[n % requests.length] as Buffer);
        noise.answered += 1;
      }
      connection.close();
    });
    return noise;
  }

  async stop(): Promise<number> {
    this.running = false;
    await Promise.all(this.callers);
    return this.answered;
  }
}
