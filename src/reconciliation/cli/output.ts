import { createHash, randomUUID } from 'node:crypto';
import { type Stats, constants, createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, access, lstat, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../../kernel/errors';
import { CliError } from './hub-client';

export interface FileDigest {
  readonly bytes: number;
  readonly sha256: string;
}

/** Where a report or a manifest goes. */
export interface Output {
  /** The plain file as it was named; null for a stream, a device or a pipe. */
  readonly file: string | null;
  /**
   * Writes all of it. `check` sees the digest before a plain file takes its name; what it throws leaves the file as it was.
   * Throws CliError: 2 when it cannot be written, and whatever the source threw.
   */
  write(source: AsyncIterable<Uint8Array>, check: (digest: FileDigest) => void): Promise<FileDigest>;
}

const LINKS_MAX = 40;
/** The process's own streams, under the names that shells give them. Opened by path they would be truncated, or written from the start again. */
const STREAM = /^\/(?:dev|proc\/self)\/(?:fd\/(\d{1,6})|(stdin|stdout|stderr))$/;

/** Finds out what `name` is before the run is begun, so that an hour's work does not end at a typing error. Throws CliError 2. */
export async function openOutput(option: string, name: string | undefined, stdout: Writable): Promise<Output> {
  if (name === undefined || name === '-') return streamTo(stdout);
  try {
    const target = await followed(path.resolve(name));
    if (target === 1) return streamTo(stdout);
    if (typeof target === 'number') return streamTo(createWriteStream('', { fd: target }));
    const there = await stat(target).catch((error: unknown) =>
      codeOf(error) === 'ENOENT' ? null : Promise.reject(error as Error),
    );
    if (there?.isDirectory() === true) throw new Error('it is a folder');
    if (there === null) {
      const folder = await realpath(path.dirname(target));
      if (folder === '/dev') throw new Error('there is no such device');
      await access(folder, constants.W_OK | constants.X_OK);
      return new PlainFile(option, name, path.join(folder, path.basename(target)), null);
    }
    await access(target, constants.W_OK);
    return there.isFile() ? new PlainFile(option, name, await realpath(target), there) : deviceAt(option, target);
  } catch (error) {
    throw new CliError(2, `${option} ${name} cannot be written: ${messageOf(error)}`);
  }
}

/** The path behind links, also one that leads nowhere yet; a number is a descriptor of this process. */
async function followed(name: string): Promise<string | number> {
  let at = name;
  for (let links = 0; links < LINKS_MAX; links += 1) {
    const [, descriptor, word] = STREAM.exec(at) ?? [];
    if (descriptor !== undefined) return Number(descriptor);
    if (word !== undefined) return { stdin: 0, stdout: 1, stderr: 2 }[word] ?? 1;
    const there = await lstat(at).catch(() => null);
    if (there?.isSymbolicLink() !== true) return at;
    at = path.resolve(await realpath(path.dirname(at)), await readlink(at));
  }
  throw new Error('too many links');
}

/** Into a device, a pipe or a FIFO, which stays what it is. */
function deviceAt(option: string, target: string): Output {
  // Neither made nor truncated, should it have gone since it was looked at.
  const write: Output['write'] = async (source, check) =>
    poured(source, (await open(target, constants.O_WRONLY)).createWriteStream(), check, option);
  return { file: null, write };
}

function streamTo(stream: Writable): Output {
  return { file: null, write: (source, check) => poured(source, stream, check, 'standard output', false) };
}

async function poured(
  source: AsyncIterable<Uint8Array>,
  target: Writable,
  check: (digest: FileDigest) => void,
  what: string,
  end = true,
): Promise<FileDigest> {
  const counter = new Counter();
  await watch(source, what, (watched) =>
    pipeline(Readable.from(counter.counted(watched), { objectMode: false }), target, { end }),
  );
  const digest = counter.digest();
  check(digest);
  return digest;
}

/**
 * A plain file gets its bytes under another name until they are whole: what a job finds under the name that it knows is never half a file.
 * Mode and owner of a file that was there stay. Where they could not (a file with several names, of another owner, mounted by itself), it is written in place.
 */
class PlainFile implements Output {
  constructor(
    private readonly option: string,
    readonly file: string,
    private readonly real: string,
    private readonly there: Stats | null,
  ) {}

  async write(source: AsyncIterable<Uint8Array>, check: (digest: FileDigest) => void): Promise<FileDigest> {
    const part = path.join(
      path.dirname(this.real),
      `.${path.basename(this.real).slice(0, 150)}.${randomUUID().slice(0, 8)}.part`,
    );
    let handle: FileHandle;
    try {
      handle = await open(part, 'wx', this.there === null ? 0o666 : this.there.mode & 0o777);
    } catch (error) {
      // A file that may be written in a folder that may not.
      if (this.there !== null) return poured(source, createWriteStream(this.real), check, this.option);
      throw this.failure(error);
    }
    try {
      const counter = new Counter();
      await watch(source, this.option, (watched) => handle.writeFile(counter.counted(watched)));
      const digest = counter.digest();
      check(digest);
      await this.take(part, handle).catch((error: unknown) => Promise.reject(this.failure(error)));
      return digest;
    } finally {
      await handle.close();
      await rm(part, { force: true });
    }
  }

  /** Gives the finished part the file's name, mode and owner. */
  private async take(part: string, handle: FileHandle): Promise<void> {
    await handle.sync();
    if (this.there === null) return rename(part, this.real);
    if (this.there.nlink === 1 && (await hasOwner(handle, this.there))) {
      await handle.chmod(this.there.mode & 0o7777);
      try {
        return await rename(part, this.real);
      } catch (error) {
        // Mounted by itself, as container platforms do with single files, or in a folder where only its owner may replace it.
        if (!['EBUSY', 'EXDEV', 'EPERM', 'EACCES'].includes(codeOf(error) ?? '')) throw error;
      }
    }
    await pipeline(createReadStream(part), createWriteStream(this.real));
  }

  private failure(error: unknown): CliError {
    return new CliError(2, `${this.option} ${this.file} cannot be written: ${messageOf(error)}`);
  }
}

async function hasOwner(handle: FileHandle, { uid, gid }: Stats): Promise<boolean> {
  const own = await handle.stat();
  if (own.uid === uid && own.gid === gid) return true;
  try {
    await handle.chown(uid, gid);
    return true;
  } catch {
    return false;
  }
}

/** Throws what the source threw as it is, and CliError 2 for what the target could not take. */
async function watch(
  source: AsyncIterable<Uint8Array>,
  what: string,
  take: (watched: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  let broken: Error | undefined;
  const watched = async function* (): AsyncGenerator<Uint8Array> {
    try {
      yield* source;
    } catch (error) {
      broken = error instanceof Error ? error : new Error(messageOf(error));
      throw error;
    }
  };
  try {
    await take(watched());
  } catch (error) {
    if (broken !== undefined) throw broken;
    throw new CliError(
      2,
      `${what} cannot be written: ${codeOf(error) === 'EPIPE' ? 'its reader left' : messageOf(error)}`,
    );
  }
}

/** Digest of what a reader gives. */
export async function digestOf(source: Readable): Promise<FileDigest> {
  const counter = new Counter();
  // Read to its end: only the digest is wanted.
  for await (const _chunk of counter.counted(source as AsyncIterable<Uint8Array>));
  return counter.digest();
}

/** Counts and hashes what passes. */
class Counter {
  private readonly hash = createHash('sha256');
  private bytes = 0;

  async *counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      this.hash.update(chunk);
      this.bytes += chunk.length;
      yield chunk;
    }
  }

  digest(): FileDigest {
    return { bytes: this.bytes, sha256: this.hash.digest('hex') };
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
