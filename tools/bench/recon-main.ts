import { readFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { type Line, lineOf, table } from './report';
import { BROKEN_PER_1000, HUB_SQL, ID_SQL } from './recon-world';
import { endAllOnSignals } from '../../test/support/leftovers';
import { type Measured, freshDatabase, query, withDatabase, withHub, withProgram } from './stage';

const HELP = `npm run bench:recon [-- options]

  --rows N    movements a side; default 1000000
  --heap MB   old-space limit of the hub under test
  --form F    pages (default) or array: how the partners list
  --small N   movements of the small run; default 9000, 0 leaves it out
`;
const TOTAL_SECONDS_MAX = 60;
const RSS_MB_MAX = 200;
const SMALL_SECONDS_MAX = 1;
const LOOK_MS = 50;

const lines: Line[] = [];
const note = (text: string): void => void process.stderr.write(`${text}\n`);
function report(name: string, value: number, unit: string, yardstick: string, yardstickValue: number): void {
  const line = lineOf({ name, value, unit, yardstick, yardstickValue, rounds: 1 });
  lines.push(line);
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function main(): Promise<void> {
  endAllOnSignals();
  const { values } = parseArgs({
    options: {
      rows: { type: 'string', default: '1000000' },
      heap: { type: 'string' },
      form: { type: 'string', default: 'pages' },
      small: { type: 'string', default: '9000' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stderr.write(HELP);
  const [rows, small] = [Number(values.rows), Number(values.small)];
  await withDatabase(async (serverUrl) => {
    const plain = await yardstick(serverUrl, rows);
    note(
      `plain COPY of ${3 * rows} rows and one GROUP BY: ${plain.copySeconds.toFixed(1)} s + ${plain.groupSeconds.toFixed(1)} s`,
    );
    const run = await reconcile(serverUrl, { rows, heapMb: values.heap, form: values.form });
    const total = plain.copySeconds + plain.groupSeconds;
    report('recon_total_seconds', run.seconds, 's', 'plain COPY + GROUP BY, s', total);
    report('recon_node_peak_rss_mb', run.peakRssMb, 'MB', 'target, MB', RSS_MB_MAX);
    report(
      'recon_ingest_rows_per_s',
      (2 * rows) / run.phases.ingesting,
      'rows/s',
      'plain COPY, rows/s',
      (3 * rows) / plain.copySeconds,
    );
    report(
      'recon_match_rows_per_s',
      (3 * rows) / run.phases.matching,
      'rows/s',
      'GROUP BY, rows/s',
      (3 * rows) / plain.groupSeconds,
    );
    report('recon_seal_items_per_s', run.items / run.phases.summarising, 'items/s', 'items', run.items);
    const faults = [
      ...(rows === 1_000_000 && run.seconds > TOTAL_SECONDS_MAX
        ? [`took ${run.seconds.toFixed(1)} s, at most ${TOTAL_SECONDS_MAX}`]
        : []),
      ...(run.peakRssMb > RSS_MB_MAX ? [`took ${run.peakRssMb.toFixed(0)} MB, at most ${RSS_MB_MAX}`] : []),
    ];
    if (small > 0) {
      const { seconds } = await reconcile(serverUrl, { rows: small, heapMb: values.heap, form: 'array' });
      report('recon_small_seconds', seconds, 's', 'target, s', SMALL_SECONDS_MAX);
      if (seconds > SMALL_SECONDS_MAX)
        faults.push(`the small call took ${seconds.toFixed(2)} s, at most ${SMALL_SECONDS_MAX}`);
    }
    process.stderr.write(`\n${table(lines, false)}\n`);
    if (faults.length > 0) throw new Error(faults.join('; '));
  });
}

interface Measurement {
  readonly seconds: number;
  readonly peakRssMb: number;
  readonly items: number;
  readonly phases: Readonly<Record<'ingesting' | 'matching' | 'summarising', number>>;
}

/** One legacy call over HTTP: from the request to the last byte of the file. */
async function reconcile(
  serverUrl: string,
  { rows, heapMb, form }: { rows: number; heapMb: string | undefined; form: string },
): Promise<Measurement> {
  const databaseUrl = await freshDatabase(serverUrl, `recon_${rows}`);
  return withProgram('recon-lists.js', [String(rows), form], {}, (lists) => {
    const env = {
      DATABASE_URL: databaseUrl,
      RGS_WEBHOOK_URL: `http://127.0.0.1:${lists.port}/webhooks`,
      OPERATOR_BASE_URL: `http://127.0.0.1:${lists.port}`,
      SUPPORTED_CURRENCIES: 'USD,EUR,GBP',
    };
    return withHub(
      env,
      async (hub) => {
        const [pair] = await query<{ operator: number; rgs: number }>(
          databaseUrl,
          `select (select id from partner where code = 'operator') as operator, (select id from partner where code = 'rgs') as rgs`,
        );
        await query(databaseUrl, HUB_SQL, [rows, pair?.operator, pair?.rgs]);
        await query(databaseUrl, 'vacuum analyze wallet_transaction');
        // Small runs are dominated by what a process does for the first time; a hub has been up for longer than that.
        if (rows < 100_000) await download(hub);
        const started = performance.now();
        const call = download(hub);
        const phases = await watch(databaseUrl, call);
        const text = await call;
        const seconds = (performance.now() - started) / 1000;
        const [run] = await query<{ items: string; counts: Record<string, unknown> }>(
          databaseUrl,
          `select item_count as items, counts from recon.run where state = 'sealed' order by created_at desc limit 1`,
        );
        const items = Number(run?.items);
        const expected = Math.floor(rows / 1000) * BROKEN_PER_1000;
        if (items !== expected)
          throw new Error(`${items} items were found, ${expected} were planted: ${JSON.stringify(run?.counts)}`);
        note(
          `${rows} a side: ${seconds.toFixed(2)} s, ${JSON.stringify(phases)}, ${text.split('\r\n').length - 2} lines, peak ${peakMb(hub.pid).toFixed(0)} MB`,
        );
        return { seconds, peakRssMb: peakMb(hub.pid), items, phases };
      },
      heapMb === undefined ? [] : [`--max-old-space-size=${heapMb}`],
    );
  });
}

async function download({ port }: Measured): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/reconciliation_data`, {
    headers: { authorization: 'Bearer change_token' },
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`the file could not be made: ${text}`);
  return text;
}

/** Seconds that the run spent in each of its states. */
async function watch(url: string, call: Promise<unknown>): Promise<Measurement['phases']> {
  const seconds = { ingesting: 0, matching: 0, summarising: 0 };
  let isOver = false;
  const over = call.finally(() => (isOver = true));
  over.catch(() => undefined);
  const client = new Client({ connectionString: url });
  await client.connect();
  let last = performance.now();
  while (!isOver) {
    const { rows } = await client.query<{ state: string }>(
      `select state from recon.run where slot is not null limit 1`,
    );
    const now = performance.now();
    const state = rows[0]?.state;
    if (state === 'ingesting' || state === 'matching' || state === 'summarising') seconds[state] += (now - last) / 1000;
    last = now;
    await Promise.race([delay(LOOK_MS), over]);
  }
  await client.end();
  return seconds;
}

/** Highest resident memory of a process, as the kernel kept it. */
function peakMb(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/**
 * What the database alone takes for the same rows: one COPY into a plain table and the one aggregate that finds what
 * differs.
 */
async function yardstick(serverUrl: string, rows: number): Promise<{ copySeconds: number; groupSeconds: number }> {
  const url = await freshDatabase(serverUrl, 'recon_yardstick');
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(
      'create unlogged table plain (k uuid not null, amt bigint, attrs bigint not null, ts timestamptz, src smallint not null, flags smallint not null, cur text, dir text, st text, ref_id text, corr text, amt_raw text, player text)',
    );
    // The rows are made by the server beforehand, so that only their way in is measured.
    await client.query(
      `create unlogged table made as select ${ID_SQL} as k, 100 + (i * 7919) % 9900 as amt, 35000 + i % 2 as attrs, timestamptz '2026-10-01Z' + i * interval '2 seconds' as ts, s as src, 0 as flags, 'USD' as cur, 'debit' as dir, 'OK' as st, 'ref-' || i as ref_id, ${ID_SQL}::text as corr, '19.99' as amt_raw, 'player-' || i % 5000 as player from generate_series(1::bigint, $1::bigint) i, unnest(array[1, 2, 4]) s`.replace(
        '$1::bigint',
        String(rows),
      ),
    );
    const text = await client.query<{ text: string }>(
      `select string_agg(concat_ws(E'\\t', k, amt, attrs, ts, src, flags, cur, dir, st, ref_id, corr, amt_raw, player), E'\\n') || E'\\n' as text from (select * from made limit 200000) m`,
    );
    const chunk = Buffer.from(text.rows[0]?.text ?? '');
    const chunks = Math.max(1, Math.round((3 * rows) / Math.min(3 * rows, 200_000)));
    const started = performance.now();
    await client.query('begin');
    await pipeline(
      function* () {
        for (let sent = 0; sent < chunks; sent++) yield chunk;
      },
      client.query(copyFrom('copy plain from stdin')),
    );
    await client.query('commit');
    const copySeconds = (performance.now() - started) / 1000;
    const grouping = performance.now();
    await client.query(
      `set work_mem = '64MB'; set max_parallel_workers_per_gather = 0; select count(*) from (select k from made group by k having bit_or(src) <> 7 or count(*) <> 3 or min(amt) is distinct from max(amt) or count(amt) <> count(*) or min(attrs) <> max(attrs) or bit_or(flags) <> 0) broken`,
    );
    return { copySeconds, groupSeconds: (performance.now() - grouping) / 1000 };
  } finally {
    await client.end();
    await query(serverUrl, 'drop database recon_yardstick with (force)');
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
