import { callsOf, holdOperator, releaseOperator } from '../support/money';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** As three processes leave a message that each of them claimed, and that ended each of them. */
const ENDED = (lost: number) =>
  `leased = true, token = token + ${lost}, claims = ${lost}, attempts = ${lost - 1}, lost_leases = ${lost - 1}, owner = 'dead', visible_at = now()`;

describe('a message whose handling ended one process after another', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { MAX_RETRIES: '0', DEBIT_DEADLINE_SECONDS: '0' } });
  });
  afterAll(() => hub.stop());
  beforeEach(() => hub.clear());

  const record = async (transactionId: string, queue: 'operator' | 'rgs') =>
    (
      await hub.database.query<{ id: string; error: string; open: boolean }>(
        `select d.message_id as id, d.error, d.open from outbox_dead d join outbox_message m on m.id = d.message_id join outbox_destination o on o.id = m.destination_id where m.transaction_id = $1 and o.queue = $2`,
        [transactionId, queue],
      )
    )[0];

  it('is set aside unsent after the third, parks its money, and is sent once a person says so', async () => {
    await holdOperator(hub.database);
    const { body } = await hub.debit({ playerId: 'poison' });
    await hub.database.query(`update outbox_head set ${ENDED(3)} where lane_key = 'poison'`);
    await releaseOperator(hub.database);
    await hub.reaches(body.transactionId, 'parked');
    expect(await callsOf(hub, 'poison')).toEqual([]);
    const aside = await record(body.transactionId, 'operator');
    expect(aside).toMatchObject({ open: true, error: expect.stringContaining('set aside') });
    expect((await hub.call('POST', `/admin/replay/operator/${aside?.id}`)).status).toBe(200);
    await hub.reaches(body.transactionId, 'confirmed');
    expect((await callsOf(hub, 'poison')).length).toBe(1);
  });

  it('is handled after the second, alone, and neighbours that were lost with it are delivered too', async () => {
    await holdOperator(hub.database);
    const players = ['near-1', 'near-2', 'near-3'];
    const bets = await Promise.all(
      players.map(async (playerId) => (await hub.debit({ playerId })).body.transactionId as string),
    );
    await hub.database.query(`update outbox_head set ${ENDED(2)} where lane_key like 'near-%'`);
    await releaseOperator(hub.database);
    for (const id of bets) await hub.reaches(id, 'confirmed');
    for (const player of players) expect(await callsOf(hub, player)).toHaveLength(1);
  });

  it('is dead when it is a webhook, and the next webhook of the player goes out', async () => {
    await hub.database.query(
      `update outbox_destination set paused_at = now(), pause_reason = 'test' where queue = 'rgs'`,
    );
    const { body } = await hub.debit({ playerId: 'told' });
    await hub.reaches(body.transactionId, 'confirmed');
    await hub.database.query(
      `update outbox_head h set ${ENDED(3)} from outbox_destination d where d.id = h.destination_id and d.queue = 'rgs'`,
    );
    await hub.database.query(`update outbox_destination set paused_at = null, pause_reason = null where queue = 'rgs'`);
    await waitFor('it is set aside', async () => (await record(body.transactionId, 'rgs')) !== undefined);
    const second = await hub.debit({ playerId: 'told', refId: 'second' });
    await waitFor('the next webhook came', async () =>
      (await hub.rgsReceived()).some(({ correlationId }) => correlationId === second.body.transactionId),
    );
    expect((await hub.rgsReceived()).some(({ correlationId }) => correlationId === body.transactionId)).toBe(false);
    expect(await record(body.transactionId, 'rgs')).toMatchObject({
      open: true,
      error: expect.stringContaining('set aside'),
    });
  });
});
