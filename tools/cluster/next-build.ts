import fs from 'node:fs';
import path from 'node:path';
import { hubArguments } from '../../test/support/hub/hub-command';

/** A build of the hub beside the one in dist/: the release after it, as far as the database is concerned. */
export interface NextBuild {
  /** Below dist/, as HubSlot takes it. */
  readonly program: string;
  /** The migration that this build brings along. */
  readonly migration: string;
  /** The function that it changes, and a text that stands in the changed one alone. */
  readonly changed: { readonly name: string; readonly mark: string };
  remove(): void;
}

const MIGRATION = 'Functions1999000000900';
/** The busiest one: every process calls it all the time. */
const CHANGED = { name: 'outbox_lease', mark: '-- of the next build' };

/**
 * Copies dist/src, changes one SQL function in a way that does not matter, and adds the migration that every release
 * with a changed function has. Inside dist/, so that the packages are found from there as from the build itself.
 */
export function makeNextBuild(): NextBuild {
  const dist = path.resolve(path.dirname(hubArguments().at(-1) ?? ''), '..');
  const name = `next-build-${process.pid}`;
  const folder = path.join(dist, name);
  fs.cpSync(path.join(dist, 'src'), path.join(folder, 'src'), { recursive: true });
  const database = path.join(folder, 'src', 'database');
  const file = path.join(database, 'functions', 'outbox', `${CHANGED.name}.sql`);
  const sql = fs.readFileSync(file, 'utf8');
  const changed = sql.replace(/^begin$/m, `begin\n  ${CHANGED.mark}`);
  if (changed === sql) throw new Error(`${file} has no line "begin" to put a comment behind`);
  fs.writeFileSync(file, changed);
  // The hub looks for its version two folders above its main program.
  fs.copyFileSync(path.resolve(dist, '../package.json'), path.join(folder, 'package.json'));
  fs.writeFileSync(
    path.join(database, 'migrations', `${MIGRATION.slice(-13)}-functions.js`),
    `const { writeFunctions } = require('../function-files');
exports.${MIGRATION} = class ${MIGRATION} {
  up(runner) { return writeFunctions(runner, __filename); }
  down() { return Promise.resolve(); }
};
`,
  );
  return {
    program: `${name}/src/main.js`,
    migration: MIGRATION,
    changed: CHANGED,
    remove: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}
