import { read as readWorkbook } from '@e965/xlsx';
import { parse } from 'csv-parse/sync';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { UsageError, parseOptions } from '../../src/reconciliation/cli/options';
import { progressLine } from '../../src/reconciliation/cli/progress';
import type { RunView } from '../../src/reconciliation/runs/recon.dto';
import { businessDateOf } from '../../src/reconciliation/calendar/window';
import { ListServer } from '../support/partners/list-server';
import { TestHub } from '../support/hub/test-hub';

const MAIN = path.resolve(__dirname, '../../dist/src/reconciliation/cli/main.js');

describe('npm run recon', () => {
  let hub: TestHub;
  let lists: ListServer;
  let folder: string;
  const env = (extra: Record<string, string> = {}) => ({
    PATH: process.env.PATH ?? '',
    NODE_ENV: 'test',
    HUB_URL: hub.url,
    ...extra,
  });
  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'recon-cli-'));
    lists = await ListServer.start();
    hub = await TestHub.start({
      env: { OPERATOR_BASE_URL: lists.url, RGS_WEBHOOK_URL: lists.url, FINANCE_TOKEN: 'fin-a,fin-b' },
    });
  });
  afterAll(async () => {
    await hub.stop();
    await lists.stop();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => lists.list([]));

  /** As a job would run it: in a process of its own, without a terminal. */
  const recon = (
    args: readonly string[],
    extra?: Record<string, string>,
  ): Promise<{ code: number | null; out: Buffer; err: string }> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [MAIN, ...args], {
        env: env(extra),
        stdio: ['ignore', 'pipe', 'pipe'],
        cwd: folder,
      });
      const out: Buffer[] = [];
      let err = '';
      child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
      child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
      child.once('error', reject).once('close', (code) => resolve({ code, out: Buffer.concat(out), err }));
    });
  const file = (name: string) => path.join(folder, name);
  const orphan = (at = new Date()) => ({
    playerId: 'x',
    amount: '5.00',
    currency: 'EUR',
    reference: '=1+1',
    correlationId: randomUUID(),
    direction: 'withdraw',
    event: 'debit',
    amountCents: 500,
    status: 'OK',
    createdAt: at.toISOString(),
  });

  it('is 0 when nothing is broken, and writes the report of a day without activity with its manifest', async () => {
    const { code, err, out } = await recon([
      'run',
      '--date',
      '2026-01-15',
      '--zone',
      'Europe/Malta',
      '--cutoff',
      '06:00',
      '--format',
      'csv',
      '--out',
      file('empty.csv'),
    ]);
    expect([code, out.length, err]).toEqual([
      0,
      0,
      expect.stringMatching(/^No activity\. Run [0-9a-f-]{36}: 0 broken, 0 in flight, .*empty\.csv\n$/),
    ]);
    expect(readFileSync(file('empty.csv'), 'utf8')).toMatch(/^runId,.*\r\n$/);
    expect(JSON.parse(readFileSync(file('empty.csv.manifest.json'), 'utf8'))).toMatchObject({
      manifest: {
        run: { kind: 'cli', businessDate: '2026-01-15', window: { from: '2026-01-15T05:00:00.000Z' } },
        report: { rows: 0 },
      },
    });
    expect(await recon(['verify', 'empty.csv', 'empty.csv.manifest.json'])).toMatchObject({
      code: 0,
      err: expect.stringContaining('only with --key'),
    });
  });

  it('is 1 when something is broken, and the file says what', async () => {
    lists.list([orphan(new Date(Date.now() - 3_600_000))]);
    const { code, err } = await recon(['run', '--grace', '0', '--out', 'broken.csv', '--dry-run']);
    expect([code, err]).toEqual([1, expect.stringContaining(': 1 broken, 0 in flight')]);
    expect(parse(readFileSync(file('broken.csv')), { columns: true })).toEqual([
      expect.objectContaining({ class: 'missing_in_hub', refId: "'=1+1", state: 'broken' }),
    ]);
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('counts what is in flight only with --strict', async () => {
    await hub.debit({ playerId: 'flying', currency: 'EUR' });
    expect(await recon(['run', '--dry-run', '--grace', '86400', '--out', 'a.csv'])).toMatchObject({
      code: 0,
      err: expect.stringContaining('0 broken, 1 in flight'),
    });
    expect(await recon(['run', '--dry-run', '--grace', '86400', '--strict', '--out', 'b.csv'])).toMatchObject({
      code: 1,
    });
  });

  it('writes the other formats, also to standard output, and the forms of the CSV', async () => {
    lists.list([orphan(new Date(Date.now() - 3_600_000))]);
    const window = [
      'run',
      '--from',
      new Date(Date.now() - 7_200_000).toISOString(),
      '--to',
      new Date().toISOString(),
      '--zone',
      'Europe/Malta',
      '--cutoff',
      '06:00',
      '--grace',
      '0',
      '--dry-run',
    ];
    const lines = (await recon([...window, '--format', 'ndjson'])).out.toString().trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line).businessDate)).toContain(
      businessDateOf(new Date(Date.now() - 3_600_000), 'Europe/Malta', '06:00'),
    );
    expect((await recon([...window, '--format', 'xlsx', '--out', 'book.xlsx'])).code).toBe(1);
    expect(readWorkbook(readFileSync(file('book.xlsx'))).SheetNames).toEqual(['Summary', 'Bridge', 'Items', 'Run']);
    const { out } = await recon([...window, '--bom', '--sep', 'semicolon', '--raw']);
    expect(out.toString()).toMatch(/^\ufeffrunId;seq;/);
    expect(parse(out, { bom: true, delimiter: ';', columns: true })).toEqual(
      expect.arrayContaining([expect.objectContaining({ refId: '=1+1' })]),
    );
  });

  it.each([
    ['no command', []],
    ['an unknown command', ['report']],
    ['an unknown option', ['run', '--day', '2026-11-22']],
    [
      'a date and a window',
      ['run', '--date', '2026-11-22', '--from', '2026-11-22T00:00:00Z', '--to', '2026-11-23T00:00:00Z'],
    ],
    ['half a window', ['run', '--from', '2026-11-22T00:00:00Z']],
    ['a date that is none', ['run', '--date', '2026-02-30']],
    ['a zone that is none', ['run', '--date', 'yesterday', '--zone', 'Mars']],
    ['a format that is none', ['run', '--format', 'pdf']],
    ['a workbook on standard output', ['run', '--format', 'xlsx']],
    ['a folder that is not there', ['run', '--date', '2026-01-15', '--out', 'nowhere/f.csv']],
    ['a file without its manifest', ['verify', 'empty.csv']],
    ['a manifest that is not there', ['verify', 'empty.csv', 'nothing.json']],
    ['a key that is none', ['verify', 'empty.csv', 'empty.csv.manifest.json', '--key', 'abc']],
  ])('is 2 for %s', async (_what, args) => {
    const { code, err, out } = await recon(args);
    expect({ code, out: out.toString(), said: err.length > 10 }).toEqual({ code: 2, out: '', said: true });
  });

  it('is 2 for a token that opens nothing', async () =>
    expect(await recon(['run'], { FINANCE_TOKEN: 'nobody' })).toMatchObject({
      code: 2,
      err: expect.stringContaining('Unauthorized'),
    }));

  it('is 3 when a list cannot be read, names the side, and leaves no file', async () => {
    lists.serve((_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'));
    const { code, err } = await recon(['run', '--date', '2026-01-16', '--out', 'failed.csv']);
    expect([code, err]).toEqual([
      3,
      expect.stringMatching(
        /^run [0-9a-f-]{36} failed \(wrong_content_type\): the list of the (RGS|operator) could not be read/,
      ),
    ]);
    expect(readdirSync(folder).filter((name) => name.startsWith('failed'))).toEqual([]);
  });

  it('is 3 when the hub cannot be reached', async () =>
    expect(await recon(['run', '--patience', '0'], { HUB_URL: 'http://127.0.0.1:1' })).toMatchObject({
      code: 3,
      err: expect.stringContaining('cannot be reached'),
    }));

  it('shows its usage', async () =>
    expect(await recon(['--help'])).toMatchObject({
      code: 0,
      out: expect.objectContaining({ length: expect.any(Number) }),
    }));

  describe('verify', () => {
    let key: string;
    beforeAll(async () => {
      lists.list([orphan()]);
      await recon(['run', '--dry-run', '--grace', '0', '--out', 'v.csv']);
      key = (await hub.call('GET', '/v1/recon/signing-key', undefined, { token: 'fin-b' })).body.publicKey;
    });
    const verify = (csv: string, manifest: string, ...more: string[]) => recon(['verify', csv, manifest, ...more]);

    it('says of a whole file which run it is of, with the hub out of reach', async () => {
      expect(
        await recon(['verify', 'v.csv', 'v.csv.manifest.json', '--key', key], { HUB_URL: 'http://127.0.0.1:1' }),
      ).toMatchObject({ code: 0, err: '' });
      expect((await verify('v.csv', 'v.csv.manifest.json', '--key', key)).out.toString()).toMatch(
        /^v\.csv is the report of run [0-9a-f-]{36} \(all time\): \d+ items, manifest \d+, key [0-9a-f]{16}\n$/,
      );
    });

    it('is 1 for a file or a manifest in which one byte is different, and for another key', async () => {
      const bytes = readFileSync(file('v.csv'));
      bytes[bytes.length - 3]! ^= 1;
      writeFileSync(file('changed.csv'), bytes);
      expect(await verify('changed.csv', 'v.csv.manifest.json')).toMatchObject({
        code: 1,
        err: expect.stringContaining('the file was changed'),
      });
      writeFileSync(
        file('changed.json'),
        readFileSync(file('v.csv.manifest.json'), 'utf8').replace('"kind": "cli"', '"kind": "adhoc"'),
      );
      expect(await verify('v.csv', 'changed.json')).toMatchObject({
        code: 1,
        err: expect.stringContaining('the signature does not fit'),
      });
      expect(
        await verify('v.csv', 'v.csv.manifest.json', '--key', Buffer.alloc(32, 7).toString('base64')),
      ).toMatchObject({ code: 1, err: expect.stringContaining('was signed with the key') });
      writeFileSync(file('none.json'), 'no json');
      expect((await verify('v.csv', 'none.json')).code).toBe(1);
    });
  });
});

describe('its options', () => {
  it('name what a date is, before the hub is asked', () => {
    expect(() => parseOptions(['run', '--date', 'today'], { NODE_ENV: 'test' })).toThrow(
      '--date is a date such as 2026-11-22, or yesterday, and not "today"',
    );
    expect(parseOptions(['run', '--date', 'yesterday'], { NODE_ENV: 'test' })).toMatchObject({ date: 'yesterday' });
  });

  it('take the first token of a list, and in production no default', () => {
    expect(parseOptions(['run'], { FINANCE_TOKEN: 'a,b', BEARER_TOKEN: 'c' })).toMatchObject({
      hub: { token: 'a', url: 'http://localhost:8000', patienceMs: 120_000 },
      format: 'csv',
      graceSeconds: 900,
      manifest: undefined,
    });
    expect(
      parseOptions(['run', '--out', 'x.csv'], { BEARER_TOKEN: 'c', HUB_URL: 'https://hub.example/' }),
    ).toMatchObject({ hub: { token: 'c', url: 'https://hub.example' }, out: 'x.csv' });
    for (const env of [{}, { NODE_ENV: 'production' }, { NODE_ENV: 'staging' }])
      expect(() => parseOptions(['run'], env)).toThrow(UsageError);
    expect(() => parseOptions(['run', '--url', 'ftp://x'], { NODE_ENV: 'test' })).toThrow(UsageError);
    expect(parseOptions(['run', '--help'], { NODE_ENV: 'test' })).toBeNull();
  });
});

it('the bar grows as the run goes on, and never shrinks', () => {
  const source = (side: string, done: boolean) => ({
    side,
    pages: 1,
    rowsSeen: 59_000,
    rowsStaged: 59_000,
    rowsRejected: 0,
    done,
  });
  const at = (state: RunView['state'], sources: ReturnType<typeof source>[], bucketsDone = 0) =>
    progressLine({ state, progress: { sources, bucketsDone } } as unknown as RunView);
  const all = [source('rgs', true), source('operator', true), source('hub', true)];
  const lines = [
    at('queued', []),
    at('ingesting', []),
    at('ingesting', [source('rgs', false)]),
    at('ingesting', [source('rgs', true), source('operator', false)]),
    at('ingesting', all),
    at('matching', all, 0),
    at('matching', all, 16),
    at('matching', all, 32),
    at('summarising', all, 32),
    at('sealed', all, 32),
  ];
  const lengths = lines.map((line) => line.split('#').length - 1);
  expect(lengths).toEqual([...lengths].sort((a, b) => a - b));
  expect([lengths[0], lengths.at(-1)]).toEqual([0, 24]);
  expect(lines[3]).toBe('[#######.................] ingesting: rgs 59,000, operator 59,000 rows');
});
