import { messageOf } from '../../kernel/errors';
import { run, verify } from './commands';
import { CliError } from './hub-client';
import { USAGE, UsageError, parseOptions } from './options';

/** `npm run recon`. A client of the hub's API: a job of finance has a token, not the database's password. */
async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === null) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { npm_lifecycle_event: script, npm_config_loglevel: npmSays } = process.env;
  // npm has written two lines of its own in front by now; a report with them would be no report.
  if (
    options.command === 'run' &&
    (options.out === undefined || options.out === '-') &&
    script !== undefined &&
    script !== 'npx' &&
    npmSays !== 'silent' &&
    process.stdout.isTTY !== true
  )
    throw new UsageError(
      'npm writes lines of its own to standard output, which would be part of the report: use "npm run --silent recon -- run …", or --out',
    );
  const terminal = { out: process.stdout, err: process.stderr };
  return options.command === 'run' ? run(options, terminal) : verify(options, terminal);
}

// Until the end is known: a process that ends because nothing is left to wait for has not done its work.
process.exitCode = 4;
main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    if (error instanceof UsageError) process.stderr.write('\nTry: npm run recon -- --help\n');
    process.exitCode = error instanceof UsageError ? 2 : error instanceof CliError ? error.exitCode : 4;
  },
);
