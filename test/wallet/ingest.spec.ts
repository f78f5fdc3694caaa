import { randomUUID } from 'node:crypto';
import { HubError } from '../../src/kernel/errors';
import { PartnerDirectory } from '../../src/partners/partner-directory';
import type { DebitRequest } from '../../src/wallet/wallet.dto';
import { type AcceptedMovement, WalletService } from '../../src/wallet/wallet.service';
import { withClient } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const QUEUE_MAX = 4_000;
const BATCH_MAX = 100;
const FLIGHTS_MAX = 2;

describe('debits that come at once', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { ROLE: 'api' } });
  });
  afterAll(() => hub.stop());

  /** Below HTTP, so that all of them come in the same turn of the event loop, and so in one batch where they fit. */
  const accept = (
    request: Partial<DebitRequest> & { readonly refId: string },
    key: string | null = null,
  ): Promise<AcceptedMovement> => {
    const partners = hub.app.get(PartnerDirectory);
    const [rgs, operator] = [partners.byCode('rgs'), partners.byCode('operator')];
    if (rgs === undefined || operator === undefined) throw new Error('the default pair is missing');
    const body = { playerId: 'player-1', amountCents: 500, currency: 'USD', ...request };
    return hub.app.get(WalletService).accept(
      {
        rgs,
        operator,
        movement: 'debit',
        idempotencyKey: key,
        route: 'POST /wallet/debit',
        rawBody: Buffer.from(JSON.stringify(body)),
        signature: null,
        waits: false,
      },
      body,
    );
  };
  const stored = async (refId: string): Promise<number> =>
    Number(
      (
        await hub.database.query<{ n: string }>('select count(*) as n from wallet_transaction where ref_id = $1', [
          refId,
        ])
      )[0]?.n,
    );

  /** Runs `work` while nobody can write a transaction. */
  const withoutWrites = (work: () => Promise<void>): Promise<void> =>
    withClient(hub.database.superuserUrl, async (client) => {
      await client.query('begin');
      await client.query('lock table wallet_transaction in share mode');
      await work();
      await client.query('commit');
    });

  it('are answered after the commit, and not before', async () => {
    const refId = randomUUID();
    let answered = false;
    let answer: Promise<{ status: number }> = Promise.resolve({ status: 0 });
    await withoutWrites(async () => {
      answer = hub.debit({ refId }).then((got) => {
        answered = true;
        return got;
      });
      await waitFor(
        'the statement waits for the table',
        async () =>
          (
            await hub.database.query(
              `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%wallet_accept%'`,
            )
          )[0],
      );
      expect(answered).toBe(false);
      expect(await stored(refId)).toBe(0);
    });
    expect((await answer).status).toBe(200);
    expect(await stored(refId)).toBe(1);
  });

  it('are refused with 503 and Retry-After beyond the queue, with nothing written; those in the queue are all written', async () => {
    const run = randomUUID();
    const inside = QUEUE_MAX + FLIGHTS_MAX * BATCH_MAX;
    let first: Promise<AcceptedMovement>[] = [];
    let queued: Promise<AcceptedMovement>[] = [];
    await withoutWrites(async () => {
      first = Array.from({ length: FLIGHTS_MAX * BATCH_MAX }, (_, index) =>
        accept({ refId: `${run}-${index}`, playerId: `player-${index}` }),
      );
      await waitFor(
        'two batches are on their way',
        async () =>
          (
            await hub.database.query(
              `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%wallet_accept%'`,
            )
          ).length === FLIGHTS_MAX || undefined,
      );
      queued = Array.from({ length: QUEUE_MAX }, (_, index) =>
        accept({ refId: `${run}-${first.length + index}`, playerId: `player-${index}` }),
      );
      await new Promise((resolve) => setImmediate(resolve));
      const refId = randomUUID();
      const refused = await hub.debit({ refId });
      expect(refused).toMatchObject({
        status: 503,
        body: { code: 'store_unavailable', outcome: 'not_applied', retryable: true },
      });
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      expect(await stored(refId)).toBe(0);
    });
    const ids = new Set((await Promise.all([...first, ...queued])).map(({ transactionId }) => transactionId));
    expect(ids.size).toBe(inside);
    const [row] = await hub.database.query<{ n: string }>(
      'select count(*) as n from wallet_transaction where ref_id like $1',
      [`${run}-%`],
    );
    expect(Number(row?.n)).toBe(inside);
    expect((await hub.debit({ refId: randomUUID() })).status).toBe(200);
  }, 60_000);

  it('fail alone when the store cannot take their data', async () => {
    const run = randomUUID();
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        accept({ refId: `${run}-${index}`, playerId: index === 7 ? 'nul\u0000' : `player-${index}` }),
      ),
    );
    expect(results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([7]);
    const [row] = await hub.database.query<{ n: string }>(
      'select count(*) as n from wallet_transaction where ref_id like $1',
      [`${run}-%`],
    );
    expect(Number(row?.n)).toBe(19);
  });

  it('are recognised as repeats of each other within one batch, by key and by refId', async () => {
    const [refId, key] = [randomUUID(), randomUUID()];
    const results = await Promise.allSettled([
      ...Array.from({ length: 5 }, () => accept({ refId }, key)),
      ...Array.from({ length: 5 }, () => accept({ refId })),
      accept({ refId, amountCents: 501 }, key),
      accept({ refId, amountCents: 502 }),
      accept({ refId: `${refId}-other` }, key),
    ]);
    const answers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(answers).toHaveLength(10);
    expect(new Set(answers.map(({ transactionId }) => transactionId)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(
      results
        .slice(10)
        .map((result) =>
          result.status === 'rejected' && result.reason instanceof HubError ? result.reason.code : 'accepted',
        ),
    ).toEqual(['idempotency_key_reused', 'reference_reused', 'idempotency_key_reused']);
    expect(await stored(refId)).toBe(1);
    expect(await stored(`${refId}-other`)).toBe(0);
  });
});
