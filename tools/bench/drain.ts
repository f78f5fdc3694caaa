import { DataSource } from 'typeorm';
import { Client } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { dataSourceOptions } from '../../src/database/data-source';
import { Database, HotDatabase } from '../../src/database/database';
import { SystemClock } from '../../src/kernel/clock';
import { Heartbeats } from '../../src/observability/heartbeats';
import { Logger } from '../../src/observability/logger';
import { Metrics } from '../../src/observability/metrics';
import { DeliveryLoop } from '../../src/outbox/delivery-loop';
import { Outbox } from '../../src/outbox/outbox';
import type { LeasedMessage } from '../../src/outbox/outbox-message';
import { OutboxRecordsStore } from '../../src/outbox/outbox-records.store';
import { OutboxStore } from '../../src/outbox/outbox.store';
import type { SendLimits, Sender } from '../../src/outbox/sender';
import { LostLeases } from '../../src/outbox/lost-leases';
import { ResultCommitter } from '../../src/outbox/result-committer';
import type { WakeUps } from '../../src/outbox/wake-ups';
import type { Partner } from '../../src/partners/partner';
import type { PartnerDirectory } from '../../src/partners/partner-directory';
import type { Bench } from './bench';
import { type PeerMessage, drainGraphile, drainPgBoss } from './peers';
import { median } from './report';
import { freshDatabase, query } from './stage';

const LANES = 2_000;
const SLOTS = 512;
const CONSUMERS = 8;

const BODY = '{"playerId":"player","amountCents":500,"currency":"USD","status":"OK","event":"debit"}';

/**
 * Ordered messages per second through claim, send and settle when sending costs nothing. Three yardsticks drain the
 * same messages: the plainest queue in the same database (eight sessions that take the oldest row with SKIP LOCKED,
 * delete it, log the attempt and commit, all inside the server; it keeps no order and has no leases, and no client
 * costs anything), pg-boss and graphile-worker.
 */
export const drain: Bench = {
  name: 'drain',
  figures: ['drain_ordered', 'drain_vs_pgboss_fifo', 'drain_vs_graphile'],
  run: async ({ serverUrl, quick, rounds, report }) => {
    const count = quick ? 20_000 : 40_000;
    // The peers are slower; a part of the messages tells their pace, and keeps the run short.
    const messages = (size: number): PeerMessage[] =>
      Array.from({ length: size }, (_, index) => ({ lane: `player-${index % LANES}`, body: BODY }));
    const drained: number[] = [];
    const plain: number[] = [];
    const boss: number[] = [];
    const graphile: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      drained.push(await drainOutbox(await freshDatabase(serverUrl, 'bench_drain'), count));
      plain.push(await drainPlainQueue(await freshDatabase(serverUrl, 'bench_plain'), Math.round(count / 2)));
      boss.push(await drainPgBoss(await freshDatabase(serverUrl, 'bench_boss'), messages(Math.round(count / 8))));
      graphile.push(
        await drainGraphile(await freshDatabase(serverUrl, 'bench_graphile'), messages(Math.round(count / 8))),
      );
    }
    const value = median(drained);
    const unit = 'messages/s';
    report({
      name: 'drain_ordered',
      value,
      unit,
      yardstick: `SKIP LOCKED queue in SQL, ${CONSUMERS} sessions, one commit each, no order`,
      yardstickValue: median(plain),
      rounds,
    });
    report({
      name: 'drain_vs_pgboss_fifo',
      value,
      unit,
      yardstick: 'pg-boss, strict FIFO keys',
      yardstickValue: median(boss),
      rounds,
    });
    report({
      name: 'drain_vs_graphile',
      value,
      unit,
      yardstick: 'graphile-worker, 10 jobs at a time, no order',
      yardstickValue: median(graphile),
      rounds,
    });
  },
};

async function drainOutbox(url: string, count: number): Promise<number> {
  await query(
    url,
    `insert into partner (code, role, base_url, currencies) values ('bench', 'rgs', 'http://127.0.0.1:9/', '{USD}')`,
  );
  const pools = await Promise.all(
    ['bench', 'bench-hot'].map((applicationName) =>
      new DataSource({
        ...dataSourceOptions(url, { applicationName, poolSize: 8 }),
        entities: [],
        migrations: [],
      }).initialize(),
    ),
  );
  const [plain, hot] = pools.map((pool) => new HotDatabase(pool)) as [Database, HotDatabase];
  const logger = new Logger('silent');
  const metrics = new Metrics();
  const store = new OutboxStore(plain, hot);
  const outbox = new Outbox(store, { wake: () => undefined } as unknown as WakeUps, new OutboxRecordsStore(plain));
  const committer = new ResultCommitter(hot, store, outbox, logger, metrics);
  committer.nameReplica('bench');
  await store.upsertDestinations([
    { id: 1, queue: 'rgs', ratePerSecond: 0, burst: 1, breakerFailures: 10, breakerOpenSeconds: 10 },
  ]);
  for (let from = 0; from < count; from += 2_000)
    await plain.transaction((tx) =>
      store.enqueue(
        tx,
        Array.from({ length: Math.min(2_000, count - from) }, (_, index) => ({
          id: uuidv7(),
          destinationId: 1,
          operatorId: 1,
          rgsId: 1,
          laneKey: `player-${(from + index) % LANES}`,
          eventType: 'bench',
          transactionId: null,
          path: '',
          expiresInSeconds: null,
          body: BODY,
        })),
      ),
    );
  await query(url, 'vacuum analyze');

  let sent = 0;
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const noop = {
    send: (destination: Partner, message: LeasedMessage, _limits: SendLimits) => {
      sent += 1;
      if (sent === count) finish();
      return Promise.resolve({
        healthy: true,
        result: {
          queue: 'rgs' as const,
          message,
          destination,
          status: 200,
          durationMs: 0,
          verdict: { class: 'delivered' as const, reason: null, retryAfterMs: null },
          proposed: { outcome: 'sent' as const, delayMs: 0 },
        },
      });
    },
  };
  const destination = {
    id: 1,
    code: 'bench',
    role: 'rgs',
    timeoutMs: 1000,
    idempotentByReference: true,
  } as unknown as Partner;
  const settings = {
    replica: 'bench',
    slotsMax: SLOTS,
    leaseMs: 30_000,
    ratePerSecond: 0,
    graceMs: 10_000,
    callbackTimeoutMs: 60_000,
  };
  const loop = new DeliveryLoop(destination.id, settings, {
    partners: { byId: () => destination } as unknown as PartnerDirectory,
    store,
    outbox,
    sender: noop as unknown as Sender,
    committer,
    lostLeases: new LostLeases(store, logger),
    logger,
    metrics,
    heartbeats: new Heartbeats(new SystemClock()),
  });
  const started = performance.now();
  loop.start();
  await finished;
  await loop.stop(10_000);
  const perSecond = count / ((performance.now() - started) / 1000);
  const [left] = await plain.rows<{ n: string }>(`select count(*) as n from outbox_head`);
  if (left?.n !== '0') throw new Error(`${left?.n} heads are left`);
  await Promise.all(pools.map((pool) => pool.destroy()));
  return perSecond;
}

async function drainPlainQueue(url: string, count: number): Promise<number> {
  await query(
    url,
    `create table bench_queue (id bigint generated always as identity primary key, lane text not null, body text not null);
     create table bench_attempt (id bigint not null, at timestamptz not null default clock_timestamp(), outcome text not null);
     create procedure bench_consume() language plpgsql as $$
     declare v_id bigint;
     begin
       loop
         delete from bench_queue where id = (select id from bench_queue order by id limit 1 for update skip locked) returning id into v_id;
         exit when v_id is null;
         insert into bench_attempt (id, outcome) values (v_id, 'sent');
         commit;
       end loop;
     end $$`,
  );
  await query(
    url,
    `insert into bench_queue (lane, body) select 'player-' || n % ${LANES}, repeat('x', 90) from generate_series(1, ${count}) n`,
  );
  await query(url, 'vacuum analyze');
  const clients = await Promise.all(
    Array.from({ length: CONSUMERS }, async () => {
      const client = new Client({ connectionString: url });
      await client.connect();
      return client;
    }),
  );
  const started = performance.now();
  await Promise.all(clients.map((client) => client.query('call bench_consume()')));
  const perSecond = count / ((performance.now() - started) / 1000);
  await Promise.all(clients.map((client) => client.end()));
  return perSecond;
}
