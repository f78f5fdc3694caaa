import { Metrics } from '../../src/observability/metrics';
import { TestHub, movement } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const POSTS = 100;

/** The operator takes one call a second. */
describe('a game server whose messages wait for permits', () => {
  let hub: TestHub;
  beforeAll(async () => void (hub = await TestHub.start({ env: { RATE_LIMIT_PER_MINUTE: '60' } })));
  afterAll(() => hub.stop());

  const claims = async (): Promise<number> => {
    const { values } = await hub.app.get(Metrics).claimSeconds.get();
    return (
      values.find(({ metricName, labels }) => metricName?.endsWith('_count') && labels.queue === 'operator')?.value ?? 0
    );
  };
  const credits = async (count: number, prefix: string): Promise<void> => {
    for (let n = 0; n < count; n += 1)
      expect((await hub.call('POST', '/wallet/credit', movement({ playerId: `${prefix}-${n}` }))).status).toBe(200);
  };

  it('causes no claim with what it sends meanwhile, and each message goes in its turn', async () => {
    await credits(5, 'first');
    await waitFor('permits are short', async () => (await hub.operatorCalls()).length > 0);
    const before = await claims();
    await credits(POSTS, 'more');
    // A claim for each permit and for each call that ends; before, one more for each movement that was accepted.
    expect((await claims()) - before).toBeLessThan(POSTS / 2);
    const sent = (await hub.operatorCalls()).length;
    await waitFor('the next message has left', async () => (await hub.operatorCalls()).length > sent);
  });
});
