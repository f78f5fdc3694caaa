import zlib from 'node:zlib';
import * as fc from 'fast-check';
import { bodyText } from '../../src/partners/response-body';
import { describeResponse } from '../../src/partners/response-words';

const MAX = 16 * 1024;
const OK = '{"status":"OK","note":"é"}';

describe('the text of an answer', () => {
  it.each<readonly [string, Buffer, string | null, string | null]>([
    ['plain', Buffer.from(OK), null, 'application/json'],
    ['without a type', Buffer.from(OK), null, null],
    ['gzip', zlib.gzipSync(OK), 'gzip', 'application/json'],
    ['X-GZIP with blanks', zlib.gzipSync(OK), ' X-GZIP ', 'application/json; charset=utf-8'],
    ['deflate', zlib.deflateSync(OK), 'deflate', null],
    ['deflate without its head', zlib.deflateRawSync(OK), 'deflate', null],
    ['br', zlib.brotliCompressSync(OK), 'br', null],
    ['gzip, then br', zlib.brotliCompressSync(zlib.gzipSync(OK)), 'gzip, br', null],
    ['identity', Buffer.from(OK), 'identity', null],
    ['UTF-8 with a mark', Buffer.from(`\ufeff${OK}`), null, null],
    ['UTF-16LE', Buffer.from(OK, 'utf16le'), null, 'application/json;charset="UTF-16LE"'],
    [
      'UTF-16 of the other order, by its mark',
      Buffer.from(`\ufeff${OK}`, 'utf16le').swap16(),
      null,
      'application/json; charset=utf-16',
    ],
    ['UTF-16 in gzip', zlib.gzipSync(Buffer.from(OK, 'utf16le')), 'gzip', 'application/json; charset=utf-16le'],
    ['Latin-1', Buffer.from(OK, 'latin1'), null, 'application/json; charset=ISO-8859-1'],
  ])('%s', (_how, bytes, coding, type) => {
    expect(bodyText(bytes, coding, type, MAX)).toEqual({ text: OK, unreadable: null });
  });

  it.each<readonly [string, Buffer, string | null, string | null, RegExp]>([
    [
      '8 MB of nothing in gzip',
      zlib.gzipSync(Buffer.alloc(8_000_000)),
      'gzip',
      null,
      /unpacks \(gzip\) to more than 16384 bytes/,
    ],
    [
      'a bomb in a bomb',
      zlib.brotliCompressSync(zlib.gzipSync(Buffer.alloc(8_000_000))),
      'gzip, br',
      null,
      /unpacks \(gzip\) to more than/,
    ],
    ['gzip that is none', Buffer.from(OK), 'gzip', null, /is said to be gzip and is not/],
    ['gzip cut off', zlib.gzipSync(OK).subarray(0, 20), 'gzip', null, /or is cut off/],
    ['a coding nobody knows', Buffer.from(OK), 'lzma', null, /is packed as "lzma"/],
    ['a coding of the prototype', Buffer.from(OK), 'constructor', null, /is packed as "constructor"/],
    ['packed without end', Buffer.from(OK), 'gzip, gzip, gzip, gzip', null, /is packed 4 times/],
    [
      'a charset nobody knows',
      Buffer.from(OK),
      null,
      'application/json; charset=klingon',
      /is in the charset "klingon"/,
    ],
  ])('%s is no text, and it says why', (_how, bytes, coding, type, why) => {
    expect(bodyText(bytes, coding, type, MAX)).toEqual({ text: '', unreadable: expect.stringMatching(why) });
  });

  it('never throws and never grows beyond its bound, whatever comes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom(null, 'gzip', 'deflate', 'br', 'gzip, deflate', 'x', ''),
        fc.constantFrom(null, 'a/b', 'a/b; charset=utf-16', 'a/b; charset=', 'a/b; charset=latin1'),
        (bytes, coding, type) => bodyText(Buffer.from(bytes), coding, type, 1000).text.length <= 1000,
      ),
    );
  });
});

describe('an answer in one line', () => {
  const head = (fields: object) => ({
    contentType: null,
    contentEncoding: null,
    location: null,
    unreadable: null,
    bytes: Buffer.alloc(0),
    ...fields,
  });

  it.each<readonly [string, number, string, object, string]>([
    ['nothing', 200, '', {}, 'HTTP 200 with an empty body'],
    ['blanks', 200, ' \r\n', {}, 'HTTP 200 with an empty body'],
    [
      'HTML',
      200,
      '<!doctype html>\n<p>Sign in',
      {},
      'HTTP 200 with HTML instead of JSON, beginning "<!doctype html> <p>Sign in"',
    ],
    [
      'XML',
      200,
      '<?xml version="1.0"?><ok/>',
      {},
      'HTTP 200 with XML instead of JSON, beginning "<?xml version=\\"1.0\\"?><ok/>"',
    ],
    [
      'XML by its type',
      200,
      '<ok/>',
      { contentType: 'application/soap+xml' },
      'HTTP 200 with XML instead of JSON, beginning "<ok/>"',
    ],
    ['an array', 200, '[{"status":"OK"}]', {}, 'HTTP 200 with a JSON array instead of an object'],
    ['a word', 200, '"OK"', {}, 'HTTP 200 with a JSON value that is no object'],
    [
      'duplicate keys',
      200,
      '{"status":"OK","status":"NO"}',
      {},
      'HTTP 200 with text that is no JSON (key "status" stands twice), beginning "{\\"status\\":\\"OK\\",\\"status\\":\\"NO\\"}"',
    ],
    [
      'bytes that could not be unpacked',
      502,
      '',
      { unreadable: 'is packed as "zstd"', bytes: Buffer.from('(\xb5/\xfd', 'latin1') },
      'HTTP 502 with a body that is packed as "zstd"',
    ],
    [
      'an error with code and sentence',
      500,
      '{"error":"E17","errorDescription":"down for the night"}',
      {},
      'HTTP 500: E17: down for the night',
    ],
    [
      'an error one level down',
      400,
      '{"error":{"code":"BAD","message":"no such currency"}}',
      {},
      'HTTP 400: BAD: no such currency',
    ],
    ['a problem document', 503, '{"title":"Busy","detail":"try later"}', {}, 'HTTP 503: try later'],
    ['an object without words', 500, '{"ok":false}', {}, 'HTTP 500'],
    [
      'a redirect with a token',
      302,
      '',
      { location: 'https://u:p@login.example/in?token=1' },
      'HTTP 302 to https://login.example/in',
    ],
    ['a redirect within', 301, '', { location: '/v3?x=1' }, 'HTTP 301 to /v3'],
  ])('%s', (_what, status, body, fields, line) => {
    expect(describeResponse({ status, body, retryAfterMs: null, head: head(fields) })).toBe(line);
  });
});
