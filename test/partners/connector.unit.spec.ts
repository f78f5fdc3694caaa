import type net from 'node:net';
import { connectToFirst } from '../../src/partners/connector';
import { OddServer, SilentPort, httpAnswer } from '../support/partners/odd-server';

it('several addresses, the first of which drops SYNs: the next is tried beside it, and the late one stays in the race', async () => {
  const server = await OddServer.start((socket) => void socket.write(httpAnswer('{}')));
  const deaf = await SilentPort.open('127.0.0.2', server.port);
  try {
    const lookup = ((
      _name: string,
      _options: unknown,
      found: (error: null, addresses: { address: string; family: number }[]) => void,
    ) =>
      found(null, [
        { address: '127.0.0.2', family: 4 },
        { address: '127.0.0.1', family: 4 },
      ])) as never;
    const socket = await new Promise<net.Socket | null>(
      (resolve) =>
        void connectToFirst({ host: 'casino.example', port: server.port, lookup }, (_error, winner) => resolve(winner)),
    );
    expect(socket?.remoteAddress).toBe('127.0.0.1');
    socket?.destroy();
  } finally {
    await deaf.close();
    await server.stop();
  }
});
