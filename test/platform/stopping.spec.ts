import net from 'node:net';
import { signatureOf } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

describe('a hub that stops while a request is on its way', () => {
  it('answers it, and then does not wait for the client to hang up', async () => {
    const hub = await TestHub.start();
    const body = '{"playerId":"late","amountCents":500,"currency":"USD","refId":"late-1"}';
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const received: Buffer[] = [];
    let closed = false;
    const socket = net.connect(Number(new URL(hub.url).port), '127.0.0.1');
    socket.on('data', (chunk) => received.push(chunk)).once('close', () => (closed = true));
    // Keep-alive, as every pooling client has it: nothing in this request says that it is the last.
    const head = [
      'POST /wallet/debit HTTP/1.1',
      'Host: hub',
      'Authorization: Bearer change_token',
      'Content-Type: application/json',
      `X-Timestamp: ${timestamp}`,
      `X-Signature: ${signatureOf('change_secret', timestamp, body)}`,
      `Content-Length: ${body.length}`,
    ];
    const connections = () =>
      new Promise<number>((resolve, reject) =>
        hub.app
          .getHttpServer()
          .getConnections((error: Error | null, count: number) => (error ? reject(error) : resolve(count))),
      );
    socket.write(`${head.join('\r\n')}\r\n\r\n${body.slice(0, 20)}`);
    await waitFor('the hub has the connection', async () => (await connections()) > 0);

    const started = performance.now();
    const stopped = hub.stop();
    await waitFor('the hub listens no more', () => !hub.app.getHttpServer().listening);
    socket.write(body.slice(20));
    await stopped;

    expect(Buffer.concat(received).toString()).toMatch(/^HTTP\/1\.1 200 [\s\S]*"status":"initiated"/);
    await waitFor('the connection is closed', () => closed);
    // Its keep-alive time is over a minute.
    expect(performance.now() - started).toBeLessThan(15_000);
  });
});
