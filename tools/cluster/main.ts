import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { endAllOnSignals, withOwned } from '../../test/support/leftovers';
import { Cluster } from './cluster';
import { makeNextBuild } from './next-build';
import { isClean, rollingRestart } from './rolling-restart';

const USAGE = `npm run cluster -- [--api 3] [--workers 3] [--port 8000] [--no-replica] [--pgbouncer FILE] [--restart-under-load [--upgrade]] [--callers 24]
Runs an embedded PostgreSQL with a streaming replica for reports, api processes behind a balancer, workers and both mocks, until Ctrl-C.
--restart-under-load restarts every process in turn under load, says what became of each debit, and ends: exit code 0 when no request
failed and no debit was lost or booked twice. With --upgrade each is replaced by a build with one changed SQL function and its migration.
`;

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} must be a whole number\n${USAGE}`);
  return value;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      api: { type: 'string', default: '3' },
      workers: { type: 'string', default: '3' },
      port: { type: 'string' },
      'no-replica': { type: 'boolean', default: false },
      pgbouncer: { type: 'string' },
      'restart-under-load': { type: 'boolean', default: false },
      upgrade: { type: 'boolean', default: false },
      callers: { type: 'string', default: '24' },
    },
  });
  const isProof = values['restart-under-load'];
  if (values.upgrade && !isProof) throw new Error(`--upgrade goes with --restart-under-load\n${USAGE}`);
  const next = values.upgrade ? makeNextBuild() : undefined;
  const directory = mkdtempSync(path.join(os.tmpdir(), 'hub-cluster-'));
  say(`starting; logs are in ${directory}`);
  // Until somebody stops it is how long it is to run.
  endAllOnSignals(isProof ? undefined : 0);
  const starting = Cluster.start({
    directory,
    api: wholeNumber('api', values.api),
    workers: wholeNumber('workers', values.workers),
    replica: !values['no-replica'],
    pgbouncer: values.pgbouncer,
    port: wholeNumber('port', values.port ?? (isProof ? '0' : '8000')),
    env: { LOG_LEVEL: 'warn' },
  });
  let clean = true;
  const end = async (cluster: Cluster): Promise<void> => {
    await cluster.stop();
    next?.remove();
    if (clean) rmSync(directory, { recursive: true, force: true });
    else say(`logs are kept in ${directory}`);
  };
  await withOwned(starting, end, async (cluster) => {
    printUrls(cluster, directory);
    if (!isProof) return new Promise<void>(() => undefined);
    clean = false;
    const callers = wholeNumber('callers', values.callers);
    const result = await rollingRestart(cluster, { callers, next, log: say });
    process.stdout.write(`${JSON.stringify(result)}\n`);
    clean = isClean(result);
  });
  process.exitCode = clean ? 0 : 1;
}

function printUrls(cluster: Cluster, directory: string): void {
  const [database, replica] = [cluster.postgres, cluster.replica].map((server) =>
    server === undefined ? undefined : withoutPassword(server.url),
  );
  say(`
  hub            ${cluster.balancer.url}   (balancer)
  api            ${cluster.api.map(({ url }) => url).join('  ')}
  workers        ${cluster.workers.map(({ url }) => url).join('  ')}
  mock operator  ${cluster.operator.url}
  mock RGS       ${cluster.rgs.url}
  PostgreSQL     ${database}   (its password stands in ${path.join(directory, 'primary', 'postgres.json')})${replica === undefined ? '' : `\n  its replica    ${replica}`}
`);
}

function withoutPassword(url: string): string {
  const parts = new URL(url);
  parts.password = '';
  return parts.toString();
}

main().catch((error: unknown) => {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 2;
});
