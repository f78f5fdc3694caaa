import type { RunningServer } from './server';

/**
 * Closes the server at the first signal to stop; the process then ends by itself, as nothing is left to wait for.
 * Further ones change nothing.
 */
export function closeOnSignals(server: RunningServer): void {
  let isClosing = false;
  const close = (): void => {
    if (isClosing) return;
    isClosing = true;
    server.close().catch((error: unknown) => {
      process.exitCode = 1;
      process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    });
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, close);
}
