import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Distance, FarLink } from '../chaos/far-link';
import { selfSigned } from '../../test/support/partners/odd-server';
import type { Bench } from './bench';
import { measured } from './latency';
import { percentile } from './load';
import { withReceiver } from './receiver';
import { median } from './report';
import { freshDatabase, withHub } from './stage';

const CONNECT_MS = 300;
const RATE_PER_SECOND = 200;
const near: Distance = { connectMs: 0, delayMs: 0, pieces: 1, interim: false, packed: false, cutShare: 0 };

/**
 * From sending a debit to its arrival at the operator, when a connection to either partner takes 300 ms to set up
 * (TLS). The yardstick is another hub with the same partners behind the same link without that time, in turns: kept
 * connections must make the two alike.
 */
export const far: Bench = {
  name: 'far',
  figures: ['far_accept_to_operator_p50_ms'],
  run: async ({ serverUrl, quick, rounds, report, note }) => {
    const seconds = quick ? 3 : 10;
    const arrivedAt = new Map<string, number>();
    const arrival = (_path: string, body: string): string => {
      const at = performance.now();
      const reference = /"reference":"([^"]+)"/.exec(body)?.[1];
      if (reference !== undefined && !arrivedAt.has(reference)) arrivedAt.set(reference, at);
      return '{"status":"OK","balance":1.00}';
    };
    const folder = mkdtempSync(path.join(os.tmpdir(), 'hub-bench-far-'));
    try {
      const identity = await selfSigned('localhost');
      writeFileSync(path.join(folder, 'ca.pem'), identity.cert);
      await withReceiver(arrival, async (target) => {
        const links = [
          await FarLink.start(() => target, near, identity),
          await FarLink.start(() => target, { ...near, connectMs: CONNECT_MS }, identity),
        ] as const;
        const env = (database: string, { url }: FarLink) => ({
          DATABASE_URL: database,
          OPERATOR_BASE_URL: url,
          RGS_WEBHOOK_URL: `${url}/webhooks`,
          NODE_EXTRA_CA_CERTS: path.join(folder, 'ca.pem'),
        });
        const databases = [
          await freshDatabase(serverUrl, 'bench_far_near'),
          await freshDatabase(serverUrl, 'bench_far_far'),
        ] as const;
        try {
          await withHub(env(databases[0], links[0]), async (nearHub) =>
            withHub(env(databases[1], links[1]), async (farHub) => {
              const hubs = { near: nearHub.port, far: farHub.port };
              const p50s = { near: [] as number[], far: [] as number[] };
              for (const name of ['near', 'far'] as const)
                await measured(hubs[name], arrivedAt, 2 * RATE_PER_SECOND, `warm-${name}`);
              for (let round = 0; round < rounds; round += 1)
                for (const name of ['near', 'far'] as const)
                  p50s[name].push(
                    percentile(
                      await measured(hubs[name], arrivedAt, RATE_PER_SECOND * seconds, `${name}-${round}`),
                      0.5,
                    ),
                  );
              report({
                name: 'far_accept_to_operator_p50_ms',
                value: median(p50s.far),
                unit: 'ms',
                yardstick: `the same without ${CONNECT_MS} ms of connection set-up`,
                yardstickValue: median(p50s.near),
                rounds,
              });
              note(`  ${links[1].connections} connections for ${links[1].calls.length} calls`);
            }),
          );
        } finally {
          for (const link of links) await link.stop();
        }
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};
