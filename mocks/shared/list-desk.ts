import { gzipSync } from 'node:zlib';
import type { Request, Response } from 'express';
import { type Answer, drip, injectedAnswer, JSON_TYPE, reset, send, sendJsonArray, throttleAnswer } from './answers';
import { exactJson, parseExactObject } from './bodies';
import type { ListFault, ListFaults } from './list-faults';
import { cursorAfter, type ListForm, type ListQuery, readListQuery } from './list-query';
import type { Placed, Span } from './timeline';

/** The rows behind a list. */
export interface ListSource<Row extends Placed> {
  list: () => readonly Row[];
  page: (span: Span, limit: number) => { rows: readonly Row[]; total: number; more: boolean };
  /** A row's JSON as the bare array shows it. */
  textOf: (row: Row) => string;
}

/** Answers a list: the bare array, or a page when one is asked for; well or, where a fault is armed, badly. */
export class ListDesk<Row extends Placed> {
  constructor(
    private readonly source: ListSource<Row>,
    private readonly faults: ListFaults,
    private readonly settings: { readonly listForm: ListForm },
  ) {}

  async answer(request: Request, response: Response): Promise<void> {
    const asked = this.settings.listForm === 'array' ? null : readListQuery(request.query);
    const page = asked === null ? 'array' : asked.span.after === null ? 'first' : 'next';
    const fault = this.faults.pick({ page });
    if (asked === null && (fault === null || isAboutRows(fault)))
      return sendJsonArray(response, texts(this.source.list(), this.source.textOf, fault));
    const answer =
      asked === null
        ? {
            status: 200,
            headers: { 'Content-Type': JSON_TYPE },
            body: `[${[...texts(this.source.list(), this.source.textOf, fault)].join(',')}]`,
          }
        : this.pageAnswer(request, asked, fault);
    await deliver(response, answer, fault);
  }

  private pageAnswer(request: Request, { limit, span }: ListQuery, fault: ListFault | null): Answer {
    const { rows, total, more } = this.source.page(
      fault?.kind === 'list_cursor_back' ? { ...span, after: null } : span,
      limit + (fault?.kind === 'list_long_page' ? fault.rows : 0),
    );
    const body = [...texts(rows, (row) => withId(this.source.textOf(row), row.id), fault)].join(',');
    const last = rows.at(-1);
    let next = more && last !== undefined ? cursorAfter(last) : null;
    if (fault?.kind === 'list_same_cursor')
      next = span.after === null ? cursorAfter({ createdAt: 0, id: 0 }) : cursorAfter(span.after);
    if (fault?.kind === 'list_cursor_back')
      next = cursorAfter({ createdAt: 0, id: Math.floor(Math.random() * 1_000_000_000) });
    const claims = {
      total: fault?.kind === 'list_total' ? fault.total : total,
      ...(fault?.kind === 'list_available_end' ? { dataAvailableEnd: fault.at } : {}),
    };
    if (this.settings.listForm === 'items' && fault?.kind !== 'list_foreign_link')
      return {
        status: 200,
        headers: { 'Content-Type': JSON_TYPE },
        body: `{"items":[${body}],"nextCursor":${JSON.stringify(next)},${JSON.stringify(claims).slice(1)}`,
      };
    return {
      status: 200,
      headers: { 'Content-Type': JSON_TYPE, ...linkHeaders(request, next, claims, fault) },
      body: `[${body}]`,
    };
  }
}

function linkHeaders(
  request: Request,
  next: string | null,
  claims: { total: number; dataAvailableEnd?: string },
  fault: ListFault | null,
): Record<string, string> {
  // The host is of no interest: only path and query go into the header.
  const url = new URL(request.originalUrl, 'http://mock');
  if (next !== null) url.searchParams.set('cursor', next);
  const target = fault?.kind === 'list_foreign_link' ? fault.url : url.pathname + url.search;
  return {
    'X-Total-Count': String(claims.total),
    ...(claims.dataAvailableEnd === undefined ? {} : { 'X-Data-Available-End': claims.dataAvailableEnd }),
    ...(next === null && fault?.kind !== 'list_foreign_link' ? {} : { Link: `<${target}>; rel="next"` }),
  };
}

async function deliver(response: Response, answer: Answer, fault: ListFault | null): Promise<void> {
  switch (fault?.kind) {
    case 'list_status':
      return void send(response, injectedAnswer(fault));
    case 'list_throttle':
      return void send(response, throttleAnswer(fault));
    case 'list_hang':
      return;
    case 'list_reset':
      if (fault.afterBytes === 0) return reset(response);
      response.writeHead(answer.status, { ...answer.headers, 'Content-Length': Buffer.byteLength(answer.body) });
      response.write(Buffer.from(answer.body).subarray(0, fault.afterBytes), () => reset(response));
      return;
    case 'list_truncated':
      return void send(response, { ...answer, body: answer.body.slice(0, -fault.bytes) });
    case 'list_html':
      return void send(response, {
        status: 200,
        headers: { 'Content-Type': fault.asJson ? JSON_TYPE : 'text/html; charset=utf-8' },
        body: '<html><body><h1>Please log in</h1></body></html>',
      });
    case 'list_slow_drip':
      return void (await drip(response, answer, fault.ms));
    case 'list_gzip_bomb': {
      const packed = gzipSync(
        Buffer.concat([
          Buffer.from(answer.body.slice(0, 1)),
          Buffer.alloc(fault.bytes, ' '),
          Buffer.from(answer.body.slice(1)),
        ]),
      );
      response.writeHead(answer.status, {
        ...answer.headers,
        'Content-Encoding': 'gzip',
        'Content-Length': packed.length,
      });
      response.end(packed);
      return;
    }
    default:
      return void send(response, answer);
  }
}

function isAboutRows({ kind }: ListFault): boolean {
  return (
    kind === 'list_missing_rows' ||
    kind === 'list_duplicate_rows' ||
    kind === 'list_changed_rows' ||
    kind === 'list_huge_rows'
  );
}

function* texts<Row extends Placed>(
  rows: readonly Row[],
  textOf: (row: Row) => string,
  fault: ListFault | null,
): Generator<string> {
  const every = fault !== null && 'every' in fault ? fault.every : 0;
  for (const row of rows) {
    const text = textOf(row);
    if (fault === null || every === 0 || row.id % every !== 0) yield text;
    else yield* changed(text, fault);
  }
}

function* changed(text: string, fault: ListFault): Generator<string> {
  if (fault.kind === 'list_missing_rows') return;
  if (fault.kind === 'list_duplicate_rows') yield text;
  if (fault.kind === 'list_changed_rows') {
    const { [fault.field]: _old, ...rest } = parseExactObject(Buffer.from(text)) ?? {};
    yield exactJson(fault.value === null || fault.value === undefined ? rest : { ...rest, [fault.field]: fault.value });
  } else yield fault.kind === 'list_huge_rows' ? `${text.slice(0, -1)},"padding":"${'x'.repeat(fault.bytes)}"}` : text;
}

/** Rows of pages have an id, the bare array's have none: it is as it always was. */
function withId(text: string, id: number): string {
  return `${text.slice(0, -1)},"id":"${id}"}`;
}
