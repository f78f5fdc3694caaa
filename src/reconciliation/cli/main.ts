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
  const terminal = { out: process.stdout, err: process.stderr };
  return options.command === 'run' ? run(options, terminal) : verify(options, terminal);
}

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
