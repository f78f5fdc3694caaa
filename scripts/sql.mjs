// `npm run sql -- "select …"`: a look into the tables of the hub that this environment names, the embedded PostgreSQL
// included. Reads only, unless --write is given. `--psql` starts a psql of your own there.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { buildIfNeeded, installIfNeeded } from './install.mjs';
import { loadEnvFile } from './env-file.mjs';
import { fail, requireNode, root } from './run.mjs';

const USAGE = `npm run sql -- "select id, state, amount_minor from wallet_transaction order by id desc limit 5"
npm run sql -- --write "update …"     without --write nothing can be changed
npm run sql -- --owner …              as the owner of the tables (ALTER, VACUUM, the audit log): DATABASE_OWNER_URL, or the embedded server's
npm run sql -- --psql                 your own psql there, with the password
npm run sql -- --url                  the URL without the password
On a terminal a table, else one JSON object a line.`;

requireNode();
loadEnvFile();
await installIfNeeded();
await buildIfNeeded();

const args = process.argv.slice(2);
const isWrite = args.includes('--write');
const isOwner = args.includes('--owner');
const [sql, ...more] = args.filter((arg) => !['--write', '--owner', '--url', '--psql'].includes(arg));
if (!args.includes('--url') && !args.includes('--psql') && (sql === undefined || sql.trim() === '' || more.length > 0))
  fail(USAGE);

const built = createRequire(path.join(root, 'dist', 'src', 'main.js'));
const { parseDatabaseConfig } = built('./config/config.js');
const { withDatabaseUrls } = built('./database/open-database.js');
const { Client } = built('pg');

try {
  await withDatabaseUrls(parseDatabaseConfig(process.env), async (urls) => {
    const url = isOwner ? urls.ownerUrl : urls.url;
    if (url === undefined) throw new Error('--owner needs DATABASE_OWNER_URL. Where one role does all, leave it out.');
    const { open, password } = apart(url);
    if (args.includes('--url')) return process.stdout.write(`${open}\n`);
    if (args.includes('--psql')) return psql(open, password);
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

function apart(url) {
  const parts = new URL(url);
  const password = decodeURIComponent(parts.password);
  parts.password = '';
  return { open: parts.toString(), password };
}

/** Every user of the machine reads the arguments of a program, but not its environment. */
async function psql(url, password) {
  const child = spawn('psql', [url], {
    stdio: 'inherit',
    env: { ...process.env, ...(password === '' ? {} : { PGPASSWORD: password }) },
  });
  // Ctrl-C ends a statement of psql, which goes on.
  process.on('SIGINT', () => undefined);
  const [code] = await once(child, 'exit');
  process.exitCode = code ?? 1;
}

function show(answer) {
  const { rows, command, rowCount } = [answer].flat().at(-1);
  if (!process.stdout.isTTY) process.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  else if (rows.length > 0) console.table(rows);
  if (process.stdout.isTTY) process.stdout.write(`${command} ${rowCount ?? ''}\n`);
}
