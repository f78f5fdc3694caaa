import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../support/hub/hub-process';
import { signatureOf } from '../support/hub/signed-request';
import { ownedChild } from '../support/leftovers';
import { waitFor } from '../support/wait-for';

const ROOT = path.resolve(__dirname, '../..');
/** Another checkout that is built: its bytes are compared with those of the file. */
const BUILD = process.env.GOLDEN_BUILD ?? ROOT;
const FILE = path.join(__dirname, 'golden-bytes.txt');
const TOKEN = 'change_token';
const SECRET = 'change_secret';

type Reply = (request: { path: string; body: string }) => { status: number; body: string };

/** A partner that writes down each request to the byte, headers in their order. */
class Recorder {
  readonly seen: string[] = [];
  private readonly server = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts).toString();
      const headers = request.rawHeaders.flatMap((name, index, all) =>
        index % 2 === 0 ? [`${name}: ${all[index + 1]}`] : [],
      );
      this.seen.push([`${request.method} ${request.url}`, ...headers, '', body].join('\n'));
      const reply = this.reply({ path: request.url ?? '/', body });
      response.writeHead(reply.status, { 'content-type': 'application/json' }).end(reply.body);
    });
  });

  constructor(private readonly reply: Reply) {}

  async start(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}

/** What differs from run to run, by the order in which it first appears: ids, times, signatures, ports. */
function normalised(text: string): string {
  const names = new Map<string, string>();
  const named = (kind: string) => (value: string) => {
    const key = `${kind} ${value}`;
    if (!names.has(key))
      names.set(key, `<${kind} ${[...names.keys()].filter((each) => each.startsWith(kind)).length + 1}>`);
    return names.get(key) ?? '';
  };
  return text
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, named('id'))
    .replace(/\b[0-9a-f]{64}\b/g, '<hex>')
    .replace(/(v1a?,)[A-Za-z0-9+/=]{40,}/g, '$1<base64>')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<time>')
    .replace(/\b1[789]\d{8}\b/g, '<unix>')
    .replace(/127\.0\.0\.1:\d+/g, '<host>')
    .replace(/^(etag|x-request-id): .*$/gim, '$1: <any>');
}

/** Bytes that partners see: requests to the operator, webhooks, responses of the hub with their headers, and the file of finance. */
describe('the bytes on the wire', () => {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'hub-golden-'));
  let child: ChildProcess;
  let hub: string;
  const told: string[] = [];
  const operator = new Recorder(({ path: where, body }) => {
    if (where.startsWith('/v2/transactions')) return { status: 200, body: '[]' };
    if (body.includes('player-poor'))
      return { status: 200, body: '{"status":"REJECTED","reason":"INSUFFICIENT_FUNDS","balance":0.50}' };
    if (body.includes('player-later')) return { status: 202, body: '{"status":"PENDING"}' };
    return { status: 200, body: '{"status":"OK","balance":980.01}' };
  });
  const rgs = new Recorder(({ path: where }) => ({ status: 200, body: where.includes('transactions') ? '[]' : '{}' }));

  beforeAll(async () => {
    const port = await freePort();
    hub = `http://127.0.0.1:${port}`;
    child = ownedChild(
      spawn(process.execPath, [path.join(BUILD, 'dist/src/main.js')], {
        cwd: BUILD,
        env: {
          PATH: process.env.PATH ?? '',
          NODE_ENV: 'test',
          HOST: '127.0.0.1',
          PORT: String(port),
          DATA_DIR: dataDir,
          LOG_LEVEL: 'silent',
          OPERATOR_BASE_URL: await operator.start(),
          RGS_WEBHOOK_URL: `${await rgs.start()}/webhooks`,
        },
        stdio: 'ignore',
      }),
    );
    await waitFor('the hub is ready', async () => (await fetch(`${hub}/health/ready`)).ok, 90_000);
  }, 120_000);
  afterAll(async () => {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
    operator.stop();
    rgs.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }, 60_000);

  const call = async (
    title: string,
    method: string,
    where: string,
    body = '',
    more: Record<string, string | null> = {},
  ) => {
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const headers = Object.entries({
      authorization: `Bearer ${TOKEN}`,
      'x-timestamp': timestamp,
      'x-signature': signatureOf(SECRET, timestamp, body),
      ...(body === '' ? {} : { 'content-type': 'application/json', 'idempotency-key': `key of ${title}` }),
      ...more,
    }).filter((header): header is [string, string] => header[1] !== null);
    const response = await fetch(hub + where, { method, headers, ...(body === '' ? {} : { body }) });
    const text = await response.text();
    const kept = [...response.headers].filter(([name]) => !['date', 'connection', 'keep-alive'].includes(name));
    told.push(
      [`## ${title}`, String(response.status), ...kept.map((header) => header.join(': ')), '', text].join('\n'),
    );
    return text;
  };
  const idOf = (text: string): string => (JSON.parse(text) as { transactionId: string }).transactionId;
  const webhooks = (count: number) =>
    waitFor(
      `${count} webhooks`,
      () => rgs.seen.filter((each) => each.startsWith('POST /webhooks')).length === count,
      30_000,
    );
  const movement = (playerId: string, refId: string, more: Record<string, unknown> = {}) =>
    JSON.stringify({ playerId, amountCents: 1999, currency: 'USD', refId, ...more });

  it('are those of golden-bytes.txt', async () => {
    const bet = movement('player-1', 'bet-1', { gameId: 'game-1', roundId: 'round-1' });
    const first = idOf(await call('debit', 'POST', '/wallet/debit', bet));
    await webhooks(1);
    await call('debit, repeated', 'POST', '/wallet/debit', bet, { 'idempotency-key': 'key of debit' });
    await call('debit, other data', 'POST', '/wallet/debit', movement('player-1', 'bet-1', { amountCents: 1 }));
    await call('credit', 'POST', '/wallet/credit', movement('player-1', 'win-1', { roundId: 'round-1' }));
    await webhooks(2);
    await call('debit, refused', 'POST', '/wallet/debit', movement('player-poor', 'bet-2'));
    await webhooks(3);
    await call('debit, to be rolled back', 'POST', '/wallet/debit', movement('player-1', 'bet-4'));
    await webhooks(4);
    await call(
      'rollback',
      'POST',
      '/wallet/rollback',
      JSON.stringify({ playerId: 'player-1', refId: 'undo-1', originalRefId: 'bet-4' }),
    );
    await webhooks(5);
    await call('debit, later', 'POST', '/wallet/debit', movement('player-later', 'bet-3'));
    await waitFor(
      'the operator has the later bet',
      () => operator.seen.some((each) => each.includes('player-later')),
      30_000,
    );
    await call(
      'callback',
      'POST',
      '/webhooks/incoming',
      JSON.stringify({
        playerId: 'player-later',
        direction: 'withdraw',
        reference: 'bet-3',
        status: 'OK',
        balance: 12.5,
      }),
    );
    await webhooks(6);
    await call('look-up', 'GET', `/wallet/transactions/${first}`);
    await call('round', 'GET', '/rounds/round-1');
    await call('wrong signature', 'POST', '/wallet/debit', bet, { 'x-signature': '0'.repeat(64) });
    await call('no signature', 'POST', '/wallet/debit', bet, { 'x-signature': null, 'x-timestamp': null });
    await call('no token', 'POST', '/wallet/debit', bet, { authorization: null });
    await call('no key', 'POST', '/wallet/debit', bet, { 'idempotency-key': null });
    await call('wrong fields', 'POST', '/wallet/debit', '{"playerId":"","amountCents":1.5,"currency":"usd"}');
    await call('no JSON', 'POST', '/wallet/debit', '{"playerId":');
    await call('no such path', 'GET', '/wallet/nothing');
    await call('no such method', 'DELETE', '/wallet/debit');
    await call('file', 'GET', '/reconciliation_data');
    const sent = (recorder: Recorder, title: string) => recorder.seen.map((each, n) => `## ${title} ${n + 1}\n${each}`);
    const bytes =
      normalised([...told, ...sent(operator, 'to the operator'), ...sent(rgs, 'to the RGS')].join('\n\n')) + '\n';
    if (process.env.GOLDEN_RECORD !== undefined) writeFileSync(FILE, bytes);
    expect(existsSync(FILE)).toBe(true);
    expect(bytes).toBe(readFileSync(FILE, 'utf8'));
  }, 180_000);
});
