import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench';
import { ConnectionPool, percentile, signedDebits } from './load';
import { withReceiver } from './receiver';
import { median } from './report';
import { freshDatabase, withHub } from './stage';

const RATE_PER_SECOND = 50;
const OPERATOR_MS = 100;

/**
 * What `Prefer: wait` adds to an operator that answers in 100 ms: the median time of a waiting debit less the median
 * time that the same operator takes by itself, from the arrival of the call to its answer, in the same seconds.
 */
export const wait: Bench = {
  name: 'wait',
  figures: ['wait_added_p50_ms', 'wait_added_p99_ms'],
  run: async ({ serverUrl, quick, rounds, report }) => {
    const count = RATE_PER_SECOND * (quick ? 2 : 8);
    let operator: number[] = [];
    const answer = (path: string): string | Promise<string> => {
      if (path === '/webhooks') return '{}';
      const at = performance.now();
      return delay(OPERATOR_MS).then(() => {
        operator.push(performance.now() - at);
        return '{"status":"OK","balance":1.00}';
      });
    };
    const p50: number[] = [];
    const p99: number[] = [];
    const alone: number[] = [];
    await withReceiver(answer, async (url) => {
      const database = await freshDatabase(serverUrl, 'bench_wait');
      await withHub(
        { DATABASE_URL: database, OPERATOR_BASE_URL: url, RGS_WEBHOOK_URL: `${url}/webhooks` },
        async ({ port }) => {
          await waits(port, RATE_PER_SECOND, 'warm');
          for (let round = 0; round < rounds; round += 1) {
            operator = [];
            const took = await waits(port, count, `run-${round}`);
            const own = Float64Array.from(operator).sort();
            p50.push(percentile(took, 0.5) - percentile(own, 0.5));
            p99.push(percentile(took, 0.99) - percentile(own, 0.99));
            alone.push(percentile(own, 0.5));
          }
        },
      );
    });
    const yardstick = `an operator's own p50, answering after ${OPERATOR_MS} ms`;
    report({
      name: 'wait_added_p50_ms',
      value: median(p50),
      unit: 'ms',
      yardstick,
      yardstickValue: median(alone),
      rounds,
    });
    report({
      name: 'wait_added_p99_ms',
      value: median(p99),
      unit: 'ms',
      yardstick,
      yardstickValue: median(alone),
      rounds,
    });
  },
};

/** Milliseconds from sending each debit to its outcome, sorted; open loop. */
async function waits(port: number, count: number, prefix: string): Promise<Float64Array> {
  const requests = signedDebits(count, {
    host: `127.0.0.1:${port}`,
    players: 5_000,
    prefix,
    header: 'Prefer: wait=10\r\n',
  });
  const connections = new ConnectionPool(port);
  const started = performance.now();
  const took = await Promise.all(
    requests.map(async (request, index) => {
      await delay(Math.max(0, started + (index * 1000) / RATE_PER_SECOND - performance.now()));
      const at = performance.now();
      const status = await connections.send(request);
      // 202 would say that the outcome was not known in time.
      if (status !== 200) throw new Error(`a waiting debit was answered ${status}`);
      return performance.now() - at;
    }),
  );
  connections.close();
  return Float64Array.from(took).sort();
}
