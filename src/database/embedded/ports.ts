import * as net from 'node:net';
import { type EmbeddedPostgresOptions, type Log, OR_SET_URL } from './options';

export async function otherPort(port: number, options: EmbeddedPostgresOptions, log: Log): Promise<number> {
  if (options.port !== undefined) {
    throw new Error(
      `Port ${port}, wanted for the embedded Postgres, is in use. Free it or choose another one. ${OR_SET_URL}`,
    );
  }
  const other =
    options.firstPort === undefined ? await freePort() : await nextFreePort(Math.max(port + 1, options.firstPort));
  log(`embedded Postgres: port ${port} is in use by another program; taking ${other}`);
  return other;
}

async function nextFreePort(from: number): Promise<number> {
  for (let port = from; port <= 65_535; port += 1) if (await isFree(port)) return port;
  return freePort();
}

function listenOn(port: number): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

export async function freePort(): Promise<number> {
  const server = await listenOn(0);
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('The system gave no free port.');
  return address.port;
}

export async function isFree(port: number): Promise<boolean> {
  try {
    const server = await listenOn(port);
    await new Promise((resolve) => server.close(resolve));
    return true;
  } catch {
    return false;
  }
}
