import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Client } from 'pg';
import { freePort } from '../../test/support/hub/hub-process';
import { waitFor } from '../../test/support/wait-for';

const CONFIG = [
  path.resolve(__dirname, '../../deploy/pgbouncer/pgbouncer.ini'),
  path.resolve(__dirname, '../../../deploy/pgbouncer/pgbouncer.ini'),
].find((file) => fs.existsSync(file));

/**
 * The pooler as deploy/pgbouncer/pgbouncer.ini sets it up, but for addresses and passwords, which are those of this
 * machine.
 */
export class PgBouncer {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
  ) {}

  static async start(program: string, directory: string, serverUrl: string): Promise<PgBouncer> {
    if (CONFIG === undefined) throw new Error('deploy/pgbouncer/pgbouncer.ini is missing');
    fs.mkdirSync(directory, { recursive: true });
    // It reads its file as somebody else than root, who made the folders.
    fs.chmodSync(path.dirname(directory), 0o711);
    fs.chmodSync(directory, 0o755);
    const port = await freePort();
    const server = new URL(serverUrl);
    const users = path.join(directory, 'userlist.txt');
    const here: Readonly<Record<string, string>> = {
      listen_addr: '127.0.0.1',
      listen_port: String(port),
      auth_file: users,
      unix_socket_dir: '',
    };
    const text = fs
      .readFileSync(CONFIG, 'utf8')
      .replace(/^hub = .*?(?= connect_query)/m, `postgres = host=127.0.0.1 port=${server.port} dbname=postgres`)
      .replace(/^(\w+) = .*$/gm, (line, name: string) => (name in here ? `${name} = ${here[name]}` : line));
    const file = path.join(directory, 'pgbouncer.ini');
    fs.writeFileSync(file, text);
    // Clients give the server's own password, which nobody reads but the user who runs the pooler.
    fs.writeFileSync(users, `"${server.username}" "${server.password}"\n`, { mode: 0o600 });
    const log = fs.openSync(path.join(directory, 'pgbouncer.log'), 'a');
    // It refuses to run as root.
    const identity = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;
    if (identity !== undefined) fs.chownSync(users, identity.uid, identity.gid);
    const child = spawn(program, [file], { cwd: '/', stdio: ['ignore', log, log], ...identity });
    fs.closeSync(log);
    server.port = String(port);
    const url = server.toString();
    await waitFor('PgBouncer answers', async () => {
      if (child.exitCode !== null) throw new Error(`PgBouncer ended with ${child.exitCode}; see ${directory}`);
      const client = new Client({ connectionString: url });
      await client.connect();
      await client.end();
      return true;
    });
    return new PgBouncer(url, child);
  }

  async stop(): Promise<void> {
    await new Promise((resolve) => {
      this.child.once('exit', resolve);
      // At once; SIGINT would wait for clients.
      this.child.kill('SIGTERM');
    });
  }
}
