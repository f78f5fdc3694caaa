import 'reflect-metadata';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, describeConfig, parseConfig } from './config/config';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './database/embedded-postgres';
import { migrate, pendingMigrations } from './database/migrate';
import { Readiness } from './http/readiness';
import { createHub, packageVersion } from './hub';
import { messageOf } from './kernel/errors';
import { Logger } from './observability/logger';
import { OutboxWorker } from './outbox/outbox.worker';

/** How long /health/ready says no before the port closes, so that balancers look away first. */
const READINESS_OFF_MS = 200;

async function main(): Promise<void> {
  const fromEnvironment = parseConfig(process.env);
  const logger = new Logger(fromEnvironment.logLevel);
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

async function serve(config: Config, logger: Logger, embedded: EmbeddedPostgres | undefined): Promise<void> {
  const { databaseUrl } = config;
  if (databaseUrl === undefined) throw new Error('no database');
  if (config.migrateOnStart) {
    const migrations = await migrate(databaseUrl);
    if (migrations.length > 0) logger.event('info', 'database.migrated', { migrations });
  } else {
    const pending = await pendingMigrations(databaseUrl);
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
    app.get(Readiness).stopping = true;
    await delay(READINESS_OFF_MS);
    await app.close();
    await embedded?.stop();
    logger.event('info', 'hub.stopped');
    logger.flush();
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
