import dns from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { buildConnector } from 'undici';
import buildSecureConnector from 'undici/lib/core/connect';

/** Head start of an address before the next one is tried beside it (RFC 8305 calls it the connection attempt delay). */
const NEXT_ADDRESS_MS = 250;
const TCP_KEEP_ALIVE_MS = 60_000;

/**
 * Why there is no connection, in words that name the cause: what was asked for and how far it came. Nothing was sent.
 */
export class ConnectError extends Error {
  constructor(
    message: string,
    readonly code: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ConnectError';
  }
}

export interface Place {
  readonly host: string;
  readonly port: number;
  /** How names become addresses; the system's own way when left out. */
  readonly lookup?: typeof dns.lookup;
}

type Connected = (error: Error | null, socket: net.Socket | null) => void;

/**
 * Connects to whichever address of the host answers first. Node tries them one after the other and drops each after 250
 * ms, so on a network where a connection takes longer it ends at the last one, dead or not; here a slow address stays
 * in the race while the next is tried. Answers how to give up.
 */
export function connectToFirst({ host, port, lookup = dns.lookup }: Place, done: Connected): (why: string) => void {
  const trying = new Map<net.Socket, string>();
  const errors: string[] = [];
  let waiting: dns.LookupAddress[] = [];
  let timer: NodeJS.Timeout | undefined;
  let found = false;
  let over = false;

  const end = (error: Error | null, winner: net.Socket | null): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    for (const socket of trying.keys()) if (socket !== winner) socket.destroy();
    done(error, winner);
  };
  const next = (): void => {
    clearTimeout(timer);
    const address = waiting.shift();
    if (address === undefined) {
      if (trying.size === 0) end(new ConnectError(errors.join('; '), codeIn(errors[0] ?? '')), null);
      return;
    }
    const socket = net.connect({
      host: address.address,
      port,
      family: address.family,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
    });
    const failed = (error: Error): void => {
      trying.delete(socket);
      errors.push(error.message);
      if (!over) next();
    };
    trying.set(socket, address.address);
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      end(null, socket);
    });
    if (waiting.length > 0) timer = setTimeout(next, NEXT_ADDRESS_MS);
  };

  lookup(host, { all: true }, (error, addresses) => {
    if (over) return;
    if (error !== null)
      return end(
        new ConnectError(`the name ${host} was not found (${error.code ?? error.message})`, error.code ?? 'ENOTFOUND', {
          cause: error,
        }),
        null,
      );
    found = true;
    waiting = alternating(addresses);
    next();
  });
  return (why) => {
    const how = found
      ? `${host}:${port} did not answer at ${[...trying.values(), ...errors].join(', ')}`
      : `the name ${host} was not resolved`;
    end(new ConnectError(`no connection ${why}: ${how}`, 'ETIMEDOUT'), null);
  };
}

/**
 * Families in turn, the resolver's favourite first: when one family leads nowhere, the second try is already of the
 * other.
 */
function alternating(addresses: readonly dns.LookupAddress[]): dns.LookupAddress[] {
  const [first, second] = [
    addresses.filter(({ family }) => family === addresses[0]?.family),
    addresses.filter(({ family }) => family !== addresses[0]?.family),
  ];
  return first
    .flatMap((address, index) => [address, ...second.slice(index, index + 1)])
    .concat(second.slice(first.length));
}

function codeIn(message: string): string {
  return /\bE[A-Z]{3,}\b/.exec(message)?.[0] ?? 'ECONNREFUSED';
}

/**
 * Connections of undici: name, TCP and TLS together have `limitMs`, apart from the time that the call itself may take.
 */
export function partnerConnector(limitMs: number): buildConnector.connector {
  // Without a limit of its own: the one here also covers the name and the race of the addresses.
  const secure = buildSecureConnector({ timeout: 0 });
  return (options, callback) => {
    const { hostname, protocol } = options;
    const port = Number(options.port === '' ? (protocol === 'https:' ? 443 : 80) : options.port);
    let raw: net.Socket | undefined;
    let over = false;
    const end = (error: Error | null, socket: net.Socket | null): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      if (error === null && socket !== null) return callback(null, socket);
      raw?.destroy();
      callback(error ?? new ConnectError('no connection', 'ECONNRESET'), null);
    };
    const giveUp = connectToFirst({ host: hostname, port }, (error, socket) => {
      if (error !== null || socket === null || protocol !== 'https:') return end(error, socket);
      raw = socket;
      secure({ ...options, httpSocket: socket }, (tlsError, tlsSocket) =>
        end(tlsError === null ? null : handshakeError(tlsError, hostname, port), tlsSocket),
      );
    });
    const timer = setTimeout(() => {
      if (raw === undefined) giveUp(`within ${limitMs} ms`);
      else end(new ConnectError(`no TLS handshake with ${hostname}:${port} within ${limitMs} ms`, 'ETIMEDOUT'), null);
    }, limitMs);
  };
}

/** OpenSSL's own reason where there is one: its whole message names files of its source. */
function handshakeError(
  error: Error & { readonly code?: string; readonly reason?: unknown },
  host: string,
  port: number,
): ConnectError {
  const reason = typeof error.reason === 'string' && error.reason !== '' ? error.reason : error.message;
  const plain = /wrong version number|packet length too long|record layer failure/i.test(reason)
    ? ', so the port does not speak TLS'
    : '';
  return new ConnectError(
    `no TLS with ${host}:${port}: ${reason}${plain} (${error.code ?? 'no code'})`,
    error.code ?? 'EPROTO',
    { cause: error },
  );
}

const KEEP = { keepAlive: true, scheduling: 'lifo' } as const;

/** Connections of node:http, on which lists are read. */
export class PartnerHttpAgent extends http.Agent {
  constructor(private readonly limitMs: number) {
    super(KEEP);
  }

  override createConnection(
    options: http.ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    connectWithin(this.limitMs, options, 80, (error, socket) => callback?.(error, socket as Duplex));
  }
}

export class PartnerHttpsAgent extends https.Agent {
  constructor(private readonly limitMs: number) {
    super(KEEP);
  }

  override createConnection(
    options: https.RequestOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    connectWithin(this.limitMs, options, 443, (error, socket) => {
      if (error !== null || socket === null) return callback?.(error, socket as unknown as Duplex);
      const secure = super.createConnection({ ...options, socket } as https.RequestOptions);
      if (secure) callback?.(null, secure);
    });
  }
}

function connectWithin(limitMs: number, options: http.ClientRequestArgs, defaultPort: number, done: Connected): void {
  const giveUp = connectToFirst(
    { host: options.host ?? 'localhost', port: Number(options.port ?? defaultPort) },
    (error, socket) => {
      clearTimeout(timer);
      done(error, socket);
    },
  );
  const timer = setTimeout(() => giveUp(`within ${limitMs} ms`), limitMs);
}
