import { StoreAwayError } from './pg-errors';
import { type ClientWatch, StoreClient } from './store-client';

const LOOK_MS = 250;
const PROBE_PAUSE_MS = 500;
const PROBE_ANSWER_MS = 1_000;
/** Written through to the standby like any movement, and never read. */
const DURABLE_WRITE = `select pg_logical_emit_message(true, 'hub', '')`;
/** Tells servers behind one address apart. */
const IDENTITY = `
  select pg_postmaster_start_time()::text || ' ' || coalesce(inet_server_addr()::text, '')
    || ' ' || coalesce(inet_server_port()::text, '') as identity`;

interface WatchOptions {
  readonly url: string;
  readonly limitMs: number;
  /** The store stopped answering, or answers again after so many milliseconds. */
  readonly onChange: (change: { readonly away: boolean; readonly forMs: number }) => void;
}

/**
 * Watches all connections of this process to the store. A frozen server, or one whose standby is gone, answers nothing
 * and breaks nothing: so each statement has a limit. The first that reaches it takes all idle connections with it,
 * since the pools would hand them out one after the other, a time-out each; and until a probe's commit is answered
 * nothing else is sent there. Callers then hear 503 at once, and a server that never answers does not collect
 * connections by the hundred.
 */
export class StoreWatch implements ClientWatch {
  private readonly clients = new Set<StoreClient>();
  private readonly timer: NodeJS.Timeout;
  private awaySince: number | undefined;
  private stopped = false;

  constructor(private readonly options: WatchOptions) {
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.timer.unref();
  }

  get limitMs(): number {
    return this.options.limitMs;
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
  }

  add(client: StoreClient): void {
    this.clients.add(client);
  }

  remove(client: StoreClient): void {
    this.clients.delete(client);
  }

  /**
   * Throws while the store does not answer. Before a connection is borrowed; what is running is left to its own limit.
   */
  refuse(): void {
    if (this.awaySince !== undefined) throw new StoreAwayError(performance.now() - this.awaySince);
  }

  /** What readiness says; null when all is well. */
  fault(): string | null {
    if (this.awaySince !== undefined) return `does not answer for ${seconds(performance.now() - this.awaySince)}`;
    const oldest = Math.max(0, ...[...this.clients].map((client) => (client.isHurried ? (client.runningMs ?? 0) : 0)));
    return oldest > this.options.limitMs ? `a statement is without an answer for ${seconds(oldest)}` : null;
  }

  /** The server took too long over a statement or a connection. */
  wentSilent(): void {
    if (this.awaySince !== undefined || this.stopped) return;
    this.awaySince = performance.now();
    this.options.onChange({ away: true, forMs: 0 });
    for (const client of [...this.clients]) {
      if (client.runningMs === null) client.giveUp(new StoreAwayError(0));
      // A statement with a longer limit may end; on the server of then, which may not be the one of now.
      else client.retire();
    }
    void this.probe(this.awaySince);
  }

  private look(): void {
    for (const client of [...this.clients]) {
      const { isHurried } = client;
      if (client.checkLimit() && isHurried) this.wentSilent();
    }
  }

  /**
   * Until a commit is answered. Its connection is kept for as long as the same server stands at the address, however
   * long the commit takes: given up and tried again it would leave one more waiting backend behind each time.
   */
  private async probe(since: number): Promise<void> {
    let waiting: { readonly identity: string; readonly client: StoreClient } | undefined;
    let answered = false;
    const drop = (): void => {
      waiting?.client.giveUp(new StoreAwayError(0));
      waiting = undefined;
    };
    while (!answered && !this.stopped) {
      const found = await this.reach();
      if (found?.identity !== waiting?.identity) drop();
      if (found !== undefined && waiting === undefined) {
        waiting = found;
        found.client.query(DURABLE_WRITE).then(
          () => (answered = true),
          () => {
            if (waiting === found) waiting = undefined;
          },
        );
      } else void found?.client.end().catch(() => undefined);
      for (let waited = 0; !answered && !this.stopped && waited < PROBE_PAUSE_MS; waited += 25) await pause(25);
    }
    drop();
    this.awaySince = undefined;
    if (!this.stopped) this.options.onChange({ away: false, forMs: performance.now() - since });
  }

  /**
   * A new connection to whatever stands at the address; undefined when it does not answer soon, or cannot be written
   * to.
   */
  private async reach(): Promise<{ identity: string; client: StoreClient } | undefined> {
    let client: StoreClient | undefined;
    const late = setTimeout(() => client?.giveUp(new StoreAwayError(0)), 2 * PROBE_ANSWER_MS);
    try {
      client = new StoreClient({
        connectionString: this.options.url,
        application_name: 'hub-probe',
        connectionTimeoutMillis: PROBE_ANSWER_MS,
        statementLimitMs: Infinity,
      });
      await client.connect();
      await client.prepare();
      const { rows } = await client.query<{ identity: string }>(IDENTITY);
      return { identity: rows[0]?.identity ?? '', client };
    } catch {
      // It is probed again in a moment; the errors of the statements refused meanwhile say why it did not respond.
      client?.giveUp(new StoreAwayError(0));
      return undefined;
    } finally {
      clearTimeout(late);
    }
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
