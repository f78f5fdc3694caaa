import { randomUUID } from 'node:crypto';
import type { Bench } from './bench';
import { blast, signedPost } from './load';
import { withRig } from './outbox-rig';
import { median } from './report';
import { settledRows } from './settled-rows';
import { freshDatabase, query, withHub } from './stage';

const CONNECTIONS = 64;
const PLAYERS = 5_000;
const REQUESTS_PER_SECOND_MAX = 12_000;
/**
 * GROWTH_TRANSACTIONS=1000000 npm run bench -- --only growth: for machines and evenings that are too short for the
 * whole.
 */
const WANTED = process.env.GROWTH_TRANSACTIONS;

/**
 * What years of settled debits cost the next one: accepting and draining beside full tables and beside empty ones, in
 * turns.
 */
export const growth: Bench = {
  name: 'growth',
  figures: ['ingest_at_10m', 'ingest_at_10m_after_checkpoint', 'drain_at_10m'],
  needsFullWindows: true,
  run: async ({ serverUrl, rounds, report, note }) => {
    const count = Number(WANTED ?? 10_000_000);
    const seconds = 6;
    const messages = 30_000;
    const empty = await freshDatabase(serverUrl, 'bench_empty');
    const full = await freshDatabase(serverUrl, 'bench_full');
    // The hub makes its partners when it starts; they must be there before the rows that name them.
    for (const url of [empty, full]) await withHub({ DATABASE_URL: url, ROLE: 'api' }, () => Promise.resolve());
    const settled = await settledRows(full, count, note);
    await settled.bulk();
    const rates = {
      checkpointEmpty: [] as number[],
      checkpointFull: [] as number[],
      ingestEmpty: [] as number[],
      ingestFull: [] as number[],
      drainEmpty: [] as number[],
      drainFull: [] as number[],
    };
    await withHub({ DATABASE_URL: empty, ROLE: 'api' }, (onEmpty) =>
      withHub({ DATABASE_URL: full, ROLE: 'api' }, async (onFull) => {
        for (const { port } of [onEmpty, onFull]) await accept(port, 1);
        rates.checkpointEmpty.push(await accept(onEmpty.port, seconds));
        rates.checkpointFull.push(await accept(onFull.port, seconds));
        await settled.rest();
        for (let round = 0; round < rounds; round += 1) {
          rates.ingestEmpty.push(await accept(onEmpty.port, seconds));
          rates.ingestFull.push(await accept(onFull.port, seconds));
        }
      }),
    );
    await withRig(empty, (onEmpty) =>
      withRig(full, async (onFull) => {
        for (let round = 0; round < rounds; round += 1)
          for (const [rig, drained] of [
            [onEmpty, rates.drainEmpty],
            [onFull, rates.drainFull],
          ] as const) {
            await rig.enqueue(messages);
            drained.push(await rig.drain());
          }
      }),
    );
    await query(serverUrl, 'drop database bench_full with (force)');
    const yardstick = `the same on empty tables; measured beside ${count} settled debits`;
    report({
      name: 'ingest_at_10m',
      value: median(rates.ingestFull),
      unit: 'debits/s',
      yardstick,
      yardstickValue: median(rates.ingestEmpty),
      rounds,
    });
    report({
      name: 'ingest_at_10m_after_checkpoint',
      value: median(rates.checkpointFull),
      unit: 'debits/s',
      yardstick,
      yardstickValue: median(rates.checkpointEmpty),
      rounds: 1,
    });
    report({
      name: 'drain_at_10m',
      value: median(rates.drainFull),
      unit: 'messages/s',
      yardstick,
      yardstickValue: median(rates.drainEmpty),
      rounds,
    });
  },
};

/** Keys and references are random: every insert meets another page of the two indexes that decide about repeats. */
async function accept(port: number, seconds: number): Promise<number> {
  const requests = Array.from({ length: seconds * REQUESTS_PER_SECOND_MAX }, (_, index) => {
    const reference = randomUUID().replaceAll('-', '');
    const body = JSON.stringify({
      playerId: `player-${index % PLAYERS}`,
      amountCents: 100 + (index % 900),
      currency: 'USD',
      refId: reference,
      roundId: `round-${reference}`,
    });
    return signedPost('/wallet/debit', body, '127.0.0.1', `Idempotency-Key: ${randomUUID()}\r\n`);
  });
  const { failures, perSecond } = await blast([port], requests, CONNECTIONS, seconds);
  if (failures > 0) throw new Error(`${failures} debits were not accepted`);
  return perSecond;
}
