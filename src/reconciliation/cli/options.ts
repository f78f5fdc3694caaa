import { parseArgs } from 'node:util';
import { isProduction } from '../../config/config';

export const USAGE = `Usage:
  npm run recon -- run [window] [options]     reconciles, and writes the report
  npm run recon -- verify FILE MANIFEST [--key KEY]

Window of a run (none: all time)
  --date YYYY-MM-DD      a business day of --zone and --cutoff; "yesterday" is the last that has ended
  --zone NAME            IANA name, default UTC
  --cutoff HH:MM         local time at which a business day begins, default 00:00
  --from, --to           instants with a zone, for example 2026-11-22T05:00:00Z

Options of a run
  --format csv|ndjson|xlsx   default csv
  --out FILE             default: standard output. Beside a CSV its manifest is written, as FILE.manifest.json
  --manifest FILE        another place for the manifest
  --grace SECONDS        age up to which what is missing counts as in flight, default 900
  --strict               what is in flight counts as broken
  --allow-partial        take a list that holds less than half of what the hub has
  --dry-run              leave exceptions as they are
  --bom, --sep comma|semicolon|tab|pipe, --raw    forms of the CSV; without them it is the one that the manifest signs
  --url URL              the hub, default HUB_URL or http://localhost:8000
  --timeout SECONDS      default 3600

Options of verify
  --key KEY              the hub's public key (GET /v1/recon/signing-key), default RECON_PUBLIC_KEY

The token is FINANCE_TOKEN, else BEARER_TOKEN.
Exit codes: 0 nothing is broken, the file is whole; 1 broken items, the file or manifest was changed; 2 usage, token or parameters;
3 a list or the hub could not be read; 4 anything else.
`;

export const FORMATS = ['csv', 'ndjson', 'xlsx'] as const;
const SEPARATORS = ['comma', 'semicolon', 'tab', 'pipe'] as const;

export interface RunOptions {
  readonly command: 'run';
  readonly url: string;
  readonly token: string;
  /** "yesterday" means the last business day that has ended. */
  readonly date: string | undefined;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly zone: string;
  readonly cutoff: string;
  readonly graceSeconds: number;
  readonly format: (typeof FORMATS)[number];
  readonly out: string | undefined;
  readonly manifest: string | undefined;
  readonly strict: boolean;
  readonly allowPartial: boolean;
  readonly dryRun: boolean;
  /** Query of the report; empty for the form that the manifest signs. */
  readonly form: string;
  readonly timeoutMs: number;
}

export interface VerifyOptions {
  readonly command: 'verify';
  readonly file: string;
  readonly manifest: string;
  readonly key: string | undefined;
}

/** What was typed means nothing; exit code 2. */
export class UsageError extends Error {}

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads a command line. Null: help was asked for. Throws UsageError. */
export function parseOptions(args: readonly string[], env: Environment): RunOptions | VerifyOptions | null {
  const { values, positionals } = parsed(args);
  if (values.help === true) return null;
  const [command, ...rest] = positionals;
  if (command === 'verify') return verifyOptions(values, rest, env);
  if (command !== 'run') throw new UsageError(command === undefined ? 'a command is missing: run or verify' : `unknown command "${command}"`);
  if (rest.length > 0) throw new UsageError(`unexpected "${rest[0]}"`);
  if (values.date !== undefined && (values.from !== undefined || values.to !== undefined)) throw new UsageError('--date cannot stand together with --from and --to');
  if (values.date !== undefined && values.date !== 'yesterday' && !/^\d{4}-\d{2}-\d{2}$/.test(values.date)) throw new UsageError(`--date is a date such as 2026-11-22, or yesterday, and not "${values.date}"`);
  if ((values.from === undefined) !== (values.to === undefined)) throw new UsageError('--from and --to must stand together');
  const format = oneOf('format', values.format ?? 'csv', FORMATS);
  const form = new URLSearchParams({ ...(values.bom === true ? { bom: '1' } : {}), ...(values.sep === undefined ? {} : { sep: oneOf('sep', values.sep, SEPARATORS) }), ...(values.raw === true ? { raw: '1' } : {}) }).toString();
  if (form !== '' && format !== 'csv') throw new UsageError('--bom, --sep and --raw are for CSV only');
  if (values.out === undefined && format === 'xlsx') throw new UsageError('a workbook needs --out');
  return {
    command: 'run',
    url: urlOf(values.url ?? given(env.HUB_URL) ?? 'http://localhost:8000'),
    token: tokenOf(env),
    date: values.date,
    from: values.from,
    to: values.to,
    zone: values.zone ?? 'UTC',
    cutoff: values.cutoff ?? '00:00',
    graceSeconds: wholeNumber('grace', values.grace ?? '900'),
    format,
    out: values.out,
    manifest: values.manifest ?? (values.out === undefined || format !== 'csv' ? undefined : `${values.out}.manifest.json`),
    strict: values.strict === true,
    allowPartial: values['allow-partial'] === true,
    dryRun: values['dry-run'] === true,
    form,
    timeoutMs: wholeNumber('timeout', values.timeout ?? '3600') * 1000,
  };
}

const TEXT = { type: 'string' } as const;
const FLAG = { type: 'boolean' } as const;
const OPTIONS = { date: TEXT, from: TEXT, to: TEXT, zone: TEXT, cutoff: TEXT, grace: TEXT, format: TEXT, out: TEXT, manifest: TEXT, sep: TEXT, url: TEXT, timeout: TEXT, key: TEXT, strict: FLAG, 'allow-partial': FLAG, 'dry-run': FLAG, bom: FLAG, raw: FLAG, help: FLAG } as const;

type Parsed = ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true; strict: true }>>;

function parsed(args: readonly string[]): Parsed {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function verifyOptions({ key }: Parsed['values'], [file, manifest, ...more]: string[], env: Environment): VerifyOptions {
  if (file === undefined || manifest === undefined || more.length > 0) throw new UsageError('verify takes a file and its manifest');
  const trusted = key ?? given(env.RECON_PUBLIC_KEY);
  if (trusted !== undefined && Buffer.from(trusted, 'base64').length !== 32) throw new UsageError('the key must be base64 of 32 bytes');
  return { command: 'verify', file, manifest, key: trusted };
}

function tokenOf(env: Environment): string {
  // A list holds one token a person; a machine that has the whole list acts as the first.
  const token = (given(env.FINANCE_TOKEN) ?? given(env.BEARER_TOKEN))?.split(',')[0];
  if (token !== undefined && token !== '') return token;
  if (isProduction(env)) throw new UsageError('FINANCE_TOKEN (or BEARER_TOKEN) is missing');
  return 'change_token';
}

function given(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === '' ? undefined : value.trim();
}

function urlOf(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) throw new UsageError(`"${text}" is no URL of a hub`);
  return text.replace(/\/+$/, '');
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new UsageError(`--${name} must be one of ${allowed.join(', ')}`);
  return found;
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`--${name} must be a whole number of seconds`);
  return Number(text);
}
