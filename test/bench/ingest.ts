import { commitLimit } from './commit-limit';
import { blast, percentile, signedDebits } from './load';
import { median, report } from './report';
import { freshDatabase, withHub } from './stage';

const CONNECTIONS = 64;

/** Accepted debits per second of one hub process, beside the commit limit of the same rows, in alternating rounds. */
export async function ingest(serverUrl: string, { rounds, seconds, role }: { rounds: number; seconds: number; role: 'api' | 'all' }): Promise<void> {
  const accepted: number[] = [];
  const limits: number[] = [];
  const p99: number[] = [];
  let driver = '';
  for (let round = 0; round < rounds; round += 1) {
    const database = await freshDatabase(serverUrl, 'bench_ingest');
    await withHub({ DATABASE_URL: database, ROLE: role }, async (port) => {
      const debits = (count: number, prefix: string) => signedDebits(count, { host: `127.0.0.1:${port}`, secret: 'change_secret', token: 'change_token', players: 5000, prefix });
      await blast(port, debits(3000, `warm-${round}`), CONNECTIONS);
      const result = await blast(port, debits(Math.round(3000 * seconds), `run-${round}`), CONNECTIONS);
      if (result.failures > 0) throw new Error(`${result.failures} of ${result.requests} debits were not accepted`);
      accepted.push(result.requests / result.seconds);
      p99.push(percentile(result.latencies, 0.99));
    });
    const limit = await commitLimit(await freshDatabase(serverUrl, 'bench_limit'), CONNECTIONS, seconds);
    limits.push(limit.perSecond);
    driver = limit.driver;
  }
  report({ name: 'ingest_http', value: median(accepted), unit: 'debits/s', yardstick: driver, yardstickValue: median(limits), rounds });
  process.stderr.write(`${' '.repeat(28)} p99 ${median(p99).toFixed(1)} ms at ${CONNECTIONS} connections\n`);
}
