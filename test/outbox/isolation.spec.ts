import { once } from 'node:events';
import net from 'node:net';
import { addPartner, as, followPartners } from '../support/partners/partner-rows';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** Debits of the silent operator; each takes a call's whole time-out. */
const STUCK = 200;
const TIMEOUT_MS = 10_000;
/** What a debit may take from being sent to being confirmed; without a neighbour it is some tens of milliseconds. */
const CONFIRMED_WITHIN_MS = 3_000;

/** Takes calls and says nothing. */
async function blackHole(): Promise<{ url: string; connections: () => number; close: () => void }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    connections: () => sockets.size,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

it('a silent operator with hundreds of calls on the wire leaves the others untouched', async () => {
  const hole = await blackHole();
  const hub = await TestHub.start({
    env: { OPERATOR_TIMEOUT_MS: String(TIMEOUT_MS), OUTBOX_LEASE_SECONDS: '30', MAX_RETRIES: '0' },
  });
  try {
    const silentId = await addPartner(hub, {
      code: 'silent',
      role: 'operator',
      baseUrl: hole.url,
      token: 'silent-token',
      signingKey: 'silent-secret',
      columns: { timeout_ms: TIMEOUT_MS },
    });
    const rgs = { token: 'rgs-of-silent-token', signingKey: 'rgs-of-silent-secret' };
    await addPartner(hub, {
      code: 'rgs-of-silent',
      role: 'rgs',
      baseUrl: `${hub.rgs.url}/webhooks`,
      operatorId: silentId,
      ...rgs,
    });
    await followPartners(hub);
    await Promise.all(Array.from({ length: STUCK }, (_, index) => hub.debit({ playerId: `stuck-${index}` }, as(rgs))));
    // As many calls hang as an unknown destination gets at once; the rest wait for their turn.
    await waitFor('calls hang at the silent operator', () => Promise.resolve(hole.connections() >= 32));

    for (let round = 0; round < 5; round += 1) {
      const started = performance.now();
      const ids = await Promise.all(
        Array.from(
          { length: 10 },
          async (_, index) => (await hub.debit({ playerId: `well-${index}` })).body.transactionId as string,
        ),
      );
      for (const id of ids) await hub.reaches(id, 'confirmed');
      expect(performance.now() - started).toBeLessThan(CONFIRMED_WITHIN_MS);
    }
    const [stuck] = await hub.database.query<{ n: string }>(
      `select count(*) as n from wallet_transaction where operator_id = $1 and state = 'initiated'`,
      [silentId],
    );
    expect(Number(stuck?.n)).toBe(STUCK);
  } finally {
    hole.close();
    await hub.stop();
  }
}, 60_000);
