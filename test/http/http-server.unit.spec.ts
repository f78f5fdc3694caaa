import type { ServerResponse } from 'node:http';
import net from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HubServer } from '../../src/http/http-server';
import { waitFor } from '../support/wait-for';

describe('the port of the hub', () => {
  it('streams a file to a client that sends nonsense behind its request, and Node takes none of the listeners for a leak', async () => {
    const server = new HubServer();
    const answers: ServerResponse[] = [];
    let most = 0;
    let more: (value: string | null) => void = () => undefined;
    server.serve((_request, response) => {
      answers.push(response);
      const add = response.once.bind(response);
      response.once = (event, listener) => {
        add(event, listener);
        most = Math.max(most, response.listenerCount('close'));
        return response;
      };
      const file = new Readable({ read: () => undefined });
      more = (value) => file.push(value);
      // As the hub's own middleware and the routes that stream do.
      for (let listener = 0; listener < 2; listener += 1) response.once('close', () => undefined);
      void pipeline(file, response).catch(() => undefined);
    });
    await server.listen(0, '127.0.0.1');
    server.started();
    try {
      const socket = net.connect(Number(new URL(server.url).port), '127.0.0.1');
      let received = '';
      socket.on('data', (chunk) => (received += chunk.toString()));
      socket.write('GET / HTTP/1.1\r\nHost: hub\r\n\r\n');
      await waitFor('the request has come', () => answers.length === 1);
      more('first');
      await waitFor('the file has begun', () => received.includes('first'));
      socket.write('\0\0\0\0\r\n\r\n');
      await waitFor('somebody waits for the end of the file', () => most > 9);
      expect(answers[0]?.getMaxListeners()).toBeGreaterThan(most);
      more('last');
      more(null);
      await waitFor('the file and then the refusal', () => /first[^]*last[^]*HTTP\/1\.1 400/.test(received));
    } finally {
      await server.close();
    }
  });
});
