import 'reflect-metadata';
import { parseDatabaseConfig, roleOf } from '../config/config';
import { messageOf } from '../kernel/errors';
import { migrate } from './migrate';
import { withDatabaseUrls } from './open-database';

/** `npm run db:migrate`: as the owner of the tables, who then grants the hub's role what it needs. Prints what was done. */
async function main(): Promise<void> {
  const config = parseDatabaseConfig(process.env);
  await withDatabaseUrls(config, async ({ url, ownerUrl }) => {
    const application = ownerUrl === undefined ? undefined : { role: roleOf(url), mayClear: config.allowClearDb };
    const names = await migrate(ownerUrl ?? config.databaseDirectUrl ?? url, application);
    process.stdout.write(
      `${names.length === 0 ? 'The schema is up to date.' : `Done: ${names.join(', ')}.`}${application === undefined ? '' : ` The role "${application.role}" has its rights.`}\n`,
    );
  });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(1);
  },
);
