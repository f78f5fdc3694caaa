import type { Pool } from 'pg';
import { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Tx } from '../../src/database/database';
import { Notifications } from '../../src/database/notifications';
import { Metrics } from '../../src/observability/metrics';
import { OutboxMaintenance } from '../../src/outbox/outbox-maintenance';
import { NO_FAULTS, OutboxLanes, newMessage } from '../support/hub/outbox-lanes';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const WEEK_MS = 7 * 86_400_000;

interface Read {
  readonly relname: string;
  readonly by_sequence: number;
  readonly by_index: number;
}

describe('the outbox keeps house', () => {
  describe('by weeks', () => {
    let lanes: OutboxLanes;
    let destination: number;
    beforeAll(async () => {
      lanes = await OutboxLanes.open(4);
      destination = await lanes.newDestination();
    });
    afterAll(() => lanes.close());

    const partitions = async (parent: string): Promise<string[]> =>
      (
        await lanes.query<{ name: string }>(
          `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::text::regclass and c.relname not like '%default' order by 1`,
          [parent],
        )
      ).map(({ name }) => name);

    /** Monday 00:00 UTC of the week so many weeks ago. */
    const monday = (weeksAgo: number): Date => {
      const now = new Date(Date.now() - weeksAgo * WEEK_MS);
      return new Date(
        Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - ((now.getUTCDay() + 6) % 7)),
      );
    };
    const nameOf = (parent: string, weeksAgo: number): string =>
      `${parent}_${monday(weeksAgo).toISOString().slice(0, 10).replaceAll('-', '')}`;

    /** A week that was made when it was new, with one message in it. */
    async function oldMessage(weeksAgo: number, lane: string): Promise<string> {
      const [from, to] = [monday(weeksAgo), monday(weeksAgo - 1)].map((date) => date.toISOString()) as [string, string];
      const [ids] = await lanes.query<{ low: string; high: string }>(
        'select uuid_v7_floor($1) as low, uuid_v7_floor($2) as high',
        [from, to],
      );
      await lanes.database.asOwner(
        `create table ${nameOf('outbox_message', weeksAgo)} partition of outbox_message for values from ('${ids?.low}') to ('${ids?.high}')`,
      );
      await lanes.database.asOwner(
        `create table ${nameOf('outbox_attempt', weeksAgo)} partition of outbox_attempt for values from ('${from}') to ('${to}')`,
      );
      const id = uuidv7({ msecs: monday(weeksAgo).getTime() + 3_600_000 });
      await lanes.transaction((tx) => lanes.store.enqueue(tx, [newMessage(destination, lane, id)]));
      return id;
    }

    const where = async (id: string): Promise<string | undefined> =>
      (
        await lanes.query<{ part: string }>(
          'select tableoid::regclass::text as part from outbox_message where id = $1',
          [id],
        )
      )[0]?.part;

    it("makes partitions ahead of time, once, and today's messages go to this week's", async () => {
      const expected = (parent: string, ahead: number): string[] =>
        Array.from({ length: ahead + 1 }, (_, index) => nameOf(parent, -index));
      for (const parent of ['outbox_message', 'outbox_attempt'])
        expect(await partitions(parent)).toEqual(expected(parent, 4));
      expect(await lanes.store.createPartitions(6)).toBe(4);
      expect(await lanes.store.createPartitions(6)).toBe(0);
      for (const parent of ['outbox_message', 'outbox_attempt'])
        expect(await partitions(parent)).toEqual(expected(parent, 6));

      const message = newMessage(destination, 'today');
      await lanes.transaction((tx) => lanes.store.enqueue(tx, [message]));
      expect(await where(message.id)).toBe(nameOf('outbox_message', 0));
      await lanes.settle(await lanes.claim(destination, 1), 'sent');
      expect(await lanes.query('select distinct tableoid::regclass::text as part from outbox_attempt')).toEqual([
        { part: nameOf('outbox_attempt', 0) },
      ]);
    });

    it('lets go of old weeks, but never of a message that is due, queued or dead', async () => {
      const settle = async (lane: string, outcome: 'sent' | 'retry' | 'dead'): Promise<void> => {
        const leases = (await lanes.claim(destination, 50)).filter(({ laneKey }) => laneKey === lane);
        expect(leases).toHaveLength(1);
        await lanes.settle(leases, outcome, 3_600_000);
      };
      await oldMessage(40, 'done');
      await settle('done', 'sent');
      await oldMessage(39, 'waiting');
      await settle('waiting', 'retry');
      const dead = await oldMessage(38, 'dead');
      await settle('dead', 'dead');
      await oldMessage(41, 'queue');
      await oldMessage(37, 'queue');
      await oldMessage(8, 'young');
      await settle('queue', 'retry');
      await lanes.query(`update outbox_head set visible_at = clock_timestamp() where lane_key = 'young'`);
      await settle('young', 'sent');

      const attemptsOf = (weeks: number[]): string[] => weeks.map((week) => nameOf('outbox_attempt', week));
      expect((await lanes.store.dropPartitions(90, 30)).sort()).toEqual(
        [...attemptsOf([41, 40, 39, 38, 37, 8]), nameOf('outbox_message', 40)].sort(),
      );
      expect(await partitions('outbox_message')).toEqual(
        expect.arrayContaining([41, 39, 38, 37, 8].map((week) => nameOf('outbox_message', week))),
      );
      expect(await lanes.store.dropPartitions(90, 30)).toEqual([]);

      // Once they are dealt with, their weeks go too.
      await lanes.query('update outbox_head set visible_at = clock_timestamp()');
      for (const lane of ['waiting', 'queue', 'queue']) {
        await settle(lane, 'sent');
        await lanes.query('update outbox_head set visible_at = clock_timestamp()');
      }
      expect(await lanes.store.dropPartitions(90, 30)).toEqual([
        nameOf('outbox_message', 41),
        nameOf('outbox_message', 39),
        nameOf('outbox_message', 37),
      ]);
      expect(await where(dead)).toBe(nameOf('outbox_message', 38));
    });

    it('does not take a week from under a replay', async () => {
      const id = await oldMessage(50, 'revived');
      await lanes.settle(await lanes.claim(destination, 1), 'sent');
      let drop: Promise<string[]> | undefined;
      await lanes.transaction(async (tx) => {
        await lanes.store.findForReplay(tx, 'rgs', id);
        drop = lanes.store.dropPartitions(90, 30);
        await waitFor(
          'the retention waits for the replay',
          async () =>
            (
              await lanes.query(
                `select 1 from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())`,
              )
            )[0],
        );
        await lanes.store.replay(tx, id);
      });
      expect(await drop).not.toContain(nameOf('outbox_message', 50));
      expect(await lanes.claim(destination, 1)).toMatchObject([{ id }]);
    });

    it('looks for the next message of a lane in its own week and not in all that are kept', async () => {
      const kept = await oldMessage(30, 'kept');
      await lanes.settle(await lanes.claim(destination, 50), 'sent');
      const [first, second] = [newMessage(destination, 'week'), newMessage(destination, 'week')];
      await lanes.transaction((tx) => lanes.store.enqueue(tx, [first, second]));
      expect(await lanes.claim(destination, 1)).toMatchObject([{ id: first.id }]);
      const looked = await lanes.transaction(async (tx) => {
        const looks = () =>
          tx.rows<{ name: string; n: string }>(
            `select relname as name, coalesce(idx_scan, 0) + seq_scan as n from pg_stat_xact_user_tables where relname like 'outbox\\_message\\_%'`,
          );
        const before = new Map((await looks()).map(({ name, n }) => [name, n]));
        await tx.rows('select outbox_settle($1, $2)', [
          JSON.stringify([{ id: first.id, outcome: 'sent', class: 'delivered' }]),
          'test',
        ]);
        return (await looks()).filter(({ name, n }) => n !== before.get(name)).map(({ name }) => name);
      });
      expect(looked).toContain(nameOf('outbox_message', 0));
      expect(looked).not.toContain(await where(kept));
      const next = await lanes.claim(destination, 1);
      expect(next).toMatchObject([{ id: second.id }]);
      await lanes.settle(next, 'sent');
    });

    it('finds a message that a clock in error dated days before the one ahead of it, by the repair of lanes', async () => {
      await lanes.transaction((tx) => lanes.store.enqueue(tx, [newMessage(destination, 'clock')]));
      const misdated = await oldMessage(29, 'clock');
      await lanes.settle(await lanes.claim(destination, 1), 'sent');
      expect(await lanes.claim(destination, 1)).toEqual([]);
      expect(await lanes.store.repairLanes()).toBe(1);
      expect(await lanes.claim(destination, 1)).toMatchObject([{ id: misdated }]);
    });
  });

  describe('in a running hub', () => {
    let hub: TestHub;
    beforeAll(async () => {
      hub = await TestHub.start({
        env: { MAX_RETRIES: '0', OUTBOX_RETRY_SCHEDULE_SECONDS: '3600,3600,3600', BREAKER_FAILURES: '1000' },
      });
    });
    afterAll(() => hub.stop());
    beforeEach(() => hub.clear());

    const counted = async (): Promise<number | undefined> =>
      (await hub.app.get(Metrics).repairedLanes.get()).values[0]?.value;
    const failed = async (refId: string): Promise<string> => {
      await hub.operatorFault({ kind: 'status', status: 500, next: 1 });
      const { transactionId } = (await hub.debit({ playerId: 'lane', refId })).body;
      await hub.reaches(transactionId, 'unknown');
      return transactionId as string;
    };

    it('finds a lane that lost its head, gives it back, counts it, and the lane goes on', async () => {
      const first = await failed('bet-1');
      const second = (await hub.debit({ playerId: 'lane', refId: 'bet-2' })).body.transactionId;
      const duties = hub.app.get(OutboxMaintenance);
      const before = (await counted()) ?? 0;
      await duties.rescue();
      expect(await counted()).toBe(before);

      expect(
        await hub.database.query(`delete from outbox_head where lane_key = 'lane' returning lane_key`),
      ).toHaveLength(1);
      await duties.rescue();
      expect(await counted()).toBe(before + 1);
      await hub.reaches(first, 'confirmed');
      await hub.reaches(second, 'confirmed');
      expect((await hub.operatorBooks()).map(({ reference }) => reference)).toEqual(['bet-1', 'bet-2']);
      await duties.rescue();
      expect(await counted()).toBe(before + 1);
    });

    it('hears wake-ups again after its listening connection was cut', async () => {
      const heard: string[] = [];
      hub.app.get(Notifications).onMessage((payload) => heard.push(payload));
      const listener = async (): Promise<number | undefined> =>
        (
          await hub.database.query<{ pid: number }>(
            `select pid from pg_stat_activity where application_name = 'hub-listen' and datname = current_database() and query ilike 'listen%'`,
          )
        )[0]?.pid;
      const notify = (payload: string): Promise<unknown> =>
        hub.database.query(`select pg_notify('hub_outbox', $1)`, [payload]);
      await notify('before');
      await waitFor('the wake-up is heard', () => heard.includes('before'));

      const pid = await listener();
      await hub.database.query('select pg_terminate_backend($1)', [pid]);
      // Meanwhile the hub works on: it also looks by itself.
      const { transactionId } = (await hub.debit()).body;
      await hub.reaches(transactionId, 'confirmed');
      await waitFor('the hub listens again', async () => {
        const found = await listener();
        return found !== undefined && found !== pid;
      });
      await notify('after');
      await waitFor('the wake-up is heard', () => heard.includes('after'));
      expect(heard).toEqual(['before', 'after']);
    });

    it('survives the loss of every other connection as well', async () => {
      const [killed] = await hub.database.query<{ n: number }>(
        `select count(pg_terminate_backend(pid))::integer as n from pg_stat_activity where application_name in ('hub', 'hub-hot') and datname = current_database()`,
      );
      expect(killed?.n).toBeGreaterThan(1);
      const { transactionId } = await waitFor('a debit is accepted', async () => {
        const answer = await hub.debit({ playerId: 'survivor', refId: 'bet-1' });
        expect([200, 503]).toContain(answer.status);
        return answer.status === 200 && answer.body;
      });
      await hub.reaches(transactionId, 'confirmed');
      await hub.drained();
      expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet-1', deliveries: 1 }]);
    });

    it('outlives a connection that breaks in the very moment in which it changes hands', async () => {
      const { master } = hub.app.get(DataSource).driver as unknown as { master: Pool };
      const heard = await new Promise((resolve, reject) => {
        master.connect((error, client, release) => {
          if (client === undefined) return reject(error ?? new Error('neither client nor error'));
          // The pool has let go of the client and nobody has taken it yet: an 'error' without a listener would be
          // thrown right here.
          try {
            resolve(client.emit('error', new Error('terminating connection due to administrator command')));
          } catch {
            resolve(false);
          } finally {
            release(true);
          }
        });
      });
      expect(heard).toBe(true);
    });

    it('sends a message that became visible behind the watermark, as one from a transaction that was open for long', async () => {
      const transactionId = await failed('bet-1');
      await hub.database.query(
        `update outbox_head set visible_at = clock_timestamp() - interval '10 minutes' where lane_key = 'lane'`,
      );
      await hub.reaches(transactionId, 'confirmed');
    });
  });

  describe('under statistics that are out of date', () => {
    const HEADS = 20_000;
    let lanes: OutboxLanes;
    let destination: number;
    beforeAll(async () => {
      // One connection, so that what is set on it holds for all that follows.
      lanes = await OutboxLanes.open(1);
      destination = await lanes.newDestination();
      // What the planner knows was true at night; in the morning everybody plays. Autovacuum must not tell it.
      await lanes.database.asOwner('alter table outbox_head set (autovacuum_enabled = false)');
      await lanes.database.asOwner('alter table outbox_lane set (autovacuum_enabled = false)');
      await lanes.database.asOwner('analyze outbox_head, outbox_lane, outbox_message');
      await lanes.query(
        `with message as (
           insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, path, body)
           select rpad(lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 8, '0'), 32, '0')::uuid, $1, $1, $1, 'player-' || n, 1, 'debit', '', '{}' from generate_series(1, ${HEADS}) n
           returning id, lane_key
         ), lane as (
           insert into outbox_lane (destination_id, lane_key, last_seq) select $1, lane_key, 1 from message
         ), share as (
           insert into outbox_share (destination_id, share) values ($1, outbox_share_of($1, $1, $1, 'debit'))
         )
         insert into outbox_head (message_id, destination_id, lane_key, lane_seq, share) select id, $1, lane_key, 1, outbox_share_of($1, $1, $1, 'debit') from message`,
        [destination],
      );
    });
    afterAll(() => lanes.close());

    /**
     * Rows that this connection has read since `before`; its counters also hold what was read shortly before this
     * transaction.
     */
    async function readSoFar(tx: Tx, before: readonly Read[]): Promise<Read[]> {
      const now = await tx.rows<Read & Record<string, unknown>>(
        `select relname, seq_tup_read::integer as by_sequence, idx_tup_fetch::integer as by_index from pg_stat_xact_user_tables
         where relname ~ '^outbox_(head|lane|message_.*)$' order by 1`,
      );
      const earlier = (name: string, part: 'by_sequence' | 'by_index'): number =>
        before.find(({ relname }) => relname === name)?.[part] ?? 0;
      return now
        .map(({ relname, by_sequence, by_index }) => ({
          relname,
          by_sequence: by_sequence - earlier(relname, 'by_sequence'),
          by_index: by_index - earlier(relname, 'by_index'),
        }))
        .filter(({ by_sequence, by_index }) => by_sequence + by_index > 0);
    }

    /** Claims, locks and settles fifty, and looks at what each table was read by. */
    async function expectIndexOnly(): Promise<void> {
      const used = await lanes.transaction(async (tx) => {
        const before = await readSoFar(tx, []);
        const claimed = await tx.rows<{ id: string | null; token: string }>(
          `select id, token from outbox_lease($1, 50, 60000, null, 'plan', 'epoch')`,
          [destination],
        );
        const leases = claimed.map(({ id, token }) => ({ id: id ?? 'none', token }));
        expect(leases).toHaveLength(50);
        const verdicts = await lanes.store.lock(tx, leases);
        expect(new Set(verdicts.values())).toEqual(new Set(['ok']));
        await lanes.store.settle(
          tx,
          leases.map(({ id }) => ({
            id,
            outcome: 'sent',
            class: 'delivered',
            status: 200,
            error: null,
            durationMs: 1,
            delayMs: 0,
            open: false,
            landing: null,
          })),
          'plan',
        );
        return readSoFar(tx, before);
      });
      expect(used.map(({ relname }) => relname)).toEqual([
        'outbox_head',
        'outbox_lane',
        expect.stringMatching(/^outbox_message_\d{8}$/),
      ]);
      // Each of the fifty is looked up a handful of times; twenty thousand are not looked at.
      for (const { relname, by_sequence, by_index } of used)
        expect({ relname, by_sequence, few: by_index <= 50 * 10 }).toEqual({ relname, by_sequence: 0, few: true });
      expect(await lanes.faults(destination)).toEqual(NO_FAULTS);
    }

    it('claims, locks and settles by index, and reads what it takes and little more', () => expectIndexOnly());

    it('does so too with a plan that was made for any values, as a connection uses it after a while', async () => {
      await lanes.query('set plan_cache_mode = force_generic_plan');
      await expectIndexOnly();
    });
  });
});
