import 'reflect-metadata';
import { drain } from './drain';
import { ingest } from './ingest';
import { latency } from './latency';
import { withDatabase } from './stage';

const quick = process.argv.includes('--quick');
const only = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const wanted = (name: string): boolean => only.length === 0 || only.includes(name);

async function main(): Promise<void> {
  const rounds = quick ? 1 : 3;
  const seconds = quick ? 4 : 8;
  await withDatabase(async (server) => {
    if (wanted('ingest')) await ingest(server, { rounds, seconds, role: 'api' });
    if (wanted('latency')) await latency(server, { rounds, seconds: quick ? 5 : 10 });
    if (wanted('drain')) await drain(server, { rounds, messages: quick ? 20_000 : 40_000 });
  });
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
