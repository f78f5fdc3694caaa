import zlib from 'node:zlib';

/** A sender that packs more often than this is none. */
const CODINGS_MAX = 3;
const BYTE_ORDER_MARKS = [
  { bytes: Buffer.from([0xef, 0xbb, 0xbf]), charset: 'utf-8' },
  { bytes: Buffer.from([0xff, 0xfe]), charset: 'utf-16le' },
  { bytes: Buffer.from([0xfe, 0xff]), charset: 'utf-16be' },
];

const OTHER_CHARSET = /;\s*charset\s*=\s*"?(?!utf-?8\b)/i;

type Unpack = (bytes: Buffer, options: zlib.ZlibOptions & zlib.BrotliOptions) => Buffer;

/** Content codings of RFC 9110 and what browsers know besides. zstd is not in every Node that runs the hub. */
const UNPACK: Readonly<Record<string, Unpack>> = {
  gzip: zlib.gunzipSync,
  'x-gzip': zlib.gunzipSync,
  // The RFC means zlib's form; many send the bare one. The first byte tells them apart.
  deflate: (bytes, options) =>
    (((bytes[0] ?? 0) & 0x0f) === 8 ? zlib.inflateSync : zlib.inflateRawSync)(bytes, options),
  br: zlib.brotliDecompressSync,
};

export interface BodyText {
  readonly text: string;
  /** Why there is no text, in words that follow "its body"; null when there is. */
  readonly unreadable: string | null;
}

/**
 * The text of a response's body: unpacked although no compression was requested, since proxies compress as they like,
 * and by its own charset. Never longer than `bytesMax`, whatever it unpacks to. Not asynchronous: the bound is far
 * below what would hold the process up.
 */
export function bodyText(
  bytes: Buffer,
  contentEncoding: string | null,
  contentType: string | null,
  bytesMax: number,
): BodyText {
  const first = bytes[0] ?? 0;
  if (contentEncoding === null && first < 0xef && !OTHER_CHARSET.test(contentType ?? ''))
    return { text: bytes.toString('utf8'), unreadable: null };
  let plain = bytes;
  const codings = (contentEncoding ?? '')
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length > CODINGS_MAX) return { text: '', unreadable: `is packed ${codings.length} times` };
  for (const coding of codings.reverse()) {
    // Some name a coding and then send nothing, or plain bytes that are no packed ones; an empty body needs no
    // unpacking.
    if (plain.length === 0) break;
    const unpack = Object.hasOwn(UNPACK, coding) ? UNPACK[coding] : undefined;
    if (unpack === undefined)
      return { text: '', unreadable: `is packed as ${shortened(coding)}, which the hub cannot unpack` };
    try {
      plain = unpack(plain, { maxOutputLength: bytesMax });
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      return {
        text: '',
        unreadable:
          code === 'ERR_BUFFER_TOO_LARGE'
            ? `unpacks (${coding}) to more than ${bytesMax} bytes`
            : `is said to be ${coding} and is not, or is cut off (${code})`,
      };
    }
  }
  const mark = BYTE_ORDER_MARKS.find((candidate) => plain.subarray(0, candidate.bytes.length).equals(candidate.bytes));
  const charset = mark?.charset ?? charsetOf(contentType);
  try {
    // TextDecoder takes a byte order mark away.
    return {
      text: charset === 'utf-8' && mark === undefined ? plain.toString('utf8') : new TextDecoder(charset).decode(plain),
      unreadable: null,
    };
  } catch {
    return { text: '', unreadable: `is in the charset ${shortened(charset)}, which the hub does not know` };
  }
}

function charsetOf(contentType: string | null): string {
  const named = /;\s*charset\s*=\s*(?:"([^"]*)"|([^\s;"]+))/i.exec(contentType ?? '');
  return (named?.[1] ?? named?.[2] ?? 'utf-8').trim().toLowerCase();
}

/** Foreign words in our own texts: short, and of one line. */
function shortened(word: string): string {
  return JSON.stringify(word.slice(0, 40));
}
