import { randomUUID } from 'node:crypto';
import { CallbackAllowance } from '../../src/webhooks/callback-allowance';
import { OperatorCallbacksService } from '../../src/webhooks/operator-callbacks.service';
import { expectProblem } from '../support/hub/problem';
import { TestHub } from '../support/hub/test-hub';

let hub: TestHub;
beforeAll(async () => {
  hub = await TestHub.start({ env: { UNMATCHED_CALLBACKS_MAX: '30', OUTBOX_MESSAGE_RETENTION_DAYS: '14' } });
  hub.operator.settings.callbacks = false;
});
afterAll(() => hub.stop());
beforeEach(() => hub.database.query('truncate inbound_callback'));

const stored = async () =>
  Number((await hub.database.query<{ n: string }>('select count(*) as n from inbound_callback'))[0]?.n);
const stranger = (n: number) => ({
  playerId: 'p',
  amount: 5,
  currency: 'USD',
  status: 'OK',
  event: 'withdraw',
  refId: `nobody-${n}`,
  correlationId: randomUUID(),
});

it('any number of different callbacks about one movement are answered, and some are kept', async () => {
  const { body } = await hub.debit({ playerId: 'chatty' });
  await hub.reaches(body.transactionId, 'confirmed');
  const callback = {
    playerId: 'chatty',
    amount: 5,
    currency: 'USD',
    status: 'OK',
    event: 'withdraw',
    refId: body.refId,
    correlationId: body.correlationId,
  };
  for (let n = 0; n < 60; n += 1) expect((await hub.callback({ ...callback, reason: `again ${n}` })).status).toBe(200);
  expect(await stored()).toBe(20);
  expect((await hub.transaction(body.transactionId)).state).toBe('confirmed');
});

it('a body of spaces is kept as what it says, and matched by it', async () => {
  const said = JSON.stringify({ ...stranger(0), amount: 5.25, reason: 'late' });
  expectProblem(
    await hub.callback(`${said.slice(0, -1)}${' '.repeat(60_000)}}` as unknown as Record<string, unknown>),
    'unknown_reference',
  );
  const [row] = await hub.database.query<{ body: string }>('select body from inbound_callback');
  expect(JSON.parse(row!.body)).toEqual({ ...JSON.parse(said), amount: '5.25' });
});

it('a body that came two thousand million times is counted no further, and answered', async () => {
  const callback = stranger(1);
  expectProblem(await hub.callback(callback), 'unknown_reference');
  await hub.database.query('update inbound_callback set seen = 2147483647');
  expectProblem(await hub.callback(callback), 'unknown_reference');
});

it('callbacks go with their time: unmatched ones after a week, all others with their messages', async () => {
  await hub.database
    .query(`insert into inbound_callback (operator_id, body_sha256, body, ref_id, correlation_id, verdict, last_at)
    select p.id, sha256(n::text::bytea), '{}', 'r', 'c', case when n % 2 = 0 then 'unmatched' else 'repeated' end, now() - interval '1 day' * (n / 2) from generate_series(0, 39) n, partner p where p.code = 'operator'`);
  await hub.app.get(OperatorCallbacksService).purge();
  expect(
    await hub.database.query(
      `select verdict, max(now()::date - last_at::date)::integer as oldest, count(*)::integer as n from inbound_callback group by verdict order by verdict`,
    ),
  ).toEqual([
    { verdict: 'repeated', oldest: 13, n: 14 },
    { verdict: 'unmatched', oldest: 6, n: 7 },
  ]);
});

it('a flood of one operator is kept at a rate, and none of it costs another operator anything', async () => {
  const allowance = new CallbackAllowance(1e9, () => Promise.resolve(0));
  const taken = async (operator: number, now: number, times: number) => {
    let count = 0;
    for (let n = 0; n < times; n += 1) if (await allowance.takesUnmatched(operator, now)) count += 1;
    return count;
  };
  expect(await taken(1, 0, 5_000)).toBe(1_000);
  expect(await taken(1, 1_000, 5_000)).toBe(50);
  expect(await taken(2, 1_000, 5)).toBe(5);
});

it('callbacks about nothing that was sent are all answered, and kept up to a bound', async () => {
  const answers = await Promise.all(Array.from({ length: 80 }, (_, n) => hub.callback(stranger(n))));
  for (const answer of answers) expectProblem(answer, 'unknown_reference');
  const kept = await stored();
  // Those of the tests before count for as long as the count is believed.
  expect(kept).toBeLessThanOrEqual(30);
  expect(kept).toBeGreaterThanOrEqual(25);
  expect((await hub.call('GET', '/metrics')).text).toContain(
    `hub_operator_callbacks_not_kept_total{operator="operator",reason="unmatched"} ${80 - kept}`,
  );
});
