import { read } from '@e965/xlsx';
import { parse } from 'csv-parse/sync';
import { createHash } from 'node:crypto';
import http from 'node:http';
import { gunzipSync } from 'node:zlib';
import { Database } from '../../src/database/database';
import { sha256Hex } from '../../src/audit/hub-key';
import { manifestFaults } from '../../src/reconciliation/reports/manifest';
import { plantRun } from '../support/recon/planted-run';
import { expectProblem } from '../support/hub/problem';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const FORMULAS = [
  "=cmd|' /C calc'!A0",
  '+1',
  '-1',
  '@SUM(A1)',
  '\t=1',
  '\r=1',
  '\uff1d1',
  '\uff0b1',
  '\uff0d1',
  '\uff201',
];
const cell = (cls: string, state: string, source: number, n: number, sum: string) => ({
  business_date: '2026-11-22',
  cur: 'EUR',
  dir: 'debit',
  class: cls,
  state,
  source,
  n,
  sum_minor: sum,
});
const SUMMARY = [
  cell('matched', 'matched', 1, 10, '10000'),
  cell('matched', 'matched', 2, 10, '10000'),
  cell('matched', 'matched', 4, 10, '10000'),
  cell('missing_in_operator', 'broken', 1, 2, '2000'),
  cell('missing_in_operator', 'broken', 4, 2, '2000'),
  cell('amount', 'broken', 1, 1, '1000'),
  cell('amount', 'broken', 2, 1, '1999'),
  cell('amount', 'broken', 4, 1, '1000'),
];

interface Whole {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;
}

describe('the report of a run', () => {
  let hub: TestHub;
  let runId: string;
  beforeAll(async () => {
    hub = await TestHub.start();
    runId = await plantRun(hub, {
      summary: SUMMARY,
      items: [
        {},
        { ref_id: '=1+1', corr: null, anchor_at: '2026-11-22T23:30:00Z' },
        {
          classes: ['amount', 'status'],
          presence: 7,
          n_op: 1,
          amt_op: '1999',
          difference: '999',
          st_op: 'PENDING',
          reason: 'amount rgs=10.00 operator=19.99',
        },
      ],
    });
  });
  afterAll(() => hub.stop());

  /** Untouched bytes and trailers, which fetch hides. */
  const whole = (path: string, headers: Record<string, string> = {}): Promise<Whole> =>
    new Promise((resolve, reject) => {
      http
        .get(hub.url + path, { headers: { authorization: 'Bearer change_token', ...headers } }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              trailers: response.trailers,
              body: Buffer.concat(chunks),
            }),
          );
        })
        .once('error', reject);
    });
  const file = (name: string, headers?: Record<string, string>) => whole(`/v1/recon/runs/${runId}/${name}`, headers);
  const digestOf = (body: Buffer) => `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;

  it('is a CSV with a name, its length, its digest and the count of its lines', async () => {
    const { status, headers, body } = await file('report.csv');
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="reconciliation-2026-11-22.csv"',
      'content-length': String(body.length),
      'repr-digest': digestOf(body),
      'x-recon-item-count': '3',
      'x-recon-run-id': runId,
      vary: 'Accept-Encoding',
    });
    const rows = parse(body, { columns: true, record_delimiter: '\r\n' });
    expect(rows).toHaveLength(3);
    expect(rows[0]).toMatchObject({
      runId,
      seq: '1',
      refId: 'ref-1',
      anchorAt: '2026-11-22T13:00:00.000+01:00',
      playerId: 'pl****17',
      class: 'missing_in_operator',
      amountRgs: '10.00',
      amountOperator: '',
      difference: '-10.00',
      inRGS: 'True',
      inOperator: 'False',
      inHub: 'True',
      ageSeconds: '62400',
      nextAction: 'requery_operator',
    });
    expect(rows[1]).toMatchObject({ refId: "'=1+1", correlationId: '', anchorAt: '2026-11-23T00:30:00.000+01:00' });
    expect(rows[2]).toMatchObject({
      class: 'amount',
      allClasses: 'amount status',
      difference: '9.99',
      statusOperator: 'PENDING',
    });
  });

  it('is the same bytes every time, is not sent again to whoever has it, and is sent anew in another form', async () => {
    const first = await file('report.csv');
    const second = await file('report.csv');
    expect(second.body.equals(first.body)).toBe(true);
    expect(second.headers.etag).toBe(first.headers.etag);
    for (const tag of [first.headers.etag!, `"other", ${first.headers.etag}`, `W/${first.headers.etag}`, '*']) {
      const again = await file('report.csv', { 'if-none-match': tag });
      expect([again.status, again.body.length, again.headers.etag]).toEqual([304, 0, first.headers.etag]);
    }
    expect((await file('report.csv?bom=1', { 'if-none-match': first.headers.etag! })).status).toBe(200);
    const tags = await Promise.all(
      [
        'report.csv',
        'report.csv?bom=1',
        'report.csv?sep=semicolon',
        'report.csv?raw=1',
        'report.ndjson',
        'report.xlsx',
      ].map(async (name) => (await file(name)).headers.etag),
    );
    expect(new Set(tags).size).toBe(tags.length);
  });

  it.each(['report.csv?bom=1', 'report.csv?sep=tab', 'report.ndjson', 'report.xlsx'])(
    '%s has its digest behind its last byte',
    async (name) => {
      const { headers, trailers, body } = await file(name);
      expect(headers.trailer).toBe('Repr-Digest');
      expect(trailers['repr-digest']).toBe(digestOf(body));
      expect((await file(name)).body.equals(body)).toBe(true);
    },
  );

  it('is compressed where gzip is asked for by name, and holds the same', async () => {
    const plain = await file('report.csv');
    const squeezed = await file('report.csv', { 'accept-encoding': 'br, gzip;q=0.8' });
    expect(squeezed.headers['content-encoding']).toBe('gzip');
    expect(gunzipSync(squeezed.body).equals(plain.body)).toBe(true);
    expect(squeezed.trailers['repr-digest']).toBe(digestOf(squeezed.body));
    expect(squeezed.headers.etag).not.toBe(plain.headers.etag);
    for (const accept of ['*', 'identity', 'gzip;q=0', 'br'])
      expect((await file('report.csv', { 'accept-encoding': accept })).headers['content-encoding']).toBeUndefined();
  });

  it('has the byte order mark and the separator that were asked for, and the raw cells where a machine reads', async () => {
    const plain = await file('report.csv');
    expect((await file('report.csv?bom=1')).body.equals(Buffer.concat([Buffer.from('\ufeff'), plain.body]))).toBe(true);
    expect(parse((await file('report.csv?sep=semicolon')).body, { delimiter: ';' })).toEqual(parse(plain.body));
    expect(parse((await file('report.csv?raw=1')).body, { columns: true })[1]).toMatchObject({ refId: '=1+1' });
  });

  it('lets no formula through, whoever wrote it', async () => {
    const other = await plantRun(hub, {
      items: FORMULAS.map((text) => ({
        ref_id: text,
        corr: text,
        player: text,
        reason: text,
        st_op: text,
        linked_corr: text,
      })),
    });
    const { body } = await whole(`/v1/recon/runs/${other}/report.csv`);
    for (const row of parse(body))
      for (const cell of row)
        if (!/^-?\d+(\.\d+)?$/.test(cell)) expect(cell).not.toMatch(/^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/);
    const sheet = read((await whole(`/v1/recon/runs/${other}/report.xlsx`)).body, { cellFormula: true }).Sheets.Items!;
    for (const [place, found] of Object.entries(sheet))
      if (!place.startsWith('!')) expect((found as { f?: string }).f).toBeUndefined();
  });

  it('is a line of JSON for each item, and what GET items pages through', async () => {
    const lines = (await file('report.ndjson')).body
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(lines[1]).toMatchObject({
      refId: '=1+1',
      correlationId: null,
      amountRgs: '10.00',
      countRgs: 1,
      inOperator: false,
      allClasses: ['missing_in_operator'],
    });
    const first = await hub.call('GET', `/v1/recon/runs/${runId}/items?limit=2`);
    const second = await hub.call('GET', `/v1/recon/runs/${runId}/items?limit=2&cursor=${first.body.nextCursor}`);
    expect([...first.body.items, ...second.body.items]).toEqual(lines);
    expect(second.body.nextCursor).toBeNull();
    expect(
      (await hub.call('GET', `/v1/recon/runs/${runId}/items?class=status`)).body.items.map(
        ({ seq }: { seq: number }) => seq,
      ),
    ).toEqual([3]);
    expect((await hub.call('GET', `/v1/recon/runs/${runId}/items?state=in_flight`)).body.items).toEqual([]);
    expect((await hub.call('GET', `/v1/recon/runs/${runId}/items?currency=USD`)).body.items).toEqual([]);
  });

  it('is a workbook with a summary, the bridge and the items; ids are text and amounts are numbers', async () => {
    const { SheetNames, Sheets } = read((await file('report.xlsx')).body);
    expect(SheetNames).toEqual(['Summary', 'Bridge', 'Items', 'Run']);
    expect(Object.values(Sheets.Run!).map((cell) => (cell as { v?: unknown }).v)).toEqual(
      expect.arrayContaining([
        'runId',
        'windowFrom',
        '2026-11-22T05:00:00.000Z',
        'rgs',
        'operator',
        'manifestSha256',
        'manifestSequence',
      ]),
    );
    expect(Sheets.Summary!.A1).toMatchObject({ v: 'businessDate' });
    expect(Sheets.Items!.E3).toMatchObject({ t: 's', v: '=1+1' });
    expect(Sheets.Items!.N2).toMatchObject({ t: 'n', v: 10 });
    expect(Sheets.Items!.Q2).toMatchObject({ t: 'n', v: -10 });
    expect(Object.values(Sheets.Bridge!).map((found) => (found as { v?: unknown }).v)).toEqual(
      expect.arrayContaining(['missing_in_operator', -20, 'amount', 9.99, 'unexplained', 0, 'total operator', 119.99]),
    );
  });

  it('adds up: every total is walked to from another, and nothing is left over', async () => {
    const { body } = await hub.call('GET', `/v1/recon/runs/${runId}/bridge`);
    expect(body).toMatchObject({ runId, balanced: true });
    expect(body.lines).toEqual(
      expect.arrayContaining([
        {
          businessDate: '2026-11-22',
          currency: 'EUR',
          direction: 'debit',
          from: 'rgs',
          to: 'operator',
          fromTotal: '130.00',
          steps: [
            { class: 'amount', difference: '9.99' },
            { class: 'missing_in_operator', difference: '-20.00' },
          ],
          toTotal: '119.99',
          unexplained: '0.00',
        },
        {
          businessDate: '2026-11-22',
          currency: 'EUR',
          direction: 'debit',
          from: 'hub',
          to: 'rgs',
          fromTotal: '130.00',
          steps: [],
          toTotal: '130.00',
          unexplained: '0.00',
        },
      ]),
    );
    const unbalanced = await plantRun(hub, {
      summary: [cell('matched', 'matched', 1, 1, '100'), cell('matched', 'matched', 2, 1, '99')],
    });
    expect((await hub.call('GET', `/v1/recon/runs/${unbalanced}/bridge`)).body).toMatchObject({
      balanced: false,
      lines: expect.arrayContaining([expect.objectContaining({ from: 'rgs', to: 'operator', unexplained: '-0.01' })]),
    });
    const summary = (await hub.call('GET', `/v1/recon/runs/${runId}/summary`)).body;
    expect(summary).toMatchObject({
      activity: true,
      lines: expect.arrayContaining([
        {
          businessDate: '2026-11-22',
          currency: 'EUR',
          direction: 'debit',
          class: 'amount',
          state: 'broken',
          side: 'operator',
          count: 1,
          total: '19.99',
        },
      ]),
    });
  });

  it('of a window in which nobody booked anything says so', async () => {
    const empty = await plantRun(hub);
    expect((await hub.call('GET', `/v1/recon/runs/${empty}`)).body).toMatchObject({ activity: false, itemCount: 0 });
    expect((await hub.call('GET', `/v1/recon/runs/${empty}/summary`)).body).toEqual({
      runId: empty,
      activity: false,
      lines: [],
    });
    expect((await whole(`/v1/recon/runs/${empty}/report.csv`)).body.toString()).toMatch(/^runId,.*\r\n$/);
    expect(read((await whole(`/v1/recon/runs/${empty}/report.xlsx`)).body).Sheets.Summary!.A2).toMatchObject({
      v: 'No activity',
    });
  });

  it('is signed, with the digest of the CSV and of the manifest before', async () => {
    const fresh = await Promise.all([
      plantRun(hub, { items: [{}] }),
      plantRun(hub, { items: [{}, {}] }),
      plantRun(hub),
    ]);
    const asked = await Promise.all(
      [...fresh, ...fresh].map(async (id) => (await hub.call('GET', `/v1/recon/runs/${id}/manifest`)).body),
    );
    expect(asked.slice(3)).toEqual(asked.slice(0, 3));
    const chain = asked.slice(0, 3).sort((a, b) => a.manifest.sequence - b.manifest.sequence);
    for (const [index, signed] of chain.entries())
      if (index > 0) expect(signed.manifest.previousManifestSha256).toBe(chain[index - 1].sha256);
    const key = (await hub.call('GET', '/v1/recon/signing-key')).body;
    for (const signed of chain) {
      const { body } = await whole(`/v1/recon/runs/${signed.manifest.run.id}/report.csv`);
      expect(manifestFaults(signed, { bytes: body.length, sha256: sha256Hex(body) }, key.publicKey)).toEqual([]);
    }
    expect(chain[0].manifest).toMatchObject({
      format: 'recon-manifest/1',
      run: {
        businessDate: '2026-11-22',
        zone: 'Europe/Malta',
        cutoff: '06:00',
        window: { from: '2026-11-22T05:00:00.000Z' },
        rgs: 'rgs',
        operator: 'operator',
      },
      signing: key,
    });
  });

  it('of two runs shows what is new, cleared, still open, and what the later one does not answer for', async () => {
    const [gone, kept, early] = [
      '11111111-1111-4111-8111-111111111111',
      '22222222-2222-4222-8222-222222222222',
      '33333333-3333-4333-8333-333333333333',
    ];
    const before = await plantRun(hub, {
      items: [{ k: gone }, { k: kept }, { k: early, anchor_at: '2026-11-21T12:00:00Z' }],
    });
    const after = await plantRun(hub, { items: [{ k: kept }, { ref_id: 'fresh' }] });
    const first = (await hub.call('GET', `/v1/recon/runs/${before}/diff/${after}?limit=3`)).body;
    const rest = (await hub.call('GET', `/v1/recon/runs/${before}/diff/${after}?limit=3&cursor=${first.nextCursor}`))
      .body;
    expect(first.counts).toEqual({ new: 1, cleared: 1, stillOpen: 1, outOfWindow: 1 });
    const lines = [...first.items, ...rest.items]
      .map(({ change, seqBefore, seqAfter }) => `${change} ${seqBefore} ${seqAfter}`)
      .sort();
    expect(lines).toEqual(['cleared 1 null', 'new null 2', 'out_of_window 3 null', 'still_open 2 1']);
  });

  it.each(['report.csv', 'report.ndjson', 'report.xlsx', 'items', 'summary', 'bridge', 'manifest'])(
    '%s is there only when the run is sealed',
    async (name) => {
      const failed = await plantRun(hub, { state: 'failed' });
      expectProblem(await hub.call('GET', `/v1/recon/runs/${failed}/${name}`), 'run_state_conflict');
      for (const nobody of ['019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7aff', 'x'])
        expectProblem(await hub.call('GET', `/v1/recon/runs/${nobody}/${name}`), 'not_found');
    },
  );

  it('is listed newest first, by state, kind and date, page by page', async () => {
    const failed = await plantRun(hub, { state: 'failed', kind: 'scheduled', businessDate: '2026-10-01' });
    const { body } = await hub.call('GET', '/v1/recon/runs?limit=2');
    expect(body.items[0]).toMatchObject({
      id: failed,
      state: 'failed',
      kind: 'scheduled',
      error: { reason: 'unreachable', side: 'operator' },
      activity: null,
    });
    const next = await hub.call('GET', `/v1/recon/runs?limit=2&cursor=${body.nextCursor}`);
    expect(new Set([...body.items, ...next.body.items].map(({ id }: { id: string }) => id)).size).toBe(4);
    expect(
      (await hub.call('GET', '/v1/recon/runs?businessDate=2026-10-01&state=failed&kind=scheduled')).body,
    ).toMatchObject({ items: [{ id: failed }], nextCursor: null });
    for (const query of ['limit=0', 'state=done', 'businessDate=22.11.2026', 'cursor=x', 'unknown=1'])
      expectProblem(await hub.call('GET', `/v1/recon/runs?${query}`), 'validation_failed');
  });

  describe('that is long', () => {
    const ITEMS = 30_000;
    let long: string;
    beforeAll(async () => {
      long = await plantRun(hub, { many: ITEMS });
      expect((await hub.call('GET', `/v1/recon/runs/${long}/manifest`)).body.manifest.report.rows).toBe(ITEMS);
    });
    const busy = () => {
      const pool = (
        hub.app.get(Database).dataSource.driver as unknown as { master: { totalCount: number; idleCount: number } }
      ).master;
      return pool.totalCount - pool.idleCount;
    };

    it('holds no connection while its reader is slow, nor after its reader left', async () => {
      const request = http.get(`${hub.url}/v1/recon/runs/${long}/report.csv`, {
        headers: { authorization: 'Bearer change_token' },
      });
      const response = await new Promise<http.IncomingMessage>((resolve, reject) =>
        request.once('response', resolve).once('error', reject),
      );
      response.pause();
      await waitFor('the file waits for its reader', () => busy() === 0);
      expect((await hub.call('GET', '/v1/recon/runs?limit=1')).status).toBe(200);
      expect(response.readableFlowing).toBe(false);
      response.destroy();
      await waitFor('nothing is read for nobody', () => busy() === 0);
      const whole = await file('report.csv');
      expect(whole.status).toBe(200);
    });

    it('is whole: as many lines as items, each once', async () => {
      const { body } = await whole(`/v1/recon/runs/${long}/report.csv`);
      const seqs = (parse(body, { columns: true }) as unknown as { seq: string }[]).map(({ seq }) => Number(seq));
      expect(seqs).toHaveLength(ITEMS);
      expect(seqs.every((seq, index) => seq === index + 1)).toBe(true);
    });

    it('breaks off rather than end early when items are gone', async () => {
      const short = await plantRun(hub, { many: 5_000 });
      expect((await whole(`/v1/recon/runs/${short}/report.csv`)).status).toBe(200);
      await hub.database.query('delete from recon.item where run_id = $1 and seq = 4321', [short]);
      for (const name of ['report.csv', 'report.csv?raw=1', 'report.ndjson', 'report.xlsx'])
        await expect(whole(`/v1/recon/runs/${short}/${name}`)).rejects.toThrow('aborted');
    });

    it('breaks off rather than run into the next answer when there are more items than were signed', async () => {
      const grown = await plantRun(hub, { many: 5_100 });
      await hub.call('GET', `/v1/recon/runs/${grown}/manifest`);
      await hub.database.query(
        'insert into recon.item select (json_populate_record(item, json_build_object($2::text, seq + 5100))).* from recon.item where run_id = $1',
        [grown, 'seq'],
      );
      await expect(whole(`/v1/recon/runs/${grown}/report.csv`)).rejects.toThrow('aborted');
    });

    it('and longer than a sheet is refused as a workbook, with a pointer to the CSV', async () => {
      await hub.database.query('update recon.run set item_count = 1048576 where id = $1', [long]);
      const answer = await hub.call('GET', `/v1/recon/runs/${long}/report.xlsx`);
      expectProblem(answer, 'report_too_long');
      expect(answer.body.detail).toContain('report.csv');
    });
  });
});
