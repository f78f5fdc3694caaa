import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { HubProcess } from '../support/hub/hub-process';
import { NO_FAULTS, OutboxLanes } from '../support/hub/outbox-lanes';
import { signedRequest } from '../support/hub/signed-request';
import { withClient } from '../support/hub/test-database';
import { control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** Longer runs: CHAOS_MOVEMENTS=20000 CHAOS_PLAYERS=500 npm test -- chaos-processes. */
const MOVEMENTS = Number(process.env.CHAOS_MOVEMENTS ?? '2000');
const PLAYERS = Number(process.env.CHAOS_PLAYERS ?? '200');
/** The restarts take most of that test's time, and want no more than load all the while. */
const RESTART_MOVEMENTS = Math.ceil(MOVEMENTS * 0.4);
const DEADLINE_MS = 60_000 + MOVEMENTS * 30;

/** Every fifth call goes wrong, in half of the cases after the money has moved. */
const FAULTS = [
  { kind: 'status', status: 500, share: 0.05 },
  { kind: 'status_after_commit', status: 502, share: 0.05 },
  { kind: 'reset', share: 0.04 },
  { kind: 'reset', afterCommit: true, share: 0.04 },
  { kind: 'unreadable', afterCommit: true, share: 0.015 },
  { kind: 'hang', afterCommit: true, share: 0.005 },
];
const RGS_FAULTS = [
  { kind: 'status', status: 500, share: 0.1 },
  { kind: 'reset', afterCommit: true, share: 0.1 },
];

interface Movement {
  readonly playerId: string;
  readonly refId: string;
  readonly route: 'debit' | 'credit';
  readonly amountCents: number;
}

interface OperatorCall {
  readonly playerId: string;
  readonly reference: string;
  readonly idempotencyKey: string;
  readonly applied: boolean;
  readonly status: number | null;
}

interface RgsCall {
  readonly playerId: string;
  readonly refId: string;
  readonly headers: Record<string, string>;
  readonly stored: boolean;
  readonly status: number | null;
}

/** Movements by player, in the order in which they are asked for. */
function plan(name: string, count: number): Map<string, Movement[]> {
  const movements = new Map<string, Movement[]>();
  for (let index = 0; index < count; index++) {
    const playerId = `${name}-player-${index % PLAYERS}`;
    const own = movements.get(playerId) ?? [];
    own.push({
      playerId,
      refId: `${name}-${index}`,
      route: own.length % 3 === 2 ? 'credit' : 'debit',
      amountCents: 100 + (index % 37),
    });
    movements.set(playerId, own);
  }
  return movements;
}

/** A game server that keeps asking, with the same refId and key, until somebody has answered 200: any hub will do. */
async function ask(movement: Movement, urls: () => readonly string[]): Promise<void> {
  const { route, ...body } = movement;
  const deadline = performance.now() + DEADLINE_MS;
  for (let attempt = 0; performance.now() < deadline; attempt++) {
    const hubs = urls();
    const url = hubs[(attempt + body.amountCents) % hubs.length];
    const answer = await signedRequest(
      'POST',
      `${url}/wallet/${route}`,
      { ...body, currency: 'USD' },
      { idempotencyKey: body.refId },
    ).catch(() => undefined);
    if (answer?.status === 200) return;
    // 503 while the store is away; no answer from a hub that is dead or dying. Anything else is a fault of the hub.
    if (answer !== undefined && answer.status !== 503)
      throw new Error(`${route} ${body.refId} was answered ${answer.status}: ${answer.text}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${body.refId} was not accepted in time`);
}

/** What a process wrote beside its log: the stack of what ended it. */
function lastWords(hub: HubProcess): string {
  return hub
    .log()
    .split('\n')
    .filter((line) => !line.startsWith('{'))
    .join('\n');
}

describe('hub processes under fire', () => {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'hub-chaos-'));
  // Durable, as in production: what was answered 200 must survive the death of the server.
  const settings = { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on', shared_buffers: '64MB' };
  let postgres: EmbeddedPostgres;
  let operator: MockOperator;
  let rgs: MockRgs;
  let hubs: HubProcess[] = [];

  const urls = (): string[] => hubs.map(({ url }) => url);
  const startHub = async (): Promise<HubProcess> =>
    HubProcess.start({
      DATABASE_URL: postgres.url,
      DATABASE_OWNER_URL: postgres.ownerUrl,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
      RATE_LIMIT_PER_MINUTE: '0',
      OPERATOR_TIMEOUT_MS: '2000',
      // Each movement is to be booked, however long a busy machine takes for all of them.
      DEBIT_DEADLINE_SECONDS: '0',
      // The mocks live in this process beside the load; more calls at once would only wait in their queues and time
      // out.
      OUTBOX_CONCURRENCY: '16',
      RETRY_BACKOFF_SECONDS: '0.02',
      OUTBOX_LEASE_SECONDS: '4',
      OUTBOX_RETRY_SCHEDULE_SECONDS: Array(40).fill('0.3').join(),
      BREAKER_OPEN_SECONDS: '0.2',
    });

  beforeAll(async () => {
    [postgres, operator, rgs] = await Promise.all([
      startEmbeddedPostgres({ dataDir, settings }),
      startMockOperator(),
      startMockRgs(),
    ]);
    hubs = await Promise.all([startHub(), startHub(), startHub()]);
    // Callbacks go to a hub that lives to the end.
    operator.settings.hubUrl = hubs[0]?.url ?? '';
  }, 90_000);
  afterAll(async () => {
    await Promise.all(hubs.map((hub) => hub.end('SIGKILL')));
    await Promise.all([operator.close(), rgs.close()]);
    await postgres.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }, 60_000);

  beforeEach(async () => {
    for (const { url } of [operator, rgs]) await control(url, 'POST', '/admin/clear-db');
    for (const [index, fault] of FAULTS.entries())
      await control(operator.url, 'POST', '/admin/faults', { ...fault, seed: index });
    for (const [index, fault] of RGS_FAULTS.entries())
      await control(rgs.url, 'POST', '/admin/faults', { ...fault, seed: index });
  });

  /** Runs the plan, lets `strike` happen when a third of the calls were made, and waits until nothing is left to do. */
  async function run(movements: Map<string, Movement[]>, strike: () => Promise<void>): Promise<void> {
    const count = [...movements.values()].flat().length;
    const load = Promise.all(
      [...movements.values()].map(async (own) => {
        // The next movement of a player is asked for after the last was accepted: so the order of acceptance is known.
        for (const movement of own) await ask(movement, urls);
      }),
    );
    await Promise.all([
      load,
      waitFor(
        'the load is at its height',
        async () => (await control(operator.url, 'GET', '/admin/summary')).calls > count / 3,
        DEADLINE_MS,
      ).then(strike),
    ]);
    await waitFor(
      'every webhook was stored and the outbox is empty',
      async () => {
        if ((await control(rgs.url, 'GET', '/admin/summary')).stored < count) return false;
        return withClient(
          postgres.superuserUrl,
          async (client) =>
            (await client.query<{ open: number }>('select count(*)::integer as open from outbox_head')).rows[0]
              ?.open === 0,
        );
      },
      DEADLINE_MS,
    );
  }

  async function verify(movements: Map<string, Movement[]>): Promise<void> {
    const all = [...movements.values()].flat();
    const books: { reference: string }[] = await control(operator.url, 'GET', '/v2/transactions');
    const calls: OperatorCall[] = await control(operator.url, 'GET', '/admin/calls');
    const summary = await control(operator.url, 'GET', '/admin/summary');
    const told: { refId: string; status: string; deliveries: number; playerId: string; transactionId: string }[] =
      await control(rgs.url, 'GET', '/webhooks');
    const rgsCalls: RgsCall[] = await control(rgs.url, 'GET', '/admin/calls');

    // The faults struck: otherwise what follows proves nothing.
    const struck = Object.values(summary.faults as Record<string, number>).reduce((sum, hits) => sum + hits, 0);
    expect(struck / calls.length).toBeGreaterThan(0.15);

    // Every movement applied once, by the operator's own books.
    expect(books.map(({ reference }) => reference).sort()).toEqual(all.map(({ refId }) => refId).sort());
    for (const [playerId, own] of movements) {
      const net = own.reduce(
        (sum, { route, amountCents }) => sum + (route === 'credit' ? amountCents : -amountCents),
        0,
      );
      expect(await control(operator.url, 'GET', `/admin/players/${playerId}`)).toMatchObject({
        movements: own.length,
        net: { USD: String(net) },
      });
    }
    // In order per player: where the money moved, and what the RGS was told.
    const inOrder = [...movements].map(([playerId, own]) => [playerId, own.map(({ refId }) => refId)]);
    const byPlayer = (seen: readonly { playerId: string; ref: string }[]): unknown =>
      [...movements.keys()].map((playerId) => [
        playerId,
        seen.filter((one) => one.playerId === playerId).map(({ ref }) => ref),
      ]);
    expect(
      byPlayer(calls.filter(({ applied }) => applied).map(({ playerId, reference }) => ({ playerId, ref: reference }))),
    ).toEqual(inOrder);
    expect(
      byPlayer(rgsCalls.filter(({ stored }) => stored).map(({ playerId, refId }) => ({ playerId, ref: refId }))),
    ).toEqual(inOrder);
    // One webhook per movement, with one id, and all of them say that the money moved.
    expect(told).toHaveLength(all.length);
    expect(new Set(told.map(({ status }) => status))).toEqual(new Set(['OK']));
    expect((await control(rgs.url, 'GET', '/admin/summary')).keyConflicts).toBe(0);

    await withClient(postgres.superuserUrl, async (client) => {
      const states = await client.query<{ state: string; n: number }>(
        `select state, count(*)::integer as n from wallet_transaction where ref_id = any ($1) group by state`,
        [all.map(({ refId }) => refId)],
      );
      expect(states.rows).toEqual([{ state: 'confirmed', n: all.length }]);

      // Nothing is sent without a call that was answered; only a callback, itself a call of the operator's, may stand
      // in for the answer.
      const sent = await client.query<{ message_id: string; by_callback: boolean }>(
        `select a.message_id, bool_or(a.replica = 'callback' or a.duration_ms is null) as by_callback from outbox_attempt a join outbox_message m on m.id = a.message_id
         join wallet_transaction t on t.id = m.transaction_id where a.outcome = 'sent' and t.ref_id = any ($1) group by 1`,
        [all.map(({ refId }) => refId)],
      );
      const answered = new Set([
        ...calls.filter(({ status }) => status === 200).map(({ idempotencyKey }) => idempotencyKey),
        ...rgsCalls.filter(({ status }) => status === 200).map(({ headers }) => headers['idempotency-key']),
      ]);
      expect(sent.rows).toHaveLength(2 * all.length);
      expect(sent.rows.filter(({ message_id, by_callback }) => !by_callback && !answered.has(message_id))).toEqual([]);
    });

    // Everybody takes locks in the same order; a deadlock would be resolved by the server, a second later each time.
    const [stats] = (
      await withClient(postgres.superuserUrl, (client) =>
        client.query<{ deadlocks: number }>(
          'select deadlocks::integer from pg_stat_database where datname = current_database()',
        ),
      )
    ).rows;
    expect(stats?.deadlocks).toBe(0);

    const lanes = await OutboxLanes.open(1, {
      url: postgres.url,
      ownerUrl: postgres.ownerUrl,
      superuserUrl: postgres.superuserUrl,
      asOwner: () => Promise.reject(new Error('not used')),
      query: () => Promise.reject(new Error('not used')),
      drop: () => Promise.resolve(),
    });
    try {
      for (const { id } of await lanes.query<{ id: number }>('select id from outbox_destination'))
        expect(await lanes.faults(id)).toEqual(NO_FAULTS);
      expect(await lanes.store.repairLanes()).toBe(0);
    } finally {
      await lanes.close();
    }
  }

  it(
    `three of them, ${PLAYERS} players, ${MOVEMENTS} movements, 20 % faults, one killed in the middle: each movement once and in order`,
    async () => {
      const movements = plan('kill', MOVEMENTS);
      await run(movements, async () => {
        const victim = hubs.pop();
        const { pid } = victim?.child ?? {};
        if (pid === undefined) throw new Error('there is no hub to kill');
        // It dies at work: what it holds has to wait for its leases. Held still first, since a hub can be between two
        // calls at any moment.
        await waitFor('it holds leases', async () => {
          process.kill(pid, 'SIGSTOP');
          const leased = await withClient(
            postgres.superuserUrl,
            async (client) =>
              (
                await client.query<{ n: number }>(
                  `select count(*)::integer as n from outbox_head where leased and owner like '%:' || $1 || ':%'`,
                  [pid],
                )
              ).rows[0]?.n ?? 0,
          );
          if (leased === 0) process.kill(pid, 'SIGCONT');
          return leased > 0;
        });
        expect(await victim?.end('SIGKILL')).toBeNull();
      });
      await verify(movements);
    },
    DEADLINE_MS * 2,
  );

  it(
    'the database server killed and later restarted under load: nothing that was accepted is lost, and nobody has to help',
    async () => {
      const movements = plan('restart', RESTART_MOVEMENTS);
      await run(movements, async () => {
        const { port, pid } = postgres;
        process.kill(pid, 'SIGKILL');
        await waitFor(
          'a hub says that it is not ready',
          async () => (await fetch(`${hubs[0]?.url}/health/ready`)).status === 503,
        );
        postgres = await startEmbeddedPostgres({ dataDir, settings, port });
        expect(postgres.pid).not.toBe(pid);
        await waitFor('the hubs work again', async () => (await fetch(`${hubs[0]?.url}/health/ready`)).status === 200);
        // And once more in good order, as in a minor upgrade.
        await postgres.stop();
        postgres = await startEmbeddedPostgres({ dataDir, settings, port });
      });
      await verify(movements);
      // The very processes that lost their database still run; one that ended says why.
      expect(hubs.map((hub) => (hub.child.exitCode === null ? 'runs' : lastWords(hub)))).toEqual(
        hubs.map(() => 'runs'),
      );
    },
    DEADLINE_MS * 2,
  );
});
