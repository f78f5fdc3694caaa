import { parseArgs } from 'node:util';
import { isProduction } from '../../config/config';
import type { HubAccess } from './hub-client';

export const USAGE = `Usage:
  npm run recon -- run [window] [options]     reconciles, and writes the report
  npm run recon -- verify FILE MANIFEST [--key KEY]

Window of a run (none: all time)
  --date YYYY-MM-DD      a business day of --zone and --cutoff that has ended; "yesterday" is the last that has
  --zone NAME            IANA name, default UTC
  --cutoff HH:MM         local time at which a business day begins, default 00:00
  --from, --to           instants with a zone, for example 2026-11-22T05:00:00Z
  --provisional          a window that has not ended, as far as it is. The file is named FILE.provisional.csv, exceptions stay as they are, exit code 5

Options of a run
  --format csv|ndjson|xlsx   default csv
  --out FILE             default, and "-": standard output. Beside a plain file its manifest is written, as FILE.manifest.json
                         Links are followed; a device or a pipe is written into; mode and owner of a file that is there stay
  --manifest FILE        another place for the manifest
  --grace SECONDS        age up to which what is missing counts as in flight, default 900
  --strict               what is in flight counts as broken
  --allow-partial        take a list that holds less than half of what the hub has
  --dry-run              leave exceptions as they are
  --bom, --sep comma|semicolon|tab|pipe, --raw    forms of the CSV
  --url URL              the hub, default HUB_URL or http://localhost:8000
  --timeout SECONDS      how long the run may take, default 3600
  --patience SECONDS     how long a hub that does not answer (502, 503, 504, 429, no connection) is asked again, default 120

Options of verify
  --key KEY              the hub's public key (GET /v1/recon/signing-key), default RECON_PUBLIC_KEY

The token is FINANCE_TOKEN (of a list, the first), else BEARER_TOKEN. npm writes lines of its own to standard output: for a report there, use
  npm run --silent recon -- run > FILE

Exit codes: 0 nothing is broken, the file is whole; 1 broken items, the file or manifest was changed; 2 usage, token, parameters, or a file that
cannot be written; 3 a list or the hub could not be read; 4 anything else; 5 the report is provisional, whatever it says.
`;

export const FORMATS = ['csv', 'ndjson', 'xlsx'] as const;
const SEPARATORS = ['comma', 'semicolon', 'tab', 'pipe'] as const;

export interface RunOptions {
  readonly command: 'run';
  readonly hub: HubAccess;
  /** "yesterday" means the last business day that has ended. */
  readonly date: string | undefined;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly zone: string;
  readonly cutoff: string;
  readonly graceSeconds: number;
  readonly format: (typeof FORMATS)[number];
  readonly out: string | undefined;
  /** Undefined: beside a plain file. */
  readonly manifest: string | undefined;
  readonly provisional: boolean;
  readonly strict: boolean;
  readonly allowPartial: boolean;
  readonly dryRun: boolean;
  /** Query of the report's form; empty for the CSV without options. */
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
  const { values, positionals, tokens } = parsed(args);
  const named = tokens.flatMap((token) => (token.kind === 'option' ? [token.name] : []));
  const twice = named.find((name, index) => named.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`--${twice} is given twice`);
  if (values.help === true) return null;
  const [command, ...rest] = positionals;
  if (command === 'verify') return verifyOptions(values, rest, env);
  if (command !== 'run')
    throw new UsageError(
      command === undefined ? 'a command is missing: run or verify' : `unknown command "${command}"`,
    );
  if (rest.length > 0) throw new UsageError(`unexpected "${rest[0]}"`);
  if (values.date !== undefined && (values.from !== undefined || values.to !== undefined))
    throw new UsageError('--date cannot stand together with --from and --to');
  if (values.date !== undefined && values.date !== 'yesterday' && !/^\d{4}-\d{2}-\d{2}$/.test(values.date))
    throw new UsageError(`--date is a date such as 2026-11-22, or yesterday, and not "${values.date}"`);
  if ((values.from === undefined) !== (values.to === undefined))
    throw new UsageError('--from and --to must stand together');
  const format = oneOf('format', values.format ?? 'csv', FORMATS);
  const form = new URLSearchParams({
    ...(values.bom === true ? { bom: '1' } : {}),
    ...(values.sep === undefined ? {} : { sep: oneOf('sep', values.sep, SEPARATORS) }),
    ...(values.raw === true ? { raw: '1' } : {}),
  }).toString();
  if (form !== '' && format !== 'csv') throw new UsageError('--bom, --sep and --raw are for CSV only');
  const toStdout = values.out === undefined || values.out === '-';
  if (toStdout && format === 'xlsx') throw new UsageError('a workbook needs --out');
  return {
    command: 'run',
    hub: {
      url: urlOf(values.url, env),
      ...tokenOf(env),
      patienceMs: wholeNumber('patience', values.patience ?? '120') * 1000,
    },
    date: values.date,
    from: values.from,
    to: values.to,
    zone: values.zone ?? 'UTC',
    cutoff: values.cutoff ?? '00:00',
    graceSeconds: wholeNumber('grace', values.grace ?? '900'),
    format,
    out: values.out,
    manifest: values.manifest,
    provisional: values.provisional === true,
    strict: values.strict === true,
    allowPartial: values['allow-partial'] === true,
    dryRun: values['dry-run'] === true,
    form,
    timeoutMs: wholeNumber('timeout', values.timeout ?? '3600') * 1000,
  };
}

const TEXT = { type: 'string' } as const;
const FLAG = { type: 'boolean' } as const;
const OPTIONS = {
  date: TEXT,
  from: TEXT,
  to: TEXT,
  zone: TEXT,
  cutoff: TEXT,
  grace: TEXT,
  format: TEXT,
  out: TEXT,
  manifest: TEXT,
  sep: TEXT,
  url: TEXT,
  timeout: TEXT,
  patience: TEXT,
  key: TEXT,
  provisional: FLAG,
  strict: FLAG,
  'allow-partial': FLAG,
  'dry-run': FLAG,
  bom: FLAG,
  raw: FLAG,
  help: FLAG,
} as const;

type Parsed = ReturnType<
  typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true; strict: true; tokens: true }>
>;

function parsed(args: readonly string[]): Parsed {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true, tokens: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function verifyOptions(
  { key }: Parsed['values'],
  [file, manifest, ...more]: string[],
  env: Environment,
): VerifyOptions {
  if (file === undefined || manifest === undefined || more.length > 0)
    throw new UsageError('verify takes a file and its manifest');
  const trusted = key ?? given(env.RECON_PUBLIC_KEY);
  if (trusted !== undefined && Buffer.from(trusted, 'base64').length !== 32)
    throw new UsageError('the key must be base64 of 32 bytes');
  return { command: 'verify', file, manifest, key: trusted };
}

function tokenOf(env: Environment): { token: string; tokenFrom: string } {
  for (const name of ['FINANCE_TOKEN', 'BEARER_TOKEN'] as const) {
    // A list holds one token a person; a machine that has the whole list acts as the first.
    const [token = '', ...others] = given(env[name])?.split(',') ?? [];
    if (token !== '')
      return { token, tokenFrom: others.length === 0 ? name : `${name} (the first of ${others.length + 1})` };
  }
  if (isProduction(env)) throw new UsageError('FINANCE_TOKEN (or BEARER_TOKEN) is missing');
  return {
    token: 'change_token',
    tokenFrom: 'the default of development, since neither FINANCE_TOKEN nor BEARER_TOKEN is set',
  };
}

function given(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === '' ? undefined : value.trim();
}

/** Never repeats what was given: it may hold a password. */
function urlOf(option: string | undefined, env: Environment): string {
  const text = option ?? given(env.HUB_URL) ?? 'http://localhost:8000';
  const name = option === undefined ? 'HUB_URL' : '--url';
  if (!URL.canParse(text)) throw new UsageError(`${name} is no URL`);
  const { protocol, origin, pathname, username, password, search, hash } = new URL(text);
  if (!/^https?:$/.test(protocol)) throw new UsageError(`${name} must begin with http:// or https://`);
  if (username !== '' || password !== '')
    throw new UsageError(`${name} must not hold a user or a password; the hub takes the token only`);
  if (search !== '' || hash !== '') throw new UsageError(`${name} must end with its path, without ? and #`);
  return (origin + pathname).replace(/\/+$/, '');
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
