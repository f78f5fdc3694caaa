import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { roleOf } from '../../src/config/config';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { migrate } from '../../src/database/migrate';
import { Random } from '../../tools/chaos/prng';
import { HubProcess } from '../support/hub/hub-process';
import { ListServer } from '../support/partners/list-server';
import { plantHub } from '../support/recon/books';
import { PLANTED, factsOf, listsOf } from '../support/recon/facts';
import { withClient } from '../support/hub/test-database';
import { waitFor } from '../support/wait-for';

/** More kills, other places: RECON_KILLS=20 RECON_SEED=7 npm test -- reconciliation/crash. */
const KILLS = Number(process.env.RECON_KILLS ?? '1');
const SEED = Number(process.env.RECON_SEED ?? Date.now() % 1_000_000);

const RUN_ID = '019a3c7e-0000-7000-8000-000000000001';
const BEGIN = Date.parse('2026-11-22T00:00:00Z');
const PAGE_ROWS = 10;
const BUCKET_ROWS = 60;
const GATE_LOCK = 4711;
type Side = 'rgs' | 'operator';

/** Where a run stands still until it is killed. */
type Place =
  | { readonly kind: 'page'; readonly side: Side; readonly page: number }
  /** The nth write of a kind: the matched rows of a partition, and the steps of the seal. */
  | { readonly kind: 'bucket' | 'seal'; readonly table: string; readonly nth: number };

const STEPS = [
  { table: 'recon.item', nth: 1 },
  { table: 'recon.exception', nth: 1 },
  { table: 'recon.summary', nth: 1 },
  { table: 'recon.summary', nth: 2 },
  { table: 'recon.run', nth: 1 },
] as const;

const random = new Random(SEED);
const KINDS: readonly (() => Place)[] = [
  () => ({ kind: 'page', side: random.pick<Side>(['rgs', 'operator']), page: random.integer(0, 6) }),
  () => ({ kind: 'bucket', table: 'recon.matched', nth: random.integer(1, 32) }),
  () => ({ kind: 'seal', ...random.pick(STEPS) }),
];
const POINTS = Array.from({ length: KILLS }, () =>
  KINDS.flatMap((place) => (['hub', 'postgres'] as const).map((victim) => ({ victim, place: place() }))),
).flat();
const named = POINTS.map(({ victim, place }) => ({
  victim,
  place,
  where: place.kind === 'page' ? `page ${place.page} of the ${place.side}` : `write ${place.nth} to ${place.table}`,
}));

describe(`a run whose processes are killed (RECON_SEED=${SEED})`, () => {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'hub-recon-crash-'));
  let postgres: EmbeddedPostgres;
  let hub: HubProcess;
  const servers: Partial<Record<Side, ListServer>> = {};
  const asked: { side: Side; page: number }[] = [];
  let gate: { side: Side; page: number; reached: (answer: () => void) => void } | undefined;
  let wanted: { csv: Buffer; legacy: string; sha256: string };

  // What is tested is what is left in the files when a process dies, and that does not depend on the disk.
  const startPostgres = (port?: number) =>
    startEmbeddedPostgres({
      dataDir,
      settings: { fsync: 'off', shared_buffers: '32MB' },
      ...(port === undefined ? {} : { port }),
    });
  const query = <T = Record<string, unknown>>(sql: string, parameters: unknown[] = []) =>
    withClient(postgres.superuserUrl, async (client) => (await client.query(sql, parameters)).rows as T[]);
  const startHub = () =>
    HubProcess.start(
      {
        DATABASE_URL: postgres.url,
        DATABASE_OWNER_URL: postgres.ownerUrl,
        OPERATOR_BASE_URL: servers.operator?.url ?? '',
        RGS_WEBHOOK_URL: `${servers.rgs?.url}/webhooks`,
        RECON_LEASE_SECONDS: '1',
        RECON_BUCKET_ROWS: String(BUCKET_ROWS),
        RETRY_BACKOFF_SECONDS: '0.05',
        LOG_LEVEL: 'info',
      },
      'tools/chaos/recon-hub.js',
    );

  beforeAll(async () => {
    postgres = await startPostgres();
    await migrate(postgres.ownerUrl, { role: roleOf(postgres.url), mayClear: true });
    // Nothing waits in the outbox: a hub would send it.
    const facts = factsOf([PLANTED, PLANTED, PLANTED, PLANTED], BEGIN);
    const hubFacts = facts.hub.map((each) => ({
      ...each,
      message: { ...each.message, delivery: 'sent' as const },
      undo: each.undo && { ...each.undo, delivery: 'sent' as const },
      outcomes: each.outcomes.map((outcome) => ({ ...outcome, delivery: 'sent' as const })),
    }));
    const lists = listsOf(facts);
    for (const side of ['rgs', 'operator'] as const) {
      const rows = lists[side].sort((a, b) => (String(a.createdAt) < String(b.createdAt) ? -1 : 1));
      const server = await ListServer.start();
      servers[side] = server;
      server.serve((request, response) => {
        const page = Number(new URL(request.url ?? '/', 'http://partner').searchParams.get('cursor') ?? 0);
        asked.push({ side, page });
        const end = (page + 1) * PAGE_ROWS;
        const answer = () =>
          void response.setHeader('content-type', 'application/json').end(
            JSON.stringify({
              items: rows.slice(page * PAGE_ROWS, end),
              nextCursor: end < rows.length ? String(page + 1) : null,
            }),
          );
        // No answer yet: the process that asked may not live to hear it.
        if (gate?.side === side && gate.page === page) gate.reached(answer);
        else answer();
      });
      expect(rows.length / PAGE_ROWS).toBeGreaterThan(6);
    }
    hub = await startHub();
    const [pair] = await query<{ operatorId: number; rgsId: number }>(
      `select o.id as "operatorId", r.id as "rgsId" from partner o, partner r where o.code = 'operator' and r.code = 'rgs'`,
    );
    await plantHub(query, hubFacts, pair!);
    await begin();
    wanted = await ended();
    expect(
      (await query<{ buckets_done: number }>('select buckets_done from recon.run'))[0]?.buckets_done,
    ).toBeGreaterThan(4);
    expect(wanted.csv.toString().split('\r\n').length).toBeGreaterThan(90);
    await forget();
  }, 90_000);
  afterAll(async () => {
    await hub.end('SIGKILL');
    await Promise.all(Object.values(servers).map((server) => server.stop()));
    await postgres.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }, 60_000);

  /** A run that whoever looks for work takes: with the same name and the same moment, a report is the same bytes. */
  const begin = () =>
    query(
      `insert into recon.run (id, kind, params_hash, operator_id, rgs_id, as_of, grace_seconds, hard_limit_seconds, pad_seconds, rules, zone, cutoff, created_by, created_at)
       select $1, 'adhoc', 'x', o.id, r.id, '2026-11-23T00:00:00Z', 900, 86400, 7200, '{"allowPartial":true,"dryRun":false}', 'Europe/Malta', '06:00', 'test', now() - interval '1 minute' from partner o, partner r where o.code = 'operator' and r.code = 'rgs'`,
      [RUN_ID],
    );
  const forget = async () => {
    await query('delete from recon.run');
    await query('delete from recon.exception');
  };
  const get = (route: string) => fetch(hub.url + route, { headers: { authorization: 'Bearer change_token' } });
  const ended = async () => {
    await waitFor(
      'the run has ended',
      async () =>
        (await query<{ state: string }>(`select state from recon.run where state in ('sealed', 'failed')`)).length > 0,
      60_000,
    );
    const [run] = await query<{ state: string; error: unknown }>('select state, error from recon.run');
    expect(run).toEqual({ state: 'sealed', error: null });
    const csv = Buffer.from(await (await get(`/v1/recon/runs/${RUN_ID}/report.csv`)).arrayBuffer());
    const { manifest } = (await (await get(`/v1/recon/runs/${RUN_ID}/manifest`)).json()) as {
      manifest: { report: { sha256: string } };
    };
    return {
      csv,
      legacy: await (await get(`/reconciliation_data?run=${RUN_ID}`)).text(),
      sha256: manifest.report.sha256,
    };
  };

  /** Makes the run stand still at a page; resolves with what answers it, when it does. */
  const stopAt = (place: { side: Side; page: number }): Promise<() => void> =>
    new Promise((resolve) => (gate = { side: place.side, page: place.page, reached: resolve }));

  /** Makes the run stand still at its nth write to the table; answers how to wait for that, and how to let go. */
  const block = async ({ table, nth }: { table: string; nth: number }) => {
    const holder = new Client({ connectionString: postgres.superuserUrl });
    // It dies with the server, where that is what is killed.
    holder.on('error', () => undefined);
    await holder.connect();
    await holder.query('select pg_advisory_lock($1)', [GATE_LOCK]);
    await holder.query('create sequence gate_calls');
    await holder.query(
      `create function gate() returns trigger language plpgsql security definer as $$ begin if nextval('gate_calls') = ${nth} then perform pg_advisory_xact_lock(${GATE_LOCK}); end if; return new; end $$`,
    );
    if (table === 'recon.run')
      await holder.query(
        `create trigger gate before update on recon.run for each row when (new.state = 'sealed') execute function gate()`,
      );
    else
      for (const name of table === 'recon.matched' ? ['recon.matched_0', 'recon.matched_1'] : [table])
        await holder.query(`create trigger gate before insert on ${name} for each statement execute function gate()`);
    return {
      reached: () =>
        waitFor(
          `write ${nth} to ${table}`,
          async () =>
            (
              await holder.query(`select 1 from pg_locks where locktype = 'advisory' and objid = $1 and not granted`, [
                GATE_LOCK,
              ])
            ).rows.length > 0,
          30_000,
        ),
      open: () => holder.end().catch(() => undefined),
    };
  };

  it.each(named)(
    '$victim, at $where: the file is the same, byte for byte',
    async ({ victim, place }) => {
      const blocked = place.kind === 'page' ? undefined : await block(place);
      const atPage = place.kind === 'page' ? stopAt(place) : Promise.resolve();
      await begin();
      await (blocked === undefined ? atPage : blocked.reached());
      gate = undefined;
      asked.length = 0;
      if (victim === 'hub') {
        await hub.end('SIGKILL');
        await blocked?.open();
        hub = await startHub();
      } else {
        const { port, pid } = postgres;
        process.kill(pid, 'SIGKILL');
        await blocked?.open();
        postgres = await startPostgres(port);
      }
      const { csv, legacy, sha256 } = await ended();
      expect(csv.equals(wanted.csv)).toBe(true);
      expect([legacy, sha256]).toEqual([wanted.legacy, wanted.sha256]);
      if (victim === 'hub') {
        // What was staged is not asked for again: at most the page that was on its way to the store, and none once all
        // were there.
        if (place.kind === 'page')
          expect(
            Math.min(...asked.filter(({ side }) => side === place.side).map(({ page }) => page)),
          ).toBeGreaterThanOrEqual(place.page - 1);
        else expect(asked).toEqual([]);
      }
      if (blocked !== undefined) {
        await query('drop function gate cascade');
        await query('drop sequence gate_calls');
      }
      await forget();
    },
    60_000,
  );

  it('a process that was frozen, and wakes when another has done its work, changes nothing', async () => {
    const frozen = hub;
    const page = random.integer(1, 6);
    const atPage = stopAt({ side: 'operator', page });
    await begin();
    const answer = await atPage;
    gate = undefined;
    // With nothing on its way to the store: a transaction that is left open keeps others out until PostgreSQL ends it.
    await waitFor(
      'all that was read is stored',
      async () =>
        (
          await query(
            'select 1 from recon.source_progress where (source = 1 and done) or (source = 2 and pages = $1)',
            [page],
          )
        ).length === 2,
    );
    frozen.child.kill('SIGSTOP');
    hub = await startHub();
    expect(await ended()).toEqual(wanted);
    frozen.child.kill('SIGCONT');
    answer();
    await waitFor('it has noticed', () => frozen.log().includes('reconciliation.lease_lost'));
    expect(await ended()).toEqual(wanted);
    expect(await query('select 1 from recon.stage_0 union all select 1 from recon.stage_1')).toEqual([]);
    await frozen.end('SIGKILL');
    await forget();
  }, 60_000);
});
