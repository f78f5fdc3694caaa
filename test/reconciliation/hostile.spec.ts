import type http from 'node:http';
import { gzipSync } from 'node:zlib';
import { ReadLimits } from '../../src/reconciliation/sources/read-limits';
import { type ListRow } from '../support/partners/list-pages';
import { ListServer, drip } from '../support/partners/list-server';
import { plantHub } from '../support/recon/books';
import { PLANTED, factsOf, listsOf } from '../support/recon/facts';
import { expectProblem } from '../support/hub/problem';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

type Fault = (response: http.ServerResponse, rest: readonly ListRow[]) => void;
type Side = 'rgs' | 'operator';

const PAGE_ROWS = 10;
const MOVEMENTS = 40;

/** Tight enough that nobody waits; the reasons are what they would be with the limits that a hub has. */
const TIGHT = {
  pageRows: PAGE_ROWS,
  pageBytesMax: 256 * 1024,
  rowBytesMax: 64 * 1024,
  throttledTriesMax: 3,
  retryAfterMsMax: 1_000,
  backoffMsMax: 10,
  emptyPagesMax: 5,
};
const json = (response: http.ServerResponse, value: unknown): void =>
  void response
    .setHeader('content-type', 'application/json')
    .end(typeof value === 'string' ? value : JSON.stringify(value));
const status =
  (code: number, headers: Record<string, string> = {}): Fault =>
  (response) =>
    void response.writeHead(code, headers).end();

/** What comes instead of the second page. */
const FAULTS: readonly {
  readonly how: string;
  readonly reason: string;
  readonly fault: Fault;
  readonly pageMs?: number;
}[] = [
  {
    how: 'a cursor that leads to itself',
    reason: 'cursor_repeated',
    fault: (response, rest) => json(response, { items: rest, nextCursor: 'second' }),
  },
  {
    how: 'a cursor that leads back',
    reason: 'cursor_went_back',
    fault: (response, rest) =>
      json(response, { items: rest.map((row) => ({ ...row, createdAt: '2020-01-01T00:00:00Z' })), nextCursor: null }),
  },
  {
    how: 'JSON that breaks off',
    reason: 'not_json',
    fault: (response, rest) => json(response, JSON.stringify({ items: rest, nextCursor: null }).slice(0, -20)),
  },
  {
    how: 'HTML with 200',
    reason: 'wrong_content_type',
    fault: (response) => void response.setHeader('content-type', 'text/html').end('<html>please log in</html>'),
  },
  {
    how: 'HTML with 200 that is called JSON',
    reason: 'not_json',
    fault: (response) => json(response, '<html>please log in</html>'),
  },
  { how: 'a storm of 429', reason: 'throttled', fault: status(429) },
  { how: 'a storm of 429 with a long pause', reason: 'throttled', fault: status(429, { 'retry-after': '3600' }) },
  {
    how: 'a slow drip',
    reason: 'too_slow',
    pageMs: 400,
    fault: (response, rest) =>
      drip(response.setHeader('content-type', 'application/json'), JSON.stringify({ items: rest, nextCursor: null })),
  },
  { how: 'silence', reason: 'too_slow', pageMs: 400, fault: () => undefined },
  {
    how: 'a gzip bomb',
    reason: 'too_many_bytes',
    fault: (response) =>
      void response
        .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
        .end(gzipSync(`{"nextCursor":null,"items":[],"padding":"${'0'.repeat(50_000_000)}"}`)),
  },
  {
    how: 'more rows than were asked for',
    reason: 'page_too_long',
    fault: (response, rest) => json(response, { items: [...rest, ...rest], nextCursor: null }),
  },
  {
    how: 'nothing but new cursors',
    reason: 'never_ends',
    fault: (response) => json(response, { items: [], nextCursor: String(Math.random()) }),
  },
  {
    how: 'another total than it had',
    reason: 'total_mismatch',
    fault: (response, rest) => json(response, { items: rest, nextCursor: null, total: 5 }),
  },
  {
    how: 'a connection that breaks again and again',
    reason: 'unreachable',
    fault: (response) => void response.socket?.resetAndDestroy(),
  },
];

describe('a run whose partner misbehaves', () => {
  let hub: TestHub;
  let servers: Record<Side, ListServer>;
  let foreign: ListServer;
  let limits: { -readonly [Name in keyof ReadLimits]: ReadLimits[Name] };
  let lists: Record<Side, ListRow[]>;
  beforeAll(async () => {
    const [rgs, operator, other] = await Promise.all([ListServer.start(), ListServer.start(), ListServer.start()]);
    servers = { rgs, operator };
    foreign = other;
    hub = await TestHub.start({
      env: { RGS_WEBHOOK_URL: `${rgs.url}/webhooks`, OPERATOR_BASE_URL: operator.url, MAX_RETRIES: '1' },
    });
    limits = Object.assign(hub.app.get(ReadLimits, { strict: false }), TIGHT);
    const begin = Date.now() - 13 * 3_600_000;
    const facts = factsOf(
      [Array.from({ length: MOVEMENTS }, (_, index) => ({ ...PLANTED[0]!, after: 12 * 3_600_000 + index * 1_000 }))],
      begin,
    );
    lists = listsOf(facts);
    const [pair] = await hub.database.query<{ operatorId: number; rgsId: number }>(
      `select o.id as "operatorId", r.id as "rgsId" from partner o, partner r where o.code = 'operator' and r.code = 'rgs'`,
    );
    await plantHub((sql, parameters) => hub.database.query(sql, parameters), facts.hub, pair!);
  });
  afterAll(async () => {
    await hub.stop();
    await Promise.all([...Object.values(servers), foreign].map((server) => server.stop()));
  });

  const paged = (side: Side, second?: Fault, rows = () => lists[side]): void =>
    servers[side].serve((request, response) => {
      const cursor = new URL(request.url ?? '/', 'http://partner').searchParams.get('cursor');
      if (cursor !== null && second !== undefined) return second(response, rows().slice(PAGE_ROWS, 2 * PAGE_ROWS));
      const from = cursor === null ? 0 : cursor === 'second' ? PAGE_ROWS : Number(cursor);
      const page = rows().slice(from, from + PAGE_ROWS);
      json(response, {
        items: page,
        nextCursor: from + PAGE_ROWS < rows().length ? (from === 0 ? 'second' : String(from + PAGE_ROWS)) : null,
      });
    });
  const run = async (): Promise<Record<string, any>> => {
    const { body } = await hub.call('POST', '/v1/recon/runs', { graceSeconds: 7_200 }, { idempotencyKey: null });
    return waitFor(`run ${body.id} has ended`, async () => {
      const answer = await hub.call('GET', `/v1/recon/runs/${body.id}`);
      return ['sealed', 'failed'].includes(answer.body.state) ? answer.body : undefined;
    });
  };
  beforeEach(() => {
    limits.pageMs = 30_000;
    paged('rgs');
    paged('operator');
  });

  const failed = async (side: Side, reason: string): Promise<void> => {
    const ended = await run();
    expect(ended).toMatchObject({
      state: 'failed',
      error: {
        side,
        reason,
        message: expect.stringMatching(
          new RegExp(`^the list of the ${side === 'rgs' ? 'RGS' : 'operator'} could not be read: `),
        ),
      },
      itemCount: null,
      counts: null,
    });
    expect(JSON.stringify(ended.error)).not.toContain('log in');
    for (const file of ['report.csv', 'manifest', 'items'])
      expectProblem(await hub.call('GET', `/v1/recon/runs/${ended.id}/${file}`), 'run_state_conflict');
    expect(
      await hub.database.query(
        'select 1 from recon.stage_0 union all select 1 from recon.stage_1 union all select 1 from recon.exception',
      ),
    ).toEqual([]);
  };

  it.each(FAULTS)(
    'with $how fails with the reason $reason, and gives no report',
    async ({ reason, fault, pageMs = 30_000 }) => {
      limits.pageMs = pageMs;
      for (const side of ['rgs', 'operator'] as const) {
        paged(side, fault);
        await failed(side, reason);
        paged(side);
      }
    },
  );

  it('with a link to another host fails, and that host hears nothing', async () => {
    let called = 0;
    foreign.serve((_request, response) => ((called += 1), json(response, [])));
    servers.operator.serve((_request, response) =>
      json(
        response.setHeader('link', `<${foreign.url}/v2/transactions?cursor=2>; rel="next"`),
        lists.operator.slice(0, PAGE_ROWS),
      ),
    );
    await failed('operator', 'foreign_link');
    expect(called).toBe(0);
  });

  it('with 429 that passes, and with a connection that breaks once, is sealed and right', async () => {
    let faults = 0;
    const once = (fault: Fault, side: Side): void => {
      let calls = 0;
      paged(side);
      servers[side].serve((request, response) => {
        calls += 1;
        if (calls === 2) return ((faults += 1), fault(response, []));
        const from = Number(new URL(request.url ?? '/', 'http://partner').searchParams.get('cursor') ?? 0);
        json(response, {
          items: lists[side].slice(from, from + PAGE_ROWS),
          nextCursor: from + PAGE_ROWS < MOVEMENTS ? String(from + PAGE_ROWS) : null,
        });
      });
    };
    once(status(429), 'operator');
    once((response) => void response.socket?.resetAndDestroy(), 'rgs');
    expect(await run()).toMatchObject({
      state: 'sealed',
      itemCount: 0,
      counts: {
        funnel: { rgs: { matched: MOVEMENTS }, operator: { matched: MOVEMENTS }, hub: { matched: MOVEMENTS } },
      },
    });
    expect(faults).toBe(2);
  });

  it('with a list that grows while it is read is sealed: what came in time matches, and the rest is on its way and not broken', async () => {
    let known = 15;
    // A row more with each page; the whole list never comes to be seen.
    paged('operator', undefined, () => lists.operator.slice(0, (known += 1) > MOVEMENTS - 10 ? MOVEMENTS - 10 : known));
    const sealed = await run();
    const { matched } = sealed.counts.funnel.operator;
    expect(sealed).toMatchObject({
      state: 'sealed',
      counts: {
        broken: 0,
        inFlight: MOVEMENTS - matched,
        funnel: { rgs: { matched }, hub: { matched, inItems: MOVEMENTS - matched } },
      },
    });
    expect(matched).toBeGreaterThanOrEqual(15);
    paged('operator');
    expect(await run()).toMatchObject({ state: 'sealed', itemCount: 0 });
  });
});
