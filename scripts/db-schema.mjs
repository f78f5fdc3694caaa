// `npm run db:schema`: regenerates src/database/schema.sql from a throw-away database with all migrations.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { buildIfNeeded, installIfNeeded } from './install.mjs';
import { requireNode, root } from './run.mjs';

requireNode();
await installIfNeeded();
await buildIfNeeded();

const built = createRequire(path.join(root, 'dist', 'src', 'main.js'));
const { startEmbeddedPostgres } = built('./database/embedded/embedded-postgres.js');
const { migrate } = built('./database/migrate.js');
const { describeSchema } = built('./database/describe-schema.js');
const { Client } = built('pg');

const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-schema-'));
const server = await startEmbeddedPostgres({ dataDir, settings: { fsync: 'off', shared_buffers: '16MB' } });
try {
  await migrate(server.ownerUrl);
  const client = new Client({ connectionString: server.ownerUrl });
  await client.connect();
  const schema = await describeSchema({ rows: async (sql, parameters) => (await client.query(sql, parameters)).rows });
  await client.end();
  const file = path.join(root, 'src', 'database', 'schema.sql');
  const isNew = !fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== schema;
  fs.writeFileSync(file, schema);
  process.stdout.write(`${path.relative(root, file)} ${isNew ? 'was brought up to date' : 'is up to date'}\n`);
} finally {
  await server.stop();
  fs.rmSync(dataDir, { recursive: true, force: true });
}
