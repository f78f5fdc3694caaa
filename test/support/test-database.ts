import { randomUUID } from 'node:crypto';
import { Client, Pool } from 'pg';

export const ADMIN_URL_VARIABLE = 'HUB_TEST_ADMIN_URL';
export const TEMPLATE = 'hub_template';
const POOL_SIZE = 4;

/** A database of its own for a test file, copied from the migrated template. */
export interface TestDatabase {
  readonly url: string;
  /** Runs one statement beside the hub, to look at what it wrote; on connections that are called `test`. */
  query<T = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<T[]>;
  drop(): Promise<void>;
}

export async function testDatabase(): Promise<TestDatabase> {
  const name = `hub_${randomUUID().replaceAll('-', '')}`;
  const url = await createDatabase(name, TEMPLATE);
  // Kept open, since a test that waits looks fifty times a second, and a connection costs the server more than the look.
  const pool = new Pool({ connectionString: url, max: POOL_SIZE, application_name: 'test' });
  // Some tests end connections by force. One that is idle then is replaced; one at work fails its query.
  pool.on('error', () => undefined);
  return {
    url,
    query: async <T>(sql: string, parameters: unknown[] = []) => (await pool.query(sql, parameters)).rows as T[],
    drop: async () => {
      await pool.end();
      await withClient(adminUrl(), (client) => client.query(`drop database if exists ${name} with (force)`));
    },
  };
}

/** Answers the URL of the new database. */
export async function createDatabase(name: string, template: string): Promise<string> {
  await withClient(adminUrl(), (client) => client.query(`create database ${name} template ${template}`));
  const url = new URL(adminUrl());
  url.pathname = `/${name}`;
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
  const url = process.env[ADMIN_URL_VARIABLE];
  if (url === undefined) throw new Error('the test server is not running; run the tests through npm test');
  return url;
}
