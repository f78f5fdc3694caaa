import * as fs from 'node:fs';
import * as path from 'node:path';
import { Client } from 'pg';
import { changeRecord, type Home, readRecord, type RolePasswords } from './home';
import { APPLICATION, type Log, OR_SET_URL, OWNER, PING_TIMEOUT_MS, SUPERUSER } from './options';
import { newPassword } from './password';
import type { RunningServer } from './running-server';

/**
 * The hub serves as a role that owns nothing, and its tables belong to another; neither is a superuser. Whatever is not
 * so is made so at each start: what the superuser has made here is handed over.
 */
export async function setUpRoles(home: Home, { port }: RunningServer, log: Log): Promise<RolePasswords> {
  const { password, rolePasswords: known } = readRecord(home) ?? {};
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: SUPERUSER,
    database: 'postgres',
    password: password ?? '',
    ssl: false,
    connectionTimeoutMillis: PING_TIMEOUT_MS,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    // The messages of the server go into its log, and the passwords must not.
    await client.query('SET log_min_error_statement = panic; SET log_statement = none; SET search_path = pg_catalog');
    const { rows } = await client.query<{ standby: boolean; roles: string[] }>(
      `SELECT pg_is_in_recovery() AS standby,
         array(SELECT rolname::text FROM pg_roles WHERE rolname IN ($1, $2)) AS roles`,
      [OWNER, APPLICATION],
    );
    const { standby = false, roles = [] } = rows[0] ?? {};
    if (standby && known === undefined)
      throw new Error(
        `${home.cluster} is a standby, which has the roles of its primary. ` +
          `Copy the primary's postgres.json to ${home.record}. ${OR_SET_URL}`,
      );
    if (standby && known !== undefined) return known;
    const passwords =
      known !== undefined && roles.length === 2 ? known : { [OWNER]: newPassword(), [APPLICATION]: newPassword() };
    if (passwords !== known) {
      for (const role of [OWNER, APPLICATION]) if (!roles.includes(role)) await client.query(`CREATE ROLE ${role}`);
      for (const role of [OWNER, APPLICATION] as const)
        await client.query(
          `ALTER ROLE ${role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
           PASSWORD '${passwords[role]}'`,
        );
      // What others do on the server: how many connections are left, and which transaction keeps vacuum from its work.
      await client.query(`GRANT pg_read_all_stats TO ${OWNER}, ${APPLICATION}`);
      changeRecord(home, { rolePasswords: passwords });
    }
    const handed = await handOver(client);
    if (handed > 0 || passwords !== known)
      log(
        `embedded Postgres: the hub serves as ${APPLICATION}, and its tables belong to ${OWNER}` +
          (handed === 0 ? '' : ` (${handed} handed over)`),
      );
    return passwords;
  } finally {
    await client.end();
  }
}

/** One statement at a time, each of which is right by itself: killed half-way, the next start does the rest. */
async function handOver(client: Client): Promise<number> {
  const { rows } = await client.query<{ statement: string }>(
    fs.readFileSync(path.join(__dirname, '..', 'hand-over.sql'), 'utf8'),
  );
  for (const { statement } of rows) await client.query(statement);
  return rows.length;
}
