import { startMockOperator } from '../../mocks/operator/start';
import { RecordingProxy, type RecordedRequest } from '../support/partners/recording-proxy';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const TIMEOUT_MS = 300;
const BACKOFF_MS = 40;

interface Attempt {
  n: number;
  outcome: string;
  class: string;
  status: number | null;
}

/** A hub whose calls to the operator pass a recorder. */
interface Scene {
  readonly hub: TestHub;
  readonly line: RecordingProxy;
  stop(): Promise<void>;
}

async function scene(env: Record<string, string>): Promise<Scene> {
  // Without callbacks only the hub's own calls can settle anything.
  const operator = await startMockOperator({ callbacks: false });
  const line = await RecordingProxy.start(operator.url);
  const hub = await TestHub.start({
    operator,
    env: { OPERATOR_BASE_URL: line.url, OPERATOR_TIMEOUT_MS: String(TIMEOUT_MS), BREAKER_FAILURES: '1000', ...env },
  });
  return {
    hub,
    line,
    stop: async () => {
      await hub.stop();
      await line.switchOff();
      await operator.close();
    },
  };
}

/** Attempts of the message that belongs to a movement, oldest first. */
function attempts(hub: TestHub, queue: 'operator' | 'rgs', transactionId: string): Promise<Attempt[]> {
  return hub.database.query<Attempt>(
    `select a.n, a.outcome, a.class, a.status from outbox_attempt a join outbox_message m on m.id = a.message_id join outbox_destination d on d.id = m.destination_id
     where d.queue = $1 and m.transaction_id = $2 order by a.at`,
    [queue, transactionId],
  );
}

/** Scheduled things become due at once: the database's clock decides, so its timestamps are what a test moves. */
async function makeDue(hub: TestHub): Promise<void> {
  await hub.database.query(
    `update outbox_head set visible_at = clock_timestamp() where visible_at > clock_timestamp() and visible_at < 'infinity' and not leased`,
  );
}

function distinct(requests: readonly RecordedRequest[], part: (request: RecordedRequest) => unknown): unknown[] {
  return [...new Set(requests.map(part))];
}

describe('a delivery that fails is tried again', () => {
  let hub: TestHub;
  let line: RecordingProxy;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    ({ hub, line, stop } = await scene({ MAX_RETRIES: '2', RETRY_BACKOFF_SECONDS: String(BACKOFF_MS / 1000) }));
  });
  afterAll(() => stop());
  beforeEach(async () => {
    await hub.clear();
    line.requests = [];
  });

  it('within the attempt, with growing pauses: 500, 500, 200 is one success', async () => {
    await hub.operatorFault({ kind: 'status', status: 500, next: 2 });
    const { transactionId } = (await hub.debit({ refId: 'bet-1' })).body;
    await hub.reaches(transactionId, 'confirmed');
    await hub.drained();

    expect(line.requests.map(({ status }) => status)).toEqual([500, 500, 200]);
    expect(await attempts(hub, 'operator', transactionId)).toEqual([
      { n: 1, outcome: 'sent', class: 'applied', status: 200 },
    ]);
    expect(await hub.operatorBooks()).toMatchObject([{ reference: 'bet-1' }]);
    expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet-1', status: 'OK', deliveries: 1 }]);
    const [first, second, third] = line.requests.map(({ at }) => at) as [number, number, number];
    expect(second - first).toBeGreaterThanOrEqual(BACKOFF_MS);
    expect(third - second).toBeGreaterThanOrEqual(2 * BACKOFF_MS);
  });

  it('by the queue once MAX_RETRIES tries within the attempt have failed', async () => {
    await hub.operatorFault({ kind: 'status', status: 500, next: 3 });
    const { transactionId } = (await hub.debit()).body;
    const settled = await hub.reaches(transactionId, 'confirmed');
    await hub.drained();

    expect(line.requests.map(({ headers, status }) => [headers['x-attempt'], status])).toEqual([
      ['1', 500],
      ['1', 500],
      ['1', 500],
      ['2', 200],
    ]);
    expect(await attempts(hub, 'operator', transactionId)).toEqual([
      { n: 1, outcome: 'retry', class: 'unknown', status: 500 },
      { n: 2, outcome: 'sent', class: 'applied', status: 200 },
    ]);
    expect(settled.timeline.map(({ to }: { to: string }) => to)).toEqual(['initiated', 'unknown', 'confirmed']);
    expect((await hub.rgsReceived()).length).toBe(1);
  });

  it('after a hang with the same reference, the same Idempotency-Key and the same bytes, and is applied once', async () => {
    await hub.operatorFault({ kind: 'hang', afterCommit: true, next: 1 });
    await hub.operatorFault({ kind: 'hang', next: 3 });
    const { transactionId } = (await hub.debit({ playerId: 'hanging', refId: 'bet-hang', amountCents: 1999 })).body;
    const unknown = await hub.reaches(transactionId, 'unknown');
    expect(unknown).toMatchObject({ status: 'initiated', settledAt: null, balanceCents: null });
    const settled = await hub.reaches(transactionId, 'confirmed');

    expect(line.requests.map(({ status }) => status)).toEqual([null, null, null, null, 200]);
    expect(distinct(line.requests, ({ headers }) => headers['idempotency-key'])).toHaveLength(1);
    expect(distinct(line.requests, ({ body, path }) => path + body)).toEqual([
      `/v2/players/hanging/withdraw{"amount":19.99,"currency":"USD","reference":"bet-hang","correlationId":"${transactionId}"}`,
    ]);
    for (const { at, endedAt } of line.requests.slice(0, 4))
      expect((endedAt ?? Infinity) - at).toBeLessThan(TIMEOUT_MS * 8);
    expect(await hub.player('hanging')).toMatchObject({ net: { USD: '-1999' }, movements: 1 });
    expect(settled.timeline.map(({ to }: { to: string }) => to)).toEqual(['initiated', 'unknown', 'confirmed']);
  });

  it('as unknown when the partner failed and then could not be reached any more: the failure may have moved the money', async () => {
    await hub.operatorFault({ kind: 'status_after_commit', status: 500, next: 1 });
    line.vanishAfterNextAnswer();
    const { transactionId } = (await hub.debit({ playerId: 'cut off' })).body;
    await hub.reaches(transactionId, 'unknown');
    expect(line.requests).toHaveLength(1);
    expect((await attempts(hub, 'operator', transactionId))[0]).toEqual({
      n: 1,
      outcome: 'retry',
      class: 'unknown',
      status: 500,
    });

    await line.switchOn();
    await makeDue(hub);
    await hub.reaches(transactionId, 'confirmed');
    expect((await hub.player('cut off')).movements).toBe(1);
  });

  it('as unknown when the partner failed and then asked for a pause: a refusal of the next repeat proves nothing about the first call', async () => {
    await hub.operatorFault({ kind: 'status_after_commit', status: 500, next: 1 });
    await hub.operatorFault({ kind: 'throttle', retryAfter: 1, next: 1 });
    await hub.operatorFault({ kind: 'status', status: 403, next: 1 });
    const { transactionId } = (await hub.debit({ playerId: 'throttled' })).body;
    await hub.reaches(transactionId, 'confirmed');
    await hub.drained();
    expect(line.requests.map(({ status }) => status)).toEqual([500, 429, 403, 200]);
    expect((await hub.player('throttled')).movements).toBe(1);
    expect((await hub.rgsReceived()).map(({ status }) => status)).toEqual(['OK']);
  });

  it('when the answer drips in: the try is cut at the hard time-out, however busy the line', async () => {
    await hub.operatorFault({ kind: 'slow_drip', ms: 50, next: 1 });
    const { transactionId } = (await hub.debit({ playerId: 'dripping' })).body;
    await hub.reaches(transactionId, 'confirmed');

    const [cut, whole] = line.requests as [RecordedRequest, RecordedRequest];
    expect(line.requests).toHaveLength(2);
    // About eighty bytes at fifty milliseconds each would have taken four seconds, with a byte far more often than the
    // time-out.
    expect((cut.endedAt ?? Infinity) - cut.at).toBeGreaterThan(TIMEOUT_MS * 0.9);
    expect((cut.endedAt ?? Infinity) - cut.at).toBeLessThan(TIMEOUT_MS * 8);
    expect(whole.body).toBe(cut.body);
    expect((await hub.player('dripping')).movements).toBe(1);
  });

  it('at the RGS too: 500 then 200 is one delivery', async () => {
    await hub.rgsFault({ kind: 'status', status: 500, next: 1 });
    const { transactionId } = (await hub.debit({ refId: 'bet-1' })).body;
    await hub.reaches(transactionId, 'confirmed');
    await hub.drained();

    const calls = await hub.rgsCalls();
    expect(calls.map(({ status }) => status)).toEqual([500, 200]);
    expect(new Set(calls.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(calls.map(({ body }) => body)).size).toBe(1);
    expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet-1', deliveries: 1 }]);
    expect(await attempts(hub, 'rgs', transactionId)).toEqual([
      { n: 1, outcome: 'sent', class: 'delivered', status: 200 },
    ]);
  });

  it('at the RGS as often as it takes, and what it stored already it recognises by the id', async () => {
    await hub.rgsFault({ kind: 'status', status: 503, afterCommit: true, next: 4 });
    const { transactionId } = (await hub.debit({ refId: 'bet-1' })).body;
    await waitFor('the webhook is answered', async () => (await hub.rgsCalls()).some(({ status }) => status === 200));
    await hub.drained();
    expect(await attempts(hub, 'rgs', transactionId)).toEqual([
      { n: 1, outcome: 'retry', class: 'failed', status: 503 },
      { n: 2, outcome: 'sent', class: 'delivered', status: 200 },
    ]);
    expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet-1', deliveries: 5 }]);
  });

  describe('no sooner than the partner asks', () => {
    it.each([
      { what: '429 and seconds', fault: { kind: 'throttle', status: 429, retryAfter: 1, retryAfterForm: 'seconds' } },
      { what: '429 and a date', fault: { kind: 'throttle', status: 429, retryAfter: 1, retryAfterForm: 'date' } },
      { what: '503 and seconds', fault: { kind: 'throttle', status: 503, retryAfter: 1, retryAfterForm: 'seconds' } },
    ])('$what: no call of anybody before the time, and no attempt counted', async ({ fault }) => {
      const known = (await hub.debit({ playerId: 'earlier' })).body.transactionId;
      await hub.reaches(known, 'confirmed');
      await hub.drained();
      line.requests = [];

      await hub.operatorFault({ ...fault, next: 1 });
      const throttled = (await hub.debit({ playerId: 'throttled', refId: 'bet-1' })).body.transactionId;
      await waitFor('the operator asked for a pause', () => line.requests[0]?.endedAt);
      const other = (await hub.debit({ playerId: 'other', refId: 'bet-2' })).body.transactionId;
      // The hub is awake all the while, only not towards this operator.
      const [notice] = await hub.outbox({ queue: 'rgs' });
      await hub.replay('rgs', notice?.id);
      await waitFor('the RGS got its webhook once more', async () =>
        (await hub.rgsCalls()).find(({ repeat }) => repeat),
      );
      expect(line.requests).toHaveLength(1);

      await hub.reaches(throttled, 'confirmed');
      await hub.reaches(other, 'confirmed');
      const [refused, ...later] = line.requests as [RecordedRequest, ...RecordedRequest[]];
      const asked =
        fault.retryAfterForm === 'date'
          ? Math.ceil(refused.at / 1000 + fault.retryAfter) * 1000
          : refused.at + fault.retryAfter * 1000;
      for (const { at } of later) expect(at).toBeGreaterThanOrEqual(asked);
      expect(later.map(({ headers, status }) => [headers['x-attempt'], status])).toEqual([
        ['1', 200],
        ['1', 200],
      ]);
      expect(await attempts(hub, 'operator', throttled)).toEqual([
        { n: 1, outcome: 'released', class: 'throttled', status: fault.status },
        { n: 1, outcome: 'sent', class: 'applied', status: 200 },
      ]);
      expect(
        (await hub.outbox({ queue: 'operator' })).map(({ attemptCount, status }) => ({ attemptCount, status })),
      ).toEqual(Array(3).fill({ attemptCount: 1, status: 'sent' }));
    });

    it.each(['retry in 40', '12e2', '-5', 'tomorrow'])(
      'a Retry-After of "%s" is none: nobody is held up',
      async (words) => {
        await hub.operatorFault({ kind: 'status', status: 429, headers: { 'Retry-After': words }, next: 1 });
        const { transactionId } = (await hub.debit()).body;
        await hub.reaches(transactionId, 'confirmed');
        expect(line.requests.map(({ status }) => status)).toEqual([429, 200]);
      },
    );

    it('Retry-After: 0 does not become a busy loop', async () => {
      await hub.operatorFault({ kind: 'throttle', retryAfter: 0, next: 3 });
      const { transactionId } = (await hub.debit()).body;
      await hub.reaches(transactionId, 'confirmed');
      const times = line.requests.map(({ at }) => at);
      expect(times).toHaveLength(4);
      for (const [index, at] of times.slice(1).entries()) expect(at - (times[index] ?? 0)).toBeGreaterThan(150);
    });
  });

  it('without counting an attempt while the connection is refused: nothing left', async () => {
    await line.switchOff();
    const { transactionId } = (await hub.debit({ refId: 'bet-1' })).body;
    const [released] = await waitFor('the hub met a closed door', async () => {
      const seen = await attempts(hub, 'operator', transactionId);
      return seen.length >= 2 && seen;
    });
    expect(released).toEqual({ n: 1, outcome: 'released', class: 'throttled', status: null });
    expect(await hub.outbox({ queue: 'operator' })).toMatchObject([{ status: 'pending', attemptCount: 0 }]);
    expect((await hub.transaction(transactionId)).state).toBe('initiated');

    await line.switchOn();
    await makeDue(hub);
    await hub.reaches(transactionId, 'confirmed');
    expect(line.requests.map(({ headers }) => headers['x-attempt'])).toEqual(['1']);
    expect(await hub.outbox({ queue: 'operator' })).toMatchObject([{ status: 'sent', attemptCount: 1 }]);
    expect(new Set((await attempts(hub, 'operator', transactionId)).map(({ outcome }) => outcome))).toEqual(
      new Set(['released', 'sent']),
    );
  });
});

describe('a delivery that never succeeds ends', () => {
  const SCHEDULE = [0.03, 0.06];
  let hub: TestHub;
  let line: RecordingProxy;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    ({ hub, line, stop } = await scene({ MAX_RETRIES: '0', OUTBOX_RETRY_SCHEDULE_SECONDS: SCHEDULE.join() }));
  });
  afterAll(() => stop());
  beforeEach(async () => {
    await hub.clear();
    line.requests = [];
  });

  const exhausted = [
    { n: 1, outcome: 'retry', class: 'unknown', status: 500 },
    { n: 2, outcome: 'retry', class: 'unknown', status: 500 },
  ];

  it('for a debit in a blocked lane: its credit must not overtake it, and everybody else goes on', async () => {
    await hub.operatorFault({ kind: 'status', status: 500, reference: 'bet-lost' });
    const lost = (await hub.debit({ playerId: 'stuck', refId: 'bet-lost' })).body.transactionId;
    const behind = (await hub.credit({ playerId: 'stuck', refId: 'win-behind' })).body.transactionId;
    await hub.reaches(lost, 'parked');
    const other = (await hub.debit({ playerId: 'free', refId: 'bet-free' })).body.transactionId;
    await hub.reaches(other, 'confirmed');
    await hub.drained();

    expect(await attempts(hub, 'operator', lost)).toEqual([
      ...exhausted,
      { n: 3, outcome: 'blocked', class: 'unknown', status: 500 },
    ]);
    expect(await attempts(hub, 'operator', behind)).toEqual([]);
    expect((await hub.transaction(behind)).state).toBe('initiated');
    const records = await hub.outbox({ queue: 'operator' });
    expect(
      records.map(({ payload, status, attemptCount, nextAttemptAt }) => ({
        reference: payload.reference,
        status,
        attemptCount,
        nextAttemptAt,
      })),
    ).toEqual([
      { reference: 'bet-free', status: 'sent', attemptCount: 1, nextAttemptAt: null },
      { reference: 'win-behind', status: 'pending', attemptCount: 0, nextAttemptAt: null },
      { reference: 'bet-lost', status: 'dead', attemptCount: 3, nextAttemptAt: null },
    ]);
    expect(records[2]?.lastError).toContain('500');
    // Nobody is told anything about money whose place is not known.
    expect((await hub.rgsReceived()).map(({ refId }) => refId)).toEqual(['bet-free']);
  });

  it('for a credit as dead and parked: money is owed, and the player goes on', async () => {
    await hub.operatorFault({ kind: 'status', status: 500, reference: 'win-lost' });
    const lost = (await hub.credit({ playerId: 'owed', refId: 'win-lost' })).body.transactionId;
    const next = (await hub.debit({ playerId: 'owed', refId: 'bet-next' })).body.transactionId;
    await hub.reaches(lost, 'parked');
    await hub.reaches(next, 'confirmed');
    await hub.drained();

    expect(await attempts(hub, 'operator', lost)).toEqual([
      ...exhausted,
      { n: 3, outcome: 'dead', class: 'unknown', status: 500 },
    ]);
    expect(await hub.outbox({ queue: 'operator', status: 'dead' })).toMatchObject([
      { attemptCount: 3, payload: { reference: 'win-lost' } },
    ]);
    expect((await hub.rgsReceived()).map(({ refId }) => refId)).toEqual(['bet-next']);
  });

  it('for a webhook as dead, and the next one of the player is delivered', async () => {
    await hub.rgsFault({ kind: 'status', status: 500, refId: 'bet-untold' });
    const untold = (await hub.debit({ playerId: 'quiet', refId: 'bet-untold' })).body.transactionId;
    const told = (await hub.debit({ playerId: 'quiet', refId: 'bet-told' })).body.transactionId;
    await hub.reaches(untold, 'confirmed');
    await hub.reaches(told, 'confirmed');
    await hub.drained();

    expect((await attempts(hub, 'rgs', untold)).map(({ outcome }) => outcome)).toEqual(['retry', 'retry', 'dead']);
    expect(await hub.outbox({ queue: 'rgs', status: 'dead' })).toMatchObject([
      { attemptCount: 3, payload: { refId: 'bet-untold' } },
    ]);
    expect((await hub.rgsReceived()).map(({ refId }) => refId)).toEqual(['bet-told']);
    const calls = await hub.rgsCalls();
    expect(calls.findIndex(({ refId }) => refId === 'bet-told')).toBeGreaterThan(
      calls.findLastIndex(({ refId }) => refId === 'bet-untold'),
    );
  });
});
