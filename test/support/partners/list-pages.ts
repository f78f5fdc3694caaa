import type http from 'node:http';
import type { ListServer } from './list-server';

export type ListRow = Record<string, unknown>;

interface Page {
  readonly rows: readonly ListRow[];
  /** Position after the page; null: nothing follows. */
  readonly next: number | null;
  readonly url: URL;
}

/** What a list says of itself beside its rows. */
interface Claims {
  readonly total?: number | string;
  readonly dataAvailableEnd?: unknown;
}

/** Of a request that names no limit. */
const DEFAULT_LIMIT = 4;

/** Serves rows in pages of `limit`, by position; `rows` is asked anew for each page, so that it may grow. */
export function servePages(
  server: ListServer,
  form: 'items' | 'link',
  rows: () => readonly ListRow[],
  claims: Claims = {},
): URL[] {
  const asked: URL[] = [];
  server.serve((request, response) => {
    const page = pageAt(request, rows());
    asked.push(page.url);
    response.setHeader('content-type', 'application/json');
    if (form === 'items')
      return void response.end(
        JSON.stringify({ items: page.rows, nextCursor: page.next === null ? null : `after-${page.next}`, ...claims }),
      );
    if (page.next !== null) {
      page.url.searchParams.set('cursor', `after-${page.next}`);
      response.setHeader(
        'link',
        `<https://example.com/first>; rel="first", <${page.url.pathname}${page.url.search}>; rel="next"`,
      );
    }
    if (claims.total !== undefined) response.setHeader('x-total-count', String(claims.total));
    response.end(JSON.stringify(page.rows));
  });
  return asked;
}

function pageAt(request: http.IncomingMessage, rows: readonly ListRow[]): Page {
  const url = new URL(request.url ?? '/', `http://${request.headers.host}`);
  const start = Number(url.searchParams.get('cursor')?.replace('after-', '') ?? 0);
  const end = start + Number(url.searchParams.get('limit') ?? DEFAULT_LIMIT);
  return { rows: rows.slice(start, end), next: end < rows.length ? end : null, url };
}
