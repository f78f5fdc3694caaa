export interface EmbeddedPostgresOptions {
  dataDir: string;
  /** Without it: the port of the previous run, so that a URL once noted stays valid; else any free port. */
  port?: number | undefined;
  /** Where to look for a free port upwards when neither `port` nor a previous run says one; without it: any. */
  firstPort?: number | undefined;
  /** Where the process that starts the server answers, for the message to another one that wants the same directory. */
  address?: string | undefined;
  /**
   * Server settings over the defaults below. A server that is already running keeps the settings it was started with.
   */
  settings?: Readonly<Record<string, string>> | undefined;
  log?: ((line: string) => void) | undefined;
}

export interface EmbeddedPostgres {
  /** Of the role that the hub serves as. */
  url: string;
  /** Of the role that owns the tables. */
  ownerUrl: string;
  /** For what needs the server itself, such as another database; no part of the hub uses it. */
  superuserUrl: string;
  port: number;
  pid: number;
  /** False when another living process started the server; then stop() leaves it running. */
  owned: boolean;
  /** The living process that started the server, when it is not this one. */
  owner: Owner | undefined;
  stop(): Promise<void>;
  /**
   * For the last moment of a process, in which nothing can be waited for: tells an own server that still runs to stop.
   */
  stopAtOnce(): void;
}

export interface Owner {
  readonly pid: number;
  readonly address: string | undefined;
}

export type Log = (line: string) => void;

// Recovery after a crash replays up to max_wal_size of changes, which takes a while on a slow disk.
export const READY_TIMEOUT_MS = 120_000;
export const PING_TIMEOUT_MS = 5_000;
export const POLL_MS = 25;

export const SUPERUSER = 'postgres';
/** The same names as in deploy/postgres/roles.sh and hand-over.sql. */
export const OWNER = 'hub_owner';
export const APPLICATION = 'hub_app';

export const OR_SET_URL = 'Or set DATABASE_URL to a PostgreSQL of your own.';
