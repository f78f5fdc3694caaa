import 'reflect-metadata';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, describeConfig, parseConfig } from './config/config';
import { checkConnections } from './database/connections';
import { directUrlOf } from './database/data-source';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './database/embedded-postgres';
import { migrate, pendingMigrations } from './database/migrate';
import { Readiness } from './http/readiness';
import { createHub, packageVersion } from './hub';
import { messageOf } from './kernel/errors';
import { Logger } from './observability/logger';
import { OutboxWorker } from './outbox/outbox.worker';

async function main(): Promise<void> {
  const fromEnvironment = parseConfig(process.env);
  const logger = new Logger(fromEnvironment.logLevel);
  for (const { exception, faults } of fromEnvironment.insecureAccepted)
    logger.event('warn', 'config.insecure_accepted', faults.length > 0 ? { exception, faults } : { exception, note: 'nothing needs this exception; take it out of INSECURE_ACCEPTED' });
  const embedded = await embeddedDatabase(fromEnvironment, logger);
  try {
    await serve(embedded === undefined ? fromEnvironment : { ...fromEnvironment, databaseUrl: embedded.url }, logger, embedded);
  } catch (error) {
    await embedded?.stop();
    throw error;
  }
}

async function embeddedDatabase(config: Config, logger: Logger): Promise<EmbeddedPostgres | undefined> {
  if (config.databaseUrl !== undefined) return undefined;
  const started = await startEmbeddedPostgres({ dataDir: path.resolve(config.dataDir) });
  logger.event('info', 'database.embedded', { port: started.port, dataDir: config.dataDir, owned: started.owned });
  return started;
}

/** Refuses a database that cannot carry this process at all, and warns of one that may not. */
async function checkDatabase(config: Config, logger: Logger): Promise<void> {
  const { faults, warnings } = await checkConnections(config);
  for (const warning of warnings) logger.event('warn', 'database.connections', { warning });
  if (faults.length > 0) throw new Error(`The hub does not start on this database:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
}

async function serve(config: Config, logger: Logger, embedded: EmbeddedPostgres | undefined): Promise<void> {
  await checkDatabase(config, logger);
  const directUrl = directUrlOf(config);
  if (config.migrateOnStart) {
    const migrations = await migrate(directUrl);
    if (migrations.length > 0) logger.event('info', 'database.migrated', { migrations });
  } else {
    const pending = await pendingMigrations(directUrl);
    if (pending.length > 0) throw new Error(`the database lacks migrations: ${pending.join(', ')}. Run "npm run db:migrate", or start with MIGRATE_ON_START=true`);
  }
  // No enableShutdownHooks: Nest would answer the same signals by closing the port at once, and the order below is on purpose.
  const app = await createHub(config);
  await app.listen(config.port, config.host);
  logger.event('info', 'hub.started', { version: packageVersion(), url: await app.getUrl(), config: describeConfig(config) });

  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    logger.event('info', 'hub.stopping', { signal });
    app.get(OutboxWorker).stopClaiming();
    app.get(Readiness).stop();
    const closed = await Promise.race([closeAfterDrain(), delay(config.shutdownTimeoutSeconds * 1000, 'late' as const)]);
    await embedded?.stop();
    if (closed === 'late') throw new Error(`not done within SHUTDOWN_TIMEOUT_SECONDS (${config.shutdownTimeoutSeconds} s); leases cover what was on its way`);
    logger.event('info', 'hub.stopped');
    logger.flush();
  };
  const closeAfterDrain = async (): Promise<'closed'> => {
    await delay(config.drainSeconds * 1000);
    await app.close();
    return 'closed';
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      stop(signal).then(
        () => process.exit(0),
        (error: unknown) => {
          logger.event('error', 'hub.stop_failed', { error: messageOf(error) });
          logger.flush();
          process.exit(1);
        },
      );
    });
}

main().catch((error: unknown) => {
  // The logger may not exist yet, and a person who starts a hub reads the terminal.
  process.stderr.write(`${messageOf(error)}\n`);
  process.exit(1);
});
