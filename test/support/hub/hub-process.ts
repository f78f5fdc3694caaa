import { type ChildProcess, spawn } from 'node:child_process';
import net from 'node:net';
import { hubArguments } from './hub-command';
import { ownedChild } from '../leftovers';
import { waitFor } from '../wait-for';

/** A built hub in a process of its own, for tests that kill, stop or multiply hubs. */
export class HubProcess {
  private constructor(
    readonly url: string,
    readonly child: ChildProcess,
    private readonly output: string[],
  ) {}

  /**
   * Starts the built hub, or another program below dist/, and waits until it is ready. `options` for Node come after
   * the usual ones.
   */
  static async start(
    env: Readonly<Record<string, string>>,
    main?: string,
    options: readonly string[] = [],
  ): Promise<HubProcess> {
    const port = await freePort();
    const output: string[] = [];
    const child = ownedChild(
      spawn(process.execPath, [...hubArguments(main).slice(0, -1), ...options, ...hubArguments(main).slice(-1)], {
        env: {
          PATH: process.env.PATH ?? '',
          NODE_ENV: 'test',
          HOST: '127.0.0.1',
          PORT: String(port),
          LOG_LEVEL: 'warn',
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    const hub = new HubProcess(`http://127.0.0.1:${port}`, child, output);
    await waitFor(
      `hub process ${child.pid} is ready`,
      async () => {
        if (child.exitCode !== null) throw new Error(`hub exited with ${child.exitCode}: ${hub.log()}`);
        return (await fetch(`${hub.url}/health/ready`)).ok;
      },
      60_000,
    );
    return hub;
  }

  log(): string {
    return this.output.join('');
  }

  /** Sends a signal and waits for the end; answers the exit code, null when the signal killed it. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    return new Promise((resolve) => {
      this.child.once('exit', (code) => resolve(code));
      this.child.kill(signal);
    });
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
