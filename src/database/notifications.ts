import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { type Config } from '../config/config';
import { CONFIG } from '../config/config.module';
import { messageOf } from '../kernel/errors';
import { Logger } from '../observability/logger';
import { directUrlOf } from './data-source';
import { HotDatabase } from './database';
import { StoreClient } from './store-client';
import { StoreWatch } from './store-watch';

const CHANNEL = 'hub_outbox';
/** A NOTIFY takes a lock that all commits share, so it is sent from its own statement and at most this often. */
const COALESCE_MS = 15;
const PING_MS = 30_000;
const RECONNECT_MS = 1_000;

/**
 * Wake-ups between replicas. A hint only: listeners also poll, since a listening connection can die silently.
 * Its own connection, because LISTEN does not survive a transaction-pooling proxy.
 */
@Injectable()
export class Notifications implements OnModuleInit, OnApplicationShutdown {
  private readonly pending = new Set<string>();
  private readonly listeners: ((payload: string) => void)[] = [];
  private client: StoreClient | undefined;
  private sendTimer: NodeJS.Timeout | undefined;
  private pingTimer: NodeJS.Timeout | undefined;
  private reconnectTimer: NodeJS.Timeout | undefined;
  private lastHeardAt = 0;
  private stopped = false;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly database: HotDatabase,
    private readonly logger: Logger,
    private readonly watch: StoreWatch,
  ) {}

  onModuleInit(): void {
    void this.connect();
  }

  async onApplicationShutdown(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.sendTimer);
    clearInterval(this.pingTimer);
    clearTimeout(this.reconnectTimer);
    // A connection that is already gone has nothing left to end.
    await this.client
      ?.end()
      .catch((error: unknown) => this.logger.event('debug', 'notifications.end_failed', { error: messageOf(error) }));
  }

  /** Sends `payload` to every listening replica within COALESCE_MS; equal payloads in between are one. */
  publish(payload: string): void {
    this.pending.add(payload);
    this.sendTimer ??= setTimeout(() => {
      this.sendTimer = undefined;
      const payloads = [...this.pending];
      this.pending.clear();
      this.database
        .prepared('hub_notify', `select pg_notify('${CHANNEL}', payload) from unnest($1::text[]) payload`, [payloads])
        .catch((error: unknown) =>
          this.logger.event('warn', 'notifications.publish_failed', { error: messageOf(error) }),
        );
    }, COALESCE_MS);
  }

  onMessage(listener: (payload: string) => void): void {
    this.listeners.push(listener);
  }

  private async connect(): Promise<void> {
    const client = new StoreClient({
      connectionString: directUrlOf(this.config),
      application_name: 'hub-listen',
      keepAlive: true,
      connectionTimeoutMillis: this.watch.limitMs,
      statementLimitMs: this.watch.limitMs,
      watch: this.watch,
    });
    this.client = client;
    client.on('error', (error) => this.reconnect(client, error));
    client.on('end', () => this.reconnect(client, undefined));
    client.on('notification', ({ payload }) => {
      this.lastHeardAt = performance.now();
      if (payload !== undefined && payload !== 'ping') for (const listener of this.listeners) listener(payload);
    });
    try {
      await client.connect();
      await client.prepare();
      await client.query(`listen ${CHANNEL}`);
      this.lastHeardAt = performance.now();
      clearInterval(this.pingTimer);
      this.pingTimer = setInterval(() => this.ping(client), PING_MS);
      this.pingTimer.unref();
    } catch (error) {
      this.reconnect(client, error);
    }
  }

  /** Through the channel itself: a half-open connection answers nothing and raises no error. */
  private ping(client: StoreClient): void {
    if (performance.now() - this.lastHeardAt > 2 * PING_MS + 5000)
      this.reconnect(client, new Error('no echo of our own ping'));
    else this.publish('ping');
  }

  private reconnect(client: StoreClient, error: unknown): void {
    if (this.stopped || this.client !== client) return;
    this.client = undefined;
    this.logger.event('warn', 'notifications.connection_lost', {
      error: error === undefined ? 'ended' : messageOf(error),
    });
    client
      .end()
      .catch((endError: unknown) =>
        this.logger.event('debug', 'notifications.end_failed', { error: messageOf(endError) }),
      );
    this.reconnectTimer = setTimeout(() => void this.connect(), RECONNECT_MS);
    this.reconnectTimer.unref();
  }
}
