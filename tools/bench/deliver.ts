import type { Bench } from './bench';
import { blast, signedDebits } from './load';
import { withReceiver } from './receiver';
import { median } from './report';
import { freshDatabase, withHub, withProgram } from './stage';
import { cpuSeconds } from './usage';

const PLAYERS = 3_000;
const SLOTS = 64;

/**
 * Messages per second that one worker delivers over real HTTP: each movement is called in at the operator, settled, and
 * told to the RGS, so a movement is two messages. The movements are accepted before, while nobody delivers. The
 * yardstick is a bare node:http client that posts the same bodies to the same receiver over as many connections, with
 * no database and no signature.
 */
export const deliver: Bench = {
  name: 'deliver',
  figures: ['deliver_http'],
  run: async ({ serverUrl, quick, rounds, report, note }) => {
    const movements = quick ? 4_000 : 10_000;
    const delivered: number[] = [];
    const bare: number[] = [];
    const micros: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const count = new Count(2 * movements);
      const answer = (path: string): string => {
        count.one();
        return path === '/webhooks' ? '{}' : '{"status":"OK","balance":1.00}';
      };
      await withReceiver(answer, async (url) => {
        const database = await freshDatabase(serverUrl, 'bench_deliver');
        const partners = {
          DATABASE_URL: database,
          OPERATOR_BASE_URL: url,
          RGS_WEBHOOK_URL: `${url}/webhooks`,
          OUTBOX_CONCURRENCY: String(SLOTS),
          DEBIT_DEADLINE_SECONDS: '0',
        };
        await withHub({ ...partners, ROLE: 'api' }, async ({ port }) => {
          const { failures } = await blast(
            [port],
            signedDebits(movements, { host: '127.0.0.1', players: PLAYERS, prefix: 'deliver' }),
            64,
          );
          if (failures > 0) throw new Error(`${failures} debits were not accepted`);
        });
        await withHub({ ...partners, ROLE: 'worker' }, async ({ pid }) => {
          await count.first;
          const used = cpuSeconds(pid);
          delivered.push(await count.perSecond());
          micros.push(((cpuSeconds(pid) - used) * 1e6) / (2 * movements));
        });
      });
      const repeat = new Count(2 * movements);
      await withReceiver(
        () => {
          repeat.one();
          return '{"status":"OK","balance":1.00}';
        },
        (url) =>
          withProgram(
            'bare-client.js',
            [url, String(2 * movements), String(SLOTS)],
            {},
            async () => void bare.push(await repeat.perSecond()),
          ),
      );
    }
    report({
      name: 'deliver_http',
      value: median(delivered),
      unit: 'messages/s',
      yardstick: `bare node:http client, ${SLOTS} connections`,
      yardstickValue: median(bare),
      rounds,
    });
    note(`  ${median(micros).toFixed(0)} us of the worker's CPU per message`);
  },
};

/** Counts to `total` and tells the pace between the first and the last. */
class Count {
  private seen = 0;
  private firstAt = 0;
  private begin: () => void = () => undefined;
  private finish: () => void = () => undefined;
  readonly first = new Promise<void>((resolve) => (this.begin = resolve));
  private readonly last = new Promise<void>((resolve) => (this.finish = resolve));

  constructor(private readonly total: number) {}

  one(): void {
    this.seen += 1;
    if (this.seen === 1) {
      this.firstAt = performance.now();
      this.begin();
    }
    if (this.seen === this.total) this.finish();
  }

  async perSecond(): Promise<number> {
    await this.last;
    return this.total / ((performance.now() - this.firstAt) / 1000);
  }
}
