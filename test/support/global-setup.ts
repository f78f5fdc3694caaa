import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startEmbeddedPostgres } from '../../src/database/embedded-postgres';
import { migrate } from '../../src/database/migrate';
import { ADMIN_URL_VARIABLE, TEMPLATE, createDatabase } from './test-database';

/** One throw-away server for the whole run, with one migrated template that every test file copies. */
export default async function globalSetup(): Promise<void> {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'hub-test-'));
  // Durability is not under test here and costs most of the time; the benchmarks and the crash tests use real fsync.
  const server = await startEmbeddedPostgres({ dataDir, settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' } });
  process.env[ADMIN_URL_VARIABLE] = server.url;
  await migrate(await createDatabase(TEMPLATE, 'template1'));
  Object.assign(globalThis, { hubTestServer: { server, dataDir } });
}
