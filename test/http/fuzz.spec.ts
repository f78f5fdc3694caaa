import { fuzz } from '../../tools/fuzz/run';
import { TestHub } from '../support/hub/test-hub';

/**
 * The short form of `npm run fuzz`. Fixed, so that whoever breaks something sees it again; the long form draws its own.
 */
const SEED = 20261122;
const REQUESTS = 2_500;
const SECONDS_MAX = 20;

let hub: TestHub;
beforeAll(async () => {
  hub = await TestHub.start({ env: { OUTBOX_RETRY_SCHEDULE_SECONDS: '0.1,0.1,0.2' } });
});
afterAll(() => hub.stop());

it("whatever some thousand requests say, every answer is whole, in time, no 5xx, and silent about the hub's insides", async () => {
  const notes: string[] = [];
  const report = await fuzz(
    { url: hub.url, token: 'change_token', secret: 'change_secret', operatorUrl: hub.operator.url, alive: () => true },
    {
      seed: SEED,
      requests: REQUESTS,
      past: 10,
      good: 1,
      secondsMax: SECONDS_MAX,
      note: (text) => void notes.push(text),
    },
  );
  expect({ seed: report.seed, findings: report.findings }).toEqual({ seed: SEED, findings: [] });
  expect(report.requests).toBeGreaterThan(100);
  expect(report.raw).toBeGreaterThan(0);
  // Every kind of answer came, so nothing was turned away at the door.
  for (const status of ['200', '400', '401', '404', '422']) expect(report.statuses).toHaveProperty(status);
}, 120_000);
