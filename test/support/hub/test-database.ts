import { randomUUID } from 'node:crypto';
import { Client, Pool } from 'pg';
import { roleOf } from '../../../src/config/config';

/** Of the throw-away server: as its superuser, as the owner of the tables, and as the role that hubs serve as. */
export const ADMIN_URL_VARIABLE = 'HUB_TEST_ADMIN_URL';
export const OWNER_URL_VARIABLE = 'HUB_TEST_OWNER_URL';
export const APPLICATION_URL_VARIABLE = 'HUB_TEST_APPLICATION_URL';
export const TEMPLATE = 'hub_template';
const POOL_SIZE = 4;

/** A database of its own for a test file, copied from the migrated template. */
export interface TestDatabase {
  /** As the role that a hub serves as. */
  readonly url: string;
  readonly ownerUrl: string;
  readonly superuserUrl: string;
  /**
   * Runs one statement beside the hub, as the superuser, to look at what it wrote; on connections that are called
   * `test`.
   */
  query<T = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<T[]>;
  /** Changes tables or makes new ones, which then belong to the owner as all do. */
  asOwner(sql: string): Promise<void>;
  drop(): Promise<void>;
}

export async function testDatabase(): Promise<TestDatabase> {
  const name = `hub_${randomUUID().replaceAll('-', '')}`;
  const superuserUrl = await createDatabase(name, TEMPLATE);
  // Kept open, since a test that waits looks fifty times a second, and a connection costs the server more than the
  // look.
  const pool = new Pool({ connectionString: superuserUrl, max: POOL_SIZE, application_name: 'test' });
  // Some tests end connections by force. One that is idle then is replaced; one at work fails its query.
  pool.on('error', () => undefined);
  const ownerUrl = urlOf(OWNER_URL_VARIABLE, name);
  return {
    url: urlOf(APPLICATION_URL_VARIABLE, name),
    ownerUrl,
    superuserUrl,
    asOwner: (sql) => withClient(ownerUrl, async (client) => void (await client.query(sql))),
    query: async <T>(sql: string, parameters: unknown[] = []) => (await pool.query(sql, parameters)).rows as T[],
    drop: async () => {
      await pool.end();
      await withClient(adminUrl(), (client) => client.query(`drop database if exists ${name} with (force)`));
    },
  };
}

/** Answers the URL of the new database, as the superuser. It belongs to the role that owns the tables. */
export async function createDatabase(name: string, template: string): Promise<string> {
  await withClient(adminUrl(), (client) =>
    client.query(`create database ${name} template ${template} owner ${roleOf(urlOf(OWNER_URL_VARIABLE, name))}`),
  );
  return urlOf(ADMIN_URL_VARIABLE, name);
}

export function urlOf(variable: string, database: string): string {
  const text = process.env[variable];
  if (text === undefined) throw new Error('the test server is not running; run the tests through npm test');
  const url = new URL(text);
  url.pathname = `/${database}`;
  return url.toString();
}

export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function adminUrl(): string {
  return urlOf(ADMIN_URL_VARIABLE, 'postgres');
}
