import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { brokenAction } from '../../src/reconciliation/reports/action-chain';
import { ExceptionsStore } from '../../src/reconciliation/exceptions/exceptions.store';
import { AuditStore } from '../../src/audit/audit.store';
import { verifyChain } from '../../src/audit/audit-chain';
import { Database } from '../../src/database/database';
import { ListServer } from '../support/partners/list-server';
import { plantException } from '../support/recon/planted-exception';
import { expectProblem } from '../support/hub/problem';
import { withClient } from '../support/hub/test-database';
import type { HttpAnswer } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';

const TOKENS = { OPS_TOKEN: 'ops-a', FINANCE_TOKEN: 'fin-a,fin-b' };
const REASON = { reasonCode: 'partner_confirmed', note: 'ticket 4711' };

describe('exceptions', () => {
  let hub: TestHub;
  const now = Date.now();
  beforeAll(async () => {
    hub = await TestHub.start({ env: { ...TOKENS, RECON_ACCEPT_LIMIT: '100', RGS_TOKEN: 'change_token' } });
  });
  afterAll(() => hub.stop());

  const plant = (columns?: Record<string, unknown>) => plantException(hub, columns);
  const act = (
    id: string,
    action: string,
    { token = 'fin-a', key = null, ...body }: { token?: string; key?: string | null; [field: string]: unknown } = {},
  ): Promise<HttpAnswer> =>
    hub.call(
      'POST',
      `/v1/recon/exceptions/${id}/actions`,
      { action, ...REASON, ...body },
      { token, idempotencyKey: key },
    );
  const detail = async (id: string) => (await hub.call('GET', `/v1/recon/exceptions/${id}`)).body;
  const list = async (query: string) => (await hub.call('GET', `/v1/recon/exceptions?${query}`)).body;

  describe('in the list', () => {
    it('are oldest first, with how much of each currency is how old', async () => {
      const owner = 'lister';
      const at = (hours: number) => new Date(now - hours * 3_600_000).toISOString();
      const planted = [];
      for (const [hours, amount, cur] of [
        [0.1, 100, 'EUR'],
        [5, 200, 'EUR'],
        [30, 300, 'JPY'],
        [31, 50, 'JPY'],
        [100, 400, 'EUR'],
        [400, 500, 'KWD'],
      ] as const)
        planted.push(
          await plant({ owner, anchor_at: at(hours), first_seen: at(hours - 0.05), amount_minor: amount, cur }),
        );
      await plant({ owner, state: 'accepted' });
      const { items, ageing, nextCursor } = await list(`owner=${owner}&state=open&limit=4`);
      const rest = await list(`owner=${owner}&state=open&limit=4&cursor=${nextCursor}`);
      expect([...items, ...rest.items].map(({ id }: { id: string }) => id)).toEqual([...planted].reverse());
      expect(rest.nextCursor).toBeNull();
      expect(ageing).toEqual([
        { age: '<15m', currency: 'EUR', count: 1, amount: '1.00' },
        { age: '<24h', currency: 'EUR', count: 1, amount: '2.00' },
        { age: '1-3d', currency: 'JPY', count: 2, amount: '350' },
        { age: '3-7d', currency: 'EUR', count: 1, amount: '4.00' },
        { age: '>7d', currency: 'KWD', count: 1, amount: '0.500' },
      ]);
      expect(items[0]).toMatchObject({ age: '>7d', amount: '0.500', currency: 'KWD' });
      expect(items[0].ageSeconds - 400 * 3600).toBeLessThan(60);
      expect((await list(`owner=${owner}&age=1-3d`)).items.map(({ id }: { id: string }) => id).sort()).toEqual(
        [planted[2], planted[3]].sort(),
      );
      expect((await list(`owner=${owner}&currency=KWD&class=missing_in_operator`)).items).toHaveLength(1);
    });

    it.each(['state=gone', 'age=old', 'limit=0', 'cursor=x'])('are not found by %s', async (query) =>
      expectProblem(await hub.call('GET', `/v1/recon/exceptions?${query}`), 'validation_failed'),
    );
  });

  it('keep who did what, why and what came of it, in their own history and in the audit log', async () => {
    const id = await plant();
    expect((await act(id, 'comment', { note: 'looking into it' })).status).toBe(200);
    expect((await act(id, 'assign', { owner: 'anna' })).body).toMatchObject({
      exception: { owner: 'anna', state: 'open' },
    });
    expect((await act(id, 'accept')).body).toMatchObject({
      approval: 'not_needed',
      exception: {
        state: 'accepted',
        resolution: 'partner_confirmed',
        note: 'ticket 4711',
        resolvedAt: expect.stringMatching(/Z$/),
      },
    });
    expect((await act(id, 'reopen', { token: 'ops-a' })).body).toMatchObject({
      exception: { state: 'open', resolution: null, resolvedAt: null },
    });
    const { actions } = await detail(id);
    expect(actions.map(({ action, before, after }: Record<string, unknown>) => [action, before, after])).toEqual([
      ['comment', { state: 'open' }, { state: 'open' }],
      ['assign', { owner: null }, { owner: 'anna' }],
      ['accept', { state: 'open' }, { state: 'accepted' }],
      ['reopen', { state: 'accepted', resolution: 'partner_confirmed' }, { state: 'open' }],
    ]);
    expect(actions[0]).toMatchObject({
      actor: expect.stringMatching(/^finance:[0-9a-f]{8}$/),
      reasonCode: 'partner_confirmed',
      note: 'looking into it',
    });
    expect(actions[3].actor).toMatch(/^ops:/);
    const audited = await hub.database.query<{ actor: string; after: Record<string, unknown> }>(
      `select actor, after from audit_entry where target = $1 order by id`,
      [`exception/${id}`],
    );
    expect(audited.map(({ actor, after }) => [actor, after.action, after.actionHash])).toEqual(
      actions.map(({ actor, action, hash }: Record<string, unknown>) => [actor, action, hash]),
    );
  });

  it('refuse what does not fit their state', async () => {
    const id = await plant({ state: 'auto_cleared' });
    for (const action of ['accept', 'ignore', 'requery_operator'])
      expectProblem(await act(id, action), 'exception_state_conflict');
    expectProblem(await act(id, 'replay_outbox', { token: 'ops-a' }), 'exception_state_conflict');
    expectProblem(await act(await plant(), 'reopen'), 'exception_state_conflict');
    expectProblem(await act(randomUUID(), 'accept'), 'not_found');
    expectProblem(await act('nobody', 'accept'), 'not_found');
    expect((await detail(id)).actions).toEqual([]);
  });

  it.each([
    [{ reasonCode: 'Other!' }],
    [{ reasonCode: undefined }],
    [{ reasonCode: 'other', note: undefined }],
    [{ note: 'no' }],
    [{ note: 'with \u0000' }],
    [{ more: 1 }],
  ])('refuse an act without a proper reason: %j', async (body) =>
    expectProblem(await act(await plant(), 'accept', body), 'validation_failed'),
  );
  it('refuse a comment without words, and an assignment to nobody in particular', async () => {
    expectProblem(await act(await plant(), 'comment', { note: undefined }), 'validation_failed');
    expectProblem(await act(await plant(), 'assign'), 'validation_failed');
    expectProblem(await act(await plant(), 'shred'), 'validation_failed');
  });

  describe('above the limit', () => {
    it('are closed by a second person, not by the first again, nor by the same token in another role', async () => {
      const id = await plant({ amount_minor: 10_001 });
      const first = await act(id, 'accept');
      expect([first.status, first.body.approval, first.body.exception.state]).toEqual([202, 'requested', 'open']);
      expectProblem(await act(id, 'accept'), 'second_person_required');
      const second = await act(id, 'accept', { token: 'fin-b' });
      expect([second.status, second.body.approval, second.body.exception.state]).toEqual([200, 'given', 'accepted']);
      const both = (await detail(id)).actions.map(({ actor }: { actor: string }) => actor);
      expect(new Set(both).size).toBe(2);
      expect((await detail(id)).actions[1].after).toMatchObject({
        state: 'accepted',
        approval: 'given',
        firstPerson: both[0].split(':')[1],
        secondPerson: both[1].split(':')[1],
      });
    });

    it('need the second person for the same act, on the same amount, and after what happened in between', async () => {
      const id = await plant({ amount_minor: 10_001 });
      expect((await act(id, 'accept')).status).toBe(202);
      expect((await act(id, 'comment', { token: 'fin-b', note: 'I agree' })).status).toBe(200);
      await hub.database.query('update recon.exception set amount_minor = 2000000 where id = $1', [id]);
      expect((await act(id, 'accept', { token: 'fin-b' })).body.approval).toBe('requested');
      expect((await act(id, 'accept', { token: 'fin-a' })).body.approval).toBe('given');
    });

    it('are not displaced by a second person who wants something else: the answer names the request that is open', async () => {
      const id = await plant({ amount_minor: 10_001 });
      const { action } = (await act(id, 'accept')).body;
      const other = await act(id, 'ignore', { token: 'fin-b' });
      expectProblem(other, 'exception_state_conflict');
      expect(other.body.detail).toContain(`accept was requested by ${action.actor} at ${action.at}`);
      expect(
        (
          await hub.call(
            'POST',
            '/v1/recon/exceptions/bulk',
            { action: 'ignore', reasonCode: 'test_data', ids: [id], dryRun: true },
            { token: 'fin-b' },
          )
        ).body.items,
      ).toEqual([{ id, result: 'refused', code: 'exception_state_conflict' }]);
      // Taken back in so many words, by whom it may be: then something else may be asked for.
      expect((await act(id, 'reopen', { token: 'fin-b' })).status).toBe(200);
      expect((await act(id, 'ignore', { token: 'fin-b' })).body.approval).toBe('requested');
      // The first person may change her mind.
      expect((await act(id, 'accept', { token: 'fin-b' })).body.approval).toBe('requested');
      expect((await act(id, 'accept', { token: 'fin-a' })).body.approval).toBe('given');
    });

    it('are neither asked for nor confirmed with a token that a partner has as well', async () => {
      const id = await plant({ amount_minor: 10_001 });
      expectProblem(await act(id, 'accept', { token: 'change_token' }), 'second_person_required');
      expect((await act(id, 'accept')).body.approval).toBe('requested');
      expectProblem(await act(id, 'accept', { token: 'change_token' }), 'second_person_required');
      expect((await detail(id)).state).toBe('open');
      expect((await act(id, 'accept', { token: 'fin-b' })).body.approval).toBe('given');
    });

    it.each([
      [{ amount_minor: 10_000 }, 200],
      [{ amount_minor: 10_001 }, 202],
      [{ amount_minor: null }, 202],
      [{ cur: 'EUR/USD' }, 202],
      [{ cur: null }, 202],
      [{ amount_minor: 100, cur: 'JPY' }, 200],
      [{ amount_minor: 101, cur: 'JPY' }, 202],
      [{ amount_minor: 100_000, cur: 'KWD' }, 200],
      [{ amount_minor: -10_001 }, 202],
    ])('or not known: %j is answered with %i', async (columns, status) =>
      expect((await act(await plant(columns), 'ignore')).status).toBe(status),
    );

    it('are not closed by two requests of one person at the same moment', async () => {
      const id = await plant({ amount_minor: 10_001 });
      const answers = await Promise.all([act(id, 'accept'), act(id, 'accept'), act(id, 'accept')]);
      expect(answers.map(({ status }) => status).sort()).toEqual([202, 409, 409]);
      expect((await detail(id)).state).toBe('open');
    });
  });

  it('are acted on once for one key, whoever repeats it how often', async () => {
    const id = await plant();
    const key = randomUUID();
    const answers = await Promise.all(Array.from({ length: 6 }, () => act(id, 'comment', { key, note: 'once only' })));
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200));
    expect(new Set(answers.map(({ body }) => body.action.hash)).size).toBe(1);
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(5);
    expect((await detail(id)).actions).toHaveLength(1);
    expectProblem(await act(id, 'comment', { key, note: 'something else' }), 'idempotency_key_reused');
    expect((await act(id, 'comment', { key, note: 'once only', token: 'fin-b' })).body.action.actor).not.toBe(
      answers[0]!.body.action.actor,
    );
    expectProblem(await act(id, 'comment', { key: 'k'.repeat(256), note: 'long key' }), 'validation_failed');
  });

  describe('and their partners', () => {
    it('have their message sent again, by ops and not by finance, five times at most', async () => {
      const { body } = await hub.debit({ playerId: 'replayed', refId: 'ref-replay' });
      await hub.reaches(body.transactionId, 'confirmed');
      await hub.drained();
      const [record] = (await hub.outbox({ queue: 'rgs' })).filter(({ payload }) => payload.refId === 'ref-replay');
      const id = await plant({ class: 'missing_in_rgs', outbox_id: record!.id, outbox_queue: 'rgs' });
      expectProblem(await act(id, 'replay_outbox', { token: 'fin-a' }), 'forbidden');
      for (let n = 0; n < 5; n += 1) {
        expect((await act(id, 'replay_outbox', { token: 'ops-a' })).body.action).toMatchObject({
          before: { status: 'sent' },
          after: {
            status: 'pending',
            outboxId: record!.id,
            queue: 'rgs',
            partner: 'rgs',
            event: expect.any(String),
            attemptsBefore: expect.any(Number),
          },
        });
        await hub.drained();
      }
      expectProblem(await act(id, 'replay_outbox', { token: 'ops-a' }), 'exception_state_conflict');
      expect((await hub.rgsReceived()).filter(({ refId }) => refId === 'ref-replay').length).toBeGreaterThanOrEqual(1);
      expect((await detail(id)).state).toBe('open');
    });

    it('have their operator asked: what it booked, and what it did not', async () => {
      const { body } = await hub.debit({ playerId: 'asked', refId: 'ref-asked' });
      await hub.reaches(body.transactionId, 'confirmed');
      const known = await plant({ ref_id: 'ref-asked' });
      expect((await act(known, 'requery_operator')).body.action.after).toMatchObject({
        state: 'open',
        operatorHas: 'booking',
        reference: 'ref-asked',
        rows: [{ correlationId: body.transactionId, amount: '5' }],
      });
      expect((await act(await plant({ ref_id: 'ref-never' }), 'requery_operator')).body.action.after).toMatchObject({
        operatorHas: 'nothing',
        rows: [],
      });
      expectProblem(await act(await plant({ ref_id: null }), 'requery_operator'), 'exception_state_conflict');
    });

    it('have no act written down when the operator does not answer', async () => {
      const silent = await ListServer.start();
      silent.serve((_request, response) => void response.writeHead(500).end());
      const other = await TestHub.start({ env: { OPERATOR_BASE_URL: silent.url } });
      try {
        const id = await plantException(other, { ref_id: 'ref-silent' });
        const answer = await other.call('POST', `/v1/recon/exceptions/${id}/actions`, {
          action: 'requery_operator',
          ...REASON,
        });
        expectProblem(answer, 'upstream_failed');
        expect((await other.call('GET', `/v1/recon/exceptions/${id}`)).body.actions).toEqual([]);
      } finally {
        await other.stop();
        await silent.stop();
      }
    });
  });

  describe('in bulk', () => {
    const bulk = (body: Record<string, unknown>, token = 'fin-a') =>
      hub.call(
        'POST',
        '/v1/recon/exceptions/bulk',
        { action: 'ignore', reasonCode: 'test_data', dryRun: false, ...body },
        { token },
      );

    it('are done one by one, and one that is refused keeps no other from being done', async () => {
      const [open, closed, big] = [
        await plant(),
        await plant({ state: 'accepted' }),
        await plant({ amount_minor: 9_999_999 }),
      ];
      const ids = [open, closed, big, randomUUID(), open];
      const results = (answer: HttpAnswer) =>
        answer.body.items.map(({ result, code }: { result: string; code: string | null }) => [result, code]);
      expect(results(await bulk({ ids, dryRun: true }))).toEqual([
        ['would_do', null],
        ['refused', 'exception_state_conflict'],
        ['would_do', null],
        ['refused', 'not_found'],
      ]);
      expect((await detail(open)).state).toBe('open');
      expect(results(await bulk({ ids }))).toEqual([
        ['done', null],
        ['refused', 'exception_state_conflict'],
        ['approval_requested', null],
        ['refused', 'not_found'],
      ]);
      expect((await detail(open)).state).toBe('ignored');
      expect((await detail(big)).state).toBe('open');
    });

    it('by a filter need a note and the count of a dry run that still holds', async () => {
      const owner = 'bulk-filter';
      for (let n = 0; n < 3; n += 1) await plant({ owner });
      const filter = { owner, state: 'open' };
      expectProblem(await bulk({ filter, dryRun: true }), 'validation_failed');
      const note = 'left over from the drill';
      expect((await bulk({ filter, note, dryRun: true })).body).toMatchObject({ dryRun: true, count: 3 });
      expectProblem(await bulk({ filter, note }), 'validation_failed');
      await plant({ owner });
      expectProblem(await bulk({ filter, note, expectedCount: 3 }), 'selection_changed');
      expect(
        (await bulk({ filter, note, expectedCount: 4 })).body.items.every(
          ({ result }: { result: string }) => result === 'done',
        ),
      ).toBe(true);
      expect((await list(`owner=${owner}&state=open`)).items).toEqual([]);
    });

    it.each([
      [{ ids: [] }],
      [{ ids: ['x'] }],
      [{ ids: Array.from({ length: 101 }, () => randomUUID()) }],
      [{ ids: [randomUUID()], filter: {} }],
      [{ ids: [randomUUID()], action: 'replay_outbox' }],
      [{ ids: [randomUUID()], action: 'requery_operator' }],
      [{ filter: { state: 'gone' }, note: 'why not', dryRun: true }],
      [{ ids: [randomUUID()], dryRun: 'yes' }],
    ])('refuse %j', async (body) => expectProblem(await bulk(body), 'validation_failed'));
  });

  describe('have a history that', () => {
    const broken = async () =>
      hub.app
        .get(Database)
        .transaction((tx) => brokenAction(hub.app.get(ExceptionsStore, { strict: false }).chain(tx)));

    it('is one chain over all of them, however many act at once, and so is the audit log', async () => {
      const ids = await Promise.all(Array.from({ length: 8 }, () => plant()));
      await Promise.all(
        ids.flatMap((id) => [act(id, 'comment', { note: 'one' }), act(id, 'comment', { note: 'two', token: 'ops-a' })]),
      );
      expect((await broken()).broken).toBeNull();
      const audit = hub.app.get(AuditStore, { strict: false });
      expect(
        (await hub.app.get(Database).transaction(async (tx) => verifyChain(audit.entries(tx), await audit.head(tx))))
          .broken,
      ).toBeNull();
    });

    it('is checked with the audit log: an act that was cut off its end is missed', async () => {
      const verify = (): Promise<{ code: number | null; says: string }> =>
        new Promise((resolve, reject) => {
          const child = spawn(process.execPath, [path.resolve(__dirname, '../../dist/src/admin/verify-audit.js')], {
            env: { PATH: process.env.PATH ?? '', DATABASE_URL: hub.database.url },
            stdio: ['ignore', 'pipe', 'pipe'],
          });
          let says = '';
          for (const stream of [child.stdout, child.stderr])
            stream.on('data', (chunk: Buffer) => (says += chunk.toString()));
          child.once('error', reject).once('close', (code) => resolve({ code, says }));
        });
      const whole = await verify();
      expect([whole.code, whole.says]).toEqual([
        0,
        expect.stringMatching(
          /^The audit log is whole: \d+ entries\. By the database only: no checkpoint was given\.\nThe history of exceptions is whole: \d+ actions\. By the database only: no checkpoint was given\.\n$/,
        ),
      ]);
      await withClient(hub.database.superuserUrl, async (client) => {
        await client.query(
          `set session_replication_role = replica; create table cut as select * from recon.action order by id desc limit 1; delete from recon.action using cut where action.id = cut.id`,
        );
        try {
          const { code, says } = await verify();
          expect([code, says]).toEqual([1, expect.stringContaining('the audit log knows of later ones')]);
        } finally {
          await client.query('insert into recon.action select * from cut; drop table cut');
        }
      });
    });

    it.each(['update recon.action set note = null', 'delete from recon.action', 'truncate recon.action'])(
      'refuses "%s"',
      async (sql) => {
        await expect(hub.database.query(sql)).rejects.toThrow('recon.action is append-only');
      },
    );

    it.each([
      ['actor', `'somebody else'`],
      ['note', `'another note'`],
      ['action', `'shred'`],
      ['reason_code', `'goodwill'`],
      ['after', `'{"state": "accepted", "x": 1}'::jsonb`],
      ['before', 'null'],
      ['idem_key', `'another'`],
      ['at', `at + interval '1 microsecond'`],
      ['hash', `sha256('x')`],
      ['prev_hash', `sha256('y')`],
    ])('shows that the %s of an act was changed behind the trigger', async (column, value) => {
      await withClient(hub.database.superuserUrl, async (client) => {
        await client.query('set session_replication_role = replica');
        await client.query('begin');
        await client.query(`create table kept as select * from recon.action where id = 3`);
        await client.query(`update recon.action set ${column} = ${value} where id = 3`);
        await client.query('commit');
        try {
          expect((await broken()).broken).toMatch(/^action [34] /);
        } finally {
          await client.query(
            'delete from recon.action where id = 3; insert into recon.action select * from kept; drop table kept',
          );
        }
      });
      expect((await broken()).broken).toBeNull();
    });
  });
});
