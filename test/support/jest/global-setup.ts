import { constants, accessSync, mkdtempSync, statfsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { roleOf } from '../../../src/config/config';
import { startEmbeddedPostgres } from '../../../src/database/embedded/embedded-postgres';
import { migrate } from '../../../src/database/migrate';
import { type TestServer, discardServer } from './global-teardown';
import {
  ADMIN_URL_VARIABLE,
  APPLICATION_URL_VARIABLE,
  OWNER_URL_VARIABLE,
  TEMPLATE,
  createDatabase,
  urlOf,
} from '../hub/test-database';

/** One throw-away server for the whole run, with one migrated template that every test file copies. */
export default async function globalSetup(): Promise<void> {
  const dataDir = mkdtempSync(path.join(fastFolder(), 'hub-test-'));
  // Durability is not under test here and costs most of the time; the benchmarks and the crash tests use real fsync.
  // The log is kept short, since it may lie in memory.
  const server = await startEmbeddedPostgres({
    dataDir,
    settings: {
      fsync: 'off',
      synchronous_commit: 'off',
      full_page_writes: 'off',
      max_connections: '300',
      max_wal_size: '256MB',
    },
  });
  // Jest has no teardown for a run that is broken off, and this one would leave a server behind and its files in
  // memory.
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.once(signal, () => void discardServer({ server, dataDir }).finally(() => process.exit(code)));
  process.env[ADMIN_URL_VARIABLE] = server.superuserUrl;
  process.env[OWNER_URL_VARIABLE] = server.ownerUrl;
  process.env[APPLICATION_URL_VARIABLE] = server.url;
  await createDatabase(TEMPLATE, 'template1');
  await migrate(urlOf(OWNER_URL_VARIABLE, TEMPLATE), { role: roleOf(server.url), mayClear: true });
  Object.assign(globalThis, { hubTestServer: { server, dataDir } satisfies TestServer });
}

const MEMORY_FOLDER = '/dev/shm';
const MEMORY_FOLDER_BYTES_MIN = 3_000_000_000;
const MEMORY_BYTES_MIN = 6_000_000_000;

/**
 * A database is 900 files, and a run makes more than a hundred of them: on a disk that takes half a second each, in
 * memory a twentieth. Where there is no such folder, or little memory, it is the folder for temporary files.
 */
function fastFolder(): string {
  try {
    accessSync(MEMORY_FOLDER, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
    if (bavail * bsize >= MEMORY_FOLDER_BYTES_MIN && process.availableMemory() >= MEMORY_BYTES_MIN)
      return MEMORY_FOLDER;
  } catch {
    // Not every system has one.
  }
  return os.tmpdir();
}
