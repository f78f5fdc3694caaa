import { protocolWord } from '../../kernel/protocol-word';
import type { Partner } from '../partner';
import type { OpenStream, PartnerHttp } from '../partner-http';
import { ListFailure } from './list-failure';

/** Declared types that are no lists; a list without a type is looked at. */
const JSON_TYPE = /^(?:APPLICATION|TEXT)\/(?:[\w.+-]+\+)?JSON$/;
/** Blanks before the first word of a list, at most. */
const LEADING_BYTES_MAX = 64 * 1024;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

export const OPEN_BRACKET = 0x5b;
export const OPEN_BRACE = 0x7b;

/** A response whose body is still to be read; `first` is its first byte that is no blank, and still in `chunks`. */
export interface OpenResponse {
  readonly first: number | undefined;
  readonly chunks: AsyncGenerator<Buffer, void, void>;
  readonly header: OpenStream['header'];
}

/**
 * Opens a partner's list, for any reader. Rejects on any status but 200 and on what is declared as anything but JSON;
 * `signal` ends it at any time.
 */
export async function openList(
  http: PartnerHttp,
  partner: Partner,
  url: string,
  retries: number,
  signal: AbortSignal,
): Promise<OpenResponse> {
  const { body, header } = await http.stream(partner, url, 'application/json', retries, signal);
  const stop = () => body.destroy(new Error('the reader left'));
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  body.once('close', () => signal.removeEventListener('abort', stop));
  // A body that breaks without a reader has no other listener, and that would end the process; its reader meets the
  // failure itself.
  body.on('error', () => undefined);
  const type = protocolWord(header('content-type')?.split(';', 1)[0] ?? '');
  if (type !== '' && !JSON_TYPE.test(type)) {
    stop();
    throw new ListFailure(
      'wrong_content_type',
      `its content type is ${/^[\w.+/-]{1,60}$/.test(type) ? type.toLowerCase() : 'not JSON'}`,
    );
  }
  return { ...(await lookedAt(body)), header };
}

/** The rest of an array's text, for a reader that has seen that it is one. */
export async function* afterFirstByte(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  let first = true;
  for await (const chunk of chunks) {
    yield first ? chunk.subarray(1) : chunk;
    first = false;
  }
}

/** The same bytes, up to a limit after decompression. `what` names what is too long. */
export async function* bounded(
  chunks: AsyncIterable<Buffer>,
  bytesMax: number,
  what: string,
): AsyncGenerator<Buffer, void, void> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new ListFailure('too_many_bytes', `${what} has more than ${bytesMax} bytes`);
    yield chunk;
  }
}

/** Reads up to the first byte that is no blank, which tells what kind of list it is. Takes a byte order mark away. */
export async function lookedAt(body: AsyncIterable<Buffer>): Promise<Pick<OpenResponse, 'first' | 'chunks'>> {
  const source = body[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  for (;;) {
    const next = await source.next();
    if (next.done === true) return { first: undefined, chunks: joined(Buffer.alloc(0), source) };
    head = Buffer.concat([head, next.value]);
    if (head.length < BYTE_ORDER_MARK.length && BYTE_ORDER_MARK.subarray(0, head.length).equals(head)) continue;
    const text = head.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
      ? head.subarray(BYTE_ORDER_MARK.length)
      : head;
    const at = text.findIndex((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09);
    if (at >= 0) return { first: text[at], chunks: joined(text.subarray(at), source) };
    if (head.length > LEADING_BYTES_MAX) throw new ListFailure('not_json', 'it begins with nothing but blanks');
  }
}

async function* joined(head: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void, void> {
  if (head.length > 0) yield head;
  try {
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
