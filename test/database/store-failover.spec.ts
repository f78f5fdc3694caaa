import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runFailover } from '../../tools/failover/run';

/** The short form of `npm run failover`: one set of servers for everything. */
describe('a store of three servers, of which one confirms what another writes', () => {
  it('loses nothing, doubles nothing and tells everything: led to a standby, frozen, without standbys, and asked again for what one machine alone knows', async () => {
    const directory = mkdtempSync(path.join(os.tmpdir(), 'hub-failover-'));
    const lines: string[] = [];
    const report = await runFailover({
      name: 'short',
      underLoad: ['readonly', 'frozen'],
      afterLoad: ['away', 'replay'],
      seed: 7,
      movements: 150,
      hubs: 1,
      atOnce: 12,
      settings: { fsync: 'off', shared_buffers: '16MB' },
      directory,
      log: (line) => void lines.push(line),
    });
    expect({ ...report, lines: report.verdict === 'ok' ? [] : lines }).toMatchObject({
      verdict: 'ok',
      faults: [],
      lost: 0,
      doubled: 0,
      notTold: 0,
      numbers: { repeatsAcknowledged: 0 },
    });
    expect(report.acknowledged).toBeGreaterThan(100);
    rmSync(directory, { recursive: true, force: true });
  }, 240_000);
});
