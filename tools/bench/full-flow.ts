import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench';
import { ConnectionPool, signedDebits, signedPost } from './load';
import { withReceiver } from './receiver';
import { median } from './report';
import { type Measured, freshDatabase, withHub, withProgram } from './stage';
import { cpuSeconds, residentMb } from './usage';

/** Movements under way at once: enough to keep every stage busy, few enough that none of them queues for long. */
const FLOWS = 128;
const PLAYERS = 5_000;
const WARM_SECONDS = 2;
const FLOWS_PER_SECOND_MAX = 3_000;

/**
 * Whole movements per second: a signed debit, the call to the operator, the operator's signed callback, and the webhook
 * to the RGS. A movement is over when the RGS has its webhook and the callback its answer, and only then the next
 * begins, so the figure is what the hub sustains and no backlog hides in it. The yardstick does the same four steps on
 * bare node:http, with one commit of one row for each.
 */
export const fullFlow: Bench = {
  name: 'full-flow',
  figures: ['full_flow', 'full_flow_rss_growth_mb'],
  run: async ({ serverUrl, quick, rounds, report, note }) => {
    // The memory of one long round tells more than that of three short ones; a quick run only looks at the pace.
    const seconds = quick ? [4, 3, 3] : [60, 10, 10];
    const flows: number[] = [];
    const bare: number[] = [];
    const growth: number[] = [];
    await withPartners(async (partners, url) => {
      const env = {
        DATABASE_URL: await freshDatabase(serverUrl, 'bench_flow'),
        OPERATOR_BASE_URL: url,
        RGS_WEBHOOK_URL: `${url}/webhooks`,
      };
      const yardstick = { DATABASE_URL: await freshDatabase(serverUrl, 'bench_flow_bare'), PARTNER_URL: url };
      await withHub(env, (hub) =>
        withProgram('bare-flow.js', [], yardstick, async (bareHub) => {
          await partners.drive(hub, WARM_SECONDS, 'warm');
          await partners.drive(bareHub, WARM_SECONDS, 'warm');
          for (let round = 0; round < rounds; round += 1) {
            const result = await partners.drive(hub, seconds[round] ?? 3, `run-${round}`);
            flows.push(result.perSecond);
            if (round === 0) growth.push(result.rssGrowthMb);
            note(
              `  ${result.perSecond.toFixed(0)}/s over ${seconds[round]} s, ${result.hubMicros.toFixed(0)} us of the hub's CPU and ${result.generatorMicros.toFixed(0)} us of load and partners per movement, resident ${result.rssMb.toFixed(0)} MB`,
            );
            bare.push((await partners.drive(bareHub, Math.min(seconds[round] ?? 3, 10), `run-${round}`)).perSecond);
          }
        }),
      );
    });
    const name = 'the same four steps on bare node:http, one commit each';
    report({
      name: 'full_flow',
      value: median(flows),
      unit: 'movements/s',
      yardstick: name,
      yardstickValue: median(bare),
      rounds,
    });
    if (!quick)
      report({
        name: 'full_flow_rss_growth_mb',
        value: median(growth),
        unit: 'MB',
        yardstick: `second half of ${seconds[0]} s against the first`,
        yardstickValue: 1,
        rounds: 1,
      });
  },
};

interface FlowResult {
  readonly perSecond: number;
  /** Mean resident memory of the second half of the time less that of its second quarter. */
  readonly rssGrowthMb: number;
  readonly rssMb: number;
  readonly hubMicros: number;
  readonly generatorMicros: number;
}

/** The RGS and the operator: one process with the load generator, on sockets that cost next to nothing. */
class Partners {
  private hub: ConnectionPool | undefined;
  private host = '';
  private readonly open = new Map<string, { webhook: boolean; callback: boolean; done: () => void }>();
  private failure: Error | undefined;

  /** Answers the hub's calls. A movement's callback leaves as soon as its answer did. */
  readonly answer = (path: string, body: string): string => {
    if (path === '/webhooks') {
      this.over(/"refId":"([^"]+)"/.exec(body)?.[1] ?? '', 'webhook');
      return '{}';
    }
    const { amount, currency, reference, correlationId } = JSON.parse(body) as {
      amount: number;
      currency: string;
      reference: string;
      correlationId: string;
    };
    const playerId = decodeURIComponent(path.split('/')[3] ?? '');
    const callback = JSON.stringify({
      playerId,
      amount,
      currency,
      status: 'OK',
      event: 'withdraw',
      refId: reference,
      correlationId,
    });
    setImmediate(() => {
      this.hub?.send(signedPost('/webhooks/incoming', callback, this.host)).then(
        (status) =>
          status === 200 ? this.over(reference, 'callback') : this.fail(new Error(`a callback was answered ${status}`)),
        (error: unknown) => this.fail(error as Error),
      );
    });
    return '{"status":"OK","balance":1.00}';
  };

  async drive({ port, pid }: Measured, seconds: number, prefix: string): Promise<FlowResult> {
    this.hub = new ConnectionPool(port);
    this.host = `127.0.0.1:${port}`;
    const requests = signedDebits(seconds * FLOWS_PER_SECOND_MAX, {
      host: this.host,
      players: PLAYERS,
      prefix: `${prefix}-${port}`,
    });
    const memory: number[] = [];
    const sample = setInterval(() => memory.push(residentMb(pid)), 250);
    const [hubCpu, ownCpu, started] = [cpuSeconds(pid), process.cpuUsage(), performance.now()];
    const deadline = started + seconds * 1000;
    let next = 0;
    let finished = 0;
    await Promise.all(
      Array.from({ length: FLOWS }, async () => {
        for (let index = next++; index < requests.length && performance.now() < deadline; index = next++) {
          await this.flow(requests[index] as Buffer, `${prefix}-${port}-${index}`);
          finished += 1;
        }
      }),
    );
    const took = (performance.now() - started) / 1000;
    clearInterval(sample);
    const own = process.cpuUsage(ownCpu);
    this.hub.close();
    this.hub = undefined;
    const quarter = Math.floor(memory.length / 4);
    return {
      perSecond: finished / took,
      rssGrowthMb: mean(memory.slice(2 * quarter)) - mean(memory.slice(quarter, 2 * quarter)),
      rssMb: memory.at(-1) ?? Number.NaN,
      hubMicros: ((cpuSeconds(pid) - hubCpu) * 1e6) / finished,
      generatorMicros: (own.user + own.system) / finished,
    };
  }

  private async flow(request: Buffer, reference: string): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const over = new Promise<void>((resolve) =>
      this.open.set(reference, { webhook: false, callback: false, done: resolve }),
    );
    const status = await this.hub?.send(request);
    if (status !== 200) throw new Error(`a debit was answered ${status}`);
    const late = delay(10_000, 'late' as const, { ref: false });
    if ((await Promise.race([over, late])) === 'late')
      throw this.failure ?? new Error(`movement ${reference} was not over after 10 s`);
  }

  private over(reference: string, part: 'webhook' | 'callback'): void {
    const flow = this.open.get(reference);
    if (flow === undefined) return;
    flow[part] = true;
    if (!flow.webhook || !flow.callback) return;
    this.open.delete(reference);
    flow.done();
  }

  private fail(error: Error): void {
    this.failure ??= error;
  }
}

async function withPartners<T>(work: (partners: Partners, url: string) => Promise<T>): Promise<T> {
  const partners = new Partners();
  return withReceiver(partners.answer, (url) => work(partners, url));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
