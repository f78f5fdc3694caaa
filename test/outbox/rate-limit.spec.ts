import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { statedBurst } from '../../src/outbox/outbox.worker';
import { HubProcess } from '../support/hub/hub-process';
import { holdOperator, releaseOperator } from '../support/money';
import { signedRequest } from '../support/hub/signed-request';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { TestHub, control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** Longer runs: RATE_LIMIT_TEST_MESSAGES=2000 npm test -- outbox-rate-limit. */
const MESSAGES = Number(process.env.RATE_LIMIT_TEST_MESSAGES ?? '200');
const RATE_PER_MINUTE = 1_200;
const RATE_PER_SECOND = RATE_PER_MINUTE / 60;
const HUBS = 3;
/** So many calls are answered 500 and repeated within their attempt. */
const FAILURES = 20;

interface Call {
  readonly at: number;
}

/**
 * The window that holds more calls than were promised by the largest number; `excess` is at most 0 when the promise is
 * kept.
 */
function worstWindow(
  calls: readonly Call[],
  ratePerSecond: number,
): { excess: number; calls: number; seconds: number } {
  const times = calls.map(({ at }) => at).sort((a, b) => a - b);
  let worst = { excess: -Infinity, calls: 0, seconds: 0 };
  times.forEach((start, first) => {
    for (let last = first; last < times.length; last++) {
      const seconds = ((times[last] ?? NaN) - start) / 1000;
      const inWindow = last - first + 1;
      const excess = inWindow - (ratePerSecond * seconds + statedBurst(ratePerSecond));
      if (excess > worst.excess) worst = { excess, calls: inWindow, seconds };
    }
  });
  return worst;
}

describe(`RATE_LIMIT_PER_MINUTE=${RATE_PER_MINUTE}, shared by ${HUBS} hub processes`, () => {
  let database: TestDatabase;
  let operator: MockOperator;
  let rgs: MockRgs;
  let hubs: HubProcess[] = [];

  beforeAll(async () => {
    [database, operator, rgs] = await Promise.all([
      testDatabase(),
      startMockOperator({ callbacks: false }),
      startMockRgs(),
    ]);
    const env = {
      DATABASE_URL: database.url,
      OPERATOR_BASE_URL: operator.url,
      RGS_WEBHOOK_URL: `${rgs.url}/webhooks`,
      RATE_LIMIT_PER_MINUTE: String(RATE_PER_MINUTE),
      RETRY_BACKOFF_SECONDS: '0.05',
      OUTBOX_RETRY_SCHEDULE_SECONDS: '0.5,0.5,0.5,0.5,0.5,0.5',
    };
    hubs = await Promise.all(Array.from({ length: HUBS }, () => HubProcess.start(env)));
  }, 60_000);
  afterAll(async () => {
    await Promise.all(hubs.map((hub) => hub.end('SIGTERM')));
    await Promise.all([operator.close(), rgs.close()]);
    await database.drop();
  });

  it(
    `holds in every window while ${MESSAGES} messages go out, retries within an attempt included`,
    async () => {
      await control(operator.url, 'POST', '/admin/faults', {
        kind: 'status',
        status: 500,
        share: 0.3,
        seed: 7,
        next: FAILURES,
      });
      // The mocks live in this process and note when a call comes: while it is busy with posting, calls would seem to
      // come together.
      await holdOperator(database);
      const answers = await Promise.all(
        Array.from({ length: MESSAGES }, (_, index) =>
          signedRequest('POST', `${hubs[index % HUBS]?.url}/wallet/debit`, {
            playerId: `player-${index}`,
            amountCents: 100 + index,
            currency: 'USD',
            refId: `bet-${index}`,
          }),
        ),
      );
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      const started = performance.now();
      await releaseOperator(database);

      await waitFor(
        'every RGS webhook arrived and everything is settled',
        async () => {
          const { stored } = await control(rgs.url, 'GET', '/admin/summary');
          const [row] = await database.query<{ open: number }>('select count(*)::integer as open from outbox_head');
          return stored === MESSAGES && row?.open === 0;
        },
        60_000 + (MESSAGES / RATE_PER_SECOND) * 2_000,
      );
      const seconds = (performance.now() - started) / 1000;

      const operatorCalls: { at: number; reference: string; idempotencyKey: string; status: number }[] = await control(
        operator.url,
        'GET',
        '/admin/calls',
      );
      const rgsCalls: { at: number; headers: Record<string, string>; status: number }[] = await control(
        rgs.url,
        'GET',
        '/admin/calls',
      );
      expect(operatorCalls).toHaveLength(MESSAGES + FAILURES);
      for (const calls of [operatorCalls, rgsCalls]) {
        const worst = worstWindow(calls, RATE_PER_SECOND);
        expect({ ...worst, kept: worst.excess <= 0 }).toEqual({ ...worst, kept: true });
      }
      // The limit is used, not hidden behind: sending one after the other at half the rate would keep it too.
      expect(seconds).toBeLessThan(((MESSAGES + FAILURES) / RATE_PER_SECOND) * 3);

      const booked: { reference: string }[] = await control(operator.url, 'GET', '/v2/transactions');
      expect(booked.map(({ reference }) => reference).sort()).toEqual(
        Array.from({ length: MESSAGES }, (_, index) => `bet-${index}`).sort(),
      );
      const answered = new Set([
        ...operatorCalls.filter(({ status }) => status === 200).map(({ idempotencyKey }) => idempotencyKey),
        ...rgsCalls.filter(({ status }) => status === 200).map(({ headers }) => headers['idempotency-key']),
      ]);
      const sent = await database.query<{ message_id: string }>(
        `select distinct message_id from outbox_attempt where outcome = 'sent'`,
      );
      expect(sent).toHaveLength(2 * MESSAGES);
      expect(sent.filter(({ message_id }) => !answered.has(message_id))).toEqual([]);
    },
    120_000 + (MESSAGES / RATE_PER_SECOND) * 2_000,
  );
});

describe('a retry within an attempt', () => {
  const ratePerSecond = 2;

  it('takes a permit like any call, and leaves the movement unknown when there is none', async () => {
    const hub = await TestHub.start({
      env: {
        RATE_LIMIT_PER_MINUTE: String(ratePerSecond * 60),
        MAX_RETRIES: '3',
        OUTBOX_RETRY_SCHEDULE_SECONDS: Array(20).fill('0').join(),
      },
    });
    try {
      await hub.operatorFault({ kind: 'status_after_commit', status: 500, next: 5 });
      const { transactionId } = (await hub.debit()).body;
      await hub.reaches(transactionId, 'unknown');
      await hub.reaches(transactionId, 'confirmed');

      const calls = await hub.operatorCalls();
      expect(calls.map(({ status }) => status)).toEqual([500, 500, 500, 500, 500, 200]);
      // Without permits the first four would leave within a tenth of a second.
      const worst = worstWindow(calls, ratePerSecond);
      expect({ ...worst, kept: worst.excess <= 0 }).toEqual({ ...worst, kept: true });
      expect(calls[3].at - calls[0].at).toBeGreaterThan(700);
    } finally {
      await hub.stop();
    }
  });
});
