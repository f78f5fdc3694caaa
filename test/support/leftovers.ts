import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';

/**
 * What the programs of test/ (bench, chaos, cluster, failover, fuzz) have started, so that whoever stops one of them
 * with a signal finds nothing left: no hub, no database, no folder. In tests nothing listens for signals, and this only
 * remembers.
 */
const ends = new Set<() => Promise<unknown>>();

/** How long a process may take to end by itself. */
const END_MS = 15_000;

/**
 * Works with what is being started and ends it afterwards; whoever stops the program meanwhile ends it too, also while
 * it still starts.
 */
export async function withOwned<T, R>(
  starting: Promise<T>,
  end: (it: T) => Promise<unknown>,
  work: (it: T) => Promise<R>,
): Promise<R> {
  const endIt = async (): Promise<unknown> => end(await starting);
  ends.add(endIt);
  try {
    return await work(await starting);
  } finally {
    // Not twice: after a signal it has been taken from the set.
    if (ends.delete(endIt)) await endIt();
  }
}

/** Remembers a folder that is of no use when the run is stopped. At the run's own end whoever made it decides. */
export function ownedFolder(directory: string): string {
  ends.add(() => fs.promises.rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

/** Remembers a process until it ends. */
export function ownedChild<T extends ChildProcess>(child: T): T {
  const end = async (): Promise<void> => {
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
    await exit;
    clearTimeout(timer);
  };
  ends.add(end);
  child.once('exit', () => ends.delete(end));
  return child;
}

/**
 * From here on a signal ends what was started, the last first, and then this process, with the exit code that a shell
 * would give if none is named.
 */
export function endAllOnSignals(code?: number): void {
  let isEnding = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      if (isEnding) return;
      isEnding = true;
      // What is still at work finds its hub and its database gone. That must not end this process before all of them
      // are.
      process.on('uncaughtException', () => undefined).on('unhandledRejection', () => undefined);
      process.stderr.write(`${signal}: ending what was started\n`);
      void endAll().finally(() => process.exit(code ?? 128 + os.constants.signals[signal]));
    });
}

async function endAll(): Promise<void> {
  // What is being started meanwhile comes to the set's end, and is ended too.
  for (let next = [...ends].at(-1); next !== undefined; next = [...ends].at(-1)) {
    ends.delete(next);
    await next().catch((error: unknown) =>
      process.stderr.write(`while ending: ${error instanceof Error ? error.message : String(error)}\n`),
    );
  }
}
