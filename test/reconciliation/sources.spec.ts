import fc from 'fast-check';
import http from 'node:http';
import { gzipSync } from 'node:zlib';
import { parseConfig } from '../../src/config/config';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import { PartnerHttp } from '../../src/partners/partner-http';
import { PartnerListReader } from '../../src/reconciliation/sources/partner-list-reader';
import { ReadLimits } from '../../src/reconciliation/sources/read-limits';
import { type Side, SourceError, SourceReader, type SourceWindow } from '../../src/reconciliation/sources/source';
import { type ListRow, servePages } from '../support/partners/list-pages';
import { ListServer, drip } from '../support/partners/list-server';
import { type RowPage, rowPages } from '../support/partners/row-pages';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const PAGE_ROWS = 10;

class SmallLimits extends ReadLimits {
  override readonly pageRows = PAGE_ROWS;
  override readonly pageBytesMax = 64 * 1024;
  override readonly rowBytesMax = 16 * 1024;
  override readonly batchBytes = 32 * 1024;
  override readonly throttledTriesMax = 4;
  override readonly retryAfterMsMax = 1_500;
  override readonly backoffMsMax = 20;
  override readonly emptyPagesMax = 5;
  override readonly rowsMax = 500;
}

/** For partners that let one wait; everything else takes as long as a busy machine needs. */
class HastyLimits extends SmallLimits {
  override readonly pageMs = 400;
}

const HOUR = 3_600_000;
const START = Date.UTC(2026, 10, 22);
const day: SourceWindow = { from: new Date(START), to: new Date(START + 24 * HOUR) };
const never = new AbortController().signal;

const row = (n: number, change: ListRow = {}): ListRow => ({
  id: `row-${n}`,
  playerId: 'p',
  amount: 10,
  currency: 'USD',
  direction: 'deposit',
  reference: `ref-${n}`,
  correlationId: `corr-${n}`,
  createdAt: new Date(START + n * 1000).toISOString(),
  ...change,
});
const rows = (count: number, from = 0): ListRow[] => Array.from({ length: count }, (_, index) => row(from + index));

describe("the readers of partners' lists", () => {
  let hub: TestHub;
  let operator: ListServer;
  let rgs: ListServer;
  let reader: PartnerListReader;
  const readerWith = (limits: ReadLimits, env: Record<string, string> = {}) =>
    new PartnerListReader(
      hub.app.get(PartnerHttp),
      hub.app.get(PartnerDirectory),
      parseConfig({ NODE_ENV: 'test', MAX_RETRIES: '2', RETRY_BACKOFF_SECONDS: '0.01', ...env }),
      limits,
    );

  beforeAll(async () => {
    [operator, rgs] = await Promise.all([ListServer.start(), ListServer.start()]);
    hub = await TestHub.start({
      env: { ROLE: 'api', OPERATOR_BASE_URL: operator.url, RGS_WEBHOOK_URL: `${rgs.url}/webhooks?tenant=a` },
    });
    reader = readerWith(new SmallLimits());
  });
  afterAll(async () => {
    await hub.stop();
    await Promise.all([operator.stop(), rgs.stop()]);
  });

  const read = async (
    options: {
      side?: Side;
      window?: SourceWindow | null;
      cursor?: string | null;
      gone?: AbortSignal;
      by?: PartnerListReader;
    } = {},
  ): Promise<RowPage[]> => {
    const pages: RowPage[] = [];
    for await (const page of rowPages(
      options.by ?? reader,
      options.side ?? 'operator',
      options.window ?? null,
      options.cursor ?? null,
      options.gone ?? never,
    ))
      pages.push(page);
    return pages;
  };
  const ids = (pages: readonly RowPage[]) =>
    pages.flatMap((page) => page.rows.map(({ correlationId }) => correlationId));
  const idsOf = (list: readonly ListRow[]) => list.map(({ correlationId }) => correlationId);
  const failure = async (reading: Promise<unknown>): Promise<SourceError> => {
    const error: unknown = await reading.then(
      () => new Error('the list was read to its end'),
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof SourceError)) throw error;
    return error;
  };
  const json = (response: http.ServerResponse, value: unknown) =>
    void response
      .setHeader('content-type', 'application/json')
      .end(typeof value === 'string' ? value : JSON.stringify(value));

  it('is what the hub injects', () => {
    expect(hub.app.get(SourceReader)).toBeInstanceOf(PartnerListReader);
  });

  describe.each(['items', 'link', 'array'] as const)('a list in the form %s', (form) => {
    const serve = (list: readonly ListRow[]) => {
      if (form === 'array') operator.list(list);
      else servePages(operator, form, () => list);
    };

    it.each([0, 1, PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 3 * PAGE_ROWS, 47])(
      'is read whole with %i rows',
      async (count) => {
        serve(rows(count));
        const pages = await read({ window: day });
        expect(ids(pages)).toEqual(idsOf(rows(count)));
        expect(pages.map(({ cursor }) => cursor === null)).toEqual(pages.map((_, index) => index === pages.length - 1));
        for (const page of pages) expect(page.seen).toBe(page.rows.length + page.rejected.length);
      },
    );

    it('goes on after any page where another reading stopped', async () => {
      serve(rows(47));
      const pages = await read({ window: day });
      for (const [index, { cursor }] of pages.entries()) {
        if (cursor === null) continue;
        const rest = await read({ window: day, cursor });
        expect([...ids(pages.slice(0, index + 1)), ...ids(rest)]).toEqual(idsOf(rows(47)));
      }
    });

    it('that grows while it is read ends, and with every row that it had at the start', async () => {
      const list = rows(25);
      if (form === 'array')
        operator.stream(function* () {
          for (let n = 0; n < 40; n += 1) yield row(n);
        });
      else servePages(operator, form, () => (list.length < 40 && list.push(row(list.length)), list));
      const read25 = ids(await read({ window: day }));
      expect(read25.slice(0, 25)).toEqual(idsOf(rows(25)));
      expect(new Set(read25).size).toBe(read25.length);
    });

    it('with a row that is no row, has no id or a huge one counts it', async () => {
      serve([
        row(1),
        row(2, { correlationId: undefined }),
        row(3, { correlationId: '' }),
        row(4, { correlationId: 7 }),
        row(5, { reference: 'r'.repeat(2_000) }),
        row(6),
      ]);
      const [page] = await read();
      expect(page).toMatchObject({
        seen: 6,
        rejected: [{ reason: 'no_key' }, { reason: 'no_key' }, { reason: 'no_key' }, { reason: 'too_large' }],
      });
      expect(page?.rejected.every(({ raw }) => raw.length <= 500 && raw.includes('"currency":"USD"'))).toBe(true);
      expect(ids([page as RowPage])).toEqual(['corr-1', 'corr-6']);
    });

    it('that is gzipped is read', async () => {
      const list = rows(5);
      operator.serve((_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-encoding': 'gzip' });
        response.end(gzipSync(JSON.stringify(form === 'items' ? { items: list, nextCursor: null } : list)));
      });
      expect(ids(await read())).toEqual(idsOf(list));
    });
  });

  describe('asks', () => {
    it('for pages of a window, signed, and keeps what the address had before', async () => {
      const asked: { url: string; signed: boolean }[] = [];
      rgs.serve((request, response) => {
        asked.push({ url: request.url ?? '', signed: /^[0-9a-f]{64}$/.test(String(request.headers['x-signature'])) });
        json(
          response,
          asked.length === 1 ? { items: [row(1)], nextCursor: 'a b&c=/\u00fc' } : { items: [], nextCursor: null },
        );
      });
      await read({ side: 'rgs', window: day });
      const parameters = asked.map(({ url }) => Object.fromEntries(new URL(url, 'http://h').searchParams));
      const first = {
        tenant: 'a',
        limit: String(PAGE_ROWS),
        from: '2026-11-22T00:00:00.000Z',
        to: '2026-11-23T00:00:00.000Z',
      };
      expect(parameters).toEqual([first, { ...first, cursor: 'a b&c=/\u00fc' }]);
      expect(asked.every(({ signed }) => signed)).toBe(true);
    });

    it('again without parameters when a partner cannot bear them', async () => {
      operator.serve((request, response) =>
        request.url?.includes('?') === true ? void response.writeHead(422).end() : json(response, rows(12)),
      );
      expect(ids(await read({ window: day }))).toEqual(idsOf(rows(12)));
    });

    it('again without parameters when a bare array is as long as the limit, and finds what a limit kept back', async () => {
      operator.serve((request, response) =>
        json(response, request.url?.includes('limit=') === true ? rows(PAGE_ROWS) : rows(23)),
      );
      const pages = await read({ window: day });
      expect(ids(pages)).toEqual(idsOf(rows(23)));
      const rest = await read({ window: day, cursor: pages[0]?.cursor ?? null });
      expect(ids(rest)).toEqual(idsOf(rows(23).slice(PAGE_ROWS)));
    });

    it('for a page when it is wanted, and for none behind the back of who leaves', async () => {
      const asked = servePages(operator, 'items', () => rows(45));
      const pages = rowPages(reader, 'operator', day, null, never);
      await pages.next();
      expect(asked).toHaveLength(1);
      await pages.next();
      expect(asked).toHaveLength(2);
      await pages.return(undefined);
      // A whole reading after it: had the first gone on, more than its pages would have been asked for.
      const whole = await read({ window: day });
      expect(ids(whole)).toEqual(idsOf(rows(45)));
      expect(asked).toHaveLength(2 + whole.length);
    });
  });

  describe('fails, with the side, a reason, and after every page that was whole:', () => {
    const whole = { items: rows(2), nextCursor: 'next' };
    /** A first page that is well, then the fault. */
    const second = (fault: (response: http.ServerResponse, request: http.IncomingMessage) => void) => {
      operator.serve((request, response) =>
        request.url?.includes('cursor=') === true ? fault(response, request) : json(response, whole),
      );
    };
    const page =
      (change: Record<string, unknown>, headers: Record<string, string> = {}) =>
      (response: http.ServerResponse) => {
        for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
        json(response, { items: rows(2, 2), nextCursor: null, ...change });
      };
    const text =
      (body: string, type = 'application/json') =>
      (response: http.ServerResponse) =>
        void response.setHeader('content-type', type).end(body);
    const status =
      (code: number, headers: Record<string, string> = {}) =>
      (response: http.ServerResponse) =>
        void response.writeHead(code, headers).end('[]');
    const body = JSON.stringify({ items: rows(3, 2), nextCursor: null });
    const bomb = gzipSync(`{"items":[${' '.repeat(50_000_000)}],"nextCursor":null}`);

    it.each<{
      how: string;
      reason: string;
      fault: (response: http.ServerResponse, request: http.IncomingMessage) => void;
    }>([
      { how: 'the same cursor for ever', reason: 'cursor_repeated', fault: page({ nextCursor: 'next' }) },
      {
        how: 'a cursor that goes back',
        reason: 'cursor_went_back',
        fault: (response, request) => page({ items: rows(2), nextCursor: `${request.url?.length}` })(response),
      },
      {
        how: 'a page that comes again, without times',
        reason: 'cursor_went_back',
        fault: (response, request) =>
          page({ items: [row(9, { createdAt: undefined })], nextCursor: `${request.url?.length}` })(response),
      },
      { how: 'more rows than asked for', reason: 'page_too_long', fault: page({ items: rows(PAGE_ROWS + 1, 2) }) },
      { how: 'a page that is too large', reason: 'too_many_bytes', fault: page({ padding: 'x'.repeat(70_000) }) },
      { how: 'one huge row', reason: 'too_many_bytes', fault: page({ items: [row(3, { meta: 'x'.repeat(70_000) })] }) },
      {
        how: 'a gzip bomb',
        reason: 'too_many_bytes',
        fault: (response) =>
          void response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(bomb),
      },
      { how: 'truncated JSON', reason: 'not_json', fault: text(body.slice(0, -20)) },
      { how: 'more after its end', reason: 'not_json', fault: text(`${body} and so on`) },
      {
        how: 'bytes that are not UTF-8',
        reason: 'not_json',
        fault: (response) =>
          void response
            .setHeader('content-type', 'application/json')
            .end(Buffer.from(body.replace('corr-3', 'corr-\u00ff'), 'latin1')),
      },
      {
        how: 'HTML with 200',
        reason: 'wrong_content_type',
        fault: text('<html>please log in</html>', 'text/html; charset=utf-8'),
      },
      { how: 'HTML that is called JSON', reason: 'not_json', fault: text('<html>please log in</html>') },
      { how: 'nothing', reason: 'not_json', fault: text('') },
      { how: 'another content type', reason: 'wrong_content_type', fault: text(body, 'application/octet-stream') },
      { how: 'an object without items', reason: 'not_a_list', fault: text('{"nextCursor":null}') },
      { how: 'no word of what follows', reason: 'not_a_list', fault: page({ nextCursor: undefined }) },
      { how: 'a cursor that is a number', reason: 'not_a_list', fault: page({ nextCursor: 5 }) },
      { how: 'a bare array in between', reason: 'not_a_list', fault: text('[]') },
      { how: 'a total that is not what was read', reason: 'total_mismatch', fault: page({ total: 5 }) },
      { how: 'a total that is no number', reason: 'not_a_list', fault: page({ total: 'many' }) },
      {
        how: 'an end of its data before the end of the window',
        reason: 'not_complete_yet',
        fault: page({ dataAvailableEnd: new Date(START + 23 * HOUR).toISOString() }),
      },
      {
        how: 'only empty pages',
        reason: 'never_ends',
        fault: (response, request) =>
          page({ items: [], nextCursor: `${request.url}x`.slice(-200) + Math.random() })(response),
      },
      { how: 'a redirect', reason: 'redirected', fault: status(302, { location: '/elsewhere' }) },
      { how: '404', reason: 'bad_status', fault: status(404) },
      { how: '204', reason: 'bad_status', fault: status(204) },
      { how: '500 again and again', reason: 'bad_status', fault: status(500) },
      { how: '429 for ever', reason: 'throttled', fault: status(429) },
      { how: '429 with a pause that is too long', reason: 'throttled', fault: status(429, { 'retry-after': '3600' }) },
      {
        how: 'a connection that breaks again and again',
        reason: 'unreachable',
        fault: (response) => void response.socket?.resetAndDestroy(),
      },
      {
        how: 'fewer bytes than announced',
        reason: 'unreachable',
        fault: (response) =>
          void response
            .writeHead(200, { 'content-type': 'application/json', 'content-length': body.length + 9 })
            .write(body, () => response.socket?.end()),
      },
      { how: 'silence', reason: 'too_slow', fault: () => undefined },
      {
        how: 'silence in the middle',
        reason: 'too_slow',
        fault: (response) => void response.setHeader('content-type', 'application/json').write(body.slice(0, 100)),
      },
      {
        how: 'a slow drip',
        reason: 'too_slow',
        fault: (response) => drip(response.setHeader('content-type', 'application/json'), body),
      },
    ])('$how', async ({ reason, fault }) => {
      second(fault);
      const seen: RowPage[] = [];
      const reading = (async () => {
        for await (const each of rowPages(
          reason === 'too_slow' ? readerWith(new HastyLimits()) : reader,
          'operator',
          day,
          null,
          never,
        ))
          seen.push(each);
      })();
      const error = await failure(reading);
      expect(error).toMatchObject({ side: 'operator', reason });
      expect(error.message).toMatch(/^the list of the operator could not be read: /);
      expect(error.message).not.toContain('log in');
      expect(ids(seen).slice(0, 2)).toEqual(['corr-0', 'corr-1']);
    });

    it('a link to another host, which is never called', async () => {
      let called = false;
      rgs.serve((_request, response) => ((called = true), json(response, [])));
      operator.serve((_request, response) =>
        json(response.setHeader('link', `<${rgs.url}/v2/transactions>; rel="next"`), rows(2)),
      );
      expect(await failure(read())).toMatchObject({ reason: 'foreign_link' });
      operator.serve((_request, response) => json(response.setHeader('link', '<//127.0.0.2/next>; rel=next'), rows(2)));
      expect(await failure(read())).toMatchObject({ reason: 'foreign_link' });
      expect(called).toBe(false);
    });

    it.each([
      { how: 'links in a circle', link: '</v2/transactions?page=2>; rel="next"', reason: 'cursor_repeated' },
      { how: 'a link that cannot be read', link: '<oops', reason: 'not_a_list' },
      {
        how: 'a link that means next without angle brackets',
        link: '/v2/transactions?page=2; rel=next',
        reason: 'not_a_list',
      },
    ])('$how', async ({ link, reason }) => {
      operator.serve((_request, response) => json(response.setHeader('link', link), []));
      expect(await failure(read())).toMatchObject({ reason });
    });

    it.each<{ how: string; reason: string; list: string }>([
      { how: 'that breaks off', reason: 'not_json', list: JSON.stringify(rows(25)).slice(0, -1) },
      { how: 'with two commas', reason: 'not_json', list: '[{},,{}]' },
      { how: 'with a comma at its end', reason: 'not_json', list: '[{},]' },
      { how: 'with a comma at its beginning', reason: 'not_json', list: '[,{}]' },
      { how: 'with the wrong bracket', reason: 'not_json', list: '[{}}' },
      { how: 'with crossed brackets', reason: 'not_json', list: '[{"a":[}]]' },
      { how: 'with more after its end', reason: 'not_json', list: '[{}][{}]' },
      { how: 'of numbers', reason: 'not_a_list', list: '[1,2]' },
      { how: 'with a hole', reason: 'not_a_list', list: '[{"correlationId":"a"},null]' },
      {
        how: 'with one huge row',
        reason: 'too_many_bytes',
        list: JSON.stringify([row(1, { meta: 'x'.repeat(200_000) })]),
      },
      { how: 'that never ends', reason: 'never_ends', list: JSON.stringify(rows(501)) },
    ])('a bare array $how', async ({ reason, list }) => {
      operator.list(list);
      expect(await failure(read())).toMatchObject({ reason });
    });

    it('a bare array that was followed by an error page', async () => {
      operator.serve(
        (_request, response) =>
          void response
            .setHeader('content-type', 'application/json')
            .write(`${JSON.stringify(rows(25)).slice(0, -1)},`, () => response.destroy()),
      );
      expect(await failure(read())).toMatchObject({ reason: 'unreachable' });
    });

    it('a bare array that drips, and one whose end never comes', async () => {
      operator.serve((_request, response) =>
        drip(response.setHeader('content-type', 'application/json'), JSON.stringify(rows(5))),
      );
      expect(await failure(read({ by: readerWith(new HastyLimits()) }))).toMatchObject({ reason: 'too_slow' });
      operator.serve(
        (_request, response) =>
          void response.setHeader('content-type', 'application/json').write(JSON.stringify(rows(25)).slice(0, -1)),
      );
      expect(await failure(read({ by: readerWith(new HastyLimits()) }))).toMatchObject({ reason: 'too_slow' });
    });

    it('a total in a header that is not what was read, for links and for bare arrays', async () => {
      operator.serve((_request, response) => json(response.setHeader('x-total-count', '3'), rows(2)));
      expect(await failure(read())).toMatchObject({ reason: 'total_mismatch' });
      servePages(operator, 'link', () => rows(15), { total: 16 });
      expect(await failure(read())).toMatchObject({ reason: 'total_mismatch' });
      servePages(operator, 'link', () => rows(15), { total: 15 });
      expect(ids(await read())).toHaveLength(15);
    });

    it('a resume of a bare array that is not the same any more', async () => {
      operator.list(rows(25));
      const cursor = (await read())[1]?.cursor ?? null;
      operator.list([row(99), ...rows(25)]);
      expect(await failure(read({ cursor }))).toMatchObject({ reason: 'list_changed' });
      operator.list(rows(19));
      expect(await failure(read({ cursor }))).toMatchObject({ reason: 'list_changed' });
      operator.list(rows(26));
      expect(ids(await read({ cursor }))).toEqual(idsOf(rows(6, 20)));
    });

    it('guards that hold across a resume: total, order and cursors', async () => {
      servePages(operator, 'items', () => rows(25), { total: 25 });
      const cursor = (await read())[0]?.cursor ?? null;
      expect(ids(await read({ cursor }))).toHaveLength(15);
      second(page({ items: rows(1), nextCursor: null }));
      const [first] = await read({ cursor: null }).catch(async () => [
        (await rowPages(reader, 'operator', day, null, never).next()).value as RowPage,
      ]);
      expect(await failure(read({ cursor: first?.cursor ?? null }))).toMatchObject({ reason: 'cursor_went_back' });
      second(page({ nextCursor: 'next' }));
      expect(await failure(read({ cursor: first?.cursor ?? null }))).toMatchObject({ reason: 'cursor_repeated' });
    });

    it('a partner that is not there', async () => {
      const closed = await ListServer.start();
      await closed.stop();
      await hub.database.query('update partner set base_url = $1 where code = $2', [`${closed.url}/`, 'rgs']);
      await hub.app.get(PartnerDirectory).refresh();
      const error = await failure(read({ side: 'rgs' }));
      expect(error).toMatchObject({ side: 'rgs', reason: 'unreachable' });
      expect(error.message).toContain('the list of the RGS could not be read');
      await hub.database.query('update partner set base_url = $1 where code = $2', [
        `${rgs.url}/webhooks?tenant=a`,
        'rgs',
      ]);
      await hub.app.get(PartnerDirectory).refresh();
    });
  });

  describe('goes on', () => {
    const times = (count: number, fault: (response: http.ServerResponse) => void) => {
      let calls = 0;
      const at: number[] = [];
      operator.serve((request, response) => {
        calls += 1;
        at.push(performance.now());
        if (calls > 1 && calls <= 1 + count) return fault(response);
        json(
          response,
          request.url?.includes('cursor=') === true
            ? { items: rows(2, 2), nextCursor: null }
            : { items: rows(2), nextCursor: 'next' },
        );
      });
      return at;
    };

    it.each<{ how: string; fault: (response: http.ServerResponse) => void }>([
      { how: '5xx', fault: (response) => void response.writeHead(502).end() },
      { how: 'a broken connection', fault: (response) => void response.socket?.resetAndDestroy() },
      {
        how: 'a page that broke off',
        fault: (response) =>
          void response.setHeader('content-type', 'application/json').write('{"items":[', () => response.destroy()),
      },
    ])('after $how that does not last', async ({ fault }) => {
      times(2, fault);
      expect(ids(await read({ window: day }))).toEqual(idsOf(rows(4)));
    });

    it('after 429, not before Retry-After', async () => {
      const at = times(1, (response) => void response.writeHead(429, { 'retry-after': '1' }).end());
      expect(ids(await read({ window: day }))).toEqual(idsOf(rows(4)));
      expect((at[2] ?? 0) - (at[1] ?? 0)).toBeGreaterThanOrEqual(995);
    });

    it('when the data end after the window, though before its padding', async () => {
      servePages(operator, 'items', () => rows(3), { dataAvailableEnd: new Date(START + 22 * HOUR).toISOString() });
      expect(ids(await read({ window: { ...day, neededTo: new Date(START + 22 * HOUR) } }))).toHaveLength(3);
    });

    it('when the consumer takes longer than a page may: its time is its own', async () => {
      servePages(operator, 'items', () => rows(25));
      const pages = rowPages(readerWith(new HastyLimits()), 'operator', day, null, never);
      const first = await pages.next();
      const until = performance.now() + 500;
      await waitFor('longer than a page may take has passed', () => performance.now() > until);
      const rest: RowPage[] = [first.value as RowPage];
      for await (const each of pages) rest.push(each);
      expect(ids(rest)).toEqual(idsOf(rows(25)));
    });
  });

  describe.each(['items', 'array'] as const)('leaves no call behind, form %s,', (form) => {
    const hanging = () => {
      const state = { open: 0, calls: 0 };
      operator.serve((request, response) => {
        state.open += 1;
        state.calls += 1;
        response.on('close', () => (state.open -= 1));
        response.setHeader('content-type', 'application/json');
        if (form === 'array') response.write(`${JSON.stringify(rows(25)).slice(0, -1)},`);
        else if (request.url?.includes('cursor=') !== true)
          response.end(JSON.stringify({ items: rows(2), nextCursor: 'next' }));
      });
      return state;
    };

    it('when nobody waits for it any more', async () => {
      const state = hanging();
      const gone = new AbortController();
      const reading = read({ gone: gone.signal });
      const failed = failure(reading);
      await waitFor('the list hangs', () => state.calls >= (form === 'array' ? 1 : 2));
      gone.abort();
      expect(await failed).toMatchObject({ reason: 'aborted' });
      await waitFor('the call is let go', () => state.open === 0);
    });

    it('when the consumer leaves', async () => {
      const state = hanging();
      const pages = rowPages(reader, 'operator', null, null, never);
      expect((await pages.next()).value).toMatchObject({ seen: form === 'items' ? 2 : PAGE_ROWS });
      await pages.return(undefined);
      await waitFor('the call is let go', () => state.open === 0);
    });
  });

  it('gives the same rows whatever the form, the size of its pages and the cuts of its bytes', async () => {
    const texts = fc.string({ unit: 'grapheme', maxLength: 12 });
    const element = fc.record({
      correlationId: fc.oneof(texts, fc.uuid()),
      reference: texts,
      amount: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom('19.99', '1e2')),
      direction: texts,
      meta: fc.json(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(element, { maxLength: 40 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 15 }),
        async (list, cut, pageRows) => {
          const by = readerWith(Object.assign(new SmallLimits(), { pageRows }));
          const flat = (pages: readonly RowPage[]) => ({
            rows: pages.flatMap((each) => each.rows),
            rejected: pages.flatMap((each) => each.rejected),
            seen: pages.reduce((sum, each) => sum + each.seen, 0),
          });
          operator.serve((_request, response) => {
            response.setHeader('content-type', 'application/json');
            const bytes = Buffer.from(JSON.stringify(list));
            for (let at = 0; at < bytes.length; at += cut) response.write(bytes.subarray(at, at + cut));
            response.end();
          });
          const array = flat(await read({ by }));
          servePages(operator, 'items', () => list);
          const items = flat(await read({ by }));
          servePages(operator, 'link', () => list);
          expect(flat(await read({ by }))).toEqual(items);
          expect(array).toEqual(items);
          expect(items.seen).toBe(list.length);
        },
      ),
      { numRuns: 60 },
    );
  });
});
