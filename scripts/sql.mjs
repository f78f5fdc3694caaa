// `npm run sql -- "select …"`: a look into the tables of the hub that this environment names, the embedded PostgreSQL included.
// Reads only, unless --write is given. `--url` prints the URL for a psql of your own; it may hold a password.
import { createRequire } from 'node:module';
import path from 'node:path';
import { buildIfNeeded, installIfNeeded } from './install.mjs';
import { loadEnvFile } from './env-file.mjs';
import { fail, requireNode, root } from './run.mjs';

const USAGE = `npm run sql -- "select id, state, amount_minor from wallet_transaction order by id desc limit 5"
npm run sql -- --write "update …"     without --write nothing can be changed
npm run sql -- --url                  the URL, for psql "$(npm run --silent sql -- --url)"; it may hold a password
On a terminal a table, else one JSON object a line.`;

requireNode();
loadEnvFile();
await installIfNeeded();
await buildIfNeeded();

const args = process.argv.slice(2);
const isWrite = args.includes('--write');
const [sql, ...more] = args.filter((arg) => !['--write', '--url'].includes(arg));
if (!args.includes('--url') && (sql === undefined || sql.trim() === '' || more.length > 0)) fail(USAGE);

const built = createRequire(path.join(root, 'dist', 'src', 'main.js'));
const { parseDatabaseConfig } = built('./config/config.js');
const { withDatabaseUrl } = built('./database/open-database.js');
const { Client } = built('pg');

try {
  await withDatabaseUrl(parseDatabaseConfig(process.env), async (url) => {
    if (args.includes('--url')) return process.stdout.write(`${url}\n`);
    const client = new Client({ connectionString: url, application_name: 'hub-sql' });
    await client.connect();
    try {
      if (!isWrite) await client.query('set default_transaction_read_only = on');
      show(await client.query(sql));
    } finally {
      await client.end();
    }
  });
} catch (error) {
  fail(error.message);
}

function show(answer) {
  const { rows, command, rowCount } = [answer].flat().at(-1);
  if (!process.stdout.isTTY) process.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  else if (rows.length > 0) console.table(rows);
  if (process.stdout.isTTY) process.stdout.write(`${command} ${rowCount ?? ''}\n`);
}
