import { rmSync } from 'node:fs';
import type { EmbeddedPostgres } from '../../src/database/embedded-postgres';

export default async function globalTeardown(): Promise<void> {
  const { server, dataDir } = (globalThis as unknown as { hubTestServer: { server: EmbeddedPostgres; dataDir: string } }).hubTestServer;
  await server.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
