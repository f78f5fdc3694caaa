import 'reflect-metadata';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseEnv } from 'node:util';
import { type Config, describeConfig, parseConfig, roleOf } from './config/config';
import type { Exception } from './config/production';
import { checkConnections } from './database/connections';
import { directUrlOf, pooledUrlOf } from './database/data-source';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './database/embedded/embedded-postgres';
import { historyOf, migrate, powersOf } from './database/migrate';
import { HubServer } from './http/http-server';
import { Readiness } from './http/readiness';
import { createHub, packageVersion } from './hub';
import { messageOf } from './kernel/errors';
import { Logger } from './observability/logger';
import { OutboxWorker } from './outbox/outbox.worker';
import { StoppedWhileStarting, StopSignals } from './stop-signals';

/** Resolves when the hub has stopped in good order. */
async function main(signals: StopSignals): Promise<void> {
  const config = parseConfig(process.env);
  const logger = new Logger(config.logLevel, undefined, config.logFormat);
  signals.onRepeated((signal) => logger.event('info', 'hub.stopping_already', { signal }));
  // A stop that hangs before the hub is there; once it is, stopWhenTold() does the same with what it knows.
  void signals.first.then(() =>
    setTimeout(
      () => giveUp(logger, new Error(`not done within SHUTDOWN_TIMEOUT_SECONDS (${config.shutdownTimeoutSeconds} s)`)),
      (config.shutdownTimeoutSeconds + EMBEDDED_STOP_SECONDS) * 1000,
    ),
  );
  warnOfInsecureSettings(config, logger);
  warnOfIgnoredFile(logger);

  // Before anything else: a process that cannot have its port must not have written anything.
  const server = new HubServer();
  await server.listen(config.port, config.host);
  const embedded = await embeddedDatabase(config, server, logger);
  try {
    signals.throwIfStopped();
    await serve(
      embedded === undefined ? config : { ...config, databaseUrl: embedded.url, databaseOwnerUrl: embedded.ownerUrl },
      server,
      logger,
      signals,
      embedded,
    );
  } catch (error) {
    if (!(error instanceof StopFailed)) throw error;
    await embedded?.stop();
    giveUp(logger, error);
  } finally {
    await embedded?.stop();
  }
  logger.event('info', 'hub.stopped');
  logger.flush();
}

/** What stopping the embedded database may take beyond SHUTDOWN_TIMEOUT_SECONDS. */
const EMBEDDED_STOP_SECONDS = 30;

function warnOfInsecureSettings(config: Config, logger: Logger): void {
  // What a role may do is known to its server.
  for (const { exception, faults } of config.insecureAccepted)
    if (exception !== 'database_superuser') warnOfException(exception, faults, logger);
}

function warnOfException(exception: Exception, faults: readonly string[], logger: Logger): void {
  logger.event(
    'warn',
    'config.insecure_accepted',
    faults.length > 0
      ? { exception, faults }
      : { exception, note: 'nothing needs this exception; take it out of INSECURE_ACCEPTED' },
  );
}

/**
 * People put a `.env` beside the hub and expect it to be heard. `npm start` and docker compose read it; the hub itself
 * does not.
 */
function warnOfIgnoredFile(logger: Logger): void {
  if (!existsSync('.env')) return;
  const ignored = Object.entries(parseEnv(readFileSync('.env', 'utf8'))).filter(
    ([name, value]) => value !== undefined && value !== '' && process.env[name] !== value,
  );
  if (ignored.length > 0)
    logger.event('warn', 'config.env_file_ignored', {
      file: path.resolve('.env'),
      variables: ignored.map(([name]) => name),
    });
}

async function embeddedDatabase(
  config: Config,
  server: HubServer,
  logger: Logger,
): Promise<EmbeddedPostgres | undefined> {
  if (config.databaseUrl !== undefined) return undefined;
  const dataDir = path.resolve(config.dataDir);
  const started = await startEmbeddedPostgres({
    dataDir,
    port: config.embeddedDatabasePort,
    firstPort: EMBEDDED_DATABASE_FIRST_PORT,
    address: server.url,
  });
  if (started.owner !== undefined && !config.dataDirShared)
    throw new Error(
      `DATA_DIR ${dataDir} is in use by the process ${started.owner.pid}${started.owner.address === undefined ? '' : ` (${started.owner.address})`}. ` +
        'A stack of its own needs a folder of its own, such as DATA_DIR=.data-2. For one more process of the same stack set DATA_DIR_SHARED=true. Nothing was changed.',
    );
  logger.event('info', 'database.embedded', { port: started.port, dataDir, owned: started.owned });
  // The last resort of every way in which a process can end, SIGKILL alone excepted.
  if (started.owned) process.once('exit', () => started.stopAtOnce());
  return started;
}

/** Where the embedded database listens when nothing else is said; the next free port when it is taken. */
const EMBEDDED_DATABASE_FIRST_PORT = 54_320;

/** Refuses a database that cannot carry this process at all, and warns of one that may not. */
async function checkDatabase(config: Config, logger: Logger): Promise<void> {
  const { faults, warnings } = await checkConnections(config);
  for (const warning of warnings) logger.event('warn', 'database.connections', { warning });
  if (faults.length > 0)
    throw new Error(`The hub does not start on this database:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
}

const NEWER_NOTE =
  'the next release has migrated this database; this build serves on it, as long as it is only one release behind, and changes nothing of it';

async function bringUpToDate(config: Config, logger: Logger): Promise<void> {
  const ownerUrl = config.databaseOwnerUrl;
  if (config.migrateOnStart) {
    const migrations = await migrate(
      ownerUrl ?? directUrlOf(config),
      ownerUrl === undefined ? undefined : { role: roleOf(pooledUrlOf(config)), mayClear: config.allowClearDb },
    );
    if (migrations.length > 0) logger.event('info', 'database.migrated', { migrations });
  }
  const { pending, newer } = await historyOf(directUrlOf(config));
  if (newer.length > 0) logger.event('warn', 'database.newer', { migrations: newer, note: NEWER_NOTE });
  if (pending.length === 0) return;
  if (config.migrateOnStart)
    throw new Error(
      'DATABASE_URL and DATABASE_OWNER_URL lead to different databases: what the owner has migrated is not where the hub would serve',
    );
  throw new Error(
    `the database lacks migrations: ${pending.join(', ')}. Run "npm run db:migrate", or start with MIGRATE_ON_START=true`,
  );
}

/**
 * What the role that serves could do to the books beyond serving: refused when the owner is another one, and when it is
 * the server's superuser in production; logged otherwise.
 */
async function checkRole(config: Config, logger: Logger): Promise<void> {
  const { role, isSuperuser, powers } = await powersOf(directUrlOf(config));
  const says = `the role "${role}" of DATABASE_URL ${powers.join(', ')}`;
  const isAccepted = config.insecureAccepted.some(({ exception }) => exception === 'database_superuser');
  if (isAccepted) warnOfException('database_superuser', isSuperuser ? [says] : [], logger);
  if (powers.length === 0) return;
  if (config.databaseOwnerUrl !== undefined)
    throw new Error(
      `The hub does not start, since DATABASE_OWNER_URL is set and ${says} all the same. docs/runbook.md, "The hub's two roles", has the statements that take it away`,
    );
  if (isSuperuser && config.production && !isAccepted)
    throw new Error(
      `The hub does not start in production: ${says}. Make it a role of its own (docs/runbook.md, "The hub's two roles"), or accept it: INSECURE_ACCEPTED=database_superuser`,
    );
  logger.event('warn', 'database.one_role', {
    role,
    powers,
    note: 'a holder of the connection of the hub could do the same; DATABASE_OWNER_URL sets the owner of the tables apart',
  });
}

async function serve(
  config: Config,
  server: HubServer,
  logger: Logger,
  signals: StopSignals,
  embedded: EmbeddedPostgres | undefined,
): Promise<void> {
  // Each may be left half-way: a migration is one transaction, which ends with its connection.
  await signals.unlessStopped(checkDatabase(config, logger));
  await signals.unlessStopped(bringUpToDate(config, logger));
  await signals.unlessStopped(checkRole(config, logger));
  // No enableShutdownHooks: Nest would answer the same signals by closing the port at once, and the order below is on
  // purpose.
  const app = await createHub(config, undefined, server);
  await app.init();
  server.started();
  logger.event('info', 'hub.started', {
    version: packageVersion(),
    url: server.url,
    config: describeConfig(config),
    ...(embedded === undefined ? {} : { database: `embedded, port ${embedded.port}` }),
  });

  const signal = await signals.first;
  logger.event('info', 'hub.stopping', { signal });
  app.get(OutboxWorker).stopClaiming();
  app.get(Readiness).stop();
  const closeAfterDrain = async (): Promise<'closed'> => {
    await delay(config.drainSeconds * 1000);
    await app.close();
    return 'closed';
  };
  const closed = await Promise.race([closeAfterDrain(), delay(config.shutdownTimeoutSeconds * 1000, 'late' as const)]);
  if (closed === 'late')
    throw new StopFailed(
      `not done within SHUTDOWN_TIMEOUT_SECONDS (${config.shutdownTimeoutSeconds} s); leases cover what was in flight`,
    );
}

class StopFailed extends Error {}

function giveUp(logger: Logger, error: Error): never {
  logger.event('error', 'hub.stop_failed', { error: error.message });
  logger.flush();
  process.exit(1);
}

const stopSignals = new StopSignals();
// A terminal that has closed takes no more output; that must not break the orderly end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
main(stopSignals).then(
  () => process.exit(0),
  (error: unknown) => {
    if (error instanceof StoppedWhileStarting) process.exit(error.exitCode);
    // The logger may not exist yet, and a person who starts a hub reads the terminal.
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(1);
  },
);
