import { LosslessNumber, isSafeNumber, parse } from 'lossless-json';

/** Deeper nesting has no honest use on these wires and would cost stack. */
const DEPTH_MAX = 32;
/** What tells a key from a text. Sticky: it looks only where lastIndex points. */
const COLON_NEXT = /\s*:/y;
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype']);
/** A number of more digits than every double holds, or with an exponent; or a text with a colon that looks like it. */
const DOUBTFUL_NUMBER = /:\s*-?(?:[\d.]{16}|[\d.]{1,15}[eE])/;

/** Why a text is not JSON that we take; the message is fit for the sender's eyes. */
export class ExactJsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ExactJsonError';
  }
}

/**
 * JSON.parse that never rounds: a number whose digits a double cannot hold becomes a LosslessNumber, or NaN where
 * `inexact` says so (for readers that check numbers and would trip over a foreign class). Duplicate keys are refused,
 * since two readers of one body must not see two amounts, and so are keys that reach into prototypes.
 */
export function parseExactJson(text: string, inexact: 'lossless' | 'nan' = 'lossless'): unknown {
  // RFC 8259 lets a reader ignore a byte order mark, and some partners write one.
  if (text.startsWith('\ufeff')) return parseExactJson(text.slice(1), inexact);
  const flat = parseFlat(text);
  if (flat !== undefined) return flat;
  if (nesting(text) > DEPTH_MAX) throw new ExactJsonError(`nested deeper than ${DEPTH_MAX} levels`);
  try {
    return parse(text, refuseForbiddenKeys, {
      parseNumber: (digits) =>
        isSafeNumber(digits) ? Number(digits) : inexact === 'nan' ? Number.NaN : new LosslessNumber(digits),
      onDuplicateKey: ({ key }) => {
        throw new ExactJsonError(`key ${JSON.stringify(key)} stands twice`);
      },
    });
  } catch (error) {
    if (error instanceof ExactJsonError) throw error;
    throw new ExactJsonError(error instanceof Error ? error.message : 'not JSON');
  }
}

/**
 * As parseExactJson with NaN for what a double cannot hold, and refuses a key that stands twice also when both values
 * are the same.
 */
export function parseStrictJson(text: string): unknown {
  const flat = parseFlat(text);
  if (flat !== undefined) return flat;
  const value = parseExactJson(text, 'nan');
  const twice = repeatedKey(text);
  if (twice !== null) throw new ExactJsonError(`key ${JSON.stringify(twice)} stands twice`);
  return value;
}

/**
 * One object of plain values, in which JSON.parse can neither round nor lose anything; undefined for whatever may be
 * more than that, and then the thorough reader decides and explains. Nearly every message on these wires is such an
 * object, and JSON.parse reads it in a fifth of the time.
 */
function parseFlat(text: string): Record<string, unknown> | undefined {
  // No escapes: once V8 has read an object with the keys "a" and "\\", it takes the second key of {"a":1,"\u0061":2}
  // for a backslash (seen in Node 20 and 24).
  if (text.includes('\\') || DOUBTFUL_NUMBER.test(text)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const flat = value as Record<string, unknown>;
  // Each text has two quotes. A key that stood twice makes the text have more of them than the object accounts for.
  let quotes = 0;
  for (const key of Object.keys(flat)) {
    const entry = flat[key];
    if (FORBIDDEN_KEYS.has(key) || (typeof entry === 'object' && entry !== null)) return undefined;
    quotes += typeof entry === 'string' ? 4 : 2;
  }
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) quotes -= 1;
  return quotes === 0 ? flat : undefined;
}

/** The digits of a JSON number, or the text of a JSON string; null for anything else. */
export function decimalText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  return value instanceof LosslessNumber ? value.value : null;
}

/**
 * First key that stands twice in one object of a valid JSON text, also when both values are the same: parseExactJson,
 * like the parser below it, tells only keys whose values differ. Callers are held to the stricter rule, partners'
 * answers are not.
 */
export function repeatedKey(text: string): string | null {
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (char === '"') {
      const start = i;
      for (i += 1; text[i] !== '"'; i += 1) if (text[i] === '\\') i += 1;
      const keys = open.at(-1);
      COLON_NEXT.lastIndex = i + 1;
      if (keys === null || keys === undefined || !COLON_NEXT.test(text)) continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (keys.has(key)) return key;
      keys.add(key);
    } else if (char === '{') open.push(new Set());
    else if (char === '[') open.push(null);
    else if (char === '}' || char === ']') open.pop();
  }
  return null;
}

function refuseForbiddenKeys(key: string, value: unknown): unknown {
  if (FORBIDDEN_KEYS.has(key)) throw new ExactJsonError(`key ${JSON.stringify(key)} is not allowed`);
  return value;
}

function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const char = text.charCodeAt(i);
    if (inString) {
      if (char === 0x5c) i += 1;
      else if (char === 0x22) inString = false;
    } else if (char === 0x22) inString = true;
    else if (char === 0x7b || char === 0x5b) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (char === 0x7d || char === 0x5d) depth -= 1;
  }
  return deepest;
}
