import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { Bench } from './bench';
import { ConnectionPool, percentile, signedDebits } from './load';
import { withReceiver } from './receiver';
import { median } from './report';
import { freshDatabase, withHub } from './stage';

const RATE_PER_SECOND = 200;

/**
 * From sending a debit to its arrival at the operator, at an even 200 debits a second, whatever the hub does in
 * between. The yardstick is the least that any hub must do: one commit of one row, then one HTTP call.
 */
export const latency: Bench = {
  name: 'latency',
  figures: ['accept_to_operator_p50_ms', 'accept_to_operator_p99_ms'],
  run: async ({ serverUrl, quick, rounds, report }) => {
    const seconds = quick ? 3 : 10;
    const hub: number[][] = [[], []];
    const bare: number[][] = [[], []];
    const arrivedAt = new Map<string, number>();
    const note = (_path: string, body: string): string => {
      const at = performance.now();
      const reference = /"reference":"([^"]+)"/.exec(body)?.[1];
      if (reference !== undefined && !arrivedAt.has(reference)) arrivedAt.set(reference, at);
      return '{"status":"OK","balance":1.00}';
    };
    await withReceiver(note, async (url) => {
      const [database, bareDatabase] = [
        await freshDatabase(serverUrl, 'bench_latency'),
        await freshDatabase(serverUrl, 'bench_latency_bare'),
      ];
      await withHub(
        { DATABASE_URL: database, OPERATOR_BASE_URL: url, RGS_WEBHOOK_URL: `${url}/webhooks` },
        async ({ port }) => {
          await measured(port, arrivedAt, 2 * RATE_PER_SECOND, 'warm');
          for (let round = 0; round < rounds; round += 1) {
            collect(hub, await measured(port, arrivedAt, RATE_PER_SECOND * seconds, `run-${round}`));
            collect(bare, await commitAndCall(bareDatabase, url, Math.min(seconds, 5)));
          }
        },
      );
    });
    const yardstick = 'one commit and one HTTP call, no hub';
    report({
      name: 'accept_to_operator_p50_ms',
      value: median(hub[0] ?? []),
      unit: 'ms',
      yardstick,
      yardstickValue: median(bare[0] ?? []),
      rounds,
    });
    report({
      name: 'accept_to_operator_p99_ms',
      value: median(hub[1] ?? []),
      unit: 'ms',
      yardstick,
      yardstickValue: median(bare[1] ?? []),
      rounds,
    });
  },
};

function collect(figures: number[][], sorted: Float64Array): void {
  figures[0]?.push(percentile(sorted, 0.5));
  figures[1]?.push(percentile(sorted, 0.99));
}

/**
 * Open loop: the next debit leaves on time even if earlier ones are late, so a stall is not hidden by waiting for it.
 */
export async function measured(
  port: number,
  arrivedAt: ReadonlyMap<string, number>,
  count: number,
  prefix: string,
): Promise<Float64Array> {
  const requests = signedDebits(count, { host: `127.0.0.1:${port}`, players: 5000, prefix });
  const connections = new ConnectionPool(port);
  const sentAt: number[] = [];
  const sends: Promise<void>[] = [];
  const started = performance.now();
  for (const [index, request] of requests.entries()) {
    const due = started + (index * 1000) / RATE_PER_SECOND;
    const wait = due - performance.now();
    if (wait > 0) await delay(wait);
    sentAt[index] = performance.now();
    sends.push(
      connections.send(request).then((status) => {
        if (status !== 200) throw new Error(`a debit was answered ${status}`);
      }),
    );
  }
  await Promise.all(sends);
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline && !requests.every((_, index) => arrivedAt.has(`${prefix}-${index}`)))
    await delay(20);
  connections.close();
  return Float64Array.from(requests, (_, index) => {
    const at = arrivedAt.get(`${prefix}-${index}`);
    if (at === undefined) throw new Error(`debit ${prefix}-${index} never reached the operator`);
    return at - (sentAt[index] ?? 0);
  }).sort();
}

async function commitAndCall(database: string, url: string, seconds: number): Promise<Float64Array> {
  const agent = new http.Agent({ keepAlive: true });
  const client = new Client({ connectionString: database });
  await client.connect();
  await client.query(
    'create table if not exists bench_bare (n bigint generated always as identity primary key, at timestamptz not null default now())',
  );
  const took: number[] = [];
  const end = performance.now() + seconds * 1000;
  for (let due = performance.now(); due < end; due += 1000 / RATE_PER_SECOND) {
    const wait = due - performance.now();
    if (wait > 0) await delay(wait);
    const started = performance.now();
    await client.query('insert into bench_bare default values');
    await post(url, agent, '{"reference":"bare"}');
    took.push(performance.now() - started);
  }
  await client.end();
  agent.destroy();
  return Float64Array.from(took).sort();
}

function post(url: string, agent: http.Agent, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      url,
      { method: 'POST', agent, headers: { 'Content-Type': 'application/json', 'Content-Length': body.length } },
      (response) => {
        response.resume();
        response.on('end', resolve);
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}
