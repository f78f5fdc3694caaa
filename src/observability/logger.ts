import type { LoggerService } from '@nestjs/common';
import { createRequire } from 'node:module';
import pino, { type Logger as PinoLogger } from 'pino';
import type { PrettyOptions, PrettyStream } from 'pino-pretty';
import type { LogFormat } from '../config/config';
import { currentContext } from './request-context';

/** Names that must never reach a log, at the top level of a line or one below. */
const SECRET_FIELDS = new Set([
  'authorization',
  'cookie',
  'token',
  'secret',
  'signature',
  'body',
  'rawBody',
  'payload',
  'password',
  'x-signature',
]);
const CENSOR = '[redacted]';

/** JSON lines on standard output, or a readable form for people; every line carries the request it belongs to. */
export class Logger implements LoggerService {
  private readonly pino: PinoLogger;

  constructor(level: string, destination?: pino.DestinationStream, format: LogFormat = 'json') {
    this.pino = pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        // pino's own `redact` with a wildcard copies every line and costs ten times the line itself.
        formatters: { level: (label) => ({ level: label }), log: redacted },
        mixin: () => {
          const context = currentContext();
          return context === undefined ? {} : { requestId: context.requestId };
        },
      },
      destination ?? standardOutput(format),
    );
  }

  /** One wide line per unit of work: `event` is what ops search for, `fields` is all that is known. */
  event(level: 'debug' | 'info' | 'warn' | 'error', event: string, fields: Record<string, unknown> = {}): void {
    if (this.pino.isLevelEnabled(level)) this.pino[level]({ event, ...fields });
  }

  flush(): void {
    this.pino.flush();
  }

  // Nest's own messages (start-up, unhandled errors of lifecycle hooks) come through these.
  log(message: unknown, ...rest: unknown[]): void {
    this.nest('debug', message, rest);
  }
  error(message: unknown, ...rest: unknown[]): void {
    this.nest('error', message, rest);
  }
  warn(message: unknown, ...rest: unknown[]): void {
    this.nest('warn', message, rest);
  }
  debug(message: unknown, ...rest: unknown[]): void {
    this.nest('debug', message, rest);
  }
  verbose(message: unknown, ...rest: unknown[]): void {
    this.nest('trace', message, rest);
  }
  fatal(message: unknown, ...rest: unknown[]): void {
    this.nest('fatal', message, rest);
  }

  private nest(level: pino.Level, message: unknown, rest: unknown[]): void {
    const context = rest.at(-1);
    const detail = rest.length > 1 ? rest[0] : undefined;
    this.pino[level]({
      event: 'framework',
      message: message instanceof Error ? message.message : message,
      ...(message instanceof Error ? { stack: message.stack } : {}),
      ...(typeof context === 'string' ? { context } : {}),
      ...(detail === undefined ? {} : { detail }),
    });
  }
}

function standardOutput(format: LogFormat): pino.DestinationStream {
  if (format === 'json' || (format === 'auto' && !process.stdout.isTTY)) {
    // A terminal that has closed takes no more lines; that must not end the process before its work is done.
    return pino.destination({ sync: false, minLength: 0 }).on('error', () => undefined);
  }
  // Loaded for people only: a hub at work never needs it.
  const pretty = createRequire(__filename)('pino-pretty') as (options: PrettyOptions) => PrettyStream;
  return pretty({
    sync: true,
    colorize: process.stdout.isTTY,
    translateTime: 'SYS:HH:MM:ss.l',
    messageKey: 'event',
    ignore: 'config,requestId',
    singleLine: true,
  }).on('error', () => undefined);
}

/** The same fields without secrets, at the top and one level below; a line that holds none is not copied. */
function redacted(fields: Record<string, unknown>, depth = 0): Record<string, unknown> {
  let clean = fields;
  for (const name of Object.keys(fields)) {
    const value = fields[name];
    const safe = SECRET_FIELDS.has(name)
      ? CENSOR
      : depth === 0 && typeof value === 'object' && value !== null && !Array.isArray(value)
        ? redacted(value as Record<string, unknown>, 1)
        : value;
    if (safe === value) continue;
    if (clean === fields) clean = { ...fields };
    clean[name] = safe;
  }
  return clean;
}
