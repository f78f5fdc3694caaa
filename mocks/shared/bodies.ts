import { type PipeTransform } from '@nestjs/common';
import { parse, stringify } from 'lossless-json';
import { badRequest, isJsonObject, type JsonObject } from './fields';

/** The body's bytes: the parser hands over a Buffer, or nothing when the request had no body. */
export function rawBytes(body: unknown): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

/** A JSON object whose numbers keep their text (LosslessNumber), or null when the bytes are not one. */
export function parseExactObject(raw: Buffer): JsonObject | null {
  try {
    const value = parse(raw.toString('utf8'));
    return isJsonObject(value) ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** JSON text in which a LosslessNumber keeps the digits it came with. */
export function exactJson(value: JsonObject): string {
  // The library types its answer for a bare undefined, too; an object always has a text.
  return stringify(value) ?? '{}';
}

/**
 * Turns the raw bytes of a control request into its JSON object; no body counts as `{}`. Throws 400 on anything else.
 */
export class JsonObjectPipe implements PipeTransform<unknown, JsonObject> {
  transform(body: unknown): JsonObject {
    const raw = rawBytes(body);
    if (raw.length === 0) return {};
    try {
      const value: unknown = JSON.parse(raw.toString('utf8'));
      if (isJsonObject(value)) return value;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    throw badRequest('the body must be a JSON object');
  }
}

/** The same with exact numbers (LosslessNumber), for bodies that carry amounts. */
export class ExactObjectPipe implements PipeTransform<unknown, JsonObject> {
  transform(body: unknown): JsonObject {
    const value = parseExactObject(rawBytes(body));
    if (value === null) throw badRequest('the body must be a JSON object');
    return value;
  }
}
