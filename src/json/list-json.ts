import { isUtf8 } from 'node:buffer';
import { LosslessNumber, isSafeNumber, parse } from 'lossless-json';
import { ExactJsonError, parseExactJson } from './exact-json';

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * A number that a double may not hold: over 15 digits, or with an exponent. Matches within texts, too, where it costs
 * only time.
 */
const LONG_NUMBER = /[:[,]\s*-?(?:\d[\d.]{15}|[\d.]+[eE])/;

/** Why bytes are not the JSON that was promised. The message quotes nothing of them. */
export class ListJsonError extends Error {
  constructor(
    readonly fault: 'not_json' | 'too_many_bytes',
    message: string,
  ) {
    super(message);
    this.name = 'ListJsonError';
  }
}

/**
 * Value of JSON bytes that came in pieces; a number that a double cannot hold comes as LosslessNumber. The engine's own
 * parser reads what it can read exactly, which is nearly everything, and is some ten times as fast as the exact one
 * (docs/decisions/0036).
 */
export function parseListJson(pieces: readonly Buffer[]): unknown {
  return parseText(textOf(pieces));
}

/**
 * As parseListJson, but of a key that stands twice nothing is dropped: such a text is no JSON, nor is one with more
 * levels than anybody needs.
 */
function parseEveryMember(pieces: readonly Buffer[]): unknown {
  try {
    return parseExactJson(textOf(pieces));
  } catch (error) {
    // The parser's own messages quote the text, and that is the partner's data.
    throw error instanceof ExactJsonError
      ? new ListJsonError('not_json', 'it is not JSON that can be read in one way only')
      : error;
  }
}

/**
 * Piece by piece, as they came from the network. In one piece, bytes of a megabyte and more become a text outside of
 * the heap: the collector is slow to see it, and the dead pages of a long list stay resident by the dozen.
 */
function textOf(pieces: readonly Buffer[]): string {
  let text = '';
  let rest: Buffer = NOTHING;
  for (const piece of pieces) {
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const end = beforeLastCharacter(bytes);
    text += decoded(bytes.subarray(0, end));
    rest = bytes.subarray(end);
  }
  return text + decoded(rest);
}

/** Where a last character of several bytes begins, which may go on in the next piece; the length if there is none. */
function beforeLastCharacter(bytes: Buffer): number {
  for (let at = bytes.length - 1; at >= Math.max(0, bytes.length - 4); at -= 1) {
    const byte = bytes[at] ?? 0;
    if (byte >= 0xc0) return at;
    if (byte < 0x80) break;
  }
  return bytes.length;
}

function decoded(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new ListJsonError('not_json', 'it is not UTF-8');
  return bytes.toString('utf8');
}

function parseText(text: string): unknown {
  try {
    if (!LONG_NUMBER.test(text)) return JSON.parse(text);
    return parse(text, null, {
      parseNumber: (digits) => (isSafeNumber(digits) ? Number(digits) : new LosslessNumber(digits)),
      // As JSON.parse does: the two must not disagree about a page because of a number in it.
      onDuplicateKey: ({ newValue }) => newValue,
    });
  } catch {
    // The parsers' messages quote the text, and that is the partner's data.
    throw new ListJsonError('not_json', 'it is not JSON');
  }
}

export interface BatchLimits {
  readonly rows: number;
  /** A batch ends early, at the end of a row, when it has this many bytes. */
  readonly batchBytes: number;
  /** A longer row is a fault. */
  readonly rowBytesMax: number;
  /** What stands around the items of an object, at most; not given: as much as there is. */
  readonly aroundBytesMax?: number;
  /** Whether every member must come through, of keys that stand twice too; costs ten times as much. Default: false. */
  readonly everyMember?: boolean;
}

/**
 * Elements of a JSON array of any length, in batches; the last batch is marked, and may be empty. `chunks` begin after
 * the opening bracket. Holds one batch.
 */
export async function* arrayBatches(
  chunks: AsyncIterable<Buffer>,
  limits: BatchLimits,
): AsyncGenerator<{ elements: unknown[]; last: boolean }> {
  const splitter = new ArraySplitter(limits);
  for await (const chunk of chunks) for (const elements of splitter.push(chunk)) yield { elements, last: false };
  yield { elements: splitter.end(), last: true };
}

/** Blanks between the name of a member and its value, at most, for the value to be read in batches. */
const NAME_BYTES_MAX = 256;
const NAMED_ITEMS = /[{,]\s*"items"\s*:\s*$/;

/**
 * Reads an object whose member `items` is an array of any length: `take` gets the array's elements in batches, in their
 * order, and the object is answered with an empty array in their place. When there is no such member, or its name is
 * written in another way than anybody writes it, nothing is taken and the object is answered as it is. Holds one batch,
 * and all that stands beside the items.
 */
export async function objectAroundItems(
  chunks: AsyncIterable<Buffer>,
  limits: BatchLimits,
  take: (elements: unknown[]) => void,
): Promise<unknown> {
  const frame = new ObjectFrame(limits.aroundBytesMax ?? Infinity);
  let items: ArraySplitter | undefined;
  for await (const chunk of chunks) {
    let rest: Buffer = chunk;
    if (items === undefined) {
      const begin = frame.itemsIn(rest);
      if (begin === null) continue;
      items = new ArraySplitter(limits);
      rest = rest.subarray(begin);
    }
    if (!items.ended) {
      const { batches, after } = items.feed(rest);
      batches.forEach(take);
      if (after === null) continue;
      take(items.end());
      rest = after;
    }
    frame.hold(rest);
  }
  if (items?.ended === false) throw new ListJsonError('not_json', 'it breaks off');
  const value = limits.everyMember === true ? parseEveryMember(frame.pieces) : parseListJson(frame.pieces);
  // Of two members of one name a parser keeps the last, and rows of the first were taken already.
  if (items !== undefined && !isEmptyArray((value as { items?: unknown }).items))
    throw new ListJsonError('not_json', 'it has its items twice');
  return value;
}

/** What stands around the items of an object. */
class ObjectFrame {
  readonly pieces: Buffer[] = [];
  private depth = 0;
  private inString = false;
  private escaped = false;
  /** End of what is held, to see a member's name that lies in two chunks. */
  private tail: Buffer = NOTHING;
  private bytes = 0;

  constructor(private readonly bytesMax: number) {}

  /**
   * Looks for the bracket that opens the items and holds what is before it; where they begin in the chunk, or null when
   * they do not, and all of it is held.
   */
  itemsIn(chunk: Buffer): number | null {
    let { depth, inString, escaped } = this;
    for (let i = 0; i < chunk.length; i += 1) {
      const byte = chunk[i];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
      else if (byte === OPEN_BRACE) depth += 1;
      else if (byte === OPEN_BRACKET) {
        if (depth === 1 && NAMED_ITEMS.test(this.before(chunk, i))) {
          this.hold(chunk.subarray(0, i));
          this.hold(EMPTY_ARRAY);
          return i + 1;
        }
        depth += 1;
      }
    }
    this.depth = depth;
    this.inString = inString;
    this.escaped = escaped;
    this.hold(chunk);
    this.tail = Buffer.concat([this.tail, chunk.subarray(-NAME_BYTES_MAX)]).subarray(-NAME_BYTES_MAX);
    return null;
  }

  hold(bytes: Buffer): void {
    this.bytes += bytes.length;
    if (this.bytes > this.bytesMax)
      throw new ListJsonError('too_many_bytes', `what stands around its items has more than ${this.bytesMax} bytes`);
    if (bytes.length > 0) this.pieces.push(bytes);
  }

  private before(chunk: Buffer, at: number): string {
    const own = chunk.toString('latin1', Math.max(0, at - NAME_BYTES_MAX), at);
    return at < NAME_BYTES_MAX ? this.tail.toString('latin1') + own : own;
  }
}

function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/**
 * Finds the commas between the elements of an array whose bytes come in pieces, from behind its opening bracket. Splits
 * the bytes by brackets and leaves everything else to the parser, so whatever is no JSON is found there.
 */
class ArraySplitter {
  /** Bytes of the batch so far that lie in former chunks. */
  private held: Buffer[] = [];
  private heldBytes = 0;
  /** Commas between elements of the batch so far. */
  private commas = 0;
  /** Whether a comma has ended a batch, so that another element must follow. */
  private owesElement = false;
  private depth = 1;
  private inString = false;
  private escaped = false;
  /** Bytes of the element so far that lie in former chunks. */
  private rowBytes = 0;

  constructor(private readonly limits: BatchLimits) {}

  get ended(): boolean {
    return this.depth === 0;
  }

  /** The batches that the chunk completes. Nothing but blanks may follow the array's end. */
  push(chunk: Buffer): unknown[][] {
    const { batches, after } = this.ended ? { batches: [], after: chunk } : this.feed(chunk);
    if (after !== null && !isBlank(after)) throw new ListJsonError('not_json', 'something follows its end');
    return batches;
  }

  /** The batches that the chunk completes, and what of it follows the array's end; null: the end has not come. */
  feed(chunk: Buffer): { batches: unknown[][]; after: Buffer | null } {
    const { length } = chunk;
    const batches: unknown[][] = [];
    // The state lives in locals while the chunk is walked: this loop sees every byte of every list.
    let { depth, inString, escaped } = this;
    let batchStart = 0;
    let rowStart = -this.rowBytes;
    for (let i = 0; i < length; i += 1) {
      const byte = chunk[i];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth -= 1;
        if (depth > 0) continue;
        // Which bracket closed what is for the parser to say, but this one it never sees.
        if (byte === CLOSE_BRACE) throw new ListJsonError('not_json', 'it is not JSON');
        this.hold(chunk.subarray(batchStart, i));
        this.depth = 0;
        return { batches, after: chunk.subarray(i + 1) };
      } else if (byte === COMMA && depth === 1) {
        rowStart = i + 1;
        this.commas += 1;
        if (this.commas < this.limits.rows && this.heldBytes + i - batchStart < this.limits.batchBytes) continue;
        this.hold(chunk.subarray(batchStart, i));
        batches.push(this.take(this.commas));
        this.owesElement = true;
        batchStart = i + 1;
      }
    }
    this.depth = depth;
    this.inString = inString;
    this.escaped = escaped;
    this.rowBytes = length - rowStart;
    if (this.rowBytes > this.limits.rowBytesMax)
      throw new ListJsonError('too_many_bytes', `a row has more than ${this.limits.rowBytesMax} bytes`);
    this.hold(chunk.subarray(batchStart));
    return { batches, after: null };
  }

  /** The last batch. Throws when the closing bracket has not come. */
  end(): unknown[] {
    if (this.depth > 0) throw new ListJsonError('not_json', 'it breaks off');
    if (this.commas === 0 && !this.owesElement && this.held.every(isBlank)) return [];
    return this.take(this.commas + 1);
  }

  private hold(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.held.push(bytes);
    this.heldBytes += bytes.length;
  }

  private take(count: number): unknown[] {
    const pieces = [OPENING, ...this.held, CLOSING];
    const elements = this.limits.everyMember === true ? parseEveryMember(pieces) : parseListJson(pieces);
    // "[1,,2]" is no JSON to the parser, but a batch of nothing is to be seen by its count only.
    if (!Array.isArray(elements) || elements.length !== count) throw new ListJsonError('not_json', 'it is not JSON');
    this.held = [];
    this.heldBytes = 0;
    this.commas = 0;
    return elements;
  }
}

const NOTHING = Buffer.alloc(0);
const OPENING = Buffer.from('[');
const CLOSING = Buffer.from(']');
const EMPTY_ARRAY = Buffer.from('[]');

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}
