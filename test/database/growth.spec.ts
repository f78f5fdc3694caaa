import { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { dataSourceOptions } from '../../src/database/data-source';
import { Database, HotDatabase, type Parameter, type ReportsDatabase, type Tx } from '../../src/database/database';
import { OutboxMaintenance } from '../../src/outbox/outbox-maintenance';
import type { LeasedMessage } from '../../src/outbox/outbox-message';
import { OutboxStore } from '../../src/outbox/outbox.store';
import { OutboxRecordsStore, type OutboxRecord, type RecordFilter } from '../../src/outbox/outbox-records.store';
import { RollbackStore } from '../../src/wallet/rollback.store';
import { RoundsStore } from '../../src/wallet/rounds.store';
import type { Transaction } from '../../src/wallet/transaction';
import { type NewMovement, WalletStore } from '../../src/wallet/wallet.store';
import { metric } from '../support/money';
import { OutboxLanes, newMessage } from '../support/hub/outbox-lanes';
import { type TestDatabase, testDatabase, withClient } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';

const WEEK_MS = 7 * 86_400_000;
const MANY = 20_000;
/** What a look-up by index may read beside what it answers; reading the table would be twenty thousand. */
const FEW = 1_000;

/** Rows that this transaction has read so far, by relation. */
async function rowsRead(tx: Tx): Promise<number> {
  const [row] = await tx.rows<{ n: number }>(
    'select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::integer as n from pg_stat_xact_user_tables',
  );
  return row?.n ?? 0;
}

/** A bet in a round of its own, by a player who has many; the first one ends its round. */
function bet(n: number): NewMovement {
  const names = {
    playerId: `player-${n}`,
    externalPlayerId: `player-${n}`,
    refId: `bet-${n}`,
    roundId: `fresh-${n}`,
    idempotencyKey: `key-${n}`,
    fingerprint: '00',
    signature: null,
    externalRef: null,
  };
  const about = {
    operatorId: 1,
    rgsId: 2,
    movement: 'debit',
    kind: 'regular',
    amountMinor: 100n,
    currency: 'USD',
    exponent: 2,
    gameId: null,
    sessionId: null,
    meta: null,
    waited: false,
    isFree: false,
    warnings: null,
    wantsMatch: false,
  } as const;
  return {
    ...names,
    ...about,
    id: uuidv7(),
    roundClosed: n === 0,
    messageId: uuidv7(),
    path: '/',
    body: '{}',
    deadlineSeconds: 60,
  };
}

describe('a store that has grown', () => {
  describe('its list of records', () => {
    let lanes: OutboxLanes;
    let destination: number;
    beforeAll(async () => {
      lanes = await OutboxLanes.open(1);
      destination = await lanes.newDestination();
      await lanes.database.asOwner('analyze outbox_head, outbox_lane, outbox_message, outbox_attempt, outbox_dead');
      // Old and still open: a head that waits, one that failed, one that is dead and stops its lane, with two behind
      // each.
      for (const lane of ['waiting', 'failed', 'blocked'])
        await lanes.transaction((tx) =>
          lanes.store.enqueue(
            tx,
            Array.from({ length: 3 }, () => newMessage(destination, lane)),
          ),
        );
      const leases = await lanes.claim(destination, 3);
      await lanes.settle(
        leases.filter(({ laneKey }) => laneKey === 'failed'),
        'retry',
        3_600_000,
      );
      await lanes.settle(
        leases.filter(({ laneKey }) => laneKey === 'blocked'),
        'blocked',
      );
      await lanes.settle(
        leases.filter(({ laneKey }) => laneKey === 'waiting'),
        'released',
        3_600_000,
      );
      // Everything since then was sent. Nobody has told the planner.
      await lanes.query(
        `with message as (
           insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, path, body)
           select rpad(lpad(to_hex((extract(epoch from now()) * 1000)::bigint + 1000), 12, '0') || '7' || lpad(to_hex(n), 8, '0'), 32, '0')::uuid, $1, $1, $1, 'player-' || n, 1, 'debit', '', '{}' from generate_series(1, ${MANY}) n
           returning lane_key
         ) insert into outbox_lane (destination_id, lane_key, last_seq, head_seq) select $1, lane_key, 1, 2 from message`,
        [destination],
      );
    });
    afterAll(() => lanes.close());

    const listed = (filter: RecordFilter): Promise<{ records: OutboxRecord[]; read: number }> =>
      lanes.transaction(async (tx) => {
        const before = await rowsRead(tx);
        const records = await new OutboxRecordsStore(tx as unknown as Database).list(filter);
        return { records, read: (await rowsRead(tx)) - before };
      });

    it.each([
      ['pending', 7],
      ['failed', 1],
      ['dead', 1],
    ] as const)('finds what is %s without a walk through what was sent', async (status, count) => {
      const { records, read } = await listed({ status, limit: 100 });
      expect(records.map((record) => record.status)).toEqual(Array(count).fill(status));
      expect(records.map(({ id }) => id)).toEqual(
        records
          .map(({ id }) => id)
          .toSorted()
          .reverse(),
      );
      expect(read).toBeLessThan(FEW);
    });

    it('turns the pages of what is pending without losing or repeating any', async () => {
      const pages: string[] = [];
      for (
        let before: string | undefined, page: OutboxRecord[] = [];
        pages.length === 0 || page.length > 0;
        before = page.at(-1)?.id
      ) {
        ({ records: page } = await listed({
          status: 'pending',
          queue: 'rgs',
          limit: 3,
          ...(before === undefined ? {} : { before }),
        }));
        pages.push(...page.map(({ id }) => id));
      }
      expect(pages).toEqual((await listed({ status: 'pending', limit: 100 })).records.map(({ id }) => id));
      expect((await listed({ status: 'pending', queue: 'operator', limit: 100 })).records).toEqual([]);
    });

    it('shows a page of everything, or of what was sent, by reading a page', async () => {
      for (const filter of [{ limit: 50 }, { status: 'sent', limit: 50 }] as const) {
        const { records, read } = await listed(filter);
        expect(records).toHaveLength(50);
        expect(read).toBeLessThan(FEW);
      }
    });
  });

  describe('its wallet, under statistics that are out of date', () => {
    let database: TestDatabase;
    let dataSource: DataSource;
    let sql: Database;
    let newest: string[];
    beforeAll(async () => {
      database = await testDatabase();
      dataSource = await new DataSource({
        ...dataSourceOptions(database.url, { applicationName: 'growth', poolSize: 1 }),
        entities: [],
        migrations: [],
      }).initialize();
      sql = new Database(dataSource);
      await database.asOwner('alter table wallet_transaction set (autovacuum_enabled = false)');
      await database.asOwner('analyze wallet_transaction, wallet_event, idempotency_key, wallet_round');
      // A day of debits; the newest are open.
      await sql.rows(
        `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, round_id, message_id, state, settled_at, created_at, deadline_at)
         select (left(uuid_v7_floor(at)::text, 14) || '7' || right(gen_random_uuid()::text, 21))::uuid, 1, 2, 'debit', 'player-' || n % 500, 'player-' || n % 500, 'ref-' || n, 100, 'USD', 2, 'round-' || n % 2000, gen_random_uuid(),
           case when n > ${MANY} - 10 then 'initiated' else 'confirmed' end, case when n <= ${MANY} - 10 then at end, at, at + interval '60 seconds'
         from generate_series(1, ${MANY}) n, lateral (select now() - interval '1 day' * (${MANY} - n) / ${MANY} - interval '90 seconds' as at) t`,
      );
      newest = (await sql.rows<{ id: string }>('select id from wallet_transaction order by id desc limit 10')).map(
        ({ id }) => id,
      );
      await sql.rows(`insert into wallet_cursor (name, at) values ('deadline:60', now() - interval '65 seconds')`);
      // All rounds were closed when the planner last looked. Since then a quarter as many were opened, and stay open.
      await database.asOwner('alter table wallet_round set (autovacuum_enabled = false)');
      await sql.rows(
        `insert into wallet_round (rgs_id, round_id, player_id, operator_id, closed_at) select 2, 'closed-' || n, 'player-' || n % 500, 1, now() from generate_series(1, ${MANY}) n`,
      );
      await database.asOwner('analyze wallet_round');
      await sql.rows(
        `insert into wallet_round (rgs_id, round_id, player_id, operator_id) select 2, 'round-' || n % 2000, 'player-' || n % 500, 1 from generate_series(1, 4999) n on conflict do nothing`,
      );
    });
    afterAll(async () => {
      await dataSource.destroy();
      await database.drop();
    });

    const reads: Record<string, (store: WalletStore, tx: Tx) => Promise<unknown>> = {
      'the sweep of waiting callers': (store) => store.settledOf(newest),
      'the sweep of deadlines': (store) => store.overdueDebits(60, 500, null),
      'the locks of a settling batch': (store, tx) => store.lock(tx, newest),
      'one transaction': (store, tx) => store.find(tx, newest[0] ?? ''),
      'accepting a batch': (store) => store.accept(Array.from({ length: 50 }, (_, n) => bet(n))),
      'a round': (_, tx) =>
        new RoundsStore(tx as unknown as Database, tx as unknown as ReportsDatabase).round(2, 'round-7'),
      'closing a round': (_, tx) =>
        new RoundsStore(tx as unknown as Database, tx as unknown as ReportsDatabase).close(2, 'round-7'),
      'whether a round was won': (_, tx) =>
        new RollbackStore().roundHasCredit(tx, {
          rgsId: 2,
          operatorId: 1,
          playerId: 'player-7',
          roundId: 'round-7',
        } as Transaction),
      'a list by player': (store) => store.list(2, { playerId: 'player-7', limit: 50 }),
      'a list by round': (store) => store.list(2, { roundId: 'round-7', limit: 50 }),
      'a list by reference': (store) => store.list(2, { refId: 'ref-777', limit: 50 }),
      'a list by id': (store) => store.list(2, { correlationId: newest[0] ?? '', limit: 50 }),
    };

    it.each(Object.keys(reads))('%s: by index', async (name) => {
      // Lists have filters that may be left out, and are planned for the values of each request; the others may get a
      // plan for any values.
      for (const mode of name.startsWith('a list') ? ['auto'] : ['auto', 'force_generic_plan']) {
        const read = await sql.transaction(async (tx) => {
          await tx.rows(`set local plan_cache_mode = ${mode}`);
          const before = await rowsRead(tx);
          const hot = {
            prepared: (_: string, text: string, parameters: readonly Parameter[]) => tx.rows(text, parameters),
          };
          await reads[name]?.(new WalletStore(tx as unknown as Database, hot as unknown as HotDatabase), tx);
          return (await rowsRead(tx)) - before;
        });
        expect({ mode, read, few: read < FEW }).toEqual({ mode, read: expect.any(Number), few: true });
        expect(read).toBeGreaterThan(0);
      }
    });
  });

  describe('under plans that were made while it was empty, before the first look of autovacuum', () => {
    let database: TestDatabase;
    let dataSource: DataSource;
    let sql: Database;
    let outbox: OutboxStore;
    let messages: LeasedMessage[];
    const DESTINATION = 1;
    /** Over the one connection, whose functions keep their plans. */
    const on = (tx: Tx): HotDatabase =>
      ({
        prepared: (_: string, text: string, parameters: readonly Parameter[]) => tx.rows(text, parameters),
      }) as unknown as HotDatabase;
    const accept = (tx: Tx, first: number, size: number): Promise<unknown> =>
      new WalletStore(tx as unknown as Database, on(tx)).accept(
        Array.from({ length: size }, (_, n) => ({ ...bet(first + n), signature: String(first + n) })),
      );
    const claim = async (tx: Tx, want: number): Promise<void> => {
      ({ messages } = await new OutboxStore(tx as unknown as Database, on(tx)).claim(
        DESTINATION,
        want,
        60_000,
        60_000,
        'growth',
        new Date(0),
      ));
    };
    const settle = async (tx: Tx): Promise<void> => {
      expect(new Set(await outbox.lock(tx, messages))).toEqual(new Set(['ok']));
      await outbox.settle(
        tx,
        messages.map(({ id }) => ({
          id,
          outcome: 'sent',
          class: 'delivered',
          status: 200,
          error: null,
          durationMs: 1,
          delayMs: 0,
          open: true,
          landing: null,
        })),
        'growth',
      );
    };

    beforeAll(async () => {
      database = await testDatabase();
      dataSource = await new DataSource({
        ...dataSourceOptions(database.url, { applicationName: 'growth', poolSize: 1 }),
        entities: [],
        migrations: [],
      }).initialize();
      sql = new Database(dataSource);
      outbox = new OutboxStore(sql, new HotDatabase(dataSource));
      for (const table of ['wallet_transaction', 'wallet_round', 'idempotency_key', 'outbox_head', 'outbox_lane'])
        await database.asOwner(`alter table ${table} set (autovacuum_enabled = false)`);
      await database.query(
        `insert into partner (id, code, role, base_url, currencies) overriding system value values (1, 'growth-operator', 'operator', 'http://127.0.0.1:1', '{USD}'), (2, 'growth-rgs', 'rgs', 'http://127.0.0.1:1', '{USD}') on conflict do nothing`,
      );
      await outbox.upsertDestinations([
        { id: DESTINATION, queue: 'operator', ratePerSecond: 0, burst: 1, breakerFailures: 10, breakerOpenSeconds: 10 },
      ]);
      const hot = new HotDatabase(dataSource);
      // Often enough that each statement has its plan for any values.
      for (let n = 0; n < 8; n += 1) {
        await sql.transaction((tx) => accept(tx, n * 2, 2));
        await sql.transaction((tx) => claim(tx, 10));
        await hot.transaction(settle);
      }
      for (let n = 0; n < MANY / 4; n += 500) await sql.transaction((tx) => accept(tx, 1_000 + n, 500));
    });
    afterAll(async () => {
      await dataSource.destroy();
      await database.drop();
    });

    it.each([
      ['accepting', (tx: Tx) => accept(tx, 100_000, 20)],
      ['claiming', (tx: Tx) => claim(tx, 20)],
      ['settling', settle],
    ])('%s goes by index', async (_, work) => {
      const read = await new HotDatabase(dataSource).transaction(async (tx) => {
        // As outside of such a transaction, in which accepting and claiming are called.
        if (work !== settle)
          await tx.rows(
            `select set_config(n, boot_val, true) from pg_settings s, unnest($1::text[]) n where s.name = n`,
            [['enable_seqscan', 'enable_mergejoin', 'enable_hashjoin', 'plan_cache_mode']],
          );
        const before = await rowsRead(tx);
        await work(tx);
        return (await rowsRead(tx)) - before;
      });
      expect(read).toBeLessThan(FEW);
    });
  });

  describe('its retention', () => {
    it('gives way to a report that reads old weeks, and tells of rows that no week fits', async () => {
      const hub = await TestHub.start({ env: { ROLE: 'worker' } });
      try {
        const week = (ago: number): Date => {
          const now = new Date(Date.now() - ago * WEEK_MS);
          return new Date(
            Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - ((now.getUTCDay() + 6) % 7)),
          );
        };
        const name = `outbox_attempt_${week(20).toISOString().slice(0, 10).replaceAll('-', '')}`;
        await hub.database.asOwner(
          `create table ${name} partition of outbox_attempt for values from ('${week(20).toISOString()}') to ('${week(19).toISOString()}')`,
        );
        const duties = hub.app.get(OutboxMaintenance);
        const isThere = async (): Promise<boolean> =>
          (await hub.database.query<{ there: boolean }>(`select to_regclass('${name}') is not null as there`))[0]
            ?.there ?? false;
        await withClient(hub.database.superuserUrl, async (report) => {
          await report.query('begin');
          await report.query('select count(*) from outbox_attempt');
          const started = performance.now();
          await duties.retention();
          expect(performance.now() - started).toBeLessThan(5_000);
          expect(await isThere()).toBe(true);
          await report.query('rollback');
        });
        await duties.retention();
        expect(await isThere()).toBe(false);

        await duties.growth();
        expect(await metric(hub, 'hub_outbox_default_partition_rows', { table: 'outbox_attempt' })).toBe(0);
        await hub.database.query(
          `insert into outbox_attempt (message_id, n, at, outcome, class, replica) values (gen_random_uuid(), 1, now() - interval '3 years', 'sent', 'delivered', 'test')`,
        );
        await duties.growth();
        expect(await metric(hub, 'hub_outbox_default_partition_rows', { table: 'outbox_attempt' })).toBe(1);
      } finally {
        await hub.stop();
      }
    });
  });
});
