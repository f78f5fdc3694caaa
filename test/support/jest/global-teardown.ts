import { rmSync } from 'node:fs';
import type { EmbeddedPostgres } from '../../../src/database/embedded/embedded-postgres';

export interface TestServer {
  readonly server: EmbeddedPostgres;
  readonly dataDir: string;
}

export default async function globalTeardown(): Promise<void> {
  await discardServer((globalThis as unknown as { hubTestServer: TestServer }).hubTestServer);
}

export async function discardServer({ server, dataDir }: TestServer): Promise<void> {
  await server.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
