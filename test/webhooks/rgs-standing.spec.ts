import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('GET /v1/me', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start({ env: { RGS_TOKEN: 'the-rgs', OPERATOR_TOKEN: 'the-operator' } });
  });
  afterAll(() => hub.stop());

  const asRgs = { token: 'the-rgs' };
  const me = async () => (await hub.call('GET', '/v1/me', undefined, asRgs)).body;
  const well = {
    code: 'rgs',
    role: 'rgs',
    paused: false,
    pausedSince: null,
    pauseReason: null,
    waiting: 0,
    contact: null,
  };

  it('tells an RGS that its endpoint is paused, why, and how much waits, until ops resume it', async () => {
    expect(await me()).toEqual(well);
    await hub.rgsFault({ kind: 'status', status: 410, next: 1 });
    await hub.debit({ playerId: 'ann' }, asRgs);
    const paused = await waitFor('it is paused', async () => ((await me()).paused ? me() : undefined));
    expect(paused).toEqual({
      ...well,
      paused: true,
      pausedSince: expect.stringMatching(/^\d{4}-.*Z$/),
      pauseReason: expect.stringContaining('410'),
      waiting: 1,
    });
    // Two behind the first, and one of another player.
    for (const playerId of ['ann', 'ann', 'bob']) await hub.debit({ playerId }, asRgs);
    await waitFor('all wait', async () => (await me()).waiting === 4);
    expect((await hub.call('POST', '/admin/destinations/rgs/resume')).status).toBe(200);
    await waitFor('all is delivered', async () => (await me()).waiting === 0);
    expect(await me()).toEqual(well);
    expect(await hub.rgsReceived()).toHaveLength(4);
  });

  it('is signed, and for an RGS only', async () => {
    const answers = await Promise.all([
      hub.call('GET', '/v1/me', undefined, { ...asRgs, signature: null }),
      hub.call('GET', '/v1/me', undefined, { token: 'the-operator' }),
      hub.call('GET', '/v1/me', undefined, { token: null }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([401, 403, 401]);
  });
});
