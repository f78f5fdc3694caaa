import { PartnerDirectory } from '../../src/partners/partner-directory';
import { OutboxStore } from '../../src/outbox/outbox.store';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const FAILURES = 5;
const PROBE_MS = 400;

interface Breaker {
  breaker: 'closed' | 'open' | 'half_open';
  trips: number;
}

describe('the circuit breaker of a destination, shared by two hubs', () => {
  let first: TestHub;
  let second: TestHub;
  let operatorId: number;
  let rgsId: number;
  let round = 0;

  beforeAll(async () => {
    const env = {
      BREAKER_FAILURES: String(FAILURES),
      MAX_RETRIES: '0',
      OUTBOX_RETRY_SCHEDULE_SECONDS: Array(50).fill('0.05').join(),
    };
    first = await TestHub.start({ env });
    second = await TestHub.start({ env, database: first.database, operator: first.operator, rgs: first.rgs });
    const partners = first.app.get(PartnerDirectory);
    operatorId = partners.byCode('operator')?.id ?? NaN;
    rgsId = partners.byCode('rgs')?.id ?? NaN;
  });
  afterAll(async () => {
    await second.stop();
    await first.stop();
  });
  beforeEach(async () => {
    await first.clear();
    round += 1;
  });

  const breaker = async (id: number): Promise<Breaker | undefined> =>
    (await first.database.query<Breaker>('select breaker, trips from outbox_destination where id = $1', [id]))[0];
  const setOpenUntil = (when: string): Promise<unknown> =>
    first.database.query(`update outbox_destination set open_until = ${when} where id = $1`, [operatorId]);
  const debits = async (count: number): Promise<string[]> => {
    const answers = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        (index % 2 === 0 ? first : second).debit({ playerId: `player-${round}-${index}` }),
      ),
    );
    return answers.map(({ body }) => body.transactionId as string);
  };

  /**
   * A dead operator, a breaker that has just opened and will not ask again before the test says so, and no call on the
   * wire.
   */
  async function openBreaker(count: number): Promise<string[]> {
    await first.operatorFault({ kind: 'status', status: 500 });
    const ids = await debits(count);
    await waitFor('the breaker is open and nothing is on the wire', async () => {
      await first.database.query(
        `update outbox_destination set open_until = now() + interval '1 hour', trips = 1 where id = $1 and breaker = 'open'`,
        [operatorId],
      );
      // Read in one statement: once both are true, nothing can change any more.
      const [row] = await first.database.query<{ quiet: boolean }>(
        `select d.breaker = 'open' and d.open_until > now() + interval '30 minutes' and not exists (select 1 from outbox_head h where h.destination_id = d.id and h.leased) as quiet from outbox_destination d where d.id = $1`,
        [operatorId],
      );
      return row?.quiet;
    });
    return ids;
  }

  it('opens for a dead operator; then nothing is claimed, no attempt is spent, and the RGS still gets its webhooks', async () => {
    const known = (await first.debit({ playerId: 'earlier' })).body.transactionId;
    await first.reaches(known, 'confirmed');
    await first.drained();
    const ids = await openBreaker(10);

    const heads = (): Promise<unknown[]> =>
      first.database.query(
        'select message_id, claims, attempts, token from outbox_head where destination_id = $1 order by 1',
        [operatorId],
      );
    // Due at once, all of them: only the breaker holds them back.
    await first.database.query(`update outbox_head set visible_at = clock_timestamp() where destination_id = $1`, [
      operatorId,
    ]);
    const before = { heads: await heads(), calls: (await first.operatorCalls()).length };
    expect(before.calls).toBeGreaterThanOrEqual(FAILURES);
    await debits(2);

    // Both hubs are awake: a webhook that is due goes out, and both asked for operator messages when they were woken
    // for the debits.
    const [notice] = await first.outbox({ queue: 'rgs' });
    await second.replay('rgs', notice?.id);
    await waitFor('the RGS got its webhook once more', async () =>
      (await first.rgsCalls()).find(({ repeat }) => repeat),
    );
    for (const hub of [first, second]) {
      const { messages, waitMs } = await hub.app
        .get(OutboxStore)
        .claim(operatorId, 10, 5_000, 15_000, 'test', new Date(0));
      expect(messages).toEqual([]);
      expect(waitMs).toBeGreaterThan(3_000_000);
    }
    expect(await breaker(rgsId)).toMatchObject({ breaker: 'closed' });
    expect((await first.operatorCalls()).length).toBe(before.calls);
    const unchanged = (await heads()) as { message_id: string }[];
    expect(
      unchanged.filter(({ message_id }) =>
        (before.heads as { message_id: string }[]).some((head) => head.message_id === message_id),
      ),
    ).toEqual(before.heads);
    for (const id of ids) expect(['initiated', 'unknown']).toContain((await first.transaction(id)).state);
  });

  it('lets one probe through for both hubs together, and closes when it is answered well', async () => {
    const ids = await openBreaker(12);
    await control(first.operator.url, 'DELETE', '/admin/faults');
    await first.operatorFault({ kind: 'delay', ms: PROBE_MS, next: 1 });
    const callsBefore = (await first.operatorCalls()).length;
    await first.database.query(`update outbox_head set visible_at = clock_timestamp() where destination_id = $1`, [
      operatorId,
    ]);
    await setOpenUntil('clock_timestamp()');
    const probe = await waitFor('the probe is on the wire', async () => (await first.operatorCalls())[callsBefore]);
    expect(await breaker(operatorId)).toMatchObject({ breaker: 'half_open' });
    // Twelve messages are due, both hubs have free slots and are woken, and yet.
    const more = await debits(4);
    for (const hub of [first, second])
      expect(
        (await hub.app.get(OutboxStore).claim(operatorId, 10, 5_000, 15_000, 'test', new Date(0))).messages,
      ).toEqual([]);

    for (const id of [...ids, ...more]) await first.reaches(id, 'confirmed');
    const calls = (await first.operatorCalls()).slice(callsBefore);
    expect(calls.filter(({ at }) => at < probe.at + PROBE_MS)).toHaveLength(1);
    expect(calls.length).toBe(16);
    expect(await breaker(operatorId)).toEqual({ breaker: 'closed', trips: 0 });
  });

  it('opens again, for longer, when the probe fails too', async () => {
    await openBreaker(12);
    const callsBefore = (await first.operatorCalls()).length;
    const asked = await first.database.query<{ now: Date }>('select clock_timestamp() as now');
    // Long enough that the next probe is not part of this test.
    await first.database.query('update outbox_destination set breaker_open_seconds = 30 where id = $1', [operatorId]);
    try {
      await first.database.query(`update outbox_head set visible_at = clock_timestamp() where destination_id = $1`, [
        operatorId,
      ]);
      await setOpenUntil('clock_timestamp()');
      await waitFor('the probe has failed', async () => (await breaker(operatorId))?.trips === 2);
      const [row] = await first.database.query<{ breaker: string; seconds: number }>(
        `select breaker, extract(epoch from open_until - $2::timestamptz)::float8 as seconds from outbox_destination where id = $1`,
        [operatorId, asked[0]?.now],
      );
      expect(row?.breaker).toBe('open');
      // 30 s doubled once, give or take a fifth.
      expect(row?.seconds).toBeGreaterThan(47);
      expect(row?.seconds).toBeLessThan(80);
      await debits(2);
      expect(
        (await second.app.get(OutboxStore).claim(operatorId, 10, 5_000, 15_000, 'test', new Date(0))).messages,
      ).toEqual([]);
      expect((await first.operatorCalls()).length).toBe(callsBefore + 1);
    } finally {
      await first.database.query('update outbox_destination set breaker_open_seconds = 0.1 where id = $1', [
        operatorId,
      ]);
    }
  });

  it('is not wedged by a prober that died: the next probe goes when its lease ends', async () => {
    const ids = await openBreaker(3);
    await first.database.query(`update outbox_head set visible_at = clock_timestamp() where destination_id = $1`, [
      operatorId,
    ]);
    const probed = await waitFor('somebody else takes the probe and is never heard of again', async () => {
      await setOpenUntil('clock_timestamp()');
      const { messages } = await second.app
        .get(OutboxStore)
        .claim(operatorId, 1, 3_600_000, 3_600_000, 'doomed', new Date(0));
      return messages[0];
    });
    expect(probed.probe).toBe(true);
    await control(first.operator.url, 'DELETE', '/admin/faults');
    expect(
      (await first.app.get(OutboxStore).claim(operatorId, 1, 5_000, 15_000, 'test', new Date(0))).messages,
    ).toEqual([]);
    await first.database.query(`update outbox_head set visible_at = clock_timestamp() where destination_id = $1`, [
      operatorId,
    ]);
    await setOpenUntil('clock_timestamp()');
    for (const id of ids) await first.reaches(id, 'confirmed');
    expect(await breaker(operatorId)).toEqual({ breaker: 'closed', trips: 0 });
  });
});
