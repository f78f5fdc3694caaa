import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** An HTTP answer, complete but not yet on the wire. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export const JSON_TYPE = 'application/json; charset=utf-8';

export function jsonAnswer(status: number, body: string): Answer {
  return { status, headers: { 'Content-Type': JSON_TYPE }, body };
}

export function errorAnswer(status: number, fields: { reason?: string; code?: string }): Answer {
  return jsonAnswer(status, JSON.stringify({ status: 'ERROR', ...fields }));
}

/**
 * An answer as a test wants it: a string body is sent as it is, any other as JSON;
 * without a body it is the mocks' error shape.
 */
export function injectedAnswer(spec: {
  status: number;
  body: unknown;
  contentType: string | null;
  headers: Record<string, string>;
}): Answer {
  const body = spec.body === undefined ? { status: 'ERROR', reason: `injected ${spec.status}` } : spec.body;
  const contentType = spec.contentType ?? (typeof body === 'string' ? 'text/plain; charset=utf-8' : JSON_TYPE);
  return {
    status: spec.status,
    headers: { 'Content-Type': contentType, ...spec.headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  };
}

/**
 * 429 or 503 with `Retry-After` in seconds, or as an HTTP date rounded up, so that it never asks for less than was
 * meant.
 */
export function throttleAnswer(spec: {
  status: number;
  retryAfter: number;
  retryAfterForm: 'seconds' | 'date';
}): Answer {
  const retryAt = new Date(Math.ceil(Date.now() / 1000 + spec.retryAfter) * 1000);
  const retryAfter = spec.retryAfterForm === 'date' ? retryAt.toUTCString() : spec.retryAfter.toString();
  const answer = errorAnswer(spec.status, { reason: 'too many requests' });
  return { ...answer, headers: { ...answer.headers, 'Retry-After': retryAfter } };
}

/** Sends the answer; false when the client has left already and nothing can reach it. */
export function send(response: ServerResponse, answer: Answer): boolean {
  if (response.destroyed) return false;
  response.writeHead(answer.status, { ...answer.headers, 'Content-Length': Buffer.byteLength(answer.body) });
  response.end(answer.body);
  return true;
}

/** Breaks the connection with a TCP reset: the client sees ECONNRESET and cannot know what was done. */
export function reset(response: ServerResponse): void {
  response.socket?.resetAndDestroy();
}

/**
 * Sends the headers at once and the body one byte every `ms` milliseconds; false when the client left before the end.
 */
export async function drip(response: ServerResponse, answer: Answer, ms: number): Promise<boolean> {
  if (response.destroyed) return false;
  const bytes = Buffer.from(answer.body);
  response.writeHead(answer.status, { ...answer.headers, 'Content-Length': bytes.length });
  response.flushHeaders();
  for (let index = 0; index < bytes.length; index++) {
    await pause(ms);
    if (response.destroyed) return false;
    response.write(bytes.subarray(index, index + 1));
  }
  response.end();
  return true;
}

/** Waits without keeping the process alive for it. */
export async function pause(ms: number): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { ref: false });
}

/**
 * Streams the chunks as the body, at the client's pace; false when the client left before the end, which is its right.
 * Throws whatever else goes wrong.
 */
export async function sendStream(response: ServerResponse, status: number, chunks: Iterable<string>): Promise<boolean> {
  if (response.destroyed) return false;
  response.writeHead(status, { 'Content-Type': JSON_TYPE });
  try {
    await pipeline(Readable.from(chunks, { objectMode: true, highWaterMark: 2 }), response);
    return true;
  } catch (error) {
    if (isClientGone(error)) return false;
    throw error;
  }
}

/** The rows' JSON texts, made one by one as they are asked for. */
export function* jsonTexts(rows: Iterable<object>): Generator<string> {
  for (const row of rows) yield JSON.stringify(row);
}

/**
 * Streams a bare JSON array from rows that are JSON texts already, in chunks of about 64 KiB: never one giant string.
 */
export async function sendJsonArray(response: ServerResponse, rows: Iterable<string>): Promise<void> {
  await sendStream(response, 200, arrayChunks(rows));
}

const CHUNK_CHARS = 64 * 1024;

function* arrayChunks(rows: Iterable<string>): Generator<string> {
  let chunk = '[';
  let separator = '';
  for (const row of rows) {
    chunk += separator + row;
    separator = ',';
    if (chunk.length >= CHUNK_CHARS) {
      yield chunk;
      chunk = '';
    }
  }
  yield chunk + ']';
}

function isClientGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return (
    code === 'ERR_STREAM_PREMATURE_CLOSE' ||
    code === 'ECONNRESET' ||
    code === 'EPIPE' ||
    code === 'ERR_STREAM_DESTROYED'
  );
}
