import type { Config } from '../config/config';
import { messageOf } from '../kernel/errors';
import { BULK_POOL_SIZE } from './bulk-database';
import { directUrlOf, pooledUrlOf } from './data-source';
import { DIFFERING_SETTINGS, FIXED_SETTINGS } from './session-settings';
import { StoreClient } from './store-client';

/**
 * Accepting keeps two connections busy and now and then a third, settling two per queue, claiming one per destination
 * at a time; NOTIFY, permits and reports share the rest. A process that only answers requests does none of the
 * delivering.
 */
export const HOT_POOL_SIZE: Readonly<Record<Config['role'], number>> = { all: 8, api: 4, worker: 8 };
/** Reports are few and long; more of them at once would only make each slower. */
export const REPORTS_POOL_SIZE = 4;
const LISTENERS = 1;
const CHECK_MS_MAX = 5_000;
/** What migrating takes before the pools are opened. */
const AT_START = 2;

export interface ConnectionBudget {
  /** Connections to DATABASE_URL: to PgBouncer where there is one. */
  readonly pooled: number;
  /** Connections to the server itself that no pooler may stand before. */
  readonly direct: number;
  /** Connections to the replica of reports. */
  readonly reports: number;
}

/** The most connections that one process opens; docs/scaling.md adds them up. */
export function connectionBudget(
  config: Pick<Config, 'role' | 'databasePoolSize' | 'reportsDatabaseUrl'>,
): ConnectionBudget {
  return {
    pooled: config.databasePoolSize + HOT_POOL_SIZE[config.role] + BULK_POOL_SIZE,
    direct: LISTENERS,
    reports: config.reportsDatabaseUrl === undefined ? 0 : REPORTS_POOL_SIZE,
  };
}

interface ServerFacts {
  backend: number;
  usable: number;
  used: number;
  recovering: boolean;
}

/**
 * Looks, before anything else connects, whether the database can carry this process: enough connections, a direct way
 * for what needs a session, settings that no session can fix, and a pooler that keeps prepared statements and timeouts.
 * A fault means that the process could never work. Throws when the database cannot be reached.
 */
export async function checkConnections(config: Config): Promise<{ faults: string[]; warnings: string[] }> {
  const faults: string[] = [];
  const warnings: string[] = [];
  let isPooled = directUrlOf(config) !== pooledUrlOf(config);
  const { pooled, direct } = connectionBudget(config);
  const needed = Math.max(isPooled ? direct : pooled + direct, AT_START);
  await withClient(directUrlOf(config), async (client) => {
    const facts = await serverFacts(client);
    const room =
      `${needed} connections, of which ${facts.used} of ${facts.usable} are in use ` +
      '(max_connections less the reserved ones)';
    if (needed > facts.usable)
      faults.push(`this process needs up to ${room}: raise max_connections, or lower DATABASE_POOL_SIZE`);
    else if (needed > facts.usable - facts.used) warnings.push(`this process may need ${room}`);
    faults.push(...(await settingFaults(client)));
    if (facts.recovering)
      faults.push(
        'the server is a replica and cannot be written to; ' +
          'DATABASE_URL and DATABASE_DIRECT_URL must lead to the primary',
      );
    if (facts.backend !== processIdOf(client)) {
      isPooled = true;
      warnings.push(
        `${config.databaseDirectUrl === undefined ? 'DATABASE_URL' : 'DATABASE_DIRECT_URL'} leads through a pooler. ` +
          'Unless it pools by session, wake-ups are lost (polling covers them) and migrations are not safe: ' +
          'set DATABASE_DIRECT_URL',
      );
    }
  });
  if (isPooled) await checkPooler(pooledUrlOf(config), faults, warnings);
  return { faults, warnings };
}

async function checkPooler(url: string, faults: string[], warnings: string[]): Promise<void> {
  await withClient(url, (first) =>
    withClient(url, async (second) => {
      // What a session of ours sets stays with one of the pooler's connections, and the next statement may go over
      // another.
      const { rows: differing } = await first.query<{ name: string; wanted: string; found: string }>(
        DIFFERING_SETTINGS,
      );
      for (const { name, wanted, found } of differing)
        faults.push(
          `through the pooler ${name} is ${found} and must be ${wanted}: ` +
            "take it off the role, the database or the server, or set it in the pooler's connect_query",
        );
      const probe = { name: 'hub_probe', text: `select current_setting('statement_timeout') as timeout` };
      const { rows } = await first.query<{ timeout: string }>(probe);
      if (rows[0]?.timeout === '0')
        warnings.push(
          'the pooler takes the statement_timeout off: set it in its connect_query or for the database role',
        );
      // The second client holds the connection on which the statement was prepared, as the one used last; so the first
      // gets another.
      await second.query('begin');
      try {
        await first.query(probe);
      } catch (error) {
        faults.push(
          `the pooler does not keep prepared statements (${messageOf(error)}): ` +
            'set max_prepared_statements in PgBouncer, 1.21 or newer',
        );
      }
      await second.query('rollback');
    }),
  );
}

/** What a session cannot set for itself, and tables that stand where its search_path does not lead. */
async function settingFaults(client: StoreClient): Promise<string[]> {
  const faults: string[] = [];
  const { rows: fixed } = await client.query<{ name: string; found: string | null }>(
    'select name, current_setting(name, true) as found from unnest($1::text[]) name',
    [Object.keys(FIXED_SETTINGS)],
  );
  for (const { name, found } of fixed)
    if (found !== null && found !== FIXED_SETTINGS[name])
      faults.push(`${name} is ${found} and must be ${FIXED_SETTINGS[name]}`);
  const { rows: places } = await client.query<{ schema: string; in_public: boolean }>(
    `select c.relnamespace::regnamespace::text as schema, to_regclass('public.migrations') is not null as in_public
     from pg_class c where c.oid = to_regclass('migrations')`,
  );
  const [place] = places;
  if (place !== undefined && !place.in_public)
    faults.push(`search_path leads to tables of the hub in the schema ${place.schema}; they must be in public`);
  return faults;
}

async function serverFacts(client: StoreClient): Promise<ServerFacts> {
  const { rows } = await client.query<ServerFacts>(
    `select pg_backend_pid() as backend, pg_is_in_recovery() as recovering,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
         - coalesce(current_setting('reserved_connections', true), '0')::integer as usable,
       (select count(*)::integer from pg_stat_activity
         where backend_type = 'client backend' and pid <> pg_backend_pid()) as used`,
  );
  const [facts] = rows;
  if (facts === undefined) throw new Error('a select without from-clause answers one row');
  return facts;
}

/** As the other end of the connection named itself; a pooler makes up a number of its own. */
function processIdOf(client: StoreClient): number {
  return (client as unknown as { processID: number }).processID;
}

async function withClient<T>(url: string, work: (client: StoreClient) => Promise<T>): Promise<T> {
  const client = new StoreClient({
    connectionString: url,
    application_name: 'hub-check',
    connectionTimeoutMillis: CHECK_MS_MAX,
    statementLimitMs: CHECK_MS_MAX,
    statement_timeout: 60_000,
  });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
