import type { NextFunction, Response } from 'express';
import { createHash } from 'node:crypto';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import { HubError } from '../kernel/errors';
import type { HubRequest } from './access';
import type { Pacer } from './pacer';

/**
 * Page, script, both forms of the document and the files of Swagger UI are some fifteen; no path that names none of
 * them is ever kept.
 */
const KEPT_MAX = 32;
/** Writing so many bytes costs about what refusing a request does. */
const BYTES_PER_SHARE = 50_000;
const DOCUMENT = /^\/swagger(-json|-yaml|\/[\w.-]*)?$/;

type Coding = 'br' | 'gzip' | 'identity';

interface KeptDocument {
  readonly type: string;
  readonly tag: string;
  readonly bytes: Readonly<Record<Coding, Buffer>>;
}

export interface ApiDocumentsOptions {
  readonly access: 'public' | 'token' | 'off';
  readonly hasToken: (request: HubRequest) => boolean;
  readonly pacer: Pacer;
}

/**
 * Stands before everything below /swagger: who may have it, and each response made once and kept as bytes, plain and
 * compressed, with an ETag. The document is some 300 KB; generating it for every request, without a token, would cost
 * more than the debits of that second.
 */
export function apiDocuments({
  access,
  hasToken,
  pacer,
}: ApiDocumentsOptions): (request: HubRequest, response: Response, next: NextFunction) => void {
  const kept = new Map<string, KeptDocument>();
  /** Ends, however it ends, when nothing more comes of the making. */
  const making = new Map<string, Promise<void>>();
  const answer = (request: HubRequest, response: Response, next: NextFunction): void => {
    // Kept apart: what serves the files of Swagger UI sees only the rest of the path behind its folder, and so would we
    // once it has begun.
    const { path } = request;
    const document = kept.get(path);
    if (document !== undefined) return serve(document, request, response, pacer);
    // A HEAD has no bytes to keep, and part of a file is none.
    if (request.method !== 'GET' || kept.size >= KEPT_MAX) return next();
    // Who comes while it is made waits for it. Eight who ask at once must not have it made eight times.
    const made = making.get(path);
    if (made !== undefined)
      return void made.then(() => (response.destroyed ? undefined : answer(request, response, next)));
    delete request.headers.range;
    making.set(
      path,
      new Promise<void>((resolve) => {
        response.once('close', resolve);
        collectResponse(response, (finished) => {
          kept.set(path, finished);
          resolve();
          serve(finished, request, response, pacer);
        });
      }).finally(() => making.delete(path)),
    );
    next();
  };
  return (request, response, next) => {
    if (!DOCUMENT.test(request.path)) return next();
    if (access === 'off') return next(new HubError('not_found'));
    if (access === 'token' && !hasToken(request)) return next(new HubError('unauthorized'));
    if (request.method !== 'GET' && request.method !== 'HEAD') return next();
    answer(request, response, next);
  };
}

function serve(document: KeptDocument, request: HubRequest, response: Response, pacer: Pacer): void {
  const coding = codingFor(request.headers['accept-encoding']);
  const bytes = document.bytes[coding];
  const tag = coding === 'identity' ? `"${document.tag}"` : `"${document.tag}-${coding}"`;
  response.setHeader('ETag', tag);
  response.setHeader('Vary', 'Accept-Encoding');
  response.setHeader('Cache-Control', 'no-cache');
  const same = hasTag(request.headers['if-none-match'], document.tag);
  pacer.run(response, same ? 1 : 1 + bytes.length / BYTES_PER_SHARE, () => {
    if (same) return void response.status(304).end();
    response.setHeader('Content-Type', document.type);
    if (coding !== 'identity') response.setHeader('Content-Encoding', coding);
    response.setHeader('Content-Length', String(bytes.length));
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
}

/**
 * Holds back what is written into the response until it is whole, and hands it over if it is a document; anything else
 * goes out as it is.
 */
function collectResponse(response: Response, serveMade: (document: KeptDocument) => void): void {
  const chunks: Buffer[] = [];
  const { write, end } = response;
  const collect = (chunk: unknown): void => {
    if (typeof chunk === 'string' || chunk instanceof Uint8Array) chunks.push(Buffer.from(chunk as string));
  };
  response.write = ((chunk: unknown) => {
    collect(chunk);
    return true;
  }) as typeof write;
  response.end = ((chunk: unknown) => {
    collect(chunk);
    Object.assign(response, { write, end });
    const identity = Buffer.concat(chunks);
    if (response.statusCode !== 200) return response.end(identity);
    const type = String(response.getHeader('Content-Type') ?? 'application/octet-stream');
    const tag = createHash('sha256').update(identity).digest('base64url').slice(0, 27);
    for (const name of ['Content-Length', 'Last-Modified', 'Accept-Ranges']) response.removeHeader(name);
    compressed(identity).then(
      (bytes) => serveMade({ type, tag, bytes: { identity, ...bytes } }),
      (error: Error) => response.destroy(error),
    );
    return response;
  }) as typeof end;
}

/** In the thread pool, once per document. */
async function compressed(identity: Buffer): Promise<{ br: Buffer; gzip: Buffer }> {
  const [br, zipped] = await Promise.all([
    promisify(brotliCompress)(identity, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
    promisify(gzip)(identity),
  ]);
  return { br, gzip: zipped };
}

function codingFor(accept: string | string[] | undefined): Coding {
  const taken = new Map(
    String(accept ?? '')
      .toLowerCase()
      .split(',')
      .slice(0, 16)
      .map((part): [string, boolean] => {
        const [coding = '', ...parameters] = part.split(';').map((piece) => piece.trim());
        return [coding, !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))];
      }),
  );
  return taken.get('br') === true ? 'br' : taken.get('gzip') === true ? 'gzip' : 'identity';
}

/** Weak or strong, of whichever coding: all of them are the same document. */
function hasTag(header: string | undefined, tag: string): boolean {
  return (
    header === '*' ||
    (header ?? '')
      .split(',')
      .slice(0, 16)
      .some(
        (part) =>
          part
            .trim()
            .replace(/^W\//, '')
            .replace(/(-br|-gzip)?"$/, '')
            .replace(/^"/, '') === tag,
      )
  );
}
