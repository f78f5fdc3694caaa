import type http from 'node:http';
import { createGzip, gzipSync } from 'node:zlib';
import { type Booking, FakeOperator } from '../support/partners/fake-operator';
import { HubProcess } from '../support/hub/hub-process';
import { configureOperator, metric } from '../support/money';
import { testDatabase } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const QUICK = {
  MAX_RETRIES: '0',
  OPERATOR_TIMEOUT_MS: '1000',
  OUTBOX_LEASE_SECONDS: '5',
  BREAKER_FAILURES: '10000',
  RESOLVE_GRACE_SECONDS: '0.1',
  DEBIT_DEADLINE_SECONDS: '0',
  OUTBOX_RETRY_SCHEDULE_SECONDS: '0.2',
};

type ListAs = NonNullable<FakeOperator['listAs']>;
const send = (response: http.ServerResponse, body: unknown, headers: Record<string, string> = {}) =>
  void response
    .writeHead(200, { 'content-type': 'application/json', ...headers })
    .end(typeof body === 'string' ? body : JSON.stringify(body));
const rows = (bookings: readonly Booking[]) =>
  bookings.map(({ reference, direction, playerId }) => ({ reference, direction, playerId }));

/** The bet is on the books, and the list says so in a way that somebody may write it. */
const SPELLINGS: readonly { readonly how: string; readonly state: 'confirmed' | 'parked'; readonly list: ListAs }[] = [
  { how: 'as agreed', state: 'confirmed', list: (response, bookings) => send(response, rows(bookings)) },
  {
    how: 'within an object',
    state: 'confirmed',
    list: (response, bookings) => send(response, { items: rows(bookings), nextCursor: null }),
  },
  {
    how: 'with the direction in capitals',
    state: 'confirmed',
    list: (response, bookings) =>
      send(
        response,
        rows(bookings).map((row) => ({ ...row, direction: 'WITHDRAW' })),
      ),
  },
  {
    how: 'compressed',
    state: 'confirmed',
    list: (response, bookings) =>
      void response
        .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
        .end(gzipSync(JSON.stringify(rows(bookings)))),
  },
  {
    how: 'with a player number of its own',
    state: 'parked',
    list: (response, bookings) =>
      send(
        response,
        rows(bookings).map((row) => ({ ...row, playerId: 77 })),
      ),
  },
  {
    how: 'with the reference in capitals',
    state: 'parked',
    list: (response, bookings) =>
      send(
        response,
        rows(bookings).map((row) => ({ ...row, reference: row.reference.toUpperCase() })),
      ),
  },
  {
    how: 'with the reference elsewhere',
    state: 'parked',
    list: (response, bookings) =>
      send(
        response,
        rows(bookings).map((row) => ({ ...row, reference: 'internal-1', meta: { ref: row.reference } })),
      ),
  },
  {
    how: 'without a reference',
    state: 'parked',
    list: (response, bookings) =>
      send(
        response,
        rows(bookings).map(({ direction }) => ({ direction })),
      ),
  },
  {
    how: 'with another amount',
    state: 'parked',
    list: (response, bookings) =>
      send(
        response,
        rows(bookings).map((row) => ({ ...row, amount: 7 })),
      ),
  },
  {
    how: 'on the next page',
    state: 'parked',
    list: (response) => send(response, [], { link: '</v2/transactions?page=2>; rel="next"' }),
  },
  {
    how: 'behind a link in another spelling',
    state: 'parked',
    list: (response) => send(response, [], { link: "</v2/transactions?page=2>; REL='next'" }),
  },
  {
    how: 'on another page, says a member',
    state: 'parked',
    list: (response) => send(response, { items: [], nextCursor: null, has_more: true }),
  },
  {
    how: 'within another member',
    state: 'parked',
    list: (response, bookings) => send(response, { items: [], data: rows(bookings) }),
  },
  {
    how: 'in a list that breaks off',
    state: 'parked',
    list: (response, bookings) =>
      send(response, JSON.stringify([{ reference: 'other', direction: 'deposit' }, ...rows(bookings)]).slice(0, -20)),
  },
];

describe('a bet that is on the books while its answer was lost', () => {
  let hub: TestHub;
  let operator: FakeOperator;
  beforeAll(async () => {
    operator = await FakeOperator.start();
    operator.recognisesReferences = false;
    hub = await TestHub.start({ env: { ...QUICK, OPERATOR_BASE_URL: operator.url } });
    await configureOperator({ idempotent_by_reference: false, status_query: true }, hub);
  });
  afterAll(async () => {
    await hub.stop();
    await operator.stop();
  });

  it('is never withdrawn twice and never called absent, however the operator lists it', async () => {
    const ways = new Map(SPELLINGS.map(({ list }, index) => [`way-${index}`, list]));
    operator.listAs = (response, bookings, reference) =>
      ways.get(reference.slice(reference.indexOf('@') + 1))?.(response, bookings, reference);
    const bets = await Promise.all(
      [...ways.keys()].map(async (playerId) => {
        operator.losing.set(playerId, { what: 'withdraw', booked: true, times: 1 });
        return (await hub.debit({ playerId, refId: `bet@${playerId}` })).body.transactionId as string;
      }),
    );
    for (const [index, { how, state }] of SPELLINGS.entries()) {
      const transaction = await hub.reaches(bets[index] ?? '', state);
      expect({
        how,
        state: transaction.state,
        withdrawn: operator.books.filter(({ playerId }) => playerId === `way-${index}`).length,
        calls: operator.callsOf(`way-${index}`).filter((call) => call.startsWith('withdraw')).length,
      }).toEqual({ how, state, withdrawn: 1, calls: 1 });
    }
    expect(await metric(hub, 'hub_operator_mismatches_total{source="list",field="amount"}')).toBeGreaterThan(0);
  });

  it('is sent once more after two whole lists without it, and is then booked once', async () => {
    operator.listAs = (response, bookings) =>
      send(response, { items: rows(bookings), nextCursor: null, total: bookings.length });
    operator.losing.set('gone', { what: 'withdraw', booked: false, times: 1 });
    const { body } = await hub.debit({ playerId: 'gone', refId: 'bet@gone' });
    await hub.reaches(body.transactionId, 'confirmed');
    expect(operator.callsOf('gone')).toEqual([
      'withdraw bet@gone',
      'ask bet@gone',
      'ask bet@gone',
      'withdraw bet@gone',
    ]);
    expect(operator.books.filter(({ playerId }) => playerId === 'gone')).toHaveLength(1);
  });
});

describe('a list without end', () => {
  const endless = (response: http.ServerResponse, head: string, rest: string, compressed: boolean) => {
    response.writeHead(200, {
      'content-type': 'application/json',
      ...(compressed ? { 'content-encoding': 'gzip' } : {}),
    });
    const out = compressed ? createGzip() : response;
    if (out !== response) out.pipe(response).once('close', () => out.destroy());
    const chunk = rest.repeat(Math.ceil(65_536 / rest.length));
    out.write(head);
    const pump = () => {
      if (out.destroyed) return;
      while (out.write(chunk)) if (out.destroyed) return;
      out.once('drain', () => setImmediate(pump));
    };
    pump();
  };

  it('does not end a hub with a small heap, whose other players are served meanwhile', async () => {
    const operator = await FakeOperator.start();
    const database = await testDatabase();
    const hub = await TestHub.start({ database, env: { ...QUICK, OPERATOR_BASE_URL: operator.url, ROLE: 'api' } });
    await configureOperator({ idempotent_by_reference: false, status_query: true }, hub);
    const attacks: readonly [string, string][] = [
      ['["', 'x'],
      ['[{"reference":"', 'x'],
      ['[{}', ',{"reference":"o"}'],
      ['[', '['],
      ['{"a":"', 'x'],
      ['{"items":["', 'x'],
    ];
    operator.listAs = (response, _bookings, reference) => {
      const n = Number(reference.slice(reference.lastIndexOf('-') + 1));
      const [head, rest] = attacks[n % attacks.length] ?? ['[', ' '];
      endless(response, head, rest, n % 2 === 0);
    };
    const worker = await HubProcess.start(
      {
        ...QUICK,
        NODE_ENV: 'test',
        OPERATOR_BASE_URL: operator.url,
        RGS_WEBHOOK_URL: `${hub.rgs.url}/webhooks`,
        DATABASE_URL: database.url,
        ROLE: 'worker',
      },
      undefined,
      ['--max-old-space-size=96'],
    );
    try {
      const bets = await Promise.all(
        Array.from({ length: 12 }, async (_, n) => {
          operator.losing.set(`evil-${n}`, { what: 'withdraw', booked: true, times: 1 });
          return (await hub.debit({ playerId: `evil-${n}`, refId: `bet@evil-${n}` })).body.transactionId as string;
        }),
      );
      await waitFor('the list was asked for', () =>
        Promise.resolve(operator.calls.filter(({ what }) => what === 'ask').length > 6),
      );
      const { body } = await hub.debit({ playerId: 'quiet', refId: 'bet@quiet' });
      await hub.reaches(body.transactionId, 'confirmed');
      for (const id of bets) await hub.reaches(id, 'parked');
      expect(worker.child.exitCode).toBeNull();
      expect(worker.child.signalCode).toBeNull();
    } finally {
      await worker.end('SIGKILL');
      await hub.stop();
      await operator.stop();
      await database.drop();
    }
  }, 60_000);
});
