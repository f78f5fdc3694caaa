import { setTimeout as delay } from 'node:timers/promises';
import { waitFor } from '../../test/support/wait-for';
import type { Stage } from './stage';
import type { Server } from './store-set';

/** From the death of a primary to the promotion: what a cluster manager needs to notice, at its quickest. */
const NOTICED_MS = 3_000;
/** The hub's limit for a statement is 4 s; the rest is the time of a busy machine. */
const ANSWER_MS_MAX = 6_000;
const AWAY_CALLERS = 8;
const AWAY_MS = 8_000;
const READONLY_MS = 4_000;
const LEFT_MS_MAX = 5_000;

/** What an act saw: numbers to publish, and what must not have happened. */
export interface Seen {
  readonly numbers: Readonly<Record<string, unknown>>;
  readonly faults: readonly string[];
  /** When the new primary took writes, by performance.now(). */
  readonly readyAt?: number;
}

export type Act = (stage: Stage, log: (line: string) => void) => Promise<Seen>;

async function promoteAfterNotice(stage: Stage): Promise<{ server: Server; readyAt: number }> {
  await delay(NOTICED_MS);
  const server = await stage.store.promote();
  return { server, readyAt: performance.now() };
}

/** The primary's machine dies; it comes back as a standby. */
const kill: Act = async (stage, log) => {
  const { store } = stage;
  const old = store.primary;
  store.signal(old, 'SIGKILL');
  const { server, readyAt } = await promoteAfterNotice(stage);
  log(`${old.name} died, ${server.name} is the primary`);
  await store.rejoin(old);
  return { numbers: {}, faults: [], readyAt };
};

/** The primary stands still with all its connections open, is replaced, and wakes up again. */
const frozen: Act = async (stage, log) => {
  const { store } = stage;
  const old = store.primary;
  store.signal(old, 'SIGSTOP');
  const { server, readyAt } = await promoteAfterNotice(stage);
  log(`${old.name} stands still, ${server.name} is the primary`);
  await stage.ready();
  const backMs = Math.round(performance.now() - readyAt);
  store.signal(old, 'SIGCONT');
  const faults: string[] = [];
  await waitFor(
    'nobody is connected to the old primary',
    () => store.address.connectionsTo(old.postgres.port) === 0,
    LEFT_MS_MAX,
  ).catch((error: unknown) => faults.push(String(error)));
  const held = await store.ask<{ id: string }>(old, 'select id from wallet_transaction order by id desc limit 20000');
  const known = new Set(
    (
      await store.ask<{ id: string }>(server, 'select id from wallet_transaction where id = any ($1)', [
        held.map(({ id }) => id),
      ])
    ).map(({ id }) => id),
  );
  const written = held.filter(({ id }) => !known.has(id));
  if (written.length > 0) faults.push(`${written.length} movements stand on the old primary only`);
  await store.rejoin(old);
  return { numbers: { readyAgainMs: backMs }, faults, readyAt };
};

/** Both standbys are away: no commit is confirmed, so none may be told. */
const away: Act = async (stage, log) => {
  const { store } = stage;
  await store.stopStandbys();
  log('both standbys are away');
  const from = performance.now();
  const faults: string[] = [];
  let slowestMs = 0;
  let answers = 0;
  let readinessOffMs: number | null = null;
  let isOver = false;
  const open = new Map<string, Record<string, unknown>>();
  const caller = async (index: number): Promise<void> => {
    for (let n = 0; performance.now() - from < AWAY_MS; n += 1) {
      const body = { playerId: `away-${index}`, amountCents: 100, currency: 'USD', refId: `away-${index}-${n}` };
      open.set(`away-key-${index}-${n}`, body);
      const at = performance.now();
      const answer = await stage
        .post(stage.first, 'debit', body, `away-key-${index}-${n}`)
        .catch((error: unknown) => ({ status: 0, text: String(error), body: undefined }));
      slowestMs = Math.max(slowestMs, Math.round(performance.now() - at));
      answers += 1;
      if (answer.status !== 503)
        faults.push(`a debit without a standby was answered ${answer.status} ${answer.text.slice(0, 200)}`);
      else if ((answer.body as { outcome?: string }).outcome !== 'unknown')
        faults.push(
          `a debit without a standby was answered with outcome ${String((answer.body as { outcome?: string }).outcome)}`,
        );
      await delay(200);
    }
  };
  const watcher = async (): Promise<void> => {
    while (!isOver) {
      const { status, checks } = await stage.readiness(stage.first);
      if (status === 503 && checks.database !== 'ok') readinessOffMs ??= Math.round(performance.now() - from);
      else if (readinessOffMs !== null) faults.push(`readiness came back without a standby: ${JSON.stringify(checks)}`);
      await delay(100);
    }
  };
  const watching = watcher();
  await Promise.all(Array.from({ length: AWAY_CALLERS }, (_, index) => caller(index)));
  isOver = true;
  await watching;
  if (slowestMs > ANSWER_MS_MAX) faults.push(`the slowest answer without a standby took ${slowestMs} ms`);
  if (readinessOffMs === null || readinessOffMs > ANSWER_MS_MAX)
    faults.push(`readiness was off after ${readinessOffMs ?? 'no time'} ms`);
  const backAt = performance.now();
  await store.startStandbys();
  await stage.ready();
  const againMs = Math.round(performance.now() - backAt);
  // As any caller of a 503 with an unknown outcome: the same again, until it is answered.
  for (const [key, body] of open)
    await waitFor(
      `${key} is answered`,
      async () => (await stage.post(stage.first, 'debit', body, key)).status === 200,
      30_000,
    );
  return { numbers: { answers, slowestMs, readinessOffMs, readyAgainMs: againMs }, faults };
};

/** A commit that stands on one machine only is asked for again; what the repeat is told must survive that machine. */
const replay: Act = async (stage, log) => {
  const { store } = stage;
  const faults: string[] = [];
  // Still in the same moment: stopped in good order it would take seconds, and the hub would have left the store by
  // then.
  for (const standby of store.standbys) store.signal(standby, 'SIGSTOP');
  const body = { playerId: 'replayed', amountCents: 700, currency: 'USD', refId: 'replayed-1' };
  const first = stage.post(stage.first, 'debit', body, 'replayed-key');
  await waitFor('the commit waits for a standby', async () => {
    const [row] = await store.ask<{ n: number }>(
      store.primary,
      `select count(pg_terminate_backend(pid))::integer as n from pg_stat_activity where wait_event = 'SyncRep' and query like '%wallet_accept%'`,
    );
    return (row?.n ?? 0) > 0;
  });
  const lost = await first;
  if (lost.status !== 503) faults.push(`a commit that lost its connection was answered ${lost.status}`);
  await waitFor(
    'it is committed on this machine',
    async () =>
      (await store.ask(store.primary, `select 1 from wallet_transaction where ref_id = 'replayed-1'`)).length === 1,
  );
  // An operator who cancels the wait makes the server report success, with a warning.
  const cancelled = stage.post(stage.first, 'debit', { ...body, refId: 'replayed-2' }, 'replayed-key-3');
  let answered = false;
  void cancelled.then(() => (answered = true));
  await waitFor('the commit is cancelled, or refused since the store is left', async () => {
    if (answered) return true;
    const [row] = await store.ask<{ n: number }>(
      store.primary,
      `select count(pg_cancel_backend(pid))::integer as n from pg_stat_activity where wait_event = 'SyncRep' and query like '%wallet_accept%'`,
    );
    return (row?.n ?? 0) > 0;
  });
  const cancelledAnswer = await cancelled;
  if (cancelledAnswer.status !== 503)
    faults.push(`a commit whose wait for the standby was cancelled was answered ${cancelledAnswer.status}`);
  const told: string[] = [];
  const repeats = {
    'the same key': () => stage.post(stage.first, 'debit', body, 'replayed-key'),
    'another key': () => stage.post(stage.first, 'debit', body, 'replayed-key-2'),
  };
  for (const [name, repeat] of Object.entries(repeats)) {
    const { status } = await repeat();
    if (status === 200) told.push(name);
    else if (status !== 503) faults.push(`the repeat with ${name} was answered ${status}`);
  }
  log(`without a standby ${told.length} of 2 repeats were acknowledged`);
  const old = store.primary;
  for (const server of store.servers) store.signal(server, 'SIGKILL');
  await store.wakeStandbys();
  await store.promote();
  const rows = await store.ask(store.primary, `select 1 from wallet_transaction where ref_id = 'replayed-1'`);
  if (told.length > 0 && rows.length === 0)
    faults.push(`acknowledged with ${told.join(' and ')}, and not there after the failover`);
  await store.rejoin(old);
  await stage.ready();
  for (const [refId, key] of [
    ['replayed-1', 'replayed-key'],
    ['replayed-2', 'replayed-key-3'],
  ] as const)
    await waitFor(
      'the bet is taken in the end',
      async () => (await stage.post(stage.first, 'debit', { ...body, refId }, key)).status === 200,
      30_000,
    );
  return { numbers: { repeatsAcknowledged: told.length, thereAfterwards: rows.length }, faults };
};

/** The address leads to a standby for a while. */
const readonly: Act = async (stage, log) => {
  const { store } = stage;
  const [standby] = store.standbys;
  if (standby === undefined) throw new Error('there is no standby');
  store.lead(standby);
  store.address.cut(1);
  log(`the address leads to ${standby.name}, which only reads`);
  await delay(READONLY_MS);
  store.lead(undefined);
  const faults: string[] = [];
  const at = performance.now();
  await waitFor(
    'nobody is connected to the standby',
    () => store.address.connectionsTo(standby.postgres.port) === 0,
    LEFT_MS_MAX,
  ).catch((error: unknown) => faults.push(String(error)));
  const leftMs = Math.round(performance.now() - at);
  await stage.ready();
  return { numbers: { leftTheStandbyMs: leftMs }, faults };
};

/**
 * Without synchronous replication a promotion loses what was acknowledged last. A checker that does not see it sees
 * nothing.
 */
const async: Act = async (stage, log) => {
  const { store } = stage;
  const old = store.primary;
  void store.replication.delayFor(800, 60_000);
  await delay(2_000);
  store.signal(old, 'SIGKILL');
  const { server, readyAt } = await promoteAfterNotice(stage);
  log(`${old.name} died 0.8 s ahead, ${server.name} is the primary`);
  return { numbers: {}, faults: [], readyAt };
};

export const ACTS = { kill, frozen, away, replay, readonly, async } as const;
export type ActName = keyof typeof ACTS;
