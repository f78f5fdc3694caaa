import { randomUUID } from 'node:crypto';
import { SchedulerRegistry } from '@nestjs/schedule';
import { parse } from 'csv-parse/sync';
import { RunStore } from '../../src/reconciliation/run/run.store';
import { RunWorker } from '../../src/reconciliation/engine/run.worker';
import { sha256Hex } from '../../src/audit/hub-key';
import { manifestFaults } from '../../src/reconciliation/reports/manifest';
import { ExceptionMetrics } from '../../src/reconciliation/exceptions/exception-metrics';
import { ReportSigning } from '../../src/reconciliation/reports/report-signing';
import { businessDateOf } from '../../src/reconciliation/calendar/window';
import { ListServer } from '../support/partners/list-server';
import { followPartners } from '../support/partners/partner-rows';
import { plantRun } from '../support/recon/planted-run';
import { expectProblem } from '../support/hub/problem';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const ENDED = ['sealed', 'failed', 'cancelled'];

/** Waits for the end of a run. */
async function ended(hub: TestHub, id: string): Promise<Record<string, any>> {
  return waitFor(`run ${id} has ended`, async () => {
    const { body } = await hub.call('GET', `/v1/recon/runs/${id}`);
    return ENDED.includes(body.state) ? body : undefined;
  });
}

const begin = (hub: TestHub, body: Record<string, unknown> = {}, key: string | null = null) =>
  hub.call('POST', '/v1/recon/runs', { graceSeconds: 0, ...body }, { idempotencyKey: key });

describe('a run', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
    for (const playerId of ['ann', 'bob'])
      await hub.reaches(
        (await hub.debit({ playerId, amountCents: 1000, currency: 'EUR' })).body.transactionId,
        'confirmed',
      );
    await hub.drained();
  });
  afterAll(() => hub.stop());
  const today = () => businessDateOf(new Date(), 'Europe/Malta', '06:00');

  it.each([
    [{ businessDate: '2999-01-01' }, 'businessDate', 'has not begun yet'],
    [{ businessDate: '2999-01-01', provisional: true }, 'businessDate', 'has not begun yet'],
    [{ businessDate: new Date().toISOString().slice(0, 10) }, 'businessDate', 'has not ended yet'],
    [{ from: '2026-01-01T00:00:00Z', to: '2030-01-01T00:00:00Z' }, 'to', 'has not ended yet'],
  ])('of a window that has not ended is refused: %j', async (window, field, says) => {
    const answer = await hub.call('POST', '/v1/recon/runs', window);
    expectProblem(answer, 'validation_failed');
    expect(answer.body.errors).toEqual([{ field, message: expect.stringContaining(says) }]);
  });

  it("of a window that has not ended is refused to the first hub's call, too", async () =>
    expectProblem(
      await hub.call('GET', '/reconciliation_data?from=2026-01-01T00:00:00Z&to=2030-01-01T00:00:00Z'),
      'validation_failed',
    ));

  it('that lost five processes at the same point fails with a reason; progress or a stop in between does not count', async () => {
    const list = await ListServer.start();
    const other = await TestHub.start({ env: { OPERATOR_BASE_URL: list.url, ROLE: 'api' } });
    try {
      // Silent to the end, so the process that reads it makes no progress.
      list.serve(() => undefined);
      // Who polls would take the run between two lines of this test.
      other.app.get(SchedulerRegistry).deleteInterval('reconciliation.poll');
      const { id } = (await begin(other)).body;
      const runs = other.app.get(RunStore);
      const lose = async (): Promise<number> => {
        await other.database.query(
          `update recon.run set lease_until = clock_timestamp() - interval '1 second' where id = $1`,
          [id],
        );
        // Whoever writes a page at this moment holds the row.
        return (await waitFor('the run is taken', () => runs.claim('a process that dies', 60, id))).lostLeases;
      };
      await waitFor('the run is read', async () => (await runs.find(id))?.state === 'ingesting');
      expect([await lose(), await lose()]).toEqual([1, 2]);
      const claimed = await runs.find(id);
      await runs.release(claimed!);
      expect((await waitFor('the run is taken', () => runs.claim('the next process', 60, id))).lostLeases).toBe(0);
      for (let n = 1; n <= 4; n++) expect(await lose()).toBe(n);
      await other.database.query(`update recon.run set buckets_done = buckets_done + 1 where id = $1`, [id]);
      expect(await lose()).toBe(1);
      for (let n = 2; n <= 4; n++) expect(await lose()).toBe(n);
      await other.database.query(
        `update recon.run set lease_until = clock_timestamp() - interval '1 second' where id = $1`,
        [id],
      );
      await other.app.get(RunWorker).stop(id, 'its process died');
      await other.app.get(RunWorker).start(id);
      expect(await ended(other, id)).toMatchObject({ state: 'failed', error: { reason: 'processes_died' } });
    } finally {
      await other.stop();
      await list.stop();
    }
  });

  it('of a business day is begun, tells how far it is, and finds everything in order', async () => {
    const answer = await begin(hub, {
      businessDate: today(),
      zone: 'Europe/Malta',
      cutoff: '06:00',
      provisional: true,
    });
    expect([answer.status, answer.headers.get('location')]).toEqual([202, `/v1/recon/runs/${answer.body.id}`]);
    expect(answer.body).toMatchObject({
      kind: 'adhoc',
      businessDate: today(),
      zone: 'Europe/Malta',
      cutoff: '06:00',
      graceSeconds: 0,
      provisional: true,
      rgs: 'rgs',
      operator: 'operator',
      createdBy: expect.stringMatching(/^finance:/),
    });
    const run = await ended(hub, answer.body.id);
    expect(run).toMatchObject({
      state: 'sealed',
      itemCount: 0,
      activity: true,
      counts: { broken: 0, inFlight: 0 },
      error: null,
    });
    expect(run.progress).toMatchObject({
      sources: [
        { side: 'rgs', rowsSeen: 2, done: true },
        { side: 'operator', rowsSeen: 2, done: true },
        { side: 'hub', done: true },
      ],
      bucketsDone: expect.any(Number),
    });
    const bridge = (await hub.call('GET', `/v1/recon/runs/${run.id}/bridge`)).body;
    expect(bridge).toMatchObject({ balanced: true });
    expect(bridge.lines[0]).toMatchObject({
      businessDate: today(),
      currency: 'EUR',
      direction: 'debit',
      fromTotal: '20.00',
      steps: [],
      toTotal: '20.00',
      unexplained: '0.00',
    });
  });

  it('finds what the operator lost and what it has alone; the report, its totals and its manifest say the same', async () => {
    const lost = (await hub.debit({ playerId: 'lost', refId: 'ref-lost', amountCents: 777, currency: 'EUR' })).body
      .transactionId;
    await hub.reaches(lost, 'confirmed');
    await hub.drained();
    const books = (await hub.operatorBooks()).filter(({ correlationId }) => correlationId !== lost);
    const lists = await ListServer.start();
    lists.list([
      ...books,
      {
        playerId: 'x',
        amount: 5,
        currency: 'EUR',
        reference: '=alien()',
        correlationId: randomUUID(),
        direction: 'withdraw',
        status: 'OK',
        createdAt: new Date().toISOString(),
      },
    ]);
    const other = await TestHub.start({ database: hub.database, rgs: hub.rgs, env: { OPERATOR_BASE_URL: lists.url } });
    try {
      const run = await ended(other, (await begin(other)).body.id);
      expect(run).toMatchObject({
        state: 'sealed',
        window: null,
        businessDate: null,
        itemCount: 2,
        counts: { broken: 2 },
      });
      const { items } = (await other.call('GET', `/v1/recon/runs/${run.id}/items`)).body;
      expect(items).toEqual([
        expect.objectContaining({
          class: 'missing_in_operator',
          refId: 'ref-lost',
          correlationId: lost,
          amountRgs: '7.77',
          amountOperator: null,
          difference: '-7.77',
          state: 'broken',
          nextAction: 'requery_operator',
        }),
        expect.objectContaining({ class: 'orphan_operator', refId: '=alien()', difference: '5.00' }),
      ]);
      const { body: signed } = await other.call('GET', `/v1/recon/runs/${run.id}/manifest`);
      const csv = await other.call('GET', `/v1/recon/runs/${run.id}/report.csv`);
      expect(manifestFaults(signed, { bytes: Buffer.byteLength(csv.text), sha256: sha256Hex(csv.text) })).toEqual([]);
      const rows: Record<string, string>[] = parse(csv.text, { columns: true });
      expect(rows.map(({ refId }) => refId)).toEqual(['ref-lost', "'=alien()"]);
      // The differences of the lines add up to the difference of the totals.
      const total = (side: string) =>
        signed.manifest.totals
          .filter((cell: Record<string, string>) => cell.side === side && cell.currency === 'EUR')
          .reduce((sum: bigint, cell: Record<string, string>) => sum + BigInt(cell.sumMinor!), 0n);
      expect(rows.reduce((sum: bigint, { difference }) => sum + BigInt(difference!.replace('.', '')), 0n)).toBe(
        total('operator') - total('rgs'),
      );
      const exceptions = (await other.call('GET', '/v1/recon/exceptions?state=open')).body.items;
      expect(exceptions.map(({ id }: { id: string }) => id).sort()).toEqual(
        items.map(({ exceptionId }: { exceptionId: string }) => exceptionId).sort(),
      );

      // The operator finds it again: the break closes by itself.
      lists.list(await hub.operatorBooks());
      const later = await ended(other, (await begin(other)).body.id);
      expect((await other.call('GET', `/v1/recon/runs/${run.id}/diff/${later.id}`)).body.counts).toEqual({
        new: 0,
        cleared: 2,
        stillOpen: 0,
        outOfWindow: 0,
      });
      expect((await other.call('GET', `/v1/recon/exceptions/${items[0].exceptionId}`)).body).toMatchObject({
        state: 'auto_cleared',
        lastRun: later.id,
        firstRun: run.id,
      });
    } finally {
      await other.stop();
      await lists.stop();
    }
  });

  it('whose list cannot be read fails with the side and the reason, makes no report, and is begun anew by a person', async () => {
    const lists = await ListServer.start();
    lists.serve((_request, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'));
    const other = await TestHub.start({ database: hub.database, rgs: hub.rgs, env: { OPERATOR_BASE_URL: lists.url } });
    try {
      const run = await ended(other, (await begin(other, { businessDate: today(), provisional: true })).body.id);
      expect(run).toMatchObject({
        state: 'failed',
        itemCount: null,
        counts: null,
        error: { side: 'operator', reason: expect.stringMatching(/^[a-z_]+$/), message: expect.any(String) },
      });
      expectProblem(await other.call('GET', `/v1/recon/runs/${run.id}/report.csv`), 'run_state_conflict');
      lists.list(await hub.operatorBooks());
      const again = await other.call('POST', `/v1/recon/runs/${run.id}/retry`);
      expect([again.status, again.headers.get('location')]).toEqual([202, `/v1/recon/runs/${again.body.id}`]);
      expect(await ended(other, again.body.id)).toMatchObject({ state: 'sealed', businessDate: today() });
      expectProblem(await other.call('POST', `/v1/recon/runs/${again.body.id}/retry`), 'run_state_conflict');
    } finally {
      await other.stop();
      await lists.stop();
    }
  });

  it('is stopped while it runs, and not when it has ended', async () => {
    const lists = await ListServer.start();
    let waiting: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (waiting = resolve));
    // Says nothing at all, as a partner that hangs.
    lists.serve(() => waiting());
    const other = await TestHub.start({
      database: hub.database,
      rgs: hub.rgs,
      env: { OPERATOR_BASE_URL: lists.url, OPERATOR_TIMEOUT_MS: '60000', OUTBOX_LEASE_SECONDS: '70' },
    });
    try {
      const { body } = await begin(other, { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' });
      await held;
      expect((await other.call('POST', `/v1/recon/runs/${body.id}/cancel`)).body).toMatchObject({
        id: body.id,
        state: 'cancelled',
      });
      expectProblem(await other.call('POST', `/v1/recon/runs/${body.id}/cancel`), 'run_state_conflict');
    } finally {
      await other.stop();
      await lists.stop();
    }
  });

  it('that was made this moment is left to the process that made it', async () => {
    const made = await plantRun(hub, { state: 'queued' });
    const runs = hub.app.get(RunStore, { strict: false });
    // Other hubs look for work every second; one that took it now might have another list to read.
    expect((await runs.claim('who looks for work', 30))?.id).not.toBe(made);
    expect((await runs.claim('its maker', 30, made))?.id).toBe(made);
    await hub.call('POST', `/v1/recon/runs/${made}/cancel`);
  });

  it('is one for one key and one caller, however often and on however many hubs it is asked for', async () => {
    const key = randomUUID();
    const other = await TestHub.start({ database: hub.database, rgs: hub.rgs, operator: hub.operator });
    try {
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, n) => begin(n % 2 === 0 ? hub : other, { graceSeconds: 7 }, key)),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(202));
      expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
      await ended(hub, answers[0]!.body.id);
      const again = await begin(hub, { graceSeconds: 7 }, key);
      expect([again.body.id, again.headers.get('idempotent-replayed')]).toEqual([answers[0]!.body.id, 'true']);
      expectProblem(await begin(hub, { graceSeconds: 8 }, key), 'idempotency_key_reused');
    } finally {
      await other.stop();
    }
  });

  it.each([
    [{ businessDate: '2026-02-30' }, 'businessDate'],
    [{ businessDate: '2011-12-30', zone: 'Pacific/Apia' }, 'businessDate'],
    [{ businessDate: '2026-11-22', from: '2026-11-22T00:00:00Z', to: '2026-11-23T00:00:00Z' }, 'businessDate'],
    [{ zone: 'Europe/Valetta' }, 'zone'],
    [{ cutoff: '24:00' }, 'cutoff'],
    [{ from: '2026-11-22T00:00:00Z' }, 'from'],
    [{ from: '2026-11-22T00:00:00' }, 'from'],
    [{ from: '2026-11-22T00:00:00Z', to: '2026-11-22T00:00:00Z' }, 'from'],
    [{ from: '1900-01-01T00:00:00Z', to: '2026-11-22T00:00:00Z' }, 'from'],
    [{ graceSeconds: -1 }, 'graceSeconds'],
    [{ kind: 'legacy' }, 'kind'],
    [{ rules: {} }, 'rules'],
  ])('is not begun for %j', async (body, field) => {
    const answer = await begin(hub, body);
    expectProblem(answer, 'validation_failed');
    expect(answer.body.errors.map((fault: { field: string }) => fault.field)).toContain(field);
  });

  it('that nobody knows is neither stopped nor repeated', async () => {
    for (const act of ['cancel', 'retry'])
      for (const id of [randomUUID(), 'x'])
        expectProblem(await hub.call('POST', `/v1/recon/runs/${id}/${act}`), 'not_found');
    expectProblem(
      await hub.call('POST', `/v1/recon/runs/${await plantRun(hub, { state: 'failed', kind: 'legacy' })}/retry`),
      'run_state_conflict',
    );
  });

  it('is signed without anybody asking, and shows in the metrics', async () => {
    // One whose operator is no partner any more cannot be signed, and stands before the others; it must not hold them
    // up.
    const unsignable = await plantRun(hub, { reshape: 'update recon.run set operator_id = 9999 where id = $1' });
    // Hubs of earlier tests put other addresses into the partner table, of servers that are gone; this one may have
    // read them.
    await followPartners(hub);
    const { body } = await begin(hub, { graceSeconds: 11 });
    expect(await ended(hub, body.id)).toMatchObject({ state: 'sealed', error: null });
    const signed = async (id: string) =>
      (
        await hub.database.query<{ signed: boolean }>(
          'select manifest is not null as signed from recon.run where id = $1',
          [id],
        )
      )[0]?.signed;
    await waitFor('it is signed', async () => {
      await hub.app.get(ReportSigning, { strict: false }).sign();
      return signed(body.id);
    });
    expect(await signed(unsignable)).toBe(false);
    await hub.app.get(ExceptionMetrics, { strict: false }).refresh();
    const metrics = (await hub.call('GET', '/metrics')).text;
    expect(metrics).toMatch(/^recon_run_seconds_count\{state="sealed"\} [1-9]/m);
    expect(Number(/^recon_last_sealed_timestamp (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(Date.now() / 1000 - 120);
    expect(metrics).toMatch(/^recon_rows\{source="rgs",result="matched"\} [1-9]/m);
    expect(metrics).toMatch(/^recon_oldest_open_seconds \d+$/m);
  });
});
