import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench';
import { ConnectionPool, percentile, signedDebits } from './load';
import { CALLERS, NOISE_KINDS, type NoiseCommand, type NoiseHeard, type NoiseKind } from './noise';
import { median } from './report';
import { freshDatabase, withHub } from './stage';
import { cpuSeconds } from './usage';

const RATE_PER_SECOND = 200;
/** Twenty thousand samples of either kind, in windows short enough that what else the machine does falls into both. */
const FULL = { windows: 20, seconds: 5 };
const QUICK = { windows: 6, seconds: 4 };

/**
 * p99 of a quiet caller's debits beside eight who send the worst of one kind. The yardstick is the same caller alone,
 * in windows that alternate with the noisy ones.
 */
export const hostile: Bench = {
  name: 'hostile',
  figures: NOISE_KINDS.map((kind) => `hostile_${kind}_p99_ms`),
  run: async ({ serverUrl, quick, report, note }) => {
    const { windows, seconds } = quick ? QUICK : FULL;
    const count = seconds * RATE_PER_SECOND;
    const database = await freshDatabase(serverUrl, 'bench_hostile');
    await withHub({ DATABASE_URL: database, ROLE: 'api', NODE_ENV: 'development' }, async ({ port, pid }) => {
      const noise = new Noise(port);
      try {
        await quiet(port, 400, 'warm');
        for (const kind of NOISE_KINDS) {
          const alone: Float64Array[] = [];
          const beside: Float64Array[] = [];
          const heard: NoiseHeard[] = [];
          const hubCpu = { alone: 0, beside: 0 };
          for (let window = 0; window < windows; window += 1) {
            const started = cpuSeconds(pid);
            alone.push(await quiet(port, count, `${kind}-alone-${window}`));
            const between = cpuSeconds(pid);
            noise.begin(kind);
            beside.push(await quiet(port, count, `${kind}-beside-${window}`));
            heard.push(await noise.end());
            hubCpu.alone += between - started;
            hubCpu.beside += cpuSeconds(pid) - between;
          }
          const ofAll = (latencies: readonly Float64Array[], share: number): number =>
            percentile(Float64Array.from(latencies.flatMap((window) => [...window])).sort(), share);
          const p99 = (latencies: readonly Float64Array[]): number =>
            median(latencies.map((window) => percentile(window, 0.99)));
          report({
            name: `hostile_${kind}_p99_ms`,
            value: p99(beside),
            unit: 'ms',
            yardstick: 'the same caller alone',
            yardstickValue: p99(alone),
            rounds: windows,
          });
          const perSecond = (of: (window: NoiseHeard) => number): number =>
            heard.reduce((sum, window) => sum + of(window), 0) / (windows * seconds);
          const percent = (share: number): string => `${Math.round(share * 100)} %`;
          note(
            `  ${kind}: ${windows * count} debits alone and as many beside ${CALLERS} callers, who got ${Math.round(perSecond(({ answers }) => answers))} answers and ${perSecond(({ megabytes }) => megabytes).toFixed(1)} MB a second`,
          );
          note(
            `  ${kind}: over all of them ${[0.5, 0.99, 0.999].map((share) => `${ofAll(beside, share).toFixed(1)} ms beside and ${ofAll(alone, share).toFixed(1)} alone`).join(', ')} (p50, p99, p99.9)`,
          );
          note(
            `  ${kind}: of one core the hub took ${percent(hubCpu.beside / (windows * seconds))} beside and ${percent(hubCpu.alone / (windows * seconds))} alone, the callers ${percent(perSecond((window) => window.cpuSeconds))}`,
          );
        }
      } finally {
        noise.leave();
      }
    });
  },
};

/**
 * Milliseconds from sending a debit to its answer, sorted. Open loop, so that a stall is seen by all who came during
 * it.
 */
async function quiet(port: number, count: number, prefix: string): Promise<Float64Array> {
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
  return Float64Array.from(latencies).sort();
}

/** Eight callers in a process of their own, which go on until they are stopped. */
class Noise {
  private readonly child = fork(path.join(__dirname, 'noise.js'), { execArgv: [] });

  private readonly gone = once(this.child, 'exit').then(() => Promise.reject(new Error('the noise ended by itself')));

  constructor(private readonly port: number) {
    // After the last window it may end.
    this.gone.catch(() => undefined);
  }

  begin(kind: NoiseKind): void {
    this.tell({ begin: kind, port: this.port });
  }

  async end(): Promise<NoiseHeard> {
    const heard = Promise.race([once(this.child, 'message'), this.gone]);
    this.tell({ end: true });
    const [message] = (await heard) as [NoiseHeard];
    return message;
  }

  leave(): void {
    if (this.child.connected) this.child.disconnect();
  }

  private tell(command: NoiseCommand): void {
    this.child.send(command);
  }
}
