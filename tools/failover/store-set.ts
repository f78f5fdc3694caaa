import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres';
import { TcpProxy } from '../chaos/tcp-proxy';
import { copyOfStopped, standbyOf } from '../cluster/standby';
import { waitFor } from '../../test/support/wait-for';

const SETTINGS = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '64MB',
  max_connections: '200',
  wal_keep_size: '512MB',
  max_wal_size: '512MB',
  hot_standby: 'on',
  wal_receiver_timeout: '5s',
  wal_sender_timeout: '5s',
  wal_retrieve_retry_interval: '200ms',
};
const CAUGHT_UP_MS = 60_000;
/** Of a standby that reads its own log. */
const STILL_MS = 700;

export interface Server {
  readonly name: string;
  readonly dataDir: string;
  postgres: EmbeddedPostgres;
}

export interface StoreSetOptions {
  readonly directory: string;
  /** False: commits do not wait for a standby, and what they acknowledge can be lost. */
  readonly synchronous: boolean;
  /** Of each server, over those of the set. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Three servers of which one takes the writes and any one of the others confirms them, behind one address. What a
 * cluster manager does stands in `promote`: it chooses the standby that is furthest, and leads the address to it.
 * Connections that are open stay where they are.
 */
export class StoreSet {
  private primaryIndex = 0;
  /** Where the hubs' address leads; usually the primary. */
  private addressIndex = 0;

  private constructor(
    readonly servers: readonly Server[],
    readonly address: TcpProxy,
    /** Where standbys find the primary. */
    readonly replication: TcpProxy,
    private readonly options: StoreSetOptions,
  ) {}

  static async start(options: StoreSetOptions): Promise<StoreSet> {
    const names = ['a', 'b', 'c'] as const;
    const settings = {
      ...SETTINGS,
      ...options.settings,
      ...(options.synchronous ? { synchronous_standby_names: 'ANY 1 (a, b, c)' } : {}),
    };
    const dataDirs = names.map((name) => path.join(options.directory, `store-${name}`));
    const [firstDir = '', ...otherDirs] = dataDirs;
    const first = await startEmbeddedPostgres({ dataDir: firstDir, settings: { ...SETTINGS, ...options.settings } });
    await first.stop();
    const replication: TcpProxy = await TcpProxy.start(() => [set.primary.postgres.port]);
    const address: TcpProxy = await TcpProxy.start(() => [
      (set.servers[set.addressIndex] ?? set.primary).postgres.port,
    ]);
    for (const [index, dataDir] of otherDirs.entries()) {
      copyOfStopped(firstDir, dataDir);
      standbyOf(dataDir, first, replication.port, names[index + 1] ?? '');
    }
    const servers: Server[] = [];
    const set: StoreSet = new StoreSet(servers, address, replication, { ...options, settings });
    for (const [index, name] of names.entries()) {
      const dataDir = dataDirs[index] ?? '';
      servers.push({ name, dataDir, postgres: await startEmbeddedPostgres({ dataDir, settings }) });
    }
    await set.standbysFollow(2);
    return set;
  }

  get primary(): Server {
    return this.server(this.primaryIndex);
  }

  get standbys(): Server[] {
    return this.servers.filter((_, index) => index !== this.primaryIndex);
  }

  /** Of the application, through the address. */
  get url(): string {
    return this.throughAddress(this.primary.postgres.url);
  }

  /** Of the owner of the tables, likewise. */
  get ownerUrl(): string {
    return this.throughAddress(this.primary.postgres.ownerUrl);
  }

  private throughAddress(address: string): string {
    const url = new URL(address);
    url.port = String(this.address.port);
    return url.toString();
  }

  async stop(): Promise<void> {
    await Promise.all([this.address.stop(), this.replication.stop()]);
    for (const server of this.servers) {
      this.signal(server, 'SIGCONT');
      await server.postgres.stop();
    }
  }

  /** All processes of a server at once, as a machine that dies or stands still. */
  signal(server: Server, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    const { pid } = server.postgres;
    const lines = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).stdout.split('\n');
    const children = lines
      .map((line) => line.trim().split(/\s+/).map(Number))
      .filter(([, parent]) => parent === pid)
      .map(([child]) => child ?? 0);
    // The main process first: it would replace those that die.
    for (const each of [pid, ...children]) {
      try {
        process.kill(each, signal);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  }

  /** The most advanced standby takes over. New connections lead to it; answers when it takes writes. */
  async promote(): Promise<Server> {
    const places: { readonly server: Server; readonly at: bigint }[] = [];
    for (const server of this.standbys) {
      places.push({ server, at: await this.placeOf(server) });
    }
    const furthest = places.reduce((best, each) => (each.at > best.at ? each : best));
    await this.ask(furthest.server, 'select pg_promote(true, 60)');
    this.primaryIndex = this.addressIndex = this.servers.indexOf(furthest.server);
    // Standbys look for the new primary; a frozen one keeps its own connections, as it would.
    this.replication.cut(1);
    return furthest.server;
  }

  /** How far a standby has come. One that was started a moment ago is still reading what it has. */
  private async placeOf(server: Server): Promise<bigint> {
    let last = -1n;
    return waitFor(
      `${server.name} has read all it has`,
      async () => {
        const [row] = await this.ask<{ at: string; streamed: boolean }>(
          server,
          `select (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint as at, pg_last_wal_receive_lsn() is not null as streamed`,
        );
        const at = BigInt(row?.at ?? '0');
        if (row?.streamed === true || at === last) return at;
        last = at;
        await delay(STILL_MS);
        return undefined;
      },
      CAUGHT_UP_MS,
    );
  }

  /** Leads new connections of the hubs to a server; undefined: to the primary. */
  lead(server: Server | undefined): void {
    this.addressIndex = server === undefined ? this.primaryIndex : this.servers.indexOf(server);
  }

  async stopStandbys(): Promise<void> {
    for (const { postgres } of this.standbys) await postgres.stop();
  }

  async startStandbys(): Promise<void> {
    await this.wakeStandbys();
    await this.standbysFollow(2);
  }

  /** Starts them, whether there is a primary or not. */
  async wakeStandbys(): Promise<void> {
    for (const server of this.standbys)
      server.postgres = await startEmbeddedPostgres({
        dataDir: server.dataDir,
        ...(this.options.settings === undefined ? {} : { settings: this.options.settings }),
      });
  }

  /** A server that was the primary comes back as a standby, on a new copy of the present one. */
  async rejoin(server: Server): Promise<void> {
    await server.postgres.stop();
    const client = await this.client(this.primary);
    try {
      await client.query(`select pg_backup_start('rejoin', true)`);
      const target = path.join(server.dataDir, 'postgres');
      fs.rmSync(target, { recursive: true, force: true });
      // Files that vanish meanwhile are what the log is replayed for.
      spawnSync('cp', ['-a', path.join(this.primary.dataDir, 'postgres'), target]);
      const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
      for (const file of ['postmaster.pid', 'postmaster.opts']) fs.rmSync(path.join(target, file), { force: true });
      const owner = fs.statSync(target);
      fs.writeFileSync(path.join(target, 'backup_label'), rows[0]?.labelfile ?? '');
      fs.chownSync(path.join(target, 'backup_label'), owner.uid, owner.gid);
      standbyOf(server.dataDir, this.primary.postgres, this.replication.port, server.name);
      execFileSync('rm', ['-rf', path.join(target, 'pg_replslot')]);
      execFileSync('mkdir', ['-m', '700', path.join(target, 'pg_replslot')]);
      fs.chownSync(path.join(target, 'pg_replslot'), owner.uid, owner.gid);
    } finally {
      await client.end();
    }
    server.postgres = await startEmbeddedPostgres({
      dataDir: server.dataDir,
      ...(this.options.settings === undefined ? {} : { settings: this.options.settings }),
    });
    await this.standbysFollow(2);
  }

  /** As the superuser, past every proxy. */
  async ask<T = Record<string, unknown>>(server: Server, sql: string, parameters: unknown[] = []): Promise<T[]> {
    const client = await this.client(server);
    try {
      return (await client.query(sql, parameters)).rows as T[];
    } finally {
      await client.end();
    }
  }

  async standbysFollow(count: number): Promise<void> {
    await waitFor(
      `${count} standbys follow`,
      async () => {
        const [row] = await this.ask<{ n: number }>(
          this.primary,
          `select count(*)::integer as n from pg_stat_replication where state = 'streaming'`,
        );
        return row?.n === count;
      },
      CAUGHT_UP_MS,
    );
  }

  private async client(server: Server): Promise<Client> {
    const client = new Client({ connectionString: adminUrlOf(server.postgres), connectionTimeoutMillis: 10_000 });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  private server(index: number): Server {
    const server = this.servers[index];
    if (server === undefined) throw new Error(`there is no server ${index}`);
    return server;
  }
}

function adminUrlOf(postgres: EmbeddedPostgres): string {
  return postgres.superuserUrl;
}
