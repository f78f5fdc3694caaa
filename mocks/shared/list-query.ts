import { badRequest, type JsonObject, queryText } from './fields';
import type { Placed, Span } from './timeline';

/**
 * `items`: `{items, nextCursor}`. `link`: an array with `Link: rel="next"`. `array`: the whole list, whatever is asked.
 */
export const LIST_FORMS = ['items', 'link', 'array'] as const;
export type ListForm = (typeof LIST_FORMS)[number];

const PARAMETERS = ['limit', 'from', 'to', 'cursor'] as const;
const LIMIT_DEFAULT = 1_000;
const LIMIT_MAX = 10_000;

/** A page that is asked for. */
export interface ListQuery {
  limit: number;
  span: Span;
}

/**
 * What the query asks of a list, or null when it has none of `limit`, `from`, `to` and `cursor`. Throws 400 naming the
 * first fault.
 */
export function readListQuery(query: JsonObject): ListQuery | null {
  if (PARAMETERS.every((name) => query[name] === undefined)) return null;
  const limit = queryText('limit', query.limit);
  if (limit !== null && (!/^\d{1,5}$/.test(limit) || Number(limit) < 1 || Number(limit) > LIMIT_MAX))
    throw badRequest(`limit must be an integer from 1 to ${LIMIT_MAX}`);
  const cursor = queryText('cursor', query.cursor);
  return {
    limit: limit === null ? LIMIT_DEFAULT : Number(limit),
    span: {
      from: readTime('from', query.from),
      to: readTime('to', query.to),
      after: cursor === null ? null : readCursor(cursor),
    },
  };
}

/** Opaque to clients, who must not build one. */
export function cursorAfter({ createdAt, id }: Placed): string {
  return Buffer.from(JSON.stringify([createdAt, id])).toString('base64url');
}

function readCursor(cursor: string): Placed {
  const match = /^\[(\d{1,15}),(\d{1,15})\]$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (match === null) throw badRequest('cursor is none of this list');
  return { createdAt: Number(match[1]), id: Number(match[2]) };
}

function readTime(name: string, value: unknown): number | null {
  const text = queryText(name, value);
  if (text === null) return null;
  const ms = /^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw badRequest(`${name} must be a time in ISO 8601 with a zone`);
  return ms;
}
