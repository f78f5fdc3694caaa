import { randomUUID } from 'node:crypto';
import { startMockOperator } from '../../mocks/operator/start';
import { RecordingProxy } from '../support/partners/recording-proxy';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/**
 * One retry, in an hour: a message that failed once stays failed for as long as a test looks, and one more failure ends
 * it.
 */
const SCHEDULE_SECONDS = '3600';

describe('ops and the outbox', () => {
  let hub: TestHub;
  let line: RecordingProxy;
  let operator: Awaited<ReturnType<typeof startMockOperator>>;
  beforeAll(async () => {
    operator = await startMockOperator({ callbacks: false });
    line = await RecordingProxy.start(operator.url);
    hub = await TestHub.start({
      operator,
      env: {
        OPERATOR_BASE_URL: line.url,
        MAX_RETRIES: '0',
        OUTBOX_RETRY_SCHEDULE_SECONDS: SCHEDULE_SECONDS,
        BREAKER_FAILURES: '1000',
      },
    });
  });
  afterAll(async () => {
    await hub.stop();
    await line.switchOff();
    await operator.close();
  });
  beforeEach(async () => {
    await hub.clear();
    line.requests = [];
  });

  const refOf = (record: Record<string, any>): string => record.payload.reference ?? record.payload.refId;
  const record = async (queue: 'operator' | 'rgs', ref: string): Promise<Record<string, any>> => {
    const found = (await hub.outbox({ queue })).find((candidate) => refOf(candidate) === ref);
    if (found === undefined) throw new Error(`no ${queue} record for ${ref}`);
    return found;
  };
  const becomes = (queue: 'operator' | 'rgs', ref: string, status: string): Promise<Record<string, any>> =>
    waitFor(`the ${queue} record of ${ref} is ${status}`, async () => {
      const found = await record(queue, ref);
      return found.status === status ? found : undefined;
    });
  const audit = (): Promise<{ actor: string; action: string; target: string; before: any; after: any }[]> =>
    hub.database.query(
      `select actor, action, target, before, after from audit_entry where id > (select coalesce(max(id), 0) from audit_entry where action = 'database.clear') order by id`,
    );
  const isDueNow = (answer: { body: any }): void => {
    expect(answer.body).toMatchObject({ status: 'pending', lastError: null });
    expect(Date.parse(answer.body.nextAttemptAt)).toBeLessThanOrEqual(Date.now() + 5);
    expect(Date.parse(answer.body.nextAttemptAt)).toBeGreaterThan(Date.now() - 5_000);
  };

  describe('list', () => {
    it('shows the bodies with the digits that were sent, and so does a replay', async () => {
      await hub.debit({ playerId: 'digits', refId: 'even', amountCents: 500 });
      await becomes('rgs', 'even', 'sent');
      const listed = await hub.call('GET', '/webhooks/outbox');
      expect(listed.headers.get('content-type')).toMatch(/^application\/json/);
      const sent = line.requests.find(({ path }) => path.includes('/digits/withdraw'));
      expect(listed.text).toContain(`"payload":${sent?.body}`);
      expect(sent?.body).toContain('"amount":5.00,');
      const again = await hub.replay('operator', (await record('operator', 'even')).id);
      expect(again.text).toContain(`"payload":${sent?.body}`);
      await hub.drained();
    });

    it('tells for every message whether it is pending, failed, dead or sent, also for one that queues behind another', async () => {
      await hub.operatorFault({ kind: 'status', status: 500, reference: 'fails' });
      await hub.debit({ playerId: 'anna', refId: 'goes' });
      await hub.debit({ playerId: 'bert', refId: 'fails' });
      await hub.debit({ playerId: 'bert', refId: 'queues' });
      await hub.credit({ playerId: 'cora_bad', refId: 'refused' });
      await becomes('operator', 'goes', 'sent');
      await becomes('operator', 'fails', 'failed');
      await becomes('operator', 'refused', 'dead');
      await becomes('rgs', 'goes', 'sent');

      const rows = Object.fromEntries(
        (await hub.outbox()).map(({ payload, ...rest }) => [`${rest.queue} ${refOf({ payload })}`, rest]),
      );
      const any = {
        id: expect.any(String),
        createdAt: expect.any(String),
        lastError: null,
        lastErrorAt: null,
        nextAttemptAt: null,
      };
      const atOperator = (path: string): object => ({ queue: 'operator', targetUrl: `${line.url}/v2/players/${path}` });
      expect(rows).toEqual({
        'operator goes': {
          ...any,
          ...atOperator('anna/withdraw'),
          eventType: 'debit',
          status: 'sent',
          attemptCount: 1,
        },
        'operator fails': {
          ...any,
          ...atOperator('bert/withdraw'),
          eventType: 'debit',
          status: 'failed',
          attemptCount: 1,
          nextAttemptAt: expect.any(String),
          lastError: expect.stringContaining('500'),
          lastErrorAt: expect.any(String),
        },
        'operator queues': {
          ...any,
          ...atOperator('bert/withdraw'),
          eventType: 'debit',
          status: 'pending',
          attemptCount: 0,
        },
        'operator refused': {
          ...any,
          ...atOperator('cora_bad/deposit'),
          eventType: 'credit',
          status: 'dead',
          attemptCount: 1,
          lastError: expect.stringContaining('player_blocked'),
          lastErrorAt: expect.any(String),
        },
        'rgs goes': {
          ...any,
          queue: 'rgs',
          targetUrl: `${hub.rgs.url}/webhooks`,
          eventType: 'debit',
          status: 'sent',
          attemptCount: 1,
        },
      });
      const ids = (await hub.outbox()).map(({ id }) => id as string);
      expect(ids).toEqual([...ids].sort().reverse());

      const refs = async (query: { queue?: 'operator' | 'rgs'; status?: string }): Promise<string[]> =>
        (await hub.outbox(query)).map(refOf).sort();
      expect(await refs({ queue: 'rgs' })).toEqual(['goes']);
      expect(await refs({ queue: 'operator' })).toEqual(['fails', 'goes', 'queues', 'refused']);
      expect(await refs({ status: 'pending' })).toEqual(['queues']);
      expect(await refs({ status: 'failed' })).toEqual(['fails']);
      expect(await refs({ status: 'dead' })).toEqual(['refused']);
      expect(await refs({ status: 'sent' })).toEqual(['goes', 'goes']);
      expect(await refs({ queue: 'operator', status: 'sent' })).toEqual(['goes']);
      expect(await refs({ queue: 'rgs', status: 'dead' })).toEqual([]);
    });

    it('goes page by page to the end, each record once, and keeps its filters on the way', async () => {
      for (let index = 0; index < 5; index++) await hub.debit({ playerId: 'pages', refId: `bet-${index}` });
      await hub.drained();
      const pages: string[][] = [];
      let path: string | undefined = '/webhooks/outbox?queue=operator&status=sent&limit=2';
      while (path !== undefined) {
        const answer = await hub.call('GET', path);
        expect(answer.status).toBe(200);
        pages.push(answer.body.map(refOf));
        path = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
      }
      expect(pages).toEqual([['bet-4', 'bet-3'], ['bet-2', 'bet-1'], ['bet-0']]);
    });

    it.each(['limit=0', 'limit=501', 'limit=x', 'queue=other', 'status=lost', 'cursor=1'])(
      'refuses %s',
      async (query) => {
        expect(await hub.call('GET', `/webhooks/outbox?${query}`)).toMatchObject({
          status: 422,
          body: { code: 'validation_failed' },
        });
      },
    );

    it('shows a blocked debit as sent once a callback has told its outcome', async () => {
      await hub.operatorFault({ kind: 'status_after_commit', status: 500, next: 2 });
      const { transactionId } = (await hub.debit({ playerId: 'late', refId: 'bet-1' })).body;
      await becomes('operator', 'bet-1', 'failed');
      await hub.database.query('update outbox_head set visible_at = clock_timestamp()');
      await becomes('operator', 'bet-1', 'dead');
      expect((await hub.transaction(transactionId)).state).toBe('parked');

      const callback = {
        playerId: 'late',
        amount: 5,
        currency: 'USD',
        status: 'OK',
        event: 'withdraw',
        refId: 'bet-1',
        correlationId: transactionId,
      };
      expect((await hub.callback(callback)).status).toBe(200);
      await hub.reaches(transactionId, 'confirmed');
      expect(await becomes('operator', 'bet-1', 'sent')).toMatchObject({ nextAttemptAt: null });
      expect(await hub.outbox({ status: 'dead' })).toEqual([]);
      await hub.drained();
      expect(await hub.rgsReceived()).toMatchObject([{ refId: 'bet-1', status: 'OK' }]);
    });
  });

  describe('replay', () => {
    it('of a dead credit pays the player after all, tells the RGS once, and is written down', async () => {
      await hub.operatorFault({ kind: 'refuse', reason: 'limit_reached', next: 1 });
      const { transactionId } = (await hub.credit({ playerId: 'owed', refId: 'win-1', amountCents: 1234 })).body;
      await hub.reaches(transactionId, 'parked');
      const dead = await becomes('operator', 'win-1', 'dead');

      const answer = await hub.replay('operator', dead.id);
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ id: dead.id, queue: 'operator', payload: dead.payload });
      isDueNow(answer);
      await hub.reaches(transactionId, 'confirmed');
      await hub.drained();
      expect(await becomes('operator', 'win-1', 'sent')).toMatchObject({ lastError: null });

      const [first, second] = line.requests;
      expect(line.requests).toHaveLength(2);
      expect(second?.body).toBe(first?.body);
      expect(second?.headers['idempotency-key']).toBe(first?.headers['idempotency-key']);
      expect(await hub.player('owed')).toMatchObject({ net: { USD: '1234' }, movements: 1 });
      expect(await hub.rgsReceived()).toMatchObject([{ refId: 'win-1', status: 'OK', deliveries: 1 }]);
      expect(await audit()).toMatchObject([
        {
          action: 'outbox.replay',
          target: `operator/${dead.id}`,
          actor: expect.stringMatching(/.+/),
          before: { status: 'dead', lastError: expect.stringContaining('limit_reached') },
          after: { status: 'pending', lastError: null },
        },
      ]);
    });

    it('of a sent webhook sends the same bytes under the same id; the RGS knows it', async () => {
      await hub.debit({ playerId: 'again', refId: 'bet-1' });
      const sent = await becomes('rgs', 'bet-1', 'sent');
      isDueNow(await hub.replay('rgs', sent.id));
      await waitFor('it was delivered twice', async () => (await hub.rgsReceived())[0]?.deliveries === 2);
      const calls = await hub.rgsCalls();
      expect(new Set(calls.map(({ body }) => body)).size).toBe(1);
      expect(calls.map(({ headers }) => headers['webhook-id'])).toEqual([sent.id, sent.id]);
      expect(await becomes('rgs', 'bet-1', 'sent')).toMatchObject({ attemptCount: 2 });
      expect(await hub.rgsReceived()).toHaveLength(1);
    });

    it('of a sent debit bothers nobody, since its outcome is known', async () => {
      const { transactionId } = (await hub.debit({ playerId: 'once', refId: 'bet-1' })).body;
      await hub.reaches(transactionId, 'confirmed');
      await hub.drained();
      isDueNow(await hub.replay('operator', (await record('operator', 'bet-1')).id));
      await becomes('operator', 'bet-1', 'sent');
      await hub.drained();
      expect(line.requests).toHaveLength(1);
      expect((await hub.player('once')).movements).toBe(1);
      expect((await hub.transaction(transactionId)).state).toBe('confirmed');
      expect(await hub.rgsReceived()).toMatchObject([{ deliveries: 1 }]);
    });

    it('of a failed message does not wait for its hour', async () => {
      await hub.operatorFault({ kind: 'status', status: 500, next: 1 });
      const { transactionId } = (await hub.debit({ refId: 'bet-1' })).body;
      const failed = await becomes('operator', 'bet-1', 'failed');
      isDueNow(await hub.replay('operator', failed.id));
      await hub.reaches(transactionId, 'confirmed');
      expect(line.requests.map(({ status }) => status)).toEqual([500, 200]);
      expect(await audit()).toMatchObject([{ before: { status: 'failed' }, after: { status: 'pending' } }]);
    });

    it('of a blocked debit frees its lane, and what queued behind it follows in order', async () => {
      await hub.operatorFault({ kind: 'status', status: 500, reference: 'bet-1' });
      const { transactionId } = (await hub.debit({ playerId: 'stuck', refId: 'bet-1' })).body;
      await becomes('operator', 'bet-1', 'failed');
      await hub.database.query('update outbox_head set visible_at = clock_timestamp()');
      const blocked = await becomes('operator', 'bet-1', 'dead');
      expect((await hub.transaction(transactionId)).state).toBe('parked');
      await hub.credit({ playerId: 'stuck', refId: 'win-2' });
      await hub.debit({ playerId: 'stuck', refId: 'bet-3' });
      const queued = await record('operator', 'win-2');

      // A message in the middle of the lane keeps its place, however urgent somebody thinks it is.
      expect((await hub.replay('operator', queued.id)).body).toMatchObject({ status: 'pending', lastError: null });
      const other = (await hub.debit({ playerId: 'other' })).body.transactionId;
      await hub.reaches(other, 'confirmed');
      expect((await hub.operatorBooks()).map(({ playerId }) => playerId)).toEqual(['other']);

      await control(operator.url, 'DELETE', '/admin/faults');
      isDueNow(await hub.replay('operator', blocked.id));
      await hub.reaches(transactionId, 'confirmed');
      await hub.drained();
      expect(
        (await hub.operatorBooks()).filter(({ playerId }) => playerId === 'stuck').map(({ reference }) => reference),
      ).toEqual(['bet-1', 'win-2', 'bet-3']);
      expect(
        (await hub.rgsReceived()).filter(({ playerId }) => playerId === 'stuck').map(({ refId }) => refId),
      ).toEqual(['bet-1', 'win-2', 'bet-3']);
    });

    it('of a message that is on the wire leaves it alone: one call, one outcome', async () => {
      await hub.operatorFault({ kind: 'delay', ms: 400, next: 1 });
      const { transactionId } = (await hub.debit({ refId: 'bet-1' })).body;
      await waitFor('the call is on the wire', () => line.requests[0]);
      const answer = await hub.replay('operator', (await record('operator', 'bet-1')).id);
      expect(answer).toMatchObject({ status: 200, body: { status: 'pending', lastError: null } });
      expect(line.requests[0]?.endedAt).toBeNull();
      await hub.reaches(transactionId, 'confirmed');
      await hub.drained();
      expect(line.requests).toHaveLength(1);
      expect(
        await hub.database.query(
          'select outcome from outbox_attempt a join outbox_message m on m.id = a.message_id where m.path <> $1',
          [''],
        ),
      ).toEqual([{ outcome: 'sent' }]);
    });

    it('of a retry that is on the wire gives it its full schedule again', async () => {
      await hub.operatorFault({ kind: 'status', status: 500, next: 1 });
      await hub.operatorFault({ kind: 'delay', ms: 300, next: 1 });
      const { transactionId } = (await hub.debit({ refId: 'bet-1' })).body;
      await becomes('operator', 'bet-1', 'failed');
      await hub.database.query('update outbox_head set visible_at = clock_timestamp()');
      await waitFor('the retry is on the wire', () => line.requests[1]);
      expect((await hub.replay('operator', (await record('operator', 'bet-1')).id)).body).toMatchObject({
        status: 'pending',
        lastError: null,
      });
      await hub.reaches(transactionId, 'confirmed');
      expect(line.requests).toHaveLength(2);
    });

    it('is refused for a debit that was rejected: the RGS was told so, and the money must not move after all', async () => {
      const { transactionId } = (await hub.debit({ playerId: 'poor_bad', refId: 'bet-1' })).body;
      await hub.reaches(transactionId, 'rejected');
      await hub.drained();
      const dead = await becomes('operator', 'bet-1', 'dead');
      expect(await hub.replay('operator', dead.id)).toMatchObject({
        status: 409,
        body: { code: 'replay_refused', correlationId: transactionId },
      });
      expect(await record('operator', 'bet-1')).toEqual(dead);
      expect(await audit()).toEqual([]);
      // The webhook that says so may be sent as often as anybody likes.
      isDueNow(await hub.replay('rgs', (await record('rgs', 'bet-1')).id));
      await waitFor('the RGS was told again', async () => (await hub.rgsReceived())[0]?.deliveries === 2);
      expect(line.requests).toHaveLength(1);
    });

    it('answers 404 for what is not there', async () => {
      await hub.debit({ refId: 'bet-1' });
      const { id } = await record('operator', 'bet-1');
      for (const [queue, recordId] of [
        ['operator', randomUUID()],
        ['rgs', id],
        ['other', id],
        ['operator', 'no-id'],
      ] as const)
        expect(await hub.call('POST', `/admin/replay/${queue}/${recordId}`)).toMatchObject({
          status: 404,
          body: { code: 'outbox_record_not_found', detail: 'outbox record not found' },
        });
      expect(await audit()).toEqual([]);
    });
  });

  it('410 Gone stops the endpoint until a person resumes it; then everything comes, in order and once', async () => {
    await hub.rgsFault({ kind: 'status', status: 410, next: 1 });
    await hub.debit({ playerId: 'anna', refId: 'anna-1' });
    await waitFor(
      'the RGS is paused',
      async () =>
        (await hub.database.query(`select 1 from outbox_destination where queue = 'rgs' and paused_at is not null`))[0],
    );
    for (const refId of ['anna-2', 'anna-3']) await hub.debit({ playerId: 'anna', refId });
    const last = (await hub.debit({ playerId: 'bert', refId: 'bert-1' })).body.transactionId;
    // The operator's side goes on; only the RGS hears nothing, whatever is due or replayed.
    await hub.reaches(last, 'confirmed');
    await becomes('operator', 'anna-3', 'sent');
    await hub.replay('rgs', (await record('rgs', 'anna-1')).id);
    expect((await hub.rgsCalls()).map(({ refId }) => refId)).toEqual(['anna-1']);
    expect((await hub.outbox({ queue: 'rgs' })).map(({ status, attemptCount }) => ({ status, attemptCount }))).toEqual(
      Array(4).fill({ status: 'pending', attemptCount: 0 }),
    );

    expect(await hub.call('POST', '/admin/destinations/rgs/resume')).toMatchObject({
      status: 200,
      body: { code: 'rgs', resumed: true },
    });
    await hub.drained();
    const told = (await hub.rgsReceived()).map(({ refId, deliveries }) => ({ refId, deliveries }));
    expect(told.filter(({ refId }) => refId.startsWith('anna'))).toEqual(
      ['anna-1', 'anna-2', 'anna-3'].map((refId) => ({ refId, deliveries: 1 })),
    );
    expect(told).toHaveLength(4);

    expect(await hub.call('POST', '/admin/destinations/rgs/resume')).toMatchObject({
      status: 200,
      body: { resumed: false },
    });
    expect((await hub.call('POST', '/admin/destinations/nobody/resume')).status).toBe(404);
    expect((await audit()).filter(({ action }) => action === 'destination.resume')).toMatchObject([
      { target: 'rgs', before: { paused: true }, after: { paused: false } },
      { target: 'rgs', before: { paused: false }, after: { paused: false } },
    ]);
  });
});
