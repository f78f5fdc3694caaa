import { shownUrl } from '../kernel/base-url';
import { ExactJsonError, parseExactJson } from '../json/exact-json';
import type { ResponseBody } from './partner-http';

/** Of a response that makes no sense, as much as tells an error page from a typing error. */
const FIRST_BYTES = 120;
const WORDS_MAX = 200;
/** Where partners put what went wrong: a code first, then a sentence. */
const CODES = ['reason', 'code', 'errorCode', 'error_code', 'error'] as const;
const SENTENCES = [
  'detail',
  'message',
  'errorDescription',
  'error_description',
  'errorMessage',
  'error_message',
  'description',
  'title',
] as const;

/** Text of a partner that may be stored and logged: short, on one line, without what the store does not take. */
export function tidyText(text: string, length = WORDS_MAX): string {
  return text
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, length)
    .toWellFormed();
}

/** What the partner itself says went wrong, code and sentence; null when it does not say. */
export function ownWords(body: string): string | null {
  let value: unknown;
  try {
    value = parseExactJson(body);
  } catch {
    return null;
  }
  const words = [...new Set(wordsIn(value))];
  return words.length === 0 ? null : tidyText(words.join(': '));
}

function wordsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  const fields = value as Readonly<Record<string, unknown>>;
  const first = (names: readonly string[]): string[] => {
    const found = names.map((name) => fields[name]).find((field) => typeof field === 'string' && field !== '');
    return typeof found === 'string' ? [found] : [];
  };
  const nested = wordsIn(fields.error);
  return nested.length > 0 ? nested : [...first(CODES), ...first(SENTENCES)];
}

/**
 * A response in one line: status, where it redirects to, and what the body is, classified by what a person would check
 * next.
 */
export function describeResponse(response: ResponseBody): string {
  const { status, head } = response;
  const location = head?.location ?? null;
  if (status >= 300 && status < 400 && location !== null)
    return `HTTP ${status} to ${URL.canParse(location) ? shownUrl(location) : tidyText(location.split(/[?#]/, 1)[0] ?? '')}`;
  const words = ownWords(response.body);
  if (words !== null) return `HTTP ${status}: ${words}`;
  const body = bodyKind(response);
  return body === null ? `HTTP ${status}` : `HTTP ${status} with ${body}`;
}

/** What a body is that is no JSON object; null for one that is. */
export function bodyKind(response: ResponseBody): string | null {
  const { body, head } = response;
  const type = head?.contentType ?? '';
  const start = (): string => `, beginning ${JSON.stringify(firstBytes(response))}`;
  if (head !== undefined && head.unreadable !== null) return `a body that ${head.unreadable}`;
  if (body.trim() === '') return 'an empty body';
  if (/^\s*<\?xml/i.test(body) || (/\bxml\b/i.test(type) && body.trimStart().startsWith('<')))
    return `XML instead of JSON${start()}`;
  if (body.trimStart().startsWith('<')) return `HTML instead of JSON${start()}`;
  try {
    const value = parseExactJson(body);
    if (Array.isArray(value)) return 'a JSON array instead of an object';
    return typeof value === 'object' && value !== null ? null : 'a JSON value that is no object';
  } catch (error) {
    return `text that is no JSON (${tidyText(error instanceof ExactJsonError ? error.message : 'unreadable')})${start()}`;
  }
}

/** The beginning of what was read, or of the bytes where nothing could be. */
export function firstBytes({ body, head }: ResponseBody): string {
  return tidyText(
    head !== undefined && head.unreadable !== null
      ? head.bytes.subarray(0, FIRST_BYTES).toString('latin1')
      : body.slice(0, 2 * FIRST_BYTES),
    FIRST_BYTES,
  );
}
