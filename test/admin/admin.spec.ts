import { createHash } from 'node:crypto';
import { ConfigError, parseConfig } from '../../src/config/config';
import { productionEnvironment } from '../support/hub/production-environment';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const OPS = { token: 'token-of-ops' };
const OPS_NAME = `ops:${createHash('sha256').update(OPS.token).digest('hex').slice(0, 8)}`;

interface AuditRow {
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly request_id: string | null;
  readonly at: Date;
}

describe('what ops do by hand', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { OPS_TOKEN: OPS.token, MAX_RETRIES: '0', BREAKER_FAILURES: '10000' } });
    hub.operator.settings.callbacks = false;
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  /** The newest entry comes last; those of earlier tests stay, as they must. */
  const audit = (action?: string) =>
    hub.database.query<AuditRow>('select * from audit_entry where $1::text is null or action = $1 order by id', [
      action ?? null,
    ]);
  const ops = (path: string, requestId: string) =>
    hub.call('POST', path, undefined, { ...OPS, headers: { 'x-request-id': requestId } });
  const count = async (table: string) =>
    Number((await hub.database.query<{ n: string }>(`select count(*) as n from ${table}`))[0]?.n);
  const MONEY = [
    'wallet_transaction',
    'wallet_event',
    'wallet_outcome',
    'idempotency_key',
    'outbox_message',
    'outbox_head',
    'outbox_lane',
    'outbox_dead',
    'outbox_attempt',
    'inbound_callback',
  ];

  it('clearing forgets all movements, messages and callbacks, and says who did it', async () => {
    const bet = await hub.debit({ playerId: 'ann', refId: 'bet' }, { idempotencyKey: 'key' });
    await hub.reaches(bet.body.transactionId, 'confirmed');
    await hub.callback({
      playerId: 'ann',
      amount: 5,
      currency: 'USD',
      status: 'OK',
      event: 'withdraw',
      refId: 'bet',
      correlationId: bet.body.correlationId,
    });
    await hub.drained();
    expect(await count('wallet_transaction')).toBe(1);

    const answer = await ops('/admin/clear-db', 'req-clear');
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ status: 'cleared' });
    for (const table of MONEY) expect([table, await count(table)]).toEqual([table, 0]);
    expect((await audit('database.clear')).at(-1)).toMatchObject({
      actor: OPS_NAME,
      target: 'all',
      before: null,
      after: null,
      request_id: 'req-clear',
    });
    // The partners stay, and the same key and refId are free again.
    const again = await hub.debit({ playerId: 'ann', refId: 'bet' }, { idempotencyKey: 'key' });
    expect(again.headers.get('idempotent-replayed')).toBeNull();
    await hub.reaches(again.body.transactionId, 'confirmed');
  });

  it('clearing while traffic runs hurts nobody: no error, no message left behind, and what comes after is delivered', async () => {
    let running = true;
    let asked = 0;
    const players = Array.from({ length: 6 }, async (_, player) => {
      const statuses = new Set<number>();
      while (running) {
        asked += 1;
        statuses.add((await hub.debit({ playerId: `player-${player}` })).status);
      }
      return statuses;
    });
    const cleared: number[] = [];
    for (let round = 1; round <= 5; round += 1) {
      const from = asked;
      await waitFor('traffic runs', () => asked > from + 40);
      cleared.push((await ops('/admin/clear-db', `req-storm-${round}`)).status);
    }
    running = false;
    const answers = await Promise.all(players);
    expect(cleared).toEqual([200, 200, 200, 200, 200]);
    for (const statuses of answers) expect([...statuses]).toEqual([200]);
    await hub.drained();
    // Whatever survived the last clearing is settled; nothing of the time before it holds a lane.
    expect(
      await hub.database.query(
        `select state, count(*)::integer as n from wallet_transaction where state <> 'confirmed' group by state`,
      ),
    ).toEqual([]);
    expect(await count('outbox_head')).toBe(0);
    expect((await audit('database.clear')).slice(-5).map(({ request_id }) => request_id)).toEqual(
      [1, 2, 3, 4, 5].map((round) => `req-storm-${round}`),
    );
    const after = await hub.debit({ playerId: 'player-0' });
    await hub.reaches(after.body.transactionId, 'confirmed');
  });

  it('a replay is written down with what was before and after; a refused one is not', async () => {
    await hub.rgsFault({ kind: 'status', status: 500, next: 40 });
    const bet = await hub.debit({ playerId: 'ben' });
    await hub.reaches(bet.body.transactionId, 'confirmed');
    const [record] = await waitFor('the webhook has failed', async () => {
      const failed = await hub.outbox({ queue: 'rgs', status: 'failed' });
      return failed.length > 0 && failed;
    });
    await control(hub.rgs.url, 'DELETE', '/admin/faults');
    const replayed = await ops(`/admin/replay/rgs/${record?.id}`, 'req-replay');
    expect(replayed.status).toBe(200);
    await hub.drained();
    const entry = (await audit('outbox.replay')).at(-1);
    expect(entry).toMatchObject({ actor: OPS_NAME, target: `rgs/${record?.id}`, request_id: 'req-replay' });
    expect(Object.keys(entry?.before ?? {}).sort()).toEqual(['attemptCount', 'lastError', 'nextAttemptAt', 'status']);
    expect(Object.keys(entry?.after ?? {}).sort()).toEqual(['attemptCount', 'lastError', 'nextAttemptAt', 'status']);
    expect(Math.abs(Date.now() - (entry?.at.getTime() ?? 0))).toBeLessThan(60_000);

    // A debit that was refused and told so must not go again.
    await hub.operatorFault({ kind: 'refuse', reason: 'limit', next: 1 });
    const lost = await hub.debit({ playerId: 'cat' });
    await hub.reaches(lost.body.transactionId, 'rejected');
    const before = (await audit()).length;
    const [dead] = await hub.outbox({ queue: 'operator', status: 'dead' });
    const refused = await ops(`/admin/replay/operator/${dead?.id}`, 'req-refused');
    expect(refused.status).toBe(409);
    expect(refused.body).toMatchObject({ code: 'replay_refused' });
    for (const path of ['rgs/00000000-0000-7000-8000-000000000000', `operator/${record?.id}`, 'rgs/7', 'nowhere/7']) {
      const missing = await ops(`/admin/replay/${path}`, 'req-missing');
      expect(missing.status).toBe(404);
      expect(missing.body).toMatchObject({ detail: 'outbox record not found', code: 'outbox_record_not_found' });
    }
    expect(await audit()).toHaveLength(before);
  });

  it('resuming a destination is written down, also when it was not paused', async () => {
    await hub.rgsFault({ kind: 'status', status: 410, next: 1 });
    const bet = await hub.debit({ playerId: 'dan' });
    await hub.reaches(bet.body.transactionId, 'confirmed');
    await waitFor(
      'the RGS is paused',
      async () =>
        (await hub.database.query(`select 1 from outbox_destination where queue = 'rgs' and paused_at is not null`))
          .length === 1,
    );
    expect((await ops('/admin/destinations/rgs/resume', 'req-resume')).body).toEqual({ code: 'rgs', resumed: true });
    await hub.drained();
    expect((await hub.rgsReceived()).map(({ correlationId }) => correlationId)).toEqual([bet.body.correlationId]);
    expect((await ops('/admin/destinations/rgs/resume', 'req-again')).body).toEqual({ code: 'rgs', resumed: false });
    expect((await ops('/admin/destinations/nobody/resume', 'req-nobody')).status).toBe(404);
    expect((await audit('destination.resume')).slice(-2)).toMatchObject([
      { actor: OPS_NAME, target: 'rgs', before: { paused: true }, after: { paused: false }, request_id: 'req-resume' },
      { actor: OPS_NAME, target: 'rgs', before: { paused: false }, after: { paused: false }, request_id: 'req-again' },
    ]);
  });

  it.each([
    "update audit_entry set actor = 'nobody'",
    'delete from audit_entry',
    'truncate audit_entry',
    'delete from audit_entry where false',
  ])('the audit log refuses: %s', async (sql) => {
    await ops('/admin/clear-db', 'req-kept');
    const before = await audit();
    await expect(hub.database.query(sql)).rejects.toThrow('audit_entry is append-only');
    expect(await audit()).toEqual(before);
  });

  it('nobody but ops may do any of it', async () => {
    const before = (await audit()).length;
    for (const path of [
      '/admin/clear-db',
      '/admin/destinations/rgs/resume',
      '/admin/replay/rgs/00000000-0000-7000-8000-000000000000',
    ]) {
      expect((await hub.call('POST', path, undefined, { token: null })).status).toBe(401);
      expect((await hub.call('POST', path, undefined, { token: 'guess' })).status).toBe(401);
    }
    expect(await audit()).toHaveLength(before);
  });
});

describe('clearing the database', () => {
  it('is refused with 403 when ALLOW_CLEAR_DB is not true, and touches nothing', async () => {
    const hub = await TestHub.start({ env: { ALLOW_CLEAR_DB: 'false' } });
    try {
      const bet = await hub.debit();
      await hub.reaches(bet.body.transactionId, 'confirmed');
      const answer = await hub.call('POST', '/admin/clear-db');
      expect(answer.status).toBe(403);
      expect(answer.body).toMatchObject({ code: 'forbidden', detail: expect.stringContaining('ALLOW_CLEAR_DB') });
      expect(await hub.transaction(bet.body.transactionId)).toMatchObject({ state: 'confirmed' });
      expect(await hub.database.query('select 1 from audit_entry')).toEqual([]);
    } finally {
      await hub.stop();
    }
  });

  it('cannot be allowed in production, where it is off by default', () => {
    const production = productionEnvironment();
    expect(parseConfig(production)).toMatchObject({ production: true, allowClearDb: false });
    expect(() => parseConfig({ ...production, ALLOW_CLEAR_DB: 'true' })).toThrow(ConfigError);
    expect(() => parseConfig({ ...production, ALLOW_CLEAR_DB: 'true' })).toThrow(
      /ALLOW_CLEAR_DB must not be true in production/,
    );
    expect(parseConfig({ NODE_ENV: 'test' }).allowClearDb).toBe(true);
  });
});
