import type { RunningServer } from './server';

/** Closes the server at SIGTERM or SIGINT; the process then ends by itself, as nothing is left to wait for. */
export function closeOnSignals(server: RunningServer): void {
  const close = (): void => {
    server.close().catch((error: unknown) => {
      process.exitCode = 1;
      process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    });
  };
  process.once('SIGTERM', close);
  process.once('SIGINT', close);
}
