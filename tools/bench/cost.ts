import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench';
import { blast, signedDebits } from './load';
import { withReceiver } from './receiver';
import { freshDatabase, query, withHub } from './stage';
import { cpuSeconds } from './usage';

const CONNECTIONS = 8;
const PLAYERS = 5_000;
const WARM = 500;

/**
 * What one movement costs from its acceptance to the webhook that was taken: CPU of hub and database, WAL, rows and
 * disk. The yardstick is the size of the request and the two messages, which is the least that has to be kept.
 */
export const cost: Bench = {
  name: 'cost',
  figures: ['cost_hub_cpu_ms', 'cost_database_cpu_ms', 'cost_wal_bytes', 'cost_disk_bytes', 'cost_rows'],
  run: async ({ serverUrl, quick, report, note }) => {
    const count = quick ? 3_000 : 20_000;
    const yardstick = 'bytes of the request and its two messages';
    let bytes = 0;
    await withReceiver(
      (_path, body) => {
        bytes += body.length;
        return '{"status":"OK","balance":1.00}';
      },
      async (url) => {
        const database = await freshDatabase(serverUrl, 'bench_cost');
        await withHub(
          { DATABASE_URL: database, OPERATOR_BASE_URL: url, RGS_WEBHOOK_URL: `${url}/webhooks`, ROLE: 'all' },
          async ({ port, pid }) => {
            const flow = async (size: number, prefix: string): Promise<void> => {
              await blast([port], signedDebits(size, { host: '127.0.0.1', players: PLAYERS, prefix }), CONNECTIONS);
              await drained(database);
            };
            await flow(WARM, 'warm');
            const before = await look(database);
            const hubBefore = cpuSeconds(pid);
            bytes = 0;
            await flow(count, 'cost');
            const after = await look(database);
            const each = (name: keyof Look): number => (after[name] - before[name]) / count;
            const request = signedDebits(1, { host: '127.0.0.1', players: PLAYERS, prefix: 'cost' })[0]?.length ?? 0;
            const least = request + bytes / count;
            report({
              name: 'cost_hub_cpu_ms',
              value: ((cpuSeconds(pid) - hubBefore) * 1000) / count,
              unit: 'ms per movement',
              yardstick: 'CPU of the database',
              yardstickValue: each('cpuMs'),
              rounds: 1,
            });
            report({
              name: 'cost_database_cpu_ms',
              value: each('cpuMs'),
              unit: 'ms per movement',
              yardstick: 'CPU of the hub',
              yardstickValue: ((cpuSeconds(pid) - hubBefore) * 1000) / count,
              rounds: 1,
            });
            report({
              name: 'cost_wal_bytes',
              value: each('wal'),
              unit: 'bytes per movement',
              yardstick,
              yardstickValue: least,
              rounds: 1,
            });
            report({
              name: 'cost_disk_bytes',
              value: each('disk'),
              unit: 'bytes per movement',
              yardstick,
              yardstickValue: least,
              rounds: 1,
            });
            report({
              name: 'cost_rows',
              value: each('rows'),
              unit: 'rows per movement',
              yardstick: 'the movement itself',
              yardstickValue: 1,
              rounds: 1,
            });
            const tables = await query<{ name: string; bytes: string }>(
              database,
              `select regexp_replace(c.relname, '_\\d{8}$', '') as name, sum(pg_total_relation_size(c.oid))::bigint as bytes from pg_class c
             where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace group by 1 having sum(pg_total_relation_size(c.oid)) > 1000000 order by 2 desc`,
            );
            note(
              `  disk by table, bytes per movement: ${tables.map(({ name, bytes: size }) => `${name} ${Math.round(Number(size) / (count + WARM))}`).join(', ')}`,
            );
          },
        );
      },
    );
  },
};

interface Look {
  readonly wal: number;
  readonly disk: number;
  readonly rows: number;
  readonly cpuMs: number;
}

async function look(url: string): Promise<Look> {
  // So that versions which are dead anyway are counted neither as rows nor as disk, and the next movement pays for no
  // page image of ours.
  await query(url, 'vacuum');
  const [row] = await query<{ wal: string; disk: string; rows: string; backend: number }>(
    url,
    `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal,
       (select sum(pg_total_relation_size(c.oid)) from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace) as disk,
       (select sum(n_live_tup) from pg_stat_user_tables) as rows`,
  );
  if (row === undefined) throw new Error('a select without from-clause answers one row');
  return { wal: Number(row.wal), disk: Number(row.disk), rows: Number(row.rows), cpuMs: serverCpuSeconds() * 1000 };

  /**
   * Of the server that this bench started: its processes are the children of the one whose child answers here, and of
   * those that ended the parent knows.
   */
  function serverCpuSeconds(): number {
    const postmaster = postmasterPid();
    const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(Number(name)) === postmaster);
    return (
      [postmaster, ...children.map(Number)].reduce((sum, pid) => sum + cpuSeconds(pid), 0) +
      endedChildrenSeconds(postmaster)
    );
  }
}

function statOf(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

const parentOf = (pid: number): number => Number(statOf(pid)[1]);
/** cutime and cstime, in ticks of 10 ms. */
const endedChildrenSeconds = (pid: number): number => (Number(statOf(pid)[13]) + Number(statOf(pid)[14])) / 100;

/** The one Postgres whose parent is this process. */
function postmasterPid(): number {
  const line = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
    .split('\n')
    .find((each) => each.includes('postgres -D'));
  const pid = Number(line?.trim().split(/\s+/)[0]);
  if (!Number.isInteger(pid)) throw new Error('the server is not a child of this process');
  return pid;
}

async function drained(url: string): Promise<void> {
  const deadline = performance.now() + 300_000;
  while (performance.now() < deadline) {
    const [row] = await query<{ open: number }>(url, 'select count(*)::integer as open from outbox_head');
    if (row?.open === 0) return;
    await delay(100);
  }
  throw new Error('messages were not delivered within five minutes');
}
