import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { messageOf } from '../../kernel/errors';
import { type SignedManifest, manifestFaults } from '../reports/manifest';
import type { RunView } from '../runs/recon.dto';
import { WindowError, businessWindow, lastClosedDate } from '../calendar/window';
import { CliError, HubClient } from './hub-client';
import { type RunOptions, UsageError, type VerifyOptions } from './options';
import { type FileDigest, type Output, digestOf, openOutput } from './output';
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
  const now = new Date();
  const { request, isProvisional } = requestOf(options, now);
  let files = await openFiles(options, isProvisional, out);
  const progress = new Progress(err);
  const hub = new HubClient(options.hub, (line) => {
    progress.end();
    err.write(`${line}\n`);
  });
  const started = await hub.start(request, randomUUID());
  // The hub's clock decides.
  if (started.provisional !== isProvisional) files = await openFiles(options, started.provisional, out);
  const ended = await hub.ended(started, options.timeoutMs, progress.show).finally(() => progress.end());
  if (ended.state === 'cancelled') throw new CliError(4, `run ${ended.id} was cancelled`);
  if (ended.state === 'failed') throw failureOf(ended);

  const query = options.form === '' ? '' : `?${options.form}`;
  const isSealedForm = options.format === 'csv' && options.form === '';
  const signed = await hub.manifest(
    ended.id,
    isSealedForm ? '' : `file=${options.format}${options.form === '' ? '' : `&${options.form}`}`,
  );
  await files.report.write(hub.file(`/v1/recon/runs/${ended.id}/report.${options.format}${query}`), (digest) => {
    const faults = manifestFaults(signed, digest);
    if (faults.length > 0) throw new CliError(4, `the report is not what the run sealed: ${faults.join('; ')}`);
  });
  await files.manifest?.write(textOf(`${JSON.stringify(signed, null, 2)}\n`), () => undefined);

  const { broken = 0, inFlight = 0 } = (ended.counts ?? {}) as { broken?: number; inFlight?: number };
  const { file } = files.report;
  err.write(
    `${ended.provisional ? 'Provisional: the window has not ended. ' : ''}${ended.activity === false ? 'No activity. ' : ''}Run ${ended.id}: ${broken} broken, ${inFlight} in flight${file === null ? '' : `, ${file}`}\n`,
  );
  if (ended.provisional) return 5;
  return broken > 0 || (options.strict && inFlight > 0) ? 1 : 0;
}

/** Looked at before the run: a folder that is missing must not be found out about after it. */
async function openFiles(
  { out: name, manifest }: RunOptions,
  isProvisional: boolean,
  out: Writable,
): Promise<{ report: Output; manifest: Output | null }> {
  let report = await openOutput('--out', name, out);
  // A provisional file must not have the name of the file that is kept.
  if (isProvisional && report.file !== null) report = await openOutput('--out', provisionalName(report.file), out);
  const beside = manifest ?? (report.file === null ? undefined : `${report.file}.manifest.json`);
  if (manifest !== undefined && name !== undefined && path.resolve(manifest) === path.resolve(name))
    throw new UsageError('--out and --manifest name the same file');
  return { report, manifest: beside === undefined ? null : await openOutput('--manifest', beside, out) };
}

function provisionalName(file: string): string {
  const { dir, name, ext } = path.parse(file);
  return path.join(dir, `${name}.provisional${ext}`);
}

async function* textOf(text: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(Buffer.from(text));
}

/** Checks a file and its manifest without the hub. Answers the exit code. */
export async function verify({ file, manifest, key }: VerifyOptions, { out, err }: Terminal): Promise<number> {
  const signed = await parsed(manifest);
  const digest = await read(file);
  const faults = manifestFaults(signed, digest, key);
  for (const fault of faults) err.write(`${fault}\n`);
  if (faults.length > 0) return 1;
  const { run: about, report, signing, sequence } = (signed as SignedManifest).manifest;
  out.write(
    `${file} is the ${about.provisional === true ? 'provisional ' : ''}report of run ${about.id} (${about.businessDate ?? (about.window === null ? 'all time' : `${about.window.from} to ${about.window.to}`)}): ${report.rows} items, manifest ${sequence}, key ${signing.keyId}\n`,
  );
  if (key === undefined)
    err.write(
      'The signature was checked with the key in the manifest itself: nothing was changed by accident. Who signed it shows only with --key.\n',
    );
  return 0;
}

function requestOf(options: RunOptions, now: Date): { request: Record<string, unknown>; isProvisional: boolean } {
  const { date, from, to, zone, cutoff, graceSeconds, allowPartial, dryRun, provisional } = options;
  const request = { kind: 'cli', zone, cutoff, graceSeconds, allowPartial, dryRun, provisional };
  if (date === undefined) {
    // A text that is no instant is for the hub to refuse, in its words.
    const isProvisional = to !== undefined && Date.parse(to) > now.getTime();
    if (isProvisional && !provisional)
      throw new UsageError(`--to ${to} has not come yet; --provisional takes the window as far as it is`);
    return {
      request: { ...request, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) },
      isProvisional,
    };
  }
  try {
    const businessDate = date === 'yesterday' ? lastClosedDate(now, zone, cutoff) : date;
    const { from: begins, to: ends } = businessWindow(businessDate, zone, cutoff);
    const isProvisional = ends > now;
    if (begins > now) throw new UsageError(`${businessDate} has not begun yet: it begins at ${begins.toISOString()}`);
    if (isProvisional && !provisional)
      throw new UsageError(
        `${businessDate} has not ended yet: it ends at ${ends.toISOString()}; --provisional takes it as far as it is`,
      );
    return { request: { ...request, businessDate }, isProvisional };
  } catch (error) {
    if (error instanceof WindowError) throw new UsageError(error.message);
    throw error;
  }
}

function failureOf({ id, error }: RunView): CliError {
  const { reason, message } = (error ?? {}) as { reason?: string; message?: string };
  return new CliError(
    FAULTS_OF_OURS.has(reason ?? '') ? 4 : 3,
    `run ${id} failed (${reason ?? 'no reason given'}): ${message ?? ''}`,
  );
}

async function read(file: string): Promise<FileDigest> {
  try {
    return await digestOf(createReadStream(file));
  } catch (error) {
    throw new CliError(2, `${file} cannot be read: ${messageOf(error)}`);
  }
}

async function parsed(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new CliError(2, `${file} cannot be read: ${messageOf(error)}`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
