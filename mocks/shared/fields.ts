import { BadRequestException } from '@nestjs/common';

/** A JSON object as parsed. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** 400 in the one error shape of the mocks: `{"status": "ERROR", "reason": "…"}`. */
export function badRequest(reason: string): BadRequestException {
  return new BadRequestException({ status: 'ERROR', reason });
}

/**
 * Reads the fields of a control request and collects every complaint, so that one answer names them all.
 * A reader method returns a placeholder for a bad field; `finish` then throws, so the placeholder is never used.
 */
export class Fields {
  private readonly complaints: string[] = [];
  private readonly read = new Set<string>();

  constructor(private readonly input: JsonObject) {}

  /** A non-empty string. */
  text(name: string): string {
    const value = this.take(name);
    if (typeof value === 'string' && value !== '') return value;
    this.complain(name, 'must be a non-empty string');
    return '';
  }

  optionalText(name: string): string | null {
    return this.has(name) ? this.text(name) : this.absent(name);
  }

  /** One of the given words; the fallback when absent, required when there is no fallback. */
  word<const W extends string>(name: string, words: readonly W[], fallback?: W): W {
    if (!this.has(name) && fallback !== undefined) return this.absent(name) ?? fallback;
    const value = this.take(name);
    const word = words.find((candidate) => candidate === value);
    if (word !== undefined) return word;
    this.complain(name, `must be one of ${words.join(', ')}`);
    return words[0] as W;
  }

  optionalWord<const W extends string>(name: string, words: readonly W[]): W | null {
    return this.has(name) ? this.word(name, words) : this.absent(name);
  }

  /** An integer within min..max; the fallback when absent, required when there is no fallback. */
  integer(name: string, min: number, max: number, fallback?: number): number {
    if (!this.has(name) && fallback !== undefined) return this.absent(name) ?? fallback;
    const value = this.take(name);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    this.complain(name, `must be an integer from ${min} to ${max}`);
    return min;
  }

  optionalInteger(name: string, min: number, max: number): number | null {
    return this.has(name) ? this.integer(name, min, max) : this.absent(name);
  }

  /**
   * An amount in minor units of zero or more, as a JSON integer or, beyond 2^53, as a string of digits; null when
   * absent.
   */
  optionalMinor(name: string): bigint | null {
    if (!this.has(name)) return this.absent(name);
    const value = this.take(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
    if (typeof value === 'string' && /^\d{1,30}$/.test(value)) return BigInt(value);
    this.complain(name, 'must be a whole number of minor units');
    return 0n;
  }

  /** A number from 0 to 1, or null when absent. */
  optionalShare(name: string): number | null {
    if (!this.has(name)) return this.absent(name);
    const value = this.take(name);
    if (typeof value === 'number' && value >= 0 && value <= 1) return value;
    this.complain(name, 'must be a number from 0 to 1');
    return 0;
  }

  /** A boolean, false when absent. */
  flag(name: string): boolean {
    return this.optionalFlag(name) ?? false;
  }

  optionalFlag(name: string): boolean | null {
    if (!this.has(name)) return this.absent(name);
    const value = this.take(name);
    if (typeof value === 'boolean') return value;
    this.complain(name, 'must be true or false');
    return false;
  }

  /** Any JSON value, undefined when absent. */
  anything(name: string): unknown {
    return this.take(name);
  }

  /** An object of header names and string values, empty when absent. */
  headers(name: string): Record<string, string> {
    if (!this.has(name)) return this.absent(name) ?? {};
    const value = this.take(name);
    if (isJsonObject(value) && Object.entries(value).every((entry) => isHeader(entry)))
      return value as Record<string, string>;
    this.complain(name, 'must be an object of header names and printable string values');
    return {};
  }

  /** An http or https address, or null when absent. */
  optionalUrl(name: string): string | null {
    const value = this.optionalText(name);
    if (value === null || (/^https?:\/\//.test(value) && URL.canParse(value))) return value;
    this.complain(name, 'must be an http or https address');
    return null;
  }

  /** A point in time in ISO 8601 as ms epoch, or null when absent. */
  optionalTime(name: string): number | null {
    const value = this.optionalText(name);
    if (value === null) return null;
    const ms = /^\d{4}-\d{2}-\d{2}T/.test(value) ? Date.parse(value) : Number.NaN;
    if (!Number.isNaN(ms)) return ms;
    this.complain(name, 'must be a time in ISO 8601');
    return null;
  }

  complain(name: string, text: string): void {
    this.complaints.push(`${name} ${text}`);
  }

  /** Throws 400 with every complaint, among them unknown fields. */
  finish(): void {
    const unknown = Object.keys(this.input).filter((name) => !this.read.has(name));
    const all = [...this.complaints, ...unknown.map((name) => `${name} is not known here`)];
    if (all.length > 0) throw badRequest(all.join('; '));
  }

  private has(name: string): boolean {
    return this.input[name] !== undefined && this.input[name] !== null;
  }

  private take(name: string): unknown {
    this.read.add(name);
    return this.input[name];
  }

  /** Marks an absent field as known: null is as good as leaving it out. */
  private absent(name: string): null {
    this.read.add(name);
    return null;
  }
}

/** One query parameter, null when absent. Throws 400 when it is given twice. */
export function queryText(name: string, value: unknown): string | null {
  if (value === undefined) return null;
  if (typeof value === 'string') return value;
  throw badRequest(`${name} must be given once`);
}

/**
 * Node refuses to send a header with any other character, which would turn an injected answer into an accidental 500.
 */
function isHeader([name, value]: [string, unknown]): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && typeof value === 'string' && /^[\t\x20-\x7e]*$/.test(value);
}
