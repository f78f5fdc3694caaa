import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startMockOperator } from '../../mocks/operator/start';
import { startMockRgs } from '../../mocks/rgs/start';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { HubProcess } from '../../test/support/hub/hub-process';
import { endAllOnSignals, withOwned } from '../../test/support/leftovers';
import { type FuzzReport, fuzz } from './run';

const HELP = `npm run fuzz [-- options]

  --requests N   how many, 100000 by default
  --seed N       repeats the requests of a run; which ids they name depends on the hub's answers
  --short        5000 requests and a tenth of the coverage

Starts its own hub on its own database, on 127.0.0.1 only. The last line is JSON. Exit code 1: something was found.
`;

const TOKEN = 'change_token';
const SECRET = 'change_secret';

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string' },
      seed: { type: 'string' },
      short: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stderr.write(HELP);
    return 0;
  }
  const requests = Number(values.requests ?? (values.short ? 5_000 : 100_000));
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  if (!Number.isSafeInteger(requests) || requests < 1 || !Number.isSafeInteger(seed)) throw new Error(HELP);
  const note = (text: string): void => void process.stderr.write(`${text}\n`);
  note(
    `seed ${seed}; npm run fuzz -- --seed ${seed}${requests === 100_000 ? '' : ` --requests ${requests}`} repeats it`,
  );

  endAllOnSignals();
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'hub-fuzz-'));
  const end = async (database: EmbeddedPostgres): Promise<void> => {
    await database.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  const report = await withOwned(startEmbeddedPostgres({ dataDir, settings: { fsync: 'off' } }), end, (database) =>
    fuzzHubOn(database, requests, seed, note),
  );
  tell(report);
  return report.findings.length === 0 ? 0 : 1;
}

async function fuzzHubOn(
  { url: databaseUrl, ownerUrl }: EmbeddedPostgres,
  requests: number,
  seed: number,
  note: (text: string) => void,
): Promise<FuzzReport> {
  const operator = await startMockOperator();
  const rgs = await startMockRgs();
  let hub: HubProcess | undefined;
  try {
    hub = await HubProcess.start({
      NODE_ENV: 'development',
      DATABASE_URL: databaseUrl,
      DATABASE_OWNER_URL: ownerUrl,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
      RATE_LIMIT_PER_MINUTE: '0',
      REFUSALS_PER_SECOND: '0',
      OUTBOX_RETRY_SCHEDULE_SECONDS: '0.1,0.1,0.2',
      LOG_LEVEL: 'error',
    });
    operator.settings.hubUrl = hub.url;
    const { child } = hub;
    const whole = requests >= 50_000;
    const report = await fuzz(
      {
        url: hub.url,
        token: TOKEN,
        secret: SECRET,
        operatorUrl: operator.url,
        alive: () => child.exitCode === null && child.signalCode === null,
      },
      {
        seed,
        requests,
        past: whole ? 200 : Math.floor(requests / 250),
        good: whole ? 20 : Math.floor(requests / 2_500),
        note,
      },
    );
    if (report.findings.length > 0) note(`the hub's log:\n${hub.log().slice(-20_000)}`);
    return report;
  } finally {
    await hub?.end('SIGTERM');
    await operator.close();
    await rgs.close();
  }
}

function tell({ coverage, ...report }: FuzzReport): void {
  const lines = Object.entries(coverage).map(
    ([id, { sent, past, good }]) =>
      `${id.padEnd(22)} ${String(sent).padStart(6)} ${String(past).padStart(6)} ${String(good).padStart(6)}`,
  );
  process.stdout.write(
    `${'operation'.padEnd(22)} ${'sent'.padStart(6)} ${'past'.padStart(6)} ${'2xx'.padStart(6)}\n${lines.join('\n')}\n`,
  );
  const least = Object.values(coverage).reduce(
    (least, { past, good }) => ({ past: Math.min(least.past, past), good: Math.min(least.good, good) }),
    { past: Infinity, good: Infinity },
  );
  process.stdout.write(
    `${JSON.stringify({ ...report, findings: report.findings.length, found: report.findings.map(({ kind, what, serial }) => ({ kind, what, serial })), operations: lines.length, least })}\n`,
  );
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(2);
  },
);
