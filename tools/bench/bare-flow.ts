import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'pg';
import { toMajorUnits } from '../../src/kernel/money';

/**
 * The yardstick of the full flow: debit, call to the operator, callback and webhook on bare node:http, each step with
 * one commit of one small row, as the plainest service that loses nothing would do it. It checks nothing, keeps no
 * order and repeats nothing.
 */
interface Movement {
  readonly playerId: string;
  readonly amountCents: number;
  readonly currency: string;
  readonly refId: string;
}

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 16 });
const agent = new http.Agent({ keepAlive: true, maxSockets: 64, scheduling: 'lifo' });
const partnerUrl = process.env.PARTNER_URL ?? '';

async function write(step: string, reference: string): Promise<void> {
  await pool.query({
    name: 'step',
    text: 'insert into bench_flow (step, reference) values ($1, $2)',
    values: [step, reference],
  });
}

function post(path: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      partnerUrl + path,
      {
        method: 'POST',
        agent,
        headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
      },
      (response) => {
        response.resume();
        response.on('end', resolve);
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

async function deliver({ playerId, amountCents, currency, refId }: Movement): Promise<void> {
  await post(
    `/v2/players/${playerId}/withdraw`,
    `{"amount":${toMajorUnits(BigInt(amountCents), 2)},"currency":"${currency}","reference":"${refId}","correlationId":"${refId}"}`,
  );
  await write('settled', refId);
  await post('/webhooks', `{"playerId":"${playerId}","status":"OK","event":"debit","refId":"${refId}"}`);
  await write('told', refId);
}

async function handle(path: string | undefined, raw: Buffer): Promise<string> {
  const movement = JSON.parse(raw.toString()) as Movement;
  if (path === '/webhooks/incoming') {
    await write('callback', movement.refId);
    return '{"status":"accepted"}';
  }
  await write('accepted', movement.refId);
  deliver(movement).catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exit(1);
  });
  return `{"status":"initiated","refId":"${movement.refId}"}`;
}

const server = http.createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    handle(request.url, Buffer.concat(chunks)).then(
      (body) =>
        response
          .writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) })
          .end(body),
      () => response.writeHead(500, { 'Content-Length': 0 }).end(),
    );
  });
});

async function main(): Promise<void> {
  await pool.query(
    'create table bench_flow (id bigint generated always as identity primary key, step text not null, reference text not null, at timestamptz not null default now())',
  );
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
}

process.on('SIGTERM', () => process.exit(0));
main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
});
