import 'reflect-metadata';
import { parseDatabaseConfig, roleOf } from '../config/config';
import { messageOf } from '../kernel/errors';
import { historyOf, migrate } from './migrate';
import { withDatabaseUrls } from './open-database';

/**
 * `npm run db:migrate`: as the owner of the tables, who then grants the hub's role what it needs. Prints what was done.
 */
async function main(): Promise<void> {
  const config = parseDatabaseConfig(process.env);
  await withDatabaseUrls(config, async ({ url, ownerUrl }) => {
    const application = ownerUrl === undefined ? undefined : { role: roleOf(url), mayClear: config.allowClearDb };
    const migratingUrl = ownerUrl ?? config.databaseDirectUrl ?? url;
    const names = await migrate(migratingUrl, application);
    const { newer } = await historyOf(migratingUrl);
    const said = [names.length === 0 ? 'The schema is up to date.' : `Done: ${names.join(', ')}.`];
    if (newer.length > 0)
      said[0] = `The next release has migrated this database (${newer.join(', ')}): nothing was changed.`;
    else if (application !== undefined) said.push(`The role "${application.role}" has its rights.`);
    process.stdout.write(`${said.join(' ')}\n`);
  });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(1);
  },
);
