import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { businessDateOf } from '../../src/reconciliation/calendar/window';
import { ListServer } from '../support/partners/list-server';
import { TestHub } from '../support/hub/test-hub';

const ROOT = path.resolve(__dirname, '../..');
const MAIN = path.join(ROOT, 'dist/src/reconciliation/cli/main.js');

/** What stands between finance's job and the hub: passes on, or fails as a balancer does while hubs restart. */
class Balancer {
  /** What becomes of the requests to come, in turn; then all pass. */
  faults: ('502' | '503' | 'reset' | 'lost answer' | 'half')[] = [];
  readonly asked: { method: string; path: string; key: string | undefined; fault: string | undefined }[] = [];
  private constructor(private readonly server: http.Server) {}

  static async before(target: string): Promise<Balancer> {
    const to = new URL(target);
    const balancer = new Balancer(
      http.createServer((request, response) => {
        const fault = balancer.faults.shift();
        balancer.asked.push({
          method: request.method ?? '',
          path: request.url ?? '',
          key: request.headers['idempotency-key'] as string | undefined,
          fault,
        });
        if (fault === 'reset') return void request.socket.destroy();
        if (fault === '502' || fault === '503')
          return void response.writeHead(Number(fault), { 'content-type': 'text/html' }).end('<html>');
        const onward = http.request(
          { host: to.hostname, port: to.port, method: request.method, path: request.url, headers: request.headers },
          (answer) => {
            if (fault === 'lost answer') return void answer.resume().once('end', () => request.socket.destroy());
            response.writeHead(answer.statusCode ?? 500, answer.headers);
            if (fault !== 'half') return void answer.pipe(response);
            answer.once('data', (chunk: Buffer) =>
              response.write(chunk.subarray(0, chunk.length / 2), () => request.socket.destroy()),
            );
          },
        );
        request.pipe(onward);
      }),
    );
    await new Promise<void>((resolve) => balancer.server.listen(0, '127.0.0.1', resolve));
    return balancer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

describe('npm run recon, as a job of finance', () => {
  let hub: TestHub;
  let lists: ListServer;
  let balancer: Balancer;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'recon-world-'));
    lists = await ListServer.start();
    hub = await TestHub.start({
      env: { OPERATOR_BASE_URL: lists.url, RGS_WEBHOOK_URL: lists.url, FINANCE_TOKEN: 'fin-a,fin-b' },
    });
    balancer = await Balancer.before(hub.url);
  });
  afterAll(async () => {
    await balancer.stop();
    await hub.stop();
    await lists.stop();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    lists.list([
      {
        playerId: 'x',
        amount: '5.00',
        currency: 'EUR',
        reference: 'ref-1',
        correlationId: randomUUID(),
        direction: 'withdraw',
        event: 'debit',
        amountCents: 500,
        status: 'OK',
        createdAt: new Date(Date.now() - 7_200_000).toISOString(),
      },
    ]);
    balancer.faults = [];
    balancer.asked.length = 0;
  });

  const started = (
    command: string,
    args: readonly string[],
    extra: Record<string, string> = {},
  ): Promise<{ code: number | null; out: string; err: string }> =>
    new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        env: { PATH: process.env.PATH ?? '', NODE_ENV: 'test', HUB_URL: hub.url, ...extra },
        stdio: ['ignore', 'pipe', 'pipe'],
        cwd: folder,
      });
      let [out, err] = ['', ''];
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
      child.once('error', reject).once('close', (code) => resolve({ code, out, err }));
    });
  const recon = (args: readonly string[], extra?: Record<string, string>) =>
    started(process.execPath, [MAIN, ...args], extra);
  const RUN = ['run', '--grace', '0', '--dry-run'];
  const file = (name: string) => path.join(folder, name);
  const runs = async () =>
    ((await hub.call('GET', '/v1/recon/runs?kind=cli&limit=500')).body.items as unknown[]).length;

  describe('writes into what --out names', () => {
    it('and keeps mode, owner and links of a file that is there, also of one that is mounted or has two names', async () => {
      writeFileSync(file('kept.csv'), 'old');
      chmodSync(file('kept.csv'), 0o600);
      const isRoot = process.getuid?.() === 0;
      if (isRoot) chownSync(file('kept.csv'), 12_345, 12_346);
      symlinkSync('kept.csv', file('link.csv'));
      expect((await recon([...RUN, '--out', 'link.csv'])).code).toBe(1);
      expect(lstatSync(file('link.csv')).isSymbolicLink()).toBe(true);
      expect(readFileSync(file('kept.csv'), 'utf8')).toContain('ref-1');
      const { mode, uid, gid } = statSync(file('kept.csv'));
      expect([(mode & 0o777).toString(8), ...(isRoot ? [uid, gid] : [])]).toEqual([
        '600',
        ...(isRoot ? [12_345, 12_346] : []),
      ]);
      spawnSync('ln', [file('kept.csv'), file('second.csv')]);
      writeFileSync(file('second.csv'), 'old again');
      expect((await recon([...RUN, '--out', 'kept.csv'])).code).toBe(1);
      expect(readFileSync(file('second.csv'), 'utf8')).toContain('ref-1');
      expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
    });

    it('a link that leads nowhere yet makes the file that it names', async () => {
      symlinkSync('to-come.csv', file('dangling.csv'));
      expect((await recon([...RUN, '--out', 'dangling.csv'])).code).toBe(1);
      expect([lstatSync(file('dangling.csv')).isSymbolicLink(), lstatSync(file('to-come.csv')).isFile()]).toEqual([
        true,
        true,
      ]);
    });

    it("a FIFO, a device, and the shell's own names of streams stay what they are", async () => {
      spawnSync('mkfifo', [file('fifo')]);
      const reader = started('cat', [file('fifo')]);
      expect((await recon([...RUN, '--out', 'fifo'])).code).toBe(1);
      expect((await reader).out).toContain('ref-1');
      expect([lstatSync(file('fifo')).isFIFO(), existsSync(file('fifo.manifest.json'))]).toEqual([true, false]);
      const before = statSync('/dev/null');
      expect(await recon([...RUN, '--out', '/dev/null'])).toMatchObject({ code: 1, out: '' });
      expect([statSync('/dev/null').isCharacterDevice(), statSync('/dev/null').ino]).toEqual([true, before.ino]);
      expect((await recon([...RUN, '--out', '/dev/stdout'])).out).toContain('ref-1');
      const { out } = await started('bash', [
        '-c',
        `'${process.execPath}' '${MAIN}' ${RUN.join(' ')} --out >(tr a-z A-Z; echo) 2>/dev/null; sleep 0.3; echo before > appended.txt; '${process.execPath}' '${MAIN}' ${RUN.join(' ')} --out /dev/stdout >> appended.txt 2>/dev/null; head -n 2 appended.txt`,
      ]);
      expect(out).toMatch(/^RUNID,(.|\n|\r)*\nbefore\nrunId,/);
    });

    it.each([
      ['a folder', ['--out', '.']],
      ['a folder that is not there', ['--out', 'nowhere/f.csv']],
      ['a device that is not there', ['--out', '/dev/no-such-device']],
      ['a manifest in a folder that is not there', ['--out', 'whole.csv', '--manifest', 'nowhere/m.json']],
      ['report and manifest in one file', ['--out', 'same', '--manifest', './same']],
    ])('but not %s: exit code 2 before the run is begun', async (_what, args) => {
      const before = await runs();
      expect(await recon([...RUN, ...args])).toMatchObject({ code: 2, out: '' });
      expect([await runs(), existsSync(file('whole.csv')), existsSync('/dev/no-such-device')]).toEqual([
        before,
        false,
        false,
      ]);
    });
  });

  describe('while hubs restart behind a balancer', () => {
    it('asks again after 502, 503 and connections that break, begins one run, and gets the report', async () => {
      const before = await runs();
      balancer.faults = ['reset', 'lost answer', '503', 'half', '502', 'reset', '503', 'half'];
      const { code, err } = await recon([...RUN, '--out', 'through.csv'], { HUB_URL: balancer.url });
      expect([code, err]).toEqual([1, expect.stringContaining('it is asked again for 120 seconds')]);
      expect(balancer.faults).toEqual([]);
      expect(await runs()).toBe(before + 1);
      expect(new Set(balancer.asked.filter(({ method }) => method === 'POST').map(({ key }) => key)).size).toBe(1);
      expect((await recon(['verify', 'through.csv', 'through.csv.manifest.json'])).code).toBe(0);
    });

    it('goes on in the middle of a report that broke off, also on standard output', async () => {
      const whole = await recon([...RUN]);
      const { err } = whole;
      const id = /Run ([0-9a-f-]{36})/.exec(err)?.[1] ?? '';
      const csv = (text: string) => text.replaceAll(/[0-9a-f-]{36}|,True,True,False,\d+/g, '');
      balancer.faults = [];
      const client = recon([...RUN], { HUB_URL: balancer.url });
      const original = balancer.faults.shift.bind(balancer.faults);
      balancer.faults.shift = () =>
        balancer.asked.filter(({ path: asked }) => asked.includes('report.csv')).length < 2 &&
        balancer.asked.some(({ path: asked }) => asked.includes('/manifest'))
          ? 'half'
          : original();
      const broken = await client;
      expect(balancer.asked.filter(({ path: asked }) => asked.includes('report.csv')).length).toBeGreaterThanOrEqual(2);
      expect([broken.code, csv(broken.out)]).toEqual([1, csv(whole.out)]);
      expect(id).not.toBe('');
    });

    it('gives up after the stated time, with 3', async () => {
      balancer.faults = Array.from({ length: 100 }, () => '502' as const);
      expect(await recon([...RUN, '--patience', '1'], { HUB_URL: balancer.url })).toMatchObject({
        code: 3,
        err: expect.stringMatching(/cannot be reached: status 502, for 1 seconds/),
      });
    });
  });

  describe('says', () => {
    it('where a redirect leads, and does not follow it', async () => {
      const elsewhere = http.createServer(
        (_request, response) =>
          void response.writeHead(301, { location: 'https://user:secret@hub.example/v1/recon/runs?key=secret' }).end(),
      );
      await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
      const { code, err } = await recon(RUN, {
        HUB_URL: `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`,
      });
      elsewhere.close();
      expect([code, err]).toEqual([2, expect.stringContaining('redirect (301) to https://hub.example/v1/recon/runs;')]);
      expect(err).not.toContain('secret');
    });

    it.each([
      ['FINANCE_TOKEN', 'nobody'],
      ['FINANCE_TOKEN', 'nobody,fin-a'],
      ['BEARER_TOKEN', 'nobody'],
    ])('which variable a token came from that opens nothing: %s=%s', async (name, value) => {
      expect(await recon(RUN, { [name]: value })).toMatchObject({
        code: 2,
        err: expect.stringMatching(new RegExp(`which came from ${name}`)),
      });
    });

    it.each([
      ['an option that is given twice', [...RUN, '--out', 'a.csv', '--out', 'b.csv'], {}, '--out is given twice'],
      ['a password in HUB_URL, without it', RUN, { HUB_URL: 'http://me:s3cret@127.0.0.1:1/' }, 'HUB_URL must not hold'],
      ['a HUB_URL that is none, without it', RUN, { HUB_URL: 'htp//me:s3cret@hub' }, 'HUB_URL is no URL'],
      [
        'a date that is none',
        ['run', '--date', '2026-13-40'],
        { HUB_URL: 'http://127.0.0.1:1' },
        '"2026-13-40" is not a date',
      ],
      [
        'a day that lies ahead',
        ['run', '--date', '2999-01-01', '--provisional'],
        { HUB_URL: 'http://127.0.0.1:1' },
        'has not begun yet',
      ],
      [
        'a day that has not ended',
        ['run', '--date', businessDateOf(new Date(), 'UTC', '00:00')],
        { HUB_URL: 'http://127.0.0.1:1' },
        '--provisional takes it as far as it is',
      ],
      [
        'a window that has not ended',
        ['run', '--from', '2026-01-01T00:00:00Z', '--to', '2999-01-01T00:00:00Z'],
        { HUB_URL: 'http://127.0.0.1:1' },
        'has not come yet',
      ],
    ])('%s: exit code 2', async (_what, args, extra, says) => {
      const { code, err } = await recon(args, extra);
      expect([code, err]).toEqual([2, expect.stringContaining(says)]);
      expect(err).not.toContain('s3cret');
    });

    it('that npm would write its lines into a report on standard output', async () => {
      const npm = (...args: string[]) => started('npm', ['--prefix', ROOT, ...args, 'recon', '--', ...RUN]);
      expect(await npm('run')).toMatchObject({ code: 2, err: expect.stringContaining('npm run --silent recon') });
      const silent = await npm('run', '--silent');
      expect([silent.code, silent.out]).toEqual([1, expect.stringMatching(/^runId,/)]);
    });
  });

  it('names a day that has not ended provisional in file, manifest and exit code, and leaves the exceptions alone', async () => {
    const today = businessDateOf(new Date(), 'UTC', '00:00');
    const exceptions = async () => ((await hub.call('GET', '/v1/recon/exceptions')).body.items as unknown[]).length;
    const before = await exceptions();
    const { code, err } = await recon(['run', '--date', today, '--provisional', '--grace', '0', '--out', 'today.csv']);
    expect([code, err]).toEqual([
      5,
      expect.stringMatching(/^Provisional: the window has not ended\. .*today\.provisional\.csv\n$/),
    ]);
    expect(existsSync(file('today.csv'))).toBe(false);
    const { manifest } = JSON.parse(readFileSync(file('today.provisional.csv.manifest.json'), 'utf8'));
    expect(manifest.run).toMatchObject({ businessDate: today, provisional: true });
    expect((await recon(['verify', 'today.provisional.csv', 'today.provisional.csv.manifest.json'])).out).toMatch(
      /is the provisional report of run/,
    );
    expect(await exceptions()).toBe(before);
    const report = await hub.call('GET', `/v1/recon/runs/${manifest.run.id}/report.csv`);
    expect(report.headers.get('content-disposition')).toBe(
      `attachment; filename="reconciliation-${today}-provisional.csv"`,
    );
  });

  it.each([
    ['xlsx', ['--format', 'xlsx']],
    ['ndjson', ['--format', 'ndjson']],
    ['csv in another form', ['--bom', '--sep', 'semicolon']],
  ])('can prove a file in %s, and a change in it', async (name, form) => {
    const book = `proof-${name.slice(0, 4).trim()}.out`;
    expect((await recon([...RUN, ...form, '--out', book])).code).toBe(1);
    expect(await recon(['verify', book, `${book}.manifest.json`])).toMatchObject({
      code: 0,
      out: expect.stringContaining('is the report of run'),
    });
    const bytes = readFileSync(file(book));
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(file(book), bytes);
    expect(await recon(['verify', book, `${book}.manifest.json`])).toMatchObject({
      code: 1,
      err: expect.stringContaining('the file was changed'),
    });
    writeFileSync(
      file('forged.json'),
      readFileSync(file(`${book}.manifest.json`), 'utf8').replace(
        /("recon-file\/1"(?:.|\n)*"sha256": ")[0-9a-f]/,
        '$1x',
      ),
    );
    expect((await recon(['verify', book, 'forged.json'])).err).toContain('the signature does not fit the statement');
  });
});
