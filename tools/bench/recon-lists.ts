import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { operatorRows, rgsRows } from './recon-world';

/**
 * Both partners' lists as a program of its own: `recon-lists.js <rows> <form>`, form being pages or array. Writes its
 * port as its first line.
 */
const rows = Number(process.argv[2]);
const form = process.argv[3] ?? 'pages';
const BLOCK = 1_000;

const server = http.createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const row = url.pathname.startsWith('/webhooks') ? rgsRows : operatorRows;
  response.setHeader('content-type', 'application/json');
  if (form === 'array') return void whole(row, response);
  const limit = Number(url.searchParams.get('limit') ?? 5_000);
  const from = Number(url.searchParams.get('cursor') ?? 0);
  const items: string[] = [];
  let count = 0;
  let index = from;
  // A movement that is listed twice must not make the page longer than was asked for.
  for (; index < rows && count < limit - 1; index++) {
    const text = row(index);
    if (text === '') continue;
    items.push(text);
    count += text.includes('},{') ? 2 : 1;
  }
  response.end(`{"items":[${items.join(',')}],"nextCursor":${index < rows ? `"${index}"` : 'null'}}`);
});

function whole(row: (index: number) => string, response: http.ServerResponse): void {
  let index = 0;
  let separator = '[';
  const more = (): void => {
    for (;;) {
      let block = '';
      for (const end = Math.min(index + BLOCK, rows); index < end; index++) {
        const text = row(index);
        if (text === '') continue;
        block += separator + text;
        separator = ',';
      }
      if (index >= rows) return void response.end(block === '' && separator === '[' ? '[]' : `${block}]`);
      if (!response.write(block)) return void response.once('drain', more);
    }
  };
  more();
}

server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
process.on('SIGTERM', () => {
  server.closeAllConnections();
  server.close(() => process.exit(0));
});
