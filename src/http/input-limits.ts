import { HubError } from '../kernel/errors';
import { ExactJsonError } from '../json/exact-json';

/** More than four times what the largest request class has. */
export const FIELDS_MAX = 64;
/** A `meta` of 4 KiB can hold 2 047 numbers; nothing else comes near. */
export const VALUES_MAX = 2_500;
export const DEPTH_MAX = 32;
/** Parameters of a query; the largest list takes nine. */
export const PARAMETERS_MAX = 32;
/** Violations reported for one request. With more of them the real one is the form. */
export const VIOLATIONS_SHOWN_MAX = 20;
/** Text in a field that its class does not bound itself. */
export const TEXT_LENGTH_MAX = 4_096;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Counts, in one pass over the bytes and before anything is made of them, what a body would make later readers walk.
 * Everything behind it costs time per value, and some of it the square of that. Throws validation_failed, and
 * ExactJsonError for the depth.
 */
export function checkBodySize(raw: Buffer): void {
  let depth = 0;
  let fields = 0;
  let values = 0;
  for (let at = 0; at < raw.length; at += 1) {
    switch (raw[at]) {
      case QUOTE:
        at = endOfText(raw, at + 1);
        break;
      case 0x7b: // {
      case 0x5b: // [
        depth += 1;
        if (depth > DEPTH_MAX) throw new ExactJsonError(`nested deeper than ${DEPTH_MAX} levels`);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth -= 1;
        break;
      case 0x3a: // :
        if (depth === 1) fields += 1;
        if (fields > FIELDS_MAX) throw tooMany(`must not have more than ${FIELDS_MAX} fields`);
        break;
      case 0x2c: // ,
        values += 1;
        if (values > VALUES_MAX) throw tooMany(`must not hold more than ${VALUES_MAX} values`);
        break;
      default:
    }
  }
}

/** Place of the quote that ends a text; the end of the bytes when none does. */
function endOfText(raw: Buffer, from: number): number {
  let at = from;
  while (at < raw.length && raw[at] !== QUOTE) at += raw[at] === BACKSLASH ? 2 : 1;
  return at;
}

/** Throws validation_failed for a query of too many parameters, before it is taken apart. */
export function checkQuerySize(url: string): void {
  const start = url.indexOf('?');
  if (start < 0) return;
  let parameters = 1;
  for (let at = url.indexOf('&', start); at >= 0; at = url.indexOf('&', at + 1)) {
    parameters += 1;
    if (parameters > PARAMETERS_MAX)
      throw new HubError('validation_failed', {
        errors: [{ field: 'query', message: `query must not have more than ${PARAMETERS_MAX} parameters` }],
      });
  }
}

function tooMany(what: string): HubError {
  return new HubError('validation_failed', { errors: [{ field: 'body', message: `body ${what}` }] });
}
