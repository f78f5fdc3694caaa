import net from 'node:net';

/** Both directions of one connection. */
interface Pair {
  readonly client: net.Socket;
  upstream: net.Socket | undefined;
  /** Open, but nothing that is said arrives any more, as when a machine is unplugged. */
  swallowed: boolean;
}

/** A cable that can be cut, slowed down, unplugged at one end and held still. It knows bytes only. */
export class TcpProxy {
  private readonly pairs = new Set<Pair>();
  private server: net.Server | undefined;
  private next = 0;
  private delayMs = 0;
  private swallowsNew = false;
  private held: (() => void)[] | undefined;
  port = 0;

  private constructor(private readonly targets: () => readonly number[]) {}

  /** Each connection goes to the next of the ports that takes it. */
  static async start(targets: () => readonly number[]): Promise<TcpProxy> {
    const proxy = new TcpProxy(targets);
    await proxy.listen();
    return proxy;
  }

  async stop(): Promise<void> {
    this.stopListening();
    this.release();
    this.cut(1);
    await Promise.resolve();
  }

  /** How many connections lead to a port. */
  connectionsTo(port: number): number {
    return [...this.pairs].filter(({ upstream }) => upstream?.remotePort === port).length;
  }

  /** Breaks the given share of the connections with a reset. */
  cut(share: number, which: (pair: Pair) => boolean = () => true): void {
    const all = [...this.pairs].filter(which);
    for (const pair of all.slice(0, Math.ceil(all.length * share))) this.drop(pair);
  }

  async refuseFor(ms: number): Promise<void> {
    this.stopListening();
    this.cut(1);
    await sleep(ms);
    await this.listen();
  }

  async delayFor(chunkDelayMs: number, ms: number): Promise<void> {
    this.delayMs = chunkDelayMs;
    await sleep(ms);
    this.delayMs = 0;
  }

  /** What is swallowed is never delivered later: the connection ends with a reset. */
  async swallowFor(share: number, ms: number): Promise<void> {
    const all = [...this.pairs];
    for (const pair of all.slice(0, Math.ceil(all.length * share))) pair.swallowed = true;
    this.swallowsNew = share === 1;
    await sleep(ms);
    this.swallowsNew = false;
    this.cut(1, ({ swallowed }) => swallowed);
  }

  /** Nothing from the clients passes until `release`. */
  hold(): void {
    this.held ??= [];
  }

  release(): void {
    const waiting = this.held ?? [];
    this.held = undefined;
    for (const send of waiting) send();
  }

  private async listen(): Promise<void> {
    if (this.server !== undefined) return;
    const server = net.createServer({ noDelay: true }, (client) => this.accept(client));
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', () => resolve());
    });
    this.port = (server.address() as net.AddressInfo).port;
  }

  private stopListening(): void {
    // Connections that are open keep the old server alive; nothing waits for it.
    this.server?.close();
    this.server = undefined;
  }

  private accept(client: net.Socket): void {
    const pair: Pair = { client, upstream: undefined, swallowed: this.swallowsNew };
    this.pairs.add(pair);
    client.on('error', () => this.drop(pair));
    client.on('close', () => this.drop(pair));
    const early: Buffer[] = [];
    const gather = (chunk: Buffer): void => void early.push(chunk);
    client.on('data', gather);
    this.connect(pair, this.targets().length, (upstream) => {
      client.off('data', gather);
      this.forward(pair, client, upstream, true, early);
      this.forward(pair, upstream, client, false, []);
    });
  }

  private connect(pair: Pair, triesLeft: number, then: (upstream: net.Socket) => void): void {
    const targets = this.targets();
    const port = targets[this.next++ % Math.max(1, targets.length)];
    if (port === undefined || triesLeft === 0) return this.drop(pair);
    const upstream = net.connect({ port, host: '127.0.0.1', noDelay: true });
    const failed = (): void => {
      upstream.destroy();
      if (this.pairs.has(pair)) this.connect(pair, triesLeft - 1, then);
    };
    upstream.once('error', failed);
    upstream.once('connect', () => {
      upstream.off('error', failed);
      if (!this.pairs.has(pair)) return void upstream.destroy();
      pair.upstream = upstream;
      upstream.on('error', () => this.drop(pair));
      upstream.on('close', () => this.drop(pair));
      then(upstream);
    });
  }

  private forward(pair: Pair, from: net.Socket, to: net.Socket, fromClient: boolean, early: readonly Buffer[]): void {
    let lastAt = 0;
    let queued = 0;
    const pass = (act: () => void): void => {
      if (fromClient && this.held !== undefined) return void this.held.push(() => pass(act));
      const now = performance.now();
      const at = Math.max(lastAt, now + this.delayMs);
      if (at <= now && queued === 0) return act();
      lastAt = at;
      queued += 1;
      setTimeout(() => {
        queued -= 1;
        act();
      }, at - now);
    };
    const send = (chunk: Buffer): void => {
      if (pair.swallowed) return;
      pass(() => {
        if (!pair.swallowed && !to.destroyed) to.write(chunk);
      });
    };
    for (const chunk of early) send(chunk);
    from.on('data', send);
    from.on('end', () => pass(() => void to.end()));
  }

  private drop(pair: Pair): void {
    if (!this.pairs.delete(pair)) return;
    for (const socket of [pair.client, pair.upstream]) {
      if (socket === undefined || socket.destroyed) continue;
      // A socket that is being shut down cannot be reset any more, and Node would wait for its handle for ever.
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
