import http from 'node:http';
import { RunRequests } from '../../src/reconciliation/engine/run-requests';
import { HubProcess } from '../support/hub/hub-process';
import { ListServer } from '../support/partners/list-server';
import { plantRun } from '../support/recon/planted-run';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const MB = 1024 * 1024;
const ITEMS = 40_000;
/**
 * What the hub may take until four readers have stopped it, who leave it sitting on more than 100 MB; most of it is
 * what the system's buffers were filled from.
 */
const GROWTH_BYTES_MAX = 100 * MB;
/** And from then on. */
const FLAT_BYTES = 8 * MB;
const SLOW_MS = 3_000;
const FILES = ['report.csv', 'report.ndjson', 'report.xlsx', 'reconciliation_data'] as const;
const AUTHORIZED = { authorization: 'Bearer change_token' };

describe('a hub whose readers take their time', () => {
  let database: TestDatabase;
  let hub: HubProcess;
  let run: string;
  beforeAll(async () => {
    database = await testDatabase();
    hub = await HubProcess.start({
      DATABASE_URL: database.url,
      DATABASE_POOL_SIZE: '3',
      OPERATOR_BASE_URL: 'http://127.0.0.1:9',
      RGS_WEBHOOK_URL: 'http://127.0.0.1:9/webhooks',
    });
    // Long references of which no two are alike, so that also what is compressed is long.
    const reshape = `update recon.item set ref_id = ref, ref_rgs = ref from (select seq as n, (select string_agg(md5(seq::text || part), '') from generate_series(1, 14) part) as ref from recon.item where run_id = $1) r where run_id = $1 and seq = n`;
    run = await plantRun({ database }, { many: ITEMS, reshape });
    await (await fetch(`${hub.url}/v1/recon/runs/${run}/manifest`, { headers: AUTHORIZED })).text();
  }, 60_000);
  afterAll(async () => {
    await hub.end('SIGKILL');
    await database.drop();
  });

  const pathOf = (file: (typeof FILES)[number]) =>
    file === 'reconciliation_data' ? `/reconciliation_data?run=${run}` : `/v1/recon/runs/${run}/${file}`;
  const open = (file: (typeof FILES)[number]): Promise<http.IncomingMessage> =>
    new Promise((resolve, reject) => {
      http
        .get(hub.url + pathOf(file), { headers: AUTHORIZED, agent: false }, (response) => {
          // Cut off in the end, and that is meant.
          response.on('error', () => undefined);
          response.pause();
          resolve(response);
        })
        .once('error', reject);
    });
  const rss = async () =>
    Number(
      /^process_resident_memory_bytes (\d+)/m.exec(
        await (await fetch(`${hub.url}/metrics`, { headers: AUTHORIZED })).text(),
      )?.[1],
    );
  /** When the hub last asked for a page, as far as its connections still know. */
  const lastPageAt = async () =>
    (
      await database.query<{ at: string }>(
        `select coalesce(max(query_start), 'epoch')::text as at from pg_stat_activity where datname = current_database() and query like '%recon.item%' and application_name <> 'test'`,
      )
    )[0]?.at;
  const busy = async () =>
    Number(
      (
        await database.query<{ n: string }>(
          `select count(*) as n from pg_stat_activity where datname = current_database() and application_name <> 'test' and (state <> 'idle' or xact_start is not null) and query like '%recon.item%'`,
        )
      )[0]?.n,
    );

  it('reads no further than they do, and stays as small as it was', async () => {
    const before = await rss();
    expect(before).toBeGreaterThan(0);
    const readers = await Promise.all(FILES.map(open));
    // 1 KB a second, each.
    const drip = setInterval(() => readers.forEach((response) => void response.read(1024)), 1_000);
    let peak = before;
    const watch = setInterval(() => void rss().then((now) => (peak = Math.max(peak, now))), 250);
    try {
      const still = await waitFor('nobody is given another page', async () => {
        const at = await lastPageAt();
        const since = performance.now();
        // Long enough that a hub on a busy machine, between two pages, is not taken for one that has stopped.
        await waitFor('a while has passed', () => performance.now() - since > 1_500);
        return (await lastPageAt()) === at && (await busy()) === 0 && at;
      });
      const stopped = peak;
      const until = performance.now() + SLOW_MS;
      await waitFor('the readers have been slow for a while', () => performance.now() > until);
      expect((await lastPageAt())! <= still).toBe(true);
      expect(readers.every(({ complete, destroyed }) => !complete && !destroyed)).toBe(true);
      expect(peak - stopped).toBeLessThan(FLAT_BYTES);
      expect(peak - before).toBeLessThan(GROWTH_BYTES_MAX);
    } finally {
      clearInterval(drip);
      clearInterval(watch);
      readers.forEach((response) => response.destroy());
    }
  }, 60_000);

  it('has every connection back from those who leave, wherever they do', async () => {
    // Four times as many of each as the hub has connections.
    for (let bytes = 1; bytes < 2 * MB; bytes *= 6) {
      await Promise.all(
        FILES.map(async (file) => {
          const response = await open(file);
          let taken = 0;
          await new Promise<void>((resolve) => {
            response.on('data', (chunk: Buffer) => {
              taken += chunk.length;
              if (taken >= bytes) response.destroy();
            });
            response.once('close', () => resolve());
            response.resume();
          });
          expect(response.complete).toBe(false);
        }),
      );
    }
    await waitFor('nothing is read for nobody', async () => (await busy()) === 0);
    // A connection that nobody gave back would be missed: the hub has three.
    const answers = await Promise.all(
      Array.from({ length: 12 }, () =>
        fetch(`${hub.url}/v1/recon/runs/${run}/items?limit=1`, {
          headers: AUTHORIZED,
          signal: AbortSignal.timeout(15_000),
        }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200));
  }, 60_000);
});

it("twenty equal calls of the first hub's route at once, of two hubs, are one run and one reading of each list", async () => {
  const [rgs, operator] = await Promise.all([ListServer.start(), ListServer.start()]);
  const env = { RGS_WEBHOOK_URL: `${rgs.url}/webhooks`, OPERATOR_BASE_URL: operator.url };
  const one = await TestHub.start({ env });
  const two = await TestHub.start({ env, database: one.database });
  try {
    let readings = 0;
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    rgs.serve((_request, response) => {
      readings += 1;
      void released.then(() =>
        response
          .setHeader('content-type', 'application/json')
          .end(
            JSON.stringify([
              { refId: 'ref-local', correlationId: 'corr-1', event: 'credit', amountCents: 1000, currency: 'USD' },
            ]),
          ),
      );
    });
    operator.serve(
      (_request, response) => ((readings += 1), void response.setHeader('content-type', 'application/json').end('[]')),
    );
    const joined = [one, two].map((hub) =>
      jest.spyOn(hub.app.get(RunRequests, { strict: false }), 'endedUnlessAllLeave'),
    );
    const calls = Array.from({ length: 20 }, (_, index) =>
      (index % 2 === 0 ? one : two).call('GET', '/reconciliation_data'),
    );
    await waitFor('all of them wait', () => joined.reduce((count, { mock }) => count + mock.calls.length, 0) === 20);
    release();
    const answers = await Promise.all(calls);
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`))).toEqual(
      new Set([
        '200 refId,correlationId,direction,amount,inRGS,inOperator\r\nref-local,corr-1,credit,10.0,True,False\r\n',
      ]),
    );
    expect(new Set(answers.map(({ headers }) => headers.get('x-recon-run-id'))).size).toBe(1);
    expect(await one.database.query('select count(*)::int as n from recon.run')).toEqual([{ n: 1 }]);
    expect(readings).toBe(2);
  } finally {
    await two.stop();
    await one.stop();
    await Promise.all([rgs.stop(), operator.stop()]);
  }
});
