import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type MockOperator, startMockOperator } from '../../mocks/operator/start';
import { type MockRgs, startMockRgs } from '../../mocks/rgs/start';
import { statedBurst } from '../../src/outbox/outbox.worker';
import { FAR, FarLink } from '../../tools/chaos/far-link';
import { HubProcess } from '../support/hub/hub-process';
import { selfSigned } from '../support/partners/odd-server';
import { signedRequest } from '../support/hub/signed-request';
import { type TestDatabase, testDatabase } from '../support/hub/test-database';
import { control } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const RATE_PER_MINUTE = 3_000;
const HUBS = 3;
const BETS = 120;

/** By how much the worst window exceeds what was promised; at most 0. */
function excess(calls: readonly { at: number }[], ratePerSecond: number): number {
  const times = calls.map(({ at }) => at).sort((a, b) => a - b);
  return Math.max(
    ...times.flatMap((start, first) =>
      times
        .slice(first)
        .map((end, more) => more + 1 - (ratePerSecond * (end - start)) / 1000 - statedBurst(ratePerSecond)),
    ),
  );
}

describe('a network on which every connection takes 300 ms, behind boxes that announce, pack and cut into pieces', () => {
  let database: TestDatabase;
  let operator: MockOperator;
  let rgs: MockRgs;
  let links: { operator: FarLink; rgs: FarLink; hub: FarLink };
  let hubs: HubProcess[] = [];
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-far-'));

  beforeAll(async () => {
    const identity = await selfSigned('localhost');
    fs.writeFileSync(path.join(directory, 'ca.pem'), identity.cert);
    [database, operator, rgs] = await Promise.all([testDatabase(), startMockOperator(), startMockRgs()]);
    links = {
      operator: await FarLink.start(() => operator.url, FAR, identity),
      rgs: await FarLink.start(() => rgs.url, FAR, identity),
      hub: await FarLink.start(() => hubs[0]?.url ?? '', { ...FAR, packed: false, interim: false }),
    };
    const env = {
      DATABASE_URL: database.url,
      OPERATOR_BASE_URL: links.operator.url,
      RGS_WEBHOOK_URL: `${links.rgs.url}/webhooks`,
      RATE_LIMIT_PER_MINUTE: String(RATE_PER_MINUTE),
      NODE_EXTRA_CA_CERTS: path.join(directory, 'ca.pem'),
    };
    hubs = await Promise.all(Array.from({ length: HUBS }, () => HubProcess.start(env)));
    operator.settings.hubUrl = hubs[1]?.url ?? '';
  }, 60_000);
  afterAll(async () => {
    await Promise.all(hubs.map((hub) => hub.end('SIGTERM')));
    await Promise.all(Object.values(links).map((link) => link.stop()));
    await Promise.all([operator.close(), rgs.close()]);
    await database.drop();
    fs.rmSync(directory, { recursive: true });
  });

  it(`${BETS} bets at once through ${HUBS} processes all arrive, and the rate holds in every window of either partner`, async () => {
    const answers = await Promise.all(
      Array.from({ length: BETS }, (_, n) =>
        signedRequest('POST', `${hubs[n % HUBS]?.url}/wallet/debit`, {
          playerId: `player-${n}`,
          amountCents: 100,
          currency: 'USD',
          refId: `bet-${n}`,
        }),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    await waitFor(
      'every webhook arrived',
      async () => (await control(rgs.url, 'GET', '/admin/summary')).stored === BETS,
      30_000,
    );
    expect(await control(operator.url, 'GET', '/v2/transactions')).toHaveLength(BETS);
    for (const link of [links.operator, links.rgs])
      expect(
        excess(
          link.calls.filter(({ path: where }) => !where.startsWith('/v2/transactions')),
          RATE_PER_MINUTE / 60,
        ),
      ).toBeLessThanOrEqual(0);
    // Kept warm: far fewer connections than calls.
    expect(links.operator.connections).toBeLessThan(BETS);
    const [row] = await database.query<{ doubtful: number }>(
      `select count(*)::integer as doubtful from outbox_attempt where class in ('unknown', 'failed')`,
    );
    expect(row).toEqual({ doubtful: 0 });
  }, 60_000);

  it('the demo adds up: 100 of 100', async () => {
    const demo = spawn(process.execPath, [path.resolve(__dirname, '../../scripts/demo.mjs')], {
      env: { PATH: process.env.PATH ?? '', HUB_URL: links.hub.url, OPERATOR_URL: operator.url, RGS_URL: rgs.url },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [demo.stdout, demo.stderr])
      stream.on('data', (chunk: Buffer) => void (output += chunk.toString()));
    const code = await new Promise((resolve) => demo.once('close', resolve));
    expect({ code, output }).toEqual({
      code: 0,
      output: expect.stringMatching(
        /confirmed +100 of 100[\s\S]*delivered once to operator +100 of 100[\s\S]*notified once to the RGS +100 of 100[\s\S]*X-Mismatch-Count +0/,
      ),
    });
    if (process.env.FAR_NETWORK_SHOW !== undefined) process.stderr.write(output);
  }, 90_000);
});
