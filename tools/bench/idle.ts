import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench';
import { blast, signedDebits } from './load';
import { withReceiver } from './receiver';
import { freshDatabase, withHub, withProgram } from './stage';
import { cpuSeconds, residentMb } from './usage';

/** The longest back-off of the delivery loops and what a hub does when it finds itself idle lie within it. */
const SETTLE_SECONDS = 20;

/**
 * What a hub of all roles costs while nothing happens, beside a bare node:http server: CPU of its process, and resident
 * memory.
 */
export const idle: Bench = {
  name: 'idle',
  figures: ['idle_cpu_percent', 'idle_rss_mb'],
  run: async ({ serverUrl, quick, report, note }) => {
    if (process.platform !== 'linux') {
      note('  idle: the CPU and memory of other processes are read from /proc, which only Linux has');
      return;
    }
    const seconds = quick ? 10 : 30;
    const database = await freshDatabase(serverUrl, 'bench_idle');
    const answer = (path: string): string => (path === '/webhooks' ? '{}' : '{"status":"OK","balance":1.00}');
    await withReceiver(answer, (url) =>
      withHub(
        { DATABASE_URL: database, OPERATOR_BASE_URL: url, RGS_WEBHOOK_URL: `${url}/webhooks` },
        async ({ port, pid }) => {
          // It has worked before it rests: a hub that never did has not loaded half of what it runs on.
          await blast([port], signedDebits(200, { host: '127.0.0.1', players: 100, prefix: 'idle' }), 8);
          await withProgram('bare-server.js', ['http'], { DATABASE_URL: database }, async (bare) => {
            await delay(SETTLE_SECONDS * 1000);
            const before = [cpuSeconds(pid), cpuSeconds(bare.pid)];
            await delay(seconds * 1000);
            const percent = (now: number, then: number | undefined): number =>
              ((now - (then ?? Number.NaN)) / seconds) * 100;
            // A server that does nothing uses less than one tick of the clock, and a ratio needs something to divide
            // by.
            const bareCpu = Math.max(percent(cpuSeconds(bare.pid), before[1]), percent(0.01, 0));
            report({
              name: 'idle_cpu_percent',
              value: percent(cpuSeconds(pid), before[0]),
              unit: '% of a core',
              yardstick: 'bare node:http server',
              yardstickValue: bareCpu,
              rounds: 1,
            });
            report({
              name: 'idle_rss_mb',
              value: residentMb(pid),
              unit: 'MB',
              yardstick: 'bare node:http server',
              yardstickValue: residentMb(bare.pid),
              rounds: 1,
            });
          });
        },
      ),
    );
  },
};
