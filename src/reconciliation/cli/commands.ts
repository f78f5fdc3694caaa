import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { Readable, Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../../kernel/errors';
import { type SignedManifest, manifestFaults } from '../manifest';
import type { RunView } from '../recon.dto';
import { WindowError, lastClosedDate } from '../window';
import { CliError, HubClient } from './hub-client';
import { type RunOptions, UsageError, type VerifyOptions } from './options';
import { Progress } from './progress';

/** Where a command writes; the process's own streams, or those of a test. */
export interface Terminal {
  readonly out: Writable;
  readonly err: Writable & { readonly isTTY?: boolean };
}

/** Faults of a run that are not of its sources; what else a run fails for, a list is at fault. */
const FAULTS_OF_OURS: ReadonlySet<string> = new Set(['internal_error', 'bridge_not_zero']);

/** Reconciles and writes the report. Answers the exit code. */
export async function run(options: RunOptions, { out, err }: Terminal): Promise<number> {
  const hub = new HubClient(options.url, options.token);
  const progress = new Progress(err);
  const started = await hub.start(requestOf(options));
  const ended = await hub.ended(started, options.timeoutMs, progress.show).finally(() => progress.end());
  if (ended.state === 'cancelled') throw new CliError(4, `run ${ended.id} was cancelled`);
  if (ended.state === 'failed') throw failureOf(ended);

  const signed = await hub.manifest(ended.id);
  const query = options.form === '' ? '' : `?${options.form}`;
  const file = await hub.file(`/v1/recon/runs/${ended.id}/report.${options.format}${query}`);
  const digest = await save(file, options.out, out);
  if (options.format === 'csv' && options.form === '') {
    const faults = manifestFaults(signed, digest);
    if (faults.length > 0) throw new CliError(4, `the report is not what the run sealed: ${faults.join('; ')}`);
  }
  if (options.manifest !== undefined) await writeFile(options.manifest, `${JSON.stringify(signed, null, 2)}\n`);

  const { broken = 0, inFlight = 0 } = (ended.counts ?? {}) as { broken?: number; inFlight?: number };
  err.write(`${ended.activity === false ? 'No activity. ' : ''}Run ${ended.id}: ${broken} broken, ${inFlight} in flight${options.out === undefined ? '' : `, ${options.out}`}\n`);
  return broken > 0 || (options.strict && inFlight > 0) ? 1 : 0;
}

/** Checks a file and its manifest without the hub. Answers the exit code. */
export async function verify({ file, manifest, key }: VerifyOptions, { out, err }: Terminal): Promise<number> {
  const signed = await read(manifest);
  const digest = await digestOf(file);
  const faults = manifestFaults(signed, digest, key);
  for (const fault of faults) err.write(`${fault}\n`);
  if (faults.length > 0) return 1;
  const { run: about, report, signing, sequence } = (signed as SignedManifest).manifest;
  out.write(`${file} is the report of run ${about.id} (${about.businessDate ?? (about.window === null ? 'all time' : `${about.window.from} to ${about.window.to}`)}): ${report.rows} items, manifest ${sequence}, key ${signing.keyId}\n`);
  if (key === undefined) err.write('The signature was checked with the key in the manifest itself: nothing was changed by accident. Who signed it shows only with --key.\n');
  return 0;
}

function requestOf({ date, from, to, zone, cutoff, graceSeconds, allowPartial, dryRun }: RunOptions): Record<string, unknown> {
  return { kind: 'cli', zone, cutoff, graceSeconds, allowPartial, dryRun, ...(date === undefined ? {} : { businessDate: dateOf(date, zone, cutoff) }), ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
}

function dateOf(date: string, zone: string, cutoff: string): string {
  if (date !== 'yesterday') return date;
  try {
    return lastClosedDate(new Date(), zone, cutoff);
  } catch (error) {
    if (error instanceof WindowError) throw new UsageError(error.message);
    throw error;
  }
}

function failureOf({ id, error }: RunView): CliError {
  const { reason, message } = (error ?? {}) as { reason?: string; message?: string };
  return new CliError(FAULTS_OF_OURS.has(reason ?? '') ? 4 : 3, `run ${id} failed (${reason ?? 'no reason given'}): ${message ?? ''}`);
}

/** Under another name until it is whole: what a job finds under the name that it knows is never half a file. */
async function save(file: ReadableStream<Uint8Array>, path: string | undefined, out: Writable): Promise<{ bytes: number; sha256: string }> {
  const counter = new Counter();
  const source = Readable.fromWeb(file);
  try {
    if (path === undefined) {
      await pipeline(source, counter, out, { end: false });
    } else {
      await pipeline(source, counter, createWriteStream(`${path}.part`));
      await rename(`${path}.part`, path);
    }
  } catch (error) {
    if (path !== undefined) await rm(`${path}.part`, { force: true });
    if (error instanceof Error && 'code' in error && ['ENOENT', 'EACCES', 'EISDIR', 'ENOSPC', 'EROFS'].includes(String(error.code))) throw new CliError(2, `the report cannot be written: ${messageOf(error)}`);
    throw new CliError(3, `the report broke off: ${messageOf(error)}`);
  }
  return counter.digest();
}

async function digestOf(path: string): Promise<{ bytes: number; sha256: string }> {
  const counter = new Counter();
  counter.resume();
  try {
    await pipeline(createReadStream(path), counter);
  } catch (error) {
    throw new CliError(2, `${path} cannot be read: ${messageOf(error)}`);
  }
  return counter.digest();
}

async function read(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new CliError(2, `${path} cannot be read: ${messageOf(error)}`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Passes bytes on, counted and hashed. */
class Counter extends Transform {
  private readonly hash = createHash('sha256');
  private bytes = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: (error: null, chunk: Buffer) => void): void {
    this.hash.update(chunk);
    this.bytes += chunk.length;
    callback(null, chunk);
  }

  digest(): { bytes: number; sha256: string } {
    return { bytes: this.bytes, sha256: this.hash.digest('hex') };
  }
}
