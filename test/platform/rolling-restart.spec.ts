import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Cluster } from '../../tools/cluster/cluster';
import { makeNextBuild } from '../../tools/cluster/next-build';
import { rollingRestart } from '../../tools/cluster/rolling-restart';
import { signedRequest } from '../support/hub/signed-request';
import { waitFor } from '../support/wait-for';

/** The short form of `npm run cluster -- --restart-under-load --upgrade`. */
describe('two api and two worker processes that the next build replaces, one of each kind at a time, under load', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'hub-rolling-'));
  const next = makeNextBuild();
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start({ directory, api: 2, workers: 2, replica: true });
  }, 120_000);
  afterAll(async () => {
    await cluster.stop();
    next.remove();
    rmSync(directory, { recursive: true, force: true });
  }, 60_000);

  it('fail no request, lose no debit and book none twice', async () => {
    const result = await rollingRestart(cluster, { callers: 4, inPairs: true, next, log: () => undefined });
    expect(result).toMatchObject({
      failed: 0,
      reasons: [],
      lost: 0,
      doubled: 0,
      badExits: 0,
      restarts: 4,
      balancerFailures: [],
      upgradedBy: next.migration,
    });
    // Otherwise the rest proves nothing.
    expect(result.requests).toBeGreaterThan(100);
  }, 180_000);

  it('read reports from the streaming replica', async () => {
    const debit = { playerId: 'late', amountCents: 100, currency: 'USD', refId: 'late-1', roundId: 'round-late' };
    expect((await signedRequest('POST', `${cluster.balancer.url}/wallet/debit`, debit)).status).toBe(200);
    await cluster.query(`update wallet_round set opened_at = now() - interval '2 hours' where round_id = 'round-late'`);
    await waitFor('the replica tells of the overdue round', async () => {
      const { body } = await signedRequest('GET', `${cluster.balancer.url}/admin/rounds/overdue`, undefined);
      return (body as { roundId: string }[]).some(({ roundId }) => roundId === 'round-late');
    });
    // Stopped, it is missed by reports only: so it is where they come from.
    await cluster.replica?.stop();
    expect((await signedRequest('GET', `${cluster.balancer.url}/admin/rounds/overdue`, undefined)).status).toBe(503);
    expect(
      (await signedRequest('POST', `${cluster.balancer.url}/wallet/debit`, { ...debit, refId: 'late-2' })).status,
    ).toBe(200);
  }, 60_000);
});
