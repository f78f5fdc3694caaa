import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { OR_SET_URL, POLL_MS } from './options';
import { codeOf, isAlive, type ProcessName, readIfThere, self } from './processes';

// Longer than a start, since a process that waits for the lock may be waiting for one.
const LOCK_TIMEOUT_MS = 180_000;

/**
 * Node has no file lock that the kernel releases when its holder dies, so the lock is a file that names its holder. It
 * is made by linking a finished file to the name: it is never read half written.
 */
export async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  const id = randomUUID();
  await takeLock(file, id, Date.now() + LOCK_TIMEOUT_MS);
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}

async function takeLock(file: string, id: string, deadline: number): Promise<void> {
  const draft = `${file}.${id}`;
  fs.writeFileSync(draft, JSON.stringify({ id, ...self() }));
  try {
    while (!tryLink(draft, file)) {
      const holder = readLock(file);
      if (holder !== undefined && !isAlive(holder)) {
        // Two waiters may see the same dead holder. Only one may remove its file, or the second would remove the lock
        // that the first has just taken; so breaking this holder's lock needs a lock of its own, named after the
        // holder.
        const breaking = `${file}.breaking-${holder.id}`;
        await takeLock(breaking, randomUUID(), deadline);
        if (readLock(file)?.id === holder.id) fs.rmSync(file, { force: true });
        fs.rmSync(breaking, { force: true });
        continue;
      }
      if (Date.now() > deadline) {
        throw new Error(
          `The process ${holder?.pid ?? 'unknown'} holds ${file} for too long. ` +
            `End it, or delete the file if it is not a hub. ${OR_SET_URL}`,
        );
      }
      await delay(POLL_MS);
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function tryLink(draft: string, file: string): boolean {
  try {
    fs.linkSync(draft, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

export function readLock(file: string): (ProcessName & { id: string }) | undefined {
  const text = readIfThere(file);
  return text === undefined ? undefined : (JSON.parse(text) as ProcessName & { id: string });
}
