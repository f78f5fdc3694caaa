import { Client, type ClientConfig } from 'pg';
import {
  NotReplicatedError,
  SessionNotBegunError,
  StatementTimeoutError,
  WrongServerError,
  isFatalToConnection,
} from './pg-errors';
import { PREPARE_SESSION } from './session-settings';

/** Of a connection that no watch looks after. */
const OWN_LOOK_MS = 1_000;

/** Who looks after many connections at once; StoreWatch is one. */
export interface ClientWatch {
  add(client: StoreClient): void;
  remove(client: StoreClient): void;
  /** The server took too long over a statement or a connection. */
  wentSilent(): void;
}

export interface StoreClientConfig extends ClientConfig {
  /** After which a statement is given up together with its connection. */
  readonly statementLimitMs: number;
  /** False for a replica that is only read. */
  readonly writes?: boolean;
  readonly watch?: ClientWatch | undefined;
}

/** Messages of the server, as the driver's protocol parser names their parts. */
interface ServerMessage {
  readonly code?: string;
  readonly severity?: string;
  readonly routine?: string;
}

interface Wire {
  on(event: 'readyForQuery', listener: () => void): void;
  on(event: 'errorMessage' | 'notice', listener: (message: ServerMessage) => void): void;
  on(
    event: 'parameterStatus',
    listener: (message: { readonly parameterName: string; readonly parameterValue: string }) => void,
  ): void;
  emit(event: 'error', reason: Error): void;
  readonly stream: { destroy(): void };
}

/** What the driver keeps to itself; the pool reads the flag too. */
interface DriverParts {
  readonly connection: Wire;
  _queryable: boolean;
}

/**
 * A connection that is given up when it cannot be trusted: a statement that took too long, a server that cannot be
 * written to, one that goes down, a commit that did not wait for its standby. It is closed and never cancelled: a
 * cancelled wait for a standby is a commit on one machine that looks like success.
 */
export class StoreClient extends Client {
  /** Of a statement. The holder of the connection may set its own, and restores it. */
  limitMs: number;
  private readonly watch: ClientWatch | undefined;
  private readonly writes: boolean;
  private readonly connectMs: number;
  private readonly madeAt = performance.now();
  private connected = false;
  private asked = 0;
  private askedAt = 0;
  private readonly ownLook: NodeJS.Timeout | undefined;

  constructor(private readonly settings: StoreClientConfig) {
    super(settings);
    this.limitMs = settings.statementLimitMs;
    this.watch = settings.watch;
    this.writes = settings.writes ?? true;
    this.connectMs = settings.connectionTimeoutMillis ?? Infinity;
    // A server may say that it goes down in the very packet that completes a connection, when the pool listens no more
    // and its borrower not yet, and an 'error' without a listener ends the process. The next statement on the
    // connection fails all the same.
    this.on('error', () => undefined);
    this.once('end', () => this.ended());
    const { connection } = this.parts;
    connection.on('readyForQuery', () => {
      this.connected = true;
      if (this.asked > 0) this.asked -= 1;
      this.askedAt = performance.now();
    });
    connection.on('errorMessage', ({ code, severity }) => {
      if (severity === 'FATAL' || severity === 'PANIC' || (code !== undefined && isFatalToConnection(code)))
        this.distrust();
    });
    connection.on('notice', ({ routine }) => {
      // By the routine's name, since the text comes in the server's language.
      if (routine === 'SyncRepWaitForLSN') this.giveUp(new NotReplicatedError());
    });
    connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
      if (parameterName === 'in_hot_standby' && parameterValue === 'on' && this.writes && this.connected)
        this.giveUp(new WrongServerError());
    });
    this.watch?.add(this);
    if (this.watch === undefined) this.ownLook = setInterval(() => this.checkLimit(), OWN_LOOK_MS).unref();
  }

  /** How long the present statement has been running; null when there is none. */
  get runningMs(): number | null {
    return this.asked === 0 ? null : performance.now() - this.askedAt;
  }

  /**
   * Whether the present limit is the usual one; a statement with a limit of its own says nothing about the store when
   * it reaches it.
   */
  get isHurried(): boolean {
    return this.limitMs <= this.settings.statementLimitMs;
  }

  /** Sets what the hub relies on. Throws WrongServerError on a standby, unless it is only read. */
  async prepare(): Promise<void> {
    const { rows } = await super.query<{ recovering: boolean }>(PREPARE_SESSION).catch((error: unknown) => {
      throw SessionNotBegunError.of(error) ?? error;
    });
    if (this.writes && rows[0]?.recovering === true) throw new WrongServerError();
  }

  /** Ends the connection; its waiters get the reason. */
  giveUp(reason: Error): void {
    // The statement fails now: in the same packet the server may go on to call it a success.
    this.parts._queryable = false;
    this.parts.connection.emit('error', reason);
    this.parts.connection.stream.destroy();
  }

  /** What runs may end; nothing else is sent, and no pool lends the connection again. */
  retire(): void {
    this.parts._queryable = false;
  }

  /** Gives the connection up when its statement has taken longer than it may; answers whether it had. */
  checkLimit(): boolean {
    const running = this.runningMs;
    if (running === null || running <= this.limitMs) return false;
    this.giveUp(new StatementTimeoutError(this.limitMs));
    return true;
  }

  // The driver declares this method in eight ways; all of them send one statement, which the server answers with one
  // "ready".
  override query: Client['query'] = ((...args: Parameters<Client['query']>) => {
    if (this.asked === 0) this.askedAt = performance.now();
    this.asked += 1;
    return super.query(...args);
  }) as Client['query'];

  /** The statement's own error is reported first; then the connection is not lent again. */
  private distrust(): void {
    this.parts._queryable = false;
    setImmediate(() => this.giveUp(new Error('Connection terminated: the server cannot be used')));
  }

  private ended(): void {
    this.asked = 0;
    clearInterval(this.ownLook);
    this.watch?.remove(this);
    if (!this.connected && performance.now() - this.madeAt >= this.connectMs) this.watch?.wentSilent();
  }

  private get parts(): DriverParts {
    return this as unknown as DriverParts;
  }
}
