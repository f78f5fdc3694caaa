import { PartnerDirectory } from '../../src/partners/partner-directory';
import { PartnerHttp } from '../../src/partners/partner-http';
import { parseConfig } from '../../src/config/config';
import { PartnerListReader } from '../../src/reconciliation/sources/partner-list-reader';
import { ReadLimits } from '../../src/reconciliation/sources/read-limits';
import { SourceError, type SourceWindow } from '../../src/reconciliation/sources/source';
import { type RowPage, rowPages } from '../support/partners/row-pages';
import { TestHub, control } from '../support/hub/test-hub';

const ROWS = 25;
const START = Date.UTC(2026, 10, 22);
const at = (n: number) => new Date(START + n * 1000).toISOString();

class SmallLimits extends ReadLimits {
  override readonly pageRows = 10;
  override readonly pageBytesMax = 64 * 1024;
  override readonly rowBytesMax = 16 * 1024;
  override readonly throttledTriesMax = 3;
  override readonly backoffMsMax = 20;
}

/** For partners that let one wait; everything else takes as long as a busy machine needs. */
class HastyLimits extends SmallLimits {
  override readonly pageMs = 500;
}

const sides = [
  {
    side: 'operator',
    path: '/v2/transactions',
    book: (n: number) => ({
      playerId: 'p',
      direction: 'withdraw',
      amount: 12.5,
      currency: 'USD',
      reference: `ref-${n}`,
      correlationId: `corr-${n}`,
    }),
  },
  {
    side: 'rgs',
    path: '/webhooks',
    book: (n: number) => ({
      playerId: 'p',
      event: 'debit',
      amountCents: 1250,
      currency: 'USD',
      refId: `ref-${n}`,
      correlationId: `corr-${n}`,
      status: 'OK',
    }),
  },
] as const;

describe.each(sides)('the list of the mock $side', ({ side, path, book }) => {
  let hub: TestHub;
  const readerWith = (limits: ReadLimits) =>
    new PartnerListReader(
      hub.app.get(PartnerHttp),
      hub.app.get(PartnerDirectory),
      parseConfig({ NODE_ENV: 'test', MAX_RETRIES: '1', RETRY_BACKOFF_SECONDS: '0.01' }),
      limits,
    );
  const get = async (query: string) => {
    const response = await fetch(`${hub[side].url}${path}${query}`);
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: (text.startsWith('{') ? JSON.parse(text) : { items: JSON.parse(text) }) as {
        items: { id?: string; createdAt: string; correlationId: string }[];
        nextCursor?: string | null;
        total?: number;
        reason?: string;
      },
    };
  };
  const admin = (method: string, route: string, body?: unknown) =>
    control(hub[side].url, method, `/admin/${route}`, body);
  const window = (from: number, to: number): SourceWindow => ({
    from: new Date(START + from * 1000),
    to: new Date(START + to * 1000),
  });
  const read = async (span: SourceWindow | null = null, limits: ReadLimits = new SmallLimits()) => {
    const pages: RowPage[] = [];
    for await (const page of rowPages(readerWith(limits), side, span, null, new AbortController().signal))
      pages.push(page);
    return pages.flatMap((page) => page.rows);
  };
  const numbers = (rows: readonly { correlationId: string }[]) =>
    rows.map(({ correlationId }) => Number(correlationId.replace('corr-', '')));
  const all = Array.from({ length: ROWS }, (_, n) => n);

  beforeAll(async () => {
    hub = await TestHub.start({ env: { ROLE: 'api' } });
    // Not in the order of their times, and some of one time.
    for (const n of [...all].reverse()) await admin('POST', 'book', { ...book(n), createdAt: at(n - (n % 3)) });
  });
  afterAll(() => hub.stop());
  afterEach(async () => {
    await admin('DELETE', 'faults');
    await admin('PUT', 'settings', { listForm: 'items' });
  });

  it('is a bare array without parameters, without ids, oldest first, and the same whatever stands beside', async () => {
    const { text, body, headers } = await get('');
    expect(text.startsWith('[{')).toBe(true);
    expect(headers.get('link')).toBeNull();
    expect(body.items).toHaveLength(ROWS);
    expect(body.items.every((row) => row.id === undefined)).toBe(true);
    expect(body.items.map(({ createdAt }) => createdAt)).toEqual(body.items.map(({ createdAt }) => createdAt).sort());
    expect((await get('?other=1')).text).toBe(text);
    await admin('PUT', 'settings', { listForm: 'array' });
    expect((await get('?limit=1&cursor=x')).text).toBe(text);
  });

  it('comes in pages that make the same list', async () => {
    const whole = (await get('')).body.items.map(({ correlationId }) => correlationId);
    for (const limit of [1, 3, 10, ROWS, ROWS + 1]) {
      const paged: string[] = [];
      let cursor = '';
      do {
        const { body } = await get(`?limit=${limit}${cursor}`);
        expect(body.items.length).toBeLessThanOrEqual(limit);
        expect(body.total).toBe(ROWS);
        paged.push(...body.items.map(({ correlationId }) => correlationId));
        cursor = typeof body.nextCursor === 'string' ? `&cursor=${body.nextCursor}` : '';
      } while (cursor !== '');
      expect(paged).toEqual(whole);
    }
  });

  it('has the rows from the beginning of a window on, and not those of its end', async () => {
    const { body } = await get(`?from=${at(3)}&to=${at(9)}`);
    expect(numbers(body.items).sort()).toEqual([3, 4, 5, 6, 7, 8]);
    expect(body).toMatchObject({ nextCursor: null, total: 6 });
    expect((await get(`?from=${at(3)}&to=${at(3)}`)).body.items).toEqual([]);
  });

  it.each([
    '?limit=0',
    '?limit=10001',
    '?limit=x',
    '?limit=1&limit=2',
    '?from=yesterday',
    '?to=2026-11-22T10:00:00',
    '?cursor=x',
  ])('refuses %s', async (query) => {
    expect(await get(query)).toMatchObject({ status: 400, body: { status: 'ERROR' } });
  });

  it.each(['items', 'link', 'array'])('is read by the hub in the form %s', async (listForm) => {
    await admin('PUT', 'settings', { listForm });
    const rows = await read();
    expect(numbers(rows).sort((a, b) => a - b)).toEqual(all);
    expect(rows[0]).toMatchObject({
      amountMinor: 1250n,
      currency: 'USD',
      movement: 'debit',
      status: 'settled',
      playerId: 'p',
    });
    if (listForm !== 'array') expect(numbers(await read(window(3, 9))).sort()).toEqual([3, 4, 5, 6, 7, 8]);
  });

  it.each([
    { fault: { kind: 'list_status', status: 500 }, reason: 'bad_status' },
    { fault: { kind: 'list_status', status: 307, headers: { Location: '/elsewhere' } }, reason: 'redirected' },
    { fault: { kind: 'list_throttle', retryAfter: 0 }, reason: 'throttled' },
    { fault: { kind: 'list_hang' }, reason: 'too_slow' },
    { fault: { kind: 'list_reset' }, reason: 'unreachable' },
    { fault: { kind: 'list_reset', afterBytes: 100 }, reason: 'unreachable' },
    { fault: { kind: 'list_truncated', bytes: 5 }, reason: 'not_json' },
    { fault: { kind: 'list_html' }, reason: 'wrong_content_type' },
    { fault: { kind: 'list_html', asJson: true }, reason: 'not_json' },
    { fault: { kind: 'list_slow_drip', ms: 5 }, reason: 'too_slow' },
    { fault: { kind: 'list_gzip_bomb', bytes: 2_000_000 }, reason: 'too_many_bytes' },
    { fault: { kind: 'list_same_cursor', page: 'next' }, reason: 'cursor_repeated' },
    { fault: { kind: 'list_cursor_back', page: 'next' }, reason: 'cursor_went_back' },
    { fault: { kind: 'list_long_page' }, reason: 'page_too_long' },
    { fault: { kind: 'list_foreign_link', url: 'https://example.com/next' }, reason: 'foreign_link' },
    { fault: { kind: 'list_total', total: 3 }, reason: 'total_mismatch' },
    { fault: { kind: 'list_available_end', at: at(1) }, reason: 'not_complete_yet' },
    { fault: { kind: 'list_huge_rows', bytes: 70_000 }, reason: 'too_many_bytes' },
  ])('misbehaves when asked to, and the hub says how: $fault', async ({ fault, reason }) => {
    expect(await admin('POST', 'faults', fault)).toMatchObject({ kind: fault.kind, hits: 0 });
    const error: unknown = await read(
      window(0, 100),
      reason === 'too_slow' ? new HastyLimits() : new SmallLimits(),
    ).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SourceError);
    expect(error).toMatchObject({ side, reason });
    expect(await admin('GET', 'summary')).toMatchObject({ faults: { [fault.kind]: expect.any(Number) } });
    expect(await admin('DELETE', 'faults')).toEqual({ disarmed: 1 });
    expect(numbers(await read()).sort((a, b) => a - b)).toEqual(all);
  });

  it.each(['items', 'array'])('leaves out, repeats and changes rows when asked to, form %s', async (listForm) => {
    await admin('PUT', 'settings', { listForm });
    await admin('POST', 'faults', { kind: 'list_duplicate_rows', every: 25 });
    // The total counts rows, and one comes twice.
    if (listForm === 'items')
      await expect(read()).rejects.toMatchObject({ reason: expect.stringMatching(/page_too_long|total_mismatch/) });
    else expect(await read()).toHaveLength(ROWS + 1);
    await admin('DELETE', 'faults');
    await admin('POST', 'faults', { kind: 'list_missing_rows', every: 25 });
    if (listForm === 'items') await expect(read()).rejects.toMatchObject({ reason: 'total_mismatch' });
    else expect(await read()).toHaveLength(ROWS - 1);
    await admin('DELETE', 'faults');
    await admin('POST', 'faults', { kind: 'list_changed_rows', every: 25, field: 'currency', value: 'EUR' });
    expect((await read()).filter(({ currency }) => currency === 'EUR')).toHaveLength(1);
  });
});
