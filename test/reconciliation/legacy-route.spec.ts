import { parse } from 'csv-parse/sync';
import http from 'node:http';
import { Database } from '../../src/database/database';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import { freePort } from '../support/hub/hub-process';
import { ListServer } from '../support/partners/list-server';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const HEADING = 'refId,correlationId,direction,amount,inRGS,inOperator\r\n';
const stagedRows = async (hub: TestHub) =>
  Number(
    (
      await hub.database.query<{ n: string }>(
        'select (select count(*) from recon.stage_0) + (select count(*) from recon.stage_1) as n',
      )
    )[0]?.n,
  );
/** The rows go after the last byte of the file, so its reader may be a little early. */
const discarded = (hub: TestHub) => waitFor('nothing is staged any more', async () => (await stagedRows(hub)) === 0);
const download = (hub: TestHub) => hub.call('GET', '/reconciliation_data');

describe('the reconciliation file', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const plantAtRgs = (webhook: Record<string, unknown>) =>
    control(hub.rgs.url, 'POST', '/admin/book', {
      playerId: 'p',
      event: 'credit',
      amountCents: 1000,
      currency: 'USD',
      ...webhook,
    });
  const plantAtOperator = (booking: Record<string, unknown>) =>
    control(hub.operator.url, 'POST', '/admin/book', {
      playerId: 'p',
      direction: 'withdraw',
      amount: 10,
      currency: 'USD',
      ...booking,
    });

  it('is the heading alone when both sides know nothing', async () => {
    const file = await download(hub);
    expect(file.status).toBe(200);
    expect(file.text).toBe(HEADING);
    expect(file.headers.get('x-mismatch-count')).toBe('0');
    expect(file.headers.get('x-recon-rejected-count')).toBe('0');
  });

  it('is byte for byte what the first hub wrote', async () => {
    await plantAtRgs({ refId: 'ref-local', correlationId: 'corr-1' });
    const file = await download(hub);
    expect(file.text).toBe(`${HEADING}ref-local,corr-1,credit,10.0,True,False\r\n`);
    expect(file.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(file.headers.get('content-disposition')).toBe('attachment; filename="reconciliation.csv"');
    expect(file.headers.get('x-mismatch-count')).toBe('1');
  });

  it('names what is planted on one side or lost on the other, and nothing that both know', async () => {
    const asked = [
      await hub.debit({ refId: 'both' }),
      await hub.debit({ refId: 'lost-there', amountCents: 1999 }),
      await hub.credit({ refId: 'lost-here', amountCents: 50 }),
    ];
    for (const { body } of asked) await hub.reaches(body.transactionId, 'confirmed');
    await hub.drained();
    expect((await download(hub)).text).toBe(HEADING);

    const id = (index: number): string => String(asked[index]?.body.correlationId);
    await control(hub.operator.url, 'DELETE', '/admin/book/lost-there');
    await control(hub.rgs.url, 'DELETE', '/admin/book/lost-here');
    await plantAtRgs({ refId: 'only-rgs', correlationId: 'corr-only-rgs', event: 'debit', amountCents: 1 });
    await plantAtOperator({
      reference: 'only-operator',
      correlationId: 'corr-only-operator',
      direction: 'deposit',
      amount: 12.5,
    });
    const file = await download(hub);
    expect(file.text.split('\r\n').sort()).toEqual(
      [
        '',
        HEADING.trimEnd(),
        `lost-there,${id(1)},debit,19.99,True,False`,
        'only-rgs,corr-only-rgs,debit,0.01,True,False',
        `lost-here,${id(2)},deposit,0.5,False,True`,
        'only-operator,corr-only-operator,deposit,12.5,False,True',
      ].sort(),
    );
    expect(file.headers.get('x-mismatch-count')).toBe('4');
    // Nothing changed, so the next file is the same, line by line.
    expect((await download(hub)).text).toBe(file.text);
    await discarded(hub);
  });

  it.each([
    { currency: 'USD', amountCents: 1990, amount: '19.9' },
    { currency: 'JPY', amountCents: 500, amount: '500.0' },
    { currency: 'KWD', amountCents: 500, amount: '0.5' },
    { currency: 'CLF', amountCents: 1, amount: '0.0001' },
  ])('writes $amountCents minor units of $currency as $amount', async ({ currency, amountCents, amount }) => {
    await plantAtRgs({ refId: 'r', correlationId: 'c', currency, amountCents });
    expect((await download(hub)).text).toBe(`${HEADING}r,c,credit,${amount},True,False\r\n`);
  });

  it('counts rows without a correlation id and lists them not', async () => {
    await plantAtRgs({ refId: 'nameless' });
    await plantAtRgs({ refId: 'nameless-2', correlationId: '' });
    await plantAtRgs({ refId: 'named', correlationId: 'corr-1' });
    const file = await download(hub);
    expect(file.text).toBe(`${HEADING}named,corr-1,credit,10.0,True,False\r\n`);
    expect(file.headers.get('x-mismatch-count')).toBe('1');
    expect(file.headers.get('x-recon-rejected-count')).toBe('2');
  });
});

describe('the reconciliation, with partners that may misbehave', () => {
  let hub: TestHub;
  let rgs: ListServer;
  let operator: ListServer;
  beforeAll(async () => {
    [rgs, operator] = await Promise.all([ListServer.start(), ListServer.start()]);
    hub = await TestHub.start({
      env: { RGS_WEBHOOK_URL: `${rgs.url}/webhooks`, OPERATOR_BASE_URL: operator.url, MAX_RETRIES: '1' },
    });
  });
  afterAll(async () => {
    await hub.stop();
    await Promise.all([rgs.stop(), operator.stop()]);
  });
  beforeEach(() => {
    rgs.list([]);
    operator.list([]);
  });

  const rgsRow = (change: Record<string, unknown> = {}) => ({
    playerId: 'p',
    amountCents: 1000,
    currency: 'USD',
    status: 'OK',
    event: 'credit',
    refId: 'ref-1',
    correlationId: 'corr-1',
    ...change,
  });
  const operatorRow = (change: Record<string, unknown> = {}) => ({
    playerId: 'p',
    amount: 10,
    currency: 'USD',
    direction: 'deposit',
    reference: 'ref-1',
    correlationId: 'corr-1',
    ...change,
  });

  describe("writes a cell as Python's csv does", () => {
    it.each(
      [
        { refId: 'plain', cell: 'plain' },
        { refId: 'a,b', cell: '"a,b"' },
        { refId: 'say "hi"', cell: '"say ""hi"""' },
        { refId: 'a\nb', cell: '"a\nb"' },
        { refId: 'a\rb', cell: '"a\rb"' },
        { refId: 'a\r\nb', cell: '"a\r\nb"' },
        { refId: ' leading', cell: ' leading' },
        { refId: 'trailing ', cell: 'trailing ' },
        { refId: '\u00fcber-\u{1F3B2}', cell: '\u00fcber-\u{1F3B2}' },
        { refId: '', cell: '' },
        { refId: null, cell: '' },
      ].map((each) => ({ ...each, name: JSON.stringify(each) })),
    )('$name', async ({ refId, cell }) => {
      rgs.list([rgsRow({ refId })]);
      expect((await download(hub)).text).toBe(`${HEADING}${cell},corr-1,credit,10.0,True,False\r\n`);
    });
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '\uff1d1', '\uff0b1', '\uff0d1', '\uff201'])(
    'disarms a cell that a spreadsheet would run: %j',
    async (formula) => {
      rgs.list([rgsRow({ refId: formula, correlationId: formula, event: formula })]);
      const file = await download(hub);
      const [row] = parse(file.text, { columns: true, record_delimiter: '\r\n' }) as unknown as Record<
        string,
        string
      >[];
      expect(row).toEqual({
        refId: `'${formula}`,
        correlationId: `'${formula}`,
        direction: `'${formula}`,
        amount: '10.0',
        inRGS: 'True',
        inOperator: 'False',
      });
    },
  );

  it.each([
    { amount: '-5', cell: '-5.0' },
    { amount: '-0.00001', cell: '-1e-05' },
    { amount: '"=1+1"', cell: "'=1+1" },
    { amount: '"-1+1"', cell: "'-1+1" },
    { amount: '"19.90"', cell: '19.9' },
    { amount: 'null', cell: '' },
    { amount: '0.0000001', cell: '1e-07' },
  ])('writes the amount $amount as $cell: numbers are no formulas', async ({ amount, cell }) => {
    operator.list(JSON.stringify([operatorRow()]).replace('"amount":10', `"amount":${amount}`));
    expect((await download(hub)).text).toBe(`${HEADING}ref-1,corr-1,deposit,${cell},False,True\r\n`);
  });

  it("takes either side's names for the same thing, and one row for a correlation id that stands twice", async () => {
    rgs.list([
      rgsRow({ correlationId: 'a', refId: undefined, reference: 'by-reference', event: undefined, direction: 'debit' }),
      rgsRow({ correlationId: 'twice', refId: 'first' }),
      rgsRow({ correlationId: 'twice', refId: 'second' }),
    ]);
    operator.list([
      operatorRow({ correlationId: 'b', reference: undefined, refId: 'by-refId' }),
      operatorRow({ correlationId: 7 }),
    ]);
    const file = await download(hub);
    expect(file.text.split('\r\n').sort()).toEqual(
      [
        '',
        HEADING.trimEnd(),
        'by-reference,a,debit,10.0,True,False',
        'first,twice,credit,10.0,True,False',
        'by-refId,b,deposit,10.0,False,True',
      ].sort(),
    );
    expect(file.headers.get('x-mismatch-count')).toBe('3');
    expect(file.headers.get('x-recon-rejected-count')).toBe('1');
  });

  describe('answers 502 and no file', () => {
    const list = JSON.stringify([rgsRow({ correlationId: 'a' }), rgsRow({ correlationId: 'b' })]);
    const sized = (body: string, length: number) => (_request: http.IncomingMessage, response: http.ServerResponse) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': length });
      response.write(body, () => response.socket?.end());
    };
    const faults: readonly { how: string; serve: (server: ListServer) => void }[] = [
      {
        how: 'answers 500',
        serve: (server) => server.serve((_request, response) => void response.writeHead(500).end(list)),
      },
      {
        how: 'answers 404',
        serve: (server) => server.serve((_request, response) => void response.writeHead(404).end(list)),
      },
      {
        how: 'answers 401',
        serve: (server) => server.serve((_request, response) => void response.writeHead(401).end('[]')),
      },
      {
        how: 'answers 204',
        serve: (server) => server.serve((_request, response) => void response.writeHead(204).end()),
      },
      {
        how: 'redirects',
        serve: (server) =>
          server.serve((_request, response) => void response.writeHead(302, { location: '/elsewhere' }).end('[]')),
      },
      { how: 'sends HTML with 200', serve: (server) => server.list('<html><body>[]</body></html>') },
      { how: 'sends nothing with 200', serve: (server) => server.list('') },
      { how: 'sends an object', serve: (server) => server.list(JSON.stringify({ items: [rgsRow()] })) },
      { how: 'sends null', serve: (server) => server.list('null') },
      { how: 'sends a list of numbers', serve: (server) => server.list('[1,2]') },
      { how: 'sends a list with a hole', serve: (server) => server.list('[null]') },
      { how: 'sends more after its list', serve: (server) => server.list(`${list}${list}`) },
      { how: 'sends words after its list', serve: (server) => server.list(`${list} and so on`) },
      { how: 'sends two commas', serve: (server) => server.list(list.replace('},{', '},,{')) },
      { how: 'announces more bytes than it sends', serve: (server) => server.serve(sized(list, list.length + 100)) },
      {
        how: 'breaks off after a whole list in chunks',
        serve: (server) => server.serve((_request, response) => void response.write(list, () => response.destroy())),
      },
      {
        how: 'resets the connection in the middle',
        serve: (server) =>
          server.serve(
            (_request, response) => void response.write(list.slice(0, 150), () => response.socket?.resetAndDestroy()),
          ),
      },
      {
        how: 'resets the connection before a word',
        serve: (server) => server.serve((_request, response) => void response.socket?.resetAndDestroy()),
      },
    ];
    const failed = async (name: string) => {
      const file = await download(hub);
      expect(file.status).toBe(502);
      expect(file.headers.get('content-type')).toContain('application/problem+json');
      expect(file.body).toMatchObject({
        code: 'upstream_failed',
        retryable: true,
        detail: expect.stringContaining(`the list of the ${name} could not be read`),
      });
      expect(file.headers.get('content-disposition')).toBeNull();
      expect(file.headers.get('x-mismatch-count')).toBeNull();
      expect(file.text).not.toContain('inRGS');
      expect(await stagedRows(hub)).toBe(0);
    };

    it.each(faults)('when a side $how, naming the side, and keeps nothing', async ({ serve }) => {
      serve(rgs);
      operator.list([operatorRow({ correlationId: 'whole' })]);
      await failed('RGS');
      rgs.list([rgsRow({ correlationId: 'whole' })]);
      serve(operator);
      await failed('operator');
    });

    it('wherever a list breaks off', async () => {
      operator.list([operatorRow()]);
      for (let end = 0; end < list.length; end += 7) {
        rgs.list(list.slice(0, end));
        await failed('RGS');
      }
      rgs.list(list.slice(0, -1));
      await failed('RGS');
      // The whole list makes a file: it was the cut.
      rgs.list(list);
      expect((await download(hub)).headers.get('x-mismatch-count')).toBe('3');
    });

    it.each([
      { code: 'rgs', name: 'RGS' },
      { code: 'operator', name: 'operator' },
    ])('when the $name is not there', async ({ code, name }) => {
      const [partner] = await hub.database.query<{ base_url: string }>('select base_url from partner where code = $1', [
        code,
      ]);
      const pointTo = async (url: string | undefined) => {
        await hub.database.query('update partner set base_url = $2 where code = $1', [code, url]);
        await hub.app.get(PartnerDirectory).refresh();
      };
      await pointTo(`http://127.0.0.1:${await freePort()}/`);
      try {
        await failed(name);
      } finally {
        await pointTo(partner?.base_url);
      }
      expect((await download(hub)).status).toBe(200);
    });

    it('but reads on after a failure at the start that does not last', async () => {
      let calls = 0;
      rgs.serve((_request, response) => {
        calls += 1;
        if (calls === 1) response.writeHead(503).end();
        else response.setHeader('content-type', 'application/json').end(JSON.stringify([rgsRow()]));
      });
      expect((await download(hub)).text).toBe(`${HEADING}ref-1,corr-1,credit,10.0,True,False\r\n`);
      expect(calls).toBe(2);
    });
  });

  describe('leaves nothing staged and nothing checked out when the client goes', () => {
    const settled = () =>
      waitFor('nothing is staged or checked out', async () => {
        const { master } = hub.app.get(Database).dataSource.driver as unknown as {
          master: { totalCount: number; idleCount: number; waitingCount: number };
        };
        return (await stagedRows(hub)) === 0 && master.totalCount === master.idleCount && master.waitingCount === 0;
      });
    const startDownload = () =>
      http
        .get(`${hub.url}/reconciliation_data`, { headers: { authorization: 'Bearer change_token' } })
        .on('error', () => undefined);

    it('while the lists are being read; then nobody reads on', async () => {
      let partnerLetGo = false;
      rgs.serve((_request, response) => {
        response.on('close', () => (partnerLetGo = true));
        response
          .setHeader('content-type', 'application/json')
          .write(
            `[${Array.from({ length: 5_000 }, (_, index) => JSON.stringify(rgsRow({ correlationId: `c-${index}` }))).join(',')},`,
          );
      });
      const request = startDownload();
      await waitFor('rows are staged', async () => (await stagedRows(hub)) > 0);
      request.destroy();
      await waitFor('the partner is let go', () => partnerLetGo);
      await settled();
    });

    it('while the file is being sent', async () => {
      rgs.stream(() =>
        many(60_000, (index) =>
          rgsRow({ correlationId: `c-${String(index).padStart(6, '0')}`, refId: 'r'.repeat(120) }),
        ),
      );
      const request = startDownload();
      const response = await new Promise<http.IncomingMessage>((resolve) => request.on('response', resolve));
      expect(response.headers['x-mismatch-count']).toBe('60000');
      await new Promise((resolve) => response.once('readable', resolve));
      request.destroy();
      await settled();
    });

    it('and the next file is whole', async () => {
      rgs.list([rgsRow()]);
      expect((await download(hub)).text).toBe(`${HEADING}ref-1,corr-1,credit,10.0,True,False\r\n`);
    });
  });

  it('of lists as long as one likes takes no more memory: 20 000 rows a side, half of them alone', async () => {
    rgs.stream(() => many(20_000, (index) => rgsRow({ correlationId: `c-${index}`, refId: `ref-${index}` })));
    operator.stream(() =>
      many(20_000, (index) =>
        operatorRow({ correlationId: `c-${index + 10_000}`, reference: `ref-${index + 10_000}` }),
      ),
    );
    // Once to warm up: code, pools and buffers are not what is measured.
    const lines = (text: string) => text.trimEnd().split('\r\n').slice(1);
    expect(lines((await download(hub)).text)).toHaveLength(20_000);

    const before = process.memoryUsage().rss;
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 5);
    const file = await download(hub).finally(() => clearInterval(watch));
    expect(peak - before).toBeLessThan(100 * 1024 * 1024);

    expect(file.headers.get('x-mismatch-count')).toBe('20000');
    const sides = lines(file.text).map((line) => line.split(',').slice(4).join());
    expect(sides.filter((side) => side === 'True,False')).toHaveLength(10_000);
    expect(sides.filter((side) => side === 'False,True')).toHaveLength(10_000);
    expect(new Set(lines(file.text)).size).toBe(20_000);
    await discarded(hub);
  });

  it('goes on with the run of a process that died', async () => {
    rgs.list([rgsRow()]);
    const file = download(hub);
    const [{ operator_id, rgs_id } = { operator_id: 0, rgs_id: 0 }] = await hub.database.query<{
      operator_id: number;
      rgs_id: number;
    }>(`select operator_id, rgs_id from recon.run limit 1`);
    expect((await file).status).toBe(200);
    const id = '01a212d8-0000-7000-8000-000000000001';
    await hub.database.query(
      `insert into recon.run (id, kind, params_hash, operator_id, rgs_id, as_of, grace_seconds, hard_limit_seconds, pad_seconds, rules, slot, state, lease_owner, lease_until, created_by, started_at)
       values ($1, 'legacy', 'x', $2, $3, now(), 0, 86400, 7200, '{"allowPartial":true,"dryRun":false}', 0, 'ingesting', 'dead', now() - interval '1 second', 'test', now())`,
      [id, operator_id, rgs_id],
    );
    await waitFor(
      'the run is sealed',
      async () =>
        (await hub.database.query<{ state: string }>('select state from recon.run where id = $1', [id]))[0]?.state ===
        'sealed',
    );
    expect((await hub.call('GET', `/reconciliation_data?run=${id}`)).text).toBe(
      `${HEADING}ref-1,corr-1,credit,10.0,True,False\r\n`,
    );
  });
});

function* many<T>(count: number, row: (index: number) => T): Generator<T> {
  for (let index = 0; index < count; index += 1) yield row(index);
}
