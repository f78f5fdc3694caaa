import express, { type Response } from 'express';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { apiDocuments } from '../../src/http/api-documents';
import { Pacer } from '../../src/http/pacer';
import { waitFor } from '../support/wait-for';

describe('API documents', () => {
  /** Answers of the route behind them that are not out yet. */
  let making: Response[];
  let server: http.Server;
  let url: string;
  beforeEach(async () => {
    making = [];
    const app = express();
    app.use(apiDocuments({ access: 'public', hasToken: () => false, pacer: new Pacer(0) }));
    app.get('/swagger-json', (_request, response) => void making.push(response));
    // As the files of Swagger UI: what stands below a folder sees its own part of the path.
    app.use('/swagger/', (_request, response) => void making.push(response));
    server = http.createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const text = async (path: string): Promise<string> => (await fetch(url + path)).text();
  const connections = async (): Promise<number> =>
    new Promise((resolve, reject) =>
      server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
    );

  it.each(['/swagger-json', '/swagger/swagger-ui-bundle.js'])(
    'are made once for eight who ask at the same time, and for all who come later: %s',
    async (path) => {
      const asked = Array.from({ length: 8 }, () => text(path));
      await waitFor('all of them have come', async () => making.length > 0 && (await connections()) === 8);
      making[0]?.end('document');
      expect(await Promise.all(asked)).toEqual(Array(8).fill('document'));
      expect(await text(path)).toBe('document');
      expect(making).toHaveLength(1);
    },
  );

  it('are made again for those who wait when the first one left before it was there', async () => {
    const first = http.get(`${url}/swagger-json`).on('error', () => undefined);
    await waitFor('the first has come', () => Promise.resolve(making.length === 1));
    const second = text('/swagger-json');
    await waitFor('the second has come', async () => (await connections()) === 2);
    first.destroy();
    await waitFor('the second is being answered', () => Promise.resolve(making.length === 2));
    making[1]?.end('document');
    expect(await second).toBe('document');
  });
});
