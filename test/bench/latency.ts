import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { KeepAlive, percentile, signedDebits } from './load';
import { median, report } from './report';
import { freshDatabase, withHub } from './stage';

const RATE_PER_SECOND = 100;
const CONNECTIONS = 16;

/** An operator that does nothing but note when each reference arrived. */
async function withReceiver<T>(work: (url: string, arrivedAt: ReadonlyMap<string, number>) => Promise<T>): Promise<T> {
  const arrivedAt = new Map<string, number>();
  const server = http.createServer((request, response) => {
    const at = performance.now();
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const reference = /"reference":"([^"]+)"/.exec(body)?.[1];
      if (reference !== undefined && !arrivedAt.has(reference)) arrivedAt.set(reference, at);
      response.setHeader('Content-Type', 'application/json');
      response.end('{"status":"OK","balance":1.00}');
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, arrivedAt);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/**
 * From sending a debit to its arrival at the operator, at an even 100 debits a second, whatever the hub does in between. The yardstick is
 * the least that any hub must do: one commit of one row, then one HTTP call, at the same pace.
 */
export async function latency(serverUrl: string, { rounds, seconds }: { rounds: number; seconds: number }): Promise<void> {
  const hub: number[][] = [[], []];
  const bare: number[][] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    await withReceiver(async (url, arrivedAt) => {
      const database = await freshDatabase(serverUrl, 'bench_latency');
      await withHub({ DATABASE_URL: database, OPERATOR_BASE_URL: url, RGS_WEBHOOK_URL: `${url}/webhooks` }, async (port) => {
        await measured(port, arrivedAt, 200, `warm-${round}`);
        collect(hub, await measured(port, arrivedAt, RATE_PER_SECOND * seconds, `run-${round}`));
      });
      collect(bare, await commitAndCall(database, url, RATE_PER_SECOND * Math.min(seconds, 5)));
    });
  }
  const yardstick = 'one commit and one HTTP call, no hub';
  report({ name: 'accept_to_operator_p50_ms', value: median(hub[0] ?? []), unit: 'ms', yardstick, yardstickValue: median(bare[0] ?? []), rounds });
  report({ name: 'accept_to_operator_p99_ms', value: median(hub[1] ?? []), unit: 'ms', yardstick, yardstickValue: median(bare[1] ?? []), rounds });
}

function collect(figures: number[][], sorted: Float64Array): void {
  figures[0]?.push(percentile(sorted, 0.5));
  figures[1]?.push(percentile(sorted, 0.99));
}

/** Open loop: the next debit leaves on time even if earlier ones are late, so a stall is not hidden by waiting for it. */
async function measured(port: number, arrivedAt: ReadonlyMap<string, number>, count: number, prefix: string): Promise<Float64Array> {
  const requests = signedDebits(count, { host: `127.0.0.1:${port}`, secret: 'change_secret', token: 'change_token', players: 5000, prefix });
  const connections = await Promise.all(Array.from({ length: CONNECTIONS }, () => KeepAlive.open(port)));
  const idle = [...connections];
  const sentAt: number[] = [];
  const sends: Promise<void>[] = [];
  const started = performance.now();
  for (const [index, request] of requests.entries()) {
    const due = started + (index * 1000) / RATE_PER_SECOND;
    const wait = due - performance.now();
    if (wait > 0) await delay(wait);
    const connection = idle.pop() ?? (await KeepAlive.open(port));
    sentAt[index] = performance.now();
    sends.push(
      connection.send(request).then((status) => {
        if (status !== 200) throw new Error(`a debit was answered ${status}`);
        idle.push(connection);
      }),
    );
  }
  await Promise.all(sends);
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline && !requests.every((_, index) => arrivedAt.has(`${prefix}-${index}`))) await delay(20);
  for (const connection of idle) connection.close();
  return Float64Array.from(requests, (_, index) => {
    const at = arrivedAt.get(`${prefix}-${index}`);
    if (at === undefined) throw new Error(`debit ${prefix}-${index} never reached the operator`);
    return at - (sentAt[index] ?? 0);
  }).sort();
}

async function commitAndCall(database: string, url: string, count: number): Promise<Float64Array> {
  const agent = new http.Agent({ keepAlive: true });
  const client = new Client({ connectionString: database });
  await client.connect();
  await client.query('create table bench_bare (n integer primary key)');
  const took = new Float64Array(count);
  for (let n = 0; n < count; n += 1) {
    const started = performance.now();
    await client.query('insert into bench_bare values ($1)', [n]);
    await post(url, agent, `{"reference":"bare-${n}"}`);
    took[n] = performance.now() - started;
    await delay(Math.max(0, 1000 / RATE_PER_SECOND - (performance.now() - started)));
  }
  await client.end();
  agent.destroy();
  return took.sort();
}

function post(url: string, agent: http.Agent, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'POST', agent, headers: { 'Content-Type': 'application/json', 'Content-Length': body.length } }, (response) => {
      response.resume();
      response.on('end', resolve);
    });
    request.on('error', reject);
    request.end(body);
  });
}
